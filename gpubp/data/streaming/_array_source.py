"""Arrays whose rows are read by slicing: those of zarr, h5py and NumPy, and any other with shape and dtype."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gpubp._core.optional_imports import import_optional
from gpubp.backends.inputs import accept_on_host
from gpubp.backends.libraries import is_of_other_library
from gpubp.data.streaming._source import Rows, Source, block_counts, choose_block_rows, float_type
from gpubp.errors import DataError


@dataclass(eq=False)
class ArraySource(Source):
    """Arrays that are read by slicing, `size` rows at a time."""

    x: Any
    targets: Any
    size: int

    def rows(self, blocks: Iterable[int] | None = None) -> Iterator[Rows]:
        """Read blocks."""
        n_rows = int(self.x.shape[0])
        for block in range(-(-n_rows // self.size)) if blocks is None else blocks:
            first = int(block) * self.size
            stop = min(first + self.size, n_rows)
            try:
                x, targets = np.asarray(self.x[first:stop]), np.asarray(self.targets[first:stop])
            except Exception as error:  # each array library raises its own exceptions
                raise DataError(
                    f"{self.name} cannot be read at rows {first + 1:,} to {stop:,}: {error or type(error).__name__}"
                ) from error
            if len(x) != stop - first or len(targets) != stop - first:
                raise DataError(f"{self.name} ends early: of rows {first + 1:,} to {stop:,} some are missing")
            yield Rows(x, targets.reshape(len(targets), -1), self.name, first)


def open_arrays(x: Any, targets: Any, block_rows: int | None) -> ArraySource:
    """Check arrays whose rows can be read by slicing; blocks are whole chunks of X if it has chunks."""
    if targets is None:
        raise DataError(f"{_describe(x)} needs targets: open_stream(X, targets)")
    x, targets = (_in_numpy(name, array) for name, array in (("X", x), ("targets", targets)))
    for name, array in (("X", x), ("targets", targets)):
        if not is_sliceable(array) or _dtype_kind(array) not in "fiub":
            wrong = f" of {array.dtype}; pass {name}.astype('float32')" if is_sliceable(array) else ""
            raise DataError(
                f"{name} must be an array of numbers whose rows can be sliced, got {_describe(array)}{wrong}"
            )
    if len(x.shape) != 2 or len(targets.shape) not in (1, 2) or x.shape[0] != targets.shape[0] or 0 in x.shape:
        raise DataError(
            f"X must be (rows, inputs) and targets (rows,) or (rows, outputs), got {x.shape} and {targets.shape}"
        )
    row_bytes = int(x.shape[1]) * np.dtype(x.dtype).itemsize
    size = choose_block_rows(row_bytes, block_rows)
    chunks = getattr(x, "shards", None) or getattr(x, "chunks", None)
    if chunks and block_rows is None:
        chunk_rows = int(np.max(chunks[0]))  # Dask lists the rows of each chunk
        size = max(1, size // chunk_rows) * chunk_rows
    n_rows, n_inputs = map(int, x.shape)
    n_outputs, size = int(targets.shape[1]) if len(targets.shape) == 2 else 1, min(size, n_rows)
    row_bytes += n_outputs * np.dtype(targets.dtype).itemsize
    return ArraySource(
        *(_describe(x), n_inputs, n_outputs, float_type(x.dtype), block_counts(n_rows, size)),
        reading_bytes=2 * size * row_bytes,  # compressed and unpacked
        x=x,
        targets=targets,
        size=size,
    )


def is_sliceable(array: Any) -> bool:
    """Return whether an object is an array whose rows can be read by slicing."""
    return all(hasattr(array, name) for name in ("shape", "dtype", "__getitem__"))


def open_zarr(path: Path) -> Any:
    """Open a zarr array in a folder, for reading."""
    zarr = import_optional("zarr", f"reading {path}", "zarr", error=DataError)
    try:
        return zarr.open_array(path, mode="r")
    except Exception as error:  # zarr raises many kinds of exceptions
        raise DataError(f"{path} is not a readable zarr array: {error}") from error


def _in_numpy(name: str, array: Any) -> Any:
    """Copy an array of torch, CuPy and others to the host; what is read in slices stays as it is."""
    return accept_on_host(name, array) if isinstance(array, np.ndarray) or is_of_other_library(array) else array


def _dtype_kind(array: Any) -> str:
    """Return the kind of an array's dtype as NumPy names it; "V" if NumPy does not have the dtype."""
    try:
        return str(np.dtype(array.dtype).kind)
    except TypeError:
        return "V"


def _describe(array: Any) -> str:
    kind = type(array)
    place = getattr(array, "store_path", None) or getattr(array, "name", None)
    return f"{kind.__module__.partition('.')[0]}.{kind.__name__}{f' {place}' if place else ''}"
