"""Data larger than memory: what it is, how much memory it may take, and how well its rows are mixed."""

import hashlib
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from os import PathLike, fspath
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from gpubp.data.streaming.ahead import one_ahead
from gpubp.data.streaming.iterables import IterableSource
from gpubp.data.streaming.npy import npy_source
from gpubp.data.streaming.slices import is_sliced, sliced_source, zarr_array
from gpubp.data.streaming.sources import Source
from gpubp.data.streaming.windows import Limits, Places, Window, windows
from gpubp.errors import DataError

MEMORY = 256 << 20
"""Bytes that a stream takes at most where nothing else is said."""

BYTES_OF_AN_ORDER = 8  # for each row
BLOCKS_COMPARED = 16  # of a stream that training goes on from, at most, spread over all of it


class Mixing(NamedTuple):
    """How far the order of a stream's rows is from a uniformly drawn one; what stands under "full" is that one's.

    With n rows in M blocks, windows of W rows and m = M W / n blocks, and batches of b rows:

    - ``place`` = 1 / M: by so much at most does a row's place in the epoch, as a part of it, differ from a uniformly
      drawn one in its distribution (Kolmogorov's distance; blocks of one length).
    - ``neighbours`` = (b - 1) / (W - 1): how probably two rows that lie side by side in a block are in one batch, where
      they are in one window, as all are but those that its end cuts apart. ``neighbours_full`` = (b - 1) / (n - 1).
    - ``excess`` = (b - 1) / m (1 - m / M): by so many times the share of a figure's variance that lies between blocks
      the variance of its batch means is larger than after a full shuffle. Of rows that lie in no order the share is
      about 1 / (rows of a block), and nothing is seen of it; of rows sorted by the figure it is 1.
    """

    rows_of_a_window: int
    blocks_of_a_window: float
    place: float
    neighbours: float
    neighbours_full: float
    excess: float


@dataclass(frozen=True, eq=False)
class Stream:
    """Rows of x and targets that are read while they are used; :func:`open_stream` makes one.

    Attributes
    ----------
    source : Source
    memory : int
        Bytes that two windows and the reading take at most.
    classes : int, optional
        How many classes the one column of d numbers, from 0; d is then given one-hot.
    n_rows : int, optional
        How many rows there are, where that is known.
    """

    source: Source
    memory: int = MEMORY
    classes: int | None = None
    n_rows: int | None = None

    def __repr__(self) -> str:
        rows = "rows" if self.n_rows is None else f"{self.n_rows:,} rows"
        return f"Stream({rows} of {self.n_inputs} inputs and {self.n_outputs} outputs from {self.source.name})"

    @property
    def n_inputs(self) -> int:
        """Columns of x."""
        return self.source.n_inputs

    @property
    def n_outputs(self) -> int:
        """Columns of d."""
        return self.classes or self.source.n_outputs

    @property
    def dtype(self) -> str:
        """What x is held in: "float32" or "float64"."""
        return self.source.dtype

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and inputs; where nobody knows how many rows there are, those that a window has room for."""
        return self.n_rows or self.rows_of_a_window(), self.n_inputs

    @property
    def ndim(self) -> int:
        """Dimensions of x."""
        return 2

    def rows_of_a_window(self, batch_size: int = 1, dtype: str | None = None) -> int:
        """Count the rows of a window: as many whole batches as the memory allows, windows of about one size.

        Raises
        ------
        DataError
            If there is no room for one batch.
        """
        batch_size = batch_size if self.n_rows is None else min(batch_size, self.n_rows)
        width = np.dtype(dtype or self.dtype).itemsize * (self.n_inputs + self.n_outputs) + BYTES_OF_AN_ORDER
        room = (self.memory - self.source.bytes_in_hand) // (2 * width)
        most = room // batch_size * batch_size
        if most < 1:
            needed = self.source.bytes_in_hand + 2 * width * batch_size
            raise DataError(
                f"memory={self.memory:,} bytes is too little for two windows of one batch, {batch_size:,} rows of "
                f"{width:,} bytes, and the reading of a block, {self.source.bytes_in_hand:,} bytes; give {needed:,} or "
                "more, or write files whose row groups or chunks are smaller, and not too many"
            )
        if self.n_rows is None:
            return most
        n_windows = -(-self.n_rows // most)
        batches = -(-self.n_rows // (n_windows * batch_size))
        return min(most, batches * batch_size)

    def places(self, batch_size: int, dtype: str) -> Places:
        """Make room for two windows."""
        return Places(self.rows_of_a_window(batch_size, dtype), self.n_inputs, self.n_outputs, dtype)

    def windows(
        self, places: Places, seed: Sequence[int] | None, limits: Limits | None = None, skip: int = 0
    ) -> Generator[Window, None, None]:
        """Give one epoch's windows, the next read on a thread while the present one is used; close it after use."""
        limits = Limits(classes=self.classes) if limits is None else limits
        return one_ahead(
            lambda stopped: windows(
                self.source, places, n_rows=self.n_rows, seed=seed, limits=limits, skip=skip, stopped=stopped
            )
        )

    def blocks(self, rows: int = 4096, *, seed: int | None = None) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Give all rows once, so many at a time: for code that learns block by block.

        Parameters
        ----------
        rows : int
            How many at a time; the last block may have fewer.
        seed : int, optional
            For their order, as in training; as they lie, without.

        Yields
        ------
        (rows, i) array, (rows, j) array
            x and targets, which are the caller's to keep.

        Examples
        --------
        >>> import numpy as np
        >>> from gpubp import open_stream
        >>> stream = open_stream(lambda: ((np.ones((3, 2)), np.zeros(3)) for _ in range(2)))
        >>> [x.shape for x, d in stream.blocks(4)]
        [(4, 2), (2, 2)]
        """
        places = self.places(rows, self.dtype)
        with closing(self.windows(places, None if seed is None else [seed])) as all_windows:
            for window in all_windows:
                for start in range(0, len(window.x), rows):
                    part = slice(start, start + rows)
                    chosen = np.arange(len(window.x))[part] if window.order is None else window.order[part]
                    yield window.x[chosen], window.targets[chosen]

    def fingerprint(self, batch_size: int, dtype: str) -> dict[str, Any]:
        """Describe the stream, so that another is told from it: its shape, its blocks, the rows of some of them."""
        found: dict[str, Any] = {"inputs": self.n_inputs, "outputs": self.n_outputs, "rows": self.n_rows}
        found["rows of a window"] = self.rows_of_a_window(batch_size, dtype)
        if self.source.counts is not None:
            found["blocks"] = hashlib.sha256(np.asarray(self.source.counts, "<i8").tobytes()).hexdigest()
            of_rows = hashlib.sha256()
            for block in np.unique(np.linspace(0, len(self.source.counts) - 1, BLOCKS_COMPARED).astype(int)):
                rows = next(self.source.rows([int(block)]))
                for part in (rows.x, rows.targets):
                    of_rows.update(np.ascontiguousarray(part, "<f8").tobytes())
            found["rows of some blocks"] = of_rows.hexdigest()
        return {f"the stream's {name}": value for name, value in found.items()}

    def mixing(self, batch_size: int) -> Mixing:
        """Tell how well the rows are mixed: see :class:`Mixing`.

        Raises
        ------
        DataError
            If nobody knows how many rows and blocks there are, as of an iterable, whose rows move no farther than a
            window.
        """
        if self.n_rows is None or self.source.counts is None:
            raise DataError(f"{self.source.name} gives its blocks in its own order; only its windows are shuffled")
        of_window, n_blocks = self.rows_of_a_window(batch_size), len(self.source.counts)
        b, n = min(batch_size, self.n_rows), self.n_rows
        part = min(1.0, of_window / n)
        return Mixing(
            of_window,
            n_blocks * part,
            1.0 / n_blocks,
            (b - 1) / max(1, of_window - 1),
            (b - 1) / max(1, n - 1),
            (b - 1) / (n_blocks * part) * (1.0 - part),
        )


def open_stream(
    X: Any,
    targets: Any = None,
    *,
    target_columns: Any = None,
    classes: int | None = None,
    memory: int = MEMORY,
    block_rows: int | None = None,
    n_rows: int | None = None,
) -> Stream:
    """Open data larger than memory, to train on with :func:`gpubp.train` or to loop over.

    Parameters
    ----------
    X : path, array, iterable or callable
        A ``.npy`` file; a zarr array's folder, or an array of zarr, h5py or NumPy; a ``.parquet``, ``.csv`` or ``.tsv``
        file of numbers, or a folder of such files; an iterable of blocks (X, targets), or a function without arguments
        that gives one, called anew for each epoch.
    targets : path or array, optional
        The targets, where they are apart from X: a ``.npy`` file or an array.
    target_columns : str, sequence of str, int or sequence of int, optional
        The target columns where they lie beside those of X: names in a table; in a ``.npy`` file how many of the last
        columns, or their numbers.
    classes : int, optional
        The one target column numbers so many classes, from 0, and d is made one-hot.
    memory : int
        Bytes that reading and shuffling take at most: two windows of rows, in the precision that is trained in, and a
        block. The windows are as large as that allows.
    block_rows : int, optional
        How many rows are read at once where the format leaves that open; without it as many as make about a MiB.
    n_rows : int, optional
        How many rows an iterable gives. Without it schedules see the epochs of such a stream and no parts of them.

    Returns
    -------
    Stream

    Raises
    ------
    DataError
        If files cannot be read, or do not fit together; the message names the fix.

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
        if count is not None and not (isinstance(count, int | np.integer) and count > 0):
            raise DataError(f"{name} must be a whole number above 0, got {count!r}")
    source = _source(X, targets, target_columns, block_rows)
    if classes is not None and source.n_outputs != 1:
        raise DataError(f"classes={classes} is for one target column that numbers them, got {source.n_outputs} columns")
    counted = None if source.counts is None else int(np.sum(source.counts))
    if n_rows is not None and counted not in (None, n_rows):
        raise DataError(f"{source.name} has {counted:,} rows, not {n_rows:,}; leave n_rows out")
    return Stream(source, int(memory), classes, n_rows if counted is None else counted)


def _source(x: Any, targets: Any, target_columns: Any, block_rows: int | None) -> Source:
    if isinstance(x, str | PathLike):
        path = Path(fspath(x))
        if not path.exists():
            raise DataError(f"no such file or folder: {path}")
        if path.suffix.lower() == ".npy":
            return npy_source(path, None if targets is None else _npy_path(targets), target_columns, block_rows)
        from gpubp.data.streaming.columns import columns_source  # only here: whoever trains on arrays needs no tables
        from gpubp.data.streaming.folders import is_table

        if is_table(path):
            if targets is not None or target_columns is None:
                raise DataError(f"{path}: name the columns of the targets with target_columns=, and leave targets out")
            return columns_source(path, target_columns)
        x = zarr_array(path)
        targets = zarr_array(Path(fspath(targets))) if isinstance(targets, str | PathLike) else targets
    if target_columns is not None:
        raise DataError(
            "target_columns are columns of a .npy file or of a table; give arrays as X and targets, "
            "blocks as (X, targets)"
        )
    if is_sliced(x):
        return sliced_source(x, targets, block_rows)
    if targets is not None or not (callable(x) or isinstance(x, Iterable)):
        raise DataError(
            "a stream is made of files, of arrays X and targets that give rows by slices, or of an iterable of "
            f"(X, targets) alone; got {type(x).__name__} and {type(targets).__name__}"
        )
    blocks: Iterable[Any] | Callable[[], Iterable[Any]] = x
    return IterableSource(blocks)


def _npy_path(targets: Any) -> Path:
    if not isinstance(targets, str | PathLike) or Path(fspath(targets)).suffix.lower() != ".npy":
        raise DataError(f"beside x in a .npy file d must be one too, got {targets!r:.80}")
    return Path(fspath(targets))
