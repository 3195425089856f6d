"""README, CHANGELOG and the pages under docs/ name only what exists: links, files, modules, options, keywords."""

import ast
import inspect
import re
from functools import cache
from pathlib import Path

import pytest

import gpubp
from gpubp.data.readers import COMPRESSIONS, SUFFIXES, read_table

pytestmark = pytest.mark.once

ROOT = Path(__file__).parents[1]
PAGES = [
    *(
        ROOT / name
        for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md")
        if (ROOT / name).exists()
    ),
    *sorted((ROOT / "docs").rglob("*.md")),
]
BY_PAGE = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
LINK = re.compile(r"\]\(([^)\s]+)\)")
PATH = re.compile(r"(?<![\w./-])((?:gpubp|tests|docs|examples|benchmarks)/[\w./-]*[\w/])")
NAME = re.compile(r"(?<![\w./-])(gpubp(?:\.[A-Za-z_]\w*)+)")
OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]+")
CODE = re.compile(r"^```python\n(.*?)^```", flags=re.MULTILINE | re.DOTALL)


def anchors(text):
    """Return the anchors of a page's headings, as on GitHub."""
    headings = re.findall(r"^#+ (.*)$", text, flags=re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def missing_links(page, text):
    """Return links to missing files and headings."""
    missing = []
    for link in LINK.findall(text):
        if link.startswith(("https://", "http://")):
            continue
        file, _, anchor = link.partition("#")
        target = page.parent / file if file else page
        if not target.exists() or (anchor and anchor not in anchors(target.read_text(encoding="utf-8"))):
            missing.append(link)
    return missing


def resolves(dotted):
    """Return whether ``gpubp.a.b`` is a module, or a name in one."""
    try:
        import_path(dotted)
    except (ImportError, AttributeError):
        return False
    return True


def import_path(dotted):
    found, parts = gpubp, dotted.split(".")[1:]
    for k, part in enumerate(parts, 1):
        if not hasattr(found, part):
            __import__(".".join(["gpubp", *parts[:k]]))
        found = getattr(found, part)
    return found


@cache
def options_of_commands():
    """Return every option of ``gpubp``, its commands, its ``accel``, and the programs under benchmarks/."""
    typer = pytest.importorskip("typer")
    from gpubp.cli.app import make_app

    group = typer.main.get_command(make_app())
    commands = [group, *getattr(group, "commands", {}).values()]
    found = {"--help", *(name for c in commands for p in c.params for name in [*p.opts, *p.secondary_opts])}
    for path in (ROOT / "gpubp" / "accel" / "__main__.py", *(ROOT / "benchmarks").rglob("*.py")):
        found |= set(re.findall(r'"(--[a-z][a-z-]+)"', path.read_text(encoding="utf-8")))
    return found


def wrong_keywords(code):
    """Return invalid keywords in calls of gpubp's public names."""
    wrong, nodes = [], list(ast.walk(ast.parse(code)))
    imports = [node for node in nodes if isinstance(node, ast.ImportFrom) and not node.module.startswith("gpubp")]
    of_others = {alias.asname or alias.name for node in imports for alias in node.names}
    for call in (node for node in nodes if isinstance(node, ast.Call)):
        name = ast.unparse(call.func).removeprefix("gpubp.")
        if name not in gpubp.__all__ or ast.unparse(call.func) in of_others:
            continue
        parameters = inspect.signature(getattr(gpubp, name)).parameters
        if any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
            continue
        wrong += [f"{name}({k.arg}=)" for k in call.keywords if k.arg is not None and k.arg not in parameters]
    return wrong


@BY_PAGE
def test_links_lead_somewhere(page):
    assert missing_links(page, page.read_text(encoding="utf-8")) == []


@BY_PAGE
def test_paths_exist(page):
    text = page.read_text(encoding="utf-8")
    assert [path for path in PATH.findall(text) if not (ROOT / path).exists()] == []


def test_modules_on_the_page_about_the_architecture_exist():
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    named = re.findall(r"`([\w/]+(?:\.py|/))`", text)
    assert "training/loop.py" in named
    assert [name for name in named if not (ROOT / "gpubp" / name).exists() and not (ROOT / name).exists()] == []


@BY_PAGE
def test_names_exist(page):
    names = set(NAME.findall(page.read_text(encoding="utf-8"))) - {f"gpubp.{e}" for e in ("egg", "safetensors")}
    assert sorted(name for name in names if not resolves(name)) == []


@BY_PAGE
def test_options_exist(page):
    lines = page.read_text(encoding="utf-8").splitlines()
    commands = [line for line in lines if re.search(r"gpubp |-m benchmarks|`--", line)]
    foreign = {"--require-cuda", "--no-build-isolation", "--gpubp-device"}
    options = {option for line in commands for option in OPTION.findall(line)} - foreign
    assert sorted(options - options_of_commands()) == []


@BY_PAGE
def test_code_takes_these_keywords(page):
    blocks = CODE.findall(page.read_text(encoding="utf-8"))
    assert [wrong for block in blocks for wrong in wrong_keywords(block)] == []


@pytest.mark.parametrize("script", sorted((ROOT / "examples").glob("*.py")), ids=lambda path: path.stem)
def test_examples_take_these_keywords(script):
    assert wrong_keywords(script.read_text(encoding="utf-8")) == []


def test_the_page_about_tables_lists_their_formats():
    page = (ROOT / "docs" / "tables.md").read_text(encoding="utf-8")
    listed = page[page.index("## Reading") : page.index("## What a column is")]
    assert [suffix for suffix in (*SUFFIXES, *COMPRESSIONS) if f"`{suffix}`" not in listed] == []
    assert [name for name in inspect.signature(read_table).parameters if f"`{name}`" not in listed][1:] == []


# --- can these tests fail? ---


def test_what_does_not_exist_is_found(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("# A heading, here\n")
    links = "[a](page.md#a-heading-here) [b](nowhere.md) [c](#no-heading) [d](https://example.org)"
    assert missing_links(page, links) == ["nowhere.md", "#no-heading"]
    assert resolves("gpubp.nn.losses.LOSSES")
    assert not resolves("gpubp.nn.losses.no_such_name")
    assert not resolves("gpubp.no_such_package")
    assert wrong_keywords("gpubp.train(network, X, targets, epochs=3, cases=1)\nMLPClassifier(units='relu')") == [
        "train(cases=)",
        "MLPClassifier(units=)",
    ]
    assert wrong_keywords("from another import train\ntrain(cases=1)\ngpubp.train(cases=1)") == ["train(cases=)"]
    assert PATH.findall("see `gpubp/nn/losses.py`, gpubp/testing and ../docs/x.md") == [
        "gpubp/nn/losses.py",
        "gpubp/testing",
    ]
