"""Which rows are trained on, and which are held out: told by a row's number alone, so that one pass needs no draw."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from gpubp.errors import DataError


def check_parts(test_fraction: float, validation_fraction: float, seed: int) -> None:
    """Check what cuts a table into parts."""
    if not (isinstance(seed, int) and 0 <= seed < 2**32):
        raise DataError(f"seed must be a whole number from 0 to 2**32 - 1, got {seed!r}")
    if not (0 <= test_fraction < 1 and 0 <= validation_fraction < 1 and test_fraction + validation_fraction < 1):
        raise DataError(
            "test_fraction and validation_fraction must be parts of 1 that leave rows to train on, "
            f"got {test_fraction} and {validation_fraction}"
        )


def share_of_rows(first: int, n: int, fractions: Sequence[float], seed: int) -> NDArray[np.int8]:
    """Tell the share that each of ``n`` rows from number ``first`` on belongs to.

    Parameters
    ----------
    first, n : int
    fractions : sequence of float
        How large the shares 1, 2, ... are; what is left is the share 0.
    seed : int

    Returns
    -------
    (n,) array
        The numbers of shares. Each row's follows from a hash of its number, that of SplitMix64 (Steele, Lea and Flood
        2014), as if it was drawn: a share of fraction f of n rows has n f of them, give or take sqrt(n f (1 - f)).

    Examples
    --------
    >>> np.bincount(share_of_rows(0, 10_000, (0.1, 0.2), seed=0)).tolist()
    [7006, 997, 1997]
    >>> bool(np.all(share_of_rows(50, 10, (0.1, 0.2), 0) == share_of_rows(0, 60, (0.1, 0.2), 0)[50:]))
    True
    """
    with np.errstate(over="ignore"):
        hashed = np.arange(first, first + n, dtype=np.uint64)
        for number in (_mixed(np.asarray([seed], np.uint64))[0], np.uint64(0)):
            hashed = _mixed(hashed ^ number)
    drawn = (hashed >> np.uint64(11)).astype(np.float64) * 2.0**-53
    bounds = np.cumsum(fractions)
    shares = np.searchsorted(bounds, drawn, side="right") + 1
    return np.where(shares > len(bounds), 0, shares).astype(np.int8)


def _mixed(numbers: NDArray[np.uint64]) -> NDArray[np.uint64]:
    numbers = numbers + np.uint64(0x9E3779B97F4A7C15)
    numbers = (numbers ^ (numbers >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    numbers = (numbers ^ (numbers >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return numbers ^ (numbers >> np.uint64(31))
