"""The arrays of steps on a CUDA device: parameters, the optimizer's state, and the numbers that differ by step.

Networks of a stack differ only in numbers: ``settings`` has those of each step, ``row_ranges`` which samples a network
has. Both are arrays on the device, so launches are the same for all networks and all steps.
"""

from collections.abc import Sequence
from itertools import accumulate, chain
from typing import Any

import numpy as np

from gpubp._typing import Array
from gpubp.engine.cuda.batch_plan import BatchPlan, StepSpec, stride
from gpubp.engine.plain.dropout import Dropout, threshold_of
from gpubp.engine.plain.minibatches import Batch

ALIGNMENT = 16  # bytes, of arrays that are side by side


def numbers_of_dropout(
    dropout: Dropout, networks: tuple[int, ...], n_epochs: int, starts: np.ndarray
) -> list[np.ndarray]:
    """Return what masks are computed from, for the steps of some epochs, whose first samples are ``starts``.

    Parameters
    ----------
    networks : tuple of int
        The number of networks, and of the members of each if they have members.

    Returns
    -------
    list of three arrays
        The keys of the networks, or of all members, ``(K, 2)``; for each step its epoch, its first sample, and the
        threshold of each layer, ``(n_steps, 2 + n_layers)``; what each layer multiplies the units that it keeps by,
        ``(n_steps, n_layers)``.
    """
    rates = np.repeat(dropout.of_epochs(n_epochs), len(starts), axis=0)
    words = np.empty((len(rates), 2 + rates.shape[1]), np.int64)
    words[:, 0] = dropout.epoch + np.repeat(np.arange(n_epochs), len(starts))
    words[:, 1] = dropout.first_sample + np.tile(starts, n_epochs)
    words[:, 2:] = np.reshape([threshold_of(rate) for rate in rates.ravel().tolist()], rates.shape)
    return [dropout.halves_of_keys(networks), words & 0xFFFFFFFF, 1.0 / (1.0 - rates)]


class Uploaded:
    """Arrays on a device, side by side in one, with the numbers of arrays on the host.

    All are copied at once when any number differs, and moved when one of them has more numbers than before.
    """

    def __init__(self, device: Any, *dtypes: str) -> None:
        self.device, self.dtypes = device, dtypes
        self.arrays: list[Array] = []
        self.starts: list[int] = []  # of the arrays, and the end of the last
        self.place: Any = None
        self.host: Any = None

    def set(self, *hosts: np.ndarray) -> bool:
        """Copy arrays to the beginnings of those on the device; return whether the latter are new ones."""
        hosts = tuple(np.ascontiguousarray(host, dtype) for host, dtype in zip(hosts, self.dtypes, strict=True))
        is_new = not (self.arrays and all(map(_fits, hosts, self.arrays)))
        if is_new:
            self.starts = [*accumulate((-(-host.nbytes // ALIGNMENT) * ALIGNMENT for host in hosts), initial=0)]
            self.place, self.host = self.device.empty((self.starts[-1],), "uint8"), None
            self.arrays = [
                self.place[start : start + host.nbytes].view(host.dtype).reshape(host.shape)
                for start, host in zip(self.starts, hosts, strict=False)
            ]
        together = np.zeros(self.starts[-1], np.uint8)
        for start, host in zip(self.starts, hosts, strict=False):
            together[start : start + host.nbytes] = host.reshape(-1).view(np.uint8)
        if self.host is None or not np.array_equal(self.host, together):
            self.host = together
            self.device.upload(together, self.place)
        return is_new


def _fits(host: np.ndarray, array: Array) -> bool:
    return bool(host.shape[1:] == array.shape[1:] and len(host) <= len(array))


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
        of_dropout = ("uint32", "uint32", spec.dtype) if plan.drops else ()
        self.uploaded = Uploaded(device, spec.dtype, "int32", "int64", *of_dropout)
        self.n_steps = self.order_stride = 0

    def begin(
        self, settings: np.ndarray, order: np.ndarray, row_ranges: np.ndarray, dropout: Sequence[np.ndarray]
    ) -> bool:
        """Set the numbers of the next steps; return whether launches have other arguments than before."""
        self.n_steps, stride_before = len(settings), self.order_stride
        if self.n_steps > self.plan.n_steps:  # of several epochs
            self.order_stride = order.shape[1] if len(order) > 1 else 0
        has_moved = self.uploaded.set(settings, order, row_ranges, *dropout)
        self.settings, self.order, self.row_ranges, *self.dropout = self.uploaded.arrays
        return has_moved or self.order_stride != stride_before

    @property
    def settings_in_c(self) -> tuple[Any, ...]:
        """The settings as arguments of a kernel: the array, its stride by step, its stride by network."""
        _, n_networks, n = self.settings.shape
        return self.settings, n_networks * n, n if n_networks > 1 else 0

    @property
    def order_in_c(self) -> tuple[Any, ...]:
        """The order as arguments of a kernel: the array, its stride by epoch, and the rows of the networks."""
        return self.order, self.order_stride, self.row_ranges

    @property
    def dropout_in_c(self) -> tuple[Any, ...]:
        """What masks are computed from, as arguments of a kernel; none without dropout."""
        return tuple(self.dropout)

    def shared_weights(self, weights: np.ndarray) -> np.ndarray:
        """Return the weights of a stack's batches, ``(n_steps, K)``, as ``(n_steps,)`` if all networks share them."""
        of_samples = self.samples.sample_weight
        is_shared = self.stack and (of_samples is None or of_samples.ndim == 1)
        return weights[:, 0] if is_shared and not self.plan.own_rows else weights
