"""Tables: named columns read from files, arrays or named sets, on the host.

A column is one of three things: a numeric array (missing: NaN), a bool array, or an object array of ``str`` with
None where the text is missing.  Text in CSV and TSV files stays as it is written, so that ``True`` there is text;
a bool column with missing values becomes the text ``"True"`` and ``"False"``.
"""

import importlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from numbers import Real
from os import PathLike, fspath
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gpubp.data.datasets import DATASETS, Dataset, load_dataset
from gpubp.errors import DataError
from gpubp.registry import near_miss

Column = NDArray[Any]


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
        Column names to sequences of numbers, bools or text; None, NaN and empty text are missing.
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
    return _table(*_from_arrays(np.asarray(x), None if y is None else np.asarray(y), names, target, source))


def dataset_table(dataset: Dataset) -> Table:
    """Return a named set as a table, its classes as text, or as integers where they are written so.

    Examples
    --------
    >>> dataset_table(load_dataset("xor")).columns["target"]
    array([0., 1., 1., 0.])
    """
    targets: Any = dataset.d
    if dataset.classes is not None:
        is_integer = all(name.isdecimal() for name in dataset.classes)
        targets = (dataset.labels.astype(np.int64) if is_integer else dataset.labels)[:, None]
    pairs = [*zip(dataset.feature_names, dataset.x.T, strict=True), *zip(dataset.target_names, targets.T, strict=True)]
    return _table(pairs, f"the set {dataset.name}", dataset.target_names)


def read_table(path_or_name: str | PathLike[str], *, separator: str | None = None) -> Table:
    """Read a table from a file, by its suffix, or take a named set where no such file exists.

    Parameters
    ----------
    path_or_name : str or path
        A ``.csv`` or ``.tsv`` file with a header (also ``.gz``), a ``.parquet`` file, a ``.npy`` file (a matrix whose
        last column is the target), a ``.npz`` file (``x`` of shape ``(n, i)`` and, optionally, ``y`` of shape
        ``(n,)`` or ``(n, j)``; give cases to predict as ``x`` alone), or one of `gpubp.data.DATASETS`.
    separator : str, optional
        What stands between the fields of a ``.csv`` or ``.tsv`` file; a comma or a tab without it.

    Returns
    -------
    Table
        The columns in the order of the file.

    Raises
    ------
    DataError
        If the file is not there, cannot be read or holds no table; the message names the path and the mend.

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
        with path.open("rb") as file:
            start = file.read(2)
    except FileNotFoundError:
        raise DataError(
            f"no such file: {path}{near_miss(name, DATASETS)}; give the path of a file ({', '.join(SUFFIXES)}) "
            f"or one of the named sets {', '.join(DATASETS)}"
        ) from None
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from error
    reader = next((reader for suffix, reader in _READERS.items() if path.name.lower().endswith(suffix)), None)
    if reader is None:
        raise DataError(f"{path}: cannot tell the format by its name; supported are {', '.join(SUFFIXES)}")
    if not start:
        raise DataError(f"{path} is empty (0 bytes); write the data again")
    if start in (b"\xff\xfe", b"\xfe\xff"):
        raise DataError(f"{path} is written in UTF-16; save it as UTF-8")
    try:
        contents = reader.read(path) if separator is None else _read_text(path, separator)
    except UnicodeDecodeError:
        raise DataError(f"{path} is not UTF-8 text, as its header shows; {_UTF8_MEND}") from None
    except DataError:
        raise
    except Exception as error:  # the readers raise many kinds on broken files; each means that this file is bad
        reason = re.sub(r"Row #(\d+)", r"row \1 (the header is row 1)", " ".join(str(error).split()))[:200].rstrip(".")
        if "pickle" in reason:  # NumPy's advice is to load it all the same
            reason = "it is no NumPy file, or holds pickled Python objects, which are never loaded"
        raise DataError(f"{path} cannot be read: {reason}. {reader.mend}") from error
    return _table(*contents)


class _Contents(NamedTuple):
    """What a reader hands to `_table`."""

    pairs: list[tuple[str, Any]]
    source: str
    targets: Sequence[str] = ()


class _Reader(NamedTuple):
    read: Any
    mend: str


def _from_arrays(x: Column, y: Column | None, names: Sequence[str] | None, target: str, source: str) -> _Contents:
    if x.ndim != 2:
        raise DataError(f"{source}: x must have shape (cases, inputs), got {x.shape}; reshape it to two dimensions")
    names = [f"x{k}" for k in range(x.shape[1])] if names is None else list(names)
    if len(names) != x.shape[1]:
        raise DataError(f"{source}: got {len(names)} names for {x.shape[1]} columns of x")
    if y is None:
        return _Contents(list(zip(names, x.T, strict=True)), source)
    if y.ndim not in (1, 2) or len(y) != len(x):
        raise DataError(f"{source}: y must have shape ({len(x)},) or ({len(x)}, j) to fit x {x.shape}, got {y.shape}")
    targets = [target] if y.ndim == 1 else [f"{target}_{k}" for k in range(y.shape[1])]
    return _Contents([*zip(names, x.T, strict=True), *zip(targets, np.atleast_2d(y.T), strict=True)], source, targets)


def _read_text(path: Path, delimiter: str) -> _Contents:
    csv = _pyarrow("csv", path)
    table = csv.read_csv(
        path,
        # One thread is still fast, and only then does the parser know the number of a ragged row.
        read_options=csv.ReadOptions(use_threads=False),
        parse_options=csv.ParseOptions(delimiter=delimiter, newlines_in_values=True),
        convert_options=csv.ConvertOptions(true_values=[], false_values=[]),  # text stays as it is written
    )
    names = [name.strip() for name in table.column_names]
    for name, field in zip(names, table.schema, strict=True):
        if str(field.type) == "binary":  # what Arrow makes of other encodings
            raise DataError(f"{path} is not UTF-8 text, as column {name!r} shows; {_UTF8_MEND}")
    columns = [_to_numpy(column) for column in table.columns]
    last = [value for values in columns for value in values[-1:] if isinstance(value, str)]
    if any("\n" in value for value in last) and _quotes(path) % 2:  # Arrow itself takes the rest as one field
        raise DataError(f"{path}: a quotation mark is not closed, and its field runs to the end of the file; close it")
    if len(names) == 1 and (mark := next((mark for mark in ";\t,|" if mark in names[0] and mark != delimiter), None)):
        give = f"give it: --separator {mark!r}, or read_table(path, separator={mark!r})"
        mend = "name the file .tsv" if mark == "\t" else give
        raise DataError(f"{path}: one column named {names[0]!r}: the fields seem to be separated by {mark!r}; {mend}")
    if any("." in name and _is_number(name) for name in names):
        raise DataError(f"{path}: the first line seems to be data ({', '.join(names)[:60]}); give it a header line")
    return _Contents(list(zip(names, columns, strict=True)), str(path))


def _quotes(path: Path) -> int:
    """Count the quotation marks in a text file, compressed or not."""
    with _pyarrow("lib", path).input_stream(path) as stream:
        return sum(block.count(b'"') for block in iter(lambda: stream.read(2**20), b""))


def _read_parquet(path: Path) -> _Contents:
    with _pyarrow("parquet", path).ParquetFile(path) as file:
        table = file.read()
    return _Contents(_from_arrow(table), str(path))


def _from_arrow(table: Any) -> list[tuple[str, Column]]:
    # pandas stores the row index of a filtered frame as a column; it is no feature.
    return [
        (name, _to_numpy(column))
        for name, column in zip(table.column_names, table.columns, strict=True)
        if not name.startswith("__index_level_")
    ]


def _read_numpy(path: Path) -> _Contents:
    with path.open("rb") as file:  # np.load would leave a broken archive open
        loaded = np.load(file, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            if loaded.ndim != 2 or not loaded.shape[1]:
                raise DataError(
                    f"{path}: expected a matrix whose last column is the target, got shape {loaded.shape}; "
                    "save inputs and targets as a .npz file with x and y"
                )
            return _from_arrays(loaded[:, :-1], loaded[:, -1], None, "target", str(path))
        x = next((loaded[name] for name in ("x", "X", "data") if name in loaded), None)
        y = next((loaded[name] for name in ("y", "d", "target") if name in loaded), None)
        if x is None:
            raise DataError(f"{path}: expected arrays x and y, found {', '.join(loaded) or 'none'}")
    return _from_arrays(x, y, None, "target", str(path))


_CSV_MEND = "Each row needs as many fields as the header, and the text must be UTF-8"
_UTF8_MEND = (
    "save it as UTF-8 ('CSV UTF-8' in a spreadsheet), or convert it: iconv -f LATIN1 -t UTF-8 old.csv > new.csv"
)
_READERS = {
    ".csv": _Reader(partial(_read_text, delimiter=","), _CSV_MEND),
    ".csv.gz": _Reader(partial(_read_text, delimiter=","), _CSV_MEND),
    ".tsv": _Reader(partial(_read_text, delimiter="\t"), _CSV_MEND),
    ".tsv.gz": _Reader(partial(_read_text, delimiter="\t"), _CSV_MEND),
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
    # A dictionary's missing values would come out as its last entry.
    if hasattr(column.type, "index_type"):
        column = column.cast(column.type.value_type)
    return np.asarray(column)


def _table(pairs: Iterable[tuple[str, Any]], source: str, targets: Sequence[str] = ()) -> Table:
    """Check names and lengths and normalise the columns: the one door for every source."""
    pairs = list(pairs)
    names = [name for name, _ in pairs]
    if not names:
        raise DataError(f"{source}: there are no columns")
    if "" in names:
        raise DataError(
            f"{source}: column {names.index('') + 1} has no name; name it in the header, or leave it out "
            "(a row index, perhaps: pandas.DataFrame.to_csv(index=False))"
        )
    if repeated := sorted({name for name in names if names.count(name) > 1}) if len(set(names)) < len(names) else []:
        raise DataError(
            f"{source}: column names repeat: {', '.join(map(repr, repeated))}; rename them, "
            "or add a header line if the file has none"
        )
    columns = {name: _column(name, values, source) for name, values in pairs}
    lengths = {name: len(values) for name, values in columns.items()}
    if len(set(lengths.values())) > 1:
        raise DataError(f"{source}: columns differ in length: {lengths}")
    if not lengths[names[0]]:
        raise DataError(f"{source} has columns ({', '.join(names)[:60]}) but no rows; at least one is needed")
    if unknown := [name for name in targets if name not in columns]:
        raise DataError(f"{source}: there is no column {unknown[0]!r}{near_miss(unknown[0], columns)}")
    return Table(columns, source, tuple(targets))


def _column(name: str, values: Any, source: str) -> Column:
    """Return values as a numeric, bool or text column."""
    try:
        array = np.asarray(values)
    except (TypeError, ValueError) as error:
        raise DataError(f"{source}: column {name!r} is no sequence of numbers or text: {error}") from error
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
    text = np.full(len(array), None, dtype=object)
    text[present] = [str(value) for value in found]
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
