"""Threads that run one compiled function together, and BLAS kept to one thread meanwhile: each thread is its own."""

import contextlib
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
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

        Where Ctrl-C comes before the caller has joined in, the others do not wait for it, and return.
        """
        barrier, running = np.array([0, YIELD]), []
        try:
            for thread in range(1, self.n_threads):
                running.append(self.others.submit(function, thread, self.n_threads, barrier, *arguments))
            function(0, self.n_threads, barrier, *arguments)
        except BaseException:
            if barrier[0] < self.n_threads:
                barrier[0] = ABANDONED
            raise
        finally:
            for other in running:
                other.result()


class _Blas:
    """The BLAS libraries of this process, and how many of us keep them to one thread at the moment."""

    def __init__(self) -> None:
        self.libraries = ThreadpoolController().select(user_api="blas").lib_controllers
        self.lock, self.keepers, self.allowed = threading.Lock(), 0, 1

    def threads(self) -> int:
        """Count the threads that the user allows."""
        with self.lock:
            if not self.keepers:
                self.allowed = max((library.get_num_threads() or 1 for library in self.libraries), default=1)
            return self.allowed

    @contextlib.contextmanager
    def kept_to_one(self) -> Iterator[None]:
        """Keep BLAS to one thread; the last to leave gives back what the first one found."""
        with self.lock:
            if not self.keepers:
                self.before = [library.get_num_threads() or 1 for library in self.libraries]
                for library in self.libraries:
                    library.set_num_threads(1)
            self.keepers += 1
        try:
            yield
        finally:
            with self.lock:
                self.keepers -= 1
                if not self.keepers:
                    for library, n_threads in zip(self.libraries, self.before, strict=True):
                        library.set_num_threads(n_threads)


@cache
def blas() -> _Blas:
    """Find the BLAS libraries, once; compiled code has loaded SciPy's by then."""
    return _Blas()


def threads_allowed() -> int:
    """Count the threads to compute with: as many as BLAS may use, and no more than there are cores for this process."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(cores, blas().threads()))
