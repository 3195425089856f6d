"""Numbers that change while a network trains: step sizes, momenta. Each is called with the epochs done so far.

One epoch is one epoch through the samples, the paper's unit of time; between two epochs the count is a fraction. A
schedule is a plain value, so that it can be printed, compared, copied and pickled; any function of one number serves
as well.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

from gpubp._typing import Array
from gpubp.errors import DataError

Schedule = Callable[[float], float]


def value_at(setting: "float | Array | Schedule", epoch: float) -> "float | Array":
    """Evaluate a setting that may be a number, an array (one number a network) or a schedule.

    A number comes back as Python's own, which never widens the precision of the arrays it meets.
    """
    value = setting(epoch) if callable(setting) else setting
    return value if getattr(value, "shape", ()) else float(value)


@dataclass(frozen=True)
class PiecewiseConstant:
    """Constant between given epochs, as in the paper: ``PiecewiseConstant({0: 0.005, 20: 0.01})``.

    Examples
    --------
    >>> rate = PiecewiseConstant({0: 0.005, 20: 0.01})
    >>> rate(0), rate(19.9), rate(20)
    (0.005, 0.005, 0.01)
    """

    values: dict[float, float]

    def __post_init__(self) -> None:
        if not self.values:
            raise DataError(
                "PiecewiseConstant needs at least one epoch with its value, such as PiecewiseConstant({0: 0.1})"
            )

    def __call__(self, epoch: float) -> float:
        """Look up the value at the last step that is not after ``epoch``."""
        return self.values[max((start for start in self.values if start <= epoch), default=min(self.values))]


@dataclass(frozen=True)
class InverseScaling:
    """``start / (1 + epoch) ** power``.

    Examples
    --------
    >>> InverseScaling(0.1)(3)
    0.05
    """

    start: float
    power: float = 0.5

    def __call__(self, epoch: float) -> float:
        """Scale the start down by a power of the epochs done."""
        return float(self.start / (1.0 + epoch) ** self.power)


@dataclass(frozen=True)
class Cosine:
    """From ``start`` to ``end`` along half a cosine over ``epochs``, then constant (Loshchilov & Hutter 2017).

    Examples
    --------
    >>> [round(Cosine(0.1, epochs=10)(epoch), 3) for epoch in (0, 5, 10, 11)]
    [0.1, 0.05, 0.0, 0.0]
    """

    start: float
    epochs: float
    end: float = 0.0

    def __call__(self, epoch: float) -> float:
        """Follow the cosine to its end and stay there."""
        done = min(epoch / self.epochs, 1.0) if self.epochs > 0 else 1.0
        return self.end + 0.5 * (self.start - self.end) * (1.0 + math.cos(math.pi * done))


@dataclass(frozen=True)
class WarmUp:
    """Grow in a straight line from 0 over ``epochs``, then follow ``then``, a number or a schedule of its own.

    Examples
    --------
    >>> rate = WarmUp(5, then=0.1)
    >>> rate(0), rate(2.5), rate(9)
    (0.0, 0.05, 0.1)
    """

    epochs: float
    then: float | Schedule

    def __call__(self, epoch: float) -> float:
        """Scale what follows by the part of the warm-up that is done."""
        after = self.then(epoch) if callable(self.then) else self.then
        return after * min(epoch / self.epochs, 1.0) if self.epochs > 0 else after
