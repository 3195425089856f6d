"""How threads in compiled code are asked for work, and wait for each other.

A mailbox is an array of int64 that they share. A thread waits by looking again and again, for some ten microseconds
without giving its core away: to be woken by the system would take longer than a step of a small network.
"""

import ctypes
import sys
from typing import Any

import numpy as np
from numba.extending import register_jitable

from gpubp.engine.cpu.compiling import compiled
from gpubp.engine.cpu.native import add_one, address_of, call, exchange_if, pointer_to, read

APART = 8
"""Numbers that different threads change are so many places apart: no two of them share a line of the cache."""

BARRIER, YIELD = 0, 1
"""Where the number is that counts how often a thread has come to the barrier, and the address of what gives a core
away: that is another number in each process, and so not to be compiled in."""

ABANDONED = 1 << 60
"""What the barrier is set to when somebody will never come."""

GONE = -1
SPINS = 2000
"""How often a thread looks before it gives its core away: some ten microseconds."""

LOOKS = 2000
"""How often a thread then looks for another request before it leaves: about a millisecond."""

LONGEST_REQUEST = 32

_system: Any = ctypes.CDLL("kernel32" if sys.platform == "win32" else None)
_yield = _system.SwitchToThread if sys.platform == "win32" else _system.sched_yield


def blank_mailbox(n_threads: int) -> np.ndarray:
    """Make a mailbox: the barrier, for each thread the number of its last request, and the request."""
    mailbox = np.zeros((n_threads + 1) * APART + LONGEST_REQUEST, np.int64)
    mailbox[YIELD] = ctypes.cast(_yield, ctypes.c_void_p).value or 0
    mailbox[2 * APART : (n_threads + 1) * APART : APART] = GONE
    return mailbox


def request_in(mailbox, n_threads):
    """Give the part of a mailbox where the request is."""
    return mailbox[(n_threads + 1) * APART :]


@register_jitable
def request_at(mailbox, n_threads):
    """Point to the request in a mailbox."""
    return pointer_to(address_of(mailbox) + (n_threads + 1) * APART * mailbox.itemsize, mailbox)


@compiled
def ask(mailbox, thread, asked):
    """Ask a thread that has been asked ``asked`` times; False where it has left and must be started."""
    place = (thread + 1) * APART
    if exchange_if(mailbox, place, asked, asked + 1):
        return True
    mailbox[place] = asked + 1
    return False


@register_jitable
def number_of_request(mailbox, thread):
    """Give the number of the request that a thread has to do; to be read before it is done."""
    return read(mailbox, (thread + 1) * APART)


@register_jitable
def next_request(mailbox, thread, served):
    """Wait for the request after number ``served``; False where none comes for a while, and the thread is to leave."""
    place = (thread + 1) * APART
    for look in range(SPINS + LOOKS):
        if read(mailbox, place) != served:
            return True
        if look > SPINS:
            call(mailbox[YIELD], ())
    return not exchange_if(mailbox, place, served, GONE)


@register_jitable
def times_passed(mailbox, n_threads):
    """Count how often all threads have passed the barrier; to be read while none waits there for this one."""
    return read(mailbox, BARRIER) // n_threads


@register_jitable
def wait_for_all(mailbox, n_threads, time):
    """Wait until all threads have come here for the ``time``-th time, counted from 1; False where they never will."""
    if n_threads == 1:
        return True
    add_one(mailbox, BARRIER)
    spins = 0
    while read(mailbox, BARRIER) < min(n_threads * time, ABANDONED):
        spins += 1
        if spins > SPINS:
            call(mailbox[YIELD], ())
    return read(mailbox, BARRIER) < ABANDONED
