"""Print what each column of a table was taken for, and why."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from types import MappingProxyType

from rich.console import Console

from gpubp._core.text import counted, escaped, excerpt, shortened
from gpubp.cli.output import print_table, print_warning
from gpubp.data.preprocessing import (
    MAX_COUNTED,
    CategoryColumn,
    ClassTarget,
    ColumnSummary,
    NumberColumn,
    Preprocessing,
    WordsColumn,
)

MOST_COLUMNS = 40

TYPE_NAMES = {"drop": "dropped"}
"""Types whose names on the screen differ."""

_YES_OR_NO = {"False": "no", "True": "yes"}

_PLAIN_REASONS = ("numbers", "text", "classes")  # that say no more than the type

OF_TRAINING_ROWS, OF_ALL_ROWS = "values and outliers of", "missing and distinct of all rows"
"""Which rows the table of columns describes, where some are held out."""

TYPE_ADVICE = "to take a column for something else: --type NAME=number, category, date, words or drop"


def print_columns(
    preprocessing: Preprocessing, output: Console, *, ranges: Mapping[str, tuple[float, float]] = MappingProxyType({})
) -> None:
    """Print a row for each column; of more than `MOST_COLUMNS`, first those that are not complete numbers.

    `ranges` are the minimum and maximum of numeric targets. Counts that are all zero have no column, and on a terminal
    values and reasons are cut to its width.
    """
    summaries = list(preprocessing.summaries)
    if len(summaries) > MOST_COLUMNS:
        summaries.sort(key=lambda one: (one.type == "number" and not one.n_missing, one.type != "target"))
    values = values_of(preprocessing, ranges)
    rows = [_row(summary, values.get(summary.name, "")) for summary in summaries[:MOST_COLUMNS]]
    headings = ["column", "type", "values", "why", "missing", "distinct", "outliers"]
    shown = [index for index in range(len(headings)) if index < 4 or any(row[index] for row in rows)]
    print_table(
        [headings[index] for index in shown],
        [[row[index] for index in shown] for row in rows],
        left=4,
        cut=(2, 3, 0),
        output=output,
    )
    for mark in dict.fromkeys(one.likely_missing for one in summaries if one.likely_missing):
        names = shortened([excerpt(repr(one.name), 60) for one in summaries if one.likely_missing == mark], 6)
        print_warning(
            f"{mark} stands apart from all other numbers of {names}: if it means missing, pass --missing {mark}"
        )
    if len(summaries) > MOST_COLUMNS:
        rest = counted(len(summaries) - MOST_COLUMNS, "more column", "more columns")
        are_plain = all(one.type == "number" and not one.n_missing for one in summaries[MOST_COLUMNS:])
        output.print(f"... and {rest}{' of numbers without missing values' if are_plain else ''}")


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


def _row(summary: ColumnSummary, values: str) -> list[str]:
    distinct = f"{summary.n_distinct:,}" if summary.n_distinct < MAX_COUNTED else f"{MAX_COUNTED:,}+"
    counts = [f"{count:,}" if count else "" for count in (summary.n_missing, summary.n_outliers)]
    column_type = TYPE_NAMES.get(summary.type, summary.type)
    reason = "" if summary.reason in _PLAIN_REASONS else summary.reason
    return [summary.name, column_type, values, reason, counts[0], distinct, counts[1]]


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
