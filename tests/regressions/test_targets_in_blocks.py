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
    """Return the target's schema, or that a target is missing."""
    try:
        return prepare(path, target="region", **options).preprocessing.target
    except DataError as error:
        if "the target 'region' is missing in" not in str(error):
            raise
        return "missing"


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


@pytest.mark.parametrize("options", [{}, {"task": "regression"}], ids=str)
def test_the_first_missing_number_is_named(tmp_path, monkeypatch, options):
    monkeypatch.setattr("gpubp.data.streaming._text_tables.BLOCK_BYTES", 500)
    path = tmp_path / "t.csv"
    numbers = np.arange(400) * 0.25
    path.write_text("a,y\n" + "".join(f"{k % 7},{'NA' if k in (222, 333) else y}\n" for k, y in enumerate(numbers)))
    with pytest.raises(DataError, match=r"t\.csv: the target 'y' is missing in row 223 \(not counting the header\)"):
        gpubp.prepare_stream(path, target="y", **options)


def test_a_missing_number_ends_the_reading_when_the_target_can_no_longer_be_text(tmp_path, monkeypatch):
    monkeypatch.setattr("gpubp.data.streaming._text_tables.BLOCK_BYTES", 500)
    monkeypatch.setattr("gpubp.data.preprocessing._incremental_fitting.MAX_CLASSES", 50)
    path = tmp_path / "t.csv"
    targets = ["NA", *range(300), *["late"] * 300]
    path.write_text("a,y\n" + "".join(f"{k % 7},{y}\n" for k, y in enumerate(targets)))
    with pytest.raises(DataError, match=r"the target 'y' is missing in row 1 \(not counting the header\)"):
        gpubp.prepare_stream(path, target="y")
