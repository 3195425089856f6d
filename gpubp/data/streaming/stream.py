"""Streams: data larger than memory, the memory that they use, and how well their rows are mixed."""

import hashlib
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from os import PathLike, fspath
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from gpubp._core.counts import is_count
from gpubp._core.names import near_file
from gpubp._core.text import counted
from gpubp.data.streaming._array_source import is_sliceable, open_arrays, open_zarr
from gpubp.data.streaming._iterable_source import IterableSource
from gpubp.data.streaming._npy_source import open_npy
from gpubp.data.streaming._prefetch import prefetch
from gpubp.data.streaming._shuffle_windows import TargetRange, Window, WindowBuffers, shuffled_windows
from gpubp.data.streaming._source import Source
from gpubp.errors import DataError

DEFAULT_MEMORY = 256 << 20
"""Default maximum of the bytes that a stream uses."""

ORDER_BYTES = 8
"""Bytes of a window's order, per row."""

FINGERPRINT_BLOCKS = 16
"""Maximum number of blocks, spread over the whole stream, that are compared when training resumes."""


class Mixing(NamedTuple):
    """How much the order of a stream's rows differs from a uniformly drawn one, whose figures are called "full".

    With n rows in M blocks, windows of W rows and m = M W / n blocks, and batches of b rows:

    - ``place`` = 1 / M: the largest difference between the distribution of a row's relative position in the epoch and
      the uniform one (Kolmogorov's distance; blocks of equal length).
    - ``neighbours`` = (b - 1) / (W - 1): the probability that two adjacent rows of a block are in one batch, given that
      they are in one window, which holds except at the ends of windows. ``neighbours_full`` = (b - 1) / (n - 1).
    - ``excess`` = (b - 1) / m (1 - m / M): the variance of a feature's batch means exceeds that after a full shuffle by
      this factor times the fraction of the feature's variance that lies between blocks. For unordered rows that
      fraction is about 1 / (rows of a block), which is negligible; for rows sorted by the feature it is 1.
    """

    window_rows: int
    window_blocks: float
    place: float
    neighbours: float
    neighbours_full: float
    excess: float


@dataclass(frozen=True, eq=False)
class Stream:
    """Rows of X and targets that are read during training; created by :func:`open_stream`.

    Attributes
    ----------
    source : Source
    memory : int
        Maximum bytes for two windows and for reading.
    classes : int, optional
        Number of classes if the only target column holds class numbers, from 0; targets are then one-hot.
    n_rows : int, optional
        Number of rows, if it is known.

    Examples
    --------
    >>> import numpy as np
    >>> import gpubp
    >>> stream = gpubp.open_stream(np.zeros((1000, 3)), np.zeros((1000, 1)))
    >>> stream
    Stream(1,000 rows of 3 inputs and 1 output from numpy.ndarray)
    >>> fit = gpubp.train(gpubp.Network((3, 2, 1)), stream, epochs=2)
    """

    source: Source
    memory: int = DEFAULT_MEMORY
    classes: int | None = None
    n_rows: int | None = None

    def __repr__(self) -> str:
        rows = "rows" if self.n_rows is None else counted(self.n_rows, "row")
        inputs, outputs = counted(self.n_inputs, "input"), counted(self.n_outputs, "output")
        return f"Stream({rows} of {inputs} and {outputs} from {self.source.name})"

    @property
    def n_inputs(self) -> int:
        """Number of columns of X."""
        return self.source.n_inputs

    @property
    def n_outputs(self) -> int:
        """Number of outputs that a network needs for the targets."""
        return self.classes or self.source.n_outputs

    @property
    def dtype(self) -> str:
        """Type of the rows of a window: "float32" or "float64"."""
        return self.source.dtype

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and inputs; if the number of rows is unknown, the number that fits in a window."""
        return self.n_rows or self.window_rows(), self.n_inputs

    @property
    def ndim(self) -> int:
        """Number of dimensions of X."""
        return 2

    def window_rows(self, batch_size: int = 1, dtype: str | None = None) -> int:
        """Return the number of rows of a window: the whole batches that fit in memory, in windows of about equal size.

        Raises
        ------
        DataError
            If one batch does not fit in the memory.
        """
        batch_size = batch_size if self.n_rows is None else min(batch_size, self.n_rows)
        width = np.dtype(dtype or self.dtype).itemsize * (self.n_inputs + self.n_outputs) + ORDER_BYTES
        free_rows = (self.memory - self.source.reading_bytes) // (2 * width)
        max_rows = free_rows // batch_size * batch_size
        if max_rows < 1:
            needed = self.source.reading_bytes + 2 * width * batch_size
            raise DataError(
                f"memory={self.memory:,} bytes is too little for two windows of one batch, {batch_size:,} rows of "
                f"{width:,} bytes, and for reading a block, {self.source.reading_bytes:,} bytes; pass {needed:,} or "
                "more, or write files with smaller row groups or chunks, but not too many of them"
            )
        if self.n_rows is None:
            return max_rows
        n_windows = -(-self.n_rows // max_rows)
        batches = -(-self.n_rows // (n_windows * batch_size))
        return min(max_rows, batches * batch_size)

    def allocate_windows(self, batch_size: int, dtype: str) -> WindowBuffers:
        """Allocate memory for two windows."""
        return WindowBuffers(self.window_rows(batch_size, dtype), self.n_inputs, self.n_outputs, dtype)

    def windows(
        self,
        buffers: WindowBuffers,
        seed: Sequence[int] | None,
        target_range: TargetRange | None = None,
        skip: int = 0,
    ) -> Generator[Window, None, None]:
        """Yield the windows of one epoch; a thread reads the next one ahead. Close the generator after use."""
        target_range = TargetRange(classes=self.classes) if target_range is None else target_range
        return prefetch(
            lambda stopped: shuffled_windows(
                self.source,
                buffers,
                n_rows=self.n_rows,
                seed=seed,
                target_range=target_range,
                skip=skip,
                stopped=stopped,
            )
        )

    def blocks(self, rows: int = 4096, *, seed: int | None = None) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield all rows once, `rows` at a time, for code that trains block by block.

        Parameters
        ----------
        rows : int
            Rows of a block; the last one may have fewer.
        seed : int, optional
            Seed of a shuffled order, as in training; by default the rows keep their order.

        Yields
        ------
        (rows, i) array, (rows, j) array
            X and targets, which are not overwritten later.

        Examples
        --------
        >>> import numpy as np
        >>> from gpubp import open_stream
        >>> stream = open_stream(lambda: ((np.ones((3, 2)), np.zeros(3)) for _ in range(2)))
        >>> [X.shape for X, targets in stream.blocks(4)]
        [(4, 2), (2, 2)]
        """
        buffers = self.allocate_windows(rows, self.dtype)
        with closing(self.windows(buffers, None if seed is None else [seed])) as all_windows:
            for window in all_windows:
                for start in range(0, len(window.x), rows):
                    part = slice(start, start + rows)
                    chosen = np.arange(len(window.x))[part] if window.order is None else window.order[part]
                    yield window.x[chosen], window.targets[chosen]

    def fingerprint(self, batch_size: int, dtype: str) -> dict[str, Any]:
        """Describe the stream by its shape, its blocks and the rows of some blocks, to detect a different stream."""
        fingerprint: dict[str, Any] = {
            "stream_inputs": self.n_inputs,
            "stream_outputs": self.n_outputs,
            "stream_rows": self.n_rows,
            "stream_window_rows": self.window_rows(batch_size, dtype),
        }
        if self.source.counts is not None:
            fingerprint["stream_blocks"] = hashlib.sha256(np.asarray(self.source.counts, "<i8").tobytes()).hexdigest()
            checksum = hashlib.sha256()
            for block in np.unique(np.linspace(0, len(self.source.counts) - 1, FINGERPRINT_BLOCKS).astype(int)):
                rows = next(self.source.rows([int(block)]))
                for part in (rows.x, rows.targets):
                    checksum.update(np.ascontiguousarray(part, "<f8").tobytes())
            fingerprint["stream_sampled_rows"] = checksum.hexdigest()
        return fingerprint

    def mixing(self, batch_size: int) -> Mixing:
        """Return how well the rows are mixed: see docs/scaling.md.

        Raises
        ------
        DataError
            If the numbers of rows and blocks are unknown, as for an iterable, which is shuffled only within windows.
        """
        if self.n_rows is None or self.source.counts is None:
            raise DataError(f"{self.source.name} has blocks in a fixed order; only rows within a window are shuffled")
        in_window, n_blocks = self.window_rows(batch_size), len(self.source.counts)
        b, n = min(batch_size, self.n_rows), self.n_rows
        fraction = min(1.0, in_window / n)
        return Mixing(
            in_window,
            n_blocks * fraction,
            1.0 / n_blocks,
            (b - 1) / max(1, in_window - 1),
            (b - 1) / max(1, n - 1),
            (b - 1) / (n_blocks * fraction) * (1.0 - fraction),
        )


def open_stream(
    X: Any,
    targets: Any = None,
    *,
    target_columns: Any = None,
    classes: int | None = None,
    memory: int = DEFAULT_MEMORY,
    block_rows: int | None = None,
    n_rows: int | None = None,
) -> Stream:
    """Open data larger than memory, to train on with :func:`gpubp.train` or to loop over.

    Parameters
    ----------
    X : path, array, iterable or callable
        A ``.npy`` file; a zarr array's folder, or an array of zarr, h5py or NumPy; a ``.parquet``, ``.csv`` or ``.tsv``
        file of numbers, or a folder of such files; an iterable of blocks (X, targets), or a function without arguments
        that returns one, called once for each epoch.
    targets : path or array, optional
        The targets, if they are separate from X: a ``.npy`` file or an array.
    target_columns : str, sequence of str, int or sequence of int, optional
        The target columns, if they are in the same file as X: names in a table; in a ``.npy`` file, the number of last
        columns, or a list of column numbers.
    classes : int, optional
        Number of classes if the only target column holds class numbers, from 0; targets become one-hot.
    memory : int
        Maximum bytes for reading and shuffling: two windows of rows, in the precision of training, and a block. The
        windows are as large as this allows.
    block_rows : int, optional
        Rows read at a time if the format has no blocks; by default about 1 MiB.
    n_rows : int, optional
        Number of rows of an iterable. By default, schedules advance only by whole epochs of such a stream.

    Returns
    -------
    Stream

    Raises
    ------
    DataError
        If files cannot be read or do not fit together; the message names the fix.

    Examples
    --------
    >>> import os, tempfile
    >>> import numpy as np
    >>> from gpubp import Network, open_stream, train
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "rows.npy")
    ...     np.save(path, np.random.default_rng(0).normal(size=(1000, 5)).astype("float32"))
    ...     stream = open_stream(path, target_columns=1)
    ...     fit = train(Network((4, 1)), stream, epochs=2, device="cpu")
    >>> stream.n_rows, fit.stop_reason
    (1000, 'epochs')
    """
    for name, count in (("memory", memory), ("block_rows", block_rows), ("n_rows", n_rows), ("classes", classes)):
        if count is not None and not is_count(count):
            raise DataError(f"{name} must be a whole number above 0, got {count!r}")
    source = _source(X, targets, target_columns, block_rows)
    if classes is not None and source.n_outputs != 1:
        raise DataError(f"classes={classes} needs one target column of class numbers, got {source.n_outputs} columns")
    n_counted = None if source.counts is None else int(np.sum(source.counts))
    if n_rows is not None and n_counted is not None and n_counted != n_rows:
        raise DataError(f"{source.name} has {counted(n_counted, 'row')}, not {n_rows:,}; omit n_rows")
    return Stream(source, int(memory), classes, n_rows if n_counted is None else n_counted)


def _source(x: Any, targets: Any, target_columns: Any, block_rows: int | None) -> Source:
    if isinstance(x, str | PathLike):
        path = Path(fspath(x))
        if not path.exists():
            raise DataError(f"no such file or folder: {path}{near_file(path)}")
        if path.suffix.lower() == ".npy":
            return open_npy(path, None if targets is None else _npy_path(targets), target_columns, block_rows)
        from gpubp.data.streaming._column_source import open_columns  # imported here, as arrays need no tables
        from gpubp.data.streaming.table_files import is_table

        if is_table(path):
            if targets is not None or target_columns is None:
                raise DataError(f"{path}: name the target columns with target_columns=, and omit targets")
            return open_columns(path, target_columns)
        x = open_zarr(path)
        targets = open_zarr(Path(fspath(targets))) if isinstance(targets, str | PathLike) else targets
    if target_columns is not None:
        raise DataError(
            "target_columns are columns of a .npy file or of a table; pass arrays as X and targets, "
            "and blocks as (X, targets)"
        )
    if is_sliceable(x):
        return open_arrays(x, targets, block_rows)
    if targets is not None or not (callable(x) or isinstance(x, Iterable)):
        raise DataError(
            "a stream needs files, arrays X and targets whose rows can be sliced, or only an iterable of "
            f"(X, targets); got {type(x).__name__} and {type(targets).__name__}"
        )
    blocks: Iterable[Any] | Callable[[], Iterable[Any]] = x
    return IterableSource(blocks)


def _npy_path(targets: Any) -> Path:
    if not isinstance(targets, str | PathLike) or Path(fspath(targets)).suffix.lower() != ".npy":
        raise DataError(f"if X is a .npy file, targets must be a .npy file too, got {targets!r:.80}")
    return Path(fspath(targets))
