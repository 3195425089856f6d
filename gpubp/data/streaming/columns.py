"""Columns of numbers from a table, as x and targets."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gpubp._core.names import near_miss
from gpubp.data.readers import Table
from gpubp.data.streaming.folders import open_tables
from gpubp.data.streaming.sources import Rows
from gpubp.data.streaming.tables import TableSource
from gpubp.errors import DataError


@dataclass(frozen=True, eq=False)
class ColumnsSource:
    """The columns of a table, all of them numbers; ``target_columns`` are d, the others x."""

    tables: TableSource
    target_columns: tuple[str, ...]

    @property
    def name(self) -> str:
        """The file or folder."""
        return self.tables.name

    @property
    def inputs(self) -> tuple[str, ...]:
        """The columns of x."""
        return tuple(name for name in self.tables.names if name not in self.target_columns)

    @property
    def n_inputs(self) -> int:
        """Count the columns of x."""
        return len(self.inputs)

    @property
    def n_outputs(self) -> int:
        """Count the columns of d."""
        return len(self.target_columns)

    @property
    def dtype(self) -> str:
        """What x is held in."""
        return self.tables.dtype

    @property
    def counts(self) -> np.ndarray:
        """Rows of each block."""
        return self.tables.counts

    @property
    def bytes_in_hand(self) -> int:
        """A block of the table, and a piece of it as x and targets."""
        return self.tables.bytes_in_hand

    def rows(self, blocks: Iterable[int] | None = None) -> Iterator[Rows]:
        """Read blocks."""
        for piece in self.tables.pieces(blocks):
            x, targets = (self._matrix(piece.table, names) for names in (self.inputs, self.target_columns))
            yield Rows(x, targets, piece.origin, piece.first)

    def _matrix(self, table: Table, names: Sequence[str]) -> np.ndarray:
        matrix = np.empty((table.n_rows, len(names)))
        for column, name in enumerate(names):
            values = table.columns[name]
            if values.dtype == object:
                raise DataError(
                    f"{table.source}: column {name!r} holds text, and a stream is of numbers; leave it out, "
                    "or train with gpubp.prepare_table and gpubp.fit_table, which read categories"
                )
            matrix[:, column] = values
        return matrix


def columns_source(path: Path, target_columns: str | Sequence[str]) -> ColumnsSource:
    """Open a table of numbers; ``target_columns`` are the names of the columns of d."""
    tables = open_tables(path)
    names = (target_columns,) if isinstance(target_columns, str) else tuple(target_columns)
    for name in names:
        if name not in tables.names:
            raise DataError(f"{path} has no column {name!r}{near_miss(str(name), tables.names)}")
    if not names or len(set(names)) < len(names) or len(names) == len(tables.names):
        raise DataError(f"target_columns must name columns, each once, and leave some for x; got {list(names)}")
    return ColumnsSource(tables, names)
