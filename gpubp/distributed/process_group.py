"""The processes that train together, as training sees them: here one that trains alone."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple, TypeVar

import array_api_compat

from gpubp._typing import Array, Namespace
from gpubp.backends.backend import Backend

T = TypeVar("T")


class Shard(NamedTuple):
    """Which of ``n`` things in a row belong to one process: those from ``start`` to before ``stop``."""

    start: int
    stop: int
    n: int

    @property
    def rows(self) -> slice:
        """The share as a slice."""
        return slice(self.start, self.stop)


class ProcessGroup:
    """Processes that train one network: who of them this one is, and what they say to each other.

    This class is a process that trains alone. All methods but :meth:`shard` are for all processes together: each of
    them must call it, and gets the same answer.

    Attributes
    ----------
    rank : int
        This process's number, from 0.
    world_size : int
        How many there are.
    """

    rank = 0
    world_size = 1

    def shard(self, n: int) -> Shard:
        """Give this process its part of ``n`` things in a row; parts differ by one at most, and may be empty.

        Examples
        --------
        >>> SINGLE_PROCESS.shard(5)
        Shard(start=0, stop=5, n=5)
        """
        return Shard(n * self.rank // self.world_size, n * (self.rank + 1) // self.world_size, n)

    def all_reduce(self, array: Array) -> Array:
        """Sum flat arrays of one length, one from each process; the one that is given may be written into.

        All processes get the same bits. How the sum is rounded depends on how many processes there are.
        """
        return array

    def on_rank_0(self, work: Callable[[], T]) -> T:
        """Let the first process alone do something, and tell all what came of it."""
        return work()

    @contextmanager
    def raise_on_all(self) -> Iterator[None]:
        """Let an exception in one process be an exception in all of them; nothing within may wait for another."""
        yield

    def check_equal(self, facts: Mapping[str, Any]) -> None:
        """Raise a DataError, in all processes, where something named is not the same in all of them."""

    @contextmanager
    def monitored(self, fix: str = "") -> Iterator[None]:
        """Watch over each other while training runs: where one fails or is lost, all end at once, with words.

        Parameters
        ----------
        fix : str
            How to go on after that.
        """
        yield

    def assign_gpu(self, backend: Backend, device: str) -> Backend:
        """Give each process a GPU of its own, where ``device`` leaves open which."""
        return backend


SINGLE_PROCESS = ProcessGroup()


def sum_over_ranks(xp: Namespace, processes: ProcessGroup, *terms: Array) -> tuple[Array, ...]:
    """Sum numbers and arrays, each over all processes, in one exchange; those of a process alone come back as they are.

    Parameters
    ----------
    *terms : array or float
        The first is an array, whose dtype and device the sums have.
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
