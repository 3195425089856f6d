"""Errors about values that are not numbers name the argument, which those of NumPy and pandas do not.

A conversion alone decides which errors are of this kind, not the words of a message.
"""

import numpy as np
import pandas as pd
import pytest

import gpubp
from gpubp.errors import DataError

pytestmark = [
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
    pytest.mark.filterwarnings("ignore:X (has|does not have valid) feature names:UserWarning"),
]

Y = [0, 1]
NO_NUMBERS = {
    "text": np.array([["a", "b"], ["c", "d"]]),
    "bytes": np.array([[b"a"], [b"b"]]),
    "lists of different lengths": [[1, 2], [3]],
    "text in a frame": pd.DataFrame({"a": ["x", "y"]}),
    "pandas' text": pd.DataFrame({"a": pd.array(["x", "y"], dtype="string")}),
    "categories": pd.DataFrame({"a": pd.Categorical(["x", "y"])}),
    "dates beside numbers": pd.DataFrame({"a": pd.to_datetime(["2020", "2021"]), "b": [1.0, 2.0]}),
    "durations beside numbers": pd.DataFrame({"a": pd.to_timedelta([1, 2], "D"), "b": [1.0, 2.0]}),
    "periods": pd.DataFrame({"a": pd.PeriodIndex(["2020-01", "2021-01"], freq="M")}),
    "lists": pd.DataFrame({"a": [[1], [2]]}),
}


class Price:
    """A number that does not become a float, and says so in its own words."""

    def __float__(self):
        raise ValueError("a currency is needed")


@pytest.mark.parametrize("name", NO_NUMBERS)
@pytest.mark.parametrize("method", ["fit", "predict", "validation_data"])
def test_values_that_are_not_numbers(name, method):
    X = NO_NUMBERS[name]
    model = gpubp.MLPClassifier((2,), max_iter=1, device="cpu")
    usual = np.zeros((2, np.shape(X)[1] if name != "lists of different lengths" else 2))
    calls = {
        "fit": lambda: model.fit(X, Y),
        "predict": lambda: model.fit(usual, Y).predict(X),
        "validation_data": lambda: model.fit(usual, Y, validation_data=(X, Y)),
    }
    with pytest.raises(DataError, match=r"X must hold (real )?numbers") as raised:
        calls[method]()
    assert isinstance(raised.value, TypeError) or method == "validation_data"


def test_messages_in_other_words():
    X = pd.DataFrame({"a": [Price(), Price()]})
    with pytest.raises(DataError, match=r"X must hold numbers, .*a currency is needed"):
        gpubp.MLPClassifier((2,), max_iter=1, device="cpu").fit(X, Y)


@pytest.mark.parametrize(
    ("X", "message"),
    [
        (pd.DataFrame({"could not convert": [0.0, 1.0]}), "feature names should match"),
        (pd.DataFrame({"a": pd.array([True, None], dtype="boolean")}), "Input X contains NaN"),
        (pd.DataFrame({"a": pd.array([1, None], dtype="Int64")}), "Input X contains NaN"),
        (pd.DataFrame({"a": [1.0, 1j]}), "Complex data not supported"),
        (np.array([[1.0], [np.inf]]), "Input X contains infinity"),
        (np.zeros((2, 1, 1)), "Found array with dim 3"),
    ],
    ids=["names", "bools", "integers", "complex", "infinity", "dimensions"],
)
def test_other_errors_are_scikit_learns(X, message):
    model = gpubp.MLPClassifier((2,), max_iter=1, device="cpu").fit(pd.DataFrame({"a": [0.0, 1.0]}), Y)
    with pytest.raises(ValueError, match=message) as raised:
        model.predict(X)
    assert not isinstance(raised.value, DataError)
