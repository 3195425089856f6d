"""Tables: named columns on the host, built from mappings, data frames, arrays or built-in data sets.

A column is a numeric array (missing: NaN), a bool array, or an object array of ``str`` with None where the text is
missing. Dates, and bools with missing values, are such text, and the table knows their kind. A CSV or TSV file does not
say whether ``01`` is a number or a text, so a table from one has both: the numbers in ``columns``, the text in
``written``. Text of a file is converted to objects when it is first used.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gpubp._core.names import near_miss
from gpubp._core.text import excerpt
from gpubp.backends.inputs import accept_array
from gpubp.data._arrow import arrow_columns
from gpubp.data._column_values import first_invalid_text, is_categorical, normalize_column, unmasked_array
from gpubp.data._limits import MAX_NAME_LENGTH
from gpubp.data._text_values import Kind
from gpubp.data._written_texts import Columns, WrittenTexts
from gpubp.data.datasets import Dataset
from gpubp.errors import DataError

Column = NDArray[Any]

NO_HEADER = " (not counting the header)"
"""Follows row numbers in messages about text files."""


@dataclass(frozen=True, eq=False)
class Table:
    """Named columns of equal length.

    Attributes
    ----------
    columns : mapping of str to numpy.ndarray
        Columns in the order of the file, each of shape ``(n_rows,)``.
    source : str
        The origin of the columns, for messages.
    targets : tuple of str
        Columns that the source marks as targets, as ``.npy`` and ``.npz`` files and built-in sets do.
    kinds : dict of str to str
        The kinds of columns whose arrays do not show them: ``"bool"``, ``"datetime"`` and ``"datetime_utc"``.
    written : mapping of str to WrittenTexts
        The text of the columns of a text file, also of those that are numbers.
    has_header : bool
        Whether the first line of the source is a header, which row numbers do not count.
    first_row : int
        The number of rows before the first one, if the table is a part of its source.
    value_kinds : dict of str to numpy.ndarray
        The kind of each value, in columns whose values are of several kinds; `columns` has their text.
    selected : array of int, optional
        The index of each row in the table that the rows were selected from, if they were; for messages.
    notes : tuple of str
        What the reader decided about the file, in short sentences.
    categorical : frozenset of str
        Columns that a data frame states to be categories.
    decimal, thousands : str
        How a text file writes numbers; `columns` has numbers that were read so, texts are as the file spells them.
    durations : frozenset of str
        Columns that a frame holds as durations; they are numbers of seconds.

    Examples
    --------
    >>> table = table_from_mapping({"area": [30.0, 50.0], "town": ["Bonn", "Rome"]})
    >>> table.n_rows, list(table.columns)
    (2, ['area', 'town'])
    """

    columns: Mapping[str, Column]
    source: str = "the table"
    targets: tuple[str, ...] = ()
    kinds: Mapping[str, Kind] = field(default_factory=dict)
    written: Mapping[str, WrittenTexts] = field(default_factory=dict)
    has_header: bool = False
    first_row: int = 0
    value_kinds: Mapping[str, NDArray[np.object_]] = field(default_factory=dict)
    selected: NDArray[np.intp] | None = None
    notes: tuple[str, ...] = ()
    decimal: str = "."
    thousands: str = ""
    categorical: frozenset[str] = frozenset()
    durations: frozenset[str] = frozenset()

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        name = next(iter(self.columns), None)
        return 0 if name is None else len(self.written[name] if name in self.written else self.columns[name])

    def kind(self, name: str) -> Kind:
        """Return what a column holds; in a column of a text file, numbers if every text is a number or missing."""
        if name in self.kinds:
            return self.kinds[name]
        letter = self.columns[name].dtype.kind
        return "text" if letter == "O" else "bool" if letter == "b" else "number"

    def texts(self, name: str) -> Column:
        """Return a column of text, or the text of a column that a text file writes as numbers; None where empty."""
        is_number = name in self.written and self.kind(name) == "number"
        return self.written[name].to_numpy() if is_number else self.columns[name]

    def describe_row(self, index: int) -> str:
        """Return the number of a row in the source for messages, from 1."""
        place = index if self.selected is None else int(self.selected[index])
        return f"row {self.first_row + place + 1:,}{NO_HEADER if self.has_header else ''}"

    def select(self, rows: ArrayLike) -> "Table":
        """Return the table of the given rows, by index or by mask; messages still count the rows of the source."""
        index = np.arange(self.n_rows)[np.asarray(rows) if np.size(rows) else []]
        columns = Columns(self.columns).take(index)
        written = {name: text.take(index) for name, text in self.written.items()}
        selected = index if self.selected is None else self.selected[index]
        value_kinds = {name: kinds[index] for name, kinds in self.value_kinds.items()}
        return replace(self, columns=columns, written=written, value_kinds=value_kinds, selected=selected)

    def renamed(self, new: Mapping[str, str]) -> "Table":
        """Return the table with other names of its columns, given for each of the old ones."""
        columns = Columns(self.columns).renamed(new)
        kinds = {new[name]: kind for name, kind in self.kinds.items()}
        written = {new[name]: texts for name, texts in self.written.items()}
        value_kinds = {new[name]: kinds_of_values for name, kinds_of_values in self.value_kinds.items()}
        return replace(self, columns=columns, kinds=kinds, written=written, value_kinds=value_kinds)

    def with_columns(self, other: "Table") -> "Table":
        """Return the table with the columns of another one, of as many rows and not from a text file."""
        columns = Columns(self.columns).joined(Columns(other.columns))
        kinds, value_kinds = {**self.kinds, **other.kinds}, {**self.value_kinds, **other.value_kinds}
        return replace(self, columns=columns, kinds=kinds, value_kinds=value_kinds)

    def split_by_kind(self, name: str) -> Iterator[tuple[NDArray[np.intp], "Table"]]:
        """Return, for each kind of value in a column of several kinds, its rows and the column in these rows."""
        value_kinds = self.value_kinds[name]
        for kind in dict.fromkeys(value_kinds.tolist()):
            rows = np.flatnonzero(value_kinds == kind)
            column = replace(self, columns={name: self.columns[name]}, kinds={name: kind}, written={}, value_kinds={})
            yield rows, column.select(rows)


class RawTable(NamedTuple):
    """Columns as read, before :func:`build_table` checks and normalises them."""

    columns: list[tuple[str, Any]]
    source: str
    targets: Sequence[str] = ()
    written: Mapping[str, WrittenTexts] = {}
    has_header: bool = False
    first_row: int = 0
    notes: tuple[str, ...] = ()
    decimal: str = "."
    thousands: str = ""


def table_from_mapping(mapping: Any, *, source: str = "the table", targets: Sequence[str] = ()) -> Table:
    """Build a table from a dict of columns, from a data frame of any library, or from a pyarrow table.

    Parameters
    ----------
    mapping : mapping, data frame or pyarrow table
        Column names to sequences of numbers, bools, dates, durations or text; None, NaN, empty text and masked values
        are missing.
    source : str
        The origin of the data, for messages.
    targets : sequence of str
        Columns to mark as targets.

    Returns
    -------
    Table
        The columns, their types normalised.

    Raises
    ------
    DataError
        If `mapping` is of another type, a column is not numbers, bools or text in one dimension, names repeat or are
        empty, lengths differ, or there are no rows.

    Examples
    --------
    >>> table_from_mapping({"age": [31, 42], "town": ["Bonn", None]}).columns["town"]
    array(['Bonn', None], dtype=object)
    """
    if type(mapping).__name__ == "LazyFrame":
        raise DataError("a LazyFrame has no rows yet; pass frame.collect()")
    if hasattr(mapping, "__dask_graph__"):
        mapping = accept_array("table", mapping)
    if hasattr(mapping, "keys"):
        names = list(mapping.keys())
    elif hasattr(mapping, "columns") and hasattr(mapping, "column_names"):
        return build_table(RawTable(arrow_columns(mapping), source, targets))
    elif hasattr(mapping, "columns") and hasattr(mapping, "__getitem__"):
        names = list(mapping.columns)
    elif hasattr(mapping, "__arrow_c_stream__"):  # any other data frame
        import pyarrow

        return build_table(RawTable(arrow_columns(pyarrow.table(mapping)), source, targets))
    else:
        raise DataError(
            "a table must be a file's path, a set's name, a dict of columns, a data frame or a pyarrow table, "
            f"got {type(mapping).__name__}"
        )
    if len(set(names)) < len(names):  # a frame may repeat a name, and indexing would return both columns
        return build_table(RawTable([(str(name), ()) for name in names], source, targets))
    return build_table(RawTable([(str(name), mapping[name]) for name in names], source, targets))


def table_from_arrays(
    X: ArrayLike,
    y: ArrayLike | None = None,
    names: Sequence[str] | None = None,
    target: str = "target",
    *,
    source: str = "the arrays",
) -> Table:
    """Build a table from a matrix of inputs and, optionally, its targets.

    Parameters
    ----------
    X : array_like
        Shape ``(n, i)``.
    y : array_like, optional
        Shape ``(n,)`` for one column named `target`, or ``(n, j)`` for ``target_0``, ``target_1``, ...
    names : sequence of str, optional
        Names of the columns of `X`; by default ``x0``, ``x1``, ...
    target : str
        Name of the target.
    source : str
        The origin of the data, for messages.

    Returns
    -------
    Table
        The columns of `X`, then those of `y`, which are marked as targets.

    Raises
    ------
    DataError
        If the shapes do not fit, or as in :func:`table_from_mapping`.

    Examples
    --------
    >>> list(table_from_arrays([[1.0, 2.0]], [3.0]).columns)
    ['x0', 'x1', 'target']
    """
    arrays = unmasked_array(X), None if y is None else unmasked_array(y)
    return build_table(raw_table_from_arrays(*arrays, names, target, source))


def table_from_dataset(dataset: Dataset) -> Table:
    """Return a built-in data set as a table; its classes are text, or integers if they are written so.

    Examples
    --------
    >>> from gpubp import load_dataset
    >>> table_from_dataset(load_dataset("xor")).columns["target"]
    array([0., 1., 1., 0.])
    """
    targets: Any = dataset.targets
    if dataset.classes is not None:
        is_integer = all(name.isdecimal() for name in dataset.classes)
        targets = (dataset.labels.astype(np.int64) if is_integer else dataset.labels)[:, None]
    columns = [
        *zip(dataset.feature_names, dataset.X.T, strict=True),
        *zip(dataset.target_names, targets.T, strict=True),
    ]
    return build_table(RawTable(columns, f"the set {dataset.name}", dataset.target_names))


def raw_table_from_arrays(
    x: Column, y: Column | None, names: Sequence[str] | None = None, target: str = "target", source: str = "the arrays"
) -> RawTable:
    """Name the columns of arrays: see :func:`table_from_arrays`."""
    if x.ndim != 2:
        raise DataError(f"{source}: x must have shape (samples, inputs), got {x.shape}; reshape it to two dimensions")
    if not len(x):  # before names are made: an empty array may have any number of columns
        raise DataError(f"{source} has no rows; at least one is needed")
    names = [f"x{k}" for k in range(x.shape[1])] if names is None else list(names)
    if len(names) != x.shape[1]:
        raise DataError(f"{source}: got {len(names)} names for {x.shape[1]} columns of x")
    if y is None:
        return RawTable(list(zip(names, x.T, strict=True)), source)
    if y.ndim not in (1, 2) or len(y) != len(x):
        raise DataError(f"{source}: y must have shape ({len(x)},) or ({len(x)}, j) to fit x {x.shape}, got {y.shape}")
    targets = [target] if y.ndim == 1 else [f"{target}_{k}" for k in range(y.shape[1])]
    return RawTable([*zip(names, x.T, strict=True), *zip(targets, np.atleast_2d(y.T), strict=True)], source, targets)


def build_table(raw: RawTable) -> Table:
    """Check names and lengths and normalise the columns; every source goes through here."""
    source, names = raw.source, [name for name, _ in raw.columns]
    _check_names(names, source)
    texts = {name: values for name, values in raw.columns if isinstance(values, WrittenTexts)}
    normalized = {name: normalize_column(name, values, source) for name, values in raw.columns if name not in texts}
    arrays = {name: texts[name] if name in texts else normalized[name].values for name in names}
    lengths = {name: len(values) for name, values in arrays.items()}
    if len(set(lengths.values())) > 1:
        raise DataError(f"{source}: columns differ in length: {excerpt(str(lengths))}")
    if not lengths[names[0]]:
        raise DataError(
            f"{source} has columns ({excerpt(', '.join(names[:12]), 60)}) but no rows; at least one is needed"
        )
    if unknown := [name for name in raw.targets if name not in arrays]:
        raise DataError(f"{source}: there is no column {unknown[0]!r}{near_miss(unknown[0], arrays)}")
    kinds: dict[str, Kind] = dict.fromkeys(texts, "text")
    kinds |= {name: column.kind for name, column in normalized.items() if column.kind is not None}
    facts = raw._asdict() | {"columns": Columns(arrays), "targets": tuple(raw.targets)}
    return Table(
        **facts,
        kinds=kinds,
        value_kinds={name: one.value_kinds for name, one in normalized.items() if one.value_kinds is not None},
        categorical=frozenset(name for name, values in raw.columns if is_categorical(values)),
        durations=frozenset(name for name, column in normalized.items() if column.are_durations),
    )


def _check_names(names: list[str], source: str) -> None:
    if not names:
        raise DataError(f"{source}: there are no columns")
    if (longest := max(names, key=len)) and len(longest) > MAX_NAME_LENGTH:
        raise DataError(f"{source}: a column's name has {len(longest):,} characters; {MAX_NAME_LENGTH:,} are enough")
    if "" in names:
        raise DataError(
            f"{source}: column {names.index('') + 1} has no name; name it in the header, or leave it out "
            "(a row index, perhaps: pandas.DataFrame.to_csv(index=False))"
        )
    if len(set(names)) < len(names):
        repeated = sorted(name for name, count in Counter(names).items() if count > 1)
        shown = ", ".join(excerpt(repr(name), 60) for name in repeated[:12])
        shown += f", ... ({len(repeated):,} in all)" if len(repeated) > 12 else ""
        raise DataError(
            f"{source}: column names repeat: {shown}; rename them, or add a header line if the file has none"
        )
    if (place := first_invalid_text(names)) is not None:
        raise DataError(f"{source}: the name of column {place + 1}, {names[place]!r}, is not valid Unicode; rename it")
