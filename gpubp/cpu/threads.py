"""Threads that run one compiled function together, each with a BLAS of one thread."""

import contextlib
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from functools import cache
from typing import Any

import numpy as np
from threadpoolctl import ThreadpoolController

from gpubp.cpu.native import ABANDONED, YIELD


class Crew:
    """As many threads as are asked for, the caller among them."""

    def __init__(self, n_threads: int) -> None:
        self.n_threads = n_threads
        self.others = ThreadPoolExecutor(max(1, n_threads - 1), "gpubp")  # starts none before it needs one

    def run(self, function: Callable[..., Any], *arguments: Any) -> None:
        """Call ``function(thread, n_threads, barrier, *arguments)`` in each thread, and wait for all.

        Where one thread fails before it has joined in, or Ctrl-C comes before, the others do not wait for it.
        """
        barrier, running = np.array([0, YIELD]), []

        def take_part(thread: int) -> None:
            try:
                function(thread, self.n_threads, barrier, *arguments)
            except BaseException:
                barrier[0] = ABANDONED
                raise

        with _blas_of_one_thread():
            try:
                for thread in range(1, self.n_threads):
                    running.append(self.others.submit(take_part, thread))
                function(0, self.n_threads, barrier, *arguments)
            except BaseException:
                if barrier[0] < self.n_threads:  # else the steps are done, and Ctrl-C came since
                    barrier[0] = ABANDONED
                raise
            finally:
                _wait(running)


def _wait(running: list[Future[None]]) -> None:
    """Wait for threads to their end: while they run, nobody may go on with what they change."""
    interrupted = False
    while not_done := [other for other in running if not other.done()]:
        try:
            wait(not_done)
        except KeyboardInterrupt:
            interrupted = True
    for other in running:
        other.result()
    if interrupted:
        raise KeyboardInterrupt


@cache
def blas() -> ThreadpoolController:
    """Find the BLAS libraries, once; compiled code has loaded SciPy's by then."""
    return ThreadpoolController().select(user_api="blas")


def _threads_of_blas() -> int:
    return max((library["num_threads"] or 1 for library in blas().info()), default=1)


_limited = threading.Lock()
_before = [1]  # how many threads BLAS had when it was last limited


@contextlib.contextmanager
def _blas_of_one_thread() -> Iterator[None]:
    """Keep BLAS to one thread, in the whole process; who comes while another keeps it so leaves that to the other."""
    if not _limited.acquire(blocking=False):
        yield
        return
    try:
        _before[0] = _threads_of_blas()
        if _before[0] == 1:
            yield
        else:
            with blas().limit(limits=1):
                yield
    finally:
        _limited.release()


def threads_allowed() -> int:
    """Count the threads to compute with: as many as BLAS may use, and no more than there are cores for this process."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(cores, _before[0] if _limited.locked() else _threads_of_blas()))
