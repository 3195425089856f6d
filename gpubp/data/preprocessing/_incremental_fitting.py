"""Fit a preprocessing in one pass over a table that arrives in pieces.

Counts, extremes and categories are exact. Means and variances equal those of all rows up to rounding. Medians, which
fill missing values, are computed from a sample.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gpubp._core.text import excerpt
from gpubp.data._running_statistics import RunningMoments, RunningSample
from gpubp.data._text_values import DESCRIPTIONS, Kind, has_leading_zero
from gpubp.data.preprocessing._column_types import (
    are_few_whole_numbers,
    categories_fix,
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
from gpubp.data.preprocessing._schema import as_categories, as_numbers, missing_values
from gpubp.data.table import Table
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
            targets = {name: _TargetStatistics(name, is_category=name in categorical) for name in names}
            columns = {
                name: _ColumnStatistics(name, impute, max_categories, is_category=name in categorical)
                for name in table.columns
                if name not in targets and name not in drop
            }
            if not columns:
                raise DataError(f"{source} has no columns besides the target {names[0]!r}; features are needed")
        for column in columns.values():
            column.add(table, training)
        for one_target in targets.values():
            one_target.add(table, training)
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
    ranges = {name: (statistics.all_rows.minimum, statistics.all_rows.maximum) for name, statistics in targets.items()}
    return IncrementalFit(preprocessing, n_rows, ranges)


class _ColumnStatistics:
    """Statistics of a feature: moments of numbers, and counts of texts.

    A text file whose first rows hold numbers may have text further on, so both are collected for its columns, until the
    column has more than `MAX_CLASSES` different texts.
    """

    def __init__(self, name: str, impute: bool, max_categories: int, *, is_category: bool) -> None:
        self.name, self.impute, self.max_categories, self.is_category = name, impute, max_categories, is_category
        self.moments, self.sample = RunningMoments(), RunningSample()
        self.n_missing_numbers = 0
        self.kind: Kind | None = None  # of the categories
        self.all_texts: Counter[str] = Counter()
        self.training_texts: Counter[str] = Counter()
        self.n_missing_texts = 0
        self.has_too_many_texts = False
        self.has_other_than_numbers = is_category
        self.first_text: DataError | None = None  # names the first row with text that is not a number

    @property
    def n_missing(self) -> int:
        """The number of missing values."""
        return self.n_missing_texts if self.has_other_than_numbers else self.n_missing_numbers

    def add(self, table: Table, training: NDArray[np.bool_]) -> None:
        """Add the column's values in more rows, and the mask of training rows."""
        values, kind = table.columns[self.name], table.kind(self.name)
        is_missing, is_written = missing_values(values), self.name in table.written
        if is_missing.all() and not is_written:
            self.n_missing_numbers += len(values)
            self.n_missing_texts += len(values)
            return
        if kind == "number" and not self.is_category:
            if self.has_other_than_numbers and not is_written:
                raise self._mixed()
            numbers = as_numbers(table, self.name)[training & ~is_missing]
            self.moments.add(numbers)
            if self.impute:
                self.sample.add(numbers)
            self.n_missing_numbers += int(is_missing.sum())
        elif not self.is_category:
            self.has_other_than_numbers = True
            if kind == "text" and self.first_text is None:
                try:
                    as_numbers(table, self.name, categories_fix(self.name))
                except DataError as error:
                    self.first_text = DataError(f"{table.source}: {error}")
            if self.has_too_many_texts and self.first_text is not None:
                raise self.first_text
            if self.moments.n and not self.all_texts:
                raise self._mixed()
        if self.has_other_than_numbers or (is_written and not self.has_too_many_texts):
            self._add_texts(table, training, "text" if is_written else kind)

    def fit(self) -> NumberColumn | CategoryColumn:
        """Return the fitted column."""
        if not (self.training_texts if self.has_other_than_numbers else self.moments.n):
            raise DataError(
                f"column {self.name!r} has no values to learn from; drop it: drop=[{self.name!r}] (--drop {self.name})"
            )
        if not self.has_other_than_numbers:
            fill = float(np.median(self.sample.values)) if self.impute else None
            return NumberColumn(self.name, *self.moments.mean_and_scale(self.name), fill)
        if not self.is_category and self.kind == "text":
            refuse_separators(self.name, self.all_texts)
            if self.first_text is not None and text_among_numbers(self.all_texts) is not None:
                raise self.first_text
        return self._fit_categories()

    def _add_texts(self, table: Table, training: NDArray[np.bool_], kind: Kind) -> None:
        if self.kind not in (None, kind):
            raise self._mixed()
        self.kind = kind
        counts, n_missing = count_texts(table, self.name, kind)
        self.n_missing_texts += n_missing
        self.all_texts.update(counts)
        self.training_texts.update(count_texts(table, self.name, kind, training)[0])
        limit = self.max_categories
        if not self.is_category and (not self.has_other_than_numbers or text_among_numbers(self.all_texts) is not None):
            limit = max(limit, MAX_CLASSES)
        if len(self.all_texts) <= limit:
            return
        if self.has_other_than_numbers:
            self._fit_categories()  # raises before the texts fill the memory
        self.has_too_many_texts = True
        self.all_texts.clear()
        self.training_texts.clear()

    def _mixed(self) -> DataError:
        return DataError(
            f"column {self.name!r} holds numbers in some rows and text in others; {categories_fix(self.name)}"
        )

    def _fit_categories(self) -> CategoryColumn:
        kind = self.kind or "text"
        return fit_categories(self.name, kind, self.all_texts, self.training_texts, self.impute, self.max_categories)


class _TargetStatistics:
    """Statistics of a target: its distinct values if they are few, and its moments if it holds numbers."""

    def __init__(self, name: str, *, is_category: bool) -> None:
        self.name, self.is_category = name, is_category
        self.training_rows, self.all_rows = RunningMoments(), RunningMoments()
        self.distinct: set[Any] | None = set()
        self.texts: Counter[str] | None = Counter()  # of a text file
        self.kind: Kind | None = None
        self.n = 0
        self.first_missing_text: DataError | None = None  # an error if the target holds numbers, a class if text

    def add(self, table: Table, training: NDArray[np.bool_]) -> None:
        """Add the target's values in more rows, and the mask of training rows."""
        kind, is_written = table.kind(self.name), self.name in table.written
        as_text = is_written and (self.is_category or self.kind == "text")
        values = table.texts(self.name) if as_text else table.columns[self.name]
        is_missing = missing_values(values)
        if is_missing.any():
            is_certain = missing_values(table.texts(self.name)) if is_written else is_missing
            if is_certain.any():
                raise self._missing(table, is_certain)
            self.first_missing_text = self.first_missing_text or self._missing(table, is_missing)
        kind = "text" if as_text else kind
        if kind == "text" and self.kind == "number" and self.texts:  # numbers so far, in a text file
            self.kind, self.distinct = "text", set(self.texts)
        if self.kind not in (None, kind):
            raise DataError(
                f"the target {self.name!r} holds {DESCRIPTIONS[self.kind]} in some rows and {DESCRIPTIONS[kind]} in "
                "others; correct it"
            )
        self.kind, self.n = kind, self.n + len(values)
        if kind == "number":
            numbers = as_numbers(table, self.name)
            self.all_rows.add(numbers[~is_missing])
            self.training_rows.add(numbers[training & ~is_missing])
        if self.distinct is not None:
            self.distinct.update(values[~is_missing].tolist())
            self.distinct = None if len(self.distinct) > MAX_CLASSES else self.distinct
        if self.texts is not None and (is_written or kind == "text"):
            self.texts.update(count_texts(table, self.name, "text")[0])
            self.texts = None if len(self.texts) > MAX_CLASSES else self.texts
        if kind == "number" and self.texts is None:  # too many to become text
            self.refuse_missing()

    def refuse_missing(self) -> None:
        """Refuse a target of numbers with a text such as ``NA``, which is a class only among text."""
        if self.kind == "number" and self.first_missing_text is not None:
            raise self.first_missing_text

    def _missing(self, table: Table, is_missing: NDArray[np.bool_]) -> DataError:
        where = table.describe_row(int(is_missing.argmax()))
        return DataError(f"{table.source}: the target {self.name!r} is missing in {where}; leave such rows out")

    def holds_classes(self) -> bool:
        """Return whether the target holds classes, by the same rules as for a table in memory."""
        if self.is_category:
            return True
        if self.kind != "number":
            if self.kind == "text" and self.texts:
                refuse_separators(self.name, self.texts)
                if (text := text_among_numbers(self.texts)) is not None:
                    raise DataError(
                        f"column {self.name!r}: {excerpt(repr(text), 60)} is non-numeric text where numbers are needed"
                    )
            return True
        return self.distinct is not None and are_few_whole_numbers(self.distinct, self.n)

    def fit_classes(self) -> ClassTarget:
        """Return the fitted target of classes."""
        distinct: Collection[Any] | None = self.distinct
        if self.kind == "number" and self.texts and any(map(has_leading_zero, self.texts)):
            distinct, self.kind = self.texts, "text"
        if distinct is None or len(distinct) == self.n > MAX_CLASSES:
            raise DataError(
                f"the target {self.name!r} has more than {MAX_CLASSES:,} different values, too many for classes; "
                "choose another target, or pass task='regression'"
            )
        dtype = None if self.kind == "number" else bool if self.kind == "bool" else object
        return fit_class_target(self.name, np.asarray(sorted(distinct), dtype=dtype))


def count_texts(
    table: Table, name: str, kind: Kind, rows: NDArray[np.bool_] | None = None
) -> tuple[dict[Any, int], int]:
    """Return how often each text of a column occurs, in the forms of a kind, and how many values are missing."""
    counts: dict[Any, int]
    if name in table.written and kind == "text":
        texts = table.written[name] if rows is None else table.written[name].filter(rows)
        counts = {entry["values"].as_py(): entry["counts"].as_py() for entry in texts.value_counts()}
    else:
        values = as_categories(table, name, kind)
        counts = Counter((values if rows is None else values[rows]).tolist())
    n_missing = counts.pop(None, 0) + counts.pop("", 0)
    return counts, n_missing


def _fit_target(targets: list[_TargetStatistics], task: str) -> ClassTarget | NumberTarget:
    for target in targets:
        target.refuse_missing()
    if task == "auto" and len(targets) == 1:
        task = "classification" if targets[0].holds_classes() else "regression"
    if task == "classification":
        if len(targets) > 1:
            raise DataError(f"classification takes one target, got {', '.join(repr(one.name) for one in targets)}")
        return targets[0].fit_classes()
    for target in targets:
        if target.kind != "number":
            raise DataError(
                f"the target {target.name!r} holds {DESCRIPTIONS[target.kind or 'text']} where numbers are needed; "
                "correct it, or pass task='classification'"
            )
    means, scales = zip(*(target.training_rows.mean_and_scale(target.name) for target in targets), strict=True)
    return NumberTarget(tuple(target.name for target in targets), means, scales)
