"""The registry of file formats. To add one, write a reader and add its suffix here."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

from gpubp.data.readers._numpy_arrays import read_numpy
from gpubp.data.readers._parquet import read_parquet
from gpubp.data.readers.text import read_text
from gpubp.data.table import RawTable


class FileFormat(NamedTuple):
    """A reader, and how to fix a file that it cannot read."""

    read: Callable[[Path], RawTable]
    fix: str


_TEXT_FIX = "Each row needs as many fields as the header, and the text must be UTF-8"

FORMATS: dict[str, FileFormat] = {
    ".csv": FileFormat(partial(read_text, separator=","), _TEXT_FIX),
    ".csv.gz": FileFormat(partial(read_text, separator=","), _TEXT_FIX),
    ".tsv": FileFormat(partial(read_text, separator="\t"), _TEXT_FIX),
    ".tsv.gz": FileFormat(partial(read_text, separator="\t"), _TEXT_FIX),
    ".parquet": FileFormat(read_parquet, "Write the Parquet file again"),
    ".npy": FileFormat(read_numpy, "Save numbers, not Python objects: numpy.save(path, numpy.column_stack([x, y]))"),
    ".npz": FileFormat(read_numpy, "Save arrays, not Python objects: numpy.savez(path, x=x, y=y)"),
}
"""Formats by the suffix of the file's name."""

SUFFIXES: tuple[str, ...] = tuple(FORMATS)
"""The suffixes that :func:`gpubp.data.read_table` accepts."""
