"""The interface between training and the processes that train together, implemented for a single process."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple, TypeVar

import array_api_compat

from gpubp._typing import Array, Namespace
from gpubp.backends.backend import Backend

T = TypeVar("T")


class Shard(NamedTuple):
    """The items of ``range(n)`` that belong to one process: from ``start`` up to ``stop``, exclusive."""

    start: int
    stop: int
    n: int

    @property
    def rows(self) -> slice:
        """The items as a slice."""
        return slice(self.start, self.stop)


class ProcessGroup:
    """Processes that train one network together.

    This class is a single process that trains alone. All methods except :meth:`shard` are collective: every process
    must call them, and gets the same result.

    Attributes
    ----------
    rank : int
        The number of this process, from 0.
    world_size : int
        The number of processes.
    """

    rank = 0
    world_size = 1

    def shard(self, n: int) -> Shard:
        """Return the items of ``range(n)`` for this process; sizes differ by at most one, and may be 0.

        Examples
        --------
        >>> SINGLE_PROCESS.shard(5)
        Shard(start=0, stop=5, n=5)
        """
        return Shard(n * self.rank // self.world_size, n * (self.rank + 1) // self.world_size, n)

    def all_reduce(self, array: Array) -> Array:
        """Sum flat arrays of equal length, one from each process; the argument may be overwritten.

        All processes get the same bits. Rounding depends on the number of processes.
        """
        return array

    def sums_on_gpus(self) -> bool:
        """Return whether arrays on GPUs are summed in place and without the host, so that it can be captured."""
        return True

    def on_all(self, fact: bool) -> bool:
        """Return whether a fact is true in every process."""
        return fact

    def on_rank_0(self, work: Callable[[], T]) -> T:
        """Run ``work`` in process 0 only, and return its result in all processes."""
        return work()

    @contextmanager
    def raise_on_all(self) -> Iterator[None]:
        """Raise an exception of one process in all of them; the block must not wait for another process."""
        yield

    def check_equal(self, facts: Mapping[str, Any]) -> None:
        """Raise a DataError in all processes if one of the facts differs between them."""

    @contextmanager
    def monitored(self, fix: str = "") -> Iterator[None]:
        """Monitor each other during training: if one process fails or is lost, all end immediately, with a message.

        Parameters
        ----------
        fix : str
            How to continue after that.
        """
        yield

    def assign_gpu(self, backend: Backend, device: str) -> Backend:
        """Assign each process its own GPU if ``device`` does not name one."""
        return backend


SINGLE_PROCESS = ProcessGroup()


def sum_over_ranks(xp: Namespace, processes: ProcessGroup, *terms: Array) -> tuple[Array, ...]:
    """Sum each of several numbers and arrays over all processes, in one exchange; a single process gets them unchanged.

    Parameters
    ----------
    *terms : array or float
        The first is an array; the sums have its dtype and device.
    """
    if processes.world_size == 1:
        return terms
    dtype, device = terms[0].dtype, array_api_compat.device(terms[0])
    arrays = [xp.asarray(term, dtype=dtype, device=device) if type(term) is float else term for term in terms]
    total = processes.all_reduce(xp.concat([xp.reshape(array, (-1,)) for array in arrays]))
    sums, start = [], 0
    for array in arrays:
        stop = start + array.size
        sums.append(xp.reshape(total[start:stop], array.shape))
        start = stop
    return tuple(sums)
