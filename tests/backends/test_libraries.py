"""One table of array libraries; nothing outside it compares names of backends."""

import ast
import copy
from pathlib import Path

import array_api_compat
import numpy as np
import pytest

import gpubp
from gpubp.backends import libraries
from gpubp.backends.backend import choose_backend, to_backend, to_numpy
from gpubp.backends.libraries import CUPY, LIBRARIES, NUMPY, STRICT, Library, library_of

PACKAGE = Path(gpubp.__file__).parent
NAMES = {*LIBRARIES, "numpy", "cupy", "jax", "gpu"}


def texts_in(*nodes):
    """Return the texts among nodes, including those in tuples, lists and sets."""
    nodes = [part for node in nodes for part in getattr(node, "elts", [node])]
    return {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}


def comparisons_in(source):
    """Return the lines that compare with the name of a backend, or check whether a text starts or ends with one."""
    lines = []
    for node in ast.walk(ast.parse(source)):
        texts = set()
        if isinstance(node, ast.Compare):
            texts = texts_in(node.left, *node.comparators) if isinstance(node.ops[0], ast.Eq | ast.NotEq) else set()
            texts |= {text for part in node.comparators if hasattr(part, "elts") for text in texts_in(part)}
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            if node.func.attr in ("startswith", "endswith", "removeprefix"):
                texts = texts_in(*node.args)
        elif isinstance(node, ast.MatchValue):
            texts = texts_in(node.value)
        if {text.partition(":")[0] for text in texts} & NAMES:
            lines.append(node.lineno)
    return lines


def test_nothing_compares_names_of_backends():
    compared = {
        path.relative_to(PACKAGE).as_posix(): lines
        for path in PACKAGE.rglob("*.py")
        if path.relative_to(PACKAGE).parts[:2] != ("engine", "cpu")
        and (lines := comparisons_in(path.read_text(encoding="utf-8")))
    }
    assert compared == {}


@pytest.mark.parametrize(
    "line",
    [
        'backend.name == "cpu"',
        '"cuda" != name',
        'backend.name.startswith("cuda")',
        'device in ("auto", "cuda")',
        'name.endswith(("cupy", "x"))',
        'device == "cuda:0"',
    ],
)
def test_a_comparison_is_found(line):
    assert comparisons_in(f"x = 1\nif {line}:\n    pass") == [2]


def test_other_code_is_not_reported():
    assert comparisons_in('f("cpu"); device = "cuda"; {"cpu": 1}["cpu"]; name == "tanh"; "cupy" in packages') == []


def test_a_backend_knows_its_kind(backend_case):
    backend = backend_case.backend
    assert backend.is_numpy == (backend.library is NUMPY) == array_api_compat.is_numpy_namespace(backend.xp)
    assert backend.is_cuda == (backend.library is CUPY) == array_api_compat.is_cupy_namespace(backend.xp)
    assert library_of(backend_case.asarray([1.0], "float32")) is backend.library


def test_an_object_that_is_not_an_array_has_no_library():
    assert library_of([1.0]) is None
    assert library_of(np.ones(1)) is NUMPY


def test_numpy_has_one_device():
    with pytest.raises(gpubp.GpubpError, match="device='cpu:1': expected 'cpu'"):
        choose_backend("cpu:1")


def test_a_library_is_added_by_one_entry(monkeypatch):
    """As in docs/backends.md, with another name for array_api_strict."""
    monkeypatch.delitem(LIBRARIES, STRICT.name)
    added = Library("mine", owns=STRICT.owns, open=STRICT.open, to_numpy=STRICT.to_numpy)
    monkeypatch.setitem(LIBRARIES, "mine", added)
    backend = choose_backend("mine:device1")
    array = to_backend(backend, np.ones(2), "float32")
    assert (backend.name, choose_backend("auto", array).name) == ("mine:device1", "mine:device1")
    assert to_numpy(array).tolist() == [1.0, 1.0]


def test_an_unknown_library_follows_the_standard(monkeypatch):
    array = choose_backend("array_api_strict").xp.ones(2)
    monkeypatch.setattr(libraries, "LIBRARIES", {"cpu": NUMPY})
    library = library_of(array)
    assert library.name == "array_api_strict"
    assert library.owns(array)
    assert not library.owns(np.ones(2))


def test_exponential_of_numpy_in_float32_is_rounded_once():
    x = np.random.default_rng(0).uniform(-80.0, 80.0, 100_000).astype(np.float32)
    found, true = choose_backend("cpu").xp.exp(x), np.exp(x.astype(float))
    assert found.dtype == np.float32
    assert np.max(np.abs(found - true) / np.spacing(found)) <= 0.5 + 1e-6
    assert choose_backend("cpu").xp.exp(x.astype(float)).dtype == np.float64


def test_exponential_of_numpy_takes_what_numpys_own_takes():
    exp = choose_backend("cpu").xp.exp
    for x in (0.5, 1, [0.5], np.float32(0.5), np.float16(0.5), np.ones((0, 2), np.float32), np.ones(2, int)):
        np.testing.assert_array_equal(exp(x), np.exp(x))
        assert exp(x).dtype == np.exp(x).dtype


def test_namespaces_can_be_copied():
    xp = copy.copy(choose_backend("cpu").xp)
    assert xp.exp(np.float32(0.0)) == 1.0
    assert xp.matmul is array_api_compat.numpy.matmul
