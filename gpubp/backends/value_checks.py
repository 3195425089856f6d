"""Checks of the values of arrays: what they have to know of all arrays on a device is downloaded at once."""

from collections.abc import Callable, Sequence

import array_api_compat
import numpy as np

from gpubp._typing import Array
from gpubp.backends.backend import to_numpy
from gpubp.errors import DataError

Facts = tuple[float, float]
"""The smallest and the largest number of an array; neither is finite if some number is not."""


class ValueChecks:
    """Checks that wait for a device once, and name everything that is wrong.

    Examples
    --------
    >>> checks = ValueChecks()
    >>> checks.add(lambda facts: "X has negative numbers" if facts[0] < 0.0 else None, np.array([1.0, -1.0]))
    >>> checks.finish()
    Traceback (most recent call last):
        ...
    gpubp.errors.DataError: X has negative numbers
    """

    def __init__(self) -> None:
        self._checks: list[tuple[Callable[..., str | None], int]] = []
        self._arrays: list[Array] = []

    def add(self, problem_of: Callable[..., str | None], *arrays: Array) -> None:
        """Add a check, which is called with the facts of each of these arrays, and returns what is wrong, or None.

        The arrays have at least one number; those of a device all have one precision.
        """
        self._checks.append((problem_of, len(arrays)))
        self._arrays += arrays

    def finish(self) -> None:
        """Raise a DataError with all that is wrong."""
        facts = iter(facts_of(self._arrays))
        problems = [problem_of(*(next(facts) for _ in range(n))) for problem_of, n in self._checks]
        if found := [problem for problem in problems if problem is not None]:
            raise DataError("\n".join(found))


@np.errstate(invalid="ignore")
def facts_of(arrays: Sequence[Array]) -> list[Facts]:
    """Return the facts of arrays, each on the host or on one device, with at most one download.

    Examples
    --------
    >>> facts_of([np.array([1.0, 3.0]), np.array([[2.0, np.nan]])])
    [(1.0, 3.0), (nan, nan)]
    """
    extremes, on_device = dict[int, np.ndarray](), list[int]()
    for k, array in enumerate(arrays):
        if array_api_compat.is_numpy_array(array):
            extremes[k] = np.stack([np.min(array), np.max(array)])
        else:
            on_device.append(k)
    if on_device:
        xp = array_api_compat.array_namespace(*(arrays[k] for k in on_device))
        numbers = [extreme(arrays[k]) for k in on_device for extreme in (xp.min, xp.max)]
        extremes |= dict(zip(on_device, to_numpy(xp.stack(numbers)).reshape(-1, 2), strict=True))
    return [(float(smallest), float(largest)) for smallest, largest in (extremes[k] for k in range(len(arrays)))]
