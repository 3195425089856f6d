"""Dialects of text files: what is found by looking at a file, said in notes, and overruled by options."""

import codecs
import csv
import gzip
import io

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gpubp.data import read_table
from gpubp.data.preprocessing import (
    ClassTarget,
    ColumnOptions,
    apply,
    decide_table,
    encode,
    encode_target,
    fit_columns,
    fit_preprocessing,
    from_json,
    to_json,
)
from gpubp.data.readers import text as text_files
from gpubp.data.readers.dialect import Dialect, TextOptions
from gpubp.data.readers.sniffing import SAMPLE_BYTES, sniff
from gpubp.data.streaming.table_files import open_tables
from gpubp.errors import DataError


@pytest.fixture
def write(write):
    return lambda content, name="a.csv": write(name, content)


def columns_of(table):
    return {name: values.tolist() for name, values in table.columns.items()}


# --- random tables in random dialects ---

WORDS = ("Bonn", "Köln", "New York", "a, b", 'the "old" one', "x;y", "Straße 5", "it's", "two\nlines", "tab\tbed")
BARE_WORDS = ("Bonn", "Ulm", "red", "no.5", "it's", "p_1")


@st.composite
def written_tables(draw):
    """Return columns, and a text that holds them."""
    n_rows = draw(st.integers(2, 12))
    blanks = draw(st.integers(0, 5)) == 0
    separator = " " if blanks else draw(st.sampled_from(",;\t|"))
    decimal = draw(st.sampled_from(".,")) if separator in ";\t" else "."
    encoding = draw(st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-16-be", "cp1252"]))
    words = BARE_WORDS if blanks else WORDS
    columns = {"n0": draw(st.lists(st.integers(-999, 99), min_size=n_rows, max_size=n_rows))}
    for place in range(1, draw(st.integers(2, 5))):
        kind = draw(st.sampled_from(["int", "float", "text"]))
        one = {
            "int": st.integers(-(10**6), 10**6),
            "float": st.integers(-(10**6), 10**6).map(lambda whole: whole / 100),
            "text": st.sampled_from(words),
        }[kind]
        values = draw(st.lists(one, min_size=n_rows, max_size=n_rows))
        name = draw(st.sampled_from(["age", "Größe", "size_cm", "fee"] if blanks else ["age", "Größe", "size (cm)"]))
        columns[f"{name}{place}"] = values
    has_header = draw(st.booleans())
    end = draw(st.sampled_from(["\n", "\r\n"]))
    text = io.StringIO(newline="")
    if draw(st.booleans()):
        text.write(f"# made{end}# by hand and with care on a fine Monday{end}")
    if draw(st.booleans()) and not blanks and has_header and len(columns) > 2:
        text.write(f"Sales of the shop{end}{end}")
    quoting = csv.QUOTE_MINIMAL if blanks else draw(st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_NONNUMERIC]))
    writer = csv.writer(text, delimiter=separator, lineterminator=end, quoting=quoting)
    rows = zip(*columns.values(), strict=True)
    if has_header:
        writer.writerow(columns)
    for row in rows:
        # numbers as text are quoted by QUOTE_NONNUMERIC, which readers must not mind
        writer.writerow([str(v).replace(".", decimal) if isinstance(v, float) else v for v in row])
    content = text.getvalue()
    if blanks and draw(st.booleans()):
        content = content.replace(" ", "   ") if "#" not in content else content
    if encoding == "utf-16-be":
        return columns, has_header, codecs.BOM_UTF16_BE + content.encode(encoding)
    return columns, has_header, content.encode(encoding)


@given(written_tables())
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_table_comes_back_from_any_dialect(tmp_path_factory, written):
    columns, has_header, content = written
    path = tmp_path_factory.mktemp("dialect") / "a.csv"
    path.write_bytes(content)
    table = read_table(path)
    expected = columns if has_header else {f"column_{k + 1}": v for k, v in enumerate(columns.values())}
    assert columns_of(table) == expected, table.notes


# --- what is found, and said ---


@pytest.mark.parametrize(
    ("content", "columns", "note"),
    [
        ("a;b\n1;x\n", {"a": [1], "b": ["x"]}, "separated by ';'"),
        ("a\tb\n1\tx\n", {"a": [1], "b": ["x"]}, "separated by tabs"),
        ("a|b\n1|x, y\n", {"a": [1], "b": ["x, y"]}, "separated by '|'"),
        ("a   b\n1   x\n 20  y\n", {"a": [1, 20], "b": ["x", "y"]}, "separated by blanks"),
        ('18.0  8\t"chevrolet malibu"\n15.0  8\t"buick, red"\n',
         {"column_1": [18.0, 15.0], "column_2": [8, 8], "column_3": ["chevrolet malibu", "buick, red"]},
         "no header"),
        ("sep=;\na;b\n1;2\n", {"a": [1], "b": [2]}, "the first line names the separator"),
        ("a;b\n1,5;2.000,25\n-,5;3,0\n", {"a": [1.5, None], "b": [2000.25, 3.0]}, None),
        ("a;b\n1,5;x\n2,25;y\n", {"a": [1.5, 2.25], "b": ["x", "y"]}, "decimal comma"),
        ("a;b\n1.234,5;x\n17,0;y\n", {"a": [1234.5, 17.0], "b": ["x", "y"]}, "'.' between thousands"),
        ("a;b\n1 234,5;x\n17;y\n", {"a": [1234.5, 17.0], "b": ["x", "y"]}, "' ' between thousands"),
        ("a,b\n1, x\n2, y\n", {"a": [1, 2], "b": ["x", "y"]}, None),
        ("a,b\n1,'x, y'\n2,'z'\n", {"a": [1, 2], "b": ["x, y", "z"]}, None),
        ("town,n\nK\xf6ln,1\n".encode("latin-1"), {"town": ["K\xf6ln"], "n": [1]}, "cp1252"),
        ("town,n\nK\xf6ln,1\n".encode("utf-16"), {"town": ["K\xf6ln"], "n": [1]}, "utf-16"),
        ("town,n\nK\xf6ln,1\n".encode("utf-16-le"), {"town": ["K\xf6ln"], "n": [1]}, "utf-16"),
        ("town,n\nK\xf6ln,1\n".encode("utf-32"), {"town": ["K\xf6ln"], "n": [1]}, "utf-32"),
        ("\ufefftown,n\nK\xf6ln,1\n", {"town": ["K\xf6ln"], "n": [1]}, None),
        ("5.1,setosa\n4.9,setosa\n", {"column_1": [5.1, 4.9], "column_2": ["setosa"] * 2}, "there is no header"),
        ("p,x\ne,x\np,y\ne,y\n", {"column_1": ["p", "e"] * 2, "column_2": ["x", "x", "y", "y"]}, "is no header"),
        ("town,1990,1991\nBonn,3,4\n", {"town": ["Bonn"], "1990": [3], "1991": [4]}, None),
        ("town,1990,1995\nBonn,3,4\n", {"town": ["Bonn"], "1990": [3], "1995": [4]}, None),
        (",142.24,144.78\na,3,4\n", {"unnamed_1": ["a"], "142.24": [3], "144.78": [4]}, "named unnamed_1"),
        ("1stFlr,2ndFlr,age\n3,4,5\n", {"1stFlr": [3], "2ndFlr": [4], "age": [5]}, None),
        ("# by hand\na,b\n1,2\n# later\n3,4\n", {"a": [1, 3], "b": [2, 4]}, "lines that begin with # are left out"),
        ("a,b\n1,2\n# later, on\n# later\n3,4\n", {"a": [1, 3], "b": [2, 4]}, None),
        ("# a b\n1 2\n3 4\n", {"a": [1, 3], "b": [2, 4]}, "those in the comment above the rows: 'a', 'b'"),
        ("%x\n1,2\n3,4\n", {"column_1": [1, 3], "column_2": [2, 4]}, "there is no header"),
        ("#,kind\n1,x\n2,y\n", {"unnamed_1": [1, 2], "kind": ["x", "y"]}, "in the comment"),
        ("Sales\nof 2020\n\na,b,c\n1,2,3\n", {"a": [1], "b": [2], "c": [3]}, "2 lines before the table are left out"),
        ("Sales,,\na,b,c\n1,2,3\n", {"a": [1], "b": [2], "c": [3]}, "the line before the table is left out: 'Sales'"),
        ("mpg,hp\nMazda,21,110\nFiat,32,66\n", {"row_name": ["Mazda", "Fiat"], "mpg": [21, 32], "hp": [110, 66]},
         "first column has no name in the header"),
        (",a\n0,5\n1,6\n", {"unnamed_1": [0, 1], "a": [5, 6]}, "named unnamed_1"),
        ("a,b,a\n1,2,3\n", {"a": [1], "b": [2], "a_2": [3]}, "names that repeat are changed: 'a' 'a_2'"),
        ("a,b,\n1,2,\n3,4,\n", {"a": [1, 3], "b": [2, 4]}, "each line ends with a separator"),
        ("a,b\n1,2,\n3,4,\n", {"a": [1, 3], "b": [2, 4]}, "each line ends with a separator"),
        ("a,b,c\n1,2,3\n4\n5,6\n", {"a": [1, 4, 5], "b": [2, None, 6], "c": [3, None, None]},
         "the rest is missing; the first is row 2 (not counting the header)"),
        ("x\ty\tclass\nc\td\td\n\t\tclass\n1\tu\tv\n", {"x": [1], "y": ["u"], "class": ["v"]}, "for Orange"),
        ("n\n1\n2\n", {"n": [1, 2]}, None),
        ("name\nNew York\nSan Jose\n", {"name": ["New York", "San Jose"]}, None),
        ("a,b\r1,x\r2,y\r", {"a": [1, 2], "b": ["x", "y"]}, None),
    ],
)  # fmt: skip
def test_a_dialect_is_found(write, content, columns, note):
    table = read_table(write(content))
    values = {name: [None if value != value else value for value in got] for name, got in columns_of(table).items()}
    if note is None:
        columns = {name: values.get(name) if None in column else column for name, column in columns.items()}
    else:
        assert any(note in said for said in table.notes), table.notes
    assert values == columns
    assert all(said.isprintable() and len(said) < 500 for said in table.notes)


def test_texts_of_numbers_are_as_the_file_spells_them(write):
    table = read_table(write("a;b\n1,5;1,5\n2,50;x\n3;1.234,5\n"))
    assert table.columns["a"].tolist() == [1.5, 2.5, 3.0]
    assert table.texts("a").tolist() == ["1,5", "2,50", "3"]
    assert table.columns["b"].tolist() == ["1,5", "x", "1.234,5"]
    assert table.decimal == ","


def test_plain_files_have_no_notes(write):
    assert read_table(write("a,b\n1,x\n2,y\n")).notes == ()
    assert read_table(write("a\tb\n1\tx\n2\ty\n", "a.tsv")).notes == ()


def test_targets_of_orange_are_targets(write):
    assert read_table(write("x\ty\tk\nc\td\td\n\t\tclass\n1\tu\tv\n", "a.tab")).targets == ("k",)


@pytest.mark.parametrize(
    ("content", "options", "columns"),
    [
        ("a;b\n1,5;2\n", {"separator": ","}, {"row_name": [1], "a;b": ["5;2"]}),
        ("a;b\n1,5;2\n", {"decimal": "."}, {"a": ["1,5"], "b": [2]}),
        ("a,b\n1;2,3\n", {"separator": ";"}, {"row_name": [1], "a,b": [2.3]}),
        ('a,b\n"1,234",2\n', {"thousands": ","}, {"a": [1234], "b": [2]}),
        ("1.234;2\n5.678;3\n", {"thousands": ".", "header": False}, {"column_1": [1234, 5678], "column_2": [2, 3]}),
        ("a,b\n1,2\n", {"header": False}, {"column_1": ["a", "1"], "column_2": ["b", "2"]}),
        ("1,2\n3,4\n", {"header": True}, {"1": [3], "2": [4]}),
        ("# a,b\n1,2\n", {"comment": ""}, {"# a": [1], "b": [2]}),
        ("a,b\n!,!\n1,2\n", {"comment": "!"}, {"a": [1], "b": [2]}),
        ("x,y\na,b\n1,2\n", {"skip_rows": 1}, {"a": [1], "b": [2]}),
        ('a\tb\n"x\t1\n', {"quote": ""}, {"a": ['"x'], "b": [1]}),
        (b"a,b\n\xcc\xee\xf1,1\n", {"encoding": "cp1251"}, {"a": ["Мос"], "b": [1]}),
        ("a  b\n1  2\n", {"separator": " "}, {"a": [1], "b": [2]}),
    ],
)
def test_options_overrule(write, content, options, columns):
    table = read_table(write(content), **options)
    assert columns_of(table) == columns
    assert not any(f"option {name})" in said for name in options for said in table.notes)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"decimal": ";"}, "decimal must be '.' or ',', got ';'"),
        ({"thousands": "'''"}, "thousands must be one character"),
        ({"decimal": ",", "thousands": ","}, "choose two characters"),
        ({"encoding": "utf-9"}, "unknown encoding 'utf-9'"),
        ({"encoding": "base64"}, "unknown encoding 'base64'"),
        ({"quote": "x"}, "quote must be"),
        ({"skip_rows": -1}, "skip_rows must be 0 or more"),
    ],
)
def test_invalid_options(write, options, message):
    with pytest.raises(DataError, match=message):
        read_table(write("a,b\n1,2\n"), **options)


def test_options_as_text():
    assert TextOptions.parse(["quote=none", "header=no", "thousands= "], "tab").chosen == {
        "separator": "\t",
        "quote": "",
        "header": False,
        "thousands": " ",
    }
    for text, message in (("head=no", "did you mean 'header'"), ("header", "NAME=VALUE"), ("skip_rows=x", "whole")):
        with pytest.raises(DataError, match=message):
            TextOptions.parse([text])


def test_sniffing_is_a_function_of_the_first_bytes():
    content = ("a;b\n" + "1,5;x\n" * 400_000).encode()
    whole, start = sniff(content), sniff(content[:SAMPLE_BYTES], is_whole=False)
    assert whole == start
    assert whole.dialect == Dialect(separator=";", decimal=",")


# --- what the first bytes do not show ---


@pytest.fixture
def long_rows(monkeypatch):
    monkeypatch.setattr("gpubp.data.readers.text.SAMPLE_BYTES", 8192)
    return "".join(f"{k},x\n" for k in range(2000))


def test_a_late_byte_that_is_not_utf8(write, long_rows):
    path = write(b"a,b\n" + long_rows.encode() + b"1,K\xf6ln\n")
    table = read_table(path)
    assert table.columns["b"][-1] == "Köln"
    assert any("cp1252" in said for said in table.notes)
    path = write(("a,b\n" + long_rows + "1,Köln\n").encode() + b"1,K\xf6ln\n")
    with pytest.raises(
        DataError, match=r"row 2,002 \(not counting the header\) of column 'b' shows; name its encoding"
    ):
        read_table(path)


def test_late_rows_of_another_length(write, long_rows):
    table = read_table(write("a,b\n" + long_rows + "7\n"))
    assert table.columns["b"][-1] is None
    assert any("a row has fewer fields than columns" in said and "2,001" in said for said in table.notes)
    with pytest.raises(DataError, match=r"row 2,001 \(not counting the header\): Expected 2 columns, got 3"):
        read_table(write("a,b\n" + long_rows + "7,8,9\n"))


def test_a_late_comment(write, long_rows):
    table = read_table(write("# b\na,b\n" + long_rows + "# x,y\n7,y\n"))
    assert table.n_rows == 2001


@pytest.mark.usefixtures("long_rows")
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize(("comment", "late"), [("#", "#x,y"), ("#", "  #x,y"), ("§", "§x,y")])
def test_a_comment_wherever_a_block_begins(write, monkeypatch, end, comment, late):
    monkeypatch.setattr(text_files, "_BLOCK_BYTES", 9000)
    for place in range(-4, 3):
        rows = ["1,x"] * 2000 + ["1,"]
        rows[-1] += "x" * (-(sum(map(len, rows)) + len(rows) * len(end) - place) % 9000)
        table = read_table(write(end.join(["a,b", *rows, late, "7,y", ""])), comment=comment)
        assert table.n_rows == 2002
        assert columns_of(table)["a"][-2:] == [1, 7]


@pytest.mark.parametrize("n_in_block", range(1, 8))
def test_a_last_line_over_two_blocks_of_a_repaired_file(write, monkeypatch, n_in_block):
    monkeypatch.setattr(text_files, "_BLOCK_BYTES", 256)
    rows = ["7", *["123,ab"] * 40]
    content = "\n".join([*rows, ""])
    rows[-1] += "b" * (-(len(content) + n_in_block) % 256)
    table = read_table(write("\n".join(["a,b", *rows, "999,xyz"])))
    assert columns_of(table)["a"] == [7, *[123] * 40, 999]
    assert columns_of(table)["b"][-2:] == [rows[-1][4:], "xyz"]


def test_a_late_field_behind_the_last_separator(write):
    rows = "1,2,\n" * 2000
    assert list(read_table(write("a,b,\n" + rows)).columns) == ["a", "b"]
    with pytest.raises(DataError, match=r"row 2,001 \(not counting the header\): Expected 2 columns, got 3"):
        read_table(write("a,b,\n" + rows + "1,2,3\n"))


# --- in parts ---


@pytest.mark.parametrize(
    "content",
    [
        "a;b\n" + "1,5;x\n2;'y z'\n" * 300,
        "# c\nx y\n" + "1.5 u\n2  v\n# late\n" * 300,
        "5.1,u\n4.9,v\n" * 300,
        ("a,b\n" + "1,Köln\n" * 300).encode("cp1252"),
        "a,b,c\n" + "1,2,3\n4,5\n" * 300,
        "Title\n\na,b,c\r\n" + "1,2,3\r\n" * 300,
        "a,b\n" + "1,'x, y'\n2,'z'\n" * 300,
    ],
)
def test_parts_are_read_as_the_whole(write, monkeypatch, content):
    monkeypatch.setattr("gpubp.data.streaming._text_tables.BLOCK_BYTES", 500)
    path = write(content)
    whole, tables = read_table(path), open_tables(path)
    parts = [piece.table for piece in tables.pieces()]
    assert len(parts) > 3
    for name, values in whole.columns.items():
        np.testing.assert_array_equal(np.concatenate([part.columns[name] for part in parts]), values)
    assert len(tables.notes) == len(whole.notes)


def test_compressed_text_without_its_suffix(write):
    assert columns_of(read_table(write(gzip.compress(b"a;b\n1;2\n")))) == {"a": [1], "b": [2]}


@pytest.mark.parametrize(
    ("content", "columns"),
    [
        ("a,y\n+49 30 123,0\n+49 40 456,1\n", {"a": ["+49 30 123", "+49 40 456"], "y": [0, 1]}),
        ('a, b\n1, "x, y"\n2, z\n', {"a": [1, 2], "b": ["x, y", "z"]}),
        ("a b\n5,1 3,5\n6,1 2,5\n", {"a": [5.1, 6.1], "b": [3.5, 2.5]}),
    ],
)
def test_blanks_are_separators_only_where_the_header_has_them_too(content, columns, write):
    assert columns_of(read_table(write(content))) == columns


def test_numbers_have_the_marks_of_the_file_also_beside_text(write):
    training = "price;other;y\n" + "".join(f"{k}.{k + 100},5;{k},5;{k % 2}\n" for k in range(1, 41))
    preprocessing = fit_preprocessing(read_table(write(training)), "y")
    new = training.replace("3.103,5;3,5", "3.103,5;unknown")
    encoded = encode(preprocessing, read_table(write(new)))
    assert [(one.column, one.problem, one.n) for one in encoded.issues] == [("other", "unreadable", 1)]
    rows = [k for k in range(40) if k != 2]
    np.testing.assert_array_equal(encoded.X[rows], apply(preprocessing, read_table(write(training)))[rows])


def test_a_decimal_comma_decides_about_units_too(write):
    content = "price;other;y\n" + "".join(f"{k}.{k + 100} EUR;{k},5;{k % 2}\n" for k in range(1, 41))
    price = fit_preprocessing(read_table(write(content)), "y").columns[0]
    assert (price.low, price.high) == (1101.0, 40140.0)


@pytest.mark.parametrize("task", ["auto", "classification"])
def test_classes_may_have_a_decimal_comma(write, task):
    table = read_table(write("a;y\n" + "".join(f"{k % 4},5;{k % 3},0\n" for k in range(30))))
    preprocessing = fit_preprocessing(table, "y", task=task)
    assert preprocessing.target == ClassTarget("y", ("0", "1", "2"), "int")
    np.testing.assert_array_equal(encode_target(preprocessing, table).argmax(axis=1), np.arange(30) % 3)


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_the_marks_of_a_column_hold_in_a_file_of_one_row(separator, write):
    rows = [f'"{k},{k + 100}"{separator}{"ab"[k % 2]}' for k in range(1, 41)]
    training = "\n".join([f"n{separator}y", *rows])
    preprocessing = fit_preprocessing(read_table(write(training)), "y")
    if separator == ";":  # a decimal comma, for all that the file shows
        preprocessing = fit_preprocessing(read_table(write(training.replace(";", "\t"), "a.tsv")), "y")
    one = read_table(write("\n".join([f"n{separator}y", rows[4]]), "one.csv"))
    number = preprocessing.columns[0]
    np.testing.assert_allclose(apply(preprocessing, one), (5105.0 - number.mean) / number.scale)


@pytest.mark.parametrize(
    "new", ["n;y\n1,5;a\nnone yet;a\n", "n;y\n1,5;a\nnone yet;a\n2.000,25;b\n", "n;y\n1.5;a\nx;b\n"]
)
def test_a_model_keeps_the_decimal_comma(new, write):
    training = "n;y\n" + "".join(f"{k}.{k + 100},5;{'ab'[k % 2]}\n" for k in range(1, 41))
    preprocessing = fit_preprocessing(read_table(write(training)), "y")
    assert from_json(to_json(preprocessing)) == preprocessing
    encoded = encode(preprocessing, read_table(write(new, "new.csv")))
    assert [one.n for one in encoded.issues if one.problem == "unreadable"] == [1]
    number = preprocessing.columns[0]
    np.testing.assert_allclose(encoded.X[0], (1.5 - number.mean) / number.scale)


def test_thousands_alone_are_read_as_in_training(write):
    training = "n;y\n" + "".join(f"{k}.{k + 100},5;{'ab'[k % 2]}\n" for k in range(1, 41))
    preprocessing = fit_preprocessing(read_table(write(training)), "y")
    new = read_table(write("n;y\n2.345;a\n", "new.csv"))
    number = preprocessing.columns[0]
    np.testing.assert_allclose(apply(preprocessing, new), (2345.0 - number.mean) / number.scale)


def test_one_file_of_a_folder_shows_the_marks_of_all(tmp_path, write):
    (tmp_path / "shop").mkdir()
    write("n;y\n" + "".join(f"{k};{'ab'[k % 2]}\n" for k in range(1, 41)), "shop/1.csv")
    write("n;y\n" + "".join(f"{k},5;{'ab'[k % 2]}\n" for k in range(1, 41)) + "unknown;a\n", "shop/2.csv")
    whole = read_table(tmp_path / "shop")
    in_parts = [piece.table for piece in open_tables(tmp_path / "shop").pieces()]
    for pieces in ([whole], in_parts):
        decisions = decide_table(pieces, ColumnOptions())
        fitted = fit_columns(decisions, ((piece, np.ones(piece.n_rows, dtype=bool)) for piece in pieces))
        number = fitted.preprocessing.columns[0]
        assert (number.low, number.high) == (1.0, 40.5)
        assert fitted.preprocessing.summaries[0].n_missing == 1


def test_a_unit_beside_a_decimal_comma_does_not_hide_the_separator(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("w;y\n" + "".join(f"{k},{k % 10}2 kg;{k},42\n" for k in range(1, 40)))
    table = read_table(path)
    assert list(table.columns) == ["w", "y"]
    np.testing.assert_allclose(table.columns["y"][:3], [1.42, 2.42, 3.42])


# --- numbers that the separator divides ---


@pytest.mark.parametrize(
    "content",
    [
        "item,price,n\nnut,1,600,3\nbolt,900,4\nscrew,3,100,5\n",
        "item,price,n\nnut,1,600,3\nbolt,900,4\n",
        "item,price,cost\nnut,1,600,1,200\nbolt,2,100,1,900\n",
        "item,price,n\nnut,1,600,200,3\nbolt,2,100,300,4\n",
    ],
)
def test_numbers_with_unquoted_commas_are_named_with_the_fix(write, content):
    with pytest.raises(DataError, match=r'1,600.*between thousands; write such numbers as ".*1,600.*or without'):
        read_table(write(content))
    with pytest.raises(DataError, match="between thousands"):
        open_tables(write(content), TextOptions())


@pytest.mark.parametrize(
    "content",
    [
        "item,price\nnut,1,600\nbolt,2,150\n",
        "item,price\nnut,1,600\nbolt,2,050\n",
        "Sales of 2020\nitem,price,n\nnut,$1,600.00,3\nbolt,$2,050.00,4\n",
        'item,"price, net"\nnut,1,600\nbolt,2,050\n',
        "price\n1,600\n2,050\n",
        "item,price\n1,1,600\n" + "".join(f"{k},{k % 7},{k:03}\n" for k in range(2, 90)),
        "item,price\nnut,1,600\n" + "".join(f"x{k},{k % 7},{k:03}\n" for k in range(60)),
        "price,item\n1,600,nut\n" + "".join(f"{k % 50},{k + 100},x\n" for k in range(99)),
        "item,price\nnut,1,600\nbolt\n",
        "item,price,n\nnut,-1,600 EUR,3\nbolt,-2,050 EUR,\n",
    ],
)
def test_names_of_rows_that_may_be_shifted_numbers_are_a_note(write, content):
    table = read_table(write(content))
    assert next(iter(table.columns)) == "row_name"
    assert any("1,600" in note and "without the comma, as the columns are shifted" in note for note in table.notes)


@pytest.mark.parametrize(
    "content",
    [
        "mpg,cyl,disp\nMazda,21.0,6,160\nFiat,32.4,4,78.7\n",
        "a,b\n1,200,\n2,050,\n",
        "a,b,c\n1,200\n2,050\n3,010,7\n",
        'state,county\n1,"1","001"\n2,"1","003"\n',
        "1,600,3\n2,050,4\n",
        "a,b,c\n1,600,x\n2,101,x,\n3,102,x\n4,103,x,,\n",
        "a,b\n" + "".join(f"{k},{k + 100},{k + 200}\n" for k in range(1, 50)),
        "a,b\n" + "".join(f"{k},{k + 100},{k + 200}\n" for k in range(1, 50)) + "5,6\n",
        "a,b\n" + "".join(f"{k},{k + 100}{',x' * (k != 25)}\n" for k in range(1, 50)),
        "zip,b\n" + "".join(f"{k},{k:03},{k + 200}\n" for k in range(1, 50)),
        "a,b\n" + "".join(f"{7 * k % 101},{k + 100},x\n" for k in range(1, 50)),
        "a,b,c\n" + "".join(f"{k},{k + 100},x,{'z' * (k % 2)}\n" for k in range(1, 50)),
        "a,b\n" + "".join(f"x{k},{k},{k + 200}\n" for k in range(1, 50)),
    ],
)
def test_other_surplus_fields_are_not_taken_for_divided_numbers(write, content):
    assert not any("thousands" in note for note in read_table(write(content)).notes)
