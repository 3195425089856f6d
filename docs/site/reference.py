"""The reference: a page for each public name, in the order of the lists of public names, so that none is missing."""

import ast
import importlib
import inspect
import re
import sys
from itertools import pairwise
from textwrap import indent

from links import place_of, toctree

PACKAGES = (
    "gpubp",
    "gpubp.plotting",
    "gpubp.testing",
    "gpubp.explain",
    "gpubp.data",
    "gpubp.inspection",
    "gpubp.tabular",
    "gpubp.accel",
)
"""Packages with public names; a name that an earlier one has is not repeated."""

TITLES = {
    "estimators": "Estimators",
    "tabular": "Tables",
    "model_selection": "Searches",
    "training": "Training",
    "nn": "Networks",
    "engine": "Prediction",
    "optim": "Optimizers and schedules",
    "data": "Data",
    "io": "Files",
    "errors": "Errors and warnings",
}
"""Headings of the names of ``gpubp``, by the package that a name is from, in the order of the page."""

CHOICES = (
    "gpubp.nn.activations.get_activation",
    "gpubp.nn.losses.get_loss",
    "gpubp.backends.backend.choose_backend",
    "gpubp.data.streaming.table_files.open_tables",
    "gpubp.model_selection.progress.SearchProgress",
)
"""Names that are not public, to which public docstrings refer for what an argument may be."""

HEAD = "Every public name, with an example that runs. The options of the commands have [a page](commands.md) too."


def groups():
    """Return a heading and its public names, as dotted paths, for each group."""
    found, known = {title: [] for title in TITLES.values()}, set()
    for package in PACKAGES:
        module = importlib.import_module(package)
        for name in public_names(module):
            value = getattr(module, name)
            if id(value) in known:
                continue
            known.add(id(value))
            title = TITLES[value.__module__.split(".")[1]] if package == "gpubp" else f"`{package}`"
            found.setdefault(title, []).append(f"{package}.{name}")
    return found | {"What arguments may be": list(CHOICES)}


def public_names(module):
    listed = getattr(module, "__all__", None)
    return listed or [name for name, value in vars(module).items() if is_public(module, name, value)]


def is_public(module, name, value):
    """Return whether a name is imported as itself: not private, and no module."""
    return not name.startswith("_") and not inspect.ismodule(value)


def pages():
    """Return a page for each public name, and one that lists them."""
    found, parts, trees = {}, ["# Reference", HEAD], []
    for title, paths in groups().items():
        rows = [f"| [`{short(path)}`]({path}.rst) | {first_line(path)} |" for path in paths]
        parts += [f"## {title}", "\n".join(["| name | what it is |", "|---|---|", *rows])]
        trees.append(toctree(paths, f":caption: {title.strip('`')}"))
        found |= {f"reference/{path}.rst": page_of(path) for path in paths}
    trees.append(toctree(["commands"], ":caption: On the command line"))
    return found | {"reference/index.md": "\n\n".join([*parts, *trees])}


def page_of(path):
    value = value_of(path)
    title = f"{short(path)}\n{'=' * len(short(path))}\n\n"
    if inspect.isclass(value):
        others = (kind.__name__ for kind in value.__mro__ if not kind.__module__.startswith("gpubp"))
        return f"{title}.. autoclass:: {path}\n   :members:\n   :inherited-members: {','.join(dict.fromkeys(others))}\n"
    if inspect.isroutine(value):
        return f"{title}.. autofunction:: {path}\n"
    text = docstring_of(path).replace("Examples\n--------", ".. rubric:: Examples\n")
    return f"{title}.. py:data:: {path}\n\n{indent(with_links(text), '   ')}\n"


def with_links(text):
    """Return a docstring with links to the pages that it names by their files, such as docs/tables.md."""
    return re.sub(r"(?<![\w/])docs/[\w/]+\.md", lambda page: f":doc:`/{place_of(page[0]).removesuffix('.md')}`", text)


def short(path):
    return path.rpartition(".")[2]


def value_of(path):
    package, _, name = path.rpartition(".")
    return getattr(importlib.import_module(package), name)


def docstring_of(path):
    """Return the docstring of a public name; that of a constant is the text below its assignment."""
    value = value_of(path)
    if not is_constant(value):
        return inspect.getdoc(value) or ""
    module, _, name = path_of_definition(path, value).rpartition(".")
    statements = ast.parse(inspect.getsource(sys.modules[module])).body
    for statement, below in pairwise(statements):
        names = [ast.unparse(target) for target in getattr(statement, "targets", [getattr(statement, "target", below)])]
        if name in names and isinstance(below, ast.Expr):
            return inspect.cleandoc(ast.literal_eval(below.value))
    return ""


def is_constant(value):
    return not (inspect.isclass(value) or inspect.isroutine(value))


def path_of_definition(path, value):
    """Return a constant's path in the module that assigns it, where its docstring is."""
    name = short(path)
    for module in [module for key, module in sorted(sys.modules.items()) if key.startswith("gpubp.")]:
        if vars(module).get(name) is value and re.search(rf"^{name}\b.* = ", inspect.getsource(module), re.MULTILINE):
            return f"{module.__name__}.{name}"
    raise LookupError(f"no module of gpubp assigns {name}")


def first_line(path):
    """Return the first paragraph of a name's docstring, in Markdown."""
    text = docstring_of(path).partition("\n\n")[0].replace(":math:", "{math}")
    text = re.sub(r":\w+:`~?([^`]+)`", r"`\1`", text)
    return " ".join(text.split()).replace("|", r"\|")
