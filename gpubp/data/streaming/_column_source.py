"""Numeric columns of a table as rows of X and targets."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gpubp._core.names import near_miss
from gpubp.data.preprocessing import as_numbers
from gpubp.data.streaming._source import Rows, Source
from gpubp.data.streaming.table_files import open_tables
from gpubp.data.streaming.table_source import TableSource, in_file
from gpubp.data.table import Table
from gpubp.errors import DataError

_FIX = "remove the column, or train with gpubp.prepare_stream and gpubp.fit_table, which read categories"


@dataclass(eq=False)
class ColumnSource(Source):
    """The columns of a numeric table; `target_columns` are the targets, the others the inputs."""

    tables: TableSource
    inputs: tuple[str, ...]
    target_columns: tuple[str, ...]

    def rows(self, blocks: Iterable[int] | None = None) -> Iterator[Rows]:
        """Read blocks."""
        for piece in self.tables.pieces(blocks):
            try:
                x, targets = (_matrix(piece.table, names) for names in (self.inputs, self.target_columns))
            except DataError as error:
                raise in_file(error, piece.origin) from error
            yield Rows(x, targets, piece.origin, piece.first)


def _matrix(table: Table, names: Sequence[str]) -> np.ndarray:
    """Return columns as a matrix; infinity is left to the checks of the loss."""
    matrix = np.empty((table.n_rows, len(names)))
    for column, name in enumerate(names):
        values = table.columns[name]
        matrix[:, column] = as_numbers(table, name, _FIX) if values.dtype == object else values
    return matrix


def open_columns(path: Path, target_columns: str | Sequence[str]) -> ColumnSource:
    """Open a numeric table whose targets are the columns named `target_columns`."""
    tables = open_tables(path)
    names = (target_columns,) if isinstance(target_columns, str) else tuple(target_columns)
    for name in names:
        if name not in tables.names:
            raise DataError(f"{path} has no column {name!r}{near_miss(str(name), tables.names)}")
    if not names or len(set(names)) < len(names) or len(names) == len(tables.names):
        raise DataError(f"target_columns must name columns, each once, and leave some for X; got {list(names)}")
    inputs = tuple(name for name in tables.names if name not in names)
    of_tables = tables.dtype, tables.counts, tables.reading_bytes
    return ColumnSource(tables.name, len(inputs), len(names), *of_tables, tables, inputs, names)
