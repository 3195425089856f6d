"""Matrices in ``.npy`` files, read in blocks of rows.

The files are never mapped into memory: if a mapped file is truncated, a signal ends the process.
"""

import contextlib
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gpubp.data.streaming._source import FileState, Rows, Source, block_counts, choose_block_rows, float_type
from gpubp.errors import DataError

READAHEAD_BLOCKS = 4
"""Number of blocks that are announced to the system before they are read."""


class NpyFile:
    """A matrix in a ``.npy`` file, whose rows are read without mapping it into memory."""

    def __init__(self, path: Path) -> None:
        self.path, self.state = path, FileState.of(path)
        try:
            with path.open("rb") as file:
                version = np.lib.format.read_magic(file)
                read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
                shape, in_columns, self.dtype = read(file)
                self.offset = file.tell()
        except (OSError, ValueError) as error:
            raise DataError(f"{path} is not a readable .npy file: {error}; write it with numpy.save") from error
        if self.dtype.kind not in "fiub":
            raise DataError(f"{path} holds {self.dtype}, but a stream needs numbers; write them with numpy.save")
        if len(shape) not in (1, 2) or 0 in shape:
            raise DataError(f"{path} must hold a matrix, rows of numbers, got shape {shape}")
        if in_columns and min(shape) > 1:
            raise DataError(
                f"{path} was written column by column, so its rows are not contiguous; write it again: "
                "numpy.save(path, numpy.ascontiguousarray(x))"
            )
        self.n_rows, self.n_columns = shape[0], 1 if len(shape) == 1 else shape[1]
        self.row_bytes = self.n_columns * self.dtype.itemsize
        needed = self.offset + self.n_rows * self.row_bytes
        if self.state.size < needed:
            present = max(0, self.state.size - self.offset) // self.row_bytes
            raise DataError(
                f"{path} ends early: its header declares {self.n_rows:,} rows, {needed:,} bytes, but the file has "
                f"{self.state.size:,} bytes, {present:,} whole rows; write it again"
            )

    def read_ahead(self, first: int, n: int) -> None:
        """Announce to the system that rows will be read soon, so that a disk can fetch several blocks at a time."""
        if not hasattr(os, "posix_fadvise"):
            return
        with contextlib.suppress(OSError), open(self.path, "rb", buffering=0) as file:
            place = self.offset + first * self.row_bytes
            os.posix_fadvise(file.fileno(), place, n * self.row_bytes, os.POSIX_FADV_WILLNEED)

    def read(self, first: int, n: int) -> np.ndarray:
        """Read `n` rows, ``(n, columns)``."""
        described = f"rows {first + 1:,} to {first + n:,}"
        self.state.check(described)
        rows = np.empty((n, self.n_columns), self.dtype)
        unread, place = rows.reshape(-1).view("uint8").data, self.offset + first * self.row_bytes
        try:
            with open(self.path, "rb", buffering=0) as file:
                file.seek(place)
                while unread.nbytes and (n_read := file.readinto(unread)):
                    unread = unread[n_read:]
        except OSError as error:
            raise DataError(f"{self.path} cannot be read at {described}: {error.strerror or error}") from error
        if unread.nbytes:
            missing = first + n - (unread.nbytes - 1) // self.row_bytes
            raise DataError(
                f"{self.path} ends early: row {missing:,} of {self.n_rows:,} is missing; the file was cut short "
                "while it was read. Write it again, and reopen the stream"
            )
        return rows


@dataclass(eq=False)
class NpySource(Source):
    """Matrices in ``.npy`` files: X and targets in separate files, or in one file with `target_columns`.

    `inputs` are the columns of X in its file, `size` the rows of a block.
    """

    x: NpyFile
    targets: NpyFile | None
    inputs: np.ndarray
    target_columns: np.ndarray | None
    size: int

    def rows(self, blocks: Iterable[int] | None = None) -> Iterator[Rows]:
        """Read blocks."""
        files = [self.x] if self.targets is None else [self.x, self.targets]
        firsts = np.arange(0, self.x.n_rows, self.size)
        firsts = firsts if blocks is None else firsts[np.asarray(blocks, np.int64)]
        inputs = _as_slice(self.inputs)
        target_columns = None if self.target_columns is None else _as_slice(self.target_columns)
        for number, first in enumerate(firsts.tolist()):
            for later in firsts[number + READAHEAD_BLOCKS : number + READAHEAD_BLOCKS + 1].tolist():
                for file in files:
                    file.read_ahead(later, self.size)
            x, *targets = (file.read(first, min(self.size, file.n_rows - first)) for file in files)
            yield Rows(x[:, inputs], targets[0] if targets else x[:, target_columns], self.name, first)


def open_npy(
    x: Path, targets: Path | None, target_columns: int | Sequence[int] | None, block_rows: int | None
) -> NpySource:
    """Open ``.npy`` files; without `targets`, `target_columns` selects the target columns.

    Parameters
    ----------
    x, targets : Path
    target_columns : int or sequence of int, optional
        The number of last columns, or a list of column numbers.
    block_rows : int, optional
        Rows of a block.
    """
    x_file = NpyFile(x)
    if (targets is None) == (target_columns is None):
        raise DataError(
            f"{x}: pass the targets once: as a second .npy file, or with target_columns= as columns of the first: the "
            "number of last columns, or a list of column numbers"
        )
    targets_file = None if targets is None else NpyFile(targets)
    if targets_file is not None and targets_file.n_rows != x_file.n_rows:
        raise DataError(
            f"{x} has {x_file.n_rows:,} rows, and {targets} has {targets_file.n_rows:,}; they must have the same rows"
        )
    inputs, row_bytes, columns = np.arange(x_file.n_columns), x_file.row_bytes, None
    if target_columns is not None:
        columns = _column_numbers(x, x_file.n_columns, target_columns)
        inputs, n_outputs, copied_bytes = np.setdiff1d(inputs, columns), len(columns), row_bytes
    else:
        assert targets_file is not None
        n_outputs, copied_bytes = targets_file.n_columns, 0
        row_bytes += targets_file.row_bytes
    size = min(choose_block_rows(row_bytes, block_rows), x_file.n_rows)
    return NpySource(
        *(str(x), len(inputs), n_outputs, float_type(x_file.dtype), block_counts(x_file.n_rows, size)),
        reading_bytes=size * (row_bytes + copied_bytes),  # a block, and the columns that are selected from it
        x=x_file,
        targets=targets_file,
        inputs=inputs,
        target_columns=columns,
        size=size,
    )


def _as_slice(columns: np.ndarray) -> Any:
    """Return adjacent columns as a slice, which avoids a copy."""
    first, last = int(columns[0]), int(columns[-1])
    return slice(first, last + 1) if np.array_equal(columns, np.arange(first, last + 1)) else columns


def _column_numbers(path: Path, n: int, target_columns: int | Sequence[int]) -> np.ndarray:
    chosen = np.arange(n - target_columns, n) if isinstance(target_columns, int) else np.asarray(target_columns)
    whole = chosen.ndim == 1 and chosen.dtype.kind in "iu" and 0 < len(np.unique(chosen)) == len(chosen) < n
    if not whole or not np.all((-n <= chosen) & (chosen < n)):
        raise DataError(
            f"{path} has {n} columns; target_columns must be a number of its last columns, or a list of different "
            f"columns, that leave some for X; got {target_columns!r}"
        )
    return np.asarray(chosen % n)
