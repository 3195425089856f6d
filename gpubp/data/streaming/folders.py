"""Which files are a table, and how much there is of it."""

import contextlib
import os
from pathlib import Path

from gpubp.data.streaming.parquet import ParquetTables
from gpubp.data.streaming.tables import TableSource
from gpubp.data.streaming.text import TextTables
from gpubp.errors import DataError

SUFFIXES = (".parquet", ".csv", ".tsv")
SHARE_OF_MEMORY = 0.25
"""Of the free memory: a file beyond it becomes too much as columns, matrices and batches."""


def table_files(path: Path) -> list[Path]:
    """List the files of a table: those of a folder, at any depth, hidden ones and ``_metadata`` aside, or the one."""
    if not path.is_dir():
        return [path] if path.suffix.lower() in SUFFIXES else []
    inside = (found for found in path.rglob("*") if found.suffix.lower() in SUFFIXES and found.is_file())
    return sorted(found for found in inside if not any(part[0] in "._" for part in found.relative_to(path).parts))


def is_table(path: Path) -> bool:
    """Tell whether a path is a file, or a folder of files, that hold a table."""
    return bool(table_files(path))


def free_host_memory() -> int | None:
    """Ask the system how many bytes are free, or could be made so; None where it does not tell."""
    with contextlib.suppress(OSError, ValueError), open("/proc/meminfo") as lines:
        return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")), None)
    with contextlib.suppress(OSError, ValueError, AttributeError):
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return None


def reason_to_stream(path: Path) -> str | None:
    """Say why a table should be read in parts: it is a folder, or large beside the memory that is free; else None."""
    free = free_host_memory()
    if not is_table(path):
        return None
    if path.is_dir():
        return "a folder"
    if not path.is_file() or free is None or path.stat().st_size <= free * SHARE_OF_MEMORY:
        return None
    return f"{path.stat().st_size / 2**30:.1f} GiB, with {free / 2**30:.1f} GiB of memory free"


def open_tables(path: Path, separator: str | None = None) -> TableSource:
    """Open a file, or a folder of files of one kind, to be read piece by piece.

    Raises
    ------
    DataError
        If there are none, they are of several kinds, or they cannot be read.
    """
    if not path.exists():
        raise DataError(f"no such file or folder: {path}")
    files = table_files(path)
    if not files:
        kinds = ", ".join(SUFFIXES)
        compressed = (
            "; a compressed CSV cannot be read in parts: unpack it" if path.name.lower().endswith(".gz") else ""
        )
        raise DataError(f"{path} has no file that can be read in parts ({kinds}){compressed}")
    kinds_found = sorted({file.suffix.lower() for file in files})
    if len(kinds_found) > 1:
        raise DataError(f"{path} holds files of several kinds ({', '.join(kinds_found)}); keep one kind in the folder")
    if kinds_found == [".parquet"]:
        if separator is not None:
            raise DataError(f"a separator is for .csv and .tsv files, got {separator!r} for {path}")
        return ParquetTables(files, path)
    return TextTables(files, str(path), separator)
