"""pandas-dev/pandas#18186 and its kind: a column that mixes numbers or dates with text, as pandas reads long files.

The meaning of a value does not depend on the other rows: each is read by its own kind, alone or among others.
"""

import datetime
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gpubp
from gpubp.data import fit_preprocessing, table_from_mapping
from gpubp.data.preprocessing import ColumnOptions, apply, decide_table, encode, fit_columns
from gpubp.errors import DataError

UTC = datetime.UTC

COLUMNS = {
    "text": ["02139", "K1A", "10001", "2020-01-31", "5", "nan", "true", "2020-01-31T00:00:00Z", "0.5"],
    "several spellings": ["1", "1.0", "x", "2020-01-31", "2020-01-31 00:00:00", "True", "0"],
    "numbers": [2139.0, 10001.0, 1.0, 0.0, 0.5],
    "bools": [True, False],
    "dates": [datetime.date(2020, 1, 31), datetime.date(2021, 1, 1)],
    "times": [datetime.datetime(2020, 1, 31, tzinfo=UTC), datetime.datetime(2021, 1, 1, tzinfo=UTC)],
}

values = st.sampled_from(
    [
        *(2139, 10001, 5, 1, 0, 2139.0, 1.0, 0.5, np.float32(10001), np.float32(0.5), np.int8(5), np.uint64(1)),
        *(Decimal("10001.0"), Decimal(5), Fraction(1, 2), True, False, np.True_, float("inf"), 2**70, -0.0),
        *(pd.Timestamp("2020-01-31"), datetime.date(2020, 1, 31), pd.Timestamp("2020-01-31", tz="UTC")),
        *(datetime.datetime(2020, 1, 31, 1, tzinfo=datetime.timezone(datetime.timedelta(hours=1))),),
        *("K1A", "02139", "2139", "1.0", "nan", "true", "2020-01-31", "x", "", "NA", "inf"),
        *(None, np.nan, pd.NaT, pd.NA),
    ]
)


def fitted(name):
    column = COLUMNS[name] * 2
    y = ["a", "b"] * len(COLUMNS[name])
    types = {"c": "category"} if name in ("text", "several spellings", "bools") else {}
    table = table_from_mapping({"c": np.array(column, dtype=object), "y": y})
    return fit_preprocessing(table, types=types)


PREPROCESSINGS = {name: fitted(name) for name in COLUMNS}


def encoded(preprocessing, column):
    """Return the inputs of a column's rows; None if the column cannot be part of a table."""
    try:
        return apply(preprocessing, table_from_mapping({"c": column}))
    except DataError:  # dates with a time zone and without one beside each other
        return None


@settings(deadline=None, max_examples=300)
@given(column=st.lists(values, min_size=2, max_size=4), as_list=st.booleans(), name=st.sampled_from(list(COLUMNS)))
def test_a_value_means_the_same_alone_and_among_others(column, as_list, name):
    zones = {value.tzinfo is None for value in column if isinstance(value, datetime.datetime) and value is not pd.NaT}
    if len(zones) > 1:
        column = [value for value in column if not isinstance(value, datetime.datetime)] + ["2020-01-31"]
    alone = [encoded(PREPROCESSINGS[name], objects([value])) for value in column]
    among_others = encoded(PREPROCESSINGS[name], column if as_list else objects(column))
    assert all(row is not None for row in alone)
    if among_others is not None:
        np.testing.assert_array_equal(among_others, np.concatenate(alone))


def objects(column):
    array = np.empty(len(column), dtype=object)
    array[:] = column
    return array


def test_codes_that_pandas_reads_as_numbers_in_part_of_a_file():
    frame = pd.DataFrame({"zip": ["02139", "K1A"] * 20, "a": np.arange(40) % 7 * 1.0, "y": ["u", "v"] * 20})
    model = gpubp.fit_table(gpubp.prepare_table(frame, target="y"), epochs=3, device="cpu").model
    mixed = pd.DataFrame({"zip": pd.Series([2139, "K1A"], dtype=object), "a": [0.0, 1.0]})
    got = gpubp.predict_table(model, mixed, device="cpu")["y=u"]
    np.testing.assert_allclose(got, gpubp.predict_table(model, frame[["zip", "a"]][:2], device="cpu")["y=u"], rtol=1e-6)


def test_a_value_that_fits_several_categories_is_missing_among_text_too():
    for column in ([1], [1, "x"], ["x", 1]):
        place, shown = column.index(1), "1" if len(column) == 1 else "'1'"
        X, issues = encode(PREPROCESSINGS["several spellings"], table_from_mapping({"c": column}))
        assert not X[place].any()
        assert [tuple(issue) for issue in issues] == [("c", "unreadable", 1, f"row {place + 1}: {shown}")]


def test_a_column_of_several_kinds_is_fitted_as_text_in_one_form():
    mixed = [
        10001.0,
        np.float32(10001),
        Decimal("10001.0"),
        "10001",
        pd.Timestamp("2020-01-31"),
        "2020-01-31",
        "x",
        "y",
    ]
    table = table_from_mapping({"c": objects(mixed), "y": ["a", "b"] * 4})
    expected = ("10001", "2020-01-31", "x", "y")
    assert fit_preprocessing(table, categorical=["c"]).columns[0].categories == expected
    pieces = [table.select(rows) for rows in (range(4), range(4, 8))]
    decisions = decide_table(pieces, ColumnOptions(categorical=["c"]))
    fitted = fit_columns(decisions, [(piece, np.ones(4, dtype=bool)) for piece in pieces])
    assert fitted.preprocessing.columns[0].categories == expected


@pytest.mark.parametrize(
    ("column", "inputs", "problem"),
    [
        ([1.5, 2.5, 3.5, True] * 3, ["c=1.5", "c=2.5", "c=3.5", "c=True"], None),
        ([1.5, 2.5, 3.5, *[4.5] * 7, datetime.date(2020, 1, 31)], ["c", "c=missing"], "2020-01-31"),
        ([1.5, 2.5, 3.5, *[4.5] * 7, "x"], ["c", "c=missing"], "'x'"),
        (["x", "y", "z", np.inf], ["c=x", "c=y", "c=z", "c=missing"], None),
    ],
)
def test_columns_of_several_kinds_are_taken_for_what_most_values_are(column, inputs, problem):
    y = ["a", "b"] * (len(column) // 2) + ["a"] * (len(column) % 2)
    table = table_from_mapping({"c": objects(column), "d": np.arange(len(column)) / 2, "y": y})
    preprocessing = fit_preprocessing(table)
    assert list(preprocessing.feature_names) == [*inputs, "d"]
    reason = preprocessing.summaries[0].reason
    assert ("1 other value, " in reason and problem in reason) if problem else "other value" not in reason


def test_numbers_that_no_table_can_hold_are_refused():
    with pytest.raises(DataError, match="column 'c' holds a number too large for float64"):
        table_from_mapping({"c": objects(["x", "y", "z", 10**400])})
