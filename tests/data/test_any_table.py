"""Any table is fitted and applied: made-up tables of every type, in memory and in pieces."""

import datetime
import json

import numpy as np
import pandas as pd
import pyarrow
import pyarrow.csv
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from gpubp.data import read_table, table_from_mapping
from gpubp.data.preprocessing import (
    ColumnOptions,
    apply,
    decide_table,
    decode_target,
    encode,
    encode_target,
    fit_columns,
    fit_preprocessing,
    from_json,
    has_target,
    to_json,
)
from gpubp.errors import DataError

MARKS = ["", "NA", "N/A", "n/a", "NaN", "null", "None", "?", "-", ".", "<NA>", "#N/A"]
TABLES = settings(deadline=None, max_examples=60)


def of_every_type(n, seed):
    """Return columns of every type that a file may hold, each with a few missing marks and odd values."""
    random = np.random.default_rng(seed)
    k = np.arange(n)
    columns = {
        "row": k,
        "plain": random.normal(size=n).round(3),
        "unit": [f"{number} mpg" for number in random.integers(10, 50, n)],
        "price": [f"${number:,.2f}" for number in random.lognormal(7.0, 2.0, n)],
        "share": [f"{number:.1f}%" for number in random.uniform(0, 100, n)],
        "code": [f"{number:05}" for number in random.integers(0, 200, n)],
        "town": random.choice(["Bonn", "Ulm", "Rom", *map("town {}".format, range(30))], n),
        "street": [f"{number} street" for number in random.integers(0, 150, n)],
        "open": random.choice(["yes", "no"], n),
        "day": [str(np.datetime64("1960-01-01") + int(days)) for days in random.integers(0, 20_000, n)],
        "seen": [f"{day}/{month}/19{year}" for day, month, year in random.integers(10, 13, (n, 3))],
        "words": [" ".join(random.choice(["big", "red", "old", "new", "house", "car"], 5)) for _ in range(n)],
        "id": [f"x{number}" for number in random.permutation(n)],
        "fee": ["7"] * n,
    }
    frame = pd.DataFrame(columns).astype(str).astype(object)
    for name in frame.columns[1:-2]:
        frame.loc[random.random(n) < 0.08, name] = random.choice(MARKS)
        frame.loc[random.random(n) < 0.02, name] = random.choice(["odd", "??", "9999", "2020-13-45", "1 2 3"])
    return frame


@pytest.mark.parametrize("kind", ["regression", "classification"])
def test_a_model_of_one_part_takes_every_row_of_the_other(kind):
    """In 100 random splits for each task, whatever the rows hold."""
    n = 60
    for seed in range(100):
        random = np.random.default_rng(1000 + seed)
        frame = of_every_type(n, seed)
        frame["y"] = random.normal(size=n) if kind == "regression" else random.choice(["a", "b", "c"], n)
        frame.loc[random.random(n) < 0.05, "y"] = None
        rows = random.permutation(n)
        training, others = (table_from_mapping(frame.iloc[part]) for part in (rows[:35], rows[35:]))
        preprocessing = fit_preprocessing(training, "y")
        assert preprocessing.task == kind
        names = {column.name for column in preprocessing.columns}
        assert not names & {"row", "id", "fee"}
        assert {"plain", "unit", "price", "share", "town", "open", "day"} <= names
        for table in (training, others):
            x = apply(preprocessing, table)
            assert x.shape == (table.n_rows, len(preprocessing.feature_names))
            assert np.isfinite(x).all()
            known = has_target(preprocessing, table)
            assert np.isfinite(encode_target(preprocessing, table.select(known))).all()


# --- any columns ---

texts = st.sampled_from(
    [
        *MARKS,
        *("1", "01", "1.0", "-3", "2.5", "1e3", "1e999", "inf", "-inf", "1,5", "1,600", "1.600,5", "\u22125", "0x1"),
        *("$5", "5 km", "7 km", "8 kg", "12%", "(3)", "1k", "2M", "true", "True", "FALSE", "yes", "No", "t", "1_0"),
        *("2020-01-31", "2020-01-31T08:00Z", "1/2/2020", "31.12.1969", "12:30", "Jan 2020", "20200131", "0001-01-01"),
        *("a", "A", " a", "a b c d", "Stra\u00dfe \u0130stanbul 3", "9007199254740993", "1" * 400, "x" * 2000, "\n"),
    ]
)
numbers = st.one_of(st.integers(-(2**63), 2**64 - 1), st.floats(), st.integers(-3, 3), st.booleans())
dates = st.one_of(
    st.datetimes(datetime.datetime(1600, 1, 1)),
    st.dates(),
    st.datetimes(timezones=st.just(datetime.UTC), min_value=datetime.datetime(1600, 1, 1)),
)
SOURCES = [
    texts,
    st.text(max_size=4).filter(lambda text: text.isprintable()),
    st.integers(-5, 5).map(str),
    st.integers(0, 10**6).map(lambda number: f"{number:,} EUR"),
    st.floats(-1e3, 1e3).map(lambda number: f"{number:.2f}"),
    st.dates().map(str),
    st.sampled_from(["yes", "no"]),
    st.integers(-2, 2),
    st.floats(),
    st.floats(-1e3, 1e3),
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.dates(),
    st.one_of(texts, numbers),
]


@st.composite
def columns(draw, n):
    """Draw one column of values of a source, with missing ones and with one of another source."""
    values = draw(st.sampled_from(SOURCES))
    rows = st.one_of(values, st.none()) if draw(st.booleans()) else values
    drawn = draw(st.lists(rows, min_size=n, max_size=n))
    if draw(st.booleans()):
        drawn[draw(st.integers(0, n - 1))] = draw(st.one_of(texts, numbers, st.none()))
    return drawn


@st.composite
def tables(draw, max_rows=24):
    n = draw(st.integers(2, max_rows))
    return {name: draw(columns(n)) for name in draw(st.sampled_from([("a",), ("a", "b"), ("id", "b", "c")]))} | {
        "y": draw(columns(n))
    }


def table_or_none(mapping):
    """Return the table, or None where a frame's column is refused: numbers too large, or mixed time zones."""
    try:
        return table_from_mapping(mapping)
    except DataError:
        return None


OPTIONS = st.fixed_dictionaries(
    {},
    optional={
        "task": st.sampled_from(["classification", "regression"]),
        "types": st.fixed_dictionaries({"b": st.sampled_from(["number", "category", "date", "words"])}),
        "missing": st.just(("a", "-3", "2.5")),
        "max_categories": st.integers(1, 3),
    },
)


def options_for(mapping, options):
    return {name: value for name, value in options.items() if name != "types" or "b" in mapping}


@TABLES
@given(tables(), tables(), OPTIONS, st.data())
def test_any_table_is_fitted_and_applied(mapping, other, options, data):
    table, new = table_or_none(mapping), table_or_none(other)
    if table is None:
        return
    try:
        preprocessing = fit_preprocessing(table, "y", **options_for(mapping, options))
    except DataError as error:
        refusal = str(error)
    else:
        refusal = ""
    if refusal:
        assert any(part in refusal for part in ("target", "learn from", "'y'", "leave out the type"))
        return
    encoded = encode(preprocessing, table)
    assert np.isfinite(encoded.X).all()
    assert encoded.X.shape == (table.n_rows, len(preprocessing.feature_names))
    known = has_target(preprocessing, table)
    training = table.select(known)
    assert not [issue for issue in encode(preprocessing, training).issues if issue.problem != "unreadable"]
    targets = encode_target(preprocessing, training)
    assert np.isfinite(targets).all()
    assert len(decode_target(preprocessing, targets)["y"]) == known.sum()
    again = from_json(json.loads(json.dumps(to_json(preprocessing))))
    assert again == preprocessing
    for row in range(table.n_rows):
        np.testing.assert_array_equal(apply(again, table.select([row]))[0], encoded.X[row])
    order = data.draw(st.permutations([*mapping, "more"]))
    shuffled = table_from_mapping({name: mapping.get(name, [0] * table.n_rows) for name in order})
    np.testing.assert_array_equal(apply(again, shuffled), encoded.X)
    if new is not None and {column.name for column in preprocessing.columns} <= set(other):
        assert np.isfinite(apply(preprocessing, new)).all()
        has_target(preprocessing, new)


@TABLES
@given(tables(), OPTIONS, st.integers(1, 24))
def test_pieces_decide_and_encode_as_the_whole_table(mapping, options, size):
    table = table_or_none(mapping)
    if table is None:
        return
    pieces = [table.select(range(k, min(k + size, table.n_rows))) for k in range(0, table.n_rows, size)]
    assert_the_same_fit(table, pieces, options_for(mapping, options))


@TABLES
@given(tables(), OPTIONS, st.integers(1, 24))
def test_pieces_of_a_frame_decide_as_the_whole_frame(mapping, options, size):
    """Each piece is converted alone, so that a column's kind may differ from piece to piece."""
    # beside floats, integers beyond 2^53 are rounded, and a piece may have the one without the other
    integers = [value for values in mapping.values() for value in values if isinstance(value, int | np.integer)]
    assume(all(abs(int(value)) < 2**53 for value in integers))
    table, n = table_or_none(mapping), len(mapping["y"])
    parts = [{name: values[k : k + size] for name, values in mapping.items()} for k in range(0, n, size)]
    pieces = list(map(table_or_none, parts))
    if table is not None and None not in pieces:
        assert_the_same_fit(table, pieces, options_for(mapping, options))


@TABLES
@given(st.data(), OPTIONS)
def test_pieces_of_a_file_decide_as_the_whole_file(tmp_path_factory, data, options):
    """How a file is written is found once, so that its pieces are rows of the same table."""
    n, path = data.draw(st.integers(2, 12)), tmp_path_factory.mktemp("files") / "t.csv"
    frame = pd.DataFrame({name: data.draw(st.lists(texts, min_size=n, max_size=n)) for name in ("a", "b", "y")})
    pyarrow.csv.write_csv(pyarrow.Table.from_pandas(frame, preserve_index=False), path)
    try:
        table = read_table(path)
    except DataError:
        return
    if set(table.columns) == {"a", "b", "y"}:
        assert_the_same_fit(table, [table.select([k]) for k in range(table.n_rows)], options)


def assert_the_same_fit(table, pieces, options):
    """Fit the whole table and its pieces with the same training rows: the same columns, targets and inputs."""
    training = np.arange(table.n_rows) % 3 < 2
    stops = np.cumsum([piece.n_rows for piece in pieces])
    results = []
    for parts in ([table], pieces):
        masks = [training] if len(parts) == 1 else np.split(training, stops[:-1])
        try:
            decisions = decide_table(parts, ColumnOptions("y", **options))
            masks = [mask & decisions.target.present(part) for mask, part in zip(masks, parts, strict=True)]
            fitted = fit_columns(decisions, zip(parts, masks, strict=True))
        except DataError as error:
            results.append(error)
        else:
            results.append(fitted)
    whole, in_pieces = results
    assert isinstance(whole, DataError) == isinstance(in_pieces, DataError), results
    if isinstance(whole, DataError):
        return
    first, second = whole.preprocessing, in_pieces.preprocessing
    assert second.feature_names == first.feature_names
    assert [type(column) for column in second.columns] == [type(column) for column in first.columns]
    assert [(one.name, one.type, one.n_missing, one.n_distinct) for one in second.summaries] == [
        (one.name, one.type, one.n_missing, one.n_distinct) for one in first.summaries
    ]
    assert in_pieces.ranges == whole.ranges
    expected = apply(first, table)
    np.testing.assert_allclose(apply(second, table), expected, rtol=1e-9, atol=1e-9)
    encoded = np.concatenate([apply(second, piece) for piece in pieces])
    np.testing.assert_allclose(encoded, expected, rtol=1e-9, atol=1e-9)


# --- training rows ---


@TABLES
@given(st.integers(0, 2**32 - 1))
def test_rows_that_are_held_out_change_nothing_but_counts(seed):
    """Classes and types come from all rows, statistics and categories from the training rows alone."""
    frame, random = of_every_type(40, seed % 50), np.random.default_rng(seed)
    frame["y"] = random.choice(["a", "b"], 40)
    rows = np.sort(random.permutation(40)[:30])
    changed = frame.copy()
    held_out = np.setdiff1d(np.arange(40), rows)
    for name in frame.columns[1:-1]:
        changed.loc[held_out, name] = random.permutation(frame[name].to_numpy()[held_out])
    changed.loc[held_out, "plain"] = "12345.5"
    first, second = (fit_preprocessing(table_from_mapping(one), "y", rows=rows) for one in (frame, changed))
    assert [(one.name, one.type) for one in first.summaries] == [(one.name, one.type) for one in second.summaries]
    assert (first.columns, first.target, first.missing) == (second.columns, second.target, second.missing)
