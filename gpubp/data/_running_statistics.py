"""Statistics of numbers that arrive in pieces.

The means and variances of pieces are merged by the formula of Chan, Golub and LeVeque (1979), so that they equal those
of all numbers up to rounding.
"""

import math

import numpy as np
from numpy.typing import NDArray

from gpubp.errors import DataError

SAMPLE_SIZE = 1 << 16
"""Maximum number of values that :class:`RunningSample` keeps."""

SMALLEST_SPREAD = 1e-150  # smaller deviations have squares of 0 in float64


def check_spread(name: str, spread: float) -> None:
    """Refuse a column that is not constant, but whose squared deviations vanish: it would be scaled as if constant."""
    if 0.0 < spread < SMALLEST_SPREAD:
        raise DataError(
            f"column {name!r} holds numbers too small to standardise: they differ by at most {spread:g}; write them "
            "in another unit"
        )


class RunningMoments:
    """Count, mean, sum of squared differences from the mean, minimum and maximum.

    Examples
    --------
    >>> moments = RunningMoments()
    >>> for piece in ([1.0, 2.0], [6.0]):
    ...     moments.add(np.asarray(piece))
    >>> moments.n, moments.mean, moments.squares, moments.minimum, moments.maximum
    (3, 3.0, 14.0, 1.0, 6.0)
    """

    def __init__(self) -> None:
        self.n, self.mean, self.squares, self.minimum, self.maximum = 0, 0.0, 0.0, math.inf, -math.inf

    def add(self, values: NDArray[np.float64]) -> None:
        """Add more numbers."""
        if not len(values):
            return
        with np.errstate(over="ignore", invalid="ignore"):
            n, mean = self.n + len(values), float(values.mean())
            difference = mean - self.mean
            self.squares += float(np.sum((values - mean) ** 2)) + difference * difference * (self.n * len(values) / n)
            self.mean += difference * (len(values) / n)
        self.n = n
        self.minimum = min(self.minimum, float(values.min()))
        self.maximum = max(self.maximum, float(values.max()))

    def mean_and_scale(self, name: str) -> tuple[float, float]:
        """Return the mean and the standard deviation; for a constant column its value and 1."""
        if self.minimum == self.maximum:
            return self.minimum, 1.0
        check_spread(name, self.maximum - self.minimum)
        scale = math.sqrt(self.squares / self.n) if self.squares >= 0 else math.nan
        if not (math.isfinite(self.mean) and math.isfinite(scale)):
            largest = max(abs(self.minimum), abs(self.maximum))
            raise DataError(f"column {name!r} holds numbers too large to standardise (up to {largest:g})")
        return self.mean, scale


class RunningSample:
    """A uniform sample: each value gets a random key, and the values with the lowest keys are kept."""

    def __init__(self) -> None:
        self.values, self.marks, self.rng = np.empty(0), np.empty(0), np.random.default_rng(0)

    def add(self, values: NDArray[np.float64]) -> None:
        """Add more numbers."""
        self.values = np.concatenate([self.values, values])
        self.marks = np.concatenate([self.marks, self.rng.random(len(values))])
        if len(self.marks) > SAMPLE_SIZE:
            lowest = np.argpartition(self.marks, SAMPLE_SIZE)[:SAMPLE_SIZE]
            self.values, self.marks = self.values[lowest], self.marks[lowest]
