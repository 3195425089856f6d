"""The sources of streams, which yield rows of X and targets in blocks, and a check for changed files."""

import stat
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from gpubp.errors import DataError

BLOCK_BYTES = 1 << 20
"""Approximate bytes read at a time, if the file's format has no blocks."""


class Rows(NamedTuple):
    """Rows ``(n, i)`` and ``(n, j)``, their file, and the number of the first row in it, from 0."""

    x: np.ndarray
    targets: np.ndarray
    origin: str
    first: int


@dataclass(eq=False)
class Source(ABC):
    """Rows in blocks.

    Attributes
    ----------
    name : str
        The file or folder, or what the rows come from, for messages.
    n_inputs, n_outputs : int
        Number of columns of X, and of target columns.
    dtype : str
        Type of the rows of a window: "float32" or "float64".
    counts : array of int, or None
        Number of rows of each block; None if the blocks have a fixed order and are not counted.
    reading_bytes : int
        Maximum memory for reading: a stored block and its rows.
    """

    name: str
    n_inputs: int
    n_outputs: int
    dtype: str
    counts: np.ndarray | None
    reading_bytes: int

    @abstractmethod
    def rows(self, blocks: Iterable[int] | None = None) -> Iterator[Rows]:
        """Read blocks in the given order, or all in order; a block may come in several pieces."""


class FileState(NamedTuple):
    """Size and modification time of a file when it was opened."""

    path: Path
    size: int
    changed: int

    @classmethod
    def of(cls, path: Path) -> "FileState":
        """Return the current state of a file."""
        try:
            status = path.stat()
        except OSError as error:
            raise DataError(f"{path} cannot be read: {error.strerror or error}") from error
        if not stat.S_ISREG(status.st_mode):
            raise DataError(
                f"{path} is not a regular file; a stream needs a file that it can read in any order and repeatedly"
            )
        return cls(path, status.st_size, status.st_mtime_ns)

    def check(self, rows: str) -> None:
        """Raise a DataError if the file was removed or changed; `rows` describes the rows that were read."""
        try:
            now = FileState.of(self.path)
        except DataError as error:
            raise DataError(f"{error}; it existed when the stream was opened, and is needed for {rows}") from error
        if now.size < self.size:
            raise DataError(
                f"{self.path} was cut short while it was read, from {self.size:,} to {now.size:,} bytes, so {rows} "
                "may be wrong; write it again, and reopen the stream"
            )
        if now != self:
            raise DataError(
                f"{self.path} was changed while it was read, so {rows} may not belong to the rows before "
                "them. Reopen the stream, and do not change the file while it is used"
            )


def float_type(dtype: Any) -> str:
    """Return the type that holds a file's numbers: "float64" for float64, else "float32"."""
    return "float64" if np.dtype(dtype).name == "float64" else "float32"  # in any byte order


def block_counts(n_rows: int, size: int) -> np.ndarray:
    """Return the number of rows of each block of `size` rows; the last one may have fewer."""
    whole, rest = divmod(n_rows, size)
    return np.asarray([size] * whole + [rest] * (rest > 0), np.int64)


def choose_block_rows(row_bytes: int, block_rows: int | None) -> int:
    """Return the number of rows of a block: `block_rows`, else the number that takes about BLOCK_BYTES."""
    return block_rows or max(1, BLOCK_BYTES // max(1, row_bytes))
