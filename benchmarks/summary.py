"""What many rounds come to: medians, spreads and ratios, computed from what a result file holds."""

from statistics import median, quantiles
from typing import NamedTuple

from benchmarks.contenders import FLOORS, PEERS


class Timing(NamedTuple):
    """The median of the rounds, and the distance between their quartiles in parts of it."""

    seconds: float
    spread: float


def timing(seconds):
    """Sum up the rounds of one contender."""
    middle = median(seconds)
    lower, _, upper = quantiles(seconds, n=4, method="inclusive") if len(seconds) > 1 else seconds * 3
    return Timing(middle, (upper - lower) / middle)


def ratio(ours, theirs):
    """The median over the rounds of our time in parts of theirs: what slows one whole round does not count."""
    return median(a / b for a, b in zip(ours["seconds"], theirs["seconds"], strict=True))


def timed(found):
    """Keep the contenders of a workload that have a time."""
    return {name: facts for name, facts in found.items() if facts.get("seconds")}


def fastest_peer(found, on_gpu=False):
    """Name the peer with the smallest median on one kind of device, or nothing."""
    peers = [name for name in timed(found) if name in PEERS and name.endswith("-cuda") == on_gpu]
    return min(peers, key=lambda name: median(found[name]["seconds"]), default=None)


def floor_of(found, name):
    """Name the floor under a contender, or nothing."""
    floor = FLOORS[1] if name.endswith("-cuda") else FLOORS[0]
    return floor if floor in timed(found) else None
