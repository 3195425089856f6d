"""Fit a preprocessing in one pass over a table that arrives in pieces.

Counts, extremes and categories are exact. Means and variances equal those of all rows up to rounding. Medians, which
fill missing values, are computed from a sample.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gpubp._core.text import brief
from gpubp.data._running_statistics import RunningMoments, RunningSample
from gpubp.data.preprocessing._column_types import (
    MAX_CODED_CLASSES,
    as_category,
    as_numbers,
    missing_values,
    refuse_separators,
    text_among_numbers,
)
from gpubp.data.preprocessing._fitting import (
    Task,
    fit_categories,
    fit_class_target,
    validate_fit_options,
    validate_task,
)
from gpubp.data.preprocessing._records import CategoryColumn, ClassTarget, NumberColumn, NumberTarget, Preprocessing
from gpubp.data.table import Column, Table
from gpubp.errors import DataError

MAX_CLASSES = 10_000
"""Maximum number of distinct values of a target of classes."""


class IncrementalFit(NamedTuple):
    """The preprocessing, the number of rows, and the minimum and maximum of each numeric target."""

    preprocessing: Preprocessing
    n_rows: int
    ranges: dict[str, tuple[float, float]]


def fit_incrementally(
    pieces: Iterable[tuple[Table, NDArray[np.bool_]]],
    target: str | Sequence[str] | None = None,
    *,
    task: Task = "auto",
    impute: bool = False,
    categorical: Sequence[str] = (),
    drop: Sequence[str] = (),
    max_categories: int = 100,
) -> IncrementalFit:
    """Fit the preprocessing of a table that arrives in pieces, each with a mask of its training rows.

    Parameters
    ----------
    pieces : iterable of (Table, (n,) array of bool)
        All with the same columns.
    target, task, impute, categorical, drop, max_categories
        See :func:`gpubp.data.fit_preprocessing`. The result is the same, except that medians come from a sample of
        `SAMPLE_SIZE` values, and means and deviations differ by rounding.

    Returns
    -------
    IncrementalFit

    Raises
    ------
    DataError
        As :func:`gpubp.data.fit_preprocessing`.

    Examples
    --------
    >>> from gpubp.data import table_from_mapping
    >>> table = table_from_mapping({"size": [1.0, 3.0, 8.0], "colour": ["red", "blue", "red"], "y": ["a", "b", "a"]})
    >>> training = np.asarray([True, True, False])
    >>> fitted = fit_incrementally([(table, training)]).preprocessing
    >>> fitted.columns[0].mean, fitted.columns[1].categories, fitted.target.classes
    (2.0, ('blue', 'red'), ('a', 'b'))
    """
    validate_task(task)
    columns: dict[str, _ColumnStatistics] = {}
    targets: dict[str, _TargetStatistics] = {}
    n_rows, source = 0, "the table"
    for table, training in pieces:
        if not targets:
            source = table.source
            names = validate_fit_options(table, target, task, categorical, drop)
            targets = {name: _TargetStatistics(name) for name in names}
            columns = {
                name: _ColumnStatistics(name, impute, max_categories, is_category=name in categorical)
                for name in table.columns
                if name not in targets and name not in drop
            }
            if not columns:
                raise DataError(f"{source} has no columns besides the target {names[0]!r}; features are needed")
        for statistics in (columns, targets):
            for name, of_column in statistics.items():
                of_column.add(table.columns[name], training)
        n_rows += table.n_rows
    missing = {name: column.n_missing for name, column in columns.items() if column.n_missing}
    if missing and not impute:
        counts = ", ".join(f"{count:,} in column {name!r}" for name, count in list(missing.items())[:12])
        raise DataError(
            f"{source} has missing values ({counts}); fill them in, or pass impute=True (--impute) for the median of "
            "numbers and the most frequent category"
        )
    fitted = tuple(column.fit() for column in columns.values())
    preprocessing = Preprocessing(fitted, _fit_target(list(targets.values()), task), tuple(dict.fromkeys(drop)))
    ranges = {name: (of_target.all_rows.minimum, of_target.all_rows.maximum) for name, of_target in targets.items()}
    return IncrementalFit(preprocessing, n_rows, ranges)


class _ColumnStatistics:
    """Statistics of a feature: moments of numbers, or counts of texts."""

    def __init__(self, name: str, impute: bool, max_categories: int, *, is_category: bool) -> None:
        self.name, self.impute, self.max_categories, self.is_category = name, impute, max_categories, is_category
        self.moments, self.sample = RunningMoments(), RunningSample()
        self.all_texts: Counter[str] = Counter()
        self.training_texts: Counter[str] = Counter()
        self.n_missing = 0

    def add(self, values: Column, training: NDArray[np.bool_]) -> None:
        """Add the column's values in more rows, and the mask of training rows."""
        is_missing = missing_values(values)
        self.n_missing += int(is_missing.sum())
        if is_missing.all():
            return
        if self.is_category or values.dtype == object or values.dtype == bool:
            if self.moments.n and not self.is_category:
                raise self._mixed()
            texts = as_category(self.name, values)
            self.all_texts.update(texts[~is_missing].tolist())
            self.training_texts.update(texts[training & ~is_missing].tolist())
            limit = MAX_CLASSES if self._may_be_numbers() else self.max_categories
            if len(self.all_texts) > max(limit, self.max_categories):
                self._fit_categories()  # raises before the texts fill the memory
        else:
            if self.all_texts:
                raise self._mixed()
            numbers = as_numbers(self.name, values)[training & ~is_missing]
            self.moments.add(numbers)
            if self.impute:
                self.sample.add(numbers)

    def fit(self) -> NumberColumn | CategoryColumn:
        """Return the fitted column."""
        if not self.training_texts and not self.moments.n:
            raise DataError(
                f"column {self.name!r} has no values to learn from; drop it: drop=[{self.name!r}] (--drop {self.name})"
            )
        if not self.all_texts:
            fill = float(np.median(self.sample.values)) if self.impute else None
            return NumberColumn(self.name, *self.moments.mean_and_scale(self.name), fill)
        if not self.is_category:
            refuse_separators(self.name, self.all_texts)
            if (text := text_among_numbers(self.all_texts)) is not None:
                raise DataError(
                    f"column {self.name!r}: {brief(repr(text), 60)} is non-numeric text where numbers are needed; "
                    f"correct it, or read categories: categorical=[{self.name!r}] (--categorical {self.name})"
                )
        return self._fit_categories()

    def _may_be_numbers(self) -> bool:
        return not self.is_category and text_among_numbers(self.all_texts) is not None

    def _mixed(self) -> DataError:
        return DataError(
            f"column {self.name!r} holds numbers in some rows and text in others; correct it, or read categories: "
            f"categorical=[{self.name!r}] (--categorical {self.name})"
        )

    def _fit_categories(self) -> CategoryColumn:
        return fit_categories(self.name, self.all_texts, self.training_texts, self.impute, self.max_categories)


class _TargetStatistics:
    """Statistics of a target: its distinct values if they are few, and its moments if it holds numbers."""

    def __init__(self, name: str) -> None:
        self.name, self.training_rows, self.all_rows = name, RunningMoments(), RunningMoments()
        self.distinct: Counter[Any] | None = Counter()
        self.kind = ""
        self.n = 0

    def add(self, values: Column, training: NDArray[np.bool_]) -> None:
        """Add the target's values in more rows, and the mask of training rows."""
        is_missing = missing_values(values)
        if is_missing.any():
            raise DataError(
                f"the target {self.name!r} is missing in row {int(is_missing.argmax()) + 1}; leave such rows out"
            )
        kind = "text" if values.dtype == object else "bool" if values.dtype == bool else "number"
        if self.kind not in ("", kind):
            raise DataError(f"the target {self.name!r} is {self.kind} in some rows and {kind} in others; correct it")
        self.kind, self.n = kind, self.n + len(values)
        if kind == "number":
            numbers = as_numbers(self.name, values)
            self.all_rows.add(numbers)
            self.training_rows.add(numbers[training])
        if self.distinct is not None:
            self.distinct.update(values.tolist())
            if len(self.distinct) > MAX_CLASSES:
                self.distinct = None

    def holds_classes(self) -> bool:
        """Return whether the target holds classes, by the same rules as for a table in memory."""
        if self.kind != "number":
            if self.kind == "text" and self.distinct and (text := text_among_numbers(self.distinct)) is not None:
                raise DataError(
                    f"column {self.name!r}: {brief(repr(text), 60)} is non-numeric text where numbers are needed"
                )
            return True
        few = self.distinct is not None and len(self.distinct) <= MAX_CODED_CLASSES and self.n >= 2 * len(self.distinct)
        return few and all(float(value).is_integer() for value in self.distinct or ())

    def fit_classes(self) -> ClassTarget:
        """Return the fitted target of classes."""
        if self.distinct is None or len(self.distinct) == self.n > MAX_CLASSES:
            raise DataError(
                f"the target {self.name!r} has more than {MAX_CLASSES:,} different values, too many for classes; "
                "choose another target, or pass task='regression'"
            )
        dtype: Any = {"text": object, "bool": bool}.get(self.kind)
        return fit_class_target(self.name, np.asarray(sorted(self.distinct), dtype=dtype))


def _fit_target(targets: list[_TargetStatistics], task: str) -> ClassTarget | NumberTarget:
    if task == "auto" and len(targets) == 1:
        task = "classification" if targets[0].holds_classes() else "regression"
    if task == "classification":
        if len(targets) > 1:
            raise DataError(f"classification takes one target, got {', '.join(repr(one.name) for one in targets)}")
        return targets[0].fit_classes()
    for target in targets:
        if target.kind != "number":
            raise DataError(
                f"the target {target.name!r} is {target.kind} where numbers are needed; correct it, or pass "
                "task='classification'"
            )
    means, scales = zip(*(target.training_rows.mean_and_scale(target.name) for target in targets), strict=True)
    return NumberTarget(tuple(target.name for target in targets), means, scales)
