"""A stream's windows as the parts of an epoch, each of which is run like samples that are arrays."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace

from gpubp.backends.backend import Backend
from gpubp.data.streaming.stream import Stream
from gpubp.data.streaming.windows import Limits, Places
from gpubp.engine.plain.minibatches import ArrayBatches, Batch


@dataclass(frozen=True)
class WindowParts:
    """One epoch of a stream.

    Attributes
    ----------
    stream : Stream
    backend : Backend
        That trains: on a device other than the host's batches go there one by one.
    places : Places
        Of the stream, for windows of whole batches; all epochs use the same.
    size : int
        Samples of a batch.
    seed : tuple of int, optional
        For the order of this epoch.
    limits : Limits
    skipped : int
        How many windows are left out.
    """

    stream: Stream
    backend: Backend
    places: Places
    size: int
    seed: tuple[int, ...] | None
    limits: Limits
    skipped: int = 0

    def __iter__(self) -> Iterator[ArrayBatches]:
        on_host = not self.backend.is_numpy
        with closing(self.stream.windows(self.places, self.seed, self.limits, self.skipped)) as windows:
            for x, targets, order, begins, spans in windows:
                samples = Batch(x, targets)
                yield ArrayBatches(self.backend, samples, self.size, order, on_host=on_host, begins=begins, spans=spans)

    def after(self, n: int) -> "WindowParts":
        """Give the same without its first ``n`` windows, which are not read where blocks can be left out."""
        return replace(self, skipped=self.skipped + n)
