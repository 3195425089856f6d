"""What the steps of an epoch on a CUDA device do, how the epoch is cut into them, and which rows each network takes."""

from typing import NamedTuple

import numpy as np

from gpubp._typing import Array
from gpubp.engine.plain.minibatches import ArrayBatches, PerNetworkBatches
from gpubp.engine.plain.step import Objective
from gpubp.engine.tracing.optimizers import UpdateCode
from gpubp.optim.first_order import Setting

NDIM = (2, 2, 1)  # of inputs, targets and weights, if all networks share them


class StepSpec(NamedTuple):
    """What steps do: minimize an objective in one precision; ``update`` is the optimizer's update in C.

    ``factors``, (P,) or (K, P) each, are its settings that have a number for each parameter; ``max_norm``, if it is not
    None, is the setting to which the norm of the gradient is limited. With ``loss_scaled`` the loss has a scale.
    """

    objective: Objective
    update: UpdateCode
    dtype: str
    factors: tuple[np.ndarray, ...] = ()
    max_norm: Setting | None = None
    loss_scaled: bool = False

    @property
    def clipped(self) -> bool:
        """Whether the norm of the gradient is limited."""
        return self.max_norm is not None

    @property
    def more_settings(self) -> dict[str, Setting]:
        """The settings that follow those of the update, in the order of the kernels."""
        l2 = {"l2": self.objective.l2}
        return l2 if self.max_norm is None else {"max_norm": self.max_norm, **l2}


class BatchPlan(NamedTuple):
    """How an epoch, or a part of one, is cut into steps.

    Attributes
    ----------
    size : int
        Samples of a batch.
    n_samples : int
        Of an epoch; in a stack, of the network that has the most.
    window : int
        Steps that are launched as one graph.
    gathered : bool
        Whether the samples of a step are gathered; otherwise the single step reads all of them in place.
    on_host : bool
        Whether the samples are on the host.
    own_rows : bool
        Whether networks take other samples, or in another order.
    padded : bool
        Whether the last batches of networks, or of processes, differ in size; samples of weight 0 fill up smaller ones.
    drops : tuple of bool
        Whether the inputs, and each hidden layer, have dropout; empty if none has.
    """

    size: int
    n_samples: int
    window: int
    gathered: bool
    on_host: bool = False
    own_rows: bool = False
    padded: bool = False
    drops: tuple[bool, ...] = ()

    @property
    def n_steps(self) -> int:
        """The number of steps of an epoch."""
        return -(-self.n_samples // self.size)


def rows_of_networks(batches: ArrayBatches | PerNetworkBatches, n_networks: int) -> np.ndarray:
    """Return how many samples each network has, and where its own begin in the order and in the sample weights."""
    if isinstance(batches, PerNetworkBatches):
        return batches.rows_of_networks()
    row_ranges = np.zeros((n_networks, 3), np.int64)
    row_ranges[:, 0] = batches.n_samples
    row_ranges[:, 2] = stride(batches.samples.sample_weight, 1) * np.arange(n_networks)
    return row_ranges


def stride(array: Array | None, ndim: int) -> int:
    """Return the stride from one network's array to the next one's, 0 if all share one."""
    return 0 if array is None or array.ndim == ndim else int(array[0].size)
