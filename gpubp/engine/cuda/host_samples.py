"""Samples that stay on the host because the device has no memory for them, copied there window by window.

While the device works on one window, the next one is gathered and copied on a separate stream. There are two pinned
buffers: one is filled while the other is copied. The copy goes to a staging array on the device, and from there to the
array that the steps read, once these are done with it.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from gpubp._typing import Array
from gpubp.engine.plain.minibatches import Batch


class TransferredArray(NamedTuple):
    """Inputs, targets or sample weights, on their way from the host to the device.

    Attributes
    ----------
    host : ndarray
    axis : int
        The axis of the samples.
    buffers : two ndarrays
        Pinned memory.
    staging : array
        On the device, contiguous like the buffers.
    destination : array
        On the device, where the steps read.
    """

    host: np.ndarray
    axis: int
    buffers: tuple[np.ndarray, np.ndarray]
    staging: Array
    destination: Array


class SampleTransfer:
    """Copies the samples of epochs, in their order, to arrays on a device.

    Parameters
    ----------
    device : CudaDevice
    samples : Batch
        NumPy arrays.
    destinations : list
        The destinations of inputs, targets and weights of one window, or None.
    """

    def __init__(self, device: Any, samples: Batch, destinations: list[Array | None]) -> None:
        self.device, self.arrays = device, list[TransferredArray]()
        for host, destination, axis in zip(samples[:3], destinations, (-2, -2, -1), strict=True):
            if host is not None and destination is not None:
                shape, dtype = (int(destination.size),), str(destination.dtype)
                buffers = device.pinned(shape, dtype), device.pinned(shape, dtype)
                staging = device.empty(shape, dtype)
                self.arrays.append(TransferredArray(host, axis, buffers, staging, destination))
        self.samples, self.n_all = samples, samples.x.shape[-2]
        self.arrivals: list[Any] = [None, None]  # the event of the last copy from each buffer
        self.staging_free: Any = None  # the event that the staging array has been read
        self.begin(None)

    def take_from(self, samples: Batch) -> None:
        """Set the samples to copy from now on, which have the same shapes and dtypes."""
        if samples is not self.samples:
            hosts = [np.ascontiguousarray(host) for host in samples[:3] if host is not None]
            self.arrays = [array._replace(host=host) for array, host in zip(self.arrays, hosts, strict=True)]
            self.samples, self.n_all = samples, samples.x.shape[-2]

    def begin(self, order: np.ndarray | None) -> None:
        """Begin an epoch, or a part of one; ``order`` is as in ``ArrayBatches``."""
        self.order, self.at, self.turn = order, 0, 0
        self.n_samples = self.n_all if order is None else len(order)

    def copy_next(self, n: int) -> None:
        """Copy the next ``n`` samples to their destinations, for later launches."""
        end = self.at + n
        rows = np.arange(self.at, end) if self.order is None else self.order[self.at : end]
        self.at, turn, self.turn = end % self.n_samples, self.turn, 1 - self.turn
        if self.arrivals[turn] is not None:
            self.device.wait_for(self.arrivals[turn])  # otherwise the last copy could read the new samples
        gathered = list(self._gathered(rows, turn))
        copies = [(buffer, array.staging[: buffer.size]) for array, buffer, _ in gathered]
        self.arrivals[turn] = self.device.send(copies, after=self.staging_free)
        self.device.follow(self.arrivals[turn])
        for array, buffer, shape in gathered:
            window = (..., slice(0, n), slice(None))[: 1 - array.axis]
            self.device.copy(array.staging[: buffer.size].reshape(shape), array.destination[window])
        self.staging_free = self.device.mark()

    def _gathered(self, rows: np.ndarray, turn: int) -> Iterator[tuple[TransferredArray, np.ndarray, tuple[int, ...]]]:
        for array in self.arrays:
            shape = list(array.host.shape)
            shape[array.axis] = len(rows)
            buffer = array.buffers[turn][: int(np.prod(shape))]
            np.take(array.host, rows, axis=array.axis, out=buffer.reshape(shape), mode="clip")
            yield array, buffer, tuple(shape)
