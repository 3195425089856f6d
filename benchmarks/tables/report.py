"""A result as tables in Markdown: how each contender fared in each set of tables, and every score."""

from statistics import fmean

from benchmarks.table import markdown, show_bytes, show_seconds
from benchmarks.tables.aims import verdicts
from benchmarks.tables.contenders import described
from benchmarks.tables.summary import LEAST, LOSSES, NOTABLE, SHOWN, reference, summaries, tables_of

HEADINGS = [
    *("", "tables", "failed", "mean rank", "better / worse", "ratio", "median ratio", "CPU time", "wall time", "memory")
]


def report(result, against=None):
    """Format a whole result; `against` is the contender that others are compared with, by default the longest best."""
    against = reference(result, against)
    lines = [explanation(against), ""]
    for name in result["sets"]:
        lines += [f"## {name}", ""]
        for task in (None, *LOSSES):
            if tables_of(result, name, task):
                lines += [f"{task or 'all tasks'}:", "", *overview(result, name, task, against), ""]
        lines += [*_each(result, name), ""]
    aims = [[one.what, one.limit, one.value, one.verdict] for one in verdicts(result)]
    return "\n".join([*lines, "## targets", "", *markdown(["target", "limit", "measured", ""], aims)])


def overview(result, set_name, task=None, against=None):
    """Return the lines of a table with a row for each contender, on the tables of one task or of both."""
    against = reference(result, against)
    rows = [
        [
            described(one.name)[1],
            str(one.n_tables),
            str(one.n_failed),
            "" if one.mean_rank is None else f"{one.mean_rank:.2f}",
            "" if one.name == against else f"{one.n_better} / {one.n_worse}",
            *(
                ["1", "1"]
                if one.name == against
                else [_with_error(one.ratio, one.ratio_error), _shown(one.median_ratio)]
            ),
            "" if one.cpu_seconds is None else show_seconds(one.cpu_seconds),
            "" if one.seconds is None else show_seconds(one.seconds),
            "" if one.peak_bytes is None else show_bytes(one.peak_bytes),
        ]
        for one in summaries(result, set_name, against, task)
    ]
    return markdown(HEADINGS, rows)


def explanation(against):
    """Return what the columns of :func:`overview` are."""
    return (
        f"Ratio: the log loss, or the root mean squared error, divided by that of {described(against)[1]}; the "
        "geometric mean over tables, with its standard error. Where columns give the target away, so that less than "
        f"{LEAST:g} of the constant prediction's is left, it is taken as that. Better and worse: by "
        f"{100 * NOTABLE:g} %. Mean rank: on the tables on which all were run; a failed fit is last. "
        "Times and memory: medians over tables of a fit, without imports, and the peak of its process."
    )


def _shown(ratio):
    return "" if ratio is None else f"{ratio:.3f}"


def _with_error(ratio, error):
    return _shown(ratio) if error is None else f"{ratio:.3f} ± {error:.3f}"


def _each(result, set_name):
    """Lay out the mean score of each contender on each table, over the seeds."""
    tables = result["sets"][set_name]
    names = list(dict.fromkeys(name for one in tables_of(result, set_name) for name in one.scores | one.failed))
    rows = []
    for name, table in tables.items():
        seeds = [seed for seed in table.get("seeds", {}).values() if "baseline" in seed]
        if "error" in table or not seeds:
            rows.append([name, table["target"], "", "", table.get("error", "")])
            continue
        score = SHOWN[table["task"]]
        fits = [[seed["contenders"][one] for seed in seeds if one in seed["contenders"]] for one in names]
        constant = f"{fmean(seed['baseline'][score] for seed in seeds):.3f}"
        row = [name, table["target"], f"{table['rows']:,}", score, constant]
        rows.append([*row, *(_cell(of_seeds, score) for of_seeds in fits)])
    labels = [described(name)[1] for name in names]
    return markdown(["table", "target", "rows", "score", "constant", *labels], rows)


def _cell(fits, score):
    """Show the mean score of the seeds, or why one failed."""
    if failed := [fit["failed"] for fit in fits if "failed" in fit]:
        return failed[0][:60]
    return f"{fmean(fit['scores'][score] for fit in fits):.3f}" if fits else ""
