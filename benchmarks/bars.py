"""gpubp's performance targets on a GPU, each with its limit and the workload that measures it."""

from collections.abc import Callable
from statistics import median
from typing import NamedTuple

CORES_OF_A_SEARCH = 16  # available to scikit-learn in the target of the search


class Bar(NamedTuple):
    """``value(found, facts)`` is computed from a row's contenders; it must be at most, or at least, ``limit``."""

    name: str
    row: str
    limit: float
    value: Callable
    at_least: bool = False
    condition: Callable = lambda facts: None  # why the figure does not count on this machine, or None


def seconds(found, name="gpubp-cuda"):
    """Return the median of a contender's rounds."""
    return median(found[name]["seconds"])


def relative_to(*names):
    """Return gpubp's time relative to the fastest of some contenders, all of which must have a time."""
    return lambda found: seconds(found) / min(seconds(found, name) for name in names)


def _too_few_cores(facts):
    if facts["cores"] < CORES_OF_A_SEARCH:
        return f"scikit-learn must have {CORES_OF_A_SEARCH} cores, but this machine has {facts['cores']}"
    return None


STEP, EPOCH, STACK = "gpu/step/784-256-10", "gpu/epoch/6-2-1", "gpu/stack/1024x20-64-64-2"
WIDE = {"tf32": "gpu/wide/tf32", "bfloat16": "gpu/wide/bfloat16"}
SEARCH = "gpu/search/digits"
PROGRAMS = ("torch-graph-cuda", "torch-compile-cuda", "jax-scan-cuda")
BARS = [
    Bar("784-256-10, batch 128: seconds per step", STEP, 20e-6, seconds),
    Bar(
        "784-256-10, batch 128: time relative to the best of graph, torch.compile, scan",
        STEP,
        0.8,
        relative_to(*PROGRAMS),
    ),
    Bar("6-2-1: seconds per epoch of one full batch", EPOCH, 5e-6, seconds),
    Bar(
        "1,024 networks 20-64-64-2: speed-up over torch, eager, one after another",
        STACK,
        100.0,
        lambda found: 1 / relative_to("torch-cuda")(found),
        at_least=True,
    ),
    *(
        Bar(
            f"4 layers of 4096, batch 8192, {matmul}: time relative to the products' best times",
            row,
            1.15,
            relative_to("cublaslt-cuda"),
        )
        for matmul, row in WIDE.items()
    ),
    Bar(
        "320 networks on digits: speed-up over scikit-learn's search",
        SEARCH,
        20.0,
        lambda found: 1 / relative_to("scikit-learn")(found),
        at_least=True,
        condition=_too_few_cores,
    ),
]


def verdicts(rows, facts, *, dry_run=False):
    """Compare every target with the measurements.

    Parameters
    ----------
    rows : dict
        The results of the contenders by the name of the workload; empty for those that were not measured.
    facts : dict
        Of the machine: ``"cores"``.

    Returns
    -------
    list of dict
        ``"bar"``, ``"limit"``, ``"value"`` or None, and ``"verdict"``: met, missed, or not measured and why.
    """
    return [{"bar": bar.name, "limit": bar.limit} | _verdict(bar, rows.get(bar.row), facts, dry_run) for bar in BARS]


def _verdict(bar, found, facts, dry_run):
    if found is None:
        return {"value": None, "verdict": f"not measured: {bar.row} has not run"}
    try:
        value = bar.value(found)
    except (KeyError, ValueError):  # a contender that is missing or has no times
        return {"value": None, "verdict": f"not measured: {_lacking(found)}"}
    why = "of a dry run" if dry_run else bar.condition(facts)
    if why:
        return {"value": value, "verdict": f"not measured: {why}"}
    met = value >= bar.limit if bar.at_least else value <= bar.limit
    return {"value": value, "verdict": "met" if met else "missed"}


def _lacking(found):
    reasons = ("failed", "unable", "absent")
    words = {name: next((facts[key] for key in reasons if key in facts), "no time") for name, facts in found.items()}
    return "; ".join(f"{name}: {words[name]}" for name, facts in found.items() if not facts.get("seconds"))


def crossover(rows):
    """Find where a GPU pays off: the ratio of GPU time to CPU time by width, and the smallest width from which it
    stays below 1, or None.
    """
    ratios = {}
    for name, found in rows.items():
        if name.startswith("gpu/crossover/") and all(found.get(n, {}).get("seconds") for n in ("gpubp", "gpubp-cuda")):
            ratios[int(name.rpartition("/")[2])] = relative_to("gpubp")(found)
    from_on = None
    for width in sorted(ratios, reverse=True):
        if ratios[width] >= 1:
            break
        from_on = width
    return {"gpu / cpu by width": {str(width): ratios[width] for width in sorted(ratios)}, "pays from width": from_on}
