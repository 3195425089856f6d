"""What a column holds: numbers or categories, missing values, and which columns are the targets."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from gpubp._core.names import near_miss
from gpubp._core.text import brief
from gpubp.data.table import Column, Table
from gpubp.errors import DataError

TARGET_NAMES = ("target", "label", "class", "y")
"""Names that mark a column as the target, in upper or lower case."""

MAX_CODED_CLASSES = 20
"""Whole numbers are classes if there are at most this many and each occurs at least twice on average."""

_SEPARATED_NUMBER = re.compile(r"[-+]?(\d{1,3}([,.' \u00a0\u202f])\d{3}(\2\d{3})*([.,]\d+)?|\d+,\d+)")


def choose_targets(table: Table, target: str | Sequence[str] | None) -> tuple[str, ...]:
    """Choose the target columns: `target`, else those the source marks, else one of `TARGET_NAMES`, else the last."""
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
    """Raise a DataError that suggests the nearest name if the table has no such column."""
    if name not in table.columns:
        raise DataError(
            f"{table.source} has no column {name!r}{near_miss(name, table.columns)}; "
            f"it has {quoted_list(table.columns)}"
        )


def holds_categories(name: str, values: Column, categorical: Sequence[str]) -> bool:
    """Return whether a column holds categories; raise a DataError if it mixes numbers with some other text."""
    if name in categorical or values.dtype == bool:
        return True
    if values.dtype != object:
        return False
    counts = Counter(value for value in values if value is not None)
    refuse_separators(name, counts)
    if text_among_numbers(counts) is not None:
        as_numbers(name, values, f"correct it, or read categories: categorical=[{name!r}] (--categorical {name!r})")
    return True


def holds_classes(name: str, values: Column) -> bool:
    """Return whether a target holds classes: text, bools, or few whole numbers."""
    if values.dtype == object or values.dtype == bool:
        holds_categories(name, values, ())
        return True
    numbers = as_numbers(name, values)
    n_values = len(np.unique(numbers))
    is_whole = bool((numbers == np.round(numbers)).all())
    return is_whole and n_values <= MAX_CODED_CLASSES and len(numbers) >= 2 * n_values


def refuse_separators(name: str, counts: Counter[str]) -> None:
    """Raise a DataError if most values are numbers and some are written with separators, as in ``"1,234"``.

    Parameters
    ----------
    name : str
        Name of the column.
    counts : Counter
        How often each text occurs.
    """
    separated = {text: count for text, count in counts.items() if _has_separators(text)}
    n_numbers = sum(count for text, count in counts.items() if _number(text) is not None)
    if separated and n_numbers + sum(separated.values()) > counts.total() / 2:
        shown = brief(repr(next(iter(separated))), 60)
        raise DataError(
            f"column {name!r} seems to hold numbers with separators, such as {shown}: write plain numbers with a "
            f"decimal point (1234.5), or read categories: categorical=[{name!r}] (--categorical {name!r})"
        )


def text_among_numbers(counts: Counter[str]) -> str | None:
    """Return a text that is not a number from a column whose values are mostly numbers; None if all are numbers.

    Examples
    --------
    >>> for texts in (["1", "2", "x"], ["1", "x"], ["01"]):
    ...     print(text_among_numbers(Counter(texts)))
    x
    None
    None
    """
    others = [text for text in counts if _number(text) is None]
    n_numbers = counts.total() - sum(counts[text] for text in others)
    return others[0] if others and n_numbers > counts.total() / 2 else None


def missing_values(values: Column) -> NDArray[np.bool_]:
    """Return a mask of the missing values of a column."""
    if values.dtype == object:
        return np.array([value is None for value in values], dtype=bool)
    return np.isnan(values) if values.dtype.kind == "f" else np.zeros(len(values), dtype=bool)


def as_numbers(name: str, values: Column, fix: str = "correct it or leave the field empty") -> NDArray[np.float64]:
    """Return a column as float64, NaN where missing; raise a DataError at other text and at infinity."""
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


def quoted_list(names: Iterable[str]) -> str:
    """Quote names for a message; of more than twelve, show the first twelve and the count."""
    return shortened([brief(repr(name), 60) for name in names])


def shortened(items: list[str], limit: int = 12) -> str:
    """Join items for a message; of more than `limit`, show the first `limit` and the count."""
    rest = f", ... ({len(items)} in all)" if len(items) > limit else ""
    return ", ".join(items[:limit]) + rest


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _has_separators(text: str) -> bool:
    """Return whether a text is a number with thousands separators or a decimal comma."""
    return _number(text) is None and _SEPARATED_NUMBER.fullmatch(text.strip()) is not None


def _text(value: bool | int | float) -> str | None:
    if value != value:
        return None
    return repr(int(value) if isinstance(value, float) and value.is_integer() and abs(value) < 2**53 else value)
