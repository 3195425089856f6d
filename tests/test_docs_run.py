"""The Python blocks and commands of the pages for newcomers run in their order, and print what the pages say."""

import ast
import doctest
import inspect
import re
import shlex
import warnings
from pathlib import Path

import pytest
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import _param_validation, validation

from gpubp.__main__ import main
from gpubp.backends import libraries
from tests import pages

pytestmark = pytest.mark.once

DOCS = Path(__file__).parents[1] / "docs"
PAGES = [
    *(DOCS / f"{name}.md" for name in ("reports", "command_line", "callbacks", "scikit_learn")),
    *(page for folder in ("tutorials", "migration") for page in sorted((DOCS / folder).glob("*.md"))),
]
WITH_COMMANDS = ("reports", "command_line", "tutorials")  # that run as they are
STEP = re.compile(r"^```python\n(?P<code>.*?)^```|^    gpubp (?P<command>[^\n]+)$", re.MULTILINE | re.DOTALL)
OUTPUT = re.compile(r"\n*```text\n(.*?)```", re.DOTALL)
AS_IT_IS = pages.Page()
FLAGS = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS


def run_page(text, capsys, commands=True, page=AS_IT_IS):
    """Run the steps of a page, in the folder that is the current one; compare what they print."""
    names = {}
    exec(page.before, names)
    for old, new in page.shorter:
        assert old in text, f"{old} is not on the page any more"
        text = text.replace(old, new)
    capsys.readouterr()
    for step in STEP.finditer(text):
        if any(part in step[0] for part in page.left_out):
            continue
        if step["code"]:
            exec(compile(step["code"], "page", "exec"), names)
        elif commands:
            assert main(shlex.split(step["command"], comments=True)) == 0, step["command"]
        printed = capsys.readouterr().out
        if output := OUTPUT.match(text, step.end()):
            assert doctest.OutputChecker().check_output(output[1], printed, FLAGS), f"{output[1]!r}, but {printed!r}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_what_a_page_shows_runs(page, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GPUBP_DEVICE", "cpu")
    monkeypatch.setenv("MPLBACKEND", "agg")
    commands = page.stem in WITH_COMMANDS or page.parent.name in WITH_COMMANDS
    run_page(page.read_text(encoding="utf-8"), capsys, commands=commands)


@pytest.mark.parametrize("name", pages.PAGES)
def test_what_a_page_shows_runs_with_small_data(name, tmp_path, monkeypatch, capsys):
    for package in pages.PAGES[name].needs:
        pytest.importorskip(package)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GPUBP_DEVICE", "cpu")
    monkeypatch.setenv("MPLBACKEND", "agg")
    text = (DOCS.parent / f"{name}.md").read_text(encoding="utf-8")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        run_page(text, capsys, page=pages.PAGES[name])


def test_the_entry_on_the_page_about_backends_is_that_of_the_package():
    (shown,) = (step["code"] for step in STEP.finditer((DOCS / "backends.md").read_text(encoding="utf-8")))
    source = [ast.dump(statement) for statement in ast.parse(inspect.getsource(libraries)).body]
    assert [statement for statement in ast.parse(shown).body if ast.dump(statement) not in source] == []


def messages_of_the_package():
    return "".join(path.read_text(encoding="utf-8") for path in (DOCS.parent / "gpubp").rglob("*.py"))


def test_the_messages_on_the_page_about_trouble_are_those_of_the_package():
    named = re.findall(r"^### `(.+)`$", (DOCS / "troubleshooting.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert len(named) > 10
    source = messages_of_the_package() + inspect.getsource(validation) + inspect.getsource(_param_validation)
    assert [message for message in named if message not in source] == []


# --- can these tests fail? ---


@pytest.mark.parametrize(
    "text",
    [
        "```python\nprint(1)\n```\n\n```text\n2\n```\n",
        "```python\nx = 1\n```\n\n```python\nprint(x + 1)\n```\n\n```text\n1\n```\n",
        "Do\n\n    gpubp show nothing.safetensors\n\nthen\n",
    ],
)
def test_a_page_that_is_wrong_is_found(text, capsys):
    with pytest.raises(AssertionError):
        run_page(text, capsys)
