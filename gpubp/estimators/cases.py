"""The cases that an estimator learns from, and scikit-learn's order of them."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import scipy
import scipy.optimize
import scipy.sparse
from sklearn.utils import gen_batches, shuffle

from gpubp._typing import Array
from gpubp.backend import Backend, to_backend
from gpubp.estimators.arrays import dense
from gpubp.step import Batch, Step


class Cases(NamedTuple):
    """Cases to learn from: x on the device, or sparse on the host; the desired outputs and weights on the device."""

    backend: Backend
    precision: str
    x: Any
    d: Array
    case_weights: Array | None

    def batch(self, rows: slice) -> Batch:
        """Take consecutive cases."""
        weights = None if self.case_weights is None else self.case_weights[rows]
        return Batch(dense(self.backend, self.precision, self.x, rows), self.d[rows, :], weights)

    def chosen(self, order: np.ndarray, order_on_device: Array, part: slice) -> Batch:
        """Take the cases that a part of ``order`` names."""
        xp, rows = self.backend.xp, order_on_device[part]
        if scipy.sparse.issparse(self.x):
            x = to_backend(self.backend, self.x[order[part]].toarray(), self.precision)
        else:
            x = xp.take(self.x, rows, axis=0)
        weights = None if self.case_weights is None else xp.take(self.case_weights, rows, axis=0)
        return Batch(x, xp.take(self.d, rows, axis=0), weights)


class BatchesInOrder:
    """The batches of each epoch in scikit-learn's order: the running order is shuffled anew, then cut."""

    def __init__(self, cases: Cases, size: int, random_state: np.random.RandomState | None) -> None:
        self.cases, self.size, self.random_state = cases, size, random_state
        self.order = np.arange(cases.d.shape[0])

    def __call__(self) -> Iterator[tuple[float, Batch]]:
        """Give the batches of one more epoch."""
        n_cases, order_on_device = len(self.order), None
        if self.random_state is not None:
            self.order = shuffle(self.order, random_state=self.random_state)
            if self.size < n_cases:
                order_on_device = to_backend(self.cases.backend, self.order)
        for part in gen_batches(n_cases, self.size):
            if order_on_device is None:
                yield part.start / n_cases, self.cases.batch(part)
            else:
                yield part.start / n_cases, self.cases.chosen(self.order, order_on_device, part)


def weighed_by_cases(step: Step, theta: Array, state: Any, batch: Batch, epoch: float) -> tuple[Array, Any, Array]:
    """Take a step whose value counts as much as the batch has cases, whatever they weigh, as in scikit-learn."""
    theta, state, value = step(theta, state, batch, epoch)
    return theta, state, value * float(batch.x.shape[0])
