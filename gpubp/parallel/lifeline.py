"""A connection from each process to the first one, which breaks when either dies, and so tells the other at once.

It needs no launcher, and does not wait for an exchange that never ends. The system closes the connections of a process
however it dies; where a machine or its network is lost, TCP's own probes find out within :data:`SILENCE` seconds, and
they are answered by the system, however busy a process is.
"""

import contextlib
import hmac
import logging
import os
import secrets
import selectors
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

logger = logging.getLogger("gpubp")

SILENCE = 8
"""Seconds without an answer, about, after which a machine counts as lost."""

PATIENCE = 10.0  # seconds, for all connections to be made
TOKEN_BYTES, RANK_BYTES = 16, 4

GOODBYE, TOLD, CLOSE = b"g", b"t", b"\0"
"""What a process says at the regular end; that the reason of the end has been told; and to its own thread."""

PAUSE = 0.3  # seconds that a word has to arrive, so that the reason is told once, and the right one


# --- connecting ---


def connected(comm: Any, hosts: list[str]) -> dict[int, socket.socket]:
    """Connect each process with the first one, which has a line to each other; nothing where that cannot be.

    Parameters
    ----------
    comm : communicator of mpi4py
    hosts : list of str
        The name of each process's machine.
    """
    rank, size = comm.Get_rank(), comm.Get_size()
    listener, offer = _offered(near=len(set(hosts)) == 1, size=size) if rank == 0 else (None, None)
    offer = comm.bcast(offer)
    lines: dict[int, socket.socket] | None = None
    if offer is not None:
        with contextlib.suppress(OSError):
            lines = _accepted(listener, offer[2], size) if listener else {0: _called(offer, rank)}
    if listener is not None:
        listener.close()
    if not all(comm.allgather(lines is not None)):
        if rank == 0:
            logger.warning("no connections between the processes could be made: where one dies, mpiexec alone can tell")
        for line in (lines or {}).values():
            line.close()
        return {}
    return lines or {}


def _offered(near: bool, size: int) -> tuple[socket.socket | None, Any]:
    """Listen for the others; how they find this process, and a secret that they know each other by."""
    try:
        listener = socket.create_server(("127.0.0.1" if near else "", 0), backlog=size)
    except OSError:
        return None, None
    names = ["127.0.0.1"] if near else _own_names()
    return listener, (names, listener.getsockname()[1], secrets.token_bytes(TOKEN_BYTES))


def _own_names() -> list[str]:
    """List the names and addresses that other machines may know this one by."""
    names = [socket.gethostname(), socket.getfqdn()]
    with contextlib.suppress(OSError):
        names += [str(found[4][0]) for found in socket.getaddrinfo(names[0], None, socket.AF_INET)]
    return list(dict.fromkeys(names))


def _accepted(listener: socket.socket, token: bytes, size: int) -> dict[int, socket.socket]:
    """Wait for all others; whoever does not know the secret is sent away."""
    lines: dict[int, socket.socket] = {}
    deadline = time.monotonic() + PATIENCE
    while len(lines) < size - 1:
        listener.settimeout(max(deadline - time.monotonic(), 0.001))
        line, _ = listener.accept()
        line.settimeout(1.0)
        with contextlib.suppress(OSError):
            said = line.recv(TOKEN_BYTES + RANK_BYTES, socket.MSG_WAITALL)
            if hmac.compare_digest(said[:TOKEN_BYTES], token):
                lines[int.from_bytes(said[TOKEN_BYTES:])] = _ready(line)
                continue
        line.close()
    return lines


def _called(offer: tuple[list[str], int, bytes], rank: int) -> socket.socket:
    """Call the first process by the first of its names that is answered."""
    names, port, token = offer
    for name in names:
        with contextlib.suppress(OSError):
            line = socket.create_connection((name, port), timeout=PATIENCE / len(names))
            line.sendall(token + rank.to_bytes(RANK_BYTES))
            return _ready(line)
    raise ConnectionError(f"none of {names} answers")


def _ready(line: socket.socket) -> socket.socket:
    """Let the system find out by itself whether the other machine is still there."""
    line.settimeout(None)
    line.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (("TCP_KEEPIDLE", SILENCE // 4), ("TCP_KEEPINTVL", SILENCE // 4), ("TCP_KEEPCNT", 3)):
        if hasattr(socket, name):
            line.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
    return line


# --- watching ---


class Lifeline:
    """Watches the lines, and the signals to this process, in a thread of its own; what ends one ends all.

    Python's own handlers of signals would wait for the end of an exchange that may never come.
    """

    def __init__(self, rank: int, hosts: list[str], lines: dict[int, socket.socket], mend: str) -> None:
        self.rank, self.hosts, self.lines, self.mend = rank, hosts, lines, mend
        self.telling = threading.Lock()  # taken once, by who tells
        self.wake, self.waking = socket.socketpair()
        self.selector = selectors.DefaultSelector()
        self.selector.register(self.waking, selectors.EVENT_READ, None)
        for other, line in lines.items():
            self.selector.register(line, selectors.EVENT_READ, other)
        self.restored = _signals_to(self.wake)
        self.thread = threading.Thread(target=self._watch, name="gpubp lifeline", daemon=True)
        self.thread.start()

    def tell(self, what: str) -> None:
        """Print why all end, and let the others know that it has been said."""
        if not self.telling.acquire(blocking=False):
            return
        text = f"gpubp: {what}; all {len(self.hosts)} processes end"
        print(f"\n{text}. {self.mend}" if self.mend else f"\n{text}", file=sys.stderr, flush=True)
        for line in self.lines.values():
            with contextlib.suppress(OSError):
                line.sendall(TOLD)

    def close(self) -> None:
        """Take leave; all processes must."""
        for line in self.lines.values():
            with contextlib.suppress(OSError):
                line.sendall(GOODBYE)
        self.restored()
        self.wake.sendall(CLOSE)
        self.thread.join()
        self.selector.close()
        for end in (self.wake, self.waking, *self.lines.values()):
            end.close()

    def _watch(self) -> None:
        while True:
            for key, _ in self.selector.select():
                word = _received(key.fileobj)
                if key.data is not None:
                    self._hear(key, word)
                elif CLOSE in word:
                    return
                else:
                    for number in {signal.SIGINT, signal.SIGTERM} & set(word):
                        self._end_by(signal.Signals(number))

    def _hear(self, key: selectors.SelectorKey, word: bytes) -> None:
        """Heed what another process says; nothing at all is its end."""
        if GOODBYE in word:
            self.selector.unregister(key.fileobj)
        elif TOLD in word:
            self._pass_on()
            self._leave(1)
        else:
            self._wait_for_a_word(0.05 * (self.rank - 1))  # where the first is gone, the next one tells
            self.tell(f"{self._named(key.data)} is gone: it was killed, or its machine or network failed")
            self._leave(1)

    def _end_by(self, number: signal.Signals) -> None:
        """End all because of a signal, unless that is what a launcher sends since another process has died."""
        self._wait_for_a_word(PAUSE + 0.05 * self.rank)
        self.tell(f"{self._named(self.rank)} was told to end ({number.name})")
        self._leave(128 + number)

    def _wait_for_a_word(self, seconds: float) -> None:
        """Give other processes some time to say, or to show, why all end."""
        if seconds <= 0.0:
            return
        for key, _ in self.selector.select(min(seconds, 2.0)):
            if key.data is not None and GOODBYE not in (word := _received(key.fileobj)):
                if TOLD not in word and self.rank == 0:
                    self.tell(f"{self._named(key.data)} is gone: it was killed, or its machine or network failed")
                self._pass_on()
                self._leave(1)

    def _pass_on(self) -> None:
        for line in self.lines.values():
            with contextlib.suppress(OSError):
                line.sendall(TOLD)

    def _leave(self, code: int) -> None:
        """End this process at once, whatever its main thread waits for."""
        time.sleep(PAUSE)  # for the launcher to read what was told
        with contextlib.suppress(Exception):
            sys.stdout.flush()
        os._exit(code)

    def _named(self, rank: int) -> str:
        return f"process {rank} of {len(self.hosts)} on {self.hosts[rank]}"


def _signals_to(wake: socket.socket) -> Callable[[], None]:
    """Let the system write into a socket which signals arrive, even while Python waits; how to undo that is given back.

    SIGTERM is among them, which Python else leaves to the system.
    """
    wake.setblocking(False)
    if threading.current_thread() is not threading.main_thread():  # only there can it be set
        return lambda: None
    before = signal.set_wakeup_fd(wake.fileno(), warn_on_full_buffer=False)
    if before != -1:  # somebody else listens
        signal.set_wakeup_fd(before)
        return lambda: None
    handler = signal.getsignal(signal.SIGTERM)
    if handler is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, lambda *_: None)

    def restored() -> None:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGTERM, handler)

    return restored


def _received(line: Any) -> bytes:
    """Read what has arrived; nothing where the other end is closed, or lost."""
    try:
        word: bytes = line.recv(64)
    except OSError:
        return b""
    return word
