"""Apply a fitted preprocessing: tables to inputs and targets, outputs to predictions."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from gpubp._core.names import near_miss
from gpubp._typing import Array
from gpubp.backends.backend import Backend
from gpubp.data.preprocessing._columns import ColumnArrays, columns_of
from gpubp.data.preprocessing._decisions import quoted_list, require_column
from gpubp.data.preprocessing._expansion import inputs_of
from gpubp.data.preprocessing._records import (
    ClassTarget,
    DateColumn,
    NumberColumn,
    Preprocessing,
    WordsColumn,
)
from gpubp.data.preprocessing._suspicious_numbers import unit_factor
from gpubp.data.preprocessing._values import (
    ReadColumn,
    missing_values,
    read_categories,
    read_dates,
    read_numbers,
    shown_value,
)
from gpubp.data.table import Column, Table
from gpubp.errors import DataError


class Encoded(NamedTuple):
    """Inputs of shape ``(n, i)``, and what did not fit: how many values of each column, and the first of them."""

    X: Array
    issues: "tuple[Issue, ...]"


Problem = Literal["absent", "missing", "unreadable", "unseen", "other", "outside", "unit"]


class Issue(NamedTuple):
    """Values of a column that were filled or that training did not see.

    `problem` is "absent" (the whole column), "missing" (in a column that had no missing values), "unreadable", "unseen"
    (a category), "other" (a category that training saw once or not at all) or "outside" (the range of the training
    rows) or "unit" (the numbers seem to be in another unit). `example` describes the first such value, suggests another
    name of an absent column, or says how large the numbers are.
    """

    column: str
    problem: Problem
    n: int
    example: str


def apply(
    preprocessing: Preprocessing, table: Table, *, strict: bool = False, dtype: DTypeLike = np.float64
) -> NDArray[np.floating]:
    """Convert the feature columns of a table, matched by name, to a matrix.

    Values are read by the types in the preprocessing alone (see ``_values.py`` for the rules). Missing and unreadable
    values are filled as in training, and unseen categories are "other".

    Parameters
    ----------
    preprocessing : Preprocessing
        A fitted preprocessing.
    table : Table
        The features in any order; other columns may be present.
    strict : bool
        Raise if a value is unreadable, is an unseen category, or is missing in a column without missing values in
        training.
    dtype : dtype
        The type of the matrix. Values are computed in float64, and rounded to it.

    Returns
    -------
    numpy.ndarray
        Of shape ``(n, i)``.

    Raises
    ------
    DataError
        If columns are missing, or with `strict` values do not fit.

    Examples
    --------
    >>> from gpubp.data import table_from_mapping
    >>> from gpubp.data.preprocessing import NumberColumn, NumberTarget
    >>> target = NumberTarget(("y",), (0.0,), (1.0,), (0.0,), (9.0,))
    >>> preprocessing = Preprocessing((NumberColumn("a", 2.0, 4.0, 2.0),), target)
    >>> apply(preprocessing, table_from_mapping({"a": [2.0, 10.0, None]}))
    array([[0.],
           [2.],
           [0.]])
    """
    X: NDArray[np.floating] = inputs_of(preprocessing, complete_columns(preprocessing, table, strict=strict), dtype)
    return X


def complete_columns(preprocessing: Preprocessing, table: Table, *, strict: bool = False) -> ColumnArrays:
    """Read what the inputs of a table follow from, and raise the errors of :func:`apply`."""
    if absent := _absent(preprocessing, table):
        raise _absent_error(preprocessing, table, absent)
    columns, issues = read_columns(preprocessing, table)
    issues = tuple(issue for issue in issues if issue.problem not in ("outside", "other", "unit"))
    if strict and issues:
        shown = "; ".join(
            f"{issue.n:,} {issue.problem} in column {issue.column!r}, first {issue.example}" for issue in issues
        )
        raise DataError(
            f"{table.source} has values that do not fit: {shown}; correct them, or leave out strict (--strict)"
        )
    return columns


def encode(
    preprocessing: Preprocessing, table: Table, dtype: DTypeLike = np.float64, backend: Backend | None = None
) -> Encoded:
    """Convert the feature columns of a table to a matrix, and count what did not fit; see :func:`apply`.

    A column that is absent is filled as if all of its values were missing; a table that lacks more than half of them
    is an error. On `backend`, if it is a GPU, the matrix of many rows stays there.
    """
    columns, issues = read_columns(preprocessing, table)
    return Encoded(inputs_of(preprocessing, columns, dtype, backend), issues)


class TableColumns(NamedTuple):
    """The numbers and codes of a table, and what did not fit."""

    columns: ColumnArrays
    issues: tuple[Issue, ...]


def read_columns(preprocessing: Preprocessing, table: Table) -> TableColumns:
    """Read what the inputs of a table follow from, and count what did not fit; see :func:`encode`."""
    absent = _absent(preprocessing, table)
    if 2 * len(absent) > len(preprocessing.columns):
        raise _absent_error(preprocessing, table, absent)
    issues = [Issue(name, "absent", table.n_rows, near_miss(name, table.columns)) for name in absent]
    if absent:
        empty = np.full(table.n_rows, None, dtype=object)
        table = replace(table, columns={**table.columns, **dict.fromkeys(absent, empty)})
    values = []
    for column in preprocessing.columns:
        if isinstance(column, NumberColumn):
            read = read_numbers(table, column.name, column.number_format, preprocessing.missing)
            expects_missing = column.indicator
        elif isinstance(column, DateColumn):
            read = read_dates(table, column.name, column.date_format, preprocessing.missing)
            expects_missing = column.indicator
        elif isinstance(column, WordsColumn):
            read = read_categories(table, column.name, "text", (), preprocessing.missing)
            expects_missing = True
        else:
            known = column.known
            read = read_categories(table, column.name, column.kind, known, preprocessing.missing)
            unseen = np.array([text is not None and text not in known for text in read.values], dtype=bool)
            expects_missing = column.missing
            issues += _issues(table, column.name, "other" if column.other else "unseen", unseen)
        values.append(read.values)
        if isinstance(column, NumberColumn | DateColumn):
            outside = (read.values < column.low) | (read.values > column.high)
            issues += _issues(table, column.name, "outside", outside)
        if isinstance(column, NumberColumn) and (factor := unit_factor(column, read.values)) is not None:
            n = int((~np.isnan(read.values)).sum())
            times = f"{factor:g} times as large" if factor > 1.0 else f"{1.0 / factor:g} times as small"
            issues.append(Issue(column.name, "unit", n, f"about {times} as in training"))
        issues += _issues(table, column.name, "unreadable", read.unreadable)
        if not expects_missing and column.name not in absent:
            issues += _issues(table, column.name, "missing", missing_values(read.values) & ~read.unreadable)
    return TableColumns(columns_of(preprocessing.columns, values, table.n_rows), tuple(issues))


def has_target(preprocessing: Preprocessing, table: Table) -> NDArray[np.bool_]:
    """Return a mask of the rows of a table whose targets are known: not missing, readable, and of a known class."""
    if isinstance(preprocessing.target, ClassTarget):
        return known_classes(preprocessing, table).places >= 0
    is_known: NDArray[np.bool_] = np.all(
        [~missing_values(values) for values in _read_target(preprocessing, table)], axis=0
    )
    return is_known


MISSING_CLASS, UNSEEN_CLASS = -2, -1


class KnownClasses(NamedTuple):
    """The index of the class of each row, ``(n,)``, MISSING_CLASS or UNSEEN_CLASS, and the distinct unseen ones.

    `of_unseen` is the index in `unseen` of each row with UNSEEN_CLASS.
    """

    places: NDArray[np.intp]
    unseen: tuple[str, ...]
    of_unseen: NDArray[np.intp]


def known_classes(preprocessing: Preprocessing, table: Table) -> KnownClasses:
    """Read the target of a table as classes; one that training did not see is no missing value."""
    target = preprocessing.target
    assert isinstance(target, ClassTarget)
    labels, unreadable = _read_classes(preprocessing, table, target)
    places: dict[str | None, int] = {text: place for place, text in enumerate(target.classes)}
    places[None] = MISSING_CLASS
    found = np.array([places.get(text, UNSEEN_CLASS) for text in labels.tolist()], dtype=np.intp)
    found[unreadable] = UNSEEN_CLASS
    is_unseen = found == UNSEEN_CLASS
    texts = list(map(str, np.where(unreadable, table.texts(target.name), labels)[is_unseen].tolist()))
    unseen = {text: place for place, text in enumerate(dict.fromkeys(texts))}
    return KnownClasses(found, tuple(unseen), np.array([unseen[text] for text in texts], dtype=np.intp))


def encode_target(preprocessing: Preprocessing, table: Table) -> NDArray[np.float64]:
    """Convert the target columns of a table to targets of a network.

    Parameters
    ----------
    preprocessing : Preprocessing
        A fitted preprocessing.
    table : Table
        A table with the target columns.

    Returns
    -------
    numpy.ndarray
        float64 of shape ``(n, j)``: one-hot classes, or standardised numbers.

    Raises
    ------
    DataError
        If a target is absent, or its values are missing, unreadable or of an unknown class.

    Examples
    --------
    >>> from gpubp.data import table_from_mapping
    >>> from gpubp.data.preprocessing import ClassTarget, NumberColumn
    >>> preprocessing = Preprocessing((NumberColumn("a", 0.0, 1.0, 0.0),), ClassTarget("y", ("no", "yes")))
    >>> encode_target(preprocessing, table_from_mapping({"y": ["yes", "no"]}))
    array([[0., 1.],
           [1., 0.]])
    """
    target = preprocessing.target
    for name in preprocessing.target_names:
        require_column(table, name)
    is_known = has_target(preprocessing, table)
    if not is_known.all():
        row = int(is_known.argmin())
        values = ", ".join(shown_value(table, name, row) for name in preprocessing.target_names)
        expected = quoted_list(target.classes) if isinstance(target, ClassTarget) else "a number"
        raise DataError(
            f"the target {quoted_list(preprocessing.target_names)} is missing or not known in {(~is_known).sum():,} "
            f"rows (first {table.describe_row(row)}: {values}); expected {expected}"
        )
    columns = _read_target(preprocessing, table)
    if isinstance(target, ClassTarget):
        places = {text: place for place, text in enumerate(target.classes)}
        encoded: NDArray[np.float64] = np.eye(len(places))[[places[text] for text in columns[0]]]
    else:
        encoded = (np.stack(columns, axis=1) - np.array(target.means)) / np.array(target.scales)
    return encoded


def decode_target(preprocessing: Preprocessing, outputs: ArrayLike) -> dict[str, Column]:
    """Convert targets of a network to the user's units: labels of the original type, or numbers.

    The inverse of :func:`encode_target`; :func:`gpubp.tabular.decode_outputs` is for outputs of a network.

    Parameters
    ----------
    preprocessing : Preprocessing
        A fitted preprocessing.
    outputs : array_like
        Outputs of the network, shape ``(n, j)``.

    Returns
    -------
    dict of str to numpy.ndarray
        One array of shape ``(n,)`` per target column.

    Raises
    ------
    DataError
        If the shape does not fit or an output is not finite.

    Examples
    --------
    >>> from gpubp.data.preprocessing import ClassTarget, NumberColumn
    >>> preprocessing = Preprocessing((NumberColumn("a", 0.0, 1.0, 0.0),), ClassTarget("y", ("7", "8"), "int"))
    >>> decode_target(preprocessing, [[0.2, 0.8]])
    {'y': array([8])}
    """
    checked, target = _checked_outputs(preprocessing, outputs), preprocessing.target
    if isinstance(target, ClassTarget):
        return {target.name: class_values(target)[checked.argmax(axis=1)]}
    with np.errstate(over="ignore", invalid="ignore"):
        numbers = checked * np.array(target.scales) + np.array(target.means)
    if not np.isfinite(numbers).all():
        raise DataError(
            f"predictions of {quoted_list(target.names)} are beyond the range of numbers; train the model again"
        )
    return dict(zip(target.names, numbers.T, strict=True))


def decode_predictions(preprocessing: Preprocessing, outputs: ArrayLike) -> dict[str, Column]:
    """Convert outputs to predictions in the user's units: as :func:`decode_target`, but within their limits.

    Parameters
    ----------
    preprocessing : Preprocessing
        A fitted preprocessing.
    outputs : array_like
        Outputs of the network, shape ``(n, j)``.

    Returns
    -------
    dict of str to numpy.ndarray
        One array of shape ``(n,)`` per target column. Numbers are kept within a twentieth of the range of the training
        targets around this range, and do not fall below 0 if none of these does.

    Raises
    ------
    DataError
        If the shape does not fit or an output is not finite.

    Examples
    --------
    >>> from gpubp.data.preprocessing import NumberColumn, NumberTarget
    >>> target = NumberTarget(("y",), (2.0,), (1.0,), lows=(0.0,), highs=(5.0,))
    >>> preprocessing = Preprocessing((NumberColumn("a", 0.0, 1.0, 0.0),), target)
    >>> decode_predictions(preprocessing, [[1.0], [9.0]])["y"].tolist()
    [3.0, 5.0]
    """
    decoded, target = decode_target(preprocessing, outputs), preprocessing.target
    if isinstance(target, ClassTarget):
        return decoded
    ranges = zip(decoded.items(), target.lows, target.highs, strict=True)
    return {name: np.clip(numbers, low, high) for (name, numbers), low, high in ranges}


def decode_probabilities(preprocessing: Preprocessing, outputs: ArrayLike) -> dict[str, NDArray[np.float64]]:
    """Return the output of each class under the name ``"target=class"``.

    Parameters
    ----------
    preprocessing : Preprocessing
        A preprocessing fitted for classification.
    outputs : array_like
        Outputs of the network, shape ``(n, j)``.

    Returns
    -------
    dict of str to numpy.ndarray
        One array of shape ``(n,)`` per class.

    Raises
    ------
    DataError
        If the target is numeric, the shape does not fit, or an output is not finite.

    Examples
    --------
    >>> from gpubp.data.preprocessing import ClassTarget, NumberColumn
    >>> preprocessing = Preprocessing((NumberColumn("a", 0.0, 1.0, 0.0),), ClassTarget("y", ("no", "yes")))
    >>> decode_probabilities(preprocessing, [[0.2, 0.8]])
    {'y=no': array([0.2]), 'y=yes': array([0.8])}
    """
    target = preprocessing.target
    if not isinstance(target, ClassTarget):
        raise DataError(f"the target {quoted_list(target.names)} is numeric and has no class probabilities")
    names = [f"{target.name}={label}" for label in target.classes]
    return dict(zip(names, _checked_outputs(preprocessing, outputs).T, strict=True))


def class_values(target: ClassTarget) -> Column:
    """Return the classes in the type that they have in the user's table."""
    if target.label_type == "str":
        return np.array(target.classes, dtype=object)
    parsers: dict[str, Callable[[str], Any]] = {"int": int, "float": float, "bool": lambda label: label == "True"}
    return np.array([parsers[target.label_type](label) for label in target.classes])


def _read_classes(preprocessing: Preprocessing, table: Table, target: ClassTarget) -> ReadColumn:
    return read_categories(table, target.name, target.kind, target.classes, preprocessing.target_missing)


def _read_target(preprocessing: Preprocessing, table: Table) -> list[Column]:
    target, missing = preprocessing.target, preprocessing.target_missing
    if isinstance(target, ClassTarget):
        return [_read_classes(preprocessing, table, target).values]
    return [read_numbers(table, name, target.number_format(name), missing).values for name in target.names]


def _absent(preprocessing: Preprocessing, table: Table) -> list[str]:
    return [column.name for column in preprocessing.columns if column.name not in table.columns]


def _absent_error(preprocessing: Preprocessing, table: Table, absent: list[str]) -> DataError:
    of_all = f"{len(absent)} of the {len(preprocessing.columns)} columns that the model was trained on"
    return DataError(
        f"{table.source} lacks {of_all}: "
        f"{quoted_list(absent)}{near_miss(absent[0], table.columns)}; it has {quoted_list(table.columns)}. "
        "Rename its columns, or add those that are not known as empty ones"
    )


def _issues(table: Table, name: str, problem: Problem, mask: NDArray[np.bool_]) -> list[Issue]:
    if not mask.any():
        return []
    row = int(mask.argmax())
    value = "" if problem == "missing" else f": {shown_value(table, name, row)}"
    return [Issue(name, problem, int(mask.sum()), f"{table.describe_row(row)}{value}")]


def _checked_outputs(preprocessing: Preprocessing, outputs: ArrayLike) -> NDArray[np.float64]:
    checked, width = np.asarray(outputs, dtype=np.float64), preprocessing.n_outputs
    if checked.ndim != 2 or checked.shape[1] != width:
        raise DataError(f"outputs must have shape (samples, {width}), got {checked.shape}")
    if not np.isfinite(checked).all():
        raise DataError("outputs are not finite: the network diverged or its input was out of range")
    return checked
