"""Names use the field's words; the paper's letters and words are only in its equations and experiments."""

import ast
import re
from pathlib import Path
from typing import NamedTuple

import pytest

pytestmark = pytest.mark.once

ROOT = Path(__file__).parents[1]
SEARCHED = ("gpubp", "tests", "benchmarks", "examples", "noxfile.py")
OF_THE_PAPER = (
    *(
        "gpubp/nn/equations.py",
        "gpubp/explain/",
        "gpubp/cli/explain/",
        "gpubp/paper/",
        "gpubp/cli/reproduce.py",
    ),
    *("tests/reference.py", "tests/nn/test_equations.py", "tests/explain/", "tests/paper/", "tests/engine/test_cpu.py"),
    *("examples/encoder.py", "examples/family_search.py", "examples/paper_xor.py", "examples/symmetry.py"),
    "examples/reproduce_the_paper.py",
)
"""Files and folders that may use the paper's names."""

WORDS = {
    **dict.fromkeys(("case", "cases"), "sample"),
    **dict.fromkeys(("rule", "rules"), "optimizer"),
    **dict.fromkeys(("sweep", "sweeps", "swept"), "epoch, or full batch"),
    **dict.fromkeys(("admit", "admits", "admitted", "admission"), "validate"),
    **dict.fromkeys(("mend", "mends", "mended"), "fix"),
    "asked": "requested",
    "told": "reported",
    **dict.fromkeys(("whoever", "somebody", "nobody"), "what it is"),
    **dict.fromkeys(("stranger", "strangers"), "untrusted"),
    **dict.fromkeys(("room", "rooms", "house"), "package, or architecture"),
    **dict.fromkeys(("door", "doors"), "entry point"),
    "standing": "state",
    "until": "stop_when",
    "desired": "target",
}
"""Words that must not be part of a name, and their replacements."""

NAMES = {"units": "activation", "unit": "activation", "hidden": "activation", "d": "targets", "watch": "monitor"}
"""Words that must not be a whole name; ``n_units`` is allowed."""

ALLOWED = {"backend_case", "BackendCase", "BACKEND_CASES", "rooms"}
"""Names in which a word has another meaning: a case of a test, the rooms of a flat in a table."""

OF_OTHERS = {
    ("hidden", "Option"): "typer's",
    ("hidden", "command"): "typer's",
    ("case_sensitive", "Option"): "typer's",
    ("case_names", "html_page"): "that of gpubp/explain/",
}
"""Keywords of other libraries, with the function that takes them."""


class Offence(NamedTuple):
    line: int
    name: str
    instead: str


def words_of(name):
    """Split ``snake_case`` and ``CamelCase`` into lower-case words."""
    return [word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+", name)]


def offences(tree):
    """Find the names of a syntax tree that do not use the field's words."""
    found = []
    for node in ast.walk(tree):
        for name, line in _names(node):
            if name in ALLOWED:
                continue
            whole = name.strip("_")
            instead = NAMES.get(whole)
            instead = instead or next((WORDS[word] for word in words_of(name) if word in WORDS), None)
            if instead:
                found.append(Offence(line, name, instead))
    return sorted(set(found))


def _names(node):
    """Yield the names that a node binds or uses, each with its line."""
    match node:
        case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
            yield node.name, node.lineno
        case ast.arg():
            yield node.arg, node.lineno
        case ast.Name():
            yield node.id, node.lineno
        case ast.Attribute():
            yield node.attr, node.lineno
        case ast.Call():
            function = ast.unparse(node.func).rpartition(".")[2]
            for keyword in node.keywords:
                if keyword.arg and (keyword.arg, function) not in OF_OTHERS:
                    yield keyword.arg, keyword.value.lineno
        case ast.Import() | ast.ImportFrom():
            module = getattr(node, "module", None) or ""
            for name in (*module.split("."), *(part for a in node.names for part in a.name.split("."))):
                yield name, node.lineno
            yield from ((alias.asname, node.lineno) for alias in node.names if alias.asname)
        case ast.Global() | ast.Nonlocal():
            yield from ((name, node.lineno) for name in node.names)
        case ast.ExceptHandler() if node.name:
            yield node.name, node.lineno
        case ast.MatchAs() | ast.MatchStar():
            yield node.name or "_", node.lineno


def files():
    for part in SEARCHED:
        for path in sorted((ROOT / part).rglob("*.py")) if (ROOT / part).is_dir() else [ROOT / part]:
            if not path.relative_to(ROOT).as_posix().startswith(OF_THE_PAPER):
                yield path


def offences_by_file():
    return {
        path.relative_to(ROOT).as_posix(): found
        for path in files()
        if (found := offences(ast.parse(path.read_text(encoding="utf-8"))))
    }


def test_names_use_the_fields_words():
    lines = [
        f"{path}:{line} {name}: write {instead}"
        for path, found in offences_by_file().items()
        for line, name, instead in found
    ]
    assert not lines, f"{len(lines)} names that are not the field's:\n" + "\n".join(lines)


def test_c_sources_use_the_fields_words():
    """Identifiers and comments of the engine in C, where "until" is English."""
    forbidden = {*WORDS} - {"until"}
    found = [
        f"{path.name}: {word}"
        for path in sorted((ROOT / "gpubp/engine/cpu/c").rglob("*.[ch]"))
        for word in sorted(forbidden.intersection(words_of(path.read_text(encoding="utf-8"))))
    ]
    assert found == []


def test_file_names_use_the_fields_words():
    named = [path.relative_to(ROOT).as_posix() for path in files()]
    assert [path for path in named if any(w in WORDS for part in Path(path).parts for w in words_of(part))] == []


def test_files_of_the_paper_exist():
    assert [path for path in OF_THE_PAPER if not (ROOT / path).exists()] == []


@pytest.mark.parametrize(
    "text",
    [
        "def f(case_weights): pass",
        "def fix_all_cases(): pass",
        "class SweepRunner: pass",
        "f(until=1)",
        "def f(*, hidden=()): pass",
        "a.units",
        "self._d = 1",
        "[d for d in range(3)]",
        "import gpubp.engine.sweep",
        "from gpubp import rule",
        "import numpy as told",
        "try: pass\nexcept ValueError as nobody: pass",
        "match a:\n    case [until]: pass",
        "lambda watch: 1",
        "N_CASES = 1",
        "nonesuch(lambda: (door := 1))",
        "def f():\n    global strangers",
    ],
)
def test_a_name_of_another_vocabulary_is_found(text):
    assert offences(ast.parse(text))


@pytest.mark.parametrize(
    "text",
    [
        "n_units = layer_units",
        "hidden_layer_sizes = hidden_units = 1",
        "model.score(X, y)",
        "casefold()",
        "typer.Option(hidden=True, case_sensitive=False)",
        "validation = mean = 1",
        "recommend = understanding = ruled = bedroom = 1",
        "match a:\n    case 1: pass",
    ],
)
def test_names_of_the_field_pass(text):
    assert offences(ast.parse(text)) == []
