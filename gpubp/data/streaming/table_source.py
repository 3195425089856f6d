"""Tables in files, read piece by piece: the interface of Parquet and text files."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple, Protocol

import numpy as np

from gpubp.data.table import Table
from gpubp.errors import DataError

PIECE_BYTES = 4 << 20
"""Approximate bytes of numbers in a piece of a table."""


class Piece(NamedTuple):
    """Rows of a table, their file, and the number of the first row, from 0, in that file and in the whole table."""

    table: Table
    origin: str
    first: int
    number: int


class TableSource(Protocol):
    """Files of one table, whose blocks can be read in any order."""

    @property
    def name(self) -> str:
        """The file or folder."""

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the columns."""

    @property
    def dtype(self) -> str:
        """Type of the rows of a window: "float64" if a column has it, else "float32"."""

    @property
    def counts(self) -> np.ndarray:
        """Number of rows of each block."""

    @property
    def reading_bytes(self) -> int:
        """Maximum memory for reading."""

    @property
    def notes(self) -> tuple[str, ...]:
        """What was decided about the files, in short sentences."""

    def pieces(self, blocks: Iterable[int] | None = None) -> Iterator[Piece]:
        """Read blocks in the given order, or all in order; a block may come in several pieces."""
        ...


def choose_piece_rows(n_columns: int) -> int:
    """Return the number of rows of a piece, which takes about PIECE_BYTES as float64."""
    return max(64, PIECE_BYTES // (8 * max(1, n_columns)))


def in_file(error: DataError, origin: str) -> DataError:
    """Return an error whose message begins with the file that it is about."""
    return error if str(error).startswith(origin) else DataError(f"{origin}: {error}")
