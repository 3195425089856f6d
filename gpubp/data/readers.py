"""Tables: named columns read from files, arrays or named sets, on the host.

A column is one of three things: a numeric array (missing: NaN), a bool array, or an object array of ``str`` with
None where the text is missing.  Text in CSV and TSV files stays as it is written, so that ``True`` there is text;
a bool column with missing values becomes the text ``"True"`` and ``"False"``.
"""

import importlib
import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from numbers import Real
from os import PathLike, fspath
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gpubp._core.files import open_ordinary
from gpubp._core.masked_arrays import is_masked, refuse_masked
from gpubp._core.names import near_miss
from gpubp._core.text import brief
from gpubp.data.datasets import DATASETS, Dataset, load_dataset
from gpubp.errors import DataError

Column = NDArray[Any]

MOST_LINE = 16 * 2**20
"""How many bytes a line of text may have, its line breaks within quotes included."""

MOST_NAME = 1000
"""How many characters the name of a column may have."""

UNPACKED_FREELY, UNPACKED_TIMES = 2**28, 100
"""A compressed file may unpack to so many bytes, and a larger one to so many times its size."""


@dataclass(frozen=True, eq=False)
class Table:
    """Named columns of equal length.

    Attributes
    ----------
    columns : dict of str to numpy.ndarray
        Columns in the order of the file, each of shape ``(n_rows,)``.
    source : str
        Where they come from, for messages.
    targets : tuple of str
        Columns that the source itself marks as targets, as ``.npy`` and ``.npz`` files and named sets do.
    """

    columns: dict[str, Column]
    source: str = "the table"
    targets: tuple[str, ...] = ()

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        return len(next(iter(self.columns.values()), ()))

    def select(self, rows: ArrayLike) -> "Table":
        """Return the table of the given rows, by index or by mask."""
        index = np.asarray(rows)
        if not index.size:  # an empty list would be an index of floats
            index = index.astype(np.intp)
        return Table({name: values[index] for name, values in self.columns.items()}, self.source, self.targets)


def table_from_mapping(mapping: Any, *, source: str = "the table", targets: Sequence[str] = ()) -> Table:
    """Build a table from a dict of columns, from a pandas or polars frame, or from a pyarrow table.

    Parameters
    ----------
    mapping : mapping, data frame or pyarrow table
        Column names to sequences of numbers, bools or text; None, NaN, empty text and what a mask hides are missing.
    source : str
        Where the data come from, for messages.
    targets : sequence of str
        Columns to mark as targets.

    Returns
    -------
    Table
        The columns, their types normalised.

    Raises
    ------
    DataError
        If it is none of these, a column is not of numbers, bools or text in one dimension, names repeat or are empty,
        lengths differ, or there are no rows.

    Examples
    --------
    >>> table_from_mapping({"age": [31, 42], "town": ["Bonn", None]}).columns["town"]
    array(['Bonn', None], dtype=object)
    """
    if hasattr(mapping, "keys"):
        names = list(mapping.keys())
    elif hasattr(mapping, "columns") and hasattr(mapping, "column_names"):
        return _table(_from_arrow(mapping), source, targets)
    elif hasattr(mapping, "columns"):
        names = list(mapping.columns)
    else:
        raise DataError(
            "a table must be a file's path, a set's name, a dict of columns, a data frame or a pyarrow table, "
            f"got {type(mapping).__name__}"
        )
    if len(set(names)) < len(names):  # a frame may repeat a name, and would then answer with both columns
        return _table([(str(name), ()) for name in names], source, targets)
    return _table([(str(name), mapping[name]) for name in names], source, targets)


def table_from_arrays(
    x: ArrayLike,
    y: ArrayLike | None = None,
    names: Sequence[str] | None = None,
    target: str = "target",
    *,
    source: str = "the arrays",
) -> Table:
    """Build a table from a matrix of inputs and, where given, its targets.

    Parameters
    ----------
    x : array_like
        Shape ``(n, i)``.
    y : array_like, optional
        Shape ``(n,)`` for one column named `target`, or ``(n, j)`` for ``target_0``, ``target_1``, ...
    names : sequence of str, optional
        Names of the columns of `x`; by default ``x0``, ``x1``, ...
    target : str
        Name of the target.
    source : str
        Where the data come from, for messages.

    Returns
    -------
    Table
        The columns of `x`, then those of `y`, which are marked as targets.

    Raises
    ------
    DataError
        If the shapes do not fit, or as in :func:`table_from_mapping`.

    Examples
    --------
    >>> list(table_from_arrays([[1.0, 2.0]], [3.0]).columns)
    ['x0', 'x1', 'target']
    """
    return _table(*_from_arrays(_array(x), None if y is None else _array(y), names, target, source))


def dataset_table(dataset: Dataset) -> Table:
    """Return a named set as a table, its classes as text, or as integers where they are written so.

    Examples
    --------
    >>> dataset_table(load_dataset("xor")).columns["target"]
    array([0., 1., 1., 0.])
    """
    targets: Any = dataset.targets
    if dataset.classes is not None:
        is_integer = all(name.isdecimal() for name in dataset.classes)
        targets = (dataset.labels.astype(np.int64) if is_integer else dataset.labels)[:, None]
    pairs = [*zip(dataset.feature_names, dataset.X.T, strict=True), *zip(dataset.target_names, targets.T, strict=True)]
    return _table(pairs, f"the set {dataset.name}", dataset.target_names)


def read_table(path_or_name: str | PathLike[str], *, separator: str | None = None) -> Table:
    """Read a table from a file, by its suffix, or take a named set where no such file exists.

    Parameters
    ----------
    path_or_name : str or path
        A ``.csv`` or ``.tsv`` file with a header (also ``.gz``), a ``.parquet`` file, a ``.npy`` file (a matrix whose
        last column is the target), a ``.npz`` file (``x`` of shape ``(n, i)`` and, optionally, ``y`` of shape
        ``(n,)`` or ``(n, j)``; give samples to predict as ``x`` alone), or one of `gpubp.data.DATASETS`.
    separator : str, optional
        What stands between the fields of a ``.csv`` or ``.tsv`` file; a comma or a tab without it.

    Returns
    -------
    Table
        The columns in the order of the file.

    Raises
    ------
    DataError
        If the file is not there, cannot be read or holds no table; the message names the path and the fix. A line of
        more than 16 MiB and a file that unpacks to more than 256 MiB and 100 times its size are refused too.

    Examples
    --------
    >>> table = read_table("iris")
    >>> table.n_rows, table.targets
    (150, ('target',))
    """
    path, name = Path(path_or_name), fspath(path_or_name)
    if separator is not None:
        if not re.search(r"\.[ct]sv(\.gz)?$", name, re.IGNORECASE):
            raise DataError(f"a separator is for .csv and .tsv files, got {separator!r} for {path}")
        if len(separator) != 1 or not separator.isascii() or separator in '"\r\n':
            raise DataError(f"a separator must be one ASCII character, such as ';', got {separator!r}")
    try:
        if name in DATASETS and not path.is_file():
            return dataset_table(load_dataset(name))
        with open_ordinary(path) as file:
            start = file.read(2)
    except FileNotFoundError:
        raise DataError(
            f"no such file: {path}{near_miss(name, DATASETS)}; give the path of a file ({', '.join(SUFFIXES)}) "
            f"or one of the named sets {', '.join(DATASETS)}"
        ) from None
    except IsADirectoryError:
        raise DataError(
            f"{path} is a folder without .parquet, .csv or .tsv files; give a file, or a folder of them"
        ) from None
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from error
    reader = next((reader for suffix, reader in _READERS.items() if path.name.lower().endswith(suffix)), None)
    if reader is None:
        raise DataError(f"{path}: cannot tell the format by its name; supported are {', '.join(SUFFIXES)}")
    if not start:
        raise DataError(f"{path} is empty (0 bytes); write the data again")
    if start in (b"\xff\xfe", b"\xfe\xff"):
        raise DataError(f"{path} is written in UTF-16 or UTF-32; save it as UTF-8")
    try:
        contents = reader.read(path) if separator is None else _read_text(path, separator)
    except UnicodeDecodeError:
        raise DataError(f"{path} is not UTF-8 text, as its header shows; {_UTF8_FIX}") from None
    except DataError:
        raise
    except Exception as error:  # the readers raise many kinds on broken files; each means that this file is bad
        raise DataError(f"{path} cannot be read: {_reason(error)}. {reader.fix}") from error
    return _table(*contents)


def _reason(error: Exception) -> str:
    """Word what a reader says about a file, parts of which it may quote."""
    text = " ".join(str(error).split())
    if "straddling" in text:
        return f"a line is longer than {MOST_LINE:,} bytes, perhaps for want of a quotation mark that closes a field"
    if "pickle" in text or "magic string" in text:  # NumPy's advice is to load it all the same
        return "it is no NumPy file, or holds pickled Python objects, which are never loaded"
    return brief(re.sub(r"Row #(\d+)", r"row \1 (the header is row 1)", text), 200).rstrip(".")


def _most_unpacked(path: Path) -> int:
    return max(UNPACKED_FREELY, UNPACKED_TIMES * path.stat().st_size)


def _refuse_unpacked(path: Path, n_bytes: int, fix: str) -> None:
    """Refuse what unpacks to far more than real tables do."""
    if n_bytes > (most := _most_unpacked(path)):
        raise DataError(f"{path} unpacks to more than {most:,} bytes, far more than its size lets expect; {fix}")


class _Contents(NamedTuple):
    """What a reader hands to `_table`."""

    pairs: list[tuple[str, Any]]
    source: str
    targets: Sequence[str] = ()


class _Reader(NamedTuple):
    read: Any
    fix: str


def _from_arrays(x: Column, y: Column | None, names: Sequence[str] | None, target: str, source: str) -> _Contents:
    if x.ndim != 2:
        raise DataError(f"{source}: x must have shape (samples, inputs), got {x.shape}; reshape it to two dimensions")
    if not len(x):  # it may claim any number of columns
        raise DataError(f"{source} has no rows; at least one is needed")
    names = [f"x{k}" for k in range(x.shape[1])] if names is None else list(names)
    if len(names) != x.shape[1]:
        raise DataError(f"{source}: got {len(names)} names for {x.shape[1]} columns of x")
    if y is None:
        return _Contents(list(zip(names, x.T, strict=True)), source)
    if y.ndim not in (1, 2) or len(y) != len(x):
        raise DataError(f"{source}: y must have shape ({len(x)},) or ({len(x)}, j) to fit x {x.shape}, got {y.shape}")
    targets = [target] if y.ndim == 1 else [f"{target}_{k}" for k in range(y.shape[1])]
    return _Contents([*zip(names, x.T, strict=True), *zip(targets, np.atleast_2d(y.T), strict=True)], source, targets)


class _TextStream:
    """A file's bytes on their way to the reader: counted, unpacked no further than is sensible, and text."""

    closed = False

    def __init__(self, stream: Any, path: Path) -> None:
        self.stream, self.path, self.packed = stream, path, path.suffix.lower() == ".gz"
        self.n_bytes = self.n_lines = self.n_quotes = 0

    def read(self, n: int = -1) -> bytes:
        block: bytes = self.stream.read(n)
        self.n_bytes += len(block)
        if self.packed:
            _refuse_unpacked(self.path, self.n_bytes, "if it can be trusted, unpack it with gunzip and give that file")
        if (place := block.find(b"\0")) >= 0:
            line = self.n_lines + block.count(b"\n", 0, place) + 1
            raise DataError(
                f"{self.path} is not text: a zero byte stands in line {line:,}; if it is UTF-16, save it as UTF-8"
            )
        self.n_lines += block.count(b"\n")
        self.n_quotes += block.count(b'"')
        return block

    def close(self) -> None:
        self.closed = True


def _read_text(path: Path, delimiter: str) -> _Contents:
    csv, lib = _pyarrow("csv", path), _pyarrow("lib", path)
    packed = path.suffix.lower() == ".gz"
    size = MOST_LINE if packed else min(max(path.stat().st_size, 2**20), MOST_LINE)
    with lib.input_stream(path, compression="gzip" if packed else None) as stream:
        text = _TextStream(stream, path)
        table = csv.read_csv(
            text,
            # One thread is still fast, and only then does the parser know the number of a ragged row.
            read_options=csv.ReadOptions(use_threads=False, block_size=size),
            parse_options=csv.ParseOptions(delimiter=delimiter, newlines_in_values=True),
            convert_options=csv.ConvertOptions(true_values=[], false_values=[]),  # text stays as it is written
        )
    names = [name.strip() for name in table.column_names]
    for name, column in zip(names, table.columns, strict=True):
        if str(column.type) == "binary":  # what Arrow makes of other encodings
            row = _no_unicode(column.to_pylist())
            where = "" if row is None else f"row {row + 2:,} (the header is row 1) of "
            raise DataError(f"{path} is not UTF-8 text, as {where}column {name!r} shows; {_UTF8_FIX}")
    columns = [_to_numpy(column) for column in table.columns]
    last = [value for values in columns for value in values[-1:] if isinstance(value, str)]
    if any("\n" in value for value in last) and text.n_quotes % 2:  # Arrow itself takes the rest as one field
        raise DataError(f"{path}: a quotation mark is not closed, and its field runs to the end of the file; close it")
    if len(names) == 1 and (mark := next((mark for mark in ";\t,|" if mark in names[0] and mark != delimiter), None)):
        give = f"give it: --separator {mark!r}, or read_table(path, separator={mark!r})"
        fix = "name the file .tsv" if mark == "\t" else give
        found = f"one column named {brief(repr(names[0]))}: the fields seem to be separated by {mark!r}"
        raise DataError(f"{path}: {found}; {fix}")
    if any("." in name and _is_number(name) for name in names):
        shown = brief(", ".join(names[:12]), 60)
        raise DataError(f"{path}: the first line seems to be data ({shown}); give it a header line")
    return _Contents(list(zip(names, columns, strict=True)), str(path))


def _no_unicode(values: Sequence[str | bytes | None]) -> int | None:
    """Find the first of texts, or of bytes, that is no UTF-8."""
    for place, value in enumerate(values):
        try:
            value.decode() if isinstance(value, bytes) else value is None or value.encode()
        except UnicodeError:
            return place
    return None


_PARQUET_BATCH = 2**16


def _read_parquet(path: Path) -> _Contents:
    parquet, lib = _pyarrow("parquet", path), _pyarrow("lib", path)
    fix = "if it can be trusted, write it again as CSV, or in parts"
    with parquet.ParquetFile(path) as file:
        schema = file.schema_arrow
        for field in schema:
            if field.type.num_fields:
                kind = str(field.type).partition("<")[0]
                raise DataError(f"{path}: column {field.name!r} holds {kind}, not numbers or text; flatten it")
        _refuse_unpacked(path, 8 * file.metadata.num_rows * len(schema), fix)
    # text stays a number for each row and the text once: a few bytes could else stand for any amount of it
    texts = [field.name for field in schema if str(field.type) in ("string", "large_string", "string_view")]
    with parquet.ParquetFile(path, read_dictionary=texts) as file:
        batches, n_bytes = [], 0
        for batch in file.iter_batches(_PARQUET_BATCH):
            batches.append(batch)
            n_bytes += batch.nbytes
            _refuse_unpacked(path, n_bytes, fix)
        table = lib.Table.from_batches(batches) if batches else file.schema_arrow.empty_table()
    return _Contents(_from_arrow(table), str(path))


def _from_arrow(table: Any) -> list[tuple[str, Column]]:
    # pandas stores the row index of a filtered frame as a column; it is no feature.
    return [
        (name, _to_numpy(column))
        for name, column in zip(table.column_names, table.columns, strict=True)
        if not name.startswith("__index_level_")
    ]


def _read_numpy(path: Path) -> _Contents:
    with open_ordinary(path) as file:  # np.load would leave a broken archive open
        if file.read(2) != b"PK":
            file.seek(0)
            _check_numpy_header(file, path.stat().st_size)
        file.seek(0)
        loaded = np.load(file, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            if loaded.ndim != 2 or not loaded.shape[1]:
                raise DataError(
                    f"{path}: expected a matrix whose last column is the target, got shape {loaded.shape}; "
                    "save inputs and targets as a .npz file with x and y"
                )
            return _from_arrays(loaded[:, :-1], loaded[:, -1], None, "target", str(path))
        x = next((_unpacked(loaded, name, path) for name in ("x", "X", "data") if name in loaded), None)
        y = next((_unpacked(loaded, name, path) for name in ("y", "d", "target") if name in loaded), None)
        if x is None:
            raise DataError(f"{path}: expected arrays x and y, found {brief(', '.join(loaded)) or 'none'}")
    return _from_arrays(x, y, None, "target", str(path))


def _unpacked(archive: Any, name: str, path: Path) -> Column:
    """Unpack an array of an ``.npz`` file, once it is known to be of the size that it says."""
    info = archive.zip.getinfo(f"{name}.npy")
    _refuse_unpacked(path, info.file_size, "if it can be trusted, save it with numpy.savez, which does not compress")
    with archive.zip.open(info) as file:
        _check_numpy_header(file, info.file_size)
    array: Column = archive[name]
    return array


def _check_numpy_header(file: BinaryIO, n_bytes: int) -> None:
    """Hold the shape that a NumPy file announces against its size, before memory is taken for it."""
    version = np.lib.format.read_magic(file)
    readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    if version not in readers:
        raise ValueError("it holds records, not numbers or text")
    shape, _, dtype = readers[version](file)
    if dtype.hasobject:
        raise ValueError("pickle")
    if len(shape) > 3:
        raise ValueError(f"it announces {len(shape)} dimensions, not two")
    if not dtype.itemsize or min(shape, default=0) < 0 or math.prod(shape) * dtype.itemsize != n_bytes - file.tell():
        raise ValueError(f"it announces an array of shape {shape} of {dtype}, which it does not hold")


_CSV_FIX = "Each row needs as many fields as the header, and the text must be UTF-8"
_UTF8_FIX = "save it as UTF-8 ('CSV UTF-8' in a spreadsheet), or convert it: iconv -f LATIN1 -t UTF-8 old.csv > new.csv"
_READERS = {
    ".csv": _Reader(partial(_read_text, delimiter=","), _CSV_FIX),
    ".csv.gz": _Reader(partial(_read_text, delimiter=","), _CSV_FIX),
    ".tsv": _Reader(partial(_read_text, delimiter="\t"), _CSV_FIX),
    ".tsv.gz": _Reader(partial(_read_text, delimiter="\t"), _CSV_FIX),
    ".parquet": _Reader(_read_parquet, "Write the Parquet file again"),
    ".npy": _Reader(_read_numpy, "Save numbers, not Python objects: numpy.save(path, numpy.column_stack([x, y]))"),
    ".npz": _Reader(_read_numpy, "Save arrays, not Python objects: numpy.savez(path, x=x, y=y)"),
}

SUFFIXES: tuple[str, ...] = tuple(_READERS)
"""The file names' endings that :func:`read_table` knows."""


def _pyarrow(module: str, path: Path) -> Any:
    try:
        return importlib.import_module(f"pyarrow.{module}")
    except ImportError as error:
        raise DataError(f'reading {path} needs pyarrow: pip install "gpubp[cli]"') from error


def _to_numpy(column: Any) -> Column:
    if not hasattr(column.type, "index_type"):
        return np.asarray(column)
    # Missing values of a dictionary would come out as its last entry.
    chunks = [
        np.asarray([*chunk.dictionary.to_pylist(), None], dtype=object)[chunk.indices.fill_null(-1).to_numpy()]
        for chunk in getattr(column, "chunks", [column])
    ]
    return np.concatenate(chunks) if chunks else np.empty(0, dtype=object)


def _array(values: Any) -> Column:
    """Make an array, with None where a mask hides a value."""
    if is_masked(values):
        plain = np.ma.getdata(values).astype(object)
        plain[np.ma.getmaskarray(values)] = None
        return plain
    refuse_masked("a list", values)
    return np.asarray(values)


def _some(names: Sequence[str], most: int = 12) -> str:
    shown = ", ".join(brief(repr(name), 60) for name in names[:most])
    return f"{shown}, ... ({len(names):,} in all)" if len(names) > most else shown


def _table(pairs: Iterable[tuple[str, Any]], source: str, targets: Sequence[str] = ()) -> Table:
    """Check names and lengths and normalise the columns: the one door for every source."""
    pairs = list(pairs)
    names = [name for name, _ in pairs]
    if not names:
        raise DataError(f"{source}: there are no columns")
    if (longest := max(names, key=len)) and len(longest) > MOST_NAME:
        raise DataError(f"{source}: a column's name has {len(longest):,} characters; {MOST_NAME:,} are enough")
    if "" in names:
        raise DataError(
            f"{source}: column {names.index('') + 1} has no name; name it in the header, or leave it out "
            "(a row index, perhaps: pandas.DataFrame.to_csv(index=False))"
        )
    if len(set(names)) < len(names):
        repeated = sorted(name for name, count in Counter(names).items() if count > 1)
        raise DataError(
            f"{source}: column names repeat: {_some(repeated)}; rename them, or add a header line if the file has none"
        )
    if (place := _no_unicode(names)) is not None:
        raise DataError(f"{source}: the name of column {place + 1}, {names[place]!r}, is no Unicode; rename it")
    columns = {name: _column(name, values, source) for name, values in pairs}
    lengths = {name: len(values) for name, values in columns.items()}
    if len(set(lengths.values())) > 1:
        raise DataError(f"{source}: columns differ in length: {brief(str(lengths))}")
    if not lengths[names[0]]:
        raise DataError(
            f"{source} has columns ({brief(', '.join(names[:12]), 60)}) but no rows; at least one is needed"
        )
    if unknown := [name for name in targets if name not in columns]:
        raise DataError(f"{source}: there is no column {unknown[0]!r}{near_miss(unknown[0], columns)}")
    return Table(columns, source, tuple(targets))


def _column(name: str, values: Any, source: str) -> Column:
    """Return values as a numeric, bool or text column."""
    try:
        array = _array(values)
    except Exception as error:  # whatever an object's own way to become an array raises
        raise DataError(f"{source}: column {name!r} is no sequence of numbers or text: {brief(str(error))}") from error
    if array.ndim != 1 or array.dtype.kind not in "biufUOM":
        raise DataError(
            f"{source}: column {name!r} must be numbers, bools or text of shape (n,), "
            f"got {array.dtype} of shape {array.shape}"
        )
    if array.dtype.kind in "biuf":
        return array
    if array.dtype.kind == "M":  # dates and times are read as text
        array = np.where(np.isnat(array), "", array.astype(str))
    present = np.array([not _is_missing(value) for value in array], dtype=bool)
    found = array.astype(object)[present]
    odd = {type(v).__name__ for v in found if isinstance(v, bytes | list | tuple | dict | np.ndarray | complex)}
    if odd:
        raise DataError(
            f"{source}: column {name!r} holds {', '.join(sorted(odd))}, not numbers or text; "
            "bytes must be decoded to text, and lists need a column for each item"
        )
    if present.all() and all(isinstance(value, bool | np.bool_) for value in found):
        return array.astype(bool)
    if all(isinstance(value, Real | Decimal) and not isinstance(value, bool) for value in found):
        if present.all() and all(isinstance(value, int | np.integer) for value in found):
            integers = np.asarray(found.tolist())
            if integers.dtype.kind in "iu":
                return integers
        numbers = np.full(len(array), np.nan)
        try:
            numbers[present] = found.astype(np.float64)
        except OverflowError as error:
            raise DataError(f"{source}: column {name!r} holds a number too large for float64") from error
        return numbers
    texts = [str(value) for value in found]
    try:
        "".join(set(texts)).encode()  # each once: many rows may share one long text
    except UnicodeError:
        row = np.flatnonzero(present)[_no_unicode(texts)]
        raise DataError(f"{source}: column {name!r}, row {row + 1} holds text that is no Unicode; correct it") from None
    text = np.full(len(array), None, dtype=object)
    text[present] = texts
    return text


def _is_missing(value: Any) -> bool:
    # pandas' markers are known by name, so that pandas need not be imported; its NA refuses to be compared.
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return True
    return value == "" if isinstance(value, str) else bool(isinstance(value, Real) and value != value)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
