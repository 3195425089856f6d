"""A process's connection to the watcher, so that the death of another is heard of while an exchange waits for it."""

import contextlib
import json
import logging
import os
import secrets
import selectors
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from gpubp.distributed import monitor

logger = logging.getLogger("gpubp")

PAUSE = 0.3  # seconds for a launcher to read what was told before processes end
CLOSE = b"\0"  # to the thread, among numbers of signals


# --- connecting ---


def connected(comm: Any, hosts: list[str], fix: str) -> socket.socket | None:
    """Start a watcher beside the first process, and connect each process with it; None where that cannot be.

    Parameters
    ----------
    comm : communicator of mpi4py
    hosts : list of str
        The name of each process's machine.
    fix : str
        How to go on where all end.
    """
    rank, line = comm.Get_rank(), None
    offer = comm.bcast(_started(hosts, fix) if rank == 0 else None)
    if offer is not None:
        with contextlib.suppress(OSError):
            line = _called(offer, rank)
    if all(comm.allgather(line is not None)):
        return line
    if rank == 0:
        logger.warning("the processes cannot be connected: where one dies, mpiexec alone can tell")
    if line is not None:
        line.close()
    return None


def _started(hosts: list[str], fix: str) -> tuple[list[str], int, bytes] | None:
    """Start the watcher; by which names and port it is reached, and a secret that it knows processes by."""
    near, token = len(set(hosts)) == 1, secrets.token_bytes(monitor.TOKEN_BYTES)
    try:
        with socket.create_server(("127.0.0.1" if near else "", 0), backlog=len(hosts)) as listener:
            given = {"listener": listener.fileno(), "token": token.hex(), "hosts": hosts, "fix": fix}
            program = subprocess.Popen(
                [sys.executable, "-I", "-S", monitor.__file__],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                pass_fds=[listener.fileno()],
                start_new_session=True,  # Ctrl-C, and what ends a group of processes, is not for it
            )
            assert program.stdin is not None
            with program.stdin:
                program.stdin.write(json.dumps(given).encode())
            threading.Thread(target=program.wait, daemon=True).start()  # so that none is left behind as a zombie
            return ["127.0.0.1"] if near else _own_names(), listener.getsockname()[1], token
    except OSError:
        return None


def _own_names() -> list[str]:
    """List the names and addresses that other machines may know this one by."""
    names = [socket.gethostname(), socket.getfqdn()]
    with contextlib.suppress(OSError):
        names += [str(found[4][0]) for found in socket.getaddrinfo(names[0], None, socket.AF_INET)]
    return list(dict.fromkeys(names))


def _called(offer: tuple[list[str], int, bytes], rank: int) -> socket.socket:
    """Call the watcher by the first of its names that is answered, and wait until it has heard from all."""
    names, port, token = offer
    for name in names:
        with contextlib.suppress(OSError):
            line = socket.create_connection((name, port), timeout=monitor.PATIENCE / len(names))
            line.sendall(token + rank.to_bytes(monitor.RANK_BYTES, "big"))
            line.settimeout(2 * monitor.PATIENCE)
            if line.recv(len(monitor.READY), socket.MSG_WAITALL) == monitor.READY:
                return monitor.probed(line)
            line.close()
    raise ConnectionError(f"none of {names} answers")


# --- while it lasts ---


class Heartbeat:
    """Heeds the watcher and the signals to this process, in a thread of its own.

    Python's own handlers of signals would wait for the end of an exchange that may never come.
    """

    def __init__(self, rank: int, hosts: list[str], line: socket.socket | None, fix: str) -> None:
        self.rank, self.hosts, self.line, self.fix = rank, hosts, line, fix
        self.telling = threading.Lock()  # taken once, by who tells
        self.wake, self.waking = socket.socketpair()
        self.restored = _signals_to(self.wake)
        self.thread = threading.Thread(target=self._heed, name="gpubp lifeline", daemon=True)
        self.thread.start()

    def tell(self, why: str) -> None:
        """Have it told why all end; without a watcher tell it from here."""
        if not self.telling.acquire(blocking=False):
            return
        with contextlib.suppress(OSError):
            if self.line is not None:
                self.line.sendall(why.encode())
                return
        print(monitor.sentence(why, self.hosts, self.fix), file=sys.stderr, flush=True)

    def close(self) -> None:
        """Take leave; all processes must."""
        self.restored()
        self.wake.sendall(CLOSE)
        self.thread.join()
        if self.line is not None:
            with contextlib.suppress(OSError):
                self.line.sendall(monitor.GOODBYE)
            self.line.close()
        self.wake.close()
        self.waking.close()

    def _heed(self) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(self.waking, selectors.EVENT_READ)
            if self.line is not None:
                selector.register(self.line, selectors.EVENT_READ)
            while True:
                for key, _ in selector.select():
                    said = monitor.received(key.fileobj)  # type: ignore[arg-type]
                    if key.fileobj is not self.waking:
                        self._end(told=said.startswith(monitor.END))
                    if CLOSE in said:
                        return
                    for number in {signal.SIGINT, signal.SIGTERM} & set(said):
                        self.tell(f"{self._named()} was told to end ({signal.Signals(number).name})")
                        self._leave(128 + number)

    def _end(self, *, told: bool) -> None:
        """End as the watcher says, or since it is gone."""
        if not told:
            self.line = None
            self.tell(f"{self._named()} lost its connection: the machine {self.hosts[0]} or the network failed")
        self._leave(1)

    def _named(self) -> str:
        return monitor.named(self.rank, self.hosts)

    def _leave(self, code: int) -> None:
        """End this process at once, whatever its main thread waits for."""
        time.sleep(PAUSE)
        with contextlib.suppress(Exception):
            sys.stdout.flush()
        os._exit(code)


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
        if handler is signal.SIG_DFL:  # only then was it changed
            signal.signal(signal.SIGTERM, handler)

    return restored
