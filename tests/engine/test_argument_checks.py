"""Unusual arrays as arguments: a clear error, or the bits that a plain array of the same numbers gives."""

import re
from functools import partial

import numpy as np
import pandas as pd
import pytest
import scipy.sparse

from gpubp import MLPClassifier, MLPRegressor, Network, one_hot, predict, train
from gpubp.errors import DataError
from gpubp.explain import explain
from gpubp.nn.initialization import initial_weights
from gpubp.plotting import hidden_heat_map

NETWORK = Network((3, 4, 2), activation="tanh")
RANDOM = np.random.default_rng(0)
X, D = RANDOM.normal(size=(8, 3)), RANDOM.normal(size=(8, 2))
THETA = initial_weights(NETWORK, dtype="float64")
WEIGHTS = np.ones(8)


def fit(X=X, targets=D, theta=THETA, **options):
    return train(NETWORK, X, targets, theta=theta, **({"device": "cpu", "epochs": 3, "batch_size": 3} | options))


def strided(array):
    """Return the same numbers as a strided view with negative strides."""
    larger = np.zeros((*array.shape[:-1], 2 * array.shape[-1]))
    larger[..., ::-2] = array
    return larger[..., ::-2]


class Subclass(np.ndarray):
    """An array subclass that redefines sums and products."""

    def __array_finalize__(self, other):
        self.note = getattr(other, "note", "mine")

    def __mul__(self, other):
        raise AssertionError("no product is taken of this")


class Becomes:
    """An object with ``__array__``, which counts its calls."""

    def __init__(self, make):
        self.make, self.conversions = make, 0

    def __array__(self, dtype=None, copy=None):
        self.conversions += 1
        return self.make()


SAME = {
    "negative strides": strided,
    "Fortran's order": np.asfortranarray,
    "the other order of bytes": lambda array: array.astype(array.dtype.newbyteorder()),
    "read-only": lambda array: np.frombuffer(array.tobytes()).reshape(array.shape),
    "longdouble": lambda array: array.astype(np.longdouble),
    "objects": lambda array: array.astype(object),
    "text": lambda array: np.vectorize(repr, otypes=[object])(array.astype(object)).astype(str),
    "bytes": lambda array: np.vectorize(repr, otypes=[object])(array.astype(object)).astype("S"),
    "a matrix": lambda array: np.matrix(array) if array.ndim == 2 else array,
    "a subclass": lambda array: array.view(Subclass),
    "masked nowhere": np.ma.asarray,
    "lists": lambda array: array.tolist(),
    "rows": lambda array: list(array),
    "a frame": lambda array: pd.DataFrame(array) if array.ndim == 2 else pd.Series(array),
    "an object that becomes one": lambda array: Becomes(lambda: array),
    "a memory view": lambda array: memoryview(np.ascontiguousarray(array)),
}


@pytest.mark.filterwarnings("ignore:the matrix subclass:PendingDeprecationWarning")
@pytest.mark.parametrize("kind", SAME)
@pytest.mark.parametrize("argument", ["X", "targets", "theta", "sample_weight"])
def test_unusual_arrays_are_used_by_value(kind, argument):
    plain = {"X": X, "targets": D, "theta": THETA, "sample_weight": WEIGHTS}
    odd = plain | {argument: SAME[kind](plain[argument])}
    actual, expected = fit(**odd, dtype="float64"), fit(**plain, dtype="float64")
    assert type(actual.theta) is np.ndarray
    close = partial(np.testing.assert_allclose, rtol=1e-10, atol=1e-14)  # strides change the order of sums
    close(actual.theta, expected.theta)
    if argument in ("X", "theta"):
        theta, x = odd["theta"], odd["X"]
        y = predict(NETWORK, theta, x, device="cpu", dtype="float64")
        assert type(y) is np.ndarray
        close(y, predict(NETWORK, THETA, X, device="cpu", dtype="float64"))


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("width", [4, 8])
def test_the_precision_is_that_of_the_numbers_in_either_order_of_bytes(order, width):
    assert fit(X=X.astype(f"{order}f{width}"), theta=None).theta.dtype == f"f{width}"


@pytest.mark.parametrize("dtype", ["float16", "int8", "uint64", "bool", ">i4"])
def test_narrow_and_whole_numbers_become_float32(dtype):
    x = np.arange(24).reshape(8, 3).astype(dtype)
    actual = fit(X=x, theta=None)
    assert actual.theta.dtype == np.float32
    np.testing.assert_array_equal(actual.theta, fit(X=x.astype("float32"), theta=None).theta)


def test_overlapping_views_are_read_and_never_written():
    line = RANDOM.normal(size=10)
    windows = np.lib.stride_tricks.sliding_window_view(line, 3)
    constant = np.broadcast_to(np.asarray([0.5, -0.5]), (8, 2))
    before = line.copy()
    np.testing.assert_array_equal(
        fit(X=windows, targets=constant).theta, fit(X=windows.copy(), targets=constant.copy()).theta
    )
    np.testing.assert_array_equal(line, before)


def test_an_object_is_converted_once():
    x = Becomes(lambda: X)
    fit(X=x)
    assert x.conversions == 1


MASKED = np.ma.masked_greater(X, 1.0)


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"X": MASKED}, "X"),
        ({"X": list(MASKED)}, "X"),
        ({"targets": np.ma.masked_less(D, 0.0)}, "targets"),
        ({"theta": np.ma.masked_greater(THETA, 0.0)}, "theta"),
        ({"sample_weight": np.ma.array(WEIGHTS, mask=[1, *[0] * 7])}, "sample_weight"),
        ({"validation_data": (MASKED, D)}, "validation X"),
    ],
)
def test_no_mask_is_lost(options, name):
    with pytest.raises(DataError, match=rf"^{name} is a masked array with \d+ of \d+ values masked, the first at \["):
        fit(**options)


def test_no_mask_is_lost_in_predictions_labels_and_estimators():
    labels = np.ma.array([0, 1] * 4, mask=[0, 1, *[0] * 6])
    y = np.asarray([0, 1] * 4)
    for call, name in [
        (lambda: predict(NETWORK, THETA, MASKED, device="cpu"), "X"),
        (lambda: predict(NETWORK, np.ma.masked_greater(THETA, 0.0), X, device="cpu"), "theta"),
        (lambda: one_hot(labels), "labels"),
        (lambda: MLPClassifier().fit(MASKED, y), "X"),
        (lambda: MLPClassifier().fit(X, labels), "y"),
        (lambda: MLPClassifier().fit(X, y, sample_weight=np.ma.masked_equal(y, 0)), "sample_weight"),
        (lambda: MLPRegressor().fit(X, np.ma.masked_less(D, 0.0)), "y"),
        (lambda: explain(NETWORK, THETA, MASKED, D), "x"),
        (lambda: hidden_heat_map((NETWORK, THETA), MASKED), "the array"),
    ]:
        with pytest.raises(DataError, match=rf"^{name} is a masked array"):
            call()


def raising(error):
    def make():
        raise error

    return Becomes(make)


class Float:
    def __float__(self):
        raise RuntimeError("no number today")


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (
            raising(RuntimeError("\x1b[31m" + "x" * 1000)),
            r"not an array or a data frame in memory \(\\x1b\[31mx+\.\.\. \(1,005 ch",
        ),
        (raising(MemoryError()), "X is a Becomes, not an array"),
        (Becomes(lambda: [1, 2]), "X is a Becomes, not an array"),
        (Becomes(lambda: np.asarray("text")), "X must hold numbers, got <U4"),
        (np.asarray([[Float()] * 3] * 8), "X must hold numbers, got object: no number today"),
        (np.asarray([[10**400] * 3] * 8), "X must hold numbers, got object: int too large"),
        ([[10**400] * 3] * 8, "X must hold numbers, got object: int too large"),
        (np.full((8, 3), 1j), "X must hold real numbers, got complex128"),
        (np.full((8, 3), "1e999"), r"X holds inf at \[0, 0\]"),
        (np.full((8, 3), np.longdouble("1e400")), r"X holds inf at \[0, 0\]"),
        (np.full((8, 3), np.nan), r"X holds nan at \[0, 0\]"),
        (np.zeros((8, 3), "f8,f8"), "X must hold real numbers, got "),
        (np.zeros((8, 3), "V8"), "X must hold real numbers, got "),
        (np.zeros((0, 3)), "X is empty"),
        (np.zeros((8, 0)), r"X must be \(samples, 3\)"),
        (np.float64(3.0), r"X must be \(samples, 3\)"),
        ([[1.0, 2.0, 3.0], [1.0]], "its rows of one length"),
        ([[[1.0], 2.0, 3.0]] * 8, "its rows of one length"),
        (pd.DataFrame({"a": pd.array([1, None] * 4, "Int64"), "b": 1.0, "c": 1.0}), "X must hold numbers, got object"),
        (scipy.sparse.eye_array(8, 3), r"X is a sparse \w+; pass X\.toarray\(\)"),
        (lambda: X, "X is a function, not an array"),
        ({1.0, 2.0}, r"X is a set.*; pass numpy\.asarray\(list\(X\)\)"),
        ("123", "X is a str, not an array"),
    ],
)
def test_objects_that_are_not_numeric_arrays(x, message):
    with pytest.raises(DataError, match=message):
        fit(X=x)
    with pytest.raises(DataError, match=message):
        predict(NETWORK, THETA, x, device="cpu")


@pytest.mark.parametrize("name", ["epochs", "batch_size", "patience", "gradient_accumulation"])
@pytest.mark.parametrize("number", [True, np.True_, 0, 1.0])
def test_a_count_is_a_whole_number_and_no_bool(name, number):
    with pytest.raises(DataError, match=f"{name} must be a .*whole number.*, got {re.escape(repr(number))}"):
        fit(**{name: number})


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"n_members": 5}, r"\(117,\).* \(3, 4, 2\) with 5 members that share weights; got \(7,\)"),
        ({"skips": ((0, 2),), "bias": False}, "with connections that skip layers and no biases; got"),
        ({"activation": "parametric(relu)"}, "with parametric activations; got"),
        ({}, r"of sizes \(3, 4, 2\); got"),
    ],
)
def test_an_error_about_theta_says_what_its_length_follows_from(options, words):
    with pytest.raises(DataError, match=words):
        predict(Network((3, 4, 2), **options), np.zeros(7), np.zeros((2, 3)))
