"""Print what each column of a table was taken for, and why."""

from datetime import UTC, datetime, timedelta

from rich.console import Console

from gpubp._core.text import escaped, shortened
from gpubp.cli.output import print_table
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

_PLAIN_REASONS = ("numbers", "text", "classes")  # that say no more than the type

TYPE_ADVICE = "to take a column for something else: --type NAME=number, category, date, words or drop"


def print_columns(preprocessing: Preprocessing, output: Console) -> None:
    """Print a row for each column; of more than `MOST_COLUMNS`, first those that are not complete numbers."""
    summaries = list(preprocessing.summaries)
    if len(summaries) > MOST_COLUMNS:
        summaries.sort(key=lambda one: (one.type == "number" and not one.n_missing, one.type != "target"))
    values = values_of(preprocessing)
    rows = [_row(summary, values.get(summary.name, "")) for summary in summaries[:MOST_COLUMNS]]
    headings = ["column", "type", "values", "why", "missing", "distinct", "outliers"]
    print_table(headings, rows, left=4, output=output)
    if len(summaries) > MOST_COLUMNS:
        output.print(f"... and {len(summaries) - MOST_COLUMNS:,} more columns of numbers without missing values")


def values_of(preprocessing: Preprocessing) -> dict[str, str]:
    """Return the range, the categories or the words of each column that has inputs, and the classes of the target."""
    values = {}
    for column in preprocessing.columns:
        if isinstance(column, NumberColumn):
            values[column.name] = f"{column.low:.6g} to {column.high:.6g}"
        elif isinstance(column, CategoryColumn):
            values[column.name] = _listed(column.categories)
        elif isinstance(column, WordsColumn):
            values[column.name] = _listed(column.words)
        else:
            values[column.name] = f"{_date(column.low)} to {_date(column.high)}"
    if isinstance(preprocessing.target, ClassTarget):
        values[preprocessing.target.name] = _listed(preprocessing.target.classes)
    return values


def _row(summary: ColumnSummary, values: str) -> list[str]:
    distinct = f"{summary.n_distinct:,}" if summary.n_distinct < MAX_COUNTED else f"{MAX_COUNTED:,} or more"
    counts = [f"{count:,}" if count else "" for count in (summary.n_missing, summary.n_outliers)]
    column_type = TYPE_NAMES.get(summary.type, summary.type)
    reason = "" if summary.reason in _PLAIN_REASONS else summary.reason
    return [summary.name, column_type, values, reason, counts[0], distinct, counts[1]]


def _listed(texts: tuple[str, ...]) -> str:
    return shortened([text if len(text) <= 20 else f"{text[:19]}…" for text in map(escaped, texts)], 4)


def _date(seconds: float) -> str:
    try:
        when = datetime.fromtimestamp(0, UTC) + timedelta(seconds=seconds)
    except OverflowError:
        return f"{seconds:.6g} s"
    return when.date().isoformat() if when.time() == when.min.time() else when.strftime("%Y-%m-%d %H:%M")
