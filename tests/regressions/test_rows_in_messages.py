"""Messages about a table name the row of its source, also if rows were selected or read in blocks."""

import numpy as np
import pandas as pd
import pytest

import gpubp
from gpubp.data import fit_preprocessing, table_from_mapping
from gpubp.data.preprocessing import apply, encode
from gpubp.data.readers import read_table
from gpubp.data.streaming.prepared_stream import encode_piece
from gpubp.errors import DataError

FRAME = pd.DataFrame({"a": np.arange(40) % 7 * 1.0, "c": ["x", "y"] * 20, "y": [0.5, 1.5] * 20})


@pytest.mark.parametrize(
    ("name", "value", "message"), [("a", "old", ": 'old'"), ("a", "", "1 missing"), ("c", "z", ": 'z'")]
)
@pytest.mark.parametrize("select", [lambda t: t.select([5, 6, 7]), lambda t: t.select([0, 7]).select([1])])
def test_a_selection_counts_the_rows_of_the_file(tmp_path, name, value, message, select):
    path = tmp_path / "t.csv"
    faulty = FRAME.astype({name: object})
    faulty.loc[7, name] = value
    faulty.to_csv(path, index=False)
    with pytest.raises(DataError, match=r"row 8 \(not counting the header\)") as error:
        apply(fit_preprocessing(table_from_mapping(FRAME)), select(read_table(path)), strict=True)
    assert message in str(error.value)


def test_validation_rows_of_a_stream_count_the_rows_of_the_file(tmp_path):
    path = tmp_path / "t.csv"
    FRAME.to_csv(path, index=False)
    stream = gpubp.prepare_stream(path, target="y", task="regression", validation_fraction=0.4, test_fraction=0.0)
    (piece,) = stream.validation_pieces
    rows = np.flatnonzero(stream.splits(0, len(FRAME)) == 1)
    assert piece.table.columns["a"][2] == FRAME["a"][rows[2]]
    piece.table.columns["a"][2] = np.inf
    (issue,) = encode(stream.preprocessing, piece.table)[1]
    assert issue.problem == "unreadable"
    assert issue.example.startswith(f"row {rows[2] + 1} (not counting the header): ")
    piece.table.columns["y"][2] = np.nan
    with pytest.raises(DataError, match=rf"row {rows[2] + 1} \(not counting the header\)"):
        encode_piece(stream.preprocessing, piece, np.ones(len(rows), dtype=bool))
