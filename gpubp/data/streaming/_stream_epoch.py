"""One epoch of a stream: each window is a part of the epoch, trained like samples in memory."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace

from gpubp.backends.backend import Backend
from gpubp.data.streaming._shuffle_windows import TargetRange, WindowBuffers
from gpubp.data.streaming.stream import Stream
from gpubp.engine.plain.dropout import Dropout
from gpubp.engine.plain.minibatches import ArrayBatches, Batch


@dataclass(frozen=True)
class StreamEpoch:
    """One epoch of a stream, as an iterable of its windows.

    Attributes
    ----------
    stream : Stream
    backend : Backend
        The backend that trains; batches are copied one at a time to a device other than the host.
    buffers : WindowBuffers
        Memory for windows of whole batches, shared by all epochs.
    size : int
        Samples of a batch.
    seed : tuple of int, optional
        Seed of the order of this epoch.
    target_range : TargetRange
    dropout : Dropout, optional
    n_skipped : int
        Number of windows to skip at the beginning.
    """

    stream: Stream
    backend: Backend
    buffers: WindowBuffers
    size: int
    seed: tuple[int, ...] | None
    target_range: TargetRange
    dropout: Dropout | None = None
    n_skipped: int = 0

    def __iter__(self) -> Iterator[ArrayBatches]:
        on_host, dropout, size = not self.backend.is_numpy, self.dropout, self.buffers.n_rows
        with closing(self.stream.windows(self.buffers, self.seed, self.target_range, self.n_skipped)) as windows:
            for number, (x, targets, order, fraction_done, fraction) in enumerate(windows, self.n_skipped):
                samples = Batch(x, targets)
                yield ArrayBatches(
                    self.backend,
                    samples,
                    self.size,
                    order,
                    on_host=on_host,
                    fraction_done=fraction_done,
                    fraction=fraction,
                    dropout=None if dropout is None else dropout.at(sample=number * size),
                )

    def after(self, n: int) -> "StreamEpoch":
        """Return the same epoch without its first `n` windows, which are not read if blocks can be skipped."""
        return replace(self, n_skipped=self.n_skipped + n)
