"""A result as tables in Markdown: how each contender fared in each set of tables, and every score."""

import math
from statistics import median

from benchmarks.table import markdown, show_bytes, show_seconds
from benchmarks.tables.contenders import described
from benchmarks.tables.summary import NOTABLE, SHOWN, reference, summaries, tables_of

HEADINGS = [
    *("", "tables", "failed", "mean rank", "better / worse", "ratio", "median ratio", "CPU time", "wall time", "memory")
]


def report(result, against=None):
    """Format a whole result; `against` is the contender that others are compared with, by default the longest best."""
    reference_name = reference(result, against)
    lines = []
    for name in result["sets"]:
        lines += [f"## {name}", "", *overview(result, name, reference_name), "", *_each(result, name)]
    return "\n".join(lines)


def overview(result, set_name, against=None):
    """Return the lines of a table with a row for each contender."""
    against = reference(result, against)
    rows = [
        [
            described(one.name)[1],
            str(one.n_tables),
            str(one.n_failed),
            _number(one.mean_rank, ".2f"),
            "" if one.name == against else f"{one.n_better} / {one.n_worse}",
            "1" if one.name == against else _with_error(one.ratio, one.ratio_error),
            "1" if one.name == against else _number(one.median_ratio, ".3f"),
            _time(one.cpu_seconds),
            _time(one.seconds),
            "" if one.peak_bytes is None else show_bytes(one.peak_bytes),
        ]
        for one in summaries(result, set_name, against)
    ]
    return markdown(HEADINGS, rows)


def explanation(against):
    """Return what the columns of :func:`overview` are."""
    return (
        "Ratio: the log loss, or the root mean squared error, divided by that of "
        f"{described(against)[1]}; the geometric mean over tables, with its standard error. Better and worse: by "
        f"{100 * NOTABLE:g} %. Mean rank: on the tables on which all were run; a failed fit is last. Times and memory: "
        "medians over tables of a fit, without imports, and the peak of its process."
    )


def _number(value, form):
    return "" if value is None or math.isnan(value) else format(value, form)


def _with_error(ratio, error):
    if ratio is None:
        return ""
    return f"{ratio:.3f}" if error is None else f"{ratio:.3f} ± {error:.3f}"


def _time(seconds):
    return "" if seconds is None else show_seconds(seconds)


def _each(result, set_name):
    """Lay out the mean score of each contender on each table, over the seeds."""
    tables = result["sets"][set_name]
    names = list(dict.fromkeys(name for one in tables_of(result, set_name) for name in one.scores | one.failed))
    rows = []
    for name, table in tables.items():
        if "error" in table:
            rows.append([name, table["target"], "", "", table["error"]])
            continue
        found = list(table.get("seeds", {}).values())
        fits = {one: [seed["contenders"][one] for seed in found if one in seed["contenders"]] for one in names}
        cells = [_cell(fits[one], table.get("task")) for one in names]
        baseline = [seed["baseline"][SHOWN[table["task"]]] for seed in found if "baseline" in seed] if found else []
        shown = f"{sum(baseline) / len(baseline):.3f}" if baseline else ""
        rows.append(
            [name, table["target"], f"{table.get('rows', 0):,}", SHOWN.get(table.get("task"), ""), shown, *cells]
        )
    heads = ["table", "target", "rows", "score", "constant", *(described(name)[1] for name in names)]
    return [*markdown(heads, rows), ""]


def _cell(fits, task):
    if failed := [fit["failed"] for fit in fits if "failed" in fit]:
        return failed[0][:60]
    scores = [fit["scores"][SHOWN[task]] for fit in fits]
    return f"{sum(scores) / len(scores):.3f}" if scores else ""


def median_or_none(values):
    return median(values) if values else None
