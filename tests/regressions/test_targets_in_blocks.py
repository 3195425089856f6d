"""A stream decides what its target holds from all blocks of the file, as a table in memory does."""

from itertools import permutations

import numpy as np
import pytest

import gpubp
from gpubp.errors import DataError

PARTS = {
    "NA first": ("NA", "EU", "US"),
    "codes": ("NA", "1", "EU", "nan"),
    "numbers": ("1.5", "2.5", "NA"),
    "whole numbers": ("1", "2", "null"),
    "leading zeros": ("01", "02", "NA"),
    "empty": ("EU", "", "NA"),
}


def decided(prepare, path, **options):
    """Return the kind and the classes of the target, and how many rows have one; or the error."""
    try:
        prepared = prepare(path, target="region", **options)
    except DataError as error:
        return str(error)
    target = prepared.preprocessing.target
    return type(target), getattr(target, "classes", ()), sum(prepared.rows.values())


@pytest.mark.parametrize("options", [{}, {"categorical": ["region"]}, {"task": "classification"}], ids=str)
@pytest.mark.parametrize("parts", PARTS.values(), ids=PARTS)
def test_a_stream_reads_its_target_as_a_table_does(tmp_path, monkeypatch, parts, options):
    monkeypatch.setattr("gpubp.data.streaming._text_tables.BLOCK_BYTES", 500)
    path = tmp_path / "t.csv"
    results = set()
    for order in permutations(parts):
        path.write_text("a,region\n" + "".join(f"{k % 7},{region}\n" for region in order for k in range(100)))
        in_memory = decided(gpubp.prepare_table, path, **options)
        assert decided(gpubp.prepare_stream, path, **options) == in_memory
        results.add(in_memory)
    assert len(results) == 1  # whatever the order
    assert isinstance(results.pop(), str) == (parts == PARTS["empty"])  # only one class is left there


@pytest.mark.parametrize("options", [{}, {"task": "regression"}], ids=str)
def test_rows_without_a_number_are_left_out_or_refused_with_their_count(tmp_path, monkeypatch, options):
    monkeypatch.setattr("gpubp.data.streaming._text_tables.BLOCK_BYTES", 500)
    path = tmp_path / "t.csv"
    numbers = np.arange(400) * 0.25
    path.write_text("a,y\n" + "".join(f"{k % 7},{'NA' if k in (222, 333) else y}\n" for k, y in enumerate(numbers)))
    prepared = gpubp.prepare_stream(path, target="y", **options)
    assert sum(prepared.rows.values()) == 398
    assert prepared.preprocessing.summaries[-1].n_missing == 2
    with pytest.raises(DataError, match="2 rows without the target 'y'"):
        gpubp.prepare_stream(path, target="y", strict=True, **options)


def test_a_target_that_is_text_late_is_decided_by_all_rows(tmp_path, monkeypatch):
    monkeypatch.setattr("gpubp.data.streaming._text_tables.BLOCK_BYTES", 500)
    path = tmp_path / "t.csv"
    targets = ["NA", *range(300), *["late"] * 300]
    path.write_text("a,region\n" + "".join(f"{k % 7},{region}\n" for k, region in enumerate(targets)))
    in_memory = decided(gpubp.prepare_table, path)
    assert decided(gpubp.prepare_stream, path) == in_memory
    assert "late" in in_memory[1]
