"""Numbers that seem drawn, but follow from the number of a row alone, so that rows can be read in any order."""

import numpy as np
from numpy.typing import NDArray

GOLDEN = np.uint64(0x9E3779B97F4A7C15)
"""The increment of SplitMix64: 2^64 divided by the golden ratio."""


def drawn_by_row(first: int, n: int, seed: int) -> NDArray[np.float64]:
    """Return a number in [0, 1) for each of `n` rows from number `first` on.

    It follows from a hash of the row's number, that of SplitMix64 (Steele, Lea and Flood 2014).

    Examples
    --------
    >>> bool(np.all(drawn_by_row(50, 10, seed=0) == drawn_by_row(0, 60, seed=0)[50:]))
    True
    """
    return drawn_by_number(np.arange(first, first + n, dtype=np.uint64), seed)


def drawn_by_number(numbers: NDArray[np.integer], seed: int, *, stream: int = 0) -> NDArray[np.float64]:
    """Return what :func:`drawn_by_row` does, for rows of any numbers ``(n,)``; each `stream` has others."""
    hashed = numbers.astype(np.uint64)
    with np.errstate(over="ignore"):
        for number in (mixed(np.asarray([seed], np.uint64) + GOLDEN)[0], np.uint64(stream)):
            hashed = mixed((hashed ^ number) + GOLDEN)
    return (hashed >> np.uint64(11)).astype(np.float64) * 2.0**-53


def mixed(bits: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return a hash of each number: the finalizer of SplitMix64."""
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        bits = (bits ^ (bits >> np.uint64(shift))) * np.uint64(factor)
    return bits ^ (bits >> np.uint64(31))
