"""The share of each batch that one of several processes takes on a CUDA device."""

from dataclasses import replace
from typing import NamedTuple

import numpy as np

from gpubp.distributed.process_group import ProcessGroup
from gpubp.engine.plain.minibatches import ArrayBatches


class Share(NamedTuple):
    """What a process takes of the batches of an epoch.

    Attributes
    ----------
    rows : (m,) array
        Positions in the order of the epoch. In a last batch of which the process has no sample, one fills its place.
    starts : (n_steps,) array
        The first position in each step.
    size : int
        Samples of a full batch.
    n_own : int
        The number of rows without one that fills a place.
    padded : bool
        Whether any process has such a row, which gets the weight 0.
    """

    rows: np.ndarray
    starts: np.ndarray
    size: int
    n_own: int
    padded: bool

    def of(self, batches: ArrayBatches) -> ArrayBatches:
        """Return the batches of this process."""
        order = self.rows if batches.order is None else batches.order[..., self.rows]
        return replace(batches, order=order, size=self.size)


def share_of_process(processes: ProcessGroup, n_samples: int, size: int, *, on_host: bool) -> Share | None:
    """Return the share of this process, or None in all processes if the steps of one cannot take its own.

    All processes must call it. The first steps have a sample in each process, and the last step has no more than they.
    """
    size = min(size, n_samples)
    n_full, rest = divmod(n_samples, size)
    full, last = processes.shard(size), processes.shard(rest)
    padded, n_last = 0 < rest < processes.world_size, last.stop - last.start
    is_possible = full.stop - full.start >= max(n_last, 1) and not (padded and on_host)
    if not processes.on_all(is_possible):
        return None
    shards = [full] * n_full + [last] * (rest > 0)
    beginnings = [size * step + shard.start for step, shard in enumerate(shards)]
    rows = [np.arange(at, at + shard.stop - shard.start) for at, shard in zip(beginnings, shards, strict=True)]
    n_own = sum(map(len, rows))
    if rest and not n_last:
        rows.append(np.zeros(1, int))
    return Share(np.concatenate(rows), np.asarray(beginnings), full.stop - full.start, n_own, padded)
