"""The samples that an estimator learns from, and scikit-learn's order of them."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import scipy
import scipy.optimize
import scipy.sparse
from sklearn.utils import gen_batches

from gpubp._typing import Array
from gpubp.backends.backend import Backend, to_backend
from gpubp.distributed.process_group import SINGLE_PROCESS, ProcessGroup
from gpubp.engine.plain.minibatches import ArrayBatches, Batch, Batches
from gpubp.estimators._arrays import dense


class Samples(NamedTuple):
    """Samples to learn from: x on the device, or sparse on the host; the targets and weights on the device.

    Where they are ``on_host`` all are arrays of NumPy. Of each batch this process has its share.
    """

    backend: Backend
    precision: str
    x: Any
    targets: Array
    sample_weight: Array | None
    on_host: bool = False
    processes: ProcessGroup = SINGLE_PROCESS

    def batch(self, rows: slice) -> Batch:
        """Take consecutive samples."""
        weights = None if self.sample_weight is None else self.sample_weight[rows]
        return Batch(dense(self.backend, self.precision, self.x, rows), self.targets[rows, :], weights)

    def chosen(self, rows: np.ndarray) -> Batch:
        """Take samples of a sparse x by number."""
        xp, on_device = self.backend.xp, to_backend(self.backend, rows)
        x = to_backend(self.backend, self.x[rows].toarray(), self.precision)
        weights = None if self.sample_weight is None else xp.take(self.sample_weight, on_device, axis=0)
        return Batch(x, xp.take(self.targets, on_device, axis=0), weights)


def next_order(
    order: np.ndarray, size: int, random_state: np.random.RandomState | None
) -> tuple[np.ndarray, np.ndarray | None]:
    """Shuffle the running order; what it is then, and the order to take batches in: None as the samples lie."""
    if random_state is None:
        return order, None
    # the numbers that sklearn.utils.shuffle draws, without its checks
    shuffled = np.arange(len(order))
    random_state.shuffle(shuffled)
    order = order[shuffled]
    return order, order if size < len(order) else None


class BatchesInOrder:
    """The batches of each epoch in scikit-learn's order: the running order is shuffled anew, then cut."""

    def __init__(self, samples: Samples, size: int, random_state: np.random.RandomState | None) -> None:
        self.samples, self.size, self.random_state = samples, size, random_state
        self.order = np.arange(samples.targets.shape[0])
        self.all = Batch(samples.x, samples.targets, samples.sample_weight)

    def __call__(self) -> Batches:
        """Give the batches of one more epoch."""
        self.order, order = next_order(self.order, self.size, self.random_state)
        if scipy.sparse.issparse(self.samples.x):
            return self._made_dense(order)
        backend, on_host, processes = self.samples.backend, self.samples.on_host, self.samples.processes
        return ArrayBatches(backend, self.all, self.size, order, on_host=on_host, processes=processes)

    def _made_dense(self, order: np.ndarray | None) -> Iterator[tuple[float, Batch]]:
        """Make batches of sparse samples one by one."""
        for part in gen_batches(len(self.order), self.size):
            share = self.samples.processes.shard(part.stop - part.start)
            own = slice(part.start + share.start, part.start + share.stop)
            batch = self.samples.batch(own) if order is None else self.samples.chosen(order[own])
            yield part.start / len(self.order), batch._replace(share=share)
