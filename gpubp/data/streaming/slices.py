"""Arrays of which rows are read by slicing them: zarr's, h5py's, and whatever else has a shape."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gpubp.data.streaming.sources import Rows, float_type, in_blocks, rows_at_once
from gpubp.errors import DataError


@dataclass(frozen=True, eq=False)
class SlicedSource:
    """Arrays that are read by slicing them: zarr's, h5py's, or whatever has a shape and gives rows."""

    x: Any
    targets: Any
    size: int
    name: str

    @property
    def n_inputs(self) -> int:
        """Count the columns of x."""
        return int(self.x.shape[1])

    @property
    def n_outputs(self) -> int:
        """Count the columns of d."""
        return int(self.targets.shape[1]) if len(self.targets.shape) == 2 else 1

    @property
    def dtype(self) -> str:
        """What x is held in."""
        return float_type(self.x.dtype)

    @property
    def counts(self) -> np.ndarray:
        """Blocks of ``size`` rows."""
        return in_blocks(int(self.x.shape[0]), self.size)

    @property
    def bytes_in_hand(self) -> int:
        """A block, compressed and not."""
        of_x, of_targets = (int(np.dtype(array.dtype).itemsize) for array in (self.x, self.targets))
        return 2 * self.size * (self.n_inputs * of_x + self.n_outputs * of_targets)

    def rows(self, blocks: Iterable[int] | None = None) -> Iterator[Rows]:
        """Read blocks."""
        n_rows = int(self.x.shape[0])
        for block in range(-(-n_rows // self.size)) if blocks is None else blocks:
            first = int(block) * self.size
            stop = min(first + self.size, n_rows)
            try:
                x, targets = np.asarray(self.x[first:stop]), np.asarray(self.targets[first:stop])
            except Exception as error:  # whatever the array's library raises means that these rows cannot be had
                raise DataError(
                    f"{self.name} cannot be read at rows {first + 1:,} to {stop:,}: {error or type(error).__name__}"
                ) from error
            if len(x) != stop - first or len(targets) != stop - first:
                raise DataError(
                    f"{self.name} ends early: of rows {first + 1:,} to {stop:,} some are not there any more"
                )
            yield Rows(x, targets.reshape(len(targets), -1), self.name, first)


def sliced_source(x: Any, targets: Any, block_rows: int | None) -> SlicedSource:
    """Take arrays that are sliced by rows; blocks are whole chunks of x where it has any."""
    if targets is None:
        raise DataError(f"{_told(x)} needs its targets beside it: open_stream(X, targets)")
    for name, array in (("x", x), ("d", targets)):
        if not is_sliced(array) or _kind(array) not in "fiub":
            raise DataError(f"{name} must be an array of numbers that gives rows by slices, got {_told(array)}")
    if len(x.shape) != 2 or len(targets.shape) not in (1, 2) or x.shape[0] != targets.shape[0] or 0 in x.shape:
        raise DataError(f"x must be (rows, inputs) and d (rows,) or (rows, outputs), got {x.shape} and {targets.shape}")
    width = int(x.shape[1]) * np.dtype(x.dtype).itemsize
    size = rows_at_once(width, block_rows)
    chunks = getattr(x, "shards", None) or getattr(x, "chunks", None)
    if chunks and block_rows is None:
        rows_of_chunk = int(np.max(chunks[0]))  # Dask tells the rows of each
        size = max(1, size // rows_of_chunk) * rows_of_chunk
    return SlicedSource(x, targets, min(size, int(x.shape[0])), _told(x))


def _kind(array: Any) -> str:
    """Tell what kind of numbers an array holds, as NumPy names it; "V" where NumPy knows none like it."""
    try:
        return str(np.dtype(array.dtype).kind)
    except TypeError:
        return "V"


def is_sliced(array: Any) -> bool:
    """Tell whether something is an array of which rows are had by slicing it."""
    return all(hasattr(array, name) for name in ("shape", "dtype", "__getitem__"))


def zarr_array(path: Path) -> Any:
    """Open a zarr array in a folder, for reading."""
    try:
        import zarr
    except ImportError as error:
        raise DataError(f'reading {path} needs zarr: pip install "gpubp[stream]"') from error
    try:
        return zarr.open_array(path, mode="r")
    except Exception as error:  # zarr raises many kinds; each means that there is no array
        raise DataError(f"{path} is no zarr array that can be read: {error}") from error


def _told(array: Any) -> str:
    kind = type(array)
    place = getattr(array, "store_path", None) or getattr(array, "name", None)
    return f"{kind.__module__.partition('.')[0]}.{kind.__name__}{f' {place}' if place else ''}"
