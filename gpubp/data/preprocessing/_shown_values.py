"""The values of each column in a few words, for tables of columns on the screen and in reports."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from types import MappingProxyType

from gpubp._core.text import escaped, shortened
from gpubp.data.preprocessing._records import (
    CategoryColumn,
    ClassTarget,
    ColumnSummary,
    NumberColumn,
    Preprocessing,
    WordsColumn,
)

_YES_OR_NO = {"False": "no", "True": "yes"}
_PLAIN_REASONS = ("numbers", "text", "classes")  # that say no more than the type


def shown_type(summary: ColumnSummary) -> str:
    """Return the name of the type of a column."""
    return "dropped" if summary.type == "drop" else summary.type


def shown_reason(summary: ColumnSummary) -> str:
    """Return why a column has its type, unless that says no more than the type."""
    return "" if summary.reason in _PLAIN_REASONS else summary.reason


def values_of(
    preprocessing: Preprocessing, ranges: Mapping[str, tuple[float, float]] = MappingProxyType({})
) -> dict[str, str]:
    """Return the range, the categories or the words of each column that has inputs, and those of the targets."""
    values = {name: f"{low:.6g} to {high:.6g}" for name, (low, high) in ranges.items()}
    for column in preprocessing.columns:
        if isinstance(column, NumberColumn):
            values[column.name] = f"{column.low:.6g} to {column.high:.6g}"
        elif isinstance(column, CategoryColumn):
            names = _YES_OR_NO if column.kind == "bool" else {}
            values[column.name] = _listed(tuple(names.get(text, text) for text in column.categories))
        elif isinstance(column, WordsColumn):
            values[column.name] = _listed(column.words)
        else:
            shown = _time if column.is_time else _date
            values[column.name] = f"{shown(column.low)} to {shown(column.high)}"
    if isinstance(preprocessing.target, ClassTarget):
        values[preprocessing.target.name] = _listed(preprocessing.target.classes)
    return values


def _listed(texts: tuple[str, ...]) -> str:
    return shortened([text if len(text) <= 20 else f"{text[:19]}…" for text in map(escaped, texts)], 4)


def _time(seconds: float) -> str:
    """Return a time of the day; hours of one that is none, as a model file may have."""
    if not 0.0 <= seconds < 86400.0:
        return f"{seconds / 3600.0:.6g} h"
    when = datetime.fromtimestamp(seconds, UTC)
    return when.strftime("%H:%M:%S" if when.second else "%H:%M")


def _date(seconds: float) -> str:
    try:
        when = datetime.fromtimestamp(0, UTC) + timedelta(seconds=seconds)
    except OverflowError:
        return f"{seconds:.6g} s"
    return when.date().isoformat() if when.time() == when.min.time() else when.strftime("%Y-%m-%d %H:%M")
