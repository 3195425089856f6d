"""A new table is read by the model's schema: any format, any types of a frame, any other rows."""

import datetime
import json
from dataclasses import replace

import numpy as np
import pandas as pd
import polars as pl
import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gpubp
from gpubp.data import apply, encode_target, fit_preprocessing, read_table, table_from_mapping
from gpubp.data.preprocessing import (
    ColumnOptions,
    DateColumn,
    decide_table,
    encode,
    fit_columns,
    from_json,
    read_dates,
    to_json,
)
from gpubp.data.streaming.prepared_stream import prepare_stream
from gpubp.data.streaming.table_files import open_tables
from gpubp.errors import DataError, ModelFileError
from gpubp.tabular import prepare_table

N = 40
UTC = datetime.UTC


def of_all_kinds():
    """Return a frame with a column of each kind that types declare."""
    k = np.arange(N)
    return pd.DataFrame(
        {
            "size": k * 0.5,
            "floor": k % 3 + 1,
            "open": k % 2 == 0,
            "day": pd.to_datetime(np.array(["2020-01-31", "2020-02-01 08:30"], "datetime64[s]")[k % 2]),
            "sent": pd.to_datetime(np.array(["2020-01-31", "2020-02-01 08:30"], "datetime64[s]")[k % 2]).tz_localize(
                "Europe/Berlin"
            ),
            "town": np.array(["Bonn", "NA", "01"])[k % 3],
            "y": np.where(k % 2 == 0, "a", "b"),
        }
    )


def fitted(frame=None, **options):
    frame = of_all_kinds() if frame is None else frame
    return fit_preprocessing(table_from_mapping(frame), "y", **({"categorical": ["floor"]} | options))


# --- the schema ---


def test_the_schema_states_what_each_column_holds():
    schema = fitted().schema
    assert schema == {
        "size": "number",
        "floor": "number",
        "open": "bool",
        "day": "datetime",
        "sent": "datetime_utc",
        "town": "text",
        "y": "text",
    }


def test_the_schema_is_in_the_model_file(tmp_path):
    fit = gpubp.fit_table(prepare_table(of_all_kinds(), target="y"), epochs=1, device="cpu")
    model = fit.model
    gpubp.save_model(tmp_path / "m", model.network, model.theta, preprocessing=model.preprocessing)
    kinds = [column.get("kind", "number") for column in gpubp.load_model(tmp_path / "m").preprocessing["columns"]]
    assert kinds == ["number", "number", "bool", "datetime", "datetime_utc", "text"]
    assert from_json(json.loads(json.dumps(to_json(fitted())))) == fitted()


@pytest.mark.parametrize(
    ("column", "message"),
    [
        ({"kind": "colour"}, "got colour"),
        ({"kind": "number"}, "categories of 'town' that hold numbers"),
        ({"kind": "bool", "categories": ["True", "yes"]}, "hold true or false"),
        ({"kind": "datetime", "categories": ["2020-01-31Z"]}, "hold dates without a time zone"),
        ({"kind": "text", "unit": "m"}, "the keys of CategoryColumn, got the unknown unit"),
    ],
)
def test_a_malformed_schema_is_refused(column, message):
    data = to_json(fitted())
    data["columns"][-1] |= column
    with pytest.raises(ModelFileError, match=message):
        from_json(data)


# --- formats and types ---


def as_csv(frame, tmp_path):
    frame.to_csv(tmp_path / "new.csv", index=False)
    return tmp_path / "new.csv"


def as_quoted_csv(frame, tmp_path):
    frame.to_csv(tmp_path / "new.csv", index=False, quoting=1)
    return tmp_path / "new.csv"


def as_polars_csv(frame, tmp_path):
    pl.from_pandas(frame).write_csv(tmp_path / "new.csv")
    return tmp_path / "new.csv"


def as_arrow_csv(frame, tmp_path):
    from pyarrow import csv

    csv.write_csv(pyarrow.Table.from_pandas(frame), tmp_path / "new.csv")
    return tmp_path / "new.csv"


def as_parquet(frame, tmp_path):
    frame.to_parquet(tmp_path / "new.parquet")
    return tmp_path / "new.parquet"


def as_text(frame, tmp_path):
    return frame.astype(str)


def as_objects(frame, tmp_path):
    return frame.astype(object)


def as_arrow(frame, tmp_path):
    return pyarrow.Table.from_pandas(frame)


def as_arrow_types(frame, tmp_path):
    return frame.convert_dtypes(dtype_backend="pyarrow")


def as_nullable(frame, tmp_path):
    return frame.convert_dtypes()


def as_polars(frame, tmp_path):
    return pl.from_pandas(frame)


FORMATS = [
    as_csv,
    as_quoted_csv,
    as_polars_csv,
    as_arrow_csv,
    as_parquet,
    as_text,
    as_objects,
    as_arrow,
    as_arrow_types,
    as_nullable,
    as_polars,
]


def as_table(converted):
    return read_table(converted) if hasattr(converted, "suffix") else table_from_mapping(converted)


@pytest.mark.parametrize("convert", FORMATS, ids=lambda convert: convert.__name__)
def test_every_format_of_a_table_gives_the_same_inputs(tmp_path, convert):
    """Trained on a frame with types, predicted from each format; all rows, and one alone."""
    frame = of_all_kinds()
    preprocessing = fitted(frame)
    expected = apply(preprocessing, table_from_mapping(frame))
    for rows in (slice(None), slice(1, 2), slice(2, 3)):
        table = as_table(convert(frame[rows].reset_index(drop=True), tmp_path))
        np.testing.assert_array_equal(apply(preprocessing, table), expected[rows])
        assert len(encode_target(preprocessing, table)) == len(expected[rows])


@pytest.mark.parametrize("convert", [as_parquet, as_arrow, as_arrow_types, as_objects, as_polars])
def test_every_format_with_types_gives_the_same_schema(tmp_path, convert):
    table = as_table(convert(of_all_kinds(), tmp_path))
    assert fit_preprocessing(table, "y", categorical=["floor"]) == fitted()


@pytest.mark.parametrize("resolution", ["D", "s", "ms", "us", "ns"])
def test_dates_do_not_depend_on_the_unit_or_the_zone(resolution):
    days = np.array(["2020-01-31", "2020-02-29"], "datetime64[D]")
    preprocessing = fit_preprocessing(table_from_mapping({"day": days, "y": ["a", "b"]}))
    expected = apply(preprocessing, table_from_mapping({"day": days}))
    np.testing.assert_array_equal(expected[:, 0], [-1.0, 1.0])
    np.testing.assert_array_equal(
        apply(preprocessing, table_from_mapping({"day": days.astype(f"datetime64[{resolution}]")})), expected
    )
    sent = pd.DatetimeIndex(["2020-01-31 23:30", "2020-02-29"], tz="UTC").as_unit("us")
    preprocessing = fit_preprocessing(table_from_mapping({"sent": sent, "y": ["a", "b"]}))
    assert preprocessing.columns[0].kind == "datetime_utc"
    expected = apply(preprocessing, table_from_mapping({"sent": sent}))
    for zone in ("Asia/Tokyo", "America/New_York"):
        local = pd.Series(sent.tz_convert(zone))
        for values in (local, local.astype(str), pl.Series(local), pyarrow.array(local), list(local)):
            np.testing.assert_array_equal(apply(preprocessing, table_from_mapping({"sent": values})), expected)


def test_streams_are_read_by_the_same_schema(tmp_path, monkeypatch):
    monkeypatch.setattr("gpubp.data.streaming._text_tables.BLOCK_BYTES", 200)
    frame = of_all_kinds()
    preprocessing = fitted(frame)
    for path in (as_csv(frame, tmp_path), as_parquet(frame, tmp_path)):
        parts = [apply(preprocessing, piece.table) for piece in open_tables(path).pieces()]
        assert len(parts) > 3 or path.suffix == ".parquet"
        np.testing.assert_array_equal(np.concatenate(parts), apply(preprocessing, table_from_mapping(frame)))
    options = {"target": "y", "categorical": ["floor"], "test_fraction": 0.0, "validation_fraction": 0.0}
    in_parts, whole = (
        prepare_stream(as_csv(frame, tmp_path), **options),
        prepare_table(as_csv(frame, tmp_path), **options),
    )
    for got, expected in zip(in_parts.preprocessing.columns, whole.preprocessing.columns, strict=True):
        sums = {name: getattr(got, name) for name in ("mean", "scale", "bound") if hasattr(got, name)}
        assert got == replace(expected, **sums)
        assert sums == pytest.approx({name: getattr(expected, name) for name in sums})


# --- values that do not fit ---


@pytest.mark.parametrize(
    ("change", "problem", "shown"),
    [
        ({"size": ["large"]}, "unreadable", "'large'"),
        ({"size": ["1,5"]}, "unreadable", "'1,5'"),
        ({"size": ["0x10"]}, "unreadable", "'0x10'"),
        ({"size": ["inf"]}, "unreadable", "'inf'"),
        ({"size": ["1 km"]}, "unreadable", "'1 km'"),
        ({"size": [datetime.date(2020, 1, 31)]}, "unreadable", "'2020-01-31'"),
        ({"size": [1000.0]}, "outside", "1000.0"),
        ({"floor": ["first"]}, "unreadable", "'first'"),
        ({"floor": [datetime.date(2020, 1, 31)]}, "unreadable", "'2020-01-31'"),
        ({"floor": [7]}, "unseen", "7"),
        ({"open": ["perhaps"]}, "unreadable", "'perhaps'"),
        ({"open": [2]}, "unreadable", "2"),
        ({"day": ["31.1.2020"]}, "unreadable", "'31.1.2020'"),
        ({"day": ["2020-13-31"]}, "unreadable", "'2020-13-31'"),
        ({"day": [18000]}, "unreadable", "18000"),
        ({"day": ["1920-01-31"]}, "outside", "'1920-01-31'"),
        ({"town": ["bonn"]}, "unseen", "'bonn'"),
        ({"town": [" Bonn"]}, "unseen", "' Bonn'"),
        ({"town": [2]}, "unseen", "2"),
    ],
)
def test_a_value_that_does_not_fit_is_counted(change, problem, shown):
    row = of_all_kinds()[:1].to_dict("list") | change
    X, issues = encode(fitted(), table_from_mapping(row))
    assert [tuple(issue) for issue in issues] == [(next(iter(change)), problem, 1, f"row 1: {shown}")]
    assert np.isfinite(X).all()
    if problem != "outside":
        with pytest.raises(DataError, match=f"1 {problem} in column '{next(iter(change))}', first row 1: "):
            apply(fitted(), table_from_mapping(row), strict=True)


@pytest.mark.parametrize(
    ("change", "same"),
    [
        ({"size": ["+1.50 "]}, {"size": [1.5]}),
        ({"size": ["\u22121e3"]}, {"size": [-1000]}),
        ({"size": [True]}, {"size": [1]}),
        ({"floor": ["01.0"]}, {"floor": [1]}),
        ({"floor": [True]}, {"floor": [1.0]}),
        ({"open": ["TRUE"]}, {"open": [True]}),
        ({"open": ["no"]}, {"open": [False]}),
        ({"day": ["2020-01-31T00:00:00Z"]}, {"day": ["2020-01-31"]}),
        ({"town": ["NA"]}, {"town": [None]}),
        ({"open": [0.0]}, {"open": [False]}),
        ({"open": ["1"]}, {"open": [True]}),
        ({"day": ["2020-02-01T08:30"]}, {"day": ["2020-02-01 08:30:00.000000"]}),
        ({"sent": ["2020-02-01T08:30+01:00"]}, {"sent": ["2020-02-01 07:30Z"]}),
        ({"town": [1]}, {"town": ["01"]}),
        ({"town": [1.0]}, {"town": ["01"]}),
    ],
)
def test_values_that_mean_the_same_are_the_same(change, same):
    row = of_all_kinds()[:1].to_dict("list")
    first, second = (apply(fitted(), table_from_mapping(row | one)) for one in (change, same))
    np.testing.assert_array_equal(first, second)


def test_numbers_among_text_are_what_they_are_alone():
    preprocessing = fit_preprocessing(table_from_mapping({"c": ["1", "x", "2.5", "x"], "y": ["a", "b", "a", "b"]}))
    assert preprocessing.columns[0].categories == ("1", "2.5", "x")
    for values in ([1.0, "x", 2.5], [1, None, 2.5], [1.0], np.array([1.0, "x", 2.5], dtype=object)):
        encoded = apply(preprocessing, table_from_mapping({"c": values}))
        np.testing.assert_array_equal(encoded[0], [1, 0, 0])
        for row, value in zip(encoded, values, strict=True):
            np.testing.assert_array_equal(apply(preprocessing, table_from_mapping({"c": [value]}))[0], row)


@pytest.mark.parametrize("missing", ["", "NULL", "n/a", None, np.nan])
@pytest.mark.parametrize("name", ["size", "floor", "open", "day", "sent", "town"])
def test_missing_values_are_the_same_in_columns_of_every_kind(name, missing):
    preprocessing = fitted()
    row = of_all_kinds()[:2].astype({name: object}).to_dict("list")
    first, second = (table_from_mapping(row | {name: [value, row[name][1]]}) for value in (missing, None))
    X, issues = encode(preprocessing, first)
    np.testing.assert_array_equal(X, apply(preprocessing, second))
    expected = [] if name == "town" else [(name, "missing", 1, "row 1")]  # where training had missing values
    assert [tuple(issue) for issue in issues] == expected


def test_dates_without_a_time_zone_beside_others_are_in_utc():
    """In a frame, and in a file; whatever zones the others have."""
    east = datetime.timezone(datetime.timedelta(hours=3))
    days = [datetime.datetime(2020, 1, 1 + k % 28, k % 24, tzinfo=(None, UTC, east)[k % 3]) for k in range(60)]
    in_utc = [(day if day.tzinfo else day.replace(tzinfo=UTC)).timestamp() for day in days]
    for sent in (days, [day.isoformat() for day in days]):
        table = table_from_mapping({"sent": sent, "y": [1.0, 2.0] * 30})
        (column,) = (preprocessing := fit_preprocessing(table, "y")).columns
        assert isinstance(column, DateColumn)
        assert column.kind == "datetime_utc"
        assert "those without a time zone are taken as UTC" in preprocessing.summaries[0].reason
        np.testing.assert_array_equal(read_dates(table, "sent").values, in_utc)


def test_rows_of_a_text_file_are_counted_without_its_header(tmp_path):
    path = as_csv(of_all_kinds().astype({"floor": object}).replace({"floor": {3: "x"}}), tmp_path)
    assert encode(fitted(), read_table(path)).issues[0].example == "row 3 (not counting the header): 'x'"


# --- any text ---

codes = st.sampled_from(
    [
        *("01", "1", "1.0", "1.10", "1.1", "NA", "nan", "null", "1e3", "1000", "inf", "0x1", "12:30", "true", "False"),
        *("2020-01-31", "2020-01-31 00:00:00", " 1", "1 ", "+1", "1,5", "-", "?", "1_0", "9007199254740993", "a\nb"),
        *('"', "Ä"),
    ]
)


@settings(deadline=None, max_examples=30)
@given(st.lists(codes, min_size=2, max_size=8), st.data())
def test_text_of_a_file_is_never_guessed_again(tmp_path_factory, texts, data):
    """A frame of text equals its file with categorical=, in parts as well, and each row equals that row alone."""
    folder = tmp_path_factory.mktemp("codes")
    labels = data.draw(st.permutations((["01", "1", "1.0"] * 3)[: len(texts)]))
    frame = pd.DataFrame({"c": texts, "x": np.arange(len(texts)) / 2, "y": labels})
    path = folder / "t.csv"
    frame.to_csv(path, index=False)
    options = {"categorical": ["c", "y"], "target": "y"}
    expected = fit_preprocessing(table_from_mapping(frame), **options)
    assert fit_preprocessing(read_table(path), **options) == expected
    assert fit_preprocessing(read_table(path).select(range(len(texts))), **options) == expected
    pieces = [read_table(write_rows(folder, frame[k : k + 1], k)) for k in range(len(texts))]
    decisions = decide_table(pieces, ColumnOptions(**options))
    in_parts = fit_columns(decisions, [(piece, np.ones(1, bool)) for piece in pieces]).preprocessing
    of_text = [[column for column in one.columns if column.name == "c"] for one in (in_parts, expected)]
    assert of_text[0] == of_text[1]
    assert in_parts.target == expected.target
    whole = apply(expected, table_from_mapping(frame))
    np.testing.assert_array_equal(apply(expected, read_table(path)), whole)
    for piece, row in zip(pieces, whole, strict=True):
        np.testing.assert_array_equal(apply(expected, piece)[0], row)
    targets = encode_target(expected, read_table(path))
    assert gpubp.data.decode_target(expected, targets)["y"].tolist() == labels


def write_rows(folder, frame, number):
    path = folder / f"{number}.csv"
    frame.to_csv(path, index=False)
    return path


def test_large_integers_are_exact():
    ids = [2**53, 2**53 + 1, 7, 7]
    table = table_from_mapping({"c": ids, "y": ["a", "b", "a", "b"]})
    preprocessing = fit_preprocessing(table, categorical=["c"])
    assert preprocessing.columns[0].categories == ("7", "9007199254740992", "9007199254740993")
    np.testing.assert_array_equal(
        apply(preprocessing, table_from_mapping({"c": [*map(str, ids)]})),
        apply(preprocessing, table_from_mapping({"c": ids})),
    )
