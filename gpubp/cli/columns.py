"""Print what each column of a table was taken for, and why."""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from rich.console import Console

from gpubp._core.text import counted, excerpt, shortened
from gpubp.cli.output import print_table, print_warning
from gpubp.data.preprocessing import (
    MAX_COUNTED,
    ColumnSummary,
    Preprocessing,
    shown_reason,
    shown_type,
    values_of,
)

MOST_COLUMNS, MOST_BEFORE_TRAINING = 40, 20

OF_TRAINING_ROWS, OF_ALL_ROWS = "values and outliers of", "missing and distinct of all rows"
"""Which rows the table of columns describes, where some are held out."""

ALL_IN_A_PIPE = "; a pipe, such as 2>&1 | less, or --json has all"

TYPE_ADVICE = "to take a column for something else: --type NAME=number, category, date, words or drop"


def print_columns(
    preprocessing: Preprocessing,
    output: Console,
    *,
    ranges: Mapping[str, tuple[float, float]] = MappingProxyType({}),
    path: Path | None = None,
) -> None:
    """Print a row for each column; of more than `MOST_COLUMNS`, first those that are not complete numbers.

    In a pipe all are printed. `ranges` are the minimum and maximum of numeric targets. Counts that are all zero have no
    column, and on a terminal values and names are cut to its width, and reasons wrapped. With the `path` of the model
    that is trained at most `MOST_BEFORE_TRAINING` are shown, since its file will have all.
    """
    summaries = list(preprocessing.summaries)
    most = MOST_COLUMNS if output.is_terminal else len(summaries)
    if path is not None:
        most = min(most, MOST_BEFORE_TRAINING)
    if len(summaries) > most:
        summaries.sort(key=lambda one: (one.type == "number" and not one.n_missing, one.type != "target"))
    values = values_of(preprocessing, ranges)
    rows = [_row(summary, values.get(summary.name, "")) for summary in summaries[:most]]
    headings = ["column", "type", "values", "why", "missing", "distinct", "outliers"]
    shown = [index for index in range(len(headings)) if index < 4 or any(row[index] for row in rows)]
    print_table(
        [headings[index] for index in shown],
        [[row[index] for index in shown] for row in rows],
        left=4,
        cut=(2, 0, 3),
        wrap=3,
        output=output,
    )
    for mark in dict.fromkeys(one.likely_missing for one in summaries if one.likely_missing):
        names = shortened([excerpt(repr(one.name), 60) for one in summaries if one.likely_missing == mark], 6)
        print_warning(
            f"{mark} stands apart from all other numbers of {names}: if it means missing, pass --missing {mark}"
        )
    if len(summaries) > most:
        rest = counted(len(summaries) - most, "more column", "more columns")
        are_plain = all(one.type == "number" and not one.n_missing for one in summaries[most:])
        how = ALL_IN_A_PIPE if path is None else f"; when it is trained, gpubp show {path} lists all"
        output.print(
            f"... and {rest}{' of numbers without missing values' if are_plain else ''}{how}",
            soft_wrap=not output.is_terminal,
        )


def _row(summary: ColumnSummary, values: str) -> list[str]:
    distinct = f"{summary.n_distinct:,}" if summary.n_distinct < MAX_COUNTED else f"{MAX_COUNTED:,}+"
    counts = [f"{count:,}" if count else "" for count in (summary.n_missing, summary.n_outliers)]
    return [summary.name, shown_type(summary), values, shown_reason(summary), counts[0], distinct, counts[1]]
