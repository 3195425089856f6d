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
from gpubp.data.preprocessing import apply, fit_incrementally
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
    categorical = ["c"] if isinstance(column[0], str) else []
    table = table_from_mapping({"c": np.array(column, dtype=object), "y": y})
    return fit_preprocessing(table, impute=True, categorical=categorical)


PREPROCESSINGS = {name: fitted(name) for name in COLUMNS}


def encoded(preprocessing, column):
    """Return the inputs of a column's rows; None if a value is refused."""
    try:
        return apply(preprocessing, table_from_mapping({"c": column}))
    except DataError as error:
        if "with a time zone and dates without one" in str(error):  # refused beside each other only
            pytest.skip("two dates that cannot be compared")
        return None


@settings(deadline=None, max_examples=300)
@given(column=st.lists(values, min_size=2, max_size=4), as_list=st.booleans(), name=st.sampled_from(list(COLUMNS)))
def test_a_value_means_the_same_alone_and_among_others(column, as_list, name):
    zones = {value.tzinfo is None for value in column if isinstance(value, datetime.datetime) and value is not pd.NaT}
    if len(zones) > 1:
        column = [value for value in column if not isinstance(value, datetime.datetime)] + ["2020-01-31"]
    alone = [encoded(PREPROCESSINGS[name], objects([value])) for value in column]
    among_others = encoded(PREPROCESSINGS[name], column if as_list else objects(column))
    if any(row is None for row in alone):
        assert among_others is None
    else:
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


def test_a_value_that_fits_several_categories_is_refused_among_text_too():
    for column in ([1], [1, "x"], ["x", 1]):
        with pytest.raises(
            DataError, match=rf"column 'c', row {column.index(1) + 1}: '1' may be any of the categories"
        ):
            apply(PREPROCESSINGS["several spellings"], table_from_mapping({"c": column}))


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
    pieces = [(table.select(rows), np.ones(4, dtype=bool)) for rows in (range(4), range(4, 8))]
    assert fit_incrementally(pieces, categorical=["c"]).preprocessing.columns[0].categories == expected


@pytest.mark.parametrize(
    ("column", "message"),
    [
        ([1.5, 2.5, 3.5, True], "column 'c' holds true or false among numbers; correct it, or read categories"),
        ([1.5, 2.5, 3.5, datetime.date(2020, 1, 31)], "column 'c', row 4: '2020-01-31' is a date where numbers"),
        ([1.5, 2.5, 3.5, "x"], "column 'c', row 4: 'x' is non-numeric text where numbers"),
        (["x", "y", "z", np.inf], "column 'c', row 4: infinity; it cannot be a category"),
        (["x", "y", "z", 10**400], "column 'c' holds a number too large for float64"),
    ],
)
def test_columns_of_several_kinds_that_are_refused_in_training(column, message):
    with pytest.raises(DataError, match=message):
        fit_preprocessing(table_from_mapping({"c": objects(column), "y": ["a", "b"] * 2}))
