"""Shared weights and missing connections.

Rumelhart, Hinton & Williams (1986) train an iterative network as a layered one with equal weights in every layer: each
copy of a weight changes by the average of the copies' derivatives. Averaging projects the gradient onto the space of
equal weights, so with every optimizer the weights stay equal.
"""

from functools import cached_property

import numpy as np

from gpubp._typing import Array, Namespace

ABSENT = -1


class Ties:
    """The positions of ``theta`` that hold the same weight.

    Parameters
    ----------
    numbers : sequence of int
        The number of the weight at each position of ``theta``; -1 for no connection.
    """

    def __init__(self, numbers: tuple[int, ...]) -> None:
        numbers_array = np.asarray(numbers, dtype=np.int64)
        self.present = numbers_array != ABSENT
        _, first, self.index, counts = np.unique(
            numbers_array[self.present], return_index=True, return_inverse=True, return_counts=True
        )
        self.first, self.counts = np.flatnonzero(self.present)[first], counts

    @property
    def only_absent(self) -> bool:
        """Whether connections are missing but no two weights are equal."""
        return bool(np.all(self.counts == 1))

    @cached_property
    def mask(self) -> np.ndarray:
        """A ``(P,)`` array: 1 for a connection, 0 for no connection."""
        mask: np.ndarray = self.present.astype(float)
        return mask

    @cached_property
    def _members(self) -> list[np.ndarray]:
        """The positions of each weight, one row each; weights with equal counts share an array (n_weights, count)."""
        positions = np.flatnonzero(self.present)[np.argsort(self.index, kind="stable")]
        starts = np.cumsum(self.counts) - self.counts
        return [positions[starts[self.counts == n, None] + np.arange(n)] for n in np.unique(self.counts)]

    @cached_property
    def _rows(self) -> np.ndarray:
        """For each position the row of :attr:`_members` it is in, or one past the last for no connection: (P,)."""
        rows = np.full(len(self.present), len(self.counts), dtype=np.int64)
        start = 0
        for members in self._members:
            rows[members] = start + np.arange(len(members))[:, None]
            start += len(members)
        return rows

    def average(self, xp: Namespace, dE_dw: Array, device: object) -> Array:
        """Average the derivatives of tied weights; 0 where there is no connection.

        Parameters
        ----------
        dE_dw : (..., P) array
        device : object
            The device of the array.

        Returns
        -------
        (..., P) array
        """
        if self.only_absent:
            return dE_dw * xp.asarray(self.mask, dtype=dE_dw.dtype, device=device)
        leading = dE_dw.shape[:-1]
        averages = []
        for members in self._members:
            gathered = xp.take(dE_dw, xp.asarray(np.ravel(members), device=device), axis=-1)
            averages.append(xp.sum(xp.reshape(gathered, (*leading, *members.shape)), axis=-1) / members.shape[1])
        zero = xp.zeros((*leading, 1), dtype=dE_dw.dtype, device=device)
        return xp.take(xp.concat([*averages, zero], axis=-1), xp.asarray(self._rows, device=device), axis=-1)

    def tie(self, theta: np.ndarray) -> np.ndarray:
        """Set tied weights to the value of the first, and missing connections to 0: ``(..., P)``."""
        tied = np.zeros_like(theta)
        tied[..., self.present] = theta[..., self.first[self.index]]
        return tied
