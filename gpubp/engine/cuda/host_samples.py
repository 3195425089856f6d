"""Samples that are on the host because the device has no room for them, brought there window by window.

While a window is worked on, the next is gathered and copied, on a stream of its own: gathered into memory that the
system must not move, of which there are two pieces, so that one is filled while the other is copied; copied to a place
beside the one that the steps read, and from there to that one when these are done with it.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from gpubp._typing import Array
from gpubp.engine.plain.minibatches import Batch


class Part(NamedTuple):
    """The samples' x, d or weights: where they are on the host, on their way in both pieces, and where they go."""

    host: np.ndarray
    axis: int  # over the samples
    pieces: tuple[np.ndarray, np.ndarray]
    waiting: Array  # on the device, in rows without gaps as the pieces are
    place: Array


class Feed:
    """Brings the samples of epochs in their order to places on a device.

    Parameters
    ----------
    samples : Batch
        Arrays of NumPy.
    places : list
        Where x, d and weights of as many samples go as are brought together, or None.
    """

    def __init__(self, device: Any, samples: Batch, places: list[Array | None]) -> None:
        self.device, self.parts = device, list[Part]()
        for host, place, axis in zip(samples[:3], places, (-2, -2, -1), strict=True):
            if host is not None and place is not None:
                numbers, dtype = (int(place.size),), str(place.dtype)
                pieces = device.pinned(numbers, dtype), device.pinned(numbers, dtype)
                self.parts.append(Part(host, axis, pieces, device.empty(numbers, dtype), place))
        self.samples, self.n_all = samples, samples.x.shape[-2]
        self.arrivals: list[Any] = [None, None]  # of what each piece held last
        self.worked_off: Any = None  # what waited on the device
        self.begin(None)

    def take_from(self, samples: Batch) -> None:
        """Bring these samples from now on: others of the same kind, or the same."""
        if samples is not self.samples:
            hosts = [np.ascontiguousarray(host) for host in samples[:3] if host is not None]
            self.parts = [part._replace(host=host) for part, host in zip(self.parts, hosts, strict=True)]
            self.samples, self.n_all = samples, samples.x.shape[-2]

    def begin(self, order: np.ndarray | None) -> None:
        """Begin with an epoch, or a part of one: ``order`` is as in ``ArrayBatches``."""
        self.order, self.at, self.turn = order, 0, 0
        self.n_samples = self.n_all if order is None else len(order)

    def bring(self, n: int) -> None:
        """Have the next ``n`` samples in their places, for what is launched from now on."""
        end = self.at + n
        chosen = np.arange(self.at, end) if self.order is None else self.order[self.at : end]
        self.at, turn, self.turn = end % self.n_samples, self.turn, 1 - self.turn
        if self.arrivals[turn] is not None:
            self.device.wait_for(self.arrivals[turn])  # else the copy would find what comes next
        parts = list(self._gathered(chosen, turn))
        sent = [(piece, part.waiting[: piece.size]) for part, piece, _ in parts]
        self.arrivals[turn] = self.device.send(sent, after=self.worked_off)
        self.device.follow(self.arrivals[turn])
        for part, piece, shape in parts:
            rows = (..., slice(0, n), slice(None))[: 1 - part.axis]
            self.device.copy(part.waiting[: piece.size].reshape(shape), part.place[rows])
        self.worked_off = self.device.mark()

    def _gathered(self, chosen: np.ndarray, turn: int) -> Iterator[tuple[Part, np.ndarray, tuple[int, ...]]]:
        for part in self.parts:
            shape = list(part.host.shape)
            shape[part.axis] = len(chosen)
            piece = part.pieces[turn][: int(np.prod(shape))]
            np.take(part.host, chosen, axis=part.axis, out=piece.reshape(shape), mode="clip")
            yield part, piece, tuple(shape)
