"""The text of a file stays in pyarrow's memory until it is used, and is counted there as it would be in Python."""

import contextlib
import csv
import io
from collections import Counter

import numpy as np
import pytest

from gpubp.data import read_table
from gpubp.data.preprocessing import _facts
from gpubp.data.preprocessing._facts import ColumnFacts
from gpubp.data.readers import text
from gpubp.errors import DataError

VALUES = ["a", "b", "", "NA", " NA ", "\u2003?\u2003", "12", "1.5", "x y", "0x1F", "\u2212 3"]


@pytest.fixture
def small_blocks(monkeypatch):
    monkeypatch.setattr(text, "_BLOCK_BYTES", 256)


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("seed", range(12))
def test_fields_are_those_of_the_csv_module(tmp_path, seed, end):
    """With line breaks, quotation marks and separators in fields, wherever the blocks of pyarrow end."""
    random = np.random.default_rng(seed)
    odd = ["two\nlines", 'a "b"', "x,y", "\n\n", ""] if seed % 3 else ["", "z"]
    rows = [
        [f"r{row}", "".join(random.choice(["u", "v"], random.integers(1, 30))), "t"]
        for row in range(int(random.integers(20, 90)))
    ]
    for row in random.choice(len(rows), 4, replace=False):
        rows[row][2] = str(random.choice(odd))
    file = io.StringIO(newline="")
    csv.writer(file, lineterminator=end, quoting=csv.QUOTE_ALL).writerows([["first", "second", "third"], *rows])
    path = tmp_path / "table.csv"
    path.write_bytes(file.getvalue().encode())
    table = read_table(path, separator=",", quote='"')
    for place, name in enumerate(table.columns):
        assert table.columns[name].tolist() == [row[place] or None for row in rows]


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("n_blank", [0, 1, 3])
def test_a_line_break_where_a_block_ends(tmp_path, n_blank):
    """A file whose lines are all rows but one, which pyarrow would divide, and with empty lines to make up for it."""
    rows = [f"{k:04},{'x' * 20}" for k in range(60)]
    for place in range(20, 40):
        odd = [*rows[:place], f'{place:04},"xxxxx\nyyyy,yyyyyy"', *rows[place + 1 :]]
        path = tmp_path / "table.csv"
        path.write_text("\n".join(["a,b", *odd]) + "\n" * (1 + n_blank))
        values = read_table(path).columns["b"]
        assert len(values) == 60
        assert values[place] == "xxxxx\nyyyy,yyyyyy"


@pytest.mark.usefixtures("small_blocks")
def test_a_quotation_mark_that_is_not_closed(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("a,b\n" + "1,x\n" * 200 + '1,"x\n' + "1,x\n" * 200)
    with pytest.raises(DataError, match="not closed"):
        read_table(path)


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("last", ["1,x", '1,"x', '1,"x\ny"', '5" pipe,"x\ny"'])
def test_pyarrow_reads_in_one_thread(tmp_path, monkeypatch, last):
    """In several, it may wait for ever where one of them finds an error."""
    import pyarrow.csv

    path, used, read_csv = tmp_path / "table.csv", [], pyarrow.csv.read_csv

    def recorded(file, *, read_options, **options):
        used.append(read_options.use_threads)
        return read_csv(file, read_options=read_options, **options)

    monkeypatch.setattr(pyarrow.csv, "read_csv", recorded)
    path.write_text("a,b\n" + "1,x\n" * 200 + last + "\n")
    with contextlib.suppress(DataError):
        values = read_table(path).columns["b"]
        assert len(values) == 201
        assert values[200] == ("x\ny" if "\n" in last else "x")
    assert used
    assert not any(used)


def facts_in_python(texts, most):
    """Count as the documentation says, one row at a time."""
    facts = ColumnFacts("value", ["-999"])
    for value in texts:
        facts.n_rows += 1
        if not value:
            facts.n_empty += 1
        elif value.strip() in facts._missing_texts:
            facts.marks[value] = facts.marks.get(value, 0) + 1
        else:
            facts.is_truncated |= value not in facts.counts and len(facts.counts) == most
            facts.has_repeats |= value in facts.counts
            if not facts.is_truncated:
                facts.counts[value] = facts.counts.get(value, 0) + 1
    return facts


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("kind", ["text", "whole", "fractions"])
@pytest.mark.parametrize("seed", range(8))
def test_counts_are_those_of_a_loop(tmp_path, monkeypatch, kind, seed):
    """In a file, and in a frame of its text, with slices and a limit so small that both end within them."""
    monkeypatch.setattr(_facts, "MAX_COUNTED", 20)
    monkeypatch.setattr(_facts, "_LEAST_SLICE", 8)
    random = np.random.default_rng(seed)
    n_distinct = int(random.integers(5, 60))
    numbers = random.integers(0, n_distinct, 120)
    odd = VALUES if kind == "text" else ["", "NA", "-999", " ? "]
    texts = [
        str(random.choice(odd)) if random.random() < 0.1 else {"text": f"v{k}", "whole": f"{k:02}"}.get(kind, f"{k}.50")
        for k in numbers
    ]
    path = tmp_path / "table.csv"
    path.write_text("\n".join(["value,y", *(f'"{value}",1' for value in texts)]))
    table = read_table(path)
    assert table.kind("value") == ("text" if kind == "text" else "number")
    pieces = [table.select(np.arange(50)), table.select(np.arange(50, 120))]
    expected = facts_in_python(texts, 20)
    for tables in ([table], pieces, [table.select(np.arange(120)[::-1])]):
        facts = ColumnFacts("value", ["-999"])
        for one in tables:
            facts.add(one)
        if len(tables[0].columns["value"]) == 120 and tables[0].selected is not None:
            expected = facts_in_python(texts[::-1], 20)
        assert (facts.n_rows, facts.n_empty, facts.marks) == (expected.n_rows, expected.n_empty, expected.marks)
        assert facts.counts == expected.counts
        assert list(facts.counts) == list(expected.counts)
        assert facts.is_truncated == expected.is_truncated
        if kind != "fractions":
            assert facts.has_repeats == expected.has_repeats


@pytest.mark.usefixtures("small_blocks")
def test_rows_of_a_selection_keep_their_text(tmp_path):
    """Also those of a selection from a selection, whose text is not an array before it is used."""
    path = tmp_path / "table.csv"
    path.write_text("town,code\n" + "\n".join(f"town {k % 7},{k:03}" for k in range(100)))
    table = read_table(path)
    some = table.select(np.arange(99, 0, -2)).select([3, 1])
    assert some.columns["town"].tolist() == [f"town {k % 7}" for k in (93, 97)]
    assert some.texts("code").tolist() == ["093", "097"]
    assert some.texts("town").tolist() == some.columns["town"].tolist()
    assert some.n_rows == 2
    assert "town" in table.columns
    assert "country" not in table.columns
    assert Counter(table.texts("town"))["town 0"] == 15


def test_every_blank_of_python_around_a_mark_is_one(tmp_path, monkeypatch):
    """Also where the text is only looked at: behind the first values."""
    monkeypatch.setattr(_facts, "MAX_COUNTED", 2)
    blanks = [chr(code) for code in range(0x10000) if chr(code).isspace() and chr(code) not in "\n\r"]
    marks = [f"{blank}NA" for blank in blanks] + [f"NA{blank}" for blank in blanks]
    path = tmp_path / "table.csv"
    for some in (marks[:1], marks, ["NA", "?"]):
        texts = ["a", "b", "c", "d e", "", "\u00e9", "x~", *some]
        path.write_text("\n".join(["value,y", *(f'"{text}",1' for text in texts)]), encoding="utf-8")
        facts = ColumnFacts("value")
        facts.add(read_table(path, separator=","))
        assert facts.is_truncated
        assert facts.marks == dict.fromkeys(some, 1)
        assert facts.n_empty == 1
