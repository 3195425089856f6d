"""Sphinx's configuration; docs/site/build.py gathers the pages and runs it."""

import inspect
import os
import re
from pathlib import Path

from docutils.nodes import SkipNode, reference
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.util.nodes import make_refnode

import gpubp
from reference import groups, with_links

project = "gpubp"
author = copyright = "The gpubp developers"
version = release = gpubp.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "numpydoc",
    "sphinx_copybutton",
    "sphinx_design",
]
source_suffix = {".md": "markdown", ".rst": "restructuredtext"}
myst_enable_extensions = ["attrs_block", "colon_fence"]
myst_heading_anchors = 4
suppress_warnings = ["myst.header"]  # a part of a page may begin with a smaller heading

autodoc_typehints = "none"  # the docstrings have them
numpydoc_show_class_members = False  # autodoc shows them
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True
smartquotes = False
nitpicky = True  # a reference that leads nowhere is an error
highlight_language = "text"

PAGES_OF_OTHERS = {
    "sklearn": "https://scikit-learn.org/stable/modules/generated/{}.html",
    "optuna": "https://optuna.readthedocs.io/en/stable/reference/generated/{}.html",
}
"""Where other libraries have the page of a name."""

html_math_renderer = "mathml"
html_theme = "pydata_sphinx_theme"
html_title = "gpubp"
html_baseurl = os.environ.get("SITE_URL", "")
html_static_path = ["static"]
html_extra_path = ["../../build/site-extra"]
html_css_files = ["style.css"]
html_search_scorer = str(Path(__file__).with_name("scorer.js"))
html_show_sourcelink = html_copy_source = False
html_sidebars = {"start": []}  # which no section has
html_theme_options = {
    "github_url": os.environ.get("REPOSITORY_URL", ""),
    "navbar_align": "left",
    "header_links_before_dropdown": 7,
    "show_prev_next": True,
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": [],
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-dark",
}


def leave_out(app, what, name, value, skip, options):
    """Leave out what scikit-learn adds to every estimator to route metadata."""
    return True if re.fullmatch(r"set_\w+_request|get_metadata_routing", name) else None


def signature_of(app, what, name, value, options, signature, returns):
    """Return the signature of a class as Python shows it; Sphinx would take that of ``__new__``."""
    if what != "class":
        return None
    try:
        taken = inspect.signature(value)
    except ValueError:  # an exception has none
        return None
    parameters = [parameter.replace(annotation=inspect.Parameter.empty) for parameter in taken.parameters.values()]
    return str(taken.replace(parameters=parameters, return_annotation=inspect.Signature.empty)), None


def link_pages(app, what, name, value, options, lines):
    """Link the pages that a docstring names by their files."""
    lines[:] = map(with_links, lines)


def find_name_of_others(app, environment, node, shown):
    """Return a link to the page that another library has of a name."""
    target = node["reftarget"]
    page = PAGES_OF_OTHERS.get(target.partition(".")[0])
    return reference("", "", shown, internal=False, refuri=page.format(target)) if page else None


def find_public_name(app, environment, node, shown):
    """Return a link to the page of a public name of which a docstring names another path, or the last part alone."""
    target = node["reftarget"]
    package, _, name = target.rpartition(".")
    paths = [path for group in groups().values() for path in group if path.rpartition(".")[2] == name]
    if (
        node.get("refdomain") != "py"
        or node["reftype"] == "mod"
        or not paths
        or not f"{package}.".startswith((".", "gpubp."))
    ):
        return None
    return make_refnode(app.builder, node["refdoc"], f"reference/{paths[0]}", paths[0], shown)


def write_mathml(translator, node):
    """Write a formula as MathML, which browsers show without a script."""
    translator.body.append(tex2mathml(node.astext(), as_block=node.tagname == "math_block"))
    raise SkipNode


def setup(app):
    app.add_html_math_renderer("mathml", (write_mathml, None), (write_mathml, None))
    app.connect("autodoc-process-signature", signature_of)
    app.connect("autodoc-skip-member", leave_out)
    app.connect("autodoc-process-docstring", link_pages)
    app.connect("missing-reference", find_public_name)
    app.connect("missing-reference", find_name_of_others)
