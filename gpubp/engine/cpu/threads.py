"""Threads that run the compiled engine together, each with a BLAS of one thread."""

import contextlib
import ctypes
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from functools import cache
from typing import Any, TypeVar

import numpy as np
from threadpoolctl import ThreadpoolController

from gpubp.engine.cpu.library import gemm

PLACE = 16  # int64 in each place of a mailbox; see c/threads.h
BARRIER, TAKEN, N_THREADS, BEGUN, REQUESTED = (PLACE * place for place in range(5))
WAITED = REQUESTED + 1
ABANDONED = 1 << 60
GONE = -1

Item = TypeVar("Item")
Result = TypeVar("Result")

Work = Callable[[int, int], None]
"""``work(mailbox, thread)``: take part in requests, with the address of the mailbox."""


def new_mailbox(n_threads: int) -> np.ndarray:
    """Make the memory by which ``n_threads`` threads ask each other and wait for each other."""
    mailbox = np.zeros(REQUESTED + n_threads * PLACE, np.int64)
    mailbox[REQUESTED + PLACE :: PLACE] = GONE
    mailbox[N_THREADS] = n_threads
    return mailbox


class Crew:
    """``n_threads`` threads, the caller among them, that do requests together.

    After a request the other threads wait about a millisecond for the next one: so they are still awake if it comes
    soon.

    Parameters
    ----------
    n_threads : int
    work : callable
        See :data:`Work`; compiled.
    ask : callable
        The engine's function of that name.
    """

    def __init__(self, n_threads: int, work: Work, ask: Callable[[int, int, int], int]) -> None:
        self.n_threads, self.work, self.ask = n_threads, work, ask
        self.others = _no_threads_yet(n_threads)
        self.running: list[Future[None]] = []
        self.places = Places()
        self._new_mailbox()

    def _new_mailbox(self) -> None:
        self.mailbox = new_mailbox(self.n_threads)
        self.requested, self.address = [0] * self.n_threads, self.mailbox.ctypes.data

    def run(self, n_threads: int | None = None) -> None:
        """Have every thread, or only the first ones, do the present request, and wait for all of these.

        If one thread fails before it has joined in, or Ctrl-C comes before, the others do not wait for it.
        """
        n_threads = self.n_threads if n_threads is None else n_threads
        self.mailbox[TAKEN], self.mailbox[N_THREADS], self.mailbox[BEGUN] = 0, n_threads, self.mailbox[BARRIER]
        self.mailbox[WAITED::PLACE] = 0
        with blas_of_one_thread(), self.places.own_core(n_threads):
            try:
                for thread in range(1, n_threads):
                    requested, self.requested[thread] = self.requested[thread], self.requested[thread] + 1
                    if not self.ask(self.address, thread, requested):  # it has left
                        self.running = [other for other in self.running if not other.done() or other.exception()]
                        self.running.append(self.others.submit(self._take_part, self.mailbox, thread))
                self._take_part(self.mailbox, 0)
                if self.mailbox[BARRIER] >= ABANDONED:
                    self._break_up()
            except BaseException:
                self._break_up()
                raise

    def waits(self) -> np.ndarray:
        """Return for how many seconds each thread waited for others in the last request."""
        return self.mailbox[WAITED::PLACE] * 1e-9

    def _take_part(self, mailbox: np.ndarray, thread: int) -> None:
        try:
            if thread:
                self.places.join()
            self.work(mailbox.ctypes.data, thread)
        except BaseException:
            mailbox[BARRIER] = ABANDONED
            raise

    def _break_up(self) -> None:
        """Wait until the other threads end: while they run, nothing that they change may be used."""
        self.mailbox[BARRIER] = ABANDONED
        interrupted = False
        while True:
            try:
                self.others.shutdown(cancel_futures=True)
                break
            except KeyboardInterrupt:
                interrupted = True
        ended, self.running = self.running, []
        self._new_mailbox()
        self.others = _no_threads_yet(self.n_threads)
        for other in ended:
            if not other.cancelled():
                other.result()
        if interrupted:
            raise KeyboardInterrupt


def _no_threads_yet(n_threads: int) -> ThreadPoolExecutor:
    """Make what starts threads when it needs them."""
    return ThreadPoolExecutor(max(1, n_threads - 1), "gpubp")


class Places:
    """Keeps the caller of a crew and its other threads on different cores, where the system lets us say so.

    A system may leave two threads that give way to each other on one core.
    """

    def __init__(self) -> None:
        self.others: set[int] = set()  # the cores for the other threads
        self.joined: set[int] = set()  # by which numbers the system knows them

    @contextlib.contextmanager
    def own_core(self, n_threads: int) -> Iterator[None]:
        """Keep the caller on the core that it is on, and the others away from it."""
        if n_threads == 1 or _core is None or len(allowed := os.sched_getaffinity(0)) == 1:
            yield
            return
        if (core := _core()) not in allowed:  # the system does not say
            yield
            return
        try:
            if (others := allowed - {core}) != self.others:
                self.others = others
                for thread in list(self.joined):
                    _move(thread, others)
            _move(0, {core})
            yield
        finally:
            _move(0, allowed)

    def join(self) -> None:
        """Go where the other threads are to be."""
        if self.others:
            self.joined.add(threading.get_native_id())
            _move(0, self.others)


def _find_core() -> Callable[[], int] | None:
    """Find what tells the core that a thread is on."""
    known = hasattr(os, "sched_setaffinity") and getattr(ctypes.CDLL(None), "sched_getcpu", None)
    return known or None


_core = _find_core()


def _move(thread: int, cores: set[int]) -> None:
    """Let a thread run on some cores, 0 the one that calls; where that is forbidden it stays."""
    with contextlib.suppress(OSError):
        os.sched_setaffinity(thread, cores)


def cores() -> int:
    """Count the cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@cache
def blas() -> list[Any]:
    """Find the BLAS libraries, once, SciPy's among them."""
    gemm("float32")  # loads it
    return list(ThreadpoolController().select(user_api="blas").lib_controllers)


def _threads_of_blas() -> list[int]:
    return [library.get_num_threads() or 1 for library in blas()]


_lock = threading.Lock()
_users = 0  # that keep BLAS to one thread
_before = [1]  # how many threads each BLAS had when it was last limited


@contextlib.contextmanager
def blas_of_one_thread() -> Iterator[None]:
    """Keep BLAS to one thread, in the whole process, until the last of its users is done."""
    global _users
    with _lock:
        if not _users:
            _before[:] = _threads_of_blas()
            _set_threads_of_blas(dict.fromkeys(_with_several(), 1))
        _users += 1
    try:
        yield
    finally:
        with _lock:
            _users -= 1
            if not _users:
                _set_threads_of_blas({k: _before[k] for k in _with_several()})


def side_by_side(function: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
    """Call a function for each item, by as many threads as may compute; return the results in their order."""
    n_threads = min(threads_allowed(), len(items))
    if n_threads == 1:
        return list(map(function, items))
    with ThreadPoolExecutor(n_threads) as threads:  # each in the context of the caller, such as NumPy's error state
        return [one.result() for one in [threads.submit(copy_context().run, function, item) for item in items]]


def _with_several() -> list[int]:
    """List which BLAS libraries had several threads."""
    return [k for k, n_threads in enumerate(_before) if n_threads > 1]


def _set_threads_of_blas(numbers: dict[int, int]) -> None:
    for k, number in numbers.items():
        blas()[k].set_num_threads(number)


def threads_allowed() -> int:
    """Count the threads to compute with: as many as BLAS may use, and no more than there are cores for this process."""
    return max(1, min(cores(), max(_before if _users else _threads_of_blas(), default=1)))
