"""File formats of tables other than text: each gives the columns that were written, or a reason."""

import bz2
import gzip
import io
import json
import lzma
import random
import sqlite3
import sys
import zipfile
from functools import partial

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.feather
import pyarrow.orc
import pyarrow.parquet as pq
import pytest

from gpubp.data import _limits, fit_preprocessing, read_table, table_from_mapping
from gpubp.data.readers._formats import SUFFIXES
from gpubp.errors import DataError
from tests.data import spreadsheets

COLUMNS = {"n": [1, 2, 3], "f": [0.5, -1.0, 2.25], "town": ["Bonn", "Köln", None]}
ARROW = pa.table(COLUMNS)
FRAME = ARROW.to_pandas()


def columns_of(table):
    return {
        name: [None if value != value else value for value in values.tolist()] for name, values in table.columns.items()
    }


def write_sqlite(path):
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE sales (n INTEGER, f REAL, town TEXT)")
    connection.executemany("INSERT INTO sales VALUES (?, ?, ?)", list(zip(*COLUMNS.values(), strict=True)))
    connection.commit()
    connection.close()


def write_duckdb(path):
    duckdb = pytest.importorskip("duckdb")
    with duckdb.connect(str(path)) as connection:
        connection.register("arrow", ARROW)
        connection.execute("CREATE TABLE sales AS SELECT * FROM arrow")


def write_ipc(path, open_writer):
    with open_writer(str(path), ARROW.schema) as writer:
        writer.write_table(ARROW)


def write_excel(path):
    pytest.importorskip("python_calamine")
    pytest.importorskip("openpyxl")
    FRAME.to_excel(path, index=False)


def write_statistical(path, kind="sav", **options):
    getattr(pytest.importorskip("pyreadstat"), f"write_{kind}")(FRAME, str(path), **options)


def write_sheet(path, write):
    pytest.importorskip("python_calamine")
    write(path, [list(COLUMNS), *zip(*COLUMNS.values(), strict=True)])


ARFF = """% by hand
@RELATION shop
@attribute n integer
@attribute 'f' REAL
@attribute town {Bonn, 'Köln'}
@data
1,0.5,Bonn
% a comment
2,-1,'Köln'
3,2.25,?
"""

WRITERS = {
    "parquet": lambda path: pq.write_table(ARROW, path),
    "feather": lambda path: pyarrow.feather.write_feather(ARROW, str(path)),
    "arrow": lambda path: write_ipc(path, pa.ipc.new_stream),
    "orc": lambda path: pyarrow.orc.write_table(ARROW, str(path)),
    "json": lambda path: path.write_text(json.dumps(FRAME.replace({np.nan: None}).to_dict("records"))),
    "jsonl": lambda path: FRAME.to_json(path, orient="records", lines=True),
    "ndjson": lambda path: FRAME.to_json(path, orient="records", lines=True),
    "xlsx": write_excel,
    "arff": lambda path: path.write_text(ARFF, encoding="utf-8"),
    "dta": lambda path: FRAME.to_stata(path, write_index=False, version=118),
    "sav": write_statistical,
    "zsav": partial(write_statistical, compress=True),
    "xpt": partial(write_statistical, kind="xport", file_format_version=5),
    "xls": partial(write_sheet, write=spreadsheets.write_xls),
    "xlsb": partial(write_sheet, write=spreadsheets.write_xlsb),
    "ods": partial(write_sheet, write=spreadsheets.write_ods),
    "db": write_sqlite,
    "sqlite": write_sqlite,
    "duckdb": write_duckdb,
}
ALL_WRITERS = WRITERS | {  # those above keep the types of the columns
    "csv": partial(FRAME.to_csv, index=False),
    "tsv": partial(FRAME.to_csv, index=False, sep="\t"),
    "csv.gz": partial(FRAME.to_csv, index=False),
    "npy": lambda path: np.save(path, np.ones((2, 3))),
    "npz": lambda path: np.savez_compressed(path, x=np.ones((2, 2)), y=[0, 1]),
}


@pytest.mark.parametrize("suffix", WRITERS)
def test_a_table_comes_back(tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    WRITERS[suffix](path)
    table = read_table(path)
    assert columns_of(table) == COLUMNS
    assert table.notes == ()


def test_a_portable_file_of_spss_comes_back(tmp_path):
    frame = FRAME.replace("Köln", "Koeln")  # its characters are those of ASCII
    pytest.importorskip("pyreadstat").write_por(frame, str(tmp_path / "a.por"))
    read = columns_of(read_table(tmp_path / "a.por"))  # names are in capitals
    assert read == {"N": COLUMNS["n"], "F": COLUMNS["f"], "TOWN": ["Bonn", "Koeln", None]}


def test_both_versions_of_sas_transport_files_come_back(tmp_path):
    path = tmp_path / "a.xpt"
    write_statistical(path, kind="xport", file_format_version=8)
    assert columns_of(read_table(path)) == COLUMNS
    (tmp_path / "a.xpt.gz").write_bytes(gzip.compress(path.read_bytes()))
    with pytest.raises(DataError, match="unpack it"):
        read_table(tmp_path / "a.xpt.gz")


PACKERS = {
    "gz": lambda content: gzip.compress(content),
    "bz2": bz2.compress,
    "xz": lzma.compress,
    "zst": lambda content: pa.compress(content, codec="zstd", asbytes=True),
}


def zipped(**files):
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, text in files.items():
            archive.writestr(name.replace("_", "."), text)
    return content.getvalue()


@pytest.mark.parametrize("packing", [*PACKERS, "zip"])
@pytest.mark.parametrize("suffix", ["csv", "parquet", "json", "arff", "dta"])
def test_compressed_files(tmp_path, packing, suffix):
    path = tmp_path / f"a.{suffix}"
    if suffix == "csv":
        FRAME.to_csv(path, index=False)
    else:
        WRITERS[suffix](path)
    packed = tmp_path / f"b.{suffix}.{packing}"
    content = path.read_bytes()
    packed.write_bytes(PACKERS[packing](content) if packing in PACKERS else zipped(**{f"a_{suffix}": content}))
    assert columns_of(read_table(packed)) == COLUMNS


def test_archives(tmp_path):
    path = tmp_path / "a.zip"
    path.write_bytes(zipped(a_csv="a;b\n1;2\n"))
    assert columns_of(read_table(path)) == {"a": [1], "b": [2]}
    path.write_bytes(zipped(a_zip=zipped(a_csv="a;b\n1;2\n")))
    assert columns_of(read_table(path)) == {"a": [1], "b": [2]}
    path.write_bytes(zipped(a_csv="a;b\n1;2\n", b_csv="a;b\n1;2\n"))
    with pytest.raises(DataError, match=r"must hold one file, got 2: a\.csv, b\.csv"):
        read_table(path)
    path.write_bytes(zipped(a_zip=zipped(b_zip=zipped(a_csv="a\n1\n"))))
    with pytest.raises(DataError):
        read_table(path)


@pytest.mark.parametrize("packing", [*PACKERS, "zip"])
def test_what_unpacks_to_too_much_is_refused(tmp_path, monkeypatch, packing):
    monkeypatch.setattr(_limits, "UNPACKED_FREE_BYTES", 2**20)
    content = b"[" + b"1," * 2**20 + b"1]"
    path = tmp_path / f"a.json.{packing}"
    if packing == "zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("a.json", content)
    else:
        path.write_bytes(PACKERS[packing](content))
    with pytest.raises(DataError, match="unpacks to more than 1,048,576 bytes"):
        read_table(path)


# --- JSON ---


@pytest.mark.parametrize(
    ("value", "columns", "note"),
    [
        ([{"a": 1}, {"a": 2, "b": "x"}], {"a": [1, 2], "b": [None, "x"]}, None),
        ({"a": [1, 2], "b": ["x", "y"]}, {"a": [1, 2], "b": ["x", "y"]}, None),
        ({"a": {"0": 1, "1": 2}}, {"a": [1, 2]}, None),
        ({"a": {"0": 1, "1": 2}, "b": {"1": 4, "0": 3}}, {"a": [1, 2], "b": [3, 4]}, None),
        ([{"a.b": 1, "a": {"b": 2}}, {"a": {"b": 4}, "a.b": 3}], {"a.b": [1, 3], "a.b_2": [2, 4]}, "names that repeat"),
        ([{"a": {"b": 2}}, {"a.b": 3}], {"a.b": [2, None], "a.b_2": [None, 3]}, "names that repeat are changed"),
        ({"columns": ["a", "a"], "data": [[1, 2]]}, {"a": [1], "a_2": [2]}, "names that repeat are changed"),
        ([{"": 1, "b": 2}], {"unnamed_1": [1], "b": [2]}, "columns without a name"),
        ({"columns": ["a", "b"], "index": [0], "data": [[1, "x"]]}, {"a": [1], "b": ["x"]}, None),
        ({"schema": {}, "data": [{"a": 1}]}, {"a": [1]}, "the records are those of 'data'"),
        ([{"a": {"x": 1, "y": 2}, "b": 3}], {"a.x": [1], "a.y": [2], "b": [3]}, None),
        ([{"a": 1, "b": [1, 2]}], {"a": [1]}, "left out: 'b' (list)"),
        ([[1, "x"], [2, "y"]], {"column_1": [1, 2], "column_2": ["x", "y"]}, "have no names"),
        ([{"a": True}, {"a": False}], {"a": [True, False]}, None),
    ],
)
def test_shapes_of_json(tmp_path, value, columns, note):
    path = tmp_path / "a.json"
    path.write_text(json.dumps(value), encoding="utf-16")
    table = read_table(path)
    assert columns_of(table) == columns
    assert note is None or any(note in said for said in table.notes)


@pytest.mark.parametrize(
    "text", ["", "{", "3", "[]", "{}", "[1, 2]", '[{"a": [1]}]', '{"a": 1}\n{', "[" * 100_000, "nan"]
)
def test_json_without_a_table(tmp_path, text):
    path = tmp_path / "a.json"
    path.write_text(text)
    with pytest.raises(DataError, match=r"a\.json") as caught:
        read_table(path)
    assert len(str(caught.value)) < 500


def test_intervals_and_periods_of_pandas_are_the_same_in_arrow_and_parquet(tmp_path):
    numbers = pd.Series([1.5, None, 25.0, 12.0] * 5)
    frame = pd.DataFrame(
        {
            "cut": pd.cut(numbers, [0, 10, 20, 30]),
            "interval": pd.arrays.IntervalArray.from_arrays(np.arange(20) % 3, np.arange(20) % 3 + 1.5, closed="left"),
            "month": pd.period_range("2020-01", periods=20, freq="M"),
        }
    )
    expected = columns_of(table_from_mapping(frame))
    assert expected["cut"][:3] == ["(0, 10]", None, "(20, 30]"]
    assert expected["interval"][:2] == ["[0.0, 1.5)", "[1.0, 2.5)"]
    assert expected["month"][:2] == ["2020-01", "2020-02"]
    arrow = pa.Table.from_pandas(frame)
    assert columns_of(table_from_mapping(arrow)) == expected
    pq.write_table(arrow.drop_columns("cut"), tmp_path / "a.parquet")  # which cannot be written
    assert columns_of(read_table(tmp_path / "a.parquet")) == {name: expected[name] for name in ("interval", "month")}
    summaries = fit_preprocessing(table_from_mapping(frame.assign(y=numbers.fillna(0.0))), "y").summaries
    assert [one.type for one in summaries] == ["category", "category", "date", "target"]


@pytest.mark.parametrize("suffix", ["json", "jsonl"])
def test_keys_that_repeat_in_an_object_are_noted(tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    records = ['{"a": 1, "b": 3, "a": 2}', '{"a": 4, "b": {"c": 5, "c": 6}}', '{"a": 1, "b": 1, "a": 1, "a": 7}']
    path.write_text("\n".join(records) if suffix == "jsonl" else f"[{', '.join(records)}]")
    table = read_table(path)
    assert table.columns["a"].tolist() == [2, 4, 7]
    noted = "keys that an object has more than once: 'a' (in 2 objects), 'c' (in 1 object); the last value is read"
    assert table.notes[0] == noted


def test_records_by_line_in_a_json_file(tmp_path):
    (tmp_path / "a.json").write_text('{"a": 1}\n\n{"a": 2}\n')
    assert columns_of(read_table(tmp_path / "a.json")) == {"a": [1, 2]}
    (tmp_path / "a.jsonl").write_text('{"a": 1}\n{"a"\n')
    with pytest.raises(DataError, match="line 2 is not JSON"):
        read_table(tmp_path / "a.jsonl")


# --- databases ---


def test_tables_of_a_database(tmp_path):
    path = tmp_path / "a.db"
    write_sqlite(path)
    connection = sqlite3.connect(path)
    connection.execute('CREATE TABLE "odd ""name" (b BLOB, a INTEGER)')
    connection.execute('INSERT INTO "odd ""name" VALUES (?, ?)', (b"x", 1))
    connection.execute(
        "CREATE VIEW endless AS WITH RECURSIVE t(n) AS (SELECT 1 UNION ALL SELECT n FROM t) SELECT n FROM t"
    )
    connection.commit()
    connection.close()
    before = path.read_bytes()
    assert columns_of(read_table(f"{path}::sales")) == COLUMNS
    odd = read_table(f'{path}::odd "name')
    assert columns_of(odd) == {"a": [1]}
    assert "'b' (bytes)" in odd.notes[0]
    with pytest.raises(DataError, match=r"has 2 tables \(sales, odd \"name\); name one: .*a\.db::sales"):
        read_table(path)
    with pytest.raises(DataError, match=r"has no table 'sale' \(did you mean 'sales'\?\)"):
        read_table(f"{path}::sale")
    with pytest.raises(DataError, match="has no table 'endless'"):
        read_table(f"{path}::endless")
    assert path.read_bytes() == before


def test_duckdb_opens_no_other_file(tmp_path):
    duckdb = pytest.importorskip("duckdb")
    (tmp_path / "secret.csv").write_text("a\n1\n")
    path = tmp_path / "a.duckdb"
    with duckdb.connect(str(path)) as connection:
        connection.execute(f"CREATE VIEW sales AS SELECT * FROM read_csv('{tmp_path / 'secret.csv'}')")
    with pytest.raises(DataError, match="has no table 'sales'"):
        read_table(f"{path}::sales")


# --- spreadsheets, statistical packages, ARFF ---


def test_sheets(tmp_path):
    pytest.importorskip("python_calamine")
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    book.active.title = "empty"
    book.create_sheet("second")
    for row in (
        ["Sales of 2020"],
        [],
        ["town", "n", "day", None],
        ["Bonn", 1, pd.Timestamp("2020-01-31").to_pydatetime()],
    ):
        book["second"].append(row)
    book.create_sheet("third").append(["a", "b"])
    book["third"].append([True, 2.5])
    path = tmp_path / "a.xlsx"
    book.save(path)
    table = read_table(path)
    assert columns_of(table) == {"town": ["Bonn"], "n": [1], "day": ["2020-01-31"]}
    assert "sheet 'second'" in table.notes[0]
    assert "before the table" in table.notes[1]
    assert columns_of(read_table(f"{path}::third")) == {"a": [True], "b": [2.5]}
    assert list(read_table(f"{path}::third", header=False).columns) == ["column_1", "column_2"]
    with pytest.raises(DataError, match="has no sheet 'thrid'"):
        read_table(f"{path}::thrid")


def test_labels_of_stata_are_text_where_all_values_have_one(tmp_path):
    frame = pd.DataFrame({"all": [1, 2, 1], "some": [1, 2, 40]})
    labels = {"all": {1: "no", 2: "yes"}, "some": {1: "first"}}
    frame.to_stata(tmp_path / "a.dta", write_index=False, value_labels=labels)
    assert columns_of(read_table(tmp_path / "a.dta")) == {"all": ["no", "yes", "no"], "some": [1, 2, 40]}


def test_numbers_with_labels_are_categories_also_if_the_labels_are_digits(tmp_path):
    frame = pd.DataFrame({"ward": [1, 2, None] * 8, "size": range(24), "y": np.arange(24) * 0.5})
    frame.to_stata(tmp_path / "a.dta", write_index=False, value_labels={"ward": {1: "10", 2: "20"}})
    table = read_table(tmp_path / "a.dta")
    assert table.columns["ward"].tolist() == ["10", "20", None] * 8
    column = next(column for column in fit_preprocessing(table).columns if column.name == "ward")
    assert column.inputs == ("ward=10", "ward=20", "ward=missing")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("@relation a\n@attribute n numeric\n1\n", "has no line @data"),
        ("@relation a\n@data\n1\n", "declares no columns"),
        ("@relation a\n@attribute n numeric\n@data\n{0 1}\n", "its rows are sparse"),
        ("@relation a\n@attribute n relational\n@data\n1\n", "holds tables"),
        ("@relation a\n@attribute n\n@data\n1\n", "names no column and type"),
        ("@relation a\n@attribute n numeric\n@data\n1,2\n", "Expected 1 columns, got 2"),
    ],
)
def test_arff_without_a_table(tmp_path, text, message):
    (tmp_path / "a.arff").write_text(text)
    with pytest.raises(DataError, match=message):
        read_table(tmp_path / "a.arff")


def test_arff_keeps_codes_and_escapes(tmp_path):
    (tmp_path / "a.arff").write_text("@attribute k {1, 2}\n@attribute s string\n@data\n1,'it\\'s, so'\n?,'?'\n")
    table = read_table(tmp_path / "a.arff")
    assert columns_of(table) == {"k": ["1", None], "s": ["it's, so", None]}


# --- several files, standard input, other names ---


def test_folders_and_patterns(tmp_path):
    for year, rows in (("2001", "1,x\n"), ("2002", "01,y\nz,w\n")):
        folder = tmp_path / "sales" / f"year={year}"
        folder.mkdir(parents=True)
        (folder / "part.csv").write_text("a,b\n" + rows)
    table = read_table(tmp_path / "sales")
    assert columns_of(table) == {"a": ["1", "01", "z"], "b": ["x", "y", "w"], "year": [2001, 2002, 2002]}
    assert columns_of(read_table(str(tmp_path / "sales" / "*" / "*.csv"))) == {
        "a": ["1", "01", "z"],
        "b": ["x", "y", "w"],
    }
    (tmp_path / "sales" / "other.csv").write_text("a,c\n1,2\n")
    with pytest.raises(DataError, match="all files need the same columns"):
        read_table(tmp_path / "sales")
    with pytest.raises(DataError, match="no file fits the pattern"):
        read_table(str(tmp_path / "*.tsv"))


@pytest.mark.parametrize("suffix", ["csv", "parquet", "jsonl"])
def test_several_files_are_one_table(tmp_path, suffix):
    for part, frame in (("1", FRAME[:2]), ("2", FRAME[2:])):
        path = tmp_path / f"{part}.{suffix}"
        if suffix == "csv":
            frame.to_csv(path, index=False)
        elif suffix == "parquet":
            pq.write_table(ARROW.slice(0, 2) if part == "1" else ARROW.slice(2), path)
        else:
            frame.to_json(path, orient="records", lines=True)
    assert columns_of(read_table(tmp_path)) == COLUMNS


@pytest.mark.parametrize("suffix", ["csv", "parquet", "json", "arff", "dta", "feather"])
def test_standard_input_and_unknown_suffixes(tmp_path, monkeypatch, suffix):
    path = tmp_path / f"a.{suffix}"
    FRAME.to_csv(path, index=False) if suffix == "csv" else WRITERS[suffix](path)
    content = path.read_bytes()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
    table = read_table("-")
    assert columns_of(table) == COLUMNS
    assert table.source == "standard input"
    (tmp_path / "a.unknown").write_bytes(content)
    assert columns_of(read_table(tmp_path / "a.unknown")) == COLUMNS
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(gzip.compress(content))))
    if suffix == "csv":
        assert columns_of(read_table("-")) == COLUMNS


@pytest.mark.parametrize("name", ["http://example.org/a.csv", "s3://bucket/a.parquet", "md:sales.duckdb"])
def test_addresses_are_not_opened(name):
    with pytest.raises(DataError, match="no such file"):
        read_table(name)


@pytest.mark.parametrize(
    ("suffix", "module"),
    [
        ("xlsx", "python_calamine"),
        ("dta", "pandas"),
        ("sav", "pyreadstat"),
        ("duckdb", "duckdb"),
        ("orc", "pyarrow.orc"),
    ],
)
def test_a_missing_library_is_named_with_its_command(tmp_path, monkeypatch, suffix, module):
    (tmp_path / f"a.{suffix}").write_bytes(b"01234567DUCK" + bytes(100))
    monkeypatch.setitem(sys.modules, module, None)
    package = module.partition(".")[0].replace("_", "-")
    with pytest.raises(DataError, match=f"needs {package}: pip install {package}"):
        read_table(tmp_path / f"a.{suffix}")


class WithStream:
    """A data frame of another library, known by the Arrow interface alone."""

    def __arrow_c_stream__(self, requested_schema=None):
        return ARROW.__arrow_c_stream__(requested_schema)


def test_frames_with_the_arrow_interface():
    assert columns_of(table_from_mapping(WithStream())) == COLUMNS


# old releases of pyarrow and calamine end the process at some damaged files, as docs/security.md says
@pytest.mark.parametrize(
    "suffix",
    [
        pytest.param(suffix, marks=pytest.mark.once) if suffix in ("orc", "xls", "xlsb") else suffix
        for suffix in ALL_WRITERS
        if suffix not in ("duckdb", "sav")
    ],
)
def test_damage_gives_a_table_or_an_error(tmp_path, suffix):
    path, draw, messages = tmp_path / f"a.{suffix}", random.Random(suffix), []
    ALL_WRITERS[suffix](path)
    intact = path.read_bytes()
    for k in range(40):
        broken = bytearray(intact[: draw.randrange(len(intact))] if k % 3 == 0 else intact)
        for _ in range(draw.randrange(1, 5) if broken else 0):
            broken[draw.randrange(len(broken))] = draw.randrange(256)
        path.write_bytes(broken)
        try:
            read_table(path)
        except DataError as error:
            messages.append(str(error))
    assert all(str(path) in message and message.isprintable() for message in messages)
    assert messages


def test_nested_columns_are_left_out(tmp_path):
    table = ARROW.append_column("odd", pa.array([[1], [2], [3]]))
    pq.write_table(table, tmp_path / "a.parquet")
    read = read_table(tmp_path / "a.parquet")
    assert columns_of(read) == COLUMNS
    assert "'odd' (list)" in read.notes[0]


def test_every_format_is_tested():
    tested = {f".{suffix}" for suffix in WRITERS} | {".csv", ".tsv", ".tab", ".npy", ".npz"}
    of_another = {".txt", ".dat", ".data", ".sqlite3", ".por", ".xlsm"}
    cannot_be_written = {".sas7bdat"}
    assert set(SUFFIXES) == tested | of_another | cannot_be_written


def test_changes_in_the_log_of_sqlite_are_not_read_in_silence(tmp_path):
    path = tmp_path / "shop.db"
    write_sqlite(path)
    assert not read_table(path).notes
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("UPDATE " + connection.execute("SELECT name FROM sqlite_master").fetchone()[0] + " SET n = 9")
    connection.commit()
    (note,) = read_table(path).notes
    assert "changes in shop.db-wal are not read" in note
    assert "wal_checkpoint" in note
    connection.close()
    assert not read_table(path).notes
