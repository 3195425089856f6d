"""Untrusted tables: errors name file, place and fix, and no file exhausts the memory."""

import gzip
import io
import os
import random
import re
import zipfile

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gpubp.data import _limits, read_table, table_from_arrays, table_from_mapping
from gpubp.data._limits import MAX_LINE_BYTES
from gpubp.data.readers import _sheet_extent
from gpubp.data.readers._header import choose_names
from gpubp.data.readers._sheet_parts import parts_of_sheets
from gpubp.errors import DataError, TableWarning
from gpubp.tabular import prepare_table
from tests.data import spreadsheets


@pytest.fixture
def small_limits(monkeypatch):
    """Limit unpacking to a MiB, so that no test needs a large file."""
    monkeypatch.setattr(_limits, "UNPACKED_FREE_BYTES", 2**20)


def refusal(path):
    with pytest.raises(DataError) as caught:
        read_table(path)
    message = str(caught.value)
    assert str(path) in message
    assert message.isprintable()
    assert len(message) < 1000
    return message


def packed(*parts):
    """Compress parts, given as pairs of bytes and their number of repetitions."""
    return b"".join(gzip.compress(part, mtime=0) * times for part, times in parts)


# --- text ---

ROWS = "".join(f"{k},x\n" for k in range(5))


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("a,b\n1,x\n".encode("utf-16") + b"\0", "is not text in utf-16"),
        ("a,b\n1,\0x\n".encode("utf-16"), "line 2 has a zero byte"),
        (b"a,b\n1,x\n2,\0\n", "line 3 has a zero byte"),
        (b"a,b\n1,\x8d\n", "not UTF-8 text, as line 2 shows; name its encoding"),
        (f"a,K\u00f6ln\n{ROWS}".encode() + b"1,\xf6\n", "not UTF-8 text, as line 7 shows; name its encoding"),
        (f"a,b\n{ROWS}1,x,y\n", "row 6 (not counting the header): Expected 2 columns, got 3"),
        ("a,b\n1,2\n1,2,\x1b[31m\x9b\n", r"got 3: 1,2,\x1b[31m"),
        ('a,b\n1,"x\n' + ROWS, "a quotation mark is not closed"),
        ("a,b\n", "(a, b) but no rows"),
        ("", "is empty (0 bytes)"),
        ("\n\n\r\n", "holds no table"),
        ("\ufeff", "holds no table"),
        ("# nothing\n", "holds no table"),
        ("x" * 2000 + ",b\n1,2\n", "name has 2,000 characters; 1,000 are enough"),
        (gzip.compress(b"a,b\n1,2\n", mtime=0)[:-9], "cannot be read"),
        (b"%PDF-1.7\n\0\1\2", "zero byte"),
        (bytes(100), "line 1 has a zero byte"),
    ],
)
def test_text_that_holds_no_table(write, content, expected):
    message = refusal(write("a.csv", content))
    assert any(part in message for part in expected.split("|")), message


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("\ufeffa,b\n1,x\n", {"a": [1], "b": ["x"]}),
        ("a,b\r1,x\r2,y\r", {"a": [1, 2], "b": ["x", "y"]}),
        ("a,b\r\n1,x\r\n2,y", {"a": [1, 2], "b": ["x", "y"]}),
        ('"a\nb",c\n1,x\n', {"a\nb": [1], "c": ["x"]}),
        ("\x1b[31m,c\n1,x\n", {"\x1b[31m": [1], "c": ["x"]}),
        ("a\n1\n\n2\n", {"a": [1, 2]}),
        ("a\n1\nx\n", {"a": ["1", "x"]}),
        ("a\n99999999999999999999\n", {"a": [1e20]}),
    ],
)
def test_unusual_text_that_holds_a_table(write, content, expected):
    table = read_table(write("a.csv", content))
    assert {name: values.tolist() for name, values in table.columns.items()} == expected


@pytest.mark.parametrize(
    "value",
    [
        "1e999",
        "inf",
        "-Infinity",
        '"1,234"',
        "1'234",
        "old",
        "0x10",
        "1_0",
    ],
)
def test_text_that_resembles_numbers_is_missing_among_numbers(write, value):
    """It is said, and never read as another number."""
    rows = [*(str(k % 9) for k in range(40)), value]
    path = write("a.csv", "a,y\n" + "".join(f"{value},{k % 2}\n" for k, value in enumerate(rows)))
    options = {"target": "y", "test_fraction": 0.0, "validation_fraction": 0.0}
    with pytest.warns(TableWarning, match="column 'a': 1 of 41 values is not of the column's type"):
        preprocessing = prepare_table(path, **options).preprocessing
    column, summary = preprocessing.columns[0], preprocessing.summaries[0]
    assert (column.low, column.high, column.indicator) == (0.0, 8.0, True)
    assert summary.n_missing == 1
    assert "1 other value, " in summary.reason
    with pytest.raises(DataError, match="column 'a': 1 value of another kind, such as "):
        prepare_table(path, strict=True, **options)


@pytest.mark.parametrize(
    ("values", "highest"),
    [
        (['"1,234"', '"12,345,678.9"'], 12345678.9),
        (['"1.234.567,8"', '"2,5"'], 1234567.8),
        (["1'234", "2'345"], 2345.0),
        (['"3,14"', '"2,71"'], 3.14),
    ],
)
def test_numbers_with_separators_are_read_as_they_are_written(write, values, highest):
    path = write("a.csv", "a,y\n" + "".join(f"{value},{k % 2}\n" for k, value in enumerate(values * 4)))
    preprocessing = prepare_table(path, target="y", test_fraction=0.0, validation_fraction=0.0).preprocessing
    assert preprocessing.columns[0].high == highest


def test_texts_with_commas_among_words_are_categories(write):
    path = write("a.csv", "a,y\n" + '"1,2",0\nx,1\ny,0\nz,1\n' * 2)
    assert prepare_table(path, target="y", test_fraction=0.0).X.shape == (8, 4)


def test_many_dates_are_recognised(write):
    days = pd.date_range("2020-01-01", periods=150).strftime("%Y-%m-%d")
    path = write("a.csv", "day,y\n" + "".join(f"{day},{k % 2}\n" for k, day in enumerate(days)))
    assert prepare_table(path, target="y").preprocessing.summaries[0].type == "date"


@pytest.mark.parametrize("kind", ["file", "stream"])
def test_damaged_arrow_files_end_no_process(tmp_path, kind):
    """Of Arrow's format pyarrow checks no offsets of texts when it reads them: they may point anywhere."""
    table = pa.table({"x": np.arange(300.0), "word": [f"word {k}" for k in range(300)]})
    path = tmp_path / "a.arrow"
    with (pa.ipc.new_file if kind == "file" else pa.ipc.new_stream)(str(path), table.schema) as writer:
        writer.write_table(table)
    whole, random, refused = path.read_bytes(), np.random.default_rng(0), 0
    assert read_table(path).columns["word"][299] == "word 299"
    for _ in range(200):
        damaged = bytearray(whole)
        for place in random.integers(500, len(whole), 20):
            damaged[place] = random.integers(256)
        path.write_bytes(damaged)
        try:
            read_table(path)
        except DataError:
            refused += 1
    assert refused > 50


# --- size ---


def test_a_field_of_a_billion_characters_is_refused_early(write):
    path = write("a.csv.gz", packed((b"a,b\n1,", 1), (b"x" * 2**24, 60), (b"\n", 1)))
    assert f"a line is longer than {MAX_LINE_BYTES:,} bytes" in refusal(path)


def test_an_unclosed_quotation_mark_is_limited_to_the_length_of_a_line(write):
    path = write("a.csv.gz", packed((b'a,b\n1,"', 1), (b"1,2\n" * 2**22, 4)))
    assert "perhaps because the quotation mark" in refusal(path)


def test_the_longest_allowed_line_is_read(write):
    path = write("a.csv", "a,b\n" + "1," + "x" * (MAX_LINE_BYTES - 100) + "\n2,y\n")
    assert [len(text) for text in read_table(path).columns["b"]] == [MAX_LINE_BYTES - 100, 1]


def test_a_file_that_unpacks_to_too_much_is_refused(write, small_limits):
    path = write("a.csv.gz", packed((b"a,b\n", 1), (b"1,2\n" * 2**18, 4)))
    assert "unpacks to more than 1,048,576 bytes" in refusal(path)
    assert "unpack it and use that file" in refusal(path)
    honest = "a,b\n" + "".join(f"{random.Random(k).random()},1\n" for k in range(60_000))
    assert len(honest) > 2**20
    assert read_table(write("b.csv.gz", gzip.compress(honest.encode()))).n_rows == 60_000


@pytest.mark.slow
def test_a_hundred_thousand_columns(write):
    """Counting each name among all others would take hours; of a whole file it would show with fewer columns."""
    n, n_in_file = 100_000, 4_000
    names = [f"c{k}" for k in range(n)]
    assert choose_names(names, [["1"] * n], n).names == tuple(names)
    renamed = choose_names([*names[: n // 2] * 2, ""], [["1"] * (n + 1)], n + 1).names
    assert len(set(renamed)) == n + 1
    with pytest.raises(DataError, match=r"names repeat: .c0., .c1., .c10., .* \(50,000 in all\)"):
        table_from_arrays(np.ones((1, n)), names=names[: n // 2] * 2)
    table = read_table(write("a.csv", f"{','.join(names[:n_in_file])}\n{','.join(['1'] * n_in_file)}\n"))
    assert len(table.columns) == n_in_file


# --- other formats ---


def test_parquet_whose_rows_take_no_space_is_refused(tmp_path, small_limits):
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"a": np.zeros(10**6)}), path)
    assert path.stat().st_size < 10_000
    assert "unpacks to more than 1,048,576 bytes" in refusal(path)


def test_parquet_whose_rows_share_one_long_text_is_read_with_it_once(tmp_path):
    path, n, text = tmp_path / "a.parquet", 5000, "x" * 500_000
    shared = pa.DictionaryArray.from_arrays(pa.array(np.zeros(n, "int32")), [text]).cast(
        pa.dictionary(pa.int32(), pa.string())
    )
    pq.write_table(pa.table({"a": shared}), path, store_schema=False)
    assert path.stat().st_size < 2 * len(text)
    before = pa.default_memory_pool().max_memory()
    column = read_table(path).columns["a"]
    assert column[0] == text
    assert column[0] is column[n - 1]
    assert pa.default_memory_pool().max_memory() - before < 10**8  # all of them would be 2.5 GB


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (pa.array([[1], [2]]), "list"),
        (pa.array([{"a": 1}, None]), "struct"),
        (pa.array([[("k", 1)]], pa.map_(pa.string(), pa.int64())), "map"),
    ],
)
def test_nested_parquet_columns_are_refused_unread(tmp_path, values, kind):
    pq.write_table(pa.table({"odd": values}), tmp_path / "a.parquet")
    assert f"column 'odd' holds {kind}, not numbers or text" in refusal(tmp_path / "a.parquet")


@pytest.mark.parametrize("value_type", [pa.string(), pa.int64(), pa.float64(), pa.bool_()])
def test_dictionaries_of_any_type_are_read(value_type):
    values = {
        "string": ["u", None, "v"],
        "int64": [5, None, 7],
        "double": [0.5, None, 1.5],
        "bool": [True, None, False],
    }
    given = pa.array(values[str(value_type)], value_type)
    encoded = table_from_mapping(pa.table({"a": given.dictionary_encode()})).columns["a"]
    plain = table_from_mapping(pa.table({"a": given})).columns["a"]
    np.testing.assert_array_equal(encoded, plain)
    assert encoded.dtype == plain.dtype


def header_of_npy(shape, descr="<f8"):
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"shape": shape, "fortran_order": False, "descr": descr})
    return stream.getvalue()


def write_numpy(path, content):
    if path.suffix == ".npz":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("x.npy", content)
    else:
        path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("shape", "descr", "n_bytes"),
    [
        ((10**6, 10**6), "<f8", 8),
        ((2, 2), "<f8", 8),
        ((2, 2), "<f8", 40),
        ((10**12, 10**12), "<U0", 0),
        ((10**6, 10**6), "|V0", 0),
        ((1,) * 30, "<f8", 8),
        ((-1, -1), "<f8", 8),
        ((2**40, 2**40, 2**40), "<f8", 8),
    ],
)
@pytest.mark.parametrize("suffix", ["npy", "npz"])
def test_numpy_files_with_false_headers(tmp_path, shape, descr, n_bytes, suffix):
    path = write_numpy(tmp_path / f"a.{suffix}", header_of_npy(shape, descr) + bytes(n_bytes))
    assert "its header declares" in refusal(path)


@pytest.mark.parametrize("suffix", ["npy", "npz"])
def test_no_rows_of_any_number_of_columns(tmp_path, suffix):
    path = write_numpy(tmp_path / f"a.{suffix}", header_of_npy((0, 10**15)))
    assert "has no rows" in refusal(path)


def test_an_archive_that_unpacks_to_far_too_much_is_refused(tmp_path, small_limits):
    np.savez_compressed(tmp_path / "a.npz", x=np.zeros((10**6, 1)))
    assert "unpacks to more than 1,048,576 bytes" in refusal(tmp_path / "a.npz")
    assert "numpy.savez" in refusal(tmp_path / "a.npz")


@pytest.mark.parametrize(
    ("name", "words"), [("x", "numpy.savez"), ("x.txt", "expected arrays x and y, got x.txt")], ids=["x", "x.txt"]
)
def test_an_archive_without_arrays(tmp_path, name, words):
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr(name, b"abc")
    assert words in refusal(tmp_path / "a.npz")


def sheet(*rows):
    return f"<worksheet><sheetData>{''.join(rows)}</sheetData></worksheet>"


@pytest.mark.parametrize(
    "rows",
    [
        ['<row r="1"><c r="A1"><v>1</v></c></row>', '<row r="1048576"><c r="XFD1048576"><v>1</v></c></row>'],
        ["<x:row><x:c t='n' r = 'xfd1048576'><x:v>1</x:v></x:c></x:row>"],
        ['<row r="1048576">', *["<c><v>1</v></c>"] * 50, "</row>"],
        ['<row r="9000">', '<c s="1"/>' * 9000, "<c><v>1</v></c></row>"],
        ['<row><c spans=">" r="XFD1048576"><v>1</v></c></row>'],
    ],
    ids=["far", "prefix", "no names", "no values", "quoted"],
)
def test_a_cell_that_no_memory_reaches_is_refused_before_it_is_read(tmp_path, rows):
    pytest.importorskip("python_calamine")
    with zipfile.ZipFile(tmp_path / "a.xlsx", "w") as archive:
        archive.writestr("xl/worksheets/sheet1.xml", sheet(*rows))
    assert re.search(r"sheet1\.xml hold something, spread over [\d,]+ cells up to .*CSV", refusal(tmp_path / "a.xlsx"))


def test_a_far_cell_of_a_binary_workbook_is_refused(tmp_path, monkeypatch):
    pytest.importorskip("python_calamine")
    monkeypatch.setattr(_sheet_extent, "MAX_CELLS", 1000)
    rows = [["a", "b"], *[[1, 2]] * 3]
    spreadsheets.write_xlsb(tmp_path / "a.xlsb", [*rows, *[[]] * 600, [None, 3]])
    assert "9 cells of xl/worksheets/sheet1.bin hold something, spread over 1,210 cells up to B605" in refusal(
        tmp_path / "a.xlsb"
    )
    spreadsheets.write_xlsb(tmp_path / "a.xlsb", [["a", "b"], *[[1, 2]] * 600])  # large, not far
    assert read_table(tmp_path / "a.xlsb").n_rows == 600


FAR = '<row r="1048576"><c r="XFD1048576"><v>1</v></c></row>'
NEAR = [f'<row r="{row}"><c r="A{row}"><v>{row}</v></c><c r="B{row}"><v>2</v></c></row>' for row in range(1, 4)]


def test_only_the_sheet_that_is_read_is_refused(tmp_path, monkeypatch):
    pytest.importorskip("python_calamine")
    near = sheet(*NEAR)
    spreadsheets.write_xlsx(tmp_path / "a.xlsx", empty=sheet(), near=near, far=sheet(FAR))
    assert read_table(tmp_path / "a.xlsx").n_rows == 3
    assert "of xl/worksheets/sheet3.xml hold" in refusal(f"{tmp_path / 'a.xlsx'}::far")
    spreadsheets.write_xlsx(tmp_path / "a.xlsx", empty=sheet(), far=sheet(FAR), near=near)
    assert "of xl/worksheets/sheet2.xml hold" in refusal(tmp_path / "a.xlsx")
    assert read_table(f"{tmp_path / 'a.xlsx'}::near").n_rows == 3
    monkeypatch.setattr(_sheet_extent, "MAX_CELLS", 1000)
    spreadsheets.write_xlsb(tmp_path / "a.xlsb", [["a", "b"], [1, 2]], far=[["a"], *[[]] * 2000, [1]])
    assert read_table(tmp_path / "a.xlsb").n_rows == 1
    assert "of xl/worksheets/sheet2.bin hold" in refusal(f"{tmp_path / 'a.xlsb'}::far")


@pytest.mark.parametrize(
    ("part", "old", "new"),
    [
        ("xl/workbook.xml", "far", "far&#38;"),
        ("xl/workbook.xml", "<sheets>", "<sheets><sheet/>"),
        ("xl/workbook.xml", "<workbook", "<!DOCTYPE workbook><workbook"),
        ("_rels/.rels", "xl/workbook.xml", "xl/other.xml"),
        ("xl/_rels/workbook.xml.rels", "sheet2.xml", "sheet9.xml"),
        ("xl/_rels/workbook.xml.rels", "<Relationships", "<<"),
        ("xl/_rels/workbook.xml.rels", "worksheets/", "/xl/worksheets/"),
    ],
)
def test_all_sheets_are_looked_at_where_their_files_are_unknown(tmp_path, part, old, new):
    spreadsheets.write_xlsx(tmp_path / "a.xlsx", near=sheet(), far=sheet(FAR))
    with zipfile.ZipFile(tmp_path / "a.xlsx") as archive:
        members = {name: archive.read(name).decode() for name in archive.namelist()}
    assert old in members[part]
    members[part] = members[part].replace(old, new)
    with zipfile.ZipFile(tmp_path / "b.xlsx", "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    with zipfile.ZipFile(tmp_path / "b.xlsx") as archive:
        parts = parts_of_sheets(archive)
    files = {"near": "xl/worksheets/sheet1.xml", "far": "xl/worksheets/sheet2.xml"}
    named = {"far&#38;": {"near": files["near"], "far&": files["far"]}, "/xl/worksheets/": files}
    assert parts == named.get(new, {})
    assert "hold something, spread over" in refusal(f"{tmp_path / 'b.xlsx'}::{list(parts or files)[1]}")


CELL = '<table:table-cell office:value-type="float" office:value="1"/>'


@pytest.mark.parametrize(
    "rows",
    [
        ['<table:table-row table:number-rows-repeated="1000000">', "<table:table-cell/>", "</table:table-row>"],
        ['<table:table-row table:number-rows-repeated="1000000">', CELL, "</table:table-row>"],
    ],
    ids=["empty", "repeated"],
)
def test_a_far_cell_of_an_open_document_is_refused(tmp_path, rows):
    pytest.importorskip("python_calamine")
    far = f'<table:table-row><table:table-cell table:number-columns-repeated="99"/>{CELL}</table:table-row>'
    written = tmp_path / "a.ods"
    spreadsheets.write_ods(written, [["a", "b"], [1, 2]])
    with zipfile.ZipFile(written) as archive:
        members = {name: archive.read(name).decode() for name in archive.namelist()}
    for tail in ('<table:table-row table:number-rows-repeated="1048574"><table:table-cell/></table:table-row>', ""):
        end = tail or "".join(rows) + far
        with zipfile.ZipFile(written, "w") as archive:
            for name, content in members.items():
                archive.writestr(name, content.replace("</table:table>", f"{end}</table:table>"))
        if tail:
            assert read_table(written).n_rows == 1
    assert "spread over 100,000,300 cells up to CV1000003" in refusal(written)


FAR_CELL = '<table:table-cell table:number-columns-repeated="16384" office:value="1"/>'


@pytest.mark.parametrize(
    "row",
    [
        "<row><table:table-cell table:number-columns-repeated='16384'></table:table-cell></row>",
        "<row><table:table-cell table:style-name='value1' table:number-columns-repeated='16384'/></row>",
        "<row><table:table-cell table:style-name='office:value' table:number-columns-repeated='16384'/></row>",
        f"<!-- <row>{FAR_CELL}</row> --><row><table:table-cell/></row>",
        f"<row><table:table-cell><text:p><![CDATA[{FAR_CELL}]]></text:p></table:table-cell></row>",
    ],
    ids=["closed", "style", "mark", "comment", "text"],
)
def test_empty_cells_of_an_open_document_are_not_far(tmp_path, row):
    pytest.importorskip("python_calamine")
    spreadsheets.write_ods(tmp_path / "a.ods", [["a", "b"], [1, 2]])
    row = row.replace("<row>", '<table:table-row table:number-rows-repeated="1048574">')
    row = row.replace("</row>", "</table:table-row>")
    with zipfile.ZipFile(tmp_path / "a.ods") as archive:
        members = {name: archive.read(name).decode() for name in archive.namelist()}
    with zipfile.ZipFile(tmp_path / "b.ods", "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content.replace("</table:table>", f"{row}</table:table>"))
    assert read_table(tmp_path / "b.ods").n_rows == 1


def test_a_quoted_mark_begins_no_comment():
    content = io.BytesIO()
    row = '<table:table-row table:number-rows-repeated="999999"><table:table-cell/></table:table-row>'
    row += f"<table:table-row>{FAR_CELL}</table:table-row>"
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("content.xml", f'<a><b at="<!--"/><table:table>{row}</table:table><b at="-->"/></a>')
        with pytest.raises(DataError, match="hold something"):
            _sheet_extent.refuse_far_cells(archive, "a.ods")


def test_sheets_that_only_seem_far_are_not_refused():
    far = '<row r="1048576"><c r="XFD1048576" s="1"/></row>'
    dense = "".join(f'<row r="{row}"><c r="A{row}"><v>1</v></c></row>' for row in range(1, 2000))
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("xl/worksheets/sheet1.xml", sheet(dense, far))
        archive.writestr("xl/worksheets/sheet2.xml", sheet(f"{dense}\n" * 40))
        assert _sheet_extent.refuse_far_cells(archive, "a.xlsx") is None


@pytest.mark.skipif(os.name == "nt", reason="Windows has none of these")
@pytest.mark.parametrize("suffix", ["csv", "csv.gz", "parquet", "npy"])
def test_pipes_and_devices_are_refused_at_once(tmp_path, suffix):
    os.mkfifo(tmp_path / f"pipe.{suffix}")
    (tmp_path / f"zero.{suffix}").symlink_to("/dev/zero")
    for name in ("pipe", "zero"):
        assert "a pipe or a device" in refusal(tmp_path / f"{name}.{suffix}")


# --- tables in memory ---


def test_masked_values_are_missing():
    numbers = np.ma.masked_equal([1.0, 2.0, 3.0], 2.0)
    texts = np.ma.array(["u", "v", "w"], mask=[True, False, False])
    table = table_from_mapping({"a": numbers, "b": texts, "c": np.ma.array([1, 2, 3])})
    np.testing.assert_array_equal(table.columns["a"], [1.0, np.nan, 3.0])
    assert table.columns["b"].tolist() == [None, "v", "w"]
    assert table.columns["c"].tolist() == [1, 2, 3]
    matrix = table_from_arrays(np.ma.masked_equal([[1.0, 2.0], [3.0, 4.0]], 4.0), np.ma.masked_equal([0.0, 1.0], 1.0))
    np.testing.assert_array_equal(matrix.columns["x1"], [2.0, np.nan])
    np.testing.assert_array_equal(matrix.columns["target"], [0.0, np.nan])


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ({"\ud800": [1]}, "the name of column 1, '\\\\ud800', is not valid Unicode"),
        ({"a": ["x", "\udfff"]}, "column 'a', row 2 holds text that is not valid Unicode"),
        ({"a": [None, "x", "\udfff"]}, "column 'a', row 3 holds"),
        ({"x" * 2000: [1]}, "2,000 characters"),
    ],
)
def test_text_that_could_not_be_written_again(columns, expected):
    with pytest.raises(DataError, match=expected):
        table_from_mapping(columns)


def test_a_column_that_does_not_become_an_array():
    class Trick:
        def __array__(self, dtype=None, copy=None):
            raise RuntimeError("\x1b[31mno")

    with pytest.raises(DataError, match=r"column 'a' is not a sequence of numbers or text: \\x1b\[31mno"):
        table_from_mapping({"a": Trick()})


@pytest.mark.parametrize("tag", [b"<c ", b'<c "', b"<c '", b"<table-cell ", b"<!--", b"<![CDATA["], ids=repr)
def test_tags_that_do_not_end_are_read_once(tag):
    """Each of them could be read up to the end again, which took an hour for these."""
    text = tag * 300_000
    for pattern in (_sheet_extent._TAG, _sheet_extent._TABLE_TAG):
        assert not any(match.group(1) for match in pattern.finditer(text))
