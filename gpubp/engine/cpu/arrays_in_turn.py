"""Arrays of one shape that are used again, since new memory is slow."""

import sys

import numpy as np


class ArraysInTurn:
    """Gives an array that nothing else refers to: one that it gave before, or a new one. It keeps the last ``n``."""

    def __init__(self, shape: tuple[int, ...], dtype: np.dtype | str, n: int = 3) -> None:
        self.shape, self.dtype, self.n = shape, dtype, n
        self.given: list[np.ndarray] = []

    def next(self) -> np.ndarray:
        """Return an array, whose numbers mean nothing."""
        free = next((own for own in self.given if sys.getrefcount(own) <= HELD_BY_A_LIST_ALONE), None)
        if free is None:
            free = np.empty(self.shape, self.dtype)
        self.given = [free, *(own for own in self.given if own is not free)][: self.n]
        return free


HELD_BY_A_LIST_ALONE = next(sys.getrefcount(own) for own in [np.empty(0)])
"""References that Python counts to an array that only a list has, in a loop over the list."""
