"""Every command on a page is one that its program takes: the command, module or session exists, and the options do."""

import argparse
import ast
import importlib
import importlib.util
import re
import shlex
import sys
from functools import cache
from itertools import groupby
from pathlib import Path

import pytest

pytestmark = pytest.mark.once

ROOT = Path(__file__).parents[1]
PAGES = [
    *(ROOT / f"{name}.md" for name in ("README", "CONTRIBUTING", "SECURITY")),
    *sorted((ROOT / "docs").rglob("*.md")),
]
FENCED = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
SHOWN = re.compile(r"^ {4,}(\S.*)$", re.MULTILINE)
IN_TEXT = re.compile(r"`([^`]+)`")
NAMES = {
    "task",
    "preset",
    "schedule",
    "numbers",
    "categories",
    "dtype",
    "matmul_precision",
    "parallel",
    "names",
    "shell",
}
BEFORE = re.compile(r"[A-Z_]+=\S*|mpiexec|-n|\d+")  # what may precede a program


def commands(text):
    """Return the words of each command of a page, and whether it is in a sentence, which may leave arguments out."""
    blocks = [block for language, block in FENCED.findall(text) if not language]
    text = FENCED.sub("", text).replace("\\\n", " ")
    lines = [*SHOWN.findall(text), *(line for block in blocks for line in block.splitlines())]
    lines = [(line, False) for line in lines] + [(" ".join(span.split()), True) for span in IN_TEXT.findall(text)]
    programs = re.compile(r"(^|[\s/])(gpubp(?= +[-a-z]| *$)|nox|python3? -m (benchmarks|gpubp|tests)[\w.]*)(\s|$)")
    return [(words, in_text) for line, in_text in lines if programs.search(line) for words in simple_commands(line)]


def simple_commands(line):
    """Return the words of each of the commands that a shell would start."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars="|&;<>")
    lexer.whitespace_split = True
    parts = [list(words) for operator, words in groupby(lexer, lambda word: set(word) <= set("|&;<>")) if not operator]
    parts = [part[next((k for k, word in enumerate(part) if not BEFORE.fullmatch(word)), 0) :] for part in parts]
    return [[part[0].rpartition("/")[2], *part[1:]] for part in parts]


class Parsed(Exception):
    """The options of a program were parsed, so the rest need not run."""


@cache
def program():
    typer = pytest.importorskip("typer")
    from gpubp.cli.app import make_app

    return typer, typer.main.get_command(make_app())


def fault_of_gpubp(words, in_text):
    typer, group = program()
    command = group.commands.get(words[0], group) if words else group
    if "--config" in words:  # which is read while options are parsed
        Path(words[words.index("--config") + 1]).write_text('data = "houses.csv"')
    if in_text:
        words = ["1" if word == "N" else word for word in words]
    try:
        given = command.make_context("gpubp", words[command is not group :]).params
    except typer.Exit:  # --help and --version
        return ""
    except Exception as error:
        lacks = type(error).__name__ == "MissingParameter" or f"{words[-1]!r} requires an argument" in str(error)
        return "" if in_text and lacks else error.format_message() if hasattr(error, "format_message") else repr(error)
    if command is group:
        return f"there is no command {words[0]}" if words else ""
    return ", ".join(
        wrong for name in given.keys() & NAMES for wrong in wrong_names(words[0], name, given[name], in_text)
    )


def wrong_names(command, name, value, in_text):
    from gpubp.cli.choices import choices_of

    values = value if isinstance(value, list | tuple) else [value] if isinstance(value, str) else []
    if not (known := choices_of(command, name)):
        return []
    return [f"{one} is not one of {known}" for one in values if one not in known and not (in_text and one.isupper())]


def fault_of_module(name, arguments, monkeypatch):
    try:
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.submodule_search_locations:
            spec = importlib.util.find_spec(name := f"{name}.__main__")
    except ModuleNotFoundError:
        spec = None
    if spec is None:
        return f"there is no module {name}"
    if "ArgumentParser" not in Path(spec.origin).read_text(encoding="utf-8"):
        return f"{name} takes no arguments" if arguments else ""
    parse = argparse.ArgumentParser.parse_args

    def parse_only(parser, *_):
        parse(parser, arguments)
        raise Parsed

    with monkeypatch.context() as patch:
        patch.setattr(argparse.ArgumentParser, "parse_args", parse_only)
        patch.setattr(argparse.ArgumentParser, "error", lambda parser, message: sys.exit(message))
        try:
            importlib.import_module(name).main()
        except Parsed:
            return ""
        except SystemExit as error:
            return str(error)
    raise AssertionError(f"{name} parses no arguments")


@cache
def sessions():
    tree = ast.parse((ROOT / "noxfile.py").read_text(encoding="utf-8"))
    functions = [node for node in tree.body if isinstance(node, ast.FunctionDef)]
    return {one.name for one in functions if any("nox.session" in ast.unparse(mark) for mark in one.decorator_list)}


def fault_of_nox(words):
    words = words[: words.index("--")] if "--" in words else words
    if words and words[0] != "-s":
        return f"nox takes -s here, not {words[0]}"
    unknown = {word.partition("(")[0] for word in words[1:]} - sessions() - {"tests_NAME"}
    return f"there is no session {', '.join(unknown)}" if unknown else ""


def faults(text, monkeypatch):
    """Return the commands of a page that cannot be, each with the reason."""
    found = {}
    for words, in_text in commands(text):
        match words:
            case ["gpubp", *rest] if not rest or not rest[0][0].isdigit():  # no version in a sentence
                fault = fault_of_gpubp(rest, in_text)
            case ["python" | "python3", "-m", name, *rest] if name.split(".")[0] in ("benchmarks", "gpubp", "tests"):
                fault = fault_of_module(name, rest, monkeypatch)
            case ["nox", *rest]:
                fault = fault_of_nox(rest)
            case _:
                continue
        if fault:
            found[shlex.join(words)] = fault
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_commands_are_what_their_programs_take(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert faults(page.read_text(encoding="utf-8"), monkeypatch) == {}


# --- can these tests fail? ---


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("    gpubp train iris --epoch 3    # few\n", "--epoch"),
        ("    zcat a.gz | gpubp train - --preset slow\n", "slow"),
        ("Do `gpubp learn iris`.", "learn"),
        ("    gpubp reproduce xor nand\n", "nand"),
        ("    gpubp export\n", "Missing"),
        ("    gpubp train iris && \\\n      gpubp show --all\n", "--all"),
        ("`A=1 python -m benchmarks.search --eopchs 3`", "--eopchs"),
        ("```\npython -m benchmarks.nothing\n```\n", "no module"),
        ("`python -m benchmarks.page --all`", "no arguments"),
        ("`nox -s lint quik -- tests/nn`", "quik"),
    ],
)
def test_a_command_that_is_wrong_is_found(text, reason, monkeypatch):
    (fault,) = faults(text, monkeypatch).values()
    assert reason in fault
