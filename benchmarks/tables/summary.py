"""Statistics of a result: normalised scores, ranks, and ratios to one contender with their standard errors.

The normalised score is the log loss over that of the constant prediction, or the root mean squared error over that of
the mean: 1 is as good as knowing nothing. Scores of a table are geometric means over the seeds, and everything else is
over tables.
"""

import math
from statistics import fmean, median, stdev
from typing import NamedTuple

SHOWN = {"classification": "accuracy", "regression": "r2"}
LOSSES = {"classification": "log_loss", "regression": "rmse"}
NOTABLE = 0.01
"""The part by which a score must be better than another to count as better."""

LEAST = 0.01
"""Normalised scores are taken as at least this: below it, columns give the target away, and ratios say nothing."""


class OfTable(NamedTuple):
    """The contenders on one table: the logarithm of the normalised score, or why a fit failed; times and memory.

    `by_seed` has the logarithm for each seed of a contender.
    """

    task: str
    rows: int
    scores: dict[str, float]
    by_seed: dict[str, dict[str, float]]
    failed: dict[str, str]
    figures: dict[str, dict[str, float]]


class Summary(NamedTuple):
    """A contender on a set of tables; what could not be computed is None."""

    name: str
    n_tables: int
    n_failed: int
    mean_rank: float | None
    n_better: int
    n_worse: int
    ratio: float | None
    ratio_error: float | None
    median_ratio: float | None
    normalised: float | None
    cpu_seconds: float | None
    seconds: float | None
    peak_bytes: float | None


def tables_of(result, set_name, task=None):
    """Return an :class:`OfTable` for each table that was measured, of one task or of both."""
    found = []
    for table in result["sets"][set_name].values():
        seeds = {seed: one for seed, one in table.get("seeds", {}).items() if "baseline" in one}
        if seeds and task in (None, table["task"]):
            found.append(_of_table(table, seeds))
    return found


def _of_table(table, seeds):
    key = LOSSES[table["task"]]
    by_seed, failed, figures = {}, {}, {}
    for name in dict.fromkeys(name for seed in seeds.values() for name in seed["contenders"]):
        fits = {seed: one["contenders"][name] for seed, one in seeds.items() if name in one["contenders"]}
        if why := [fit["failed"] for fit in fits.values() if "failed" in fit]:
            failed[name] = why[0]
            continue
        by_seed[name] = {
            seed: math.log(max(fit["scores"][key] / seeds[seed]["baseline"][key], LEAST)) for seed, fit in fits.items()
        }
        figures[name] = {
            figure: median(values)
            for figure in ("cpu_seconds", "seconds", "peak_bytes")
            if None not in (values := [fit.get(figure) for fit in fits.values()])
        }
    scores = {name: fmean(logs.values()) for name, logs in by_seed.items()}
    return OfTable(table["task"], table["rows"], scores, by_seed, failed, figures)


def reference(result, against=None):
    """Return the contender that others are compared with: by default gpubp's best with the most time, or fast."""
    if against is not None:
        return against
    names = names_in(result)
    best = [name for name in names if name.startswith("best-")]
    return max(
        best, key=lambda name: float(name[5:-1]), default="fast" if "fast" in names else next(iter(names), "fast")
    )


def names_in(result):
    """Return the contenders of a result, in the order of their first fit."""
    return list(
        dict.fromkeys(
            name
            for tables in result["sets"].values()
            for table in tables.values()
            for seed in table.get("seeds", {}).values()
            for name in seed["contenders"]
        )
    )


def summaries(result, set_name, against, task=None):
    """Return a :class:`Summary` of each contender, the lowest ratio first."""
    tables = tables_of(result, set_name, task)
    names = [name for name in names_in(result) if any(name in one.scores | one.failed for one in tables)]
    ranks = mean_ranks(tables, names)
    found = [_summary(name, tables, against, ranks.get(name)) for name in names]
    return sorted(found, key=lambda one: math.inf if one.ratio is None else one.ratio)


def _summary(name, tables, against, mean_rank):
    mine = [one for one in tables if name in one.scores]
    logs = [one.scores[name] - one.scores[against] for one in mine if against in one.scores]
    notable = math.log1p(NOTABLE)
    ratio = math.exp(fmean(logs)) if logs else None

    def middle(figure):
        values = [one.figures[name][figure] for one in mine if figure in one.figures[name]]
        return median(values) if values else None

    return Summary(
        name=name,
        n_tables=len(mine),
        n_failed=sum(name in one.failed for one in tables),
        mean_rank=mean_rank,
        n_better=sum(log < -notable for log in logs),
        n_worse=sum(log > notable for log in logs),
        ratio=ratio,
        ratio_error=ratio * stdev(logs) / math.sqrt(len(logs)) if len(logs) > 1 else None,
        median_ratio=math.exp(median(logs)) if logs else None,
        normalised=math.exp(fmean(one.scores[name] for one in mine)) if mine else None,
        cpu_seconds=middle("cpu_seconds"),
        seconds=middle("seconds"),
        peak_bytes=middle("peak_bytes"),
    )


def mean_ranks(tables, names):
    """Return the mean rank of each contender on the tables on which all were run; equal ones share a rank.

    A failed fit has the last rank.
    """
    ranks = {name: [] for name in names}
    for table in tables:
        if all(name in table.scores or name in table.failed for name in names):
            scores = [table.scores.get(name, math.inf) for name in names]
            for name, score in zip(names, scores, strict=True):
                below, equal = sum(other < score for other in scores), sum(other == score for other in scores)
                ranks[name].append(below + (equal + 1) / 2)
    return {name: fmean(of_tables) for name, of_tables in ranks.items() if of_tables}
