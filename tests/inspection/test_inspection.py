"""What is inspected of any function that predicts, against scikit-learn's and obvious computations."""

import numpy as np
import pytest
import sklearn.calibration

from gpubp.data import table_from_mapping
from gpubp.data.preprocessing import CategoryColumn, DateColumn, NumberColumn, WordsColumn
from gpubp.inspection import grid_of, mean_predictions, permuted_scores, reliability, replaced_inputs
from gpubp.inspection.replaced_inputs import Replacement, replaced_predictions

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(40, 5))


def predict(X):
    return np.stack([np.sin(X[:, 0]) * X[:, 1] + X[:, 3], X.prod(axis=1)], axis=1)


@pytest.mark.parametrize("at_once", [1, 200, 450, 1 << 20], ids=["less than one", "one", "two", "all"])
def test_replaced_inputs_are_those_of_other_rows(monkeypatch, at_once):
    monkeypatch.setattr(replaced_inputs, "NUMBERS_AT_ONCE", at_once)
    order = RANDOM.permutation(40)
    replacements = [Replacement(slice(0, 2), order), Replacement(slice(3, 4), 7), Replacement(slice(1, 3), order[::-1])]
    before = X.copy()
    expected = []
    for inputs, rows in replacements:
        changed = X.copy()
        changed[:, inputs] = X[rows, inputs]
        expected.append(predict(changed))
    np.testing.assert_array_equal(list(replaced_predictions(predict, X, replacements)), expected)
    np.testing.assert_array_equal(X, before)


def test_all_inputs_of_a_column_move_together():
    pairs = X.copy()
    pairs[:, 1] = -pairs[:, 0]

    def score(predictions):
        return float(np.abs(predictions).max())

    columns = {"pair": slice(0, 2), "alone": slice(0, 1)}
    together, alone = permuted_scores(lambda X: X[:, :1] + X[:, 1:2], pairs, columns, score, n_repeats=4)
    assert (together == 0.0).all()
    assert (alone > 0.1).all()


def test_progress_counts_up_to_all():
    seen = []
    columns = {"a": slice(0, 1), "b": slice(1, 2)}
    permuted_scores(predict, X, columns, np.mean, n_repeats=3, progress=lambda *counts: seen.append(counts))
    assert seen == [(k, 6) for k in range(1, 7)]
    seen.clear()
    mean_predictions(predict, X, slice(0, 1), np.arange(2), progress=lambda *counts: seen.append(counts))
    assert seen == [(1, 2), (2, 2)]


def test_mean_predictions_are_weighted_means_of_those_of_each_row():
    weights = RANDOM.integers(0, 4, 40).astype(float)
    average, individual = mean_predictions(
        predict, X, slice(2, 4), np.asarray([5, 9, 5]), sample_weight=weights, individual=True
    )
    assert individual.shape == (40, 3, 2)
    repeated = np.repeat(individual, weights.astype(int), axis=0).mean(axis=0)
    np.testing.assert_allclose(average, repeated, rtol=1e-12)
    np.testing.assert_array_equal(individual[:, 0], individual[:, 2])


# Grids


def test_numbers_have_quantiles_and_each_row_has_its_value():
    values = np.round(RANDOM.normal(size=500), 3)
    values[::7] = np.nan
    grid = grid_of(table_from_mapping({"a": values}), NumberColumn("a", 0.0, 1.0, 0.0), resolution=20)
    expected = np.unique(np.quantile(values[~np.isnan(values)], np.linspace(0.05, 0.95, 20), method="nearest"))
    np.testing.assert_array_equal(grid.values, expected)
    np.testing.assert_array_equal(values[grid.rows], grid.values)


@pytest.mark.parametrize(
    ("values", "column", "expected"),
    [
        (["b", None, "a", "b", "c", "c", "b"], CategoryColumn("x", ("a", "b", "c")), ["b", "c"]),
        ([10, 9, 9, 10, 2], CategoryColumn("x", ("10", "2", "9"), "number"), ["9", "10"]),
        ([True, False, None], CategoryColumn("x", ("False", "True"), "bool"), ["False", "True"]),
        (["3 km", "x", "1 km"], NumberColumn("x", 0.0, 1.0, 0.0), []),
        ([None, None, "a"], NumberColumn("x", 0.0, 1.0, 0.0), []),
        (
            np.asarray(["2020-02-01", "NaT", "2019-02-01"], dtype="datetime64[s]"),
            DateColumn("x", "datetime", ("days",), 0.0, 1.0, 0.0),
            np.asarray(["2019-02-01", "2020-02-01"], dtype="datetime64[s]").tolist(),
        ),
        (["12:30", "06:00", "12:30"], DateColumn("x", "datetime", ("days",), 0, 1, 0, date_format="%H:%M"), [6, 12.5]),
        (["some words", "other words"], WordsColumn("x", ("words",)), []),
    ],
    ids=["text", "numbers", "bools", "unreadable", "unknown", "dates", "times", "words"],
)
def test_other_columns_have_their_values(values, column, expected):
    table = table_from_mapping({"x": values})
    grid = grid_of(table, column, resolution=2)
    assert grid.values.tolist() == expected
    assert len(grid.rows) == len(expected)


# Calibration


@pytest.mark.parametrize("strategy", ["uniform", "quantile"])
@pytest.mark.parametrize("n_bins", [1, 5, 10])
def test_calibration_is_that_of_scikit_learn(strategy, n_bins):
    probabilities = RANDOM.beta(0.6, 0.9, 300)
    occurred = RANDOM.random(300) < probabilities**1.5
    curve = reliability("rain", occurred, probabilities, n_bins=n_bins, strategy=strategy)
    observed, predicted = sklearn.calibration.calibration_curve(
        occurred, probabilities, n_bins=n_bins, strategy=strategy
    )
    np.testing.assert_allclose(curve.observed, observed, rtol=1e-12)
    np.testing.assert_allclose(curve.predicted, predicted, rtol=1e-12)
    assert curve.weights.sum() == 300


def test_a_weight_counts_as_rows():
    probabilities, weights = RANDOM.random(50), RANDOM.integers(0, 4, 50)
    occurred = RANDOM.random(50) < 0.5
    weighted = reliability("rain", occurred, probabilities, sample_weight=weights.astype(float))
    repeated = reliability("rain", np.repeat(occurred, weights), np.repeat(probabilities, weights))
    np.testing.assert_allclose(weighted.observed, repeated.observed)
    np.testing.assert_allclose(weighted.predicted, repeated.predicted)
    np.testing.assert_array_equal(weighted.weights, repeated.weights)
    assert weighted.error == pytest.approx(repeated.error)
    assert weighted.error > 0.0
