"""Marks of missing values among numbers, and numbers in another unit, are noticed; nothing is changed in silence."""

import numpy as np
import pytest

from gpubp.data import apply, fit_preprocessing, table_from_mapping
from gpubp.data.preprocessing import encode
from gpubp.data.preprocessing._suspicious_numbers import likely_mark

RANDOM = np.random.default_rng(0)
AGES = RANDOM.integers(18, 91, 200).astype(float)
DEGREES = RANDOM.normal(10.0, 12.0, 200)
SHARES = RANDOM.beta(2.0, 2.0, 200)
INCOMES = RANDOM.lognormal(10.0, 1.0, 200)


def with_mark(values, mark, n=5):
    return RANDOM.permutation(np.append(values, [float(mark)] * n))


@pytest.mark.parametrize(
    ("values", "mark"),
    [
        (with_mark(AGES, -1), -1),
        (with_mark(AGES, -9), -9),
        (with_mark(AGES, -999), -999),
        (with_mark(AGES, 999), 999),
        (with_mark(AGES, 999, 5000), 999),
        (with_mark(DEGREES, -999), -999),
        (with_mark(DEGREES, 9999), 9999),
        (with_mark(DEGREES, -9999), -9999),
        (with_mark(SHARES, -1), -1),
        (with_mark(INCOMES, -99), -99),
        (with_mark(with_mark(DEGREES, -999), -9999), -9999),
        (with_mark(np.array([2.0, 5, 20, 50, 100, 250] * 20), 999), 999),
        (with_mark(np.array([1.0, 2, 3] * 30), -999), -999),
        (with_mark(np.array([1.0, 2, 3] * 30), 99), None),
        (with_mark(np.array([0.0, 1] * 30), 999), None),
        (with_mark(AGES, 99), None),  # an age
        (with_mark(AGES, -5), None),
        (with_mark(AGES, 1000), None),
        (with_mark(AGES, -999, 1), None),  # a single outlier
        (with_mark(DEGREES, -9), None),
        (with_mark(AGES - 18, -1), None),  # beside 0 it may be a number
        (with_mark(np.array([1.0, 2, 3] * 30), -1), None),  # few codes
        (with_mark(INCOMES, 9999), None),
        (np.array([-1.0, 1.0] * 50), None),
        (np.array([-999.0] * 50), None),
        (np.arange(1000.0), None),
        (np.array([]), None),
        (AGES, None),
        (np.array([1e300, -1e300, np.finfo(float).max] * 30), None),
    ],
)
def test_marks_of_missing_values(values, mark):
    assert likely_mark(values) == mark


def test_a_mark_is_named_with_the_option_and_stays_a_number():
    table = table_from_mapping({"age": with_mark(AGES, -999), "y": with_mark(DEGREES, 9999)})
    preprocessing = fit_preprocessing(table, "y")
    for summary, mark in zip(preprocessing.summaries, ["-999", "9999"], strict=True):
        assert summary.likely_missing == mark
        assert (
            summary.reason
            == f"numbers; {mark} stands apart from all others: if it means missing, pass --missing {mark}"
        )
        assert summary.n_missing == 0
    preprocessing = fit_preprocessing(table, "y", missing=["-999"])
    assert [summary.likely_missing for summary in preprocessing.summaries] == ["", "9999"]
    assert [summary.n_missing for summary in preprocessing.summaries] == [5, 0]


def noticed(training, new):
    preprocessing = fit_preprocessing(table_from_mapping({"x": training, "y": RANDOM.normal(size=len(training))}), "y")
    table = table_from_mapping({"x": new})
    if not np.isnan(new).any():
        apply(preprocessing, table, strict=True)  # another unit is no error
    return [issue.example for issue in encode(preprocessing, table).issues if issue.problem == "unit"]


@pytest.mark.parametrize("values", [AGES, SHARES, INCOMES, DEGREES + 40.0, -AGES], ids=range(5))
def test_another_unit_is_noticed(values):
    for factor in (100.0, 1000.0):
        assert noticed(values[:150], values[150:] * factor) == [f"about {factor:g} times as large as in training"]
        assert noticed(values[:150], values[150:] / factor) == [f"about {factor:g} times as small as in training"]
    with_missing = np.append(values[150:] * 100.0, [np.nan] * 30)
    assert noticed(values[:150], with_missing) == ["about 100 times as large as in training"]


@pytest.mark.parametrize("values", [AGES, SHARES, INCOMES, DEGREES, DEGREES * 1e-3, np.arange(200.0)], ids=range(6))
def test_other_numbers_are_in_no_other_unit(values):
    assert not noticed(values[:150], values[150:])
    assert not noticed(values[:150], np.sort(values)[:20])
    assert not noticed(values[:150], np.sort(values)[-20:])
    assert not noticed(values[:150], values[150:] * 10.0)
    assert not noticed(values[:150], np.append(values[150:], 1e6 * values.max()))
    assert not noticed(values[:150], values[150:155] * 100.0)  # too few
    assert not noticed(values[:150], np.full(30, values[150] * 100.0))
    assert not noticed(np.append(values[:150], 1e5 * values.max()), values[150:])
