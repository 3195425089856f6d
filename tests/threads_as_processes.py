"""Several processes in one: threads that communicate like MPI processes."""

import contextlib
import pickle
import threading
from functools import reduce

from gpubp.distributed.mpi import MPIProcessGroup


class Table:
    """Shared memory in which threads exchange objects."""

    def __init__(self, size):
        self.size, self.places = size, [None] * size
        self.barrier = threading.Barrier(size, timeout=30)

    def exchanged(self, rank, message):
        self.places[rank] = message
        self.barrier.wait()
        objects = list(self.places)
        self.barrier.wait()
        return objects


class Communicator:
    """One thread's end of a table, with mpi4py's methods."""

    def __init__(self, table, rank):
        self.table, self.rank = table, rank
        self.sums = []  # how many numbers each sum had

    def Get_rank(self):
        return self.rank

    def Get_size(self):
        return self.table.size

    def allgather(self, message):
        return self.table.exchanged(self.rank, message)

    def bcast(self, message):
        return pickle.loads(self.table.exchanged(self.rank, pickle.dumps(message))[0])

    def add(self, array):
        self.sums.append(array.size)
        array[...] = reduce(lambda so_far, more: so_far + more, self.table.exchanged(self.rank, array.copy()))


class ThreadProcessGroup(MPIProcessGroup):
    """Threads have no monitor, since they do not die singly."""

    def __init__(self, comm):
        super().__init__(comm, f"host{comm.rank // 2}", comm.add)

    @contextlib.contextmanager
    def monitored(self, fix=""):
        try:
            yield
        except BaseException as error:
            if error is not self._shared_fault:
                self.comm.table.barrier.abort()  # no thread waits for this one
            raise


def run_on_ranks(size, work):
    """Call ``work(processes)`` in this many threads; return what each returned or raised."""
    table, results = Table(size), [None] * size

    def one(rank):
        try:
            results[rank] = work(ThreadProcessGroup(Communicator(table, rank)))
        except BaseException as error:
            results[rank] = error

    threads = [threading.Thread(target=one, args=(rank,)) for rank in range(size)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def results_of(results):
    """Raise an exception of a thread, or return the results of all."""
    for one in results:
        if isinstance(one, BaseException) and not isinstance(one, threading.BrokenBarrierError):
            raise one
    return results
