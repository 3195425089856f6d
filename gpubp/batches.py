"""Cases, and the batches that they are cut into."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from gpubp._typing import Array, Namespace
from gpubp.backend import Backend, choose_backend, to_backend


class Batch(NamedTuple):
    """Cases x ``(..., b, i)``, desired outputs d ``(..., b, j)``, and how much each case counts ``(..., b)``.

    ``kept`` are the masks of dropout, ``(..., b, n)`` for the inputs and for each hidden layer, or nothing.
    """

    x: Array
    d: Array
    case_weights: Array | None = None
    kept: tuple[Array, ...] = ()


Batches = Iterable[tuple[float, Batch]]
"""The batches of one epoch, each with the part of the epoch that is done before it; see :func:`epochs_of`."""


def epochs_of(batches: Batches) -> int:
    """Count the epochs that batches are for: 1, but where they say themselves that they are gone through again."""
    return getattr(batches, "epochs", 1)


def total_weight(xp: Namespace, batch: Batch) -> Array:
    """Count the cases of a batch, each as much as its weight: ``(...)``, and without weights a plain float."""
    return float(batch.x.shape[-2]) if batch.case_weights is None else xp.sum(batch.case_weights, axis=-1)


@dataclass(frozen=True)
class ArrayBatches:
    """Cases that are arrays, cut into batches of ``size``, the last of which may be smaller.

    ``order`` is an array of NumPy, ``(n_cases,)``, or None where the cases come as they are. They are for ``epochs``
    epochs, all in the same order; one pass through them gives the batches of one. Where the cases are ``on_host`` they
    are arrays of NumPy, and go to the backend batch by batch.
    """

    backend: Backend
    cases: Batch
    size: int
    order: np.ndarray | None = None
    epochs: int = 1
    on_host: bool = False

    def __iter__(self) -> Iterator[tuple[float, Batch]]:
        if not self.on_host:
            yield from self._cut(self.backend)
            return
        for part, batch in self._cut(choose_backend("cpu")):
            x, d, weights = (None if array is None else to_backend(self.backend, array) for array in batch[:3])
            yield part, Batch(x, d, weights)

    def _cut(self, home: Backend) -> Iterator[tuple[float, Batch]]:
        """Cut the cases where they are."""
        xp, (x, d, weights, _), n_cases = home.xp, self.cases, self.cases.x.shape[-2]
        if self.order is None and self.size >= n_cases:
            yield 0.0, self.cases
            return
        index = "int32" if n_cases < 2**31 else "int64"
        order = None if self.order is None else to_backend(home, self.order, index)
        for start in range(0, n_cases, self.size):
            stop = min(start + self.size, n_cases)
            if order is None:
                x_part, d_part = x[..., start:stop, :], d[..., start:stop, :]
                weights_part = None if weights is None else weights[..., start:stop]
            else:
                chosen = order[start:stop]
                x_part, d_part = xp.take(x, chosen, axis=-2), xp.take(d, chosen, axis=-2)
                weights_part = None if weights is None else xp.take(weights, chosen, axis=-1)
            yield start / n_cases, Batch(x_part, d_part, weights_part)
