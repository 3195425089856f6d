"""Medians, spreads and ratios of the rounds in a result file."""

from statistics import median, quantiles
from typing import NamedTuple

from benchmarks.contenders import FLOORS, PEERS


class Timing(NamedTuple):
    """The median of the rounds, and their interquartile range relative to it."""

    seconds: float
    spread: float


def timing(seconds):
    """Summarise the rounds of one contender."""
    middle = median(seconds)
    lower, _, upper = quantiles(seconds, n=4, method="inclusive") if len(seconds) > 1 else seconds * 3
    return Timing(middle, (upper - lower) / middle)


def ratio(figures, reference):
    """Return the median over the rounds of the ratio of two times, so that slow rounds do not matter."""
    return median(a / b for a, b in zip(figures["seconds"], reference["seconds"], strict=True))


def timed(found):
    """Keep the contenders of a workload that have a time."""
    return {name: facts for name, facts in found.items() if facts.get("seconds")}


def fastest_peer(found, on_gpu=False):
    """Return the peer with the smallest median on one kind of device, or None."""
    peers = [name for name in timed(found) if name in PEERS and name.endswith("-cuda") == on_gpu]
    return min(peers, key=lambda name: median(found[name]["seconds"]), default=None)


def floor_of(found, name):
    """Return the floor of a contender, or None."""
    floor = FLOORS[1] if name.endswith("-cuda") else FLOORS[0]
    return floor if floor in timed(found) else None
