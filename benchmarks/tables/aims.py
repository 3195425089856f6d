"""gpubp's targets on tables, each with its limit and what a result says of it.

Ratios are geometric means over tables of log loss or root mean squared error, and of CPU time; ``best`` is the one with
the most time.
"""

import math
from statistics import fmean, stdev
from typing import NamedTuple

from benchmarks.tables.summary import reference, summaries, tables_of

SETS = ("developed on", "others")
LEAST_ROWS, LEAST_SEEDS, ERRORS = 500, 10, 2.0
"""Of the comparison with the linear model."""


class Verdict(NamedTuple):
    """A target, its limit, what was measured, and whether it is met."""

    what: str
    limit: str
    value: str
    verdict: str


def verdicts(result):
    """Compare every target with a result, set by set; one that lacks a contender is not measured."""
    return [one for set_name in SETS if set_name in result["sets"] for one in _of_set(result, set_name)]


def _of_set(result, set_name):
    best = reference(result)
    tables = tables_of(result, set_name)

    def ratio(name, other, limit, task=None):
        (found, *_) = [one for one in summaries(result, set_name, other, task) if one.name == name] or [None]
        of_task = f", {task}" if task else ""
        what = f"{set_name}: {name} / {other}{of_task}"
        if found is None or found.ratio is None:
            return Verdict(what, f"{limit:g}", "", "not measured")
        error = "" if found.ratio_error is None else f" ± {found.ratio_error:.3f}"
        return Verdict(what, f"{limit:g}", f"{found.ratio:.3f}{error}", _met(found.ratio <= limit))

    def wins(name, other):
        (found, *_) = [one for one in summaries(result, set_name, other) if one.name == name] or [None]
        what = f"{set_name}: {name}, better and worse than {other} by 1 %"
        if found is None or found.ratio is None:
            return Verdict(what, "more better", "", "not measured")
        return Verdict(what, "more better", f"{found.n_better} / {found.n_worse}", _met(found.n_better > found.n_worse))

    def time(name, other, limit):
        logs = [
            math.log(one.figures[name]["cpu_seconds"] / one.figures[other]["cpu_seconds"])
            for one in tables
            if name in one.figures and other in one.figures
        ]
        what = f"{set_name}: CPU time of {name} / {other}"
        if not logs:
            return Verdict(what, f"{limit:g}", "", "not measured")
        value = math.exp(fmean(logs))
        return Verdict(what, f"{limit:g}", f"{value:.3f}", _met(value <= limit))

    return [
        ratio(best, "RealMLP-TD", 1.0),
        wins(best, "RealMLP-TD"),
        time(best, "RealMLP-TD", 0.3),
        ratio("fast", "RealMLP-TD", 1.02),
        time("fast", "RealMLP-TD", 0.1),
        ratio("fast", "RealMLP-TD-S", 1.02),
        time("fast", "RealMLP-TD-S", 0.05),
        _pairs(set_name, tables, best, "HistGradientBoosting"),
        ratio(best, "HistGradientBoosting", 0.97, "regression"),
        ratio("fast", "HistGradientBoosting", 1.03, "regression"),
        ratio("fast", "HistGradientBoosting", 1.0, "classification"),
        *(_never_below_linear(set_name, tables, name) for name in dict.fromkeys(("fast", best))),
    ]


def _met(is_met):
    return "met" if is_met else "missed"


def _pairs(set_name, tables, name, other):
    """Count the pairs of a table and a seed in which one contender is better."""
    pairs = [
        one.by_seed[name][seed] < one.by_seed[other][seed]
        for one in tables
        if name in one.by_seed and other in one.by_seed
        for seed in one.by_seed[name]
        if seed in one.by_seed[other]
    ]
    what = f"{set_name}: part of the pairs in which {name} is better than {other}"
    return Verdict(
        what,
        "at least 0.6",
        f"{fmean(pairs):.3f}" if pairs else "",
        _met(fmean(pairs) >= 0.6) if pairs else "not measured",
    )


def _never_below_linear(set_name, tables, name):
    """Name the larger tables on which a contender is worse than the linear model by more than two standard errors."""
    what = f"{set_name}: tables of {LEAST_ROWS} rows on which {name} is worse than linear by {ERRORS:g} standard errors"
    compared, worse, fewest = 0, 0, math.inf
    for one in tables:
        if one.rows >= LEAST_ROWS and name in one.by_seed and "linear" in one.by_seed:
            seeds = one.by_seed[name].keys() & one.by_seed["linear"].keys()
            logs = [one.by_seed[name][seed] - one.by_seed["linear"][seed] for seed in seeds]
            if len(logs) > 1:
                compared, fewest = compared + 1, min(fewest, len(logs))
                worse += fmean(logs) > ERRORS * stdev(logs) / math.sqrt(len(logs))
    if fewest < LEAST_SEEDS or not compared:
        shown = f"{worse} of {compared} with {fewest} seeds" if compared else ""
        return Verdict(what, "0", shown, f"not measured: needs {LEAST_SEEDS} seeds")
    return Verdict(what, "0", f"{worse} of {compared}", _met(worse == 0))
