"""Read a table from files of any known format, from standard input, or from a built-in data set."""

import os
import re
import sys
from os import PathLike, fspath
from pathlib import Path

from gpubp._core.names import near_file, near_miss
from gpubp._core.text import brief
from gpubp.data._limits import MAX_LINE_BYTES
from gpubp.data.datasets import DATASETS, load_dataset
from gpubp.data.readers._combine import combine
from gpubp.data.readers._files import STANDARD_INPUT, files_in, is_pattern, path_columns, split_part
from gpubp.data.readers._formats import FORMATS, SUFFIXES, format_suffix, suffix_of_content
from gpubp.data.readers._input_file import COMPRESSIONS, InputFile, compression_of, zip_member
from gpubp.data.readers.dialect import TextOptions
from gpubp.data.table import RawTable, Table, build_table, table_from_dataset
from gpubp.errors import DataError

_START_BYTES = 512
_PICKLES = (".pkl", ".pickle", ".joblib", ".rds", ".rda", ".rdata")


def read_table(
    path_or_name: str | PathLike[str],
    *,
    separator: str | None = None,
    decimal: str | None = None,
    thousands: str | None = None,
    encoding: str | None = None,
    header: bool | None = None,
    comment: str | None = None,
    skip_rows: int | None = None,
    quote: str | None = None,
) -> Table:
    """Read a table from a file, or load a built-in data set if there is no such file.

    Parameters
    ----------
    path_or_name : str or path
        A file of one of the formats in docs/tables.md, by its suffix, also compressed: ``shop.csv.gz``. A table in a
        database or a sheet in a spreadsheet: ``shop.db::sales``. A folder, or a pattern such as ``"data/*.csv"``, of
        files with the same columns. ``"-"``, standard input. Or one of `gpubp.data.DATASETS`. The last column of a
        ``.npy`` file is the target, and a ``.npz`` file holds ``x`` of shape ``(n, i)`` and, optionally, ``y``.
    separator : str, optional
        The separator of the fields of a text file; ``" "`` stands for runs of blanks and tabs. This and the other
        options are found by looking at the file if they are not given.
    decimal, thousands : str, optional
        The decimal mark, "." or ",", and the character between groups of three digits; "" for none.
    encoding : str, optional
        A codec of Python, such as "cp1252".
    header : bool, optional
        Whether the first row has the names of the columns.
    comment : str, optional
        The character that begins lines to leave out; "" for none.
    skip_rows : int, optional
        The number of lines before the header.
    quote : str, optional
        The quotation mark around fields; "" for none.

    Returns
    -------
    Table
        The columns in the order of the file; `Table.notes` has what was decided.

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
    options = TextOptions(separator, decimal, thousands, encoding, header, comment, skip_rows, quote)
    return read_table_with(path_or_name, options)


def read_table_with(path_or_name: str | PathLike[str], options: TextOptions) -> Table:
    """Read a table; see :func:`read_table`."""
    name = fspath(path_or_name)
    path, part = split_part(path_or_name)
    if name in DATASETS and not os.path.isfile(path):
        if options.chosen:
            raise DataError(f"{_in_words(options)} for text files, and {name} is a built-in data set")
        return table_from_dataset(load_dataset(name))
    if name == STANDARD_INPUT:
        content = sys.stdin.buffer.read()
        return build_table(_read_source(InputFile(Path("standard input"), content=content), options))
    if is_pattern(path) or os.path.isdir(path):
        return build_table(_read_files(path, options))
    return build_table(_read_source(InputFile(path, part), options))


def _read_files(path: Path, options: TextOptions) -> RawTable:
    """Read the files of a folder, or those that fit a pattern."""
    known = {suffix + packing for suffix in SUFFIXES for packing in ("", *COMPRESSIONS)}
    files = files_in(path, known)
    if not files:
        what = "no file fits the pattern" if is_pattern(path) else "the folder holds no file of a known format"
        raise DataError(f"{path}: {what} ({', '.join(SUFFIXES)})")
    kinds = sorted({format_suffix(file.name) for file in files})
    if len(kinds) > 1:
        raise DataError(
            f"{path} holds files of several kinds ({', '.join(kinds)}); keep one kind, or give a pattern such as "
            f"{path / ('*' + kinds[0])}"
        )
    tables = [_read_source(InputFile(file), options) for file in files]
    return combine(tables, [path_columns(file, path) for file in files], str(path))


def _read_source(source: InputFile, options: TextOptions) -> RawTable:
    start = _first_bytes(source)
    if not start:
        raise DataError(f"{source.name} is empty (0 bytes); write the data again")
    if source.path.suffix.lower() in _PICKLES:
        raise DataError(
            f"{source.name}: objects of Python or R are never loaded, as they may run code; write the table as CSV or "
            "Parquet"
        )
    suffix = format_suffix(source.path.name)
    base, fix = "", "Unpack it, and use the file in it"
    try:
        source, base = _unpacking(source, suffix, start)
        fix = FORMATS[base].fix
        if refused := {name: value for name, value in options.chosen.items() if name not in FORMATS[base].options}:
            raise DataError(f"{_in_words(TextOptions(**refused))} for text files, and {source.name} is none")
        raw = FORMATS[base].read_with(source, options)
    except DataError as error:
        if suffix or base != ".csv" or source.content is not None:
            raise
        raise DataError(f"{_unknown_format(source)}, and as text it cannot be read: {error}") from error
    except BaseException as error:  # the libraries raise many kinds of exceptions on broken files
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":  # of libraries in Rust
            raise
        raise DataError(f"{source.name} cannot be read: {_reason(error)}. {fix}") from error
    if not suffix and FORMATS[base].separator and len(raw.columns) < 2 and source.content is None:
        raise DataError(_unknown_format(source))
    return raw


def _unpacking(source: InputFile, suffix: str, start: bytes, *, is_inside: bool = False) -> tuple[InputFile, str]:
    """Return the source with its compression, and the suffix of its format, by its name or else by its content."""
    packing = next((known for known in COMPRESSIONS if suffix.endswith(known)), "")
    base = suffix.removesuffix(packing)
    if (not base or FORMATS[base].separator) and not packing:  # text may be compressed without a suffix for it
        packing = compression_of(start)
    source = InputFile(source.path, source.part, source.content, packing)
    if base:
        return source, base
    member = format_suffix(zip_member(source).filename) if packing == ".zip" else ""
    with source.open() as file:
        start = file.read(_START_BYTES)
    if compression_of(start) and packing and not is_inside:  # an archive in an archive
        return _unpacking(source.unpacked(), member, start, is_inside=True)
    base = member if member in FORMATS else suffix_of_content(start)
    if not base:
        raise DataError(_unknown_format(source))
    return source, base


def _unknown_format(source: InputFile) -> str:
    return (
        f"{source.name}: unknown file format; the supported suffixes are {', '.join(SUFFIXES)}, also with "
        f"{', '.join(COMPRESSIONS)}"
    )


def _in_words(options: TextOptions) -> str:
    """Describe options for a message that refuses them."""
    chosen = ", ".join(f"{name} {value!r}" for name, value in options.chosen.items())
    return f"{chosen} {'is an option' if len(options.chosen) == 1 else 'are options'}"


def _first_bytes(source: InputFile) -> bytes:
    """Return the first bytes of a file; raise a DataError if it cannot be opened."""
    path = source.path
    try:
        with source.open_packed() as file:
            return file.read(16)
    except FileNotFoundError:
        similar = near_file(path) or near_miss(str(path), DATASETS)
        raise DataError(
            f"no such file: {path}{similar}; give the path of a file ({', '.join(SUFFIXES)}) "
            f"or one of the named sets {', '.join(DATASETS)}"
        ) from None
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from error


def _reason(error: BaseException) -> str:
    """Shorten a library's message, which may quote parts of the file."""
    text = str(error)
    if "straddling" in text:
        reason = "perhaps because the quotation mark that closes a field is missing"
        return f"a line is longer than {MAX_LINE_BYTES:,} bytes, {reason}"
    if "pickle" in text or "magic string" in text:  # NumPy's advice is to allow pickles
        return "it is not a NumPy file, or holds pickled Python objects, which are never loaded"
    return re.sub(r"Row #(\d+)", lambda match: f"row {int(match[1]):,}", brief(error))
