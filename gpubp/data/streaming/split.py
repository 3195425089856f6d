"""The split of a table into training, validation and test rows, by the number of each row alone.

One pass over the files needs no stored draws, and rows can be read in any order.
"""

from collections.abc import Sequence
from numbers import Real

import numpy as np
from numpy.typing import NDArray

from gpubp._core.counts import is_count
from gpubp.errors import DataError

SPLITS = ("train", "validation", "test")
"""Names of the splits, in the order of the numbers that :func:`assign_splits` returns."""


def validate_fractions(test_fraction: float, validation_fraction: float, seed: int) -> None:
    """Raise a DataError if the fractions or the seed of a split are out of range."""
    if not (is_count(seed, least=0) and seed < 2**32):
        raise DataError(f"seed must be a whole number from 0 to 2**32 - 1, got {seed!r}")
    are_numbers = all(isinstance(fraction, Real) for fraction in (test_fraction, validation_fraction))
    if not (
        are_numbers
        and 0 <= test_fraction < 1
        and 0 <= validation_fraction < 1
        and test_fraction + validation_fraction < 1
    ):
        raise DataError(
            "test_fraction and validation_fraction must be fractions of the rows, at least 0 and together less than 1, "
            f"got {test_fraction!r} and {validation_fraction!r}"
        )


def assign_splits(first: int, n: int, fractions: Sequence[float], seed: int) -> NDArray[np.int8]:
    """Return the split of each of `n` rows from number `first` on.

    Parameters
    ----------
    first, n : int
    fractions : sequence of float
        Fractions of the splits 1, 2, ...; the remaining rows are split 0.
    seed : int

    Returns
    -------
    (n,) array
        The numbers of the splits. Each follows from a hash of the row's number, that of SplitMix64 (Steele, Lea and
        Flood 2014), as if it were drawn: a fraction f of n rows is n f rows, give or take sqrt(n f (1 - f)).

    Examples
    --------
    >>> np.bincount(assign_splits(0, 10_000, (0.1, 0.2), seed=0)).tolist()
    [7006, 997, 1997]
    >>> bool(np.all(assign_splits(50, 10, (0.1, 0.2), 0) == assign_splits(0, 60, (0.1, 0.2), 0)[50:]))
    True
    """
    with np.errstate(over="ignore"):
        hashed = np.arange(first, first + n, dtype=np.uint64)
        for number in (_mix(np.asarray([seed], np.uint64))[0], np.uint64(0)):
            hashed = _mix(hashed ^ number)
    drawn = (hashed >> np.uint64(11)).astype(np.float64) * 2.0**-53
    bounds = np.cumsum(fractions)
    splits = np.searchsorted(bounds, drawn, side="right") + 1
    return np.where(splits > len(bounds), 0, splits).astype(np.int8)


def _mix(numbers: NDArray[np.uint64]) -> NDArray[np.uint64]:
    numbers = numbers + np.uint64(0x9E3779B97F4A7C15)
    numbers = (numbers ^ (numbers >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    numbers = (numbers ^ (numbers >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return numbers ^ (numbers >> np.uint64(31))
