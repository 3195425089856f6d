"""Print what each column of a table was taken for, and why."""

from collections.abc import Sequence

from rich.console import Console

from gpubp.cli.output import print_table
from gpubp.data.preprocessing import MAX_COUNTED, ColumnSummary

MOST_COLUMNS = 40
NAMES = {"drop": "dropped"}


def print_columns(summaries: Sequence[ColumnSummary], output: Console) -> None:
    """Print a row for each column; of more than `MOST_COLUMNS`, first those that are not plain numbers."""
    rows = [_row(summary) for summary in summaries]
    if len(rows) > MOST_COLUMNS:
        rows.sort(key=lambda row: (row[1] == "number" and row[3] == "", row[1] not in ("dropped", "target")))
    print_table(
        ["column", "type", "why", "missing", "distinct", "outliers"], rows[:MOST_COLUMNS], left=3, output=output
    )
    if len(rows) > MOST_COLUMNS:
        output.print(f"... and {len(rows) - MOST_COLUMNS:,} more columns")


def _row(summary: ColumnSummary) -> list[str]:
    distinct = f"{summary.n_distinct:,}" if summary.n_distinct < MAX_COUNTED else f"{MAX_COUNTED:,} or more"
    counts = [f"{count:,}" if count else "" for count in (summary.n_missing, summary.n_outliers)]
    return [summary.name, NAMES.get(summary.type, summary.type), summary.reason, counts[0], distinct, counts[1]]
