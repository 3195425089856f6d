"""A page of HTML with the columns of a table: what they are taken for, and small histograms. It loads nothing."""

from collections import Counter
from collections.abc import Sequence
from html import escape

import numpy as np

from gpubp._core.text import counted, excerpt
from gpubp.data.preprocessing import (
    ColumnSummary,
    DateColumn,
    FittedTable,
    NumberColumn,
    Preprocessing,
    read_dates,
    read_numbers,
    shown_type,
    values_of,
)
from gpubp.data.table import Table

N_BARS = 20
_WIDTH, _HEIGHT = 160, 36
_STYLE = """
:root { color-scheme: light dark; --bar: #2a6f97; --line: #8884; }
@media (prefers-color-scheme: dark) { :root { --bar: #7fb8d8; } }
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 76rem; padding: 0 1rem; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; padding: .4rem .7rem; border-bottom: 1px solid var(--line); vertical-align: top; }
td.count, th.count { text-align: right; font-variant-numeric: tabular-nums; }
tr.drop td { opacity: .6; }
rect { fill: var(--bar); }
"""


def column_page(source: str, n_rows: int, table: Table, fitted: FittedTable) -> str:
    """Return the page; histograms show the rows of `table`, which may be the first part of a large one."""
    preprocessing = fitted.preprocessing
    summaries, values = preprocessing.summaries, values_of(preprocessing, fitted.ranges)
    rows = "\n".join(_row(summary, values.get(summary.name, ""), table, preprocessing) for summary in summaries)
    shown = "" if table.n_rows == n_rows else f" Histograms show the first {counted(table.n_rows, 'row')}."
    title = f"Columns of {escape(excerpt(source, 200))}"
    heads = "".join(f'<th class="count">{name}</th>' for name in ("Missing", "Distinct", "Outliers"))
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>{title}</title>
<style>{_STYLE}</style>
</head>
<body>
<h1>{title}</h1>
<p>{counted(n_rows, "row")}, {counted(len(summaries), "column")}.{shown} To take a column for something else, pass
<code>--type NAME=number</code>, <code>category</code>, <code>date</code>, <code>words</code> or <code>drop</code>.</p>
<table>
<thead><tr><th>Column</th><th>Type</th><th>Values</th><th>Why</th>{heads}</tr></thead>
<tbody>
{rows}
</tbody>
</table>
</body>
</html>
"""


def _row(summary: ColumnSummary, values: str, table: Table, preprocessing: Preprocessing) -> str:
    counts = (summary.n_missing, summary.n_distinct, summary.n_outliers)
    cells = "".join(f'<td class="count">{count:,}</td>' for count in counts)
    return (
        f'<tr class="{escape(summary.type)}"><td>{escape(excerpt(summary.name, 100))}</td>'
        f"<td>{escape(shown_type(summary))}</td>"
        f"<td>{_histogram(summary.name, table, preprocessing)}<br>{escape(values)}</td>"
        f"<td>{escape(summary.reason)}</td>{cells}</tr>"
    )


def _histogram(name: str, table: Table, preprocessing: Preprocessing) -> str:
    """Return bars of a column's values: bins of numbers and dates, the most frequent of other values."""
    column = next((column for column in preprocessing.columns if column.name == name), None)
    if isinstance(column, NumberColumn):
        values = read_numbers(table, name, column.number_format, preprocessing.missing).values
    elif isinstance(column, DateColumn):
        values = read_dates(table, name, column.date_format, preprocessing.missing).values
    elif table.columns[name].dtype.kind in "iuf":
        values = table.columns[name].astype(np.float64)
    else:
        frequent = Counter(text for text in table.texts(name).tolist() if text is not None).most_common(N_BARS)
        return _bars([n for _, n in frequent], [f"{excerpt(str(text), 60)}: {n:,}" for text, n in frequent])
    values = values[np.isfinite(values)]
    if not len(values):
        return ""
    heights, edges = np.histogram(values, min(N_BARS, max(1, len(np.unique(values[:1000])))))
    labels = [f"{low:.6g} to {high:.6g}: {n:,}" for low, high, n in zip(edges, edges[1:], heights, strict=False)]
    return _bars(heights.tolist(), labels)


def _bars(heights: Sequence[int], labels: Sequence[str]) -> str:
    if not heights or not max(heights):
        return ""
    width = _WIDTH / max(len(heights), 4)
    bars = "".join(
        f'<rect x="{index * width:.1f}" y="{_HEIGHT * (1 - n / max(heights)):.1f}" width="{width * 0.86:.1f}" '
        f'height="{_HEIGHT * n / max(heights):.1f}"><title>{escape(label)}</title></rect>'
        for index, (n, label) in enumerate(zip(heights, labels, strict=True))
    )
    return f'<svg width="{_WIDTH}" height="{_HEIGHT}" role="img" aria-label="histogram">{bars}</svg>'
