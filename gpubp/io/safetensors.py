"""Files of safetensors from anywhere, read as data: nothing is believed before it is held against the file's size.

The library that writes them does not read them here: it maps a file into memory, where one that is cut short in the
meantime ends the process, and it takes headers of 100 MB.
"""

import json
import math
import os
from os import PathLike
from typing import Any, NamedTuple

import numpy as np

from gpubp._core.files import open_ordinary
from gpubp._core.text import brief

MOST_TEXT = 8 * 2**20
"""How many bytes of text a file may have for its header, beside five for each byte of its numbers."""

MOST_DIMENSIONS = 8

_TYPES = {
    **{"F16": "<f2", "F32": "<f4", "F64": "<f8", "BOOL": "?"},
    **{f"{kind.upper()}{8 * n}": f"<{kind}{n}" for kind in "iu" for n in (1, 2, 4, 8)},
}


class NotWhole(ValueError):
    """A file is not what its first bytes say; worded to stand in brackets, fit to be shown."""


def most_text(n_bytes: int) -> int:
    """Tell how many bytes the header may have of a file that holds so many bytes of numbers.

    A tied weight may be written with 20 digits in the header, and has 4 bytes or more among the numbers.
    """
    return MOST_TEXT + 5 * n_bytes


def read_tensors(path: str | PathLike[str]) -> tuple[dict[str, str], dict[str, np.ndarray]]:
    """Read a file's metadata and its tensors, in the order in which they lie.

    Memory is taken for what the file really holds, whatever it announces.

    Raises
    ------
    NotWhole
        If the file is not wholly what its header says.
    OSError, ValueError
        If it cannot be opened: see :func:`gpubp._core.files.open_ordinary`.
    """
    with open_ordinary(path) as file:
        size = os.fstat(file.fileno()).st_size
        n_text = int.from_bytes(file.read(8), "little")
        n_bytes = size - 8 - n_text
        if size < 8 or n_bytes < 0:
            raise NotWhole(f"it has {size:,} bytes, and its first 8 announce a header of {n_text:,}")
        if n_text > most_text(n_bytes):
            raise NotWhole(f"its header has {n_text:,} bytes; {most_text(n_bytes):,} at most are read")
        metadata, places = _header(file.read(n_text), n_bytes)
        try:
            return metadata, {
                place.name: np.fromfile(file, place.dtype, math.prod(place.shape)).reshape(place.shape)
                for place in places
            }
        except (ValueError, OverflowError) as error:  # fewer numbers than a moment ago, or a shape beyond NumPy's
            raise NotWhole(brief(str(error))) from error


class _Place(NamedTuple):
    """Where a tensor lies among the numbers, and what it is."""

    start: int
    stop: int
    name: str
    dtype: np.dtype[Any]
    shape: list[int]


def _header(text: bytes, n_bytes: int) -> tuple[dict[str, str], list[_Place]]:
    """Read a header, whose tensors must fill the bytes of numbers one after the other."""
    try:
        header = json.loads(text.decode(), object_pairs_hook=_each_once)
    except (ValueError, RecursionError) as error:
        raise NotWhole(f"its header is no JSON: {brief(str(error))}") from error
    metadata = header.pop("__metadata__", {}) if isinstance(header, dict) else None
    if not (isinstance(metadata, dict) and all(isinstance(value, str) for value in metadata.values())):
        raise NotWhole("its header is no list of tensors")
    places = sorted(_place(name, entry) for name, entry in header.items())
    stops = [0, *(place.stop for place in places)]
    if [place.start for place in places] != stops[:-1] or stops[-1] != n_bytes:
        raise NotWhole(f"its tensors do not fill its {n_bytes:,} bytes of numbers, one after the other")
    return metadata, places


def _place(name: str, entry: Any) -> _Place:
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise NotWhole(f"its header describes {brief(name, 50)!r} in no known way")
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not (isinstance(dtype, str) and dtype in _TYPES):
        raise NotWhole(f"its {brief(name, 50)!r} is of the type {brief(str(dtype), 50)}, which gpubp does not write")
    if not (_are_counts(shape) and len(shape) <= MOST_DIMENSIONS and _are_counts(offsets) and len(offsets) == 2):
        raise NotWhole(f"shape or place of {brief(name, 50)!r} are none")
    start, stop = offsets
    place = _Place(start, stop, name, np.dtype(_TYPES[dtype]), shape)
    if place.dtype.itemsize * math.prod(shape) != place.stop - place.start:
        raise NotWhole(f"shape and place of {brief(name, 50)!r} do not fit together")
    return place


def _are_counts(numbers: Any) -> bool:
    return isinstance(numbers, list) and all(type(n) is int and 0 <= n < 2**63 for n in numbers)


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Make a dict of what JSON names, each name once: of two equal ones readers would choose differently."""
    named = dict(pairs)
    if len(named) < len(pairs):
        raise ValueError("a name comes twice")
    return named
