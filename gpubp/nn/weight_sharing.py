"""Weights that are equal, and connections that are not there.

The paper trains an iterative network as a layered one whose corresponding weights are the same in every layer: keep the
derivatives of all copies, and change each copy by their average. For derivatives that is the projection onto the
weights that are equal, so every optimizer stays among them.
"""

from functools import cached_property

import numpy as np

from gpubp._typing import Array, Namespace

ABSENT = -1


class Ties:
    """Which places of ``theta`` hold the same weight.

    Parameters
    ----------
    numbers : sequence of int
        For each place of ``theta`` the number of its weight; places of one number are equal. -1: no connection.
    """

    def __init__(self, numbers: tuple[int, ...]) -> None:
        of_place = np.asarray(numbers, dtype=np.int64)
        self.present = of_place != ABSENT
        _, first, self.index, counts = np.unique(
            of_place[self.present], return_index=True, return_inverse=True, return_counts=True
        )
        self.first, self.counts = np.flatnonzero(self.present)[first], counts

    @property
    def only_absent(self) -> bool:
        """Whether no two places are equal: connections are missing, and that is all."""
        return bool(np.all(self.counts == 1))

    @cached_property
    def mask(self) -> np.ndarray:
        """1 where there is a connection, 0 where there is none: ``(P,)``."""
        mask: np.ndarray = self.present.astype(float)
        return mask

    @cached_property
    def _members(self) -> list[np.ndarray]:
        """The places of each weight, one row each; those with as many are in one array, (n_weights, count)."""
        places = np.flatnonzero(self.present)[np.argsort(self.index, kind="stable")]
        starts = np.cumsum(self.counts) - self.counts
        return [places[starts[self.counts == n, None] + np.arange(n)] for n in np.unique(self.counts)]

    @cached_property
    def _places(self) -> np.ndarray:
        """Which of all members' rows each place is in, and behind the last where there is no connection: (P,)."""
        places = np.full(len(self.present), len(self.counts), dtype=np.int64)
        start = 0
        for members in self._members:
            places[members] = start + np.arange(len(members))[:, None]
            start += len(members)
        return places

    def average(self, xp: Namespace, dE_dw: Array, device: object) -> Array:
        """Give every place the average of the derivatives at the places tied to it, and 0 where there is no connection.

        Parameters
        ----------
        dE_dw : (..., P) array
        device : object
            Of the array.

        Returns
        -------
        (..., P) array
        """
        if self.only_absent:
            return dE_dw * xp.asarray(self.mask, dtype=dE_dw.dtype, device=device)
        leading = dE_dw.shape[:-1]
        averages = []
        for members in self._members:
            spread = xp.take(dE_dw, xp.asarray(np.ravel(members), device=device), axis=-1)
            averages.append(xp.sum(xp.reshape(spread, (*leading, *members.shape)), axis=-1) / members.shape[1])
        of_none = xp.zeros((*leading, 1), dtype=dE_dw.dtype, device=device)
        return xp.take(xp.concat([*averages, of_none], axis=-1), xp.asarray(self._places, device=device), axis=-1)

    def tie(self, theta: np.ndarray) -> np.ndarray:
        """Make the places of each weight equal to its first, and 0 where there is no connection: ``(..., P)``."""
        tied = np.zeros_like(theta)
        tied[..., self.present] = theta[..., self.first[self.index]]
        return tied
