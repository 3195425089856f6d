"""Find the files of a table, and decide whether it is small enough to read as a whole."""

import contextlib
import os
from pathlib import Path

from gpubp.data.streaming._parquet_tables import ParquetTables
from gpubp.data.streaming._text_tables import TextTables
from gpubp.data.streaming.table_source import TableSource
from gpubp.errors import DataError

SUFFIXES = (".parquet", ".csv", ".tsv")
"""Formats that can be read in parts."""

MAX_MEMORY_FRACTION = 0.25
"""Maximum size of a file, as a fraction of the free memory, to read it as a whole."""


def table_files(path: Path) -> list[Path]:
    """List the files of a table: the file, or those in a folder at any depth, except hidden ones and ``_*``."""
    if not path.is_dir():
        return [path] if path.suffix.lower() in SUFFIXES else []
    inside = (file for file in path.rglob("*") if file.suffix.lower() in SUFFIXES and file.is_file())
    return sorted(file for file in inside if not any(part[0] in "._" for part in file.relative_to(path).parts))


def is_table(path: Path) -> bool:
    """Return whether a path is a file or a folder of files that hold a table."""
    return bool(table_files(path))


def free_host_memory() -> int | None:
    """Return how many bytes of memory are free or can be freed; None if the system does not report it."""
    with contextlib.suppress(OSError, ValueError), open("/proc/meminfo") as lines:
        return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")), None)
    with contextlib.suppress(OSError, ValueError, AttributeError):
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return None


def reason_to_stream(path: Path) -> str | None:
    """Return why a table should be read in parts (a folder, or large compared with the free memory), or None."""
    free = free_host_memory()
    if not is_table(path):
        return None
    if path.is_dir():
        return "a folder"
    if not path.is_file() or free is None or path.stat().st_size <= free * MAX_MEMORY_FRACTION:
        return None
    return f"{path.stat().st_size / 2**30:.1f} GiB, with {free / 2**30:.1f} GiB of memory free"


def open_tables(path: Path, separator: str | None = None) -> TableSource:
    """Open a file, or a folder of files of one format, to be read piece by piece.

    Raises
    ------
    DataError
        If there are no files, they have several formats, or they cannot be read.
    """
    if not path.exists():
        raise DataError(f"no such file or folder: {path}")
    files = table_files(path)
    if not files:
        hint = "; a compressed CSV cannot be read in parts: unpack it" if path.name.lower().endswith(".gz") else ""
        raise DataError(f"{path} has no file that can be read in parts ({', '.join(SUFFIXES)}){hint}")
    suffixes = sorted({file.suffix.lower() for file in files})
    if len(suffixes) > 1:
        raise DataError(f"{path} holds files of several kinds ({', '.join(suffixes)}); keep one kind in the folder")
    if suffixes == [".parquet"]:
        if separator is not None:
            raise DataError(f"a separator is for .csv and .tsv files, got {separator!r} for {path}")
        return ParquetTables(files, path)
    return TextTables(files, str(path), separator)
