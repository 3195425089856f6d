"""Sources of a stream: rows of X and targets in blocks, from files, from sliced arrays, or from an iterable."""

import stat
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

from gpubp.errors import DataError

BLOCK_BYTES = 1 << 20
"""About how many bytes of a file are read at once, where its format leaves that open."""


class Rows(NamedTuple):
    """Some rows: ``(n, i)`` and ``(n, j)`` arrays, what they are from, and the number there of the first, from 0."""

    x: np.ndarray
    targets: np.ndarray
    origin: str
    first: int


class Source(Protocol):
    """Rows that lie in blocks."""

    @property
    def name(self) -> str:
        """What it is, for messages."""

    @property
    def n_inputs(self) -> int:
        """Columns of x."""

    @property
    def n_outputs(self) -> int:
        """Columns of d."""

    @property
    def dtype(self) -> str:
        """What the rows are best held in: "float32" or "float64"."""

    @property
    def counts(self) -> np.ndarray | None:
        """Rows of each block; None where they come only in their own order, nobody knows how many."""

    @property
    def bytes_in_hand(self) -> int:
        """What the reading itself takes of memory, at most: a block as it lies there, and what it becomes."""

    def rows(self, blocks: Iterable[int] | None = None) -> Iterator[Rows]:
        """Read blocks in the order that is given, or all as they lie; a block may come in several pieces."""
        ...


class FileState(NamedTuple):
    """A file as it was when it was opened: whoever reads on finds out whether it still is."""

    path: Path
    size: int
    changed: int

    @classmethod
    def of(cls, path: Path) -> "FileState":
        """Look at a file."""
        try:
            found = path.stat()
        except OSError as error:
            raise DataError(f"{path} cannot be read: {error.strerror or error}") from error
        if not stat.S_ISREG(found.st_mode):
            raise DataError(f"{path} is no ordinary file; a stream is read from any place in it, and again")
        return cls(path, found.st_size, found.st_mtime_ns)

    def check(self, doing: str) -> None:
        """Raise a DataError where the file is gone, or is no longer what it was."""
        try:
            now = FileState.of(self.path)
        except DataError as error:
            raise DataError(f"{error}; it was there when the stream was opened, and was needed for {doing}") from error
        if now.size < self.size:
            raise DataError(
                f"{self.path} was cut short while it was read, from {self.size:,} to {now.size:,} bytes, and {doing} "
                "cannot be relied on; write it again, and open the stream anew"
            )
        if now != self:
            raise DataError(
                f"{self.path} was changed while it was read, so that {doing} may be of other data than the rows before "
                "them; open the stream anew, and leave the file alone while it is used"
            )


def float_type(dtype: Any) -> str:
    """Choose what numbers of a file are held in: float64 where they are, else float32."""
    return "float64" if np.dtype(dtype) == np.float64 else "float32"


def in_blocks(n_rows: int, size: int) -> np.ndarray:
    """Count the rows of blocks of ``size``, the last of which may have fewer."""
    whole, rest = divmod(n_rows, size)
    return np.asarray([size] * whole + [rest] * (rest > 0), np.int64)


def rows_at_once(bytes_of_a_row: int, block_rows: int | None) -> int:
    """Choose how many rows a block has where that is open: as many as are asked for, else about BLOCK_BYTES."""
    return block_rows or max(1, BLOCK_BYTES // max(1, bytes_of_a_row))
