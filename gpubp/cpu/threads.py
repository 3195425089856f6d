"""Threads that run one compiled function together, each with a BLAS of one thread."""

import os
from collections.abc import Callable
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
        with blas().limit(limits=1):
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


@cache
def blas() -> ThreadpoolController:
    """Find the BLAS libraries, once; compiled code has loaded SciPy's by then."""
    return ThreadpoolController().select(user_api="blas")


def threads_allowed() -> int:
    """Count the threads to compute with: as many as BLAS may use, and no more than there are cores for this process."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(cores, max((library["num_threads"] or 1 for library in blas().info()), default=1)))
