"""pandas-dev/pandas#32134 and its kind: codes of many digits become float64 beside missing values, and lose digits.

Two different codes were then one category.
"""

from decimal import Decimal

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from gpubp.data import fit_preprocessing, table_from_mapping
from gpubp.data.preprocessing import ColumnOptions, apply, decide_table, fit_columns

polars = pytest.importorskip("polars")

FIRST, SECOND = 2**53, 2**53 + 1
CODES = [FIRST, SECOND, None, FIRST]
Y = ["a", "b", "a", "b"]
COLUMNS = {
    "list": CODES,
    "decimals": [None if code is None else Decimal(code) for code in CODES],
    "masked": np.ma.MaskedArray([FIRST, SECOND, 0, FIRST], mask=[0, 0, 1, 0]),
    "pandas": pd.array(CODES, dtype="Int64"),
    "pandas, unsigned": pd.Series(CODES, dtype="UInt64"),
    "pandas, arrow": pd.Series(CODES, dtype="int64[pyarrow]"),
    "pyarrow": pa.array(CODES),
    "pyarrow, in chunks": pa.chunked_array([CODES[:2], CODES[2:]]),
    "polars": polars.Series(CODES),
    "polars, unsigned": polars.Series(CODES, dtype=polars.UInt64),
}
columns = pytest.mark.parametrize("column", COLUMNS.values(), ids=COLUMNS)


@columns
def test_codes_of_many_digits_are_different_categories(column):
    table = table_from_mapping({"c": column, "y": Y})
    preprocessing = fit_preprocessing(table, categorical=["c"])
    assert preprocessing.columns[0].categories == (str(FIRST), str(SECOND))
    assert preprocessing.columns[0].kind == "number"
    np.testing.assert_array_equal(apply(preprocessing, table), [[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 0, 0]])
    without_missing = table_from_mapping({"c": [SECOND, FIRST], "y": Y[:2]})
    np.testing.assert_array_equal(apply(preprocessing, without_missing), [[0, 1, 0], [1, 0, 0]])


@columns
def test_they_are_numbers_unless_named(column):
    table = table_from_mapping({"c": column, "y": Y})
    preprocessing = fit_preprocessing(table, types={"c": "number"})
    assert preprocessing.columns[0].fill == FIRST
    floats = table_from_mapping({"c": [float(FIRST), float(SECOND), np.nan, float(FIRST)], "y": Y})
    np.testing.assert_array_equal(
        apply(preprocessing, table), apply(fit_preprocessing(floats, types={"c": "number"}), floats)
    )


def test_pieces_with_and_without_missing_values_agree():
    tables = [table_from_mapping({"c": codes, "y": Y[:2]}) for codes in ([FIRST, SECOND], [SECOND, None], [5, None])]
    decisions = decide_table(tables, ColumnOptions(categorical=["c"]))
    fitted = fit_columns(decisions, [(table, np.ones(2, dtype=bool)) for table in tables])
    column = fitted.preprocessing.columns[0]
    assert column.categories == ("5", str(FIRST), str(SECOND))
    assert column.missing


@pytest.mark.parametrize("column", [[1, 2, None], [1, 2**70, None], [FIRST, 0.5, None], [Decimal("0.5"), FIRST, None]])
def test_other_columns_are_floats(column):
    values = table_from_mapping({"c": column}).columns["c"]
    assert values.dtype == np.float64
    np.testing.assert_array_equal(values, [*map(float, column[:2]), np.nan])


def test_decimals_that_are_whole_are_integers():
    values = table_from_mapping({"c": [Decimal(FIRST), Decimal(SECOND)]}).columns["c"]
    assert values.tolist() == [FIRST, SECOND]
