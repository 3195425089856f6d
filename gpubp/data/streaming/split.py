"""The split of a table into training, validation and test rows, by the number of each row alone.

One pass over the files needs no stored draws, and rows can be read in any order.
"""

from collections.abc import Sequence
from numbers import Real

import numpy as np
from numpy.typing import NDArray

from gpubp._core.counts import is_count
from gpubp.data._draws_by_row import drawn_by_row
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
        The numbers of the splits. Each follows from a hash of the row's number as if it were drawn: a fraction f of n
        rows is n f rows, give or take sqrt(n f (1 - f)).

    Examples
    --------
    >>> np.bincount(assign_splits(0, 10_000, (0.1, 0.2), seed=0)).tolist()
    [7006, 997, 1997]
    >>> bool(np.all(assign_splits(50, 10, (0.1, 0.2), 0) == assign_splits(0, 60, (0.1, 0.2), 0)[50:]))
    True
    """
    bounds = np.cumsum(fractions)
    splits = np.searchsorted(bounds, drawn_by_row(first, n, seed), side="right") + 1
    return np.where(splits > len(bounds), 0, splits).astype(np.int8)
