"""Notebooks of the tutorials: the text, the code and the commands of a page as cells, which the build runs.

Where ``REPOSITORY_URL`` is set, a cell installs gpubp from the repository, and if that is on GitHub, the notebooks open
in Colab: the workflow that publishes the site keeps them in the branch ``notebooks``.
"""

import json
import os
import posixpath
import re
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from links import LINK

STEP = re.compile(
    r"^```python\n(?P<code>.*?)^```\n(?:\n*```text\n.*?^```\n)?|(?P<commands>(?:^ {4}gpubp [^\n]+\n)+)",
    re.MULTILINE | re.DOTALL,
)
"""Code, with the block of what it prints, which the cell shows itself; or commands."""

ENVIRONMENT = {"GPUBP_DEVICE": "cpu", "TERM": "dumb", "NO_COLOR": "1"}
"""Commands print no bars and no colours, which a notebook would keep as control characters."""


def cells_of(text):
    """Return the cells of a page as pairs of a kind and a source."""
    cells, end = [], 0
    for step in STEP.finditer(text):
        cells.append(("markdown", text[end : step.start()]))
        commands = "\n".join(f"!{line.strip()}" for line in (step["commands"] or "").splitlines())
        cells.append(("code", step["code"] or commands))
        end = step.end()
    cells.append(("markdown", text[end:]))
    return [(kind, source.strip()) for kind, source in cells if source.strip()]


def notebook_of(text):
    """Return the notebook of a tutorial in Jupyter's format; its links lead to the published site, if there is one."""
    site, repository = os.environ.get("SITE_URL", "").rstrip("/"), os.environ.get("REPOSITORY_URL")

    def published(match):
        place = posixpath.normpath(posixpath.join("tutorials", match[3])).removesuffix(".md")
        return f"[{match[2]}]({site}/{place}.html{match[4] or ''})" if site else match[2]

    pairs = cells_of(LINK.sub(published, text))
    cells = [cell(kind, source) for kind, source in pairs]
    if repository:
        install = cell("code", f'%pip install -q "gpubp[cli] @ git+{repository}"')
        install["metadata"]["tags"] = ["skip-execution"]  # of the build, which has gpubp
        cells.insert(1, install)
    for number, one in enumerate(cells):
        one["id"] = f"cell-{number}"
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    return {"cells": cells, "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5}


def cell(kind, source):
    more = {"execution_count": None, "outputs": []} if kind == "code" else {}
    return {"cell_type": kind, "id": "", "metadata": {}, "source": source, **more}


def write(pages, folder):
    """Run the notebooks of pages, by name, and write them to a folder; an error of a cell is one of the build."""
    import nbclient
    import nbformat

    def run(name):
        notebook = nbformat.from_dict(notebook_of(pages[name]))
        nbformat.validate(notebook)
        with tempfile.TemporaryDirectory() as work:
            options = {"timeout": 600, "record_timing": False, "extra_arguments": ["--log-level=ERROR"]}
            client = nbclient.NotebookClient(notebook, resources={"metadata": {"path": work}}, **options)
            client.execute(env=os.environ | ENVIRONMENT)
        for one in notebook.cells:
            if output := [text for text in getattr(one, "outputs", ()) if text.get("name") == "stderr"]:
                raise RuntimeError(f"{name}: {one.source}\nwarns: {output}")
        (folder / f"{name}.ipynb").write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n", "utf-8")

    folder.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(os.cpu_count()) as executor:
        list(executor.map(run, pages))


def with_links(text, name):
    """Return a tutorial with links to its notebook after its first paragraph."""
    title, paragraph, rest = text.split("\n\n", 2)
    line = f"This page as a [notebook](../notebooks/{name}.ipynb)"
    if address := colab_address(name):
        line += f", also [in Colab]({address})"
    return "\n\n".join([title, paragraph, f"{line}.", rest])


def colab_address(name):
    """Return where Colab opens a notebook, or "" if the repository is not known to be on GitHub."""
    repository = os.environ.get("REPOSITORY_URL", "").rstrip("/")
    path = repository.removeprefix("https://github.com/")
    if path in ("", repository):
        return ""
    return f"https://colab.research.google.com/github/{path}/blob/notebooks/{Path('notebooks', name).as_posix()}.ipynb"
