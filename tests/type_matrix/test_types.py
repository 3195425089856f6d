"""Each public argument and equation takes the dtypes, libraries and layouts that docs/types.md says it takes."""

from pathlib import Path

import array_api_compat
import numpy as np
import pytest

from gpubp.backends.backend import choose_backend, to_numpy
from tests.type_matrix import equations
from tests.type_matrix.arrays import LAYOUTS, cast, on
from tests.type_matrix.calls import CALLS, NOT_CALLED, arguments
from tests.type_matrix.table import ERROR, PAGE, outcome, replaced, table

pytestmark = [pytest.mark.once, pytest.mark.filterwarnings("ignore")]  # such as those of short fits

DEVICES = [
    pytest.param(name, marks=pytest.mark.on(name))
    for name in ("array_api_strict:device1", "torch:cpu", "jax.numpy", "cuda")
]
PAIRS = (("bool", "bool"), ("uint8", "uint8"), ("int64", "int64"), ("float16", "float32"), ("bfloat16", "float32"))
PAIRS += (("float32", "float32"), ("float64", "float64"), ("complex64", "complex64"))
"""Dtypes of other libraries, and the dtypes of NumPy that they are like."""


# --- nothing is left out ---


def test_every_argument_that_takes_arrays_is_called():
    found, called = set(arguments()), {*CALLS, *NOT_CALLED}
    fix = "add it to CALLS in tests/type_matrix/calls.py, then run: python -m tests.type_matrix"
    assert found - called == set(), fix
    assert called - found == set(), "take it out of tests/type_matrix/calls.py"


def test_every_equation_is_called():
    called = {*(name for name in equations.CALLS if "." in name), *equations.MAKES_NO_ARRAYS_OF_ITS_OWN}
    assert set(equations.functions()) == called, "list it in tests/type_matrix/equations.py"


# --- dtypes and libraries ---


def test_the_page_has_the_table():
    pytest.importorskip("ml_dtypes")
    pytest.importorskip("onnx")
    pytest.importorskip("matplotlib")
    page = Path(__file__).parents[2].joinpath(*PAGE).read_text(encoding="utf-8")
    assert replaced(page, table()) == page, "write it anew: python -m tests.type_matrix"


@pytest.mark.parametrize("device", DEVICES)
def test_other_libraries_give_the_same(device):
    """JAX compiles each operation when it is first used, so fewer are called."""
    backend = choose_backend(device)
    has_float64 = "float64" in backend.xp.__array_namespace_info__().dtypes(kind="real floating")
    others = ("BatchedSearchCV", "check_gradient", "assert_agree(", "to_onnx")  # of NumPy's arrays, or of one library
    others += ("MLPClassifier.fit(X of", "MLPRegressor.fit(X of")  # of the library of the samples
    names = [name for name in CALLS if not name.startswith(others)]
    if device == "jax.numpy":
        names = ["predict(X)", "all_correct(outputs)", "deviation(expected)"]
    for name in names:
        for dtype, like in PAIRS[-3:-2] if CALLS[name].is_slow else PAIRS:
            example = CALLS[name].example
            array = on(backend, example, dtype)
            if array is None or (dtype == "float64" and not has_float64):
                continue
            expected, found = outcome(name, cast(example, like)), outcome(name, array)
            if not has_float64:
                expected, found = expected.replace("float64", "float32"), found.replace("float64", "float32")
            as_float32 = like != dtype and name == "deviation(actual)"  # the only one that tells them apart
            assert found == (ERROR if as_float32 else expected), f"{name} of {dtype} on {device}"


@pytest.mark.parametrize("device", DEVICES)
def test_results_stay_in_the_library(device):
    backend = choose_backend(device)
    for name, call in CALLS.items():
        if call.stays and (device != "jax.numpy" or name == "predict(X)"):
            array = on(backend, call.example, "float32")
            result = call.call(array)
            assert array_api_compat.array_namespace(result) is array_api_compat.array_namespace(array), name
            assert array_api_compat.device(result) == array_api_compat.device(array), name


# --- layouts ---


def numbers(result):
    """The numbers in a result, if there are any to compare."""
    if hasattr(result, "dtype"):
        return to_numpy(result)
    return np.asarray(result) if isinstance(result, float) else None


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_layout_changes_no_result(layout):
    for name, call in CALLS.items():
        if name in ("TabularClassifier.fit(y)", "TabularRegressor.fit(y)"):
            continue  # the draws of a short fit; the target is read as a column, as X is
        array = LAYOUTS[layout](call.example)
        before = array.copy()
        result, expected = numbers(call.call(array)), numbers(call.call(call.example))
        np.testing.assert_array_equal(array, before, err_msg=f"{name} wrote to its argument")
        if expected is not None:
            assert result.dtype == expected.dtype, name
            np.testing.assert_allclose(result, expected, rtol=1e-12, atol=1e-12, err_msg=name)


def test_no_rows_raise():
    for name, call in CALLS.items():
        if name == "one_hot(labels)" or name.startswith(("deviation", "assert_", "all_correct")):
            continue  # nothing is nothing
        with pytest.raises(ValueError, match=r"[a-z]"):
            call.call(call.example[:0])


def test_one_row_is_predicted_as_among_others():
    names = [name for name in CALLS if name.partition("(")[0].endswith(("predict", "predict_proba", "predict_std"))]
    assert len(names) > 8
    for name in set(names) - {"predict(theta)"}:
        call = CALLS[name]
        one, all_rows = call.call(call.example[:1]), call.call(call.example)
        np.testing.assert_allclose(one, all_rows[:1], rtol=1e-6, err_msg=name)


# --- equations ---


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_equations_return_what_they_are_given(layout, dtype):
    for name, (_, *examples) in equations.CALLS.items():
        arrays = [example.astype(dtype) for example in examples]
        moved = [LAYOUTS[layout](array) for array in arrays]
        expected, results = (equations.called(name, np, *given) for given in (arrays, moved))
        tolerance = 8 * float(np.finfo(dtype).eps)
        for result, wanted in zip(results, expected, strict=True):
            assert result.dtype.newbyteorder("=") == dtype, name
            np.testing.assert_allclose(result, wanted, rtol=tolerance, atol=tolerance, err_msg=name)
        for array, given in zip(arrays, moved, strict=True):
            np.testing.assert_array_equal(array, given, err_msg=f"{name} wrote to its argument")


@pytest.mark.parametrize("device", DEVICES)
def test_equations_return_what_they_are_given_on_other_libraries(device):
    """The values are compared by gpubp agree."""
    backend = choose_backend(device)
    for name, (_, *examples) in equations.CALLS.items():
        if device != "jax.numpy" or name.startswith("equations."):  # JAX compiles each operation
            arrays = [on(backend, example, "float32") for example in examples]
            for result in equations.called(name, backend.xp, *arrays):
                assert result.dtype == backend.xp.float32, name
