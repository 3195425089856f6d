"""What the estimators for tables accept as X and y, as tables: frames, files, arrays, and targets given apart."""

from collections.abc import Mapping, Sequence
from os import PathLike
from typing import Any, NamedTuple

import numpy as np
from scipy.sparse import issparse
from sklearn.utils import assert_all_finite, check_array, check_consistent_length, column_or_1d
from sklearn.utils.multiclass import check_classification_targets

from gpubp._core.text import excerpt, shortened
from gpubp._core.user_warnings import warn
from gpubp.backends.inputs import accept_on_host, as_labels, as_numbers
from gpubp.data.preprocessing import (
    UNSEEN_CLASS,
    ClassTarget,
    ColumnType,
    NumberTarget,
    Preprocessing,
    ReadColumn,
    TargetDecision,
    class_values,
    has_target,
    known_classes,
    missing_values,
    read_numbers,
    require_column,
    shown_value,
)
from gpubp.data.table import Table, table_from_arrays, table_from_mapping
from gpubp.errors import DataError, TableWarning
from gpubp.tabular.predict import unseen_classes_in_words
from gpubp.tabular.prepare import as_table, checked_weights


class Features(NamedTuple):
    """X as a table.

    Attributes
    ----------
    table : Table
    is_array : bool
        Whether X is an array, whose columns are named ``x0``, ``x1``, ...
    has_names : bool
        Whether the columns have names of text.
    """

    table: Table
    is_array: bool
    has_names: bool

    @property
    def types(self) -> dict[str, ColumnType]:
        """The types of an array's columns: numbers of an array stay numbers, whatever their values are."""
        if not self.is_array:
            return {}
        return {name: "number" for name, values in self.table.columns.items() if values.dtype.kind in "iuf"}


class LabelledTable(NamedTuple):
    """A table with the target columns, and whether these were given apart from X."""

    table: Table
    target: tuple[str, ...]
    is_apart: bool


class ValidationRows(NamedTuple):
    """Given validation rows, and their weights if they have any."""

    labelled: LabelledTable
    weight: Any


def read_features(X: Any, estimator: Any, *, least_rows: int = 1, names: Sequence[str] | None = None) -> Features:
    """Convert X to a table; `names` are those of an array's columns."""
    has_columns = (isinstance(X, Mapping) and not issparse(X)) or hasattr(X, "columns")  # some sparse arrays are dicts
    if has_columns or isinstance(X, str | PathLike | Table):
        given: Any = ()
        if not isinstance(X, str | PathLike | Table):
            given = X if isinstance(X, Mapping) else getattr(X, "column_names", X.columns)  # the former in pyarrow
        return Features(as_table(X), is_array=False, has_names=all(isinstance(name, str) for name in given))
    array = X if isinstance(X, np.ma.MaskedArray) else _matrix(X, estimator, least_rows)
    if names is not None and array.ndim == 2 and array.shape[1] != len(names):
        raise DataError(
            f"X has {array.shape[1]} features, but {type(estimator).__name__} is expecting {len(names)} features as "
            "input"
        )
    return Features(table_from_arrays(array, names=names, source="X"), is_array=True, has_names=False)


def read_new_features(X: Any, estimator: Any, names: Sequence[str], *, has_names: bool) -> Table:
    """Convert X to a table with the columns of `names`: by name, in any order, or by position where X has no names."""
    features = read_features(X, estimator, names=names)
    kind = type(estimator).__name__
    if features.is_array:
        if has_names:
            warn(f"X does not have valid feature names, but {kind} was fitted with feature names")
        return features.table
    table = features.table
    if has_names or set(names) <= set(table.columns):
        return table
    if len(table.columns) != len(names):
        raise DataError(f"X has {len(table.columns)} features, but {kind} is expecting {len(names)} features as input")
    warn(f"X has feature names, but {kind} was fitted without feature names")
    return table.renamed(dict(zip(table.columns, names, strict=True)))


def target_columns(y: Any, table: Table, *, is_classifier: bool) -> tuple[str, ...] | None:
    """Return the columns that y names; None if y is an array of targets.

    Texts of which there are as many as rows, or of which some repeat, are labels for a classifier.
    """
    if isinstance(y, str):
        return (y,)
    is_names = isinstance(y, list | tuple) and len(y) > 0 and all(isinstance(name, str) for name in y)
    if not is_names or (is_classifier and (len(y) == table.n_rows or len(set(y)) < len(y))):
        return None
    return tuple(y) if set(y) <= set(table.columns) else None


def add_target(
    table: Table, y: Any, estimator: Any, *, is_classifier: bool, names: Sequence[str] | None = None
) -> LabelledTable:
    """Find the target columns in a table, or add them; `names` are those of added columns."""
    if y is None:
        raise DataError(
            f"This {type(estimator).__name__} estimator requires y to be passed, but the target y is None; pass an "
            f"array, or the name of a column of X: {shortened([excerpt(repr(name), 60) for name in table.columns])}"
        )
    if (named := target_columns(y, table, is_classifier=is_classifier)) is not None:
        return LabelledTable(table, named, is_apart=False)
    if table.targets:
        raise DataError(
            f"{table.source} has the target {', '.join(map(repr, table.targets))}; pass its name as y, or leave it out"
        )
    array = _target_array(y, is_classifier=is_classifier)
    check_consistent_length(range(table.n_rows), array)
    columns_of_y = [array] if array.ndim == 1 else list(array.T)
    names = _names_of(y, len(columns_of_y), table) if names is None else names
    if len(names) != len(columns_of_y):
        raise DataError(f"y has {len(columns_of_y)} columns, expected {len(names)}: {', '.join(map(repr, names))}")
    targets = table_from_mapping(dict(zip(names, columns_of_y, strict=True)), source="y")
    refuse_missing(targets)
    if is_classifier:
        _check_labels(targets)
    return LabelledTable(table.with_columns(targets), tuple(names), is_apart=True)


def refuse_missing(targets: Table) -> None:
    """Raise a DataError if one of the targets that are given apart from X is missing."""
    for values in targets.columns.values():
        if (is_missing := missing_values(values)).any():
            raise DataError(
                f"Input y contains NaN: the target of row {int(is_missing.argmax()) + 1:,} is missing, or is an empty "
                "text; leave such rows out, or pass the name of a column of X as y"
            )


def _matrix(X: Any, estimator: Any, least_rows: int) -> np.ndarray:
    array = accept_on_host("X", X)
    if isinstance(array, list | tuple) and any(
        isinstance(value, str) for row in array if isinstance(row, list | tuple) for value in row
    ):
        array = np.asarray(array, dtype=object)  # numbers beside text stay numbers
    if isinstance(array, np.ndarray) and array.dtype.kind == "c":
        array = as_numbers("X", array)
    matrix: np.ndarray = check_array(
        array, dtype=None, ensure_all_finite=False, ensure_min_samples=least_rows, estimator=estimator, input_name="X"
    )
    return matrix


def _target_array(y: Any, *, is_classifier: bool) -> np.ndarray:
    """Return labels, ``(n,)``, or finite numbers or texts of numbers, ``(n,)`` or ``(n, j)``."""
    array = accept_on_host("y", y)
    has_text = isinstance(array, list | tuple) and any(isinstance(value, str) for value in array)
    array = np.asarray(array, dtype=object if has_text else None)
    if is_classifier:
        return np.asarray(column_or_1d(as_labels("y", array), warn=True))
    numbers = array.astype(object) if has_texts_of_numbers(array) else as_numbers("y", array)
    if numbers.ndim != 2 or numbers.shape[1] == 1:
        numbers = column_or_1d(numbers, warn=True)
    if numbers.dtype != object:
        assert_all_finite(numbers, input_name="y")
    return numbers


def has_texts_of_numbers(array: np.ndarray) -> bool:
    """Return whether an array holds texts that NumPy does not convert to numbers, but that may be numbers."""
    if array.dtype.kind != "O":
        return array.dtype.kind in "UT"
    if not any(isinstance(value, str) for value in array.flat):
        return False
    try:
        array.astype(np.float64)
    except (TypeError, ValueError):
        return True
    return False


def refuse_missing_targets(labelled: LabelledTable, decision: TargetDecision) -> None:
    """Raise a DataError if a target that was given apart from X is missing, or is a text that is no number."""
    if not labelled.is_apart or decision.is_classes:
        return
    for name, column in zip(decision.names, decision.read(labelled.table), strict=True):
        _refuse_unread(column, labelled.table, name)


def numbers_of(y: Any, target: NumberTarget) -> Any:
    """Return targets with their texts read as numbers, as those of the training were; others as they are."""
    array = np.asarray(accept_on_host("y", y))
    if not has_texts_of_numbers(array):
        return as_numbers("y", array)
    columns_of_y = [array.ravel()] if array.ndim == 1 or len(target.names) == 1 else list(array.T)
    table = table_from_mapping({name: list(one) for name, one in zip(target.names, columns_of_y, strict=True)})
    columns = []
    for name in target.names:
        column = read_numbers(table, name, target.number_format(name))
        _refuse_unread(column, table, name)
        columns.append(column.values)
    return columns[0] if len(columns) == 1 else np.stack(columns, axis=1)


def _refuse_unread(column: ReadColumn, table: Table, name: str) -> None:
    if (is_missing := missing_values(column.values)).any():
        row = int(is_missing.argmax())
        raise DataError(
            f"y must hold a number for each row, and {shown_value(table, name, row)} in row {row + 1:,} is none; leave "
            "such rows out, or pass the name of a column of X as y"
        )


def _names_of(y: Any, n: int, table: Table) -> list[str]:
    """Return the names of a series or of a frame's columns, else target, target_0, ..., that no column of X has."""
    given: list[Any] = list(y.columns) if hasattr(y, "columns") else [getattr(y, "name", None)]
    if len(given) != n or not all(isinstance(name, str) and name for name in given):
        given = ["target"] if n == 1 else [f"target_{k}" for k in range(n)]
    return [_unused(name, table) for name in given]


def _unused(name: str, table: Table) -> str:
    while name in table.columns:
        name += "_"
    return name


def _check_labels(targets: Table) -> None:
    """Refuse numbers that are not whole, and labels of several types."""
    (values,) = targets.columns.values()
    if targets.value_kinds:
        raise DataError("Unknown label type: y holds labels of several types; make all of them numbers, or all text")
    if values.dtype != object:
        check_classification_targets(values)


def known_rows(
    table: Table, preprocessing: Preprocessing, names: Sequence[str], sample_weight: Any
) -> tuple[Table, np.ndarray, np.ndarray | None]:
    """Return the rows that have a target, their targets and weights; a class that training did not see is None."""
    for name in names:
        require_column(table, name)
    target = preprocessing.target
    known = has_target(preprocessing, table)
    weights = checked_weights("sample_weight", sample_weight, table.n_rows)
    if not (known if weights is None else known & (weights > 0.0)).any():
        counted_rows = "row" if weights is None else "row of weight above 0"
        raise DataError(
            f"{table.source} has no {counted_rows} whose target {', '.join(map(repr, names))} is known to the "
            "model, so there is nothing to score"
        )
    if isinstance(target, ClassTarget):
        places = known_classes(preprocessing, table).places
        known |= places == UNSEEN_CLASS
        if n_unseen := int((places == UNSEEN_CLASS).sum()):
            warn(f"{table.source}: {unseen_classes_in_words(n_unseen)}", TableWarning)
        labels = np.array([*class_values(target).tolist(), None], dtype=object)  # None at the place of UNSEEN_CLASS
        table, true = table.select(known), labels[places[known]]
    else:
        table = table.select(known)
        missing = preprocessing.target_missing
        columns = [read_numbers(table, name, target.number_format(name), missing) for name in names]
        true = np.stack([column.values for column in columns], axis=1)
    return table, true, None if weights is None else weights[known]
