"""The arrays of steps on a CUDA device: parameters, the optimizer's state, and the numbers that differ by step.

Networks of a stack differ only in numbers: ``settings`` has those of each step, ``row_ranges`` which samples a network
has. Both are arrays on the device, so launches are the same for all networks and all steps.
"""

from collections.abc import Sequence
from itertools import chain
from typing import Any

import numpy as np

from gpubp.engine.cuda.batch_plan import BatchPlan, StepSpec, stride
from gpubp.engine.plain.dropout import Dropout, threshold_of
from gpubp.engine.plain.minibatches import Batch


def numbers_of_dropout(dropout: Dropout, n_networks: int, n_epochs: int, starts: np.ndarray) -> list[np.ndarray]:
    """Return what masks are computed from, for the steps of some epochs, whose first samples are ``starts``.

    Returns
    -------
    list of three arrays
        The keys of the networks, ``(K, 2)``; for each step its epoch, its first sample, and the threshold of each
        layer, ``(n_steps, 2 + n_layers)``; what each layer multiplies the units that it keeps by,
        ``(n_steps, n_layers)``.
    """
    rates = np.repeat(dropout.of_epochs(n_epochs), len(starts), axis=0)
    words = np.empty((len(rates), 2 + rates.shape[1]), np.int64)
    words[:, 0] = dropout.epoch + np.repeat(np.arange(n_epochs), len(starts))
    words[:, 1] = dropout.first_sample + np.tile(starts, n_epochs)
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
    - ``row_ranges``, ``(K, 3)``: see :func:`gpubp.engine.cuda.batch_plan.rows_of_networks`;
    - ``dropout``: see :func:`numbers_of_dropout`.
    """

    transfer: Any = None
    loss_scales: Any = None
    copied: Batch | None = None  # the samples that have been copied to where the steps read them, if they are

    def __init__(self, device: Any, spec: StepSpec, stack: tuple[int, ...], samples: Batch, plan: BatchPlan) -> None:
        self.device, self.spec, self.stack, self.samples, self.plan = device, spec, stack, samples, plan
        self.network, self.n_networks = spec.objective.network, int(np.prod(stack, dtype=int))
        self.n_parameters, shape = self.network.n_parameters, (*stack, self.network.n_parameters)
        self.thetas = device.empty(shape, spec.dtype)
        self.parts = [device.empty(shape, spec.dtype) for _ in spec.update.parts]
        factors = map(device.upload, spec.factors)
        self.factors = list(chain(*((array, stride(array, 1)) for array in factors)))
        self.settings, self.order, self.row_ranges = (
            Uploaded(device, dtype) for dtype in (spec.dtype, "int32", "int64")
        )
        self.dropout = [Uploaded(device, dtype) for dtype in ("uint32", "uint32", spec.dtype) if plan.drops]
        self.n_steps = self.order_stride = 0

    def begin(
        self, settings: np.ndarray, order: np.ndarray, row_ranges: np.ndarray, dropout: Sequence[np.ndarray]
    ) -> bool:
        """Set the numbers of the next steps; return whether launches have other arguments than before."""
        self.n_steps, stride_before = len(settings), self.order_stride
        if self.n_steps > self.plan.n_steps:  # of several epochs
            self.order_stride = order.shape[1] if len(order) > 1 else 0
        moved = [self.settings.set(settings), self.order.set(order), self.row_ranges.set(row_ranges)]
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
        return self.order.array, self.order_stride, self.row_ranges.array

    @property
    def dropout_in_c(self) -> tuple[Any, ...]:
        """What masks are computed from, as arguments of a kernel; none without dropout."""
        return tuple(uploaded.array for uploaded in self.dropout)

    def shared_weights(self, weights: np.ndarray) -> np.ndarray:
        """Return the weights of a stack's batches, ``(n_steps, K)``, as ``(n_steps,)`` if all networks share them."""
        of_samples = self.samples.sample_weight
        is_shared = self.stack and (of_samples is None or of_samples.ndim == 1)
        return weights[:, 0] if is_shared and not self.plan.own_rows else weights
