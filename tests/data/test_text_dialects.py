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
from gpubp.data.readers.dialect import Dialect, TextOptions
from gpubp.data.readers.sniffing import SAMPLE_BYTES, sniff
from gpubp.data.streaming.table_files import open_tables
from gpubp.errors import DataError


@pytest.fixture
def write(tmp_path):
    def write(content, name="a.csv"):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


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
@settings(max_examples=3000, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_table_comes_back_from_any_dialect(tmp_path_factory, written):
    columns, has_header, content = written
    path = tmp_path_factory.mktemp("dialect") / "a.csv"
    path.write_bytes(content)
    table = read_table(path)
    expected = columns if has_header else {f"column_{k + 1}": v for k, v in enumerate(columns.values())}
    assert columns_of(table) == expected, table.notes
