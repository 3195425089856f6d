"""Threads that run one compiled function together, each with a BLAS of one thread."""

import contextlib
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from functools import cache
from typing import Any

import numpy as np
from threadpoolctl import ThreadpoolController

from gpubp.cpu.mailbox import ABANDONED, BARRIER, ask, blank_mailbox, request_in


class Crew:
    """As many threads as are asked for, the caller among them, that run one compiled function whenever it is asked.

    Parameters
    ----------
    n_threads : int
    function : callable
        Compiled; called as ``function(thread, n_threads, mailbox, *arguments)``. It does one request; the thread 0 then
        returns, all others when :func:`gpubp.cpu.mailbox.next_request` tells them to. So they are still awake when the
        next request comes soon.
    """

    def __init__(self, n_threads: int, function: Callable[..., Any], *arguments: Any) -> None:
        self.n_threads, self.function, self.arguments = n_threads, function, arguments
        self.others = ThreadPoolExecutor(max(1, n_threads - 1), "gpubp")  # starts none before it needs one
        self.running: list[Future[None]] = []
        self.mailbox = blank_mailbox(n_threads, cores())
        self.asked = 0

    def run(self, request: Sequence[int]) -> None:
        """Have every thread do a request, and wait for all.

        Where one thread fails before it has joined in, or Ctrl-C comes before, the others do not wait for it.
        """
        request_in(self.mailbox, self.n_threads)[: len(request)] = request
        with _blas_of_one_thread():
            try:
                for thread in range(1, self.n_threads):
                    if not ask(self.mailbox, thread, self.asked):  # it has left
                        self.running = [other for other in self.running if not other.done()]
                        self.running.append(self.others.submit(self._take_part, self.mailbox, thread))
                self.asked += 1
                self._take_part(self.mailbox, 0)
                if self.mailbox[BARRIER] >= ABANDONED:
                    self._break_up()
            except BaseException:
                self._break_up()
                raise

    def _take_part(self, mailbox: np.ndarray, thread: int) -> None:
        try:
            self.function(thread, self.n_threads, mailbox, *self.arguments)
        except BaseException:
            mailbox[BARRIER] = ABANDONED
            raise

    def _break_up(self) -> None:
        """Wait for the other threads to their end: while they run, nobody may go on with what they change."""
        self.mailbox[BARRIER] = ABANDONED
        interrupted = False
        while not_done := [other for other in self.running if not other.done()]:
            try:
                wait(not_done)
            except KeyboardInterrupt:
                interrupted = True
        ended, self.running = self.running, []
        self.mailbox, self.asked = blank_mailbox(self.n_threads, cores()), 0
        for other in ended:
            other.result()
        if interrupted:
            raise KeyboardInterrupt


def cores() -> int:
    """Count the cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@cache
def blas() -> list[Any]:
    """Find the BLAS libraries, once; compiled code has loaded SciPy's by then."""
    return list(ThreadpoolController().select(user_api="blas").lib_controllers)


def _threads_of_blas() -> list[int]:
    return [library.get_num_threads() or 1 for library in blas()]


_limited = threading.Lock()
_before = [1]  # how many threads each BLAS had when it was last limited


@contextlib.contextmanager
def _blas_of_one_thread() -> Iterator[None]:
    """Keep BLAS to one thread, in the whole process; who comes while another keeps it so leaves that to the other."""
    if not _limited.acquire(blocking=False):
        yield
        return
    _before[:] = _threads_of_blas()
    try:
        _set_threads_of_blas([1] * len(_before))
        yield
    finally:
        _set_threads_of_blas(_before)
        _limited.release()


def _set_threads_of_blas(numbers: list[int]) -> None:
    for library, number, now in zip(blas(), numbers, _threads_of_blas(), strict=True):
        if number != now:
            library.set_num_threads(number)


def threads_allowed() -> int:
    """Count the threads to compute with: as many as BLAS may use, and no more than there are cores for this process."""
    return max(1, min(cores(), max(_before if _limited.locked() else _threads_of_blas(), default=1)))
