"""What steps on a CUDA device are given: an objective, an optimizer, samples, and the numbers that differ by step.

Networks of a stack differ only in numbers: ``settings`` has those of each step, ``own`` which samples a network has.
Both are arrays on the device, so launches are the same for all networks and all steps.
"""

from collections.abc import Sequence
from itertools import chain
from typing import Any, NamedTuple

import numpy as np

from gpubp._typing import Array
from gpubp.engine.plain.dropout import Dropout, threshold_of
from gpubp.engine.plain.minibatches import ArrayBatches, Batch, PerNetworkBatches
from gpubp.engine.plain.step import Objective
from gpubp.engine.tracing.optimizers import UpdateCode
from gpubp.optim.first_order import Setting

NDIM = (2, 2, 1)  # of inputs, targets and weights, if all networks share them


class StepSpec(NamedTuple):
    """What steps do: minimize an objective in one precision; ``update`` is the optimizer's update in C.

    ``factors``, (P,) or (K, P) each, are its settings that have a number for each parameter; ``max_norm``, if it is not
    None, is the setting to which the norm of the gradient is limited.
    """

    objective: Objective
    update: UpdateCode
    dtype: str
    factors: tuple[np.ndarray, ...] = ()
    max_norm: Setting | None = None

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
        Whether the last batches of networks have different sizes; samples of weight 0 fill up the smaller ones.
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
    own = np.zeros((n_networks, 3), np.int64)
    own[:, 0], own[:, 2] = batches.n_samples, stride(batches.samples.sample_weight, 1) * np.arange(n_networks)
    return own


def numbers_of_dropout(dropout: Dropout, n_networks: int, n_epochs: int, n_steps: int, size: int) -> list[np.ndarray]:
    """Return what masks are computed from, for the steps of some epochs.

    Returns
    -------
    list of three arrays
        The keys of the networks, ``(K, 2)``; for each step its epoch, its first sample, and the threshold of each
        layer, ``(n_steps, 2 + n_layers)``; what each layer multiplies the units that it keeps by,
        ``(n_steps, n_layers)``.
    """
    rates = np.repeat(dropout.of_epochs(n_epochs), n_steps, axis=0)
    words = np.empty((len(rates), 2 + rates.shape[1]), np.int64)
    words[:, 0] = dropout.epoch + np.repeat(np.arange(n_epochs), n_steps)
    words[:, 1] = dropout.first_sample + np.tile(size * np.arange(n_steps), n_epochs)
    words[:, 2:] = np.reshape([threshold_of(rate) for rate in rates.ravel().tolist()], rates.shape)
    return [dropout.halves_of_keys(n_networks), words & 0xFFFFFFFF, 1.0 / (1.0 - rates)]


class Uploaded:
    """An array on a device with the numbers of one on the host: copied when they differ, moved when they are more."""

    def __init__(self, device: Any, dtype: str) -> None:
        self.device, self.dtype = device, dtype
        self.array: Any = None
        self.host: Any = None

    def set(self, host: np.ndarray) -> bool:
        """Copy an array to the beginning of the one on the device; return whether the latter is a new one."""
        host = np.asarray(host, self.dtype)
        is_new = self.array is None or self.array.shape[1:] != host.shape[1:] or len(self.array) < len(host)
        if is_new:
            self.array, self.host = self.device.empty(host.shape, self.dtype), None
        if self.host is None or not np.array_equal(self.host[: len(host)], host):
            self.host = np.array(host, order="C")  # the caller may change its own
            self.device.upload(self.host, self.array[: len(host)])
        return is_new


class StepArrays:
    """The arrays on a device that the steps of one network or of a stack read and change.

    ``thetas`` and ``parts`` are the parameters ``(..., P)`` and the arrays of the optimizer's state; steps change them
    in place. Before the steps of a call, :meth:`begin` sets the others:

    - ``settings``, ``(n_steps, 1 or K, n)``: the numbers of the update in each step, and last the penalty's strength;
    - ``order``, ``(n_orders, m)``: rows of the samples, one order for all epochs or one for each;
    - ``own``, ``(K, 3)``: see :func:`rows_of_networks`;
    - ``dropout``: see :func:`numbers_of_dropout`.
    """

    transfer: Any = None
    copied: Batch | None = None  # the samples that have been copied to where the steps read them, if they are

    def __init__(self, device: Any, spec: StepSpec, stack: tuple[int, ...], samples: Batch, plan: BatchPlan) -> None:
        self.device, self.spec, self.stack, self.samples, self.plan = device, spec, stack, samples, plan
        self.network, self.n_networks = spec.objective.network, int(np.prod(stack, dtype=int))
        self.n_parameters, shape = self.network.n_parameters, (*stack, self.network.n_parameters)
        self.thetas = device.empty(shape, spec.dtype)
        self.parts = [device.empty(shape, spec.dtype) for _ in spec.update.parts]
        factors = map(device.upload, spec.factors)
        self.factors = list(chain(*((array, stride(array, 1)) for array in factors)))
        self.settings, self.order, self.own = (Uploaded(device, dtype) for dtype in (spec.dtype, "int32", "int64"))
        self.dropout = [Uploaded(device, dtype) for dtype in ("uint32", "uint32", spec.dtype) if plan.drops]
        self.n_steps = self.order_stride = 0

    def begin(self, settings: np.ndarray, order: np.ndarray, own: np.ndarray, dropout: Sequence[np.ndarray]) -> bool:
        """Set the numbers of the next steps; return whether launches have other arguments than before."""
        self.n_steps, stride_before = len(settings), self.order_stride
        if self.n_steps > self.plan.n_steps:  # of several epochs
            self.order_stride = order.shape[1] if len(order) > 1 else 0
        moved = [self.settings.set(settings), self.order.set(order), self.own.set(own)]
        moved += [uploaded.set(host) for uploaded, host in zip(self.dropout, dropout, strict=True)]
        return any(moved) or self.order_stride != stride_before

    @property
    def settings_in_c(self) -> tuple[Any, ...]:
        """The settings as arguments of a kernel: the array, its stride by step, its stride by network."""
        _, n_networks, n = self.settings.array.shape
        return self.settings.array, n_networks * n, n if n_networks > 1 else 0

    @property
    def order_in_c(self) -> tuple[Any, ...]:
        """The order as arguments of a kernel: the array, its stride by epoch, and the rows of the networks."""
        return self.order.array, self.order_stride, self.own.array

    @property
    def dropout_in_c(self) -> tuple[Any, ...]:
        """What masks are computed from, as arguments of a kernel; none without dropout."""
        return tuple(uploaded.array for uploaded in self.dropout)

    def shared_weights(self, weights: np.ndarray) -> np.ndarray:
        """Return the weights of a stack's batches, ``(n_steps, K)``, as ``(n_steps,)`` if all networks share them."""
        of_samples = self.samples.sample_weight
        is_shared = self.stack and (of_samples is None or of_samples.ndim == 1) and not self.plan.padded
        return weights[:, 0] if is_shared and not self.plan.own_rows else weights


def stride(array: Array | None, ndim: int) -> int:
    """Return the stride from one network's array to the next one's, 0 if all share one."""
    return 0 if array is None or array.ndim == ndim else int(array[0].size)
