"""Apply a fitted preprocessing: tables to inputs and targets, outputs to predictions."""

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gpubp._core.names import near_miss
from gpubp._core.text import excerpt
from gpubp.data.preprocessing._column_types import quoted_list, require_column
from gpubp.data.preprocessing._records import CategoryColumn, ClassTarget, Preprocessing
from gpubp.data.preprocessing._schema import as_categories, as_numbers, missing_values
from gpubp.data.table import Column, Table
from gpubp.errors import DataError


def apply(
    preprocessing: Preprocessing, table: Table, *, unknown: Literal["error", "zeros"] = "error"
) -> NDArray[np.float64]:
    """Convert the feature columns of a table, matched by name, to a matrix.

    Values are read by the kinds in ``preprocessing.schema`` alone (see ``_schema.py`` for the rules).

    Parameters
    ----------
    preprocessing : Preprocessing
        A fitted preprocessing.
    table : Table
        The features in any order; targets and dropped columns may be present.
    unknown : {"error", "zeros"}
        How to treat a category that is not in the training data: raise an error, or set all its columns to 0.

    Returns
    -------
    numpy.ndarray
        float64 of shape ``(n, i)``.

    Raises
    ------
    DataError
        If columns are missing or unknown, or values are missing, infinite, unknown categories, or not of the kind that
        the column had in training.

    Examples
    --------
    >>> from gpubp.data import table_from_mapping
    >>> from gpubp.data.preprocessing import NumberColumn, NumberTarget
    >>> preprocessing = Preprocessing((NumberColumn("a", 2.0, 4.0),), NumberTarget(("y",), (0.0,), (1.0,)))
    >>> apply(preprocessing, table_from_mapping({"a": [2.0, 10.0]}))
    array([[0.],
           [2.]])
    """
    if unknown not in ("error", "zeros"):
        raise DataError(f"unknown must be 'error' or 'zeros', got {unknown!r}")
    _check_columns(preprocessing, table)
    blocks = []
    for column in preprocessing.columns:
        name = column.name
        if isinstance(column, CategoryColumn):
            texts = _filled(table, name, as_categories(table, name, column.kind, column.categories), column.fill)
            blocks.append(_one_hot(table, name, texts, column.categories, zeros=unknown == "zeros"))
        else:
            numbers = _filled(table, name, as_numbers(table, name), column.fill)
            blocks.append(_standardised(table, name, numbers, column.mean, column.scale)[:, None])
    return np.concatenate(blocks, axis=1)


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
        If a target is absent, or its values are missing, infinite or of an unknown class.

    Examples
    --------
    >>> from gpubp.data import table_from_mapping
    >>> from gpubp.data.preprocessing import ClassTarget, NumberColumn
    >>> preprocessing = Preprocessing((NumberColumn("a", 0.0, 1.0),), ClassTarget("y", ("no", "yes")))
    >>> encode_target(preprocessing, table_from_mapping({"y": ["yes", "no"]}))
    array([[0., 1.],
           [1., 0.]])
    """
    target = preprocessing.target
    for name in preprocessing.target_names:
        require_column(table, name)
    if isinstance(target, ClassTarget):
        name = target.name
        texts = _filled(table, name, as_categories(table, name, target.kind, target.classes), None)
        return _one_hot(table, name, texts, target.classes)
    blocks = [
        _standardised(table, name, _filled(table, name, as_numbers(table, name), None), mean, scale)
        for name, mean, scale in zip(target.names, target.means, target.scales, strict=True)
    ]
    return np.stack(blocks, axis=1)


def decode_target(preprocessing: Preprocessing, outputs: ArrayLike) -> dict[str, Column]:
    """Convert outputs to predictions in the user's units: labels of the original type, or numbers.

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
    >>> preprocessing = Preprocessing((NumberColumn("a", 0.0, 1.0),), ClassTarget("y", ("7", "8"), "int"))
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
    >>> preprocessing = Preprocessing((NumberColumn("a", 0.0, 1.0),), ClassTarget("y", ("no", "yes")))
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


def _check_columns(preprocessing: Preprocessing, table: Table) -> None:
    expected = [column.name for column in preprocessing.columns]
    known = {*expected, *preprocessing.target_names, *preprocessing.dropped}
    missing = [name for name in expected if name not in table.columns]
    extra = [name for name in table.columns if name not in known]
    if missing or extra:
        raise DataError(
            f"{table.source} does not have the {len(expected)} feature columns of the training data"
            + (f"; missing: {quoted_list(missing)}" if missing else "")
            + (f"; extra, to be removed: {quoted_list(extra)}" if extra else "")
        )


def _filled(table: Table, name: str, values: Column, fill: str | float | None) -> Column:
    missing = missing_values(values)
    if missing.any() and fill is None:
        where = table.describe_row(int(missing.argmax()))
        raise DataError(
            f"column {name!r} has {missing.sum()} missing values (first in {where}) and nothing to "
            "fill them with; fill them in, or train with impute=True (--impute) if it is a feature"
        )
    return np.where(missing, np.array(fill, dtype=values.dtype), values) if missing.any() else values


def _standardised(
    table: Table, name: str, numbers: NDArray[np.float64], mean: float, scale: float
) -> NDArray[np.float64]:
    with np.errstate(over="ignore"):
        scaled: NDArray[np.float64] = (numbers - mean) / scale
    if not np.isfinite(scaled).all():
        row = int((~np.isfinite(scaled)).argmax())
        raise DataError(
            f"column {name!r}, {table.describe_row(row)}: {numbers[row]:g} is too far from the mean {mean:g} to scale"
        )
    return scaled


def _one_hot(
    table: Table, name: str, texts: NDArray[np.object_], known: tuple[str, ...], *, zeros: bool = False
) -> NDArray[np.float64]:
    places = {text: k for k, text in enumerate(known)}
    columns = np.array([places.get(text, -1) for text in texts], dtype=np.intp)
    is_unknown = columns < 0
    if is_unknown.any() and not zeros:
        row = int(is_unknown.argmax())
        short = [category for category in known if len(category) <= 60] if len(texts[row]) <= 60 else []
        raise DataError(
            f"column {name!r}, {table.describe_row(row)}: {excerpt(repr(texts[row]), 60)}"
            f"{near_miss(texts[row], short)} does not occur in the training data, only "
            f"{quoted_list(known)}; correct it or remove the row"
        )
    encoded = np.zeros((len(texts), len(known)))
    encoded[np.flatnonzero(~is_unknown), columns[~is_unknown]] = 1.0
    return encoded


def _checked_outputs(preprocessing: Preprocessing, outputs: ArrayLike) -> NDArray[np.float64]:
    checked, width = np.asarray(outputs, dtype=np.float64), preprocessing.n_outputs
    if checked.ndim != 2 or checked.shape[1] != width:
        raise DataError(f"outputs must have shape (samples, {width}), got {checked.shape}")
    if not np.isfinite(checked).all():
        raise DataError("outputs are not finite: the network diverged or its input was out of range")
    return checked
