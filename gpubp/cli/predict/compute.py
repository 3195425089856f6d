"""Predict and score a table, as a whole or in parts."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from gpubp.cli.output import print_note
from gpubp.cli.predict.formats import Columns, open_writer
from gpubp.data.metrics import RunningScores, Scores, score
from gpubp.data.preprocessing import Preprocessing, encode_target
from gpubp.data.streaming.table_source import TableSource, in_file
from gpubp.data.table import Table
from gpubp.errors import DataError
from gpubp.tabular import decode_outputs

Compute = Callable[[Table], np.ndarray]
"""Computes the network's outputs for the rows of a table."""


class Predicted(NamedTuple):
    """The predictions for a table."""

    source: str  # the table
    n_rows: int
    columns: Columns  # empty if they were written in parts
    scores: Scores | None  # None if the table has no target, or one that cannot be scored


def predict_whole(preprocessing: Preprocessing, compute: Compute, table: Table) -> Predicted:
    """Predict a table that is in memory."""
    outputs = compute(table)
    scores = None
    if set(preprocessing.target_names) <= set(table.columns):
        try:
            scores = score(preprocessing, encode_target(preprocessing, table), outputs)
        except DataError as error:  # the predictions do not depend on the target
            print_note(f"no scores: {error}")
    return Predicted(table.source, table.n_rows, decode_outputs(preprocessing, outputs), scores)


def predict_in_parts(
    preprocessing: Preprocessing, compute: Compute, tables: TableSource, output: Path | None
) -> Predicted:
    """Predict a table part by part, and write each part to a file or to stdout."""
    is_scored, running = set(preprocessing.target_names) <= set(tables.names), RunningScores(preprocessing)
    with open_writer(output) as write:
        for piece in tables.pieces():
            try:
                outputs = compute(piece.table)
            except DataError as error:
                raise in_file(error, piece.origin) from error
            write(decode_outputs(preprocessing, outputs))
            try:
                if is_scored:
                    running.add(encode_target(preprocessing, piece.table), outputs)
            except DataError as error:  # the predictions do not depend on the target
                is_scored = False
                print_note(f"no scores: {in_file(error, piece.origin)}")
    return Predicted(tables.name, int(sum(tables.counts)), {}, running.scores() if is_scored else None)
