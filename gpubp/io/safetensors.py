"""Read untrusted safetensors files: every size in a header is checked against the file's real size.

The library safetensors writes these files but does not read them here: it maps a file into memory, where truncation
ends the process, and it accepts headers of 100 MB.
"""

import json
import math
import os
from os import PathLike
from typing import Any, NamedTuple

import numpy as np

from gpubp._core.files import open_regular
from gpubp._core.text import excerpt

MAX_TEXT_BYTES = 8 * 2**20
"""Maximum bytes of a file's header, in addition to five for each byte of its numbers."""

MAX_DIMENSIONS = 8

_TYPES = {
    **{"F16": "<f2", "F32": "<f4", "F64": "<f8", "BOOL": "?"},
    **{f"{kind.upper()}{8 * n}": f"<{kind}{n}" for kind in "iu" for n in (1, 2, 4, 8)},
}


class MalformedFile(ValueError):
    """A file's contents do not fit its header; the message is a clause about the file."""


def max_header_bytes(n_bytes: int) -> int:
    """Return the maximum bytes of the header of a file with `n_bytes` of numbers.

    A tied weight may take 20 digits in the header, and takes 4 bytes or more of the numbers.
    """
    return MAX_TEXT_BYTES + 5 * n_bytes


def read_tensors(path: str | PathLike[str]) -> tuple[dict[str, str], dict[str, np.ndarray]]:
    """Read a file's metadata and its tensors, in the order of the file.

    Memory is allocated for the real contents of the file, not for the sizes in its header.

    Raises
    ------
    MalformedFile
        If the file does not fit its header.
    OSError, ValueError
        If it cannot be opened: see :func:`gpubp._core.files.open_regular`.
    """
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        n_text = int.from_bytes(file.read(8), "little")
        n_bytes = size - 8 - n_text
        if size < 8 or n_bytes < 0:
            raise MalformedFile(f"it has {size:,} bytes, and its first 8 declare a header of {n_text:,}")
        if n_text > max_header_bytes(n_bytes):
            raise MalformedFile(f"its header has {n_text:,} bytes; {max_header_bytes(n_bytes):,} at most are read")
        metadata, entries = _parse_header(file.read(n_text), n_bytes)
        try:
            return metadata, {
                entry.name: np.fromfile(file, entry.dtype, math.prod(entry.shape)).reshape(entry.shape)
                for entry in entries
            }
        except (ValueError, OverflowError) as error:  # the file was truncated, or NumPy does not support the shape
            raise MalformedFile(excerpt(str(error))) from error


class _Entry(NamedTuple):
    """A tensor's position among the numbers, from `start` to `stop`, its name, type and shape."""

    start: int
    stop: int
    name: str
    dtype: np.dtype[Any]
    shape: list[int]


def _parse_header(text: bytes, n_bytes: int) -> tuple[dict[str, str], list[_Entry]]:
    """Parse a header, whose tensors must fill the bytes of numbers without gaps."""
    try:
        header = json.loads(text.decode(), object_pairs_hook=_unique_names)
    except (ValueError, RecursionError) as error:
        raise MalformedFile(f"its header is not JSON: {excerpt(str(error))}") from error
    metadata = header.pop("__metadata__", {}) if isinstance(header, dict) else None
    if not (isinstance(metadata, dict) and all(isinstance(value, str) for value in metadata.values())):
        raise MalformedFile("its header is not a list of tensors")
    entries = sorted(_parse_entry(name, description) for name, description in header.items())
    stops = [0, *(entry.stop for entry in entries)]
    if [entry.start for entry in entries] != stops[:-1] or stops[-1] != n_bytes:
        raise MalformedFile(f"its tensors do not fill its {n_bytes:,} bytes of numbers, one after the other")
    return metadata, entries


def _parse_entry(name: str, description: Any) -> _Entry:
    shown_name = repr(excerpt(name, 50))
    if not isinstance(description, dict) or set(description) != {"dtype", "shape", "data_offsets"}:
        raise MalformedFile(f"its header describes {shown_name} in an unknown way")
    dtype, shape, offsets = description["dtype"], description["shape"], description["data_offsets"]
    if not (isinstance(dtype, str) and dtype in _TYPES):
        raise MalformedFile(f"its {shown_name} is of the type {excerpt(str(dtype), 50)}, which gpubp does not write")
    if not (_are_counts(shape) and len(shape) <= MAX_DIMENSIONS and _are_counts(offsets) and len(offsets) == 2):
        raise MalformedFile(f"the shape or the position of {shown_name} is not valid")
    start, stop = offsets
    entry = _Entry(start, stop, name, np.dtype(_TYPES[dtype]), shape)
    if entry.dtype.itemsize * math.prod(shape) != stop - start:
        raise MalformedFile(f"the shape and the position of {shown_name} do not fit together")
    return entry


def _are_counts(numbers: Any) -> bool:
    return isinstance(numbers, list) and all(type(n) is int and 0 <= n < 2**63 for n in numbers)


def _unique_names(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Build a dict of JSON's names; refuse a repeated name, which readers would resolve differently."""
    named = dict(pairs)
    if len(named) < len(pairs):
        raise ValueError("a name occurs twice")
    return named
