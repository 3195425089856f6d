"""Schedules: settings of an optimizer, such as the learning rate, as functions of the number of epochs done.

The number of epochs is a fraction within an epoch. The schedules here are values: they can be printed, compared, copied
and pickled. Any function of one number can be used as a schedule; it is called once more before training, for 0.0, to
check it.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from gpubp._core.names import ABOVE_0, Range
from gpubp._typing import Array
from gpubp.errors import DataError

Schedule = Callable[[float], float]
MOST_CYCLES = 50
"""Of :class:`CosineCycles`: the first of more would be too short for the digits of a float."""


def value_at(setting: "float | Array | Schedule", epoch: float) -> "float | Array":
    """Return the value of a setting that is a number, an array (one number for each network) or a schedule.

    A number is returned as a Python float, which does not change the dtype of the arrays it is combined with.
    """
    value = setting(epoch) if callable(setting) else setting
    return value if getattr(value, "shape", ()) else float(value)


def first_value(name: str, schedule: Schedule) -> Any:
    """Return the value of a schedule before training, so that one which cannot be called is an error at once.

    Raises
    ------
    DataError
        If it is a class, or raises an exception.
    """
    check_is_made(name, schedule)
    try:
        return schedule(0.0)
    except Exception as error:  # of a user's function
        raise DataError(
            f"{name} must be a number, or a function of the number of epochs done; {schedule!r:.80} fails for 0.0: "
            f"{type(error).__name__}: {error}"
        ) from error


def check_is_made(name: str, schedule: Any) -> None:
    """Check that a schedule is not the class that makes it."""
    if isinstance(schedule, type):
        raise DataError(
            f"{name} must be a number or a schedule, such as Cosine(0.1, epochs=50); got the class {schedule.__name__}"
        )


def _check(schedule: Any, **ranges: Range) -> None:
    """Check the numbers of a schedule.

    All settings of optimizers are 0 or more, and so are the values of a schedule.
    """
    for name, allowed in ranges.items():
        _check_number(f"{name} of {type(schedule).__name__}", getattr(schedule, name), allowed)


def _check_number(what: str, value: Any, allowed: Range) -> None:
    if value not in allowed:
        raise DataError(f"{what} must be a number, {allowed}, got {value!r:.80}")


def is_fixed(setting: "float | Array | Schedule") -> bool:
    """Return whether a setting is a number, an array or a schedule of this module: no function that may change."""
    if isinstance(setting, WarmUp):
        return is_fixed(setting.then)
    return not callable(setting) or isinstance(
        setting, PiecewiseConstant | InverseScaling | Cosine | FlatCosine | CosineCycles
    )


@dataclass(frozen=True)
class PiecewiseConstant:
    """A value that changes at given epochs, as in Rumelhart, Hinton & Williams (1986).

    Parameters
    ----------
    values : dict
        From the epoch at which a value starts to the value.

    Examples
    --------
    >>> rate = PiecewiseConstant({0: 0.005, 20: 0.01})
    >>> rate(0), rate(19.9), rate(20)
    (0.005, 0.005, 0.01)
    """

    values: dict[float, float]

    def __post_init__(self) -> None:
        if not (isinstance(self.values, Mapping) and self.values):
            raise DataError(
                "PiecewiseConstant needs a dict with at least one epoch and its value, such as "
                f"PiecewiseConstant({{0: 0.1}}); got {self.values!r:.80}"
            )
        for start, value in self.values.items():
            _check_number("an epoch of PiecewiseConstant", start, Range(0))
            _check_number("a value of PiecewiseConstant", value, Range(0))

    def __call__(self, epoch: float) -> float:
        """Return the value of the last start that is not after ``epoch``; before the first start, the first value."""
        return self.values[max((start for start in self.values if start <= epoch), default=min(self.values))]


@dataclass(frozen=True)
class InverseScaling:
    """Inverse scaling: ``start / (1 + epoch) ** power``.

    Examples
    --------
    >>> InverseScaling(0.1)(3)
    0.05
    """

    start: float
    power: float = 0.5

    def __post_init__(self) -> None:
        _check(self, start=Range(0), power=Range(0))

    def __call__(self, epoch: float) -> float:
        """Return ``start / (1 + epoch) ** power``."""
        return float(self.start / (1.0 + epoch) ** self.power)


@dataclass(frozen=True)
class Cosine:
    r"""Cosine annealing (Loshchilov & Hutter 2017) from ``start`` to ``end`` over ``epochs``, then constant.

    :math:`\mathrm{end} + \frac12 (\mathrm{start} - \mathrm{end}) (1 + \cos(\pi\, t / \mathrm{epochs}))` after t epochs.

    Examples
    --------
    >>> [round(Cosine(0.1, epochs=10)(epoch), 3) for epoch in (0, 5, 10, 11)]
    [0.1, 0.05, 0.0, 0.0]
    """

    start: float
    epochs: float
    end: float = 0.0

    def __post_init__(self) -> None:
        _check(self, start=Range(0), epochs=ABOVE_0, end=Range(0))

    def __call__(self, epoch: float) -> float:
        """Return the value after ``epoch`` epochs."""
        done = min(epoch / self.epochs, 1.0)
        return self.end + 0.5 * (self.start - self.end) * (1.0 + math.cos(math.pi * done))


@dataclass(frozen=True)
class FlatCosine:
    r"""Constant, then half a cosine down to 0 at ``epochs`` (Holzmüller et al. 2024, "flat_cos").

    ``start`` for the fraction ``flat`` of the epochs, then :math:`\frac12\, \mathrm{start}\, (1 + \cos(\pi u))`, where
    u grows from 0 to 1 over the others.

    Examples
    --------
    >>> [round(FlatCosine(0.1, epochs=10)(epoch), 3) for epoch in (0, 5, 7.5, 10, 11)]
    [0.1, 0.1, 0.05, 0.0, 0.0]
    """

    start: float
    epochs: float
    flat: float = 0.5

    def __post_init__(self) -> None:
        _check(self, start=Range(0), epochs=ABOVE_0)
        if self.flat not in Range(0, 1):
            raise DataError(
                f"flat is the fraction of the epochs of FlatCosine's constant part, {Range(0, 1)}; got {self.flat!r}"
            )

    def __call__(self, epoch: float) -> float:
        """Return the value after ``epoch`` epochs."""
        constant = self.flat * self.epochs
        if not constant <= epoch < self.epochs:
            return self.start if epoch < constant else 0.0
        return Cosine(self.start, self.epochs - constant)(epoch - constant)


@dataclass(frozen=True)
class CosineCycles:
    r"""Cosine waves, each twice as long as the one before (Holzmüller et al. 2024; "coslog4" has four).

    :math:`\frac12\, \mathrm{peak}\, (1 - \cos(2 \pi \log_2(1 + (2^\mathrm{cycles} - 1)\, t / \mathrm{epochs})))` after
    t epochs. Every cycle begins and ends at 0, and so does the first step.

    Examples
    --------
    >>> [round(CosineCycles(0.1, epochs=15)(epoch), 3) for epoch in (0, 1, 3, 7, 2**3.5 - 1, 15, 16)]
    [0.0, 0.0, 0.0, 0.0, 0.1, 0.0, 0.0]
    """

    peak: float
    epochs: float
    cycles: int = 4

    def __post_init__(self) -> None:
        _check(self, peak=Range(0), epochs=ABOVE_0, cycles=Range(1, MOST_CYCLES, integer=True))

    def __call__(self, epoch: float) -> float:
        """Return the value after ``epoch`` epochs."""
        done = min(epoch / self.epochs, 1.0)
        cycle = math.log2(1.0 + (2.0**self.cycles - 1.0) * done)
        return 0.5 * self.peak * (1.0 - math.cos(2.0 * math.pi * cycle))


@dataclass(frozen=True)
class WarmUp:
    """Linear warm-up: multiply ``then``, a number or a schedule, by a factor that grows from 0 to 1 over ``epochs``.

    Examples
    --------
    >>> rate = WarmUp(5, then=0.1)
    >>> rate(0), rate(2.5), rate(9)
    (0.0, 0.05, 0.1)
    """

    epochs: float
    then: float | Schedule

    def __post_init__(self) -> None:
        if self.epochs not in Range(0):
            raise DataError(
                f"the epochs of WarmUp must be a number, {Range(0)}, got {self.epochs!r}; the schedule is its second "
                "argument: WarmUp(5, then=Cosine(0.1, epochs=50))"
            )
        check_is_made("then of WarmUp", self.then)
        if not callable(self.then):
            _check(self, then=Range(0))

    def __call__(self, epoch: float) -> float:
        """Return the value after ``epoch`` epochs."""
        after = self.then(epoch) if callable(self.then) else self.then
        return after * min(epoch / self.epochs, 1.0) if self.epochs > 0 else after


SCHEDULES: dict[str, Callable[[float, float], Schedule]] = {
    "cosine": Cosine,
    "flat_cosine": FlatCosine,
    "coslog4": CosineCycles,
}
"""Schedules over all epochs of a training, by name: made from the largest value and the number of epochs."""
