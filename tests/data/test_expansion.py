"""The inputs of a table from its numbers and codes, on each device, against a literal form for each value."""

import math
from datetime import UTC, datetime
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpubp.backends.backend import to_backend, to_backend_together, to_numpy
from gpubp.data import table_from_mapping
from gpubp.data.preprocessing import (
    CategoryColumn,
    ColumnArrays,
    DateColumn,
    NumberColumn,
    NumberTarget,
    Preprocessing,
    TargetStatisticsColumn,
    WordsColumn,
    encode,
    expand,
    expansion_of,
    read_columns,
)

DAY = 86400.0
WORDS = tuple(f"w{number}" for number in range(40))  # more than one code holds
COLUMNS = (
    CategoryColumn("kind", ("u", "v"), groups=(("x", "y"),), other=True, missing=True),
    NumberColumn("size", 0.5, 2.0, -1.0, indicator=True, edges=(-3.0, 0.0, 2.0), bound=2.0),
    WordsColumn("text", WORDS),
    NumberColumn("age", 0.5, 2.0, -1.0, encoding="robust", edges=(0.0, 1.0, 4.0, 5.0)),
    DateColumn(
        "when", "datetime", ("month", "days", "weekday", "hour"), 1.0, 4.0, 3.25 * DAY, indicator=True, bound=3.0
    ),
    TargetStatisticsColumn(
        *("place", ("p", "q")),
        averaged=("y", "z"),
        statistics=((3.0, 0.0), (1.0, 5.0)),
        overall=(2.0, 1.0),
        scales=(4.0, 2.0),
    ),
    CategoryColumn("colour", ("red",)),
)
PREPROCESSING = Preprocessing(COLUMNS, NumberTarget(("t",), (0.0,), (1.0,), (0.0,), (1.0,)))
NUMBERS = st.none() | st.floats(-9.0, 9.0)
ROWS = st.fixed_dictionaries(
    {
        "kind": st.none() | st.sampled_from("uvxyz"),
        "size": NUMBERS,
        "text": st.none() | st.lists(st.sampled_from((*WORDS, "else")), max_size=5).map(" ".join),
        "age": NUMBERS,
        "when": st.none() | st.integers(-(10**9), 10**9),
        "place": st.none() | st.sampled_from("pqr"),
        "colour": st.sampled_from(["red", "green"]),
    }
)
MADE = [
    {"kind": "v", "size": 1.0, "text": "w1 else w39", "age": 4.5, "when": 10**8, "place": "q", "colour": "red"},
    {"kind": None, "size": None, "text": None, "age": None, "when": None, "place": None, "colour": "green"},
    {"kind": "y", "size": 9.0, "text": "w31 w32", "age": -9.0, "when": -(10**8) - 1, "place": "r", "colour": "red"},
    {"kind": "z", "size": -9.0, "text": "", "age": 0.0, "when": 0, "place": "p", "colour": "red"},
]


def inputs_of_row(row):
    """Return what the columns say, one input after the other."""
    kind, text, colour = row["kind"], (row["text"] or "").split(), row["colour"]
    inputs = [kind == "u", kind == "v", kind in ("x", "y"), kind == "z", kind is None]
    size, age = (-1.0 if row[name] is None else row[name] for name in ("size", "age"))
    inputs += [min(max((size - 0.5) / 2.0, -2.0), 2.0), row["size"] is None, *bins(size, (-3.0, 0.0, 2.0))]
    inputs += [word in text for word in WORDS]
    scaled = (age - 0.5) / 2.0
    inputs += [scaled / math.sqrt(1.0 + (scaled / 3.0) ** 2), *bins(age, (0.0, 1.0, 4.0, 5.0))]
    seconds = 3.25 * DAY if row["when"] is None else row["when"]
    date = datetime.fromtimestamp(seconds, UTC)
    month, weekday = 2.0 * math.pi * (date.month - 1) / 12.0, 2.0 * math.pi * date.weekday() / 7.0
    hour = 2.0 * math.pi * (seconds % DAY) / DAY
    inputs += [math.sin(month), math.cos(month), min(max((seconds / DAY - 1.0) / 4.0, -3.0), 3.0)]
    inputs += [math.sin(weekday), math.cos(weekday), math.sin(hour), math.cos(hour), row["when"] is None]
    inputs += {"p": [0.25, -0.5], "q": [-0.25, 2.0]}.get(row["place"], [0.0, 0.0])
    return [*map(float, inputs), float(colour == "red")]


def bins(x, edges):
    n = len(edges) - 1
    return [(min(max((x - low) / (high - low), 0.0), 1.0) - 0.5) / math.sqrt(n) for low, high in pairwise(edges)]


def table_of(rows):
    columns = {name: [row[name] for row in rows] for name in MADE[0]}
    columns["size"], columns["age"] = (np.array(columns[name], dtype=np.float64) for name in ("size", "age"))
    dates = [None if seconds is None else np.datetime64(seconds, "s") for seconds in columns["when"]]
    return table_from_mapping(columns | {"when": np.array(dates, "datetime64[s]")})


@settings(max_examples=25)
@given(st.lists(ROWS, min_size=1, max_size=4))
def test_each_input_is_what_its_column_says(rows):
    X = encode(PREPROCESSING, table_of(rows)).X
    np.testing.assert_allclose(X, [inputs_of_row(row) for row in rows], atol=1e-9)


def test_every_device_computes_the_same_inputs(backend_case, dtype):
    backend, expansion = backend_case.backend, expansion_of(PREPROCESSING)
    columns = read_columns(PREPROCESSING, table_of(MADE)).columns
    arrays = [one.astype(dtype) if one.dtype == np.float64 else one for one in (*expansion.arrays, *columns)]
    *rest, numbers, codes = to_backend_together(backend, arrays)
    of_type = getattr(backend.xp, dtype)
    X = expand(backend.xp, expansion.with_arrays(rest), ColumnArrays(numbers, codes), of_type)
    assert X.dtype == of_type
    tolerance = 2e-6 if dtype == "float32" else 1e-14
    np.testing.assert_allclose(to_numpy(X), encode(PREPROCESSING, table_of(MADE)).X, rtol=tolerance, atol=tolerance)


def test_rows_of_parts_are_those_of_the_whole():
    table = table_of(MADE * 600)
    X = encode(PREPROCESSING, table, "float32").X
    np.testing.assert_array_equal(X, np.tile(encode(PREPROCESSING, table_of(MADE), "float32").X, (600, 1)))


def test_arrays_that_are_moved_together_keep_their_shapes_and_types(backend_case):
    backend = backend_case.backend
    arrays = [np.arange(6, dtype=np.float32).reshape(2, 3), np.arange(3, dtype=np.int32), np.ones((0, 4), np.float32)]
    for one, moved in zip(arrays, to_backend_together(backend, arrays), strict=True):
        assert moved.dtype == to_backend(backend, one).dtype
        np.testing.assert_array_equal(to_numpy(moved), one)


@pytest.mark.parametrize("number_encoding", ["linear", "robust"])
def test_a_table_of_one_kind_of_columns(number_encoding):
    one = Preprocessing((NumberColumn("size", 1.0, 1.0, 1.0, encoding=number_encoding),), PREPROCESSING.target)
    X = encode(one, table_from_mapping({"size": [1.0, None, 2.0]})).X
    np.testing.assert_allclose(X[:, 0], [0.0, 0.0, 1.0 if number_encoding == "linear" else 0.9**0.5])
