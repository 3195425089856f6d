"""Fit the preprocessing of a table in memory: the targets, the task, the type of each column and its statistics."""

import math
import re
from collections import Counter
from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gpubp._core.text import shortened
from gpubp.data._running_statistics import check_spread
from gpubp.data._text_values import Kind, has_leading_zero
from gpubp.data.preprocessing._column_types import (
    are_few_whole_numbers,
    category_kind,
    choose_targets,
    quoted_list,
    require_column,
)
from gpubp.data.preprocessing._records import (
    CategoryColumn,
    ClassTarget,
    LabelType,
    NumberColumn,
    NumberTarget,
    Preprocessing,
)
from gpubp.data.preprocessing._schema import as_categories, as_numbers, missing_values, write_numbers
from gpubp.data.table import Column, Table
from gpubp.errors import DataError

Task = Literal["auto", "classification", "regression"]

_DATE = re.compile(r"(\d{4}([-/.])\d\d?\2\d\d?|\d\d?([-/.])\d\d?\3\d{4})(Z|[ T]\d.*)?")


def fit_preprocessing(
    table: Table,
    target: str | Sequence[str] | None = None,
    *,
    task: Task = "auto",
    impute: bool = False,
    categorical: Sequence[str] = (),
    drop: Sequence[str] = (),
    max_categories: int = 100,
    rows: ArrayLike | None = None,
) -> Preprocessing:
    """Choose the targets, the task and the type of each column, and compute the statistics that scale them.

    Parameters
    ----------
    table : Table
        The data.
    target : str or sequence of str, optional
        Target column or columns. By default those the source marks, else the one named target, label, class or y,
        else the last.
    task : {"auto", "classification", "regression"}
        "auto" treats text, bools and whole numbers with few values (at most 20, each twice on average) as classes.
    impute : bool
        Fill missing features with the median or the most frequent category, here and later, instead of raising.
    categorical : sequence of str
        Columns to read as categories, even if they hold numbers; from a CSV or TSV file as text, so that ``01`` and
        ``1`` are different categories. May include the target, whose classes are then text.
    drop : sequence of str
        Columns to ignore.
    max_categories : int
        Maximum number of categories of a column.
    rows : array_like, optional
        Indices of the training rows if others are held out: means, scales and fills come from these alone, while
        checks, categories and classes use the whole table. By default all rows.

    Returns
    -------
    Preprocessing
        For `apply`, `encode_target` and `decode_target`.

    Raises
    ------
    DataError
        If a column is unknown, has missing or infinite values, mixes numbers with other text, or has too many
        categories; if there is no feature, or only one class.

    Examples
    --------
    >>> from gpubp.data import apply, table_from_mapping
    >>> table = table_from_mapping({"size": [1.0, 3.0], "colour": ["red", "blue"], "y": ["a", "b"]})
    >>> preprocessing = fit_preprocessing(table)
    >>> preprocessing.feature_names
    ('size', 'colour=blue', 'colour=red')
    >>> apply(preprocessing, table)
    array([[-1.,  0.,  1.],
           [ 1.,  1.,  0.]])
    """
    targets = validate_fit_options(table, target, task, categorical, drop)
    names = [name for name in table.columns if name not in targets and name not in drop]
    if not names:
        raise DataError(f"{table.source} has no columns besides the target {quoted_list(targets)}; features are needed")
    kinds = {name: category_kind(table, name, categorical) for name in names}
    features = {
        name: as_numbers(table, name) if kind is None else as_categories(table, name, kind)
        for name, kind in kinds.items()
    }
    missing = {name: int(missing_values(values).sum()) for name, values in features.items()}
    if not impute and any(missing.values()):
        counts = [f"{count} in column {name!r}" for name, count in missing.items() if count]
        raise DataError(
            f"{table.source} has missing values ({shortened(counts)}); fill them in, or pass impute=True (--impute) "
            "for the median of numbers and the most frequent category"
        )
    training = np.arange(table.n_rows)[slice(None) if rows is None else np.asarray(rows)]
    columns = tuple(
        _fit_column(name, values, kinds[name], training, impute, max_categories) for name, values in features.items()
    )
    fitted = _fit_target(table, targets, training, task, categorical, max_categories)
    return Preprocessing(columns, fitted, tuple(dict.fromkeys(drop)))


def validate_fit_options(
    table: Table, target: str | Sequence[str] | None, task: str, categorical: Sequence[str], drop: Sequence[str]
) -> tuple[str, ...]:
    """Validate the options of :func:`fit_preprocessing` against a table's columns, and return the target columns."""
    validate_task(task)
    targets = choose_targets(table, target)
    for name in (*targets, *categorical, *drop):
        require_column(table, name)
    if both := set(targets) & set(drop):
        raise DataError(f"the target {both.pop()!r} is also listed in drop; choose another target")
    return targets


def validate_task(task: str) -> None:
    """Raise a DataError if `task` is unknown."""
    if task not in ("auto", "classification", "regression"):
        raise DataError(f"task must be 'auto', 'classification' or 'regression', got {task!r}")


def fit_categories(
    name: str, kind: Kind, counts: Counter[str], training_counts: Counter[str], impute: bool, max_categories: int
) -> CategoryColumn:
    """Fit a column of categories from how often each occurs in all rows and in the training rows.

    Raises
    ------
    DataError
        If there are more than `max_categories`.
    """
    if len(counts) > max_categories:
        if all(_DATE.fullmatch(text) for text in counts):
            raise DataError(
                f"column {name!r} looks like dates, {len(counts)} different ones ({next(iter(counts))!r}, ...); "
                f"make columns of numbers from it (year, month), or drop it: drop=[{name!r}] (--drop {name!r})"
            )
        hint = " and looks like an identifier: no value occurs twice" if max(counts.values()) == 1 else ""
        raise DataError(
            f"column {name!r} has {len(counts)} categories, more than max_categories={max_categories}{hint}; "
            f"drop it: drop=[{name!r}] (--drop {name!r}), or raise max_categories"
        )
    # Of equally frequent categories the first in sorted order, so that the order of rows does not matter.
    fill = min(counts, key=lambda text: (-training_counts[text], text)) if impute else None
    return CategoryColumn(name, tuple(sorted(counts)), fill, kind)


def fit_class_target(name: str, distinct: Column) -> ClassTarget:
    """Fit a target of classes from its sorted distinct values: numbers, bools or text."""
    classes = tuple(distinct.tolist() if distinct.dtype == object else write_numbers(distinct).tolist())
    if len(classes) < 2:
        raise DataError(f"the target {name!r} has only one class, {classes[0]!r}; at least two are needed")
    types: dict[str, LabelType] = {"O": "str", "b": "bool"}
    is_whole = all(label.lstrip("-").isdecimal() for label in classes)
    return ClassTarget(name, classes, types.get(distinct.dtype.kind, "int" if is_whole else "float"))


def _fit_column(
    name: str, values: Column, kind: Kind | None, rows: NDArray[np.intp], impute: bool, max_categories: int
) -> NumberColumn | CategoryColumn:
    training = values[rows][~missing_values(values[rows])]
    if not len(training):
        raise DataError(f"column {name!r} has no values to learn from; drop it: drop=[{name!r}] (--drop {name!r})")
    if kind is None:
        return NumberColumn(name, *_mean_and_scale(name, training), float(np.median(training)) if impute else None)
    counts = Counter(value for value in values if value is not None)
    return fit_categories(name, kind, counts, Counter(training.tolist()), impute, max_categories)


def _mean_and_scale(name: str, values: Column) -> tuple[float, float]:
    if values.min() == values.max():  # it becomes zeros; rounding must not give it a nonzero deviation
        return float(values[0]), 1.0
    with np.errstate(over="ignore", invalid="ignore"):
        check_spread(name, float(np.ptp(values)))
        mean, scale = float(values.mean()), float(values.std())
    if not (math.isfinite(mean) and math.isfinite(scale)):
        raise DataError(f"column {name!r} holds numbers too large to standardise (up to {np.abs(values).max():g})")
    return mean, scale


def _fit_target(
    table: Table,
    names: tuple[str, ...],
    rows: NDArray[np.intp],
    task: str,
    categorical: Sequence[str],
    max_categories: int,
) -> ClassTarget | NumberTarget:
    for name in names:
        missing = missing_values(table.texts(name) if name in categorical else table.columns[name])
        if missing.any():
            raise DataError(
                f"the target {name!r} is missing in {missing.sum()} of {len(missing)} rows (first in "
                f"{table.describe_row(int(missing.argmax()))}); leave these rows out"
            )
    if task == "auto" and len(names) == 1:
        task = "classification" if _holds_classes(table, names[0], categorical) else "regression"
    if task == "classification":
        if len(names) > 1:
            raise DataError(f"classification takes one target, got {quoted_list(names)}")
        return _fit_classes(table, names[0], categorical, max_categories)
    numbers = [as_numbers(table, name, "correct it, or pass task='classification'")[rows] for name in names]
    means, scales = zip(*map(_mean_and_scale, names, numbers), strict=True)
    return NumberTarget(names, means, scales)


def _holds_classes(table: Table, name: str, categorical: Sequence[str]) -> bool:
    """Return whether a target holds classes: text, bools, or few whole numbers."""
    if category_kind(table, name, categorical) is not None:
        return True
    numbers = as_numbers(table, name)
    return are_few_whole_numbers(np.unique(numbers), len(numbers))


def _fit_classes(table: Table, name: str, categorical: Sequence[str], max_categories: int) -> ClassTarget:
    kind, values = table.kind(name), table.columns[name]
    if name in table.written:  # the classes are codes, and come back as the file writes them
        texts = table.texts(name)
        if name in categorical or any(map(has_leading_zero, set(texts))):
            kind, values = "text", texts
    if kind == "number":
        as_numbers(table, name)  # refuses infinity
    distinct = np.unique(values) if kind in ("number", "bool") else np.asarray(sorted(set(values)), dtype=object)
    if len(distinct) == table.n_rows > max_categories:  # many classes are valid; one for each row suggests an error
        raise DataError(f"the target {name!r} has a class for each of its {table.n_rows} rows; choose another target")
    return fit_class_target(name, distinct)
