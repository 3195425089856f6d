"""Find the files of a table, and decide whether it is small enough to read as a whole."""

import contextlib
import os
from pathlib import Path

from gpubp._core.names import near_file
from gpubp.data.readers import COMPRESSIONS, TEXT_SUFFIXES, files_in, format_suffix, is_pattern
from gpubp.data.readers.dialect import TextOptions
from gpubp.data.streaming._parquet_tables import ParquetTables
from gpubp.data.streaming._text_tables import TextTables
from gpubp.data.streaming.table_source import TableSource
from gpubp.errors import DataError

SUFFIXES = (".parquet", *TEXT_SUFFIXES)
"""Formats that can be read in parts."""

MAX_MEMORY_FRACTION = 0.25
"""Maximum size of a file, as a fraction of the free memory, to read it as a whole."""


def table_files(path: Path) -> list[Path]:
    """List the files of a table: the file, those that fit a pattern, or those in a folder; see `files_in`."""
    if not path.is_dir() and not is_pattern(path):
        return [path] if format_suffix(path.name) in SUFFIXES else []
    return files_in(path, SUFFIXES)


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
    if path.is_dir() or is_pattern(path):
        return "a folder" if path.is_dir() else "several files"
    if not path.is_file() or free is None or path.stat().st_size <= free * MAX_MEMORY_FRACTION:
        return None
    return f"{path.stat().st_size / 2**30:.1f} GiB, with {free / 2**30:.1f} GiB of memory free"


def open_tables(path: Path, options: TextOptions | None = None) -> TableSource:
    r"""Open a file, or a folder of files of one format, to be read piece by piece.

    Raises
    ------
    DataError
        If there are no files, they have several formats, or they cannot be read.

    Examples
    --------
    >>> import tempfile
    >>> from gpubp.data.readers.dialect import TextOptions
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "flats.csv"
    ...     _ = path.write_text("area;price\n30;300\n75;600\n")
    ...     [piece.table.n_rows for piece in open_tables(path, TextOptions(separator=";")).pieces()]
    [2]
    """
    if not path.exists() and not is_pattern(path):
        raise DataError(f"no such file or folder: {path}{near_file(path)}")
    files = table_files(path)
    if not files:
        is_packed = format_suffix(path.name).endswith(COMPRESSIONS)
        hint = "; a compressed file cannot be read in parts: unpack it" if is_packed else ""
        raise DataError(f"{path} has no file that can be read in parts ({', '.join(SUFFIXES)}){hint}")
    suffixes = sorted({format_suffix(file.name) for file in files})
    if len(suffixes) > 1:
        raise DataError(f"{path} holds files of several kinds ({', '.join(suffixes)}); keep one kind in the folder")
    if suffixes == [".parquet"]:
        if options and options.chosen:
            raise DataError(f"{', '.join(options.chosen)}: only text files have such options, and {path} is none")
        return ParquetTables(files, path)
    return TextTables(files, str(path), options)
