"""Tables in files, piece by piece: what Parquet and CSV have in common."""

import importlib
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

from gpubp.data.readers import Table
from gpubp.errors import DataError

PIECE_BYTES = 4 << 20
"""About how many bytes of numbers a piece of a table has."""


class Piece(NamedTuple):
    """Some rows of a table, the file they are from, and the number of the first: in the file, and of all, from 0."""

    table: Table
    origin: str
    first: int
    number: int


class TableSource(Protocol):
    """Files of one table, whose blocks are read in any order."""

    @property
    def name(self) -> str:
        """The file or folder."""

    @property
    def names(self) -> tuple[str, ...]:
        """The columns."""

    @property
    def dtype(self) -> str:
        """What numbers are best held in: "float64" where a column is, else "float32"."""

    @property
    def counts(self) -> np.ndarray:
        """Rows of each block."""

    @property
    def bytes_in_hand(self) -> int:
        """What the reading itself takes of memory, at most."""

    def pieces(self, blocks: Iterable[int] | None = None) -> Iterator[Piece]:
        """Read blocks in the order that is given, or all as they lie; a block may come in several pieces."""
        ...


def pyarrow_module(module: str, path: Path) -> Any:
    """Import a part of pyarrow, when there is a file to read with it."""
    try:
        return importlib.import_module(f"pyarrow.{module}")
    except ImportError as error:
        raise DataError(f'reading {path} needs pyarrow: pip install "gpubp[cli]"') from error


def rows_of_a_piece(n_columns: int) -> int:
    """Choose how many rows a piece has: numbers of float64 for about PIECE_BYTES."""
    return max(64, PIECE_BYTES // (8 * max(1, n_columns)))


def with_rows_of_file(error: DataError, piece: Piece) -> DataError:
    """Make an error about a row of a piece one about a row of its file."""
    told = re.sub(r"\brow (\d+)", lambda found: f"row {int(found[1]) + piece.first}", str(error))
    return DataError(told if told.startswith(piece.origin) else f"{piece.origin}: {told}")
