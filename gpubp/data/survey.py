"""Preprocessing fitted in one pass over a table that comes in pieces.

Counts, extremes and categories are exact. Means and variances of pieces are merged by the formula of Chan, Golub and
LeVeque (1979), so that they are those of all rows up to rounding. Medians, which fill gaps, are those of a sample.
"""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gpubp._core.text import brief
from gpubp.data.preprocessing import (
    MAX_CODED_CLASSES,
    CategoryColumn,
    ClassTarget,
    NumberColumn,
    NumberTarget,
    Preprocessing,
    as_category,
    as_numbers,
    category_column,
    class_target,
    missing_values,
    refuse_separated,
    require_column,
    spoilt_numbers,
    target_names,
)
from gpubp.data.readers import Column, Table
from gpubp.errors import DataError

SAMPLE = 1 << 16
"""Of so many values, drawn uniformly, the median is taken where there are more."""

MOST_CLASSES = 10_000
"""Distinct values of a target that are remembered; one that has more has no classes."""


class Survey(NamedTuple):
    """What a pass found: the preprocessing, how many rows there are, and from where to where targets of numbers go."""

    preprocessing: Preprocessing
    n_rows: int
    ranges: dict[str, tuple[float, float]]


class Moments:
    """Count, mean, sum of squared differences from it, and extremes of numbers that come in pieces.

    Examples
    --------
    >>> seen = Moments()
    >>> for piece in ([1.0, 2.0], [6.0]):
    ...     seen.add(np.asarray(piece))
    >>> seen.n, seen.mean, seen.squares, seen.least, seen.most
    (3, 3.0, 14.0, 1.0, 6.0)
    """

    def __init__(self) -> None:
        self.n, self.mean, self.squares, self.least, self.most = 0, 0.0, 0.0, math.inf, -math.inf

    def add(self, values: NDArray[np.float64]) -> None:
        """Take in more numbers."""
        if not len(values):
            return
        with np.errstate(over="ignore", invalid="ignore"):
            n, mean = self.n + len(values), float(values.mean())
            apart = mean - self.mean
            self.squares += float(np.sum((values - mean) ** 2)) + apart**2 * (self.n * len(values) / n)
            self.mean += apart * (len(values) / n)
        self.n, self.least, self.most = n, min(self.least, float(values.min())), max(self.most, float(values.max()))

    def standard(self, name: str) -> tuple[float, float]:
        """Give the mean and the standard deviation, or for a constant its value and 1."""
        if self.least == self.most:
            return self.least, 1.0
        scale = math.sqrt(self.squares / self.n) if self.squares >= 0 else math.nan
        if not (math.isfinite(self.mean) and math.isfinite(scale)):
            most = max(abs(self.least), abs(self.most))
            raise DataError(f"column {name!r} holds numbers too large to standardise (up to {most:g})")
        return self.mean, scale or 1.0


class Sampled:
    """A sample of numbers that come in pieces, drawn uniformly: each has a random mark, and the lowest marks stay."""

    def __init__(self) -> None:
        self.values, self.marks, self.rng = np.empty(0), np.empty(0), np.random.default_rng(0)

    def add(self, values: NDArray[np.float64]) -> None:
        """Take in more numbers."""
        self.values = np.concatenate([self.values, values])
        self.marks = np.concatenate([self.marks, self.rng.random(len(values))])
        if len(self.marks) > SAMPLE:
            kept = np.argpartition(self.marks, SAMPLE)[:SAMPLE]
            self.values, self.marks = self.values[kept], self.marks[kept]


class ColumnSeen:
    """What was seen of a feature: numbers, or text."""

    def __init__(self, name: str, impute: bool, max_categories: int, *, is_category: bool) -> None:
        self.name, self.impute, self.max_categories, self.is_category = name, impute, max_categories, is_category
        self.moments, self.sample = Moments(), Sampled()
        self.all_texts: Counter[str] = Counter()
        self.training_texts: Counter[str] = Counter()
        self.n_missing = 0

    def add(self, values: Column, training: NDArray[np.bool_]) -> None:
        """Take in the column's values in some more rows, and which of these are trained on."""
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
            few = MOST_CLASSES if self._may_be_numbers() else self.max_categories
            if len(self.all_texts) > max(few, self.max_categories):
                self.categories()  # says what is wrong, before memory is full of it
        else:
            if self.all_texts:
                raise self._mixed()
            numbers = as_numbers(self.name, values)[training & ~is_missing]
            self.moments.add(numbers)
            if self.impute:
                self.sample.add(numbers)

    def _may_be_numbers(self) -> bool:
        return not self.is_category and spoilt_numbers(self.all_texts) is not None

    def _mixed(self) -> DataError:
        return DataError(
            f"column {self.name!r} holds numbers in some rows and text in others; correct it, or read categories: "
            f"categorical=[{self.name!r}] (--categorical {self.name})"
        )

    def categories(self) -> CategoryColumn:
        """Give the column of categories."""
        return category_column(self.name, self.all_texts, self.training_texts, self.impute, self.max_categories)

    def fitted(self) -> NumberColumn | CategoryColumn:
        """Give the column as it is described."""
        if not self.training_texts and not self.moments.n:
            raise DataError(
                f"column {self.name!r} has no values to learn from; drop it: drop=[{self.name!r}] (--drop {self.name})"
            )
        if not self.all_texts:
            fill = float(np.median(self.sample.values)) if self.impute else None
            return NumberColumn(self.name, *self.moments.standard(self.name), fill)
        spoilt = None
        if not self.is_category:
            refuse_separated(self.name, self.all_texts)
            spoilt = spoilt_numbers(self.all_texts)
        if spoilt is not None:
            raise DataError(
                f"column {self.name!r}: {brief(repr(spoilt), 60)} is non-numeric text where numbers are needed; "
                f"correct it, or read categories: categorical=[{self.name!r}] (--categorical {self.name})"
            )
        return self.categories()


class TargetSeen:
    """What was seen of a target: its distinct values, while they are few, and its moments where it is of numbers."""

    def __init__(self, name: str) -> None:
        self.name, self.moments, self.of_all = name, Moments(), Moments()
        self.distinct: Counter[Any] | None = Counter()
        self.kind = ""
        self.n = 0

    def add(self, values: Column, training: NDArray[np.bool_]) -> None:
        """Take in the target's values in some more rows."""
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
            self.of_all.add(numbers)
            self.moments.add(numbers[training])
        if self.distinct is not None:
            self.distinct.update(values.tolist())
            if len(self.distinct) > MOST_CLASSES:
                self.distinct = None

    def holds_classes(self) -> bool:
        """Tell whether the target is one of classes, as a table in memory would be judged."""
        if self.kind != "number":
            if self.kind == "text" and self.distinct and (spoilt := spoilt_numbers(self.distinct)) is not None:
                raise DataError(
                    f"column {self.name!r}: {brief(repr(spoilt), 60)} is non-numeric text where numbers are needed"
                )
            return True
        few = self.distinct is not None and len(self.distinct) <= MAX_CODED_CLASSES and self.n >= 2 * len(self.distinct)
        return few and all(float(value).is_integer() for value in self.distinct or ())

    def classes(self) -> ClassTarget:
        """Give the target of classes."""
        if self.distinct is None or len(self.distinct) == self.n > MOST_CLASSES:
            raise DataError(
                f"the target {self.name!r} has more than {MOST_CLASSES:,} different values, too many for classes; name "
                "another target, or ask for task='regression'"
            )
        kind: Any = {"text": object, "bool": bool}.get(self.kind)
        return class_target(self.name, np.asarray(sorted(self.distinct), dtype=kind))


def survey(
    pieces: Iterable[tuple[Table, NDArray[np.bool_]]],
    target: str | Sequence[str] | None = None,
    *,
    task: Literal["auto", "classification", "regression"] = "auto",
    impute: bool = False,
    categorical: Sequence[str] = (),
    drop: Sequence[str] = (),
    max_categories: int = 100,
) -> Survey:
    """Fit the preprocessing of a table that comes in pieces, each with a mark at the rows that are trained on.

    Parameters
    ----------
    pieces : iterable of (Table, (n,) array of bool)
        All with the same columns.
    target, task, impute, categorical, drop, max_categories
        See :func:`gpubp.data.fit_preprocessing`; what comes of them is the same, but that a median that fills gaps is
        that of a sample of `SAMPLE` values, and that means and deviations differ by rounding.

    Returns
    -------
    Survey

    Raises
    ------
    DataError
        As :func:`gpubp.data.fit_preprocessing`.

    Examples
    --------
    >>> from gpubp.data.readers import table_from_mapping
    >>> table = table_from_mapping({"size": [1.0, 3.0, 8.0], "colour": ["red", "blue", "red"], "y": ["a", "b", "a"]})
    >>> training = np.asarray([True, True, False])
    >>> found = survey([(table, training)]).preprocessing
    >>> found.columns[0].mean, found.columns[1].categories, found.target.classes
    (2.0, ('blue', 'red'), ('a', 'b'))
    """
    if task not in ("auto", "classification", "regression"):
        raise DataError(f"task must be 'auto', 'classification' or 'regression', got {task!r}")
    names: tuple[str, ...] = ()
    targets: tuple[str, ...] = ()
    columns: dict[str, ColumnSeen] = {}
    seen: dict[str, TargetSeen] = {}
    n_rows, source = 0, "the table"
    for table, training in pieces:
        if not names:
            names, targets, source = tuple(table.columns), target_names(table, target), table.source
            for name in (*targets, *categorical, *drop):
                require_column(table, name)
            if both := set(targets) & set(drop):
                raise DataError(f"the target {both.pop()!r} is also to be dropped; name another target")
            seen = {name: TargetSeen(name) for name in targets}
            columns = {
                name: ColumnSeen(name, impute, max_categories, is_category=name in categorical)
                for name in names
                if name not in targets and name not in drop
            }
            if not columns:
                raise DataError(f"{source} has no columns besides the target {targets[0]!r}; features are needed")
        for of_name in (columns, seen):
            for name, found in of_name.items():
                found.add(table.columns[name], training)
        n_rows += table.n_rows
    missing = {name: column.n_missing for name, column in columns.items() if column.n_missing}
    if missing and not impute:
        told = ", ".join(f"{count:,} in column {name!r}" for name, count in list(missing.items())[:12])
        raise DataError(
            f"{source} has missing values ({told}); fill them in, or pass impute=True (--impute) for the median of "
            "numbers and the most frequent category"
        )
    fitted = tuple(column.fitted() for column in columns.values())
    of_target = _target(list(seen.values()), task)
    ranges = {name: (found.of_all.least, found.of_all.most) for name, found in seen.items()}
    return Survey(Preprocessing(fitted, of_target, tuple(dict.fromkeys(drop))), n_rows, ranges)


def _target(seen: list[TargetSeen], task: str) -> ClassTarget | NumberTarget:
    if task == "auto" and len(seen) == 1:
        task = "classification" if seen[0].holds_classes() else "regression"
    if task == "classification":
        if len(seen) > 1:
            raise DataError(f"classification takes one target, got {', '.join(repr(found.name) for found in seen)}")
        return seen[0].classes()
    for found in seen:
        if found.kind != "number":
            raise DataError(
                f"the target {found.name!r} is {found.kind} where numbers are needed; correct it, or ask for "
                "task='classification'"
            )
    means, scales = zip(*(found.moments.standard(found.name) for found in seen), strict=True)
    return NumberTarget(tuple(found.name for found in seen), means, scales)
