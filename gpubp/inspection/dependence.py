"""Partial dependence: the mean prediction if all rows had the same value of a column."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gpubp._typing import Array
from gpubp.data.preprocessing import (
    CategoryColumn,
    DateColumn,
    FeatureColumn,
    NumberColumn,
    missing_values,
    read_categories,
    read_dates,
    read_numbers,
)
from gpubp.data.table import Column, Table
from gpubp.inspection.replaced_inputs import Predict, Replacement, replaced_predictions

TAIL = 0.05
"""Share of the rows below the first number of a grid, and above the last."""


@dataclass(frozen=True, eq=False)
class PartialDependence:
    """The mean prediction if all rows had the same value of a column.

    Attributes
    ----------
    column : str
    values : (g,) array
        Numbers, dates (datetime64), hours of times without a date, or categories (text).
    names : tuple of str
        What is predicted: ``"target=class"``, the probability of each class, or the targets of numbers.
    average : (g, j) array
        The mean prediction for each value.
    individual : (n, g, j) array, optional
        The predictions of each row.

    Examples
    --------
    >>> dependence = PartialDependence("area", np.asarray([30.0, 60.0]), ("rent",), np.asarray([[300.0], [600.0]]))
    >>> dependence.is_categorical
    False
    """

    column: str
    values: Column
    names: tuple[str, ...]
    average: NDArray[np.float64]
    individual: NDArray[np.float64] | None = None

    @property
    def is_categorical(self) -> bool:
        """Whether the values have no order."""
        return self.values.dtype == object


class Grid(NamedTuple):
    """Values of a column ``(g,)``, and for each of them a row of the table that has it."""

    values: Column
    rows: NDArray[np.intp]


def grid_of(table: Table, column: FeatureColumn, missing: Sequence[str] = (), *, resolution: int = 50) -> Grid:
    """Choose values of a column: quantiles of numbers and dates, and the most frequent categories.

    If there are at most `resolution` values, they are all chosen, and else numbers between the quantiles 0.05 and 0.95.
    A grid is empty if no value of the column is known, or it is one of free text.

    Examples
    --------
    >>> from gpubp.data import table_from_mapping
    >>> grid_of(table_from_mapping({"a": [3.0, None, 1.0, 3.0]}), NumberColumn("a", 0.0, 1.0, 0.0)).values
    array([1., 3.])
    """
    if isinstance(column, CategoryColumn):
        texts = read_categories(table, column.name, column.kind, column.known, missing).values
        known = np.flatnonzero(~missing_values(texts))
        distinct, first, counts = np.unique(texts[known].astype(str), return_index=True, return_counts=True)
        frequent = np.sort(np.argsort(-counts, kind="stable")[:resolution])
        if column.kind == "number":
            frequent = frequent[np.argsort(distinct[frequent].astype(np.float64), kind="stable")]
        return Grid(distinct[frequent].astype(object), known[first[frequent]])
    if isinstance(column, NumberColumn):
        values = read_numbers(table, column.name, column.number_format, missing).values
    elif isinstance(column, DateColumn):
        values = read_dates(table, column.name, column.date_format, missing).values
    else:
        return Grid(np.empty(0), np.empty(0, dtype=np.intp))
    distinct, rows = grid_of_numbers(values, resolution=resolution)
    if isinstance(column, DateColumn):
        distinct = distinct / 3600.0 if column.is_time else distinct.round().astype("datetime64[s]")
    return Grid(distinct, rows)


def grid_of_numbers(values: NDArray[np.floating | np.integer], *, resolution: int = 50) -> Grid:
    """Choose quantiles of numbers, or all of them if there are few: see :func:`grid_of`.

    Examples
    --------
    >>> grid_of_numbers(np.asarray([3.0, np.nan, 1.0, 3.0]))
    Grid(values=array([1., 3.]), rows=array([2, 0]))
    """
    known = np.flatnonzero(~np.isnan(values))
    distinct, first = np.unique(values[known], return_index=True)
    if len(distinct) > resolution:
        ordered = known[np.argsort(values[known], kind="stable")]
        places = np.linspace(TAIL, 1.0 - TAIL, resolution) * (len(ordered) - 1)
        known = ordered[places.round().astype(np.intp)]
        distinct, first = np.unique(values[known], return_index=True)
    return Grid(distinct, known[first])


def mean_predictions(
    predict: Predict,
    X: Array,
    inputs: slice,
    rows: NDArray[np.intp],
    *,
    sample_weight: NDArray[np.float64] | None = None,
    individual: bool = False,
    progress: Callable[[int, int], object] | None = None,
) -> tuple[NDArray[np.float64], NDArray[np.float64] | None]:
    """Predict all rows with the inputs of one column replaced by those of each of some rows (Friedman 2001).

    Parameters
    ----------
    predict : callable
        Predictions ``(n, j)`` for inputs ``(n, i)``.
    X : (n, i) array
    inputs : slice
        The inputs of the column.
    rows : (g,) array of int
        A row for each value of the column.
    sample_weight : (n,) array, optional
        The weight of each row in the mean.
    individual : bool
        Whether to keep the predictions of each row (Goldstein et al. 2015).
    progress : callable, optional
        Called with the number of values that are done, and of all.

    Returns
    -------
    average : (g, j) array
    individual : (n, g, j) array or None

    Examples
    --------
    >>> X = np.asarray([[1.0, 10.0], [3.0, 20.0]])
    >>> mean_predictions(lambda X: X.sum(axis=1, keepdims=True), X, slice(0, 1), np.asarray([0, 1]))[0].tolist()
    [[16.0], [18.0]]
    """
    averages, kept = [], []
    replacements = [Replacement(inputs, row) for row in rows.tolist()]
    for index, predictions in enumerate(replaced_predictions(predict, X, replacements)):
        averages.append(np.average(predictions, axis=0, weights=sample_weight))
        if individual:
            kept.append(predictions)
        if progress is not None:
            progress(index + 1, len(replacements))
    return np.stack(averages), np.stack(kept, axis=1) if individual else None
