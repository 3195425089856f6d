"""Read NumPy's ``.npy`` and ``.npz`` files without pickles; sizes are checked before memory is allocated."""

import math
from typing import Any, BinaryIO

import numpy as np

from gpubp._core.text import excerpt
from gpubp.data.readers._input_file import InputFile
from gpubp.data.table import Column, RawTable, raw_table_from_arrays
from gpubp.errors import DataError


def read_numpy(source: InputFile) -> RawTable:
    """Read a matrix whose last column is the target, or an archive of ``x`` and, optionally, ``y``."""
    source = source.unpacked()
    name = source.name
    with source.open() as file:  # np.load would leave a broken archive open
        if file.read(2) != b"PK":
            file.seek(0)
            _check_header(file, source.packed_size)
        file.seek(0)
        loaded = np.load(file, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            if loaded.ndim != 2 or not loaded.shape[1]:
                raise DataError(
                    f"{name}: expected a matrix whose last column is the target, got shape {loaded.shape}; "
                    "save inputs and targets as a .npz file with x and y"
                )
            return raw_table_from_arrays(loaded[:, :-1], loaded[:, -1], source=name)
        x = next((_unpack(loaded, array, source) for array in ("x", "X", "data") if array in loaded), None)
        y = next((_unpack(loaded, array, source) for array in ("y", "d", "target") if array in loaded), None)
        if x is None:
            raise DataError(f"{name}: expected arrays x and y, got {excerpt(', '.join(loaded)) or 'none'}")
    return raw_table_from_arrays(x, y, source=name)


def _unpack(archive: Any, name: str, source: InputFile) -> Column:
    """Unpack an array of an archive, after checking that it has the size that its header declares."""
    info = archive.zip.getinfo(f"{name}.npy")
    fix = "if it can be trusted, save it with numpy.savez, which does not compress"
    source.check_size(info.file_size, fix)
    with archive.zip.open(info) as file:
        _check_header(file, info.file_size)
    array: Column = archive[name]
    return array


def _check_header(file: BinaryIO, n_bytes: int) -> None:
    """Compare the shape in the header of a NumPy file with the file's size, before memory is allocated."""
    version = np.lib.format.read_magic(file)
    readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    if version not in readers:
        raise ValueError("it holds records, not numbers or text")
    shape, _, dtype = readers[version](file)
    if dtype.hasobject:
        raise ValueError("pickle")
    if len(shape) > 3:
        raise ValueError(f"its header declares {len(shape)} dimensions, not two")
    if not dtype.itemsize or min(shape, default=0) < 0 or math.prod(shape) * dtype.itemsize != n_bytes - file.tell():
        raise ValueError(f"its header declares an array of shape {shape} of {dtype}, which it does not hold")
