"""Columns of a table to matrices and back, described wholly by plain data.

Numbers are standardised, categories become one-hot columns, and targets are decoded into the user's own units and
labels.  A fitted :class:`Preprocessing` is nested tuples of numbers and text; it travels as JSON.  Rows are counted
from 1, without the header.
"""

import json
import math
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, is_dataclass
from types import NoneType, UnionType
from typing import Any, Literal, get_args, get_origin, get_type_hints

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gpubp._core.names import near_miss
from gpubp._core.text import brief
from gpubp.data.readers import Column, Table
from gpubp.errors import DataError, ModelFileError

TARGET_NAMES = ("target", "label", "class", "y")
"""Names that mark a column as the target, in any letter sample."""

MAX_CODED_CLASSES = 20
"""Whole numbers are classes if at most this many differ and each comes at least twice on average."""

_DATE = re.compile(r"(\d{4}([-/.])\d\d?\2\d\d?|\d\d?([-/.])\d\d?\3\d{4})([ T]\d.*)?")
_WITH_SEPARATORS = re.compile(r"[-+]?(\d{1,3}([,.' \u00a0\u202f])\d{3}(\2\d{3})*([.,]\d+)?|\d+,\d+)")

Kind = Literal["int", "float", "bool", "str"]
"""The type of a class label in the user's table."""


@dataclass(frozen=True)
class NumberColumn:
    """A column of numbers, read as ``(value - mean) / scale``; `fill` stands in for a missing value."""

    name: str
    mean: float
    scale: float
    fill: float | None = None


@dataclass(frozen=True)
class CategoryColumn:
    """A column of categories, one-hot in the order of `categories`; `fill` stands in for a missing value."""

    name: str
    categories: tuple[str, ...]
    fill: str | None = None


@dataclass(frozen=True)
class ClassTarget:
    """A target of classes, one-hot in the order of `classes`; `kind` is the type of the labels when decoded."""

    name: str
    classes: tuple[str, ...]
    kind: Kind = "str"


@dataclass(frozen=True)
class NumberTarget:
    """One or several targets of numbers, learned as ``(value - mean) / scale``."""

    names: tuple[str, ...]
    means: tuple[float, ...]
    scales: tuple[float, ...]


@dataclass(frozen=True)
class Preprocessing:
    """What turns a table into matrices; `dropped` columns may be present and are ignored."""

    columns: tuple[NumberColumn | CategoryColumn, ...]
    target: ClassTarget | NumberTarget
    dropped: tuple[str, ...] = ()

    @property
    def target_names(self) -> tuple[str, ...]:
        """Names of the target columns."""
        return self.target.names if isinstance(self.target, NumberTarget) else (self.target.name,)


def fit_preprocessing(
    table: Table,
    target: str | Sequence[str] | None = None,
    *,
    task: Literal["auto", "classification", "regression"] = "auto",
    impute: bool = False,
    categorical: Sequence[str] = (),
    drop: Sequence[str] = (),
    max_categories: int = 100,
    rows: ArrayLike | None = None,
) -> Preprocessing:
    """Find the target, the task and the type of each column, and the numbers that scale them.

    Parameters
    ----------
    table : Table
        The data.
    target : str or sequence of str, optional
        Target column or columns.  By default those the source marks, else the one named target, label, class or y,
        else the last.
    task : {"auto", "classification", "regression"}
        "auto" takes text, bools and whole numbers with few values (at most 20, each twice on average) as classes.
    impute : bool
        Fill missing features with the median or the most frequent category, here and later, instead of raising.
    categorical : sequence of str
        Columns to read as categories whatever they hold.
    drop : sequence of str
        Columns to ignore.
    max_categories : int
        Most categories that a column may have.
    rows : array_like, optional
        Indices of the training rows, where others are held out: means, scales and fills come from these alone, while
        the checks, the categories and the classes are those of the whole table.  By default all.

    Returns
    -------
    Preprocessing
        The description for `apply`, `encode_target` and `decode_target`.

    Raises
    ------
    DataError
        If a column is unknown, has missing or infinite values, mixes numbers with other text, or has too many
        categories; if there is no feature, or only one class.

    Examples
    --------
    >>> from gpubp.data.readers import table_from_mapping
    >>> table = table_from_mapping({"size": [1.0, 3.0], "colour": ["red", "blue"], "y": ["a", "b"]})
    >>> prepared = fit_preprocessing(table)
    >>> feature_names(prepared)
    ('size', 'colour=blue', 'colour=red')
    >>> apply(prepared, table)
    array([[-1.,  0.,  1.],
           [ 1.,  1.,  0.]])
    """
    if task not in ("auto", "classification", "regression"):
        raise DataError(f"task must be 'auto', 'classification' or 'regression', got {task!r}")
    targets = target_names(table, target)
    for name in (*targets, *categorical, *drop):
        require_column(table, name)
    if both := set(targets) & set(drop):
        raise DataError(f"the target {both.pop()!r} is also to be dropped; name another target")
    features = {
        name: as_category(name, values) if _is_category(name, values, categorical) else as_numbers(name, values)
        for name, values in table.columns.items()
        if name not in targets and name not in drop
    }
    if not features:
        raise DataError(f"{table.source} has no columns besides the target {_listed(targets)}; features are needed")
    missing = {name: int(missing_values(values).sum()) for name, values in features.items()}
    if not impute and any(missing.values()):
        found = [f"{count} in column {name!r}" for name, count in missing.items() if count]
        raise DataError(
            f"{table.source} has missing values ({_shortened(found)}); fill them in, or pass impute=True (--impute) "
            "for the median of numbers and the most frequent category"
        )
    training = np.arange(table.n_rows)[slice(None) if rows is None else np.asarray(rows)]
    columns = tuple(_fit_column(name, values, training, impute, max_categories) for name, values in features.items())
    fitted = _fit_target(table, targets, training, task, max_categories)
    return Preprocessing(columns, fitted, tuple(dict.fromkeys(drop)))


def apply(
    preprocessing: Preprocessing, table: Table, *, unknown: Literal["error", "zeros"] = "error"
) -> NDArray[np.float64]:
    """Turn the feature columns of a table, matched by name, into a matrix.

    Parameters
    ----------
    preprocessing : Preprocessing
        As fitted.
    table : Table
        The features in any order; targets and dropped columns may be present.
    unknown : {"error", "zeros"}
        What to do with a category that training did not see: raise, or leave all its columns 0.

    Returns
    -------
    numpy.ndarray
        float64 of shape ``(n, i)``.

    Raises
    ------
    DataError
        If columns are missing or unknown, or values are missing, infinite, unseen, or text for a number.

    Examples
    --------
    >>> from gpubp.data.readers import table_from_mapping
    >>> prepared = Preprocessing((NumberColumn("a", 2.0, 4.0),), NumberTarget(("y",), (0.0,), (1.0,)))
    >>> apply(prepared, table_from_mapping({"a": [2.0, 10.0]}))
    array([[0.],
           [2.]])
    """
    if unknown not in ("error", "zeros"):
        raise DataError(f"unknown must be 'error' or 'zeros', got {unknown!r}")
    expected = [column.name for column in preprocessing.columns]
    known = {*expected, *preprocessing.target_names, *preprocessing.dropped}
    lacking = [name for name in expected if name not in table.columns]
    extra = [name for name in table.columns if name not in known]
    if lacking or extra:
        raise DataError(
            f"{table.source} does not have the {len(expected)} feature columns of the training data"
            + (f"; missing: {_listed(lacking)}" if lacking else "")
            + (f"; extra, to be left out: {_listed(extra)}" if extra else "")
        )
    blocks = []
    for column in preprocessing.columns:
        values, name = table.columns[column.name], column.name
        if isinstance(column, CategoryColumn):
            texts = _filled(name, as_category(name, values), column.fill)
            blocks.append(_one_hot(name, texts, column.categories, zeros=unknown == "zeros"))
        else:
            numbers = _filled(name, as_numbers(name, values), column.fill)
            blocks.append(_standardised(name, numbers, column.mean, column.scale)[:, None])
    return np.concatenate(blocks, axis=1)


def encode_target(preprocessing: Preprocessing, table: Table) -> NDArray[np.float64]:
    """Turn the target columns of a table into targets.

    Parameters
    ----------
    preprocessing : Preprocessing
        As fitted.
    table : Table
        A table with the target columns.

    Returns
    -------
    numpy.ndarray
        float64 of shape ``(n, j)``: one-hot classes, or standardised numbers.

    Raises
    ------
    DataError
        If a target is absent, or its values are missing, infinite or of no known class.

    Examples
    --------
    >>> from gpubp.data.readers import table_from_mapping
    >>> prepared = Preprocessing((NumberColumn("a", 0.0, 1.0),), ClassTarget("y", ("no", "yes")))
    >>> encode_target(prepared, table_from_mapping({"y": ["yes", "no"]}))
    array([[0., 1.],
           [1., 0.]])
    """
    target = preprocessing.target
    for name in preprocessing.target_names:
        require_column(table, name)
    if isinstance(target, ClassTarget):
        texts = as_category(target.name, table.columns[target.name])
        return _one_hot(target.name, _filled(target.name, texts, None), target.classes)
    blocks = [
        _standardised(name, _filled(name, as_numbers(name, table.columns[name]), None), mean, scale)
        for name, mean, scale in zip(target.names, target.means, target.scales, strict=True)
    ]
    return np.stack(blocks, axis=1)


def decode_target(preprocessing: Preprocessing, y: ArrayLike) -> dict[str, Column]:
    """Turn outputs into predictions in the user's units: labels of their own type, or numbers.

    Parameters
    ----------
    preprocessing : Preprocessing
        As fitted.
    y : array_like
        Outputs of shape ``(n, j)``.

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
    >>> prepared = Preprocessing((NumberColumn("a", 0.0, 1.0),), ClassTarget("y", ("7", "8"), "int"))
    >>> decode_target(prepared, [[0.2, 0.8]])
    {'y': array([8])}
    """
    outputs, target = _outputs(preprocessing, y), preprocessing.target
    if isinstance(target, ClassTarget):
        return {target.name: class_values(target)[outputs.argmax(axis=1)]}
    with np.errstate(over="ignore", invalid="ignore"):
        numbers = outputs * np.array(target.scales) + np.array(target.means)
    if not np.isfinite(numbers).all():
        raise DataError(
            f"predictions of {_listed(target.names)} are beyond the range of numbers; train the model again"
        )
    return dict(zip(target.names, numbers.T, strict=True))


def decode_probabilities(preprocessing: Preprocessing, y: ArrayLike) -> dict[str, NDArray[np.float64]]:
    """Name the output of each class ``"target=class"``.

    Parameters
    ----------
    preprocessing : Preprocessing
        As fitted, for classification.
    y : array_like
        Outputs of shape ``(n, j)``.

    Returns
    -------
    dict of str to numpy.ndarray
        One array of shape ``(n,)`` per class.

    Raises
    ------
    DataError
        If the target is of numbers, the shape does not fit, or an output is not finite.

    Examples
    --------
    >>> prepared = Preprocessing((NumberColumn("a", 0.0, 1.0),), ClassTarget("y", ("no", "yes")))
    >>> decode_probabilities(prepared, [[0.2, 0.8]])
    {'y=no': array([0.2]), 'y=yes': array([0.8])}
    """
    target = preprocessing.target
    if not isinstance(target, ClassTarget):
        raise DataError(f"the target {_listed(target.names)} is of numbers and has no probabilities of classes")
    names = [f"{target.name}={label}" for label in target.classes]
    return dict(zip(names, _outputs(preprocessing, y).T, strict=True))


def feature_names(preprocessing: Preprocessing) -> tuple[str, ...]:
    """Name the columns of the matrix that `apply` returns, a category as ``"column=category"``.

    Examples
    --------
    >>> columns = (NumberColumn("size", 0.0, 1.0), CategoryColumn("colour", ("blue", "red")))
    >>> feature_names(Preprocessing(columns, NumberTarget(("y",), (0.0,), (1.0,))))
    ('size', 'colour=blue', 'colour=red')
    """
    names: list[str] = []
    for column in preprocessing.columns:
        if isinstance(column, CategoryColumn):
            names += [f"{column.name}={category}" for category in column.categories]
        else:
            names.append(column.name)
    return tuple(names)


# --- fitting ---


def target_names(table: Table, target: str | Sequence[str] | None) -> tuple[str, ...]:
    """Name the targets of a table: those asked for, else those that its source marks, else by name, else the last."""
    if target is not None:
        names = (target,) if isinstance(target, str) else tuple(target)
        if not names or len(set(names)) < len(names):
            raise DataError(f"targets must be named, each once, got {list(names)}")
        return names
    if table.targets:
        return table.targets
    by_lower = {name.lower(): name for name in table.columns}
    return (next((by_lower[name] for name in TARGET_NAMES if name in by_lower), list(table.columns)[-1]),)


def require_column(table: Table, name: str) -> None:
    """Raise a DataError that names the nearest column where a table lacks one."""
    if name not in table.columns:
        raise DataError(
            f"{table.source} has no column {name!r}{near_miss(name, table.columns)}; it has {_listed(table.columns)}"
        )


def _is_category(name: str, values: Column, categorical: Sequence[str]) -> bool:
    """Tell categories from numbers; a column of numbers spoilt by a few words is neither, and an error."""
    if name in categorical or values.dtype == bool:
        return True
    if values.dtype != object:
        return False
    counts = Counter(value for value in values if value is not None)
    refuse_separated(name, counts)
    if spoilt_numbers(counts) is not None:
        as_numbers(name, values, f"correct it, or read categories: categorical=[{name!r}] (--categorical {name!r})")
    return True


def refuse_separated(name: str, counts: Counter[str]) -> None:
    """Raise a DataError where a column seems to hold numbers that are written with separators, from counts of each."""
    separated = {text: count for text, count in counts.items() if _is_separated(text)}
    n_numbers = sum(count for text, count in counts.items() if _number(text) is not None)
    if separated and n_numbers + sum(separated.values()) > counts.total() / 2:
        shown = brief(repr(next(iter(separated))), 60)
        raise DataError(
            f"column {name!r} seems to hold numbers with separators, such as {shown}: write them plain, with a point "
            f"for the fraction (1234.5), or read categories: categorical=[{name!r}] (--categorical {name!r})"
        )


def spoilt_numbers(counts: Counter[str]) -> str | None:
    """Find the text that spoils a column of numbers: other text where most values are numbers, from counts of each.

    Where all are numbers, as in zero-padded codes, nothing is spoilt.

    Examples
    --------
    >>> spoilt_numbers(Counter(["1", "2", "x"])), spoilt_numbers(Counter(["1", "x"])), spoilt_numbers(Counter(["01"]))
    ('x', None, None)
    """
    others = [text for text in counts if _number(text) is None]
    n_numbers = counts.total() - sum(counts[text] for text in others)
    return others[0] if others and n_numbers > counts.total() / 2 else None


def _fit_column(
    name: str, values: Column, rows: NDArray[np.intp], impute: bool, max_categories: int
) -> NumberColumn | CategoryColumn:
    training = values[rows][~missing_values(values[rows])]
    if not len(training):
        raise DataError(f"column {name!r} has no values to learn from; drop it: drop=[{name!r}] (--drop {name!r})")
    if values.dtype != object:
        return NumberColumn(name, *_moments(name, training), float(np.median(training)) if impute else None)
    counts = Counter(value for value in values if value is not None)
    return category_column(name, counts, Counter(training.tolist()), impute, max_categories)


def category_column(
    name: str, counts: Counter[str], frequency: Counter[str], impute: bool, max_categories: int
) -> CategoryColumn:
    """Describe a column of categories from how often each is in all rows, and in those that are trained on.

    Raises
    ------
    DataError
        If there are too many.
    """
    if len(counts) > max_categories:
        if all(_DATE.fullmatch(text) for text in counts):
            raise DataError(
                f"column {name!r} looks like dates, {len(counts)} different ones ({next(iter(counts))!r}, ...); "
                f"make columns of numbers from it (year, month), or drop it: drop=[{name!r}] (--drop {name!r})"
            )
        hint = " and looks like an identifier, for no value comes twice" if max(counts.values()) == 1 else ""
        raise DataError(
            f"column {name!r} has {len(counts)} categories, more than max_categories={max_categories}{hint}; "
            f"drop it: drop=[{name!r}] (--drop {name!r}), or raise max_categories"
        )
    # The most frequent in training; of equals the first in order, so that the order of rows does not matter.
    fill = min(counts, key=lambda text: (-frequency[text], text)) if impute else None
    return CategoryColumn(name, tuple(sorted(counts)), fill)


def _moments(name: str, values: Column) -> tuple[float, float]:
    with np.errstate(over="ignore", invalid="ignore"):
        mean, scale = float(values.mean()), float(values.std())
    if not (math.isfinite(mean) and math.isfinite(scale)):
        raise DataError(f"column {name!r} holds numbers too large to standardise (up to {np.abs(values).max():g})")
    # A constant column is kept, as zeros; rounding must not give it a spread.
    return (float(values[0]), 1.0) if values.min() == values.max() else (mean, scale or 1.0)


def _fit_target(
    table: Table, names: tuple[str, ...], rows: NDArray[np.intp], task: str, max_categories: int
) -> ClassTarget | NumberTarget:
    columns = [table.columns[name] for name in names]
    for name, values in zip(names, columns, strict=True):
        missing = missing_values(values)
        if missing.any():
            raise DataError(
                f"the target {name!r} is missing in {missing.sum()} of {len(values)} rows (first in row "
                f"{missing.argmax() + 1}); leave these rows out"
            )
    if task == "auto" and len(names) == 1:
        task = "classification" if _holds_classes(names[0], columns[0]) else "regression"
    if task == "classification":
        if len(names) > 1:
            raise DataError(f"classification takes one target, got {_listed(names)}")
        return _fit_classes(names[0], columns[0], max_categories)
    fix = "correct it, or ask for task='classification'"
    numbers = [as_numbers(name, values, fix)[rows] for name, values in zip(names, columns, strict=True)]
    means, scales = zip(*map(_moments, names, numbers), strict=True)
    return NumberTarget(names, means, scales)


def _holds_classes(name: str, values: Column) -> bool:
    if values.dtype == object or values.dtype == bool:
        _is_category(name, values, ())
        return True
    numbers = as_numbers(name, values)
    n_values = len(np.unique(numbers))
    is_whole = bool((numbers == np.round(numbers)).all())
    return is_whole and n_values <= MAX_CODED_CLASSES and len(numbers) >= 2 * n_values


def _fit_classes(name: str, values: Column, max_categories: int) -> ClassTarget:
    texts = as_category(name, values)
    counts = Counter(texts.tolist())
    if len(counts) == len(values) > max_categories:  # many classes are fine, one for each row is a wrong target
        raise DataError(f"the target {name!r} has a class for each of its {len(values)} rows; name another target")
    return class_target(name, np.asarray(sorted(counts), dtype=object) if values.dtype == object else np.unique(values))


def class_target(name: str, distinct: Column) -> ClassTarget:
    """Describe a target of classes from its different values, in order: numbers, bools or text."""
    classes = tuple(as_category(name, distinct).tolist())
    if len(classes) < 2:
        raise DataError(f"the target {name!r} has one class only, {classes[0]!r}; at least two are needed")
    kinds: dict[str, Kind] = {"O": "str", "b": "bool"}
    is_whole = all(label.lstrip("-").isdecimal() for label in classes)
    return ClassTarget(name, classes, kinds.get(distinct.dtype.kind, "int" if is_whole else "float"))


# --- values ---


def missing_values(values: Column) -> NDArray[np.bool_]:
    """Mark where a column has no value."""
    if values.dtype == object:
        return np.array([value is None for value in values], dtype=bool)
    return np.isnan(values) if values.dtype.kind == "f" else np.zeros(len(values), dtype=bool)


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _is_separated(text: str) -> bool:
    """Tell numbers with separators of thousands, or a comma before the fraction, from what Python reads as a number."""
    return _number(text) is None and _WITH_SEPARATORS.fullmatch(text.strip()) is not None


def as_numbers(name: str, values: Column, fix: str = "correct it or leave the field empty") -> NDArray[np.float64]:
    """Return a column as float64, NaN where missing; refuse other text and infinity."""
    if values.dtype == object:
        for row, text in enumerate(values, start=1):
            if text is not None and _number(text) is None:
                shown = brief(repr(text), 60)
                raise DataError(
                    f"column {name!r}, row {row}: {shown} is non-numeric text where numbers are needed; {fix}"
                )
    numbers = values.astype(np.float64)
    if np.isinf(numbers).any():
        raise DataError(f"column {name!r}, row {np.isinf(numbers).argmax() + 1}: infinity; numbers must be finite")
    return numbers


def as_category(name: str, values: Column) -> NDArray[np.object_]:
    """Return a column as text, None where missing; a whole float is written as the integer it equals."""
    if values.dtype == object:
        return values
    if np.isinf(values).any():
        raise DataError(f"column {name!r}, row {np.isinf(values).argmax() + 1}: infinity; it cannot be a category")
    distinct, places = np.unique(values, return_inverse=True)
    texts = np.empty(len(distinct), dtype=object)
    texts[:] = [_text(value) for value in distinct.tolist()]
    return texts[places]


def _text(value: bool | int | float) -> str | None:
    if value != value:
        return None
    return repr(int(value) if isinstance(value, float) and value.is_integer() and abs(value) < 2**53 else value)


def _filled(name: str, values: Column, fill: str | float | None) -> Column:
    missing = missing_values(values)
    if missing.any() and fill is None:
        raise DataError(
            f"column {name!r} has {missing.sum()} missing values (first in row {missing.argmax() + 1}) and nothing to "
            "fill them with; fill them in, or train with impute=True (--impute) if it is a feature"
        )
    return np.where(missing, np.array(fill, dtype=values.dtype), values) if missing.any() else values


def _standardised(name: str, numbers: NDArray[np.float64], mean: float, scale: float) -> NDArray[np.float64]:
    with np.errstate(over="ignore"):
        scaled: NDArray[np.float64] = (numbers - mean) / scale
    if not np.isfinite(scaled).all():
        row = int((~np.isfinite(scaled)).argmax())
        raise DataError(f"column {name!r}, row {row + 1}: {numbers[row]:g} is too far from the mean {mean:g} to scale")
    return scaled


def _one_hot(
    name: str, texts: NDArray[np.object_], known: tuple[str, ...], *, zeros: bool = False
) -> NDArray[np.float64]:
    places = {text: k for k, text in enumerate(known)}
    columns = np.array([places.get(text, -1) for text in texts], dtype=np.intp)
    unseen = columns < 0
    if unseen.any() and not zeros:
        row = int(unseen.argmax())
        raise DataError(
            f"column {name!r}, row {row + 1}: {brief(repr(texts[row]), 60)} was not seen in training, "
            f"which knows {_listed(known)}; correct it or leave the row out"
        )
    encoded = np.zeros((len(texts), len(known)))
    encoded[np.flatnonzero(~unseen), columns[~unseen]] = 1.0
    return encoded


def _outputs(preprocessing: Preprocessing, y: ArrayLike) -> NDArray[np.float64]:
    target, outputs = preprocessing.target, np.asarray(y, dtype=np.float64)
    width = len(target.classes) if isinstance(target, ClassTarget) else len(target.names)
    if outputs.ndim != 2 or outputs.shape[1] != width:
        raise DataError(f"outputs must have shape (samples, {width}), got {outputs.shape}")
    if not np.isfinite(outputs).all():
        raise DataError("outputs are not finite: the network diverged or its input was out of range")
    return outputs


def class_values(target: ClassTarget) -> Column:
    """Give the classes as they are in the user's table, of their own type."""
    if target.kind == "str":
        return np.array(target.classes, dtype=object)
    read: dict[str, Callable[[str], Any]] = {"int": int, "float": float, "bool": lambda label: label == "True"}
    return np.array([read[target.kind](label) for label in target.classes])


def _listed(names: Iterable[str]) -> str:
    return _shortened([brief(repr(name), 60) for name in names])


def _shortened(items: list[str], limit: int = 12) -> str:
    rest = f", ... ({len(items)} in all)" if len(items) > limit else ""
    return ", ".join(items[:limit]) + rest


# --- JSON ---


def to_json(preprocessing: Preprocessing) -> dict[str, Any]:
    """Return the description as JSON's own types, one object per record.

    Examples
    --------
    >>> to_json(Preprocessing((NumberColumn("a", 0.0, 1.0),), NumberTarget(("y",), (0.0,), (2.0,))))["columns"]
    [{'name': 'a', 'mean': 0.0, 'scale': 1.0, 'fill': None}]
    """
    plain: dict[str, Any] = json.loads(json.dumps(asdict(preprocessing), allow_nan=False))
    return plain


def from_json(data: Any) -> Preprocessing:
    """Read what `to_json` wrote, trusting nothing.

    Parameters
    ----------
    data : dict
        As parsed from JSON.

    Returns
    -------
    Preprocessing
        Equal to the one that was written.

    Raises
    ------
    ModelFileError
        If a key is missing or unknown, a value has the wrong type or is not finite, or parts contradict each other.

    Examples
    --------
    >>> prepared = Preprocessing((NumberColumn("a", 0.0, 1.0),), ClassTarget("y", ("no", "yes")))
    >>> from_json(to_json(prepared)) == prepared
    True
    """
    preprocessing: Preprocessing = _read(Preprocessing, data)
    columns, target = preprocessing.columns, preprocessing.target
    names = [column.name for column in columns] + [*preprocessing.target_names, *preprocessing.dropped]
    _check(len(columns) > 0 and len(preprocessing.target_names) > 0, "a feature and a target", data)
    _check(len(set(names)) == len(names), "names that differ", names)
    scales = [column.scale for column in columns if isinstance(column, NumberColumn)]
    for column in columns:
        if isinstance(column, CategoryColumn):
            known = column.categories
            _check(0 < len(known) == len(set(known)), f"categories of {column.name!r} that differ", known)
            _check(column.fill is None or column.fill in known, f"a category as fill of {column.name!r}", column.fill)
    if isinstance(target, NumberTarget):
        _check(len(target.names) == len(target.means) == len(target.scales), "a mean and scale per target", target)
        scales += target.scales
    else:
        _check(2 <= len(target.classes) == len(set(target.classes)), "two or more different classes", target.classes)
        try:
            written = tuple(as_category(target.name, class_values(target)))
        except (ValueError, OverflowError):
            written = ()
        _check(written == target.classes, f"classes of kind {target.kind}", target.classes)
    _check(all(scale > 0 for scale in scales), "scales above 0", scales)
    return preprocessing


def n_outputs_of(preprocessing: Preprocessing) -> int:
    """Count the outputs that a target asks for."""
    target = preprocessing.target
    return len(target.names) if isinstance(target, NumberTarget) else len(target.classes)


def task_of(preprocessing: Preprocessing) -> str:
    """Tell the task that a target makes: "classification" or "regression"."""
    return "classification" if isinstance(preprocessing.target, ClassTarget) else "regression"


def preprocessing_of(model: Any) -> Preprocessing:
    """Read the preprocessing of a :class:`gpubp.io.model_file.Model` and compare it with its network.

    Raises
    ------
    ModelFileError
        If there is none, it is malformed, or it does not fit.
    """
    if model.preprocessing is None:
        raise ModelFileError("the model has no preprocessing, so it takes no tables; use gpubp.predict with arrays")
    preprocessing = from_json(model.preprocessing)
    wanted = (len(feature_names(preprocessing)), n_outputs_of(preprocessing))
    got = (model.network.sizes[0], model.network.sizes[-1])
    if wanted != got:
        raise ModelFileError(
            f"the model's preprocessing gives {wanted[0]} inputs and {wanted[1]} outputs, its network has {got[0]} "
            f"and {got[1]}; train the model again"
        )
    return preprocessing


def _read(hint: Any, value: Any) -> Any:
    """Read a JSON value as the type that a record's annotation asks for."""
    origin, options = get_origin(hint), get_args(hint)
    if origin is tuple and isinstance(value, list):
        return tuple(_read(options[0], item) for item in value)
    if origin is Literal and value in options:
        return value
    if origin is UnionType and NoneType in options:
        return None if value is None else _read(options[0], value)
    if origin is UnionType and isinstance(value, dict):  # no two records have the same keys
        options = tuple(option for option in options if set(get_type_hints(option)) == set(value))
        return _read(options[0] if options else hint.__args__[0], value)
    if isinstance(hint, type) and is_dataclass(hint) and isinstance(value, dict):
        hints = get_type_hints(hint)
        _check(set(hints) == set(value), f"the keys {', '.join(hints)}", ", ".join(map(str, value)))
        return hint(**{key: _read(hints[key], value[key]) for key in hints})
    if hint is str and isinstance(value, str):
        return value
    if hint is float and type(value) in (int, float) and abs(value) <= sys.float_info.max:
        return float(value)
    raise ModelFileError(_malformed(getattr(hint, "__name__", str(hint)), value))


def _check(holds: bool, expected: str, got: Any) -> None:
    if not holds:
        raise ModelFileError(_malformed(expected, got))


def _malformed(expected: str, got: Any) -> str:
    return f"the model's preprocessing is malformed: expected {brief(expected)}, got {brief(str(got), 100)}"
