"""Mutations are faults, and each that no test noticed has an explanation."""

import ast
from contextlib import nullcontext
from types import SimpleNamespace

import pytest

import tests.mutations.__main__ as main
from tests.mutations.__main__ import RESULTS, executed_by, planted, read
from tests.mutations.sites import mutations

pytestmark = pytest.mark.once

SOURCE = b'''
def f(x: int = 1 + 1, *, up=True) -> "a + b":
    """Text: 1 + 2."""
    if not x or x <= 3:
        raise ValueError(f"{x + 1} is small")
    return -x * [4, 5][0], x[1:], 2**x if up else zip(x, x, strict=True)
'''


def test_each_is_another_program():
    tree = ast.dump(ast.parse(SOURCE))
    found = mutations("f.py", SOURCE)
    texts = [mutation.apply(SOURCE) for mutation in found]
    assert len(set(texts)) == len(texts) > 15
    for text in texts:
        assert ast.dump(ast.parse(text)) != tree


@pytest.mark.parametrize(
    ("expression", "kinds"),
    [
        ("a - b", {"operator": "(a + b)", "operands": "(b - a)", "missing term": "(a)"}),
        ("a * b", {"operator": "(a / b)", "missing term": "(a)"}),
        ("-a", {"sign": "(a)"}),
        ("a < b", {"condition": "(a <= b)"}),
        ("a if b else c", {"condition": "(c if b else a)"}),
        ("2.5", {"constant": "(3.5)"}),
        ("a[b:]", {"index": "(a[:b])"}),
        ("a is None", {"condition": "(a is not None)"}),
    ],
)
def test_kinds(expression, kinds):
    found = {mutation.kind: mutation.after for mutation in mutations("f.py", expression.encode())}
    assert found == kinds


def test_messages_types_and_texts_are_left_alone():
    lines = SOURCE.splitlines()
    for mutation in mutations("f.py", SOURCE):
        assert b"ValueError" not in lines[mutation.line - 1]
        assert "strict" not in mutation.before or mutation.kind == "condition"
        assert mutation.before != "a + b"


def test_equal_ones_have_numbers():
    found = mutations("f.py", b"x = 1\ny = 1\n")
    assert [(mutation.line, mutation.nth) for mutation in found] == [(1, 1), (2, 2)]


@pytest.mark.parametrize(
    ("source", "tests"), [("0", {"b"}), ("\n0", {"a", "b"}), ("\n\n0", set()), ("[\n0][1:]", {"a", "b"})]
)
def test_which_tests_run_first(source, tests):
    """Those that execute its lines; all if these run on import."""
    record = {"seconds": {"a": 0.1, "b": 0.2}, "lines": {"f.py:1": [1], "f.py:2": []}}
    assert executed_by(record, mutations("f.py", source.encode())[0]) == tests


@pytest.fixture
def path(tmp_path):
    """A source in a copy of the project."""
    path = tmp_path / "gpubp/nn/f.py"
    path.parent.mkdir(parents=True)
    (tmp_path / "gpubp/engine/cpu/c/generated").mkdir(parents=True)
    path.write_bytes(b"x = 1\n")
    return path


def test_a_fault_is_taken_back(path, tmp_path):
    before = path.stat().st_mtime
    (mutation,) = mutations("gpubp/nn/f.py", path.read_bytes())
    with planted(tmp_path, mutation):
        assert path.read_bytes() == b"x = (2)\n"
        assert path.stat().st_mtime != before
    assert path.read_bytes() == b"x = 1\n"
    assert path.stat().st_mtime == before


def test_what_fails_without_the_fault_does_not_find_it(path, tmp_path, monkeypatch):
    (mutation,) = mutations("gpubp/nn/f.py", path.read_bytes())
    tests = SimpleNamespace(copy=tmp_path / "sound", record=lambda file: {"seconds": {}, "lines": {}})
    for copies, found in (({tmp_path}, "test_a"), ({tmp_path, tests.copy}, None)):
        monkeypatch.setattr(main, "run", lambda copy, *_, copies=copies: "test_a" if copy in copies else None)
        with nullcontext() if found else pytest.raises(SystemExit, match="test_a fails without a fault"):
            assert main.run_with(tmp_path, mutation, tests) == found


def test_what_no_test_noticed_is_explained():
    rows = read(RESULTS)
    assert rows
    assert [row for row in rows if not (row["found_by"] or row.get("why"))] == []
