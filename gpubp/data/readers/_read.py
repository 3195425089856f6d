"""Read a table from a file of any known format, or from a built-in data set."""

import re
from os import PathLike, fspath
from pathlib import Path

from gpubp._core.files import open_regular
from gpubp._core.names import near_miss
from gpubp._core.text import excerpt
from gpubp.data._limits import MAX_LINE_BYTES
from gpubp.data.datasets import DATASETS, load_dataset
from gpubp.data.readers._formats import FORMATS, SUFFIXES
from gpubp.data.readers.text import UTF8_FIX, read_text
from gpubp.data.table import NO_HEADER, Table, build_table, table_from_dataset
from gpubp.errors import DataError


def read_table(path_or_name: str | PathLike[str], *, separator: str | None = None) -> Table:
    """Read a table from a file, by its suffix, or load a built-in data set if there is no such file.

    Parameters
    ----------
    path_or_name : str or path
        A ``.csv`` or ``.tsv`` file with a header (also ``.gz``), a ``.parquet`` file, a ``.npy`` file (a matrix whose
        last column is the target), a ``.npz`` file (``x`` of shape ``(n, i)`` and, optionally, ``y`` of shape
        ``(n,)`` or ``(n, j)``; for samples to predict, ``x`` alone), or one of `gpubp.data.DATASETS`.
    separator : str, optional
        Separator of the fields of a ``.csv`` or ``.tsv`` file; by default a comma or a tab.

    Returns
    -------
    Table
        The columns in the order of the file.

    Raises
    ------
    DataError
        If the file does not exist, cannot be read or holds no table, has a line of more than 16 MiB, or expands to more
        than 256 MiB and 100 times its size; the message names the path and the fix.

    Examples
    --------
    >>> table = read_table("iris")
    >>> table.n_rows, table.targets
    (150, ('target',))
    """
    path, name = Path(path_or_name), fspath(path_or_name)
    if separator is not None:
        _check_separator(separator, path)
    if name in DATASETS and not path.is_file():
        return table_from_dataset(load_dataset(name))
    start = _first_bytes(path)
    file_format = next((FORMATS[suffix] for suffix in SUFFIXES if path.name.lower().endswith(suffix)), None)
    if file_format is None:
        raise DataError(f"{path}: unknown file format; the supported suffixes are {', '.join(SUFFIXES)}")
    if not start:
        raise DataError(f"{path} is empty (0 bytes); write the data again")
    if start in (b"\xff\xfe", b"\xfe\xff"):
        raise DataError(f"{path} is written in UTF-16 or UTF-32; save it as UTF-8")
    try:
        raw = file_format.read(path) if separator is None else read_text(path, separator)
    except UnicodeDecodeError:
        raise DataError(f"{path} is not UTF-8 text, as its header shows; {UTF8_FIX}") from None
    except DataError:
        raise
    except Exception as error:  # the libraries raise many kinds of exceptions on broken files
        raise DataError(f"{path} cannot be read: {_reason(error)}. {file_format.fix}") from error
    return build_table(*raw)


def _check_separator(separator: str, path: Path) -> None:
    if not re.search(r"\.[ct]sv(\.gz)?$", str(path), re.IGNORECASE):
        raise DataError(f"a separator is for .csv and .tsv files, got {separator!r} for {path}")
    if len(separator) != 1 or not separator.isascii() or separator in '"\r\n':
        raise DataError(f"a separator must be one ASCII character, such as ';', got {separator!r}")


def _first_bytes(path: Path) -> bytes:
    """Return the first two bytes of a file; raise a DataError if it cannot be opened."""
    try:
        with open_regular(path) as file:
            return file.read(2)
    except FileNotFoundError:
        raise DataError(
            f"no such file: {path}{near_miss(str(path), DATASETS)}; give the path of a file ({', '.join(SUFFIXES)}) "
            f"or one of the named sets {', '.join(DATASETS)}"
        ) from None
    except IsADirectoryError:
        raise DataError(
            f"{path} is a folder without .parquet, .csv or .tsv files; give a file, or a folder of them"
        ) from None
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from error


def _reason(error: Exception) -> str:
    """Shorten a library's message, which may quote parts of the file."""
    text = " ".join(str(error).split())
    if "straddling" in text:
        reason = "perhaps because the quotation mark that closes a field is missing"
        return f"a line is longer than {MAX_LINE_BYTES:,} bytes, {reason}"
    if "pickle" in text or "magic string" in text:  # NumPy's advice is to allow pickles
        return "it is not a NumPy file, or holds pickled Python objects, which are never loaded"
    # pyarrow counts the header as row 1.
    text = re.sub(r"Row #(\d+)", lambda match: f"row {int(match[1]) - 1:,}{NO_HEADER}", text)
    return excerpt(text, 200).rstrip(".")
