"""The processes that train together, as training sees them: here one that trains alone."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple, TypeVar

import array_api_compat

from gpubp._typing import Array, Namespace
from gpubp.backends.backend import Backend

T = TypeVar("T")


class Share(NamedTuple):
    """Which of ``n`` things in a row belong to one process: those from ``start`` to before ``stop``."""

    start: int
    stop: int
    n: int

    @property
    def rows(self) -> slice:
        """The share as a slice."""
        return slice(self.start, self.stop)


class Processes:
    """Processes that train one network: who of them this one is, and what they say to each other.

    This class is a process that trains alone. All methods but :meth:`share` are for all processes together: each of
    them must call it, and gets the same answer.

    Attributes
    ----------
    rank : int
        This process's number, from 0.
    size : int
        How many there are.
    """

    rank = 0
    size = 1

    def share(self, n: int) -> Share:
        """Give this process its part of ``n`` things in a row; parts differ by one at most, and may be empty.

        Examples
        --------
        >>> ALONE.share(5)
        Share(start=0, stop=5, n=5)
        """
        return Share(n * self.rank // self.size, n * (self.rank + 1) // self.size, n)

    def sum(self, array: Array) -> Array:
        """Sum flat arrays of one length, one from each process; the one that is given may be written into.

        All processes get the same bits. How the sum is rounded depends on how many processes there are.
        """
        return array

    def first(self, work: Callable[[], T]) -> T:
        """Let the first process alone do something, and tell all what came of it."""
        return work()

    @contextmanager
    def agreeing(self) -> Iterator[None]:
        """Let an exception in one process be an exception in all of them; nothing within may wait for another."""
        yield

    def must_agree(self, facts: Mapping[str, Any]) -> None:
        """Raise a DataError, in all processes, where something named is not the same in all of them."""

    @contextmanager
    def running(self, fix: str = "") -> Iterator[None]:
        """Watch over each other while training runs: where one fails or is lost, all end at once, with words.

        Parameters
        ----------
        fix : str
            How to go on after that.
        """
        yield

    def own_backend(self, backend: Backend, device: str) -> Backend:
        """Give each process a GPU of its own, where ``device`` leaves open which."""
        return backend


ALONE = Processes()


def summed(xp: Namespace, processes: Processes, *terms: Array) -> tuple[Array, ...]:
    """Sum numbers and arrays, each over all processes, in one exchange; those of a process alone come back as they are.

    Parameters
    ----------
    *terms : array or float
        The first is an array, whose dtype and device the sums have.
    """
    if processes.size == 1:
        return terms
    dtype, device = terms[0].dtype, array_api_compat.device(terms[0])
    arrays = [xp.asarray(term, dtype=dtype, device=device) if type(term) is float else term for term in terms]
    total = processes.sum(xp.concat([xp.reshape(array, (-1,)) for array in arrays]))
    sums, start = [], 0
    for array in arrays:
        stop = start + array.size
        sums.append(xp.reshape(total[start:stop], array.shape))
        start = stop
    return tuple(sums)
