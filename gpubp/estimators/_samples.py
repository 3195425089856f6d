"""The training samples of an estimator, and their order as in scikit-learn."""

from typing import Any, NamedTuple

import numpy as np

from gpubp._typing import Array
from gpubp.backends.backend import Backend
from gpubp.backends.sparse_matmul import is_sparse, samples_of
from gpubp.distributed.process_group import SINGLE_PROCESS, ProcessGroup
from gpubp.engine.plain.dropout import Dropout
from gpubp.engine.plain.minibatches import ArrayBatches, Batch, Batches
from gpubp.training.stacks import next_order, row_numbers


class TrainingSamples(NamedTuple):
    """Training samples: x on the device, or sparse on the host; targets and weights on the device.

    With ``on_host`` all are NumPy arrays. With ``rows``, only these are for training. Each process uses its share of
    each batch.
    """

    backend: Backend
    precision: str
    x: Any
    targets: Array
    sample_weight: Array | None
    on_host: bool = False
    processes: ProcessGroup = SINGLE_PROCESS
    rows: np.ndarray | None = None

    @property
    def n_samples(self) -> int:
        """The number of training samples."""
        return int(self.targets.shape[0]) if self.rows is None else len(self.rows)

    def batch(self, rows: slice) -> Batch:
        """Take consecutive samples."""
        weights = None if self.sample_weight is None else self.sample_weight[rows]
        return Batch(samples_of(self.x, rows, self.precision), self.targets[rows, :], weights)


class BatchesInOrder:
    """The batches of each epoch in scikit-learn's order: the order of the previous epoch is shuffled, then cut."""

    def __init__(self, samples: TrainingSamples, size: int, random_state: np.random.RandomState | None) -> None:
        self.samples, self.size, self.random_state = samples, size, random_state
        self.order = row_numbers(samples.n_samples)
        x = samples.x.astype(samples.precision, copy=False) if is_sparse(samples.x) else samples.x
        self.all = Batch(x, samples.targets, samples.sample_weight)

    def __call__(self, dropout: Dropout | None = None) -> Batches:
        """Return the batches of one more epoch, with its dropout."""
        self.order, order = next_order(self.order, self.size, self.random_state)
        if self.samples.rows is not None:
            order = self.samples.rows if order is None else self.samples.rows[order]
        backend, on_host, processes = self.samples.backend, self.samples.on_host, self.samples.processes
        return ArrayBatches(backend, self.all, self.size, order, on_host=on_host, processes=processes, dropout=dropout)

    def state(self) -> Any:
        """Return the present order, and the state of the random numbers."""
        return self.order, self.random_state and self.random_state.get_state()

    def restore(self, state: Any) -> None:
        """Restore an earlier state."""
        self.order, draws = state
        if self.random_state is not None:
            self.random_state.set_state(draws)
