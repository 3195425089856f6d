"""A process's connection to the monitor, which reports the death of another process while this one waits for it."""

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

PAUSE = 0.3  # seconds for a launcher to read the message before the processes end
CLOSE = b"\0"  # to the thread, among numbers of signals


# --- connecting ---


def connected(comm: Any, hosts: list[str], fix: str) -> socket.socket | None:
    """Start a monitor next to process 0 and connect each process to it; return None if that fails.

    Parameters
    ----------
    comm : communicator of mpi4py
    hosts : list of str
        The name of each process's machine.
    fix : str
        How to continue after all processes have ended.
    """
    rank, line = comm.Get_rank(), None
    offer = comm.bcast(_started(hosts, fix) if rank == 0 else None)
    if offer is not None:
        with contextlib.suppress(OSError):
            line = _called(offer, rank)
    if all(comm.allgather(line is not None)):
        return line
    if rank == 0:
        logger.warning("the processes cannot be connected to a monitor: if one dies, only mpiexec can report it")
    if line is not None:
        line.close()
    return None


def _started(hosts: list[str], fix: str) -> tuple[list[str], int, bytes] | None:
    """Start the monitor; return its host names, its port, and the secret by which it recognises the processes."""
    near, token = len(set(hosts)) == 1, secrets.token_bytes(monitor.TOKEN_BYTES)
    try:
        with socket.create_server(("127.0.0.1" if near else "", 0), backlog=len(hosts)) as listener:
            given = {"listener": listener.fileno(), "token": token.hex(), "hosts": hosts, "fix": fix}
            program = subprocess.Popen(
                [sys.executable, "-I", "-S", monitor.__file__],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                pass_fds=[listener.fileno()],
                start_new_session=True,  # so that Ctrl-C and signals to the process group do not end it
            )
            assert program.stdin is not None
            with program.stdin:
                program.stdin.write(json.dumps(given).encode())
            threading.Thread(target=program.wait, daemon=True).start()  # so that it does not become a zombie
            return ["127.0.0.1"] if near else _own_names(), listener.getsockname()[1], token
    except OSError:
        return None


def _own_names() -> list[str]:
    """List the names and addresses by which other machines may reach this one."""
    names = [socket.gethostname(), socket.getfqdn()]
    with contextlib.suppress(OSError):
        names += [str(found[4][0]) for found in socket.getaddrinfo(names[0], None, socket.AF_INET)]
    return list(dict.fromkeys(names))


def _called(offer: tuple[list[str], int, bytes], rank: int) -> socket.socket:
    """Connect to the monitor by the first name that answers, and wait until all processes have connected."""
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


# --- while training runs ---


class Heartbeat:
    """A thread that listens to the monitor and to signals.

    Python's own signal handlers would wait for the end of an exchange that may never come.
    """

    def __init__(self, rank: int, hosts: list[str], line: socket.socket | None, fix: str) -> None:
        self.rank, self.hosts, self.line, self.fix = rank, hosts, line, fix
        self.reporting = threading.Lock()  # acquired once, by the first caller of report
        self.wake, self.waking = socket.socketpair()
        self.restored = _signals_to(self.wake)
        self.thread = threading.Thread(target=self._listen, name="gpubp heartbeat", daemon=True)
        self.thread.start()

    def report(self, why: str) -> None:
        """Send the monitor the reason why all processes end; without a monitor, print it here."""
        if not self.reporting.acquire(blocking=False):
            return
        with contextlib.suppress(OSError):
            if self.line is not None:
                self.line.sendall(why.encode())
                return
        print(monitor.sentence(why, self.hosts, self.fix), file=sys.stderr, flush=True)

    def close(self) -> None:
        """Disconnect; all processes must call this."""
        self.restored()
        self.wake.sendall(CLOSE)
        self.thread.join()
        if self.line is not None:
            with contextlib.suppress(OSError):
                self.line.sendall(monitor.GOODBYE)
            self.line.close()
        self.wake.close()
        self.waking.close()

    def _listen(self) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(self.waking, selectors.EVENT_READ)
            if self.line is not None:
                selector.register(self.line, selectors.EVENT_READ)
            while True:
                for key, _ in selector.select():
                    received = monitor.received(key.fileobj)  # type: ignore[arg-type]
                    if key.fileobj is not self.waking:
                        self._end(announced=received.startswith(monitor.END))
                    if CLOSE in received:
                        return
                    for number in {signal.SIGINT, signal.SIGTERM} & set(received):
                        self.report(f"{self._named()} received {signal.Signals(number).name}")
                        self._leave(128 + number)

    def _end(self, *, announced: bool) -> None:
        """End this process because the monitor says so, or because the connection to it is lost."""
        if not announced:
            self.line = None
            self.report(f"{self._named()} lost its connection: the machine {self.hosts[0]} or the network failed")
        self._leave(1)

    def _named(self) -> str:
        return monitor.named(self.rank, self.hosts)

    def _leave(self, code: int) -> None:
        """End this process immediately, even if its main thread is blocked."""
        time.sleep(PAUSE)
        with contextlib.suppress(Exception):
            sys.stdout.flush()
        os._exit(code)


def _signals_to(wake: socket.socket) -> Callable[[], None]:
    """Write arriving signals into a socket, even while Python is blocked; return a function that undoes this.

    It includes SIGTERM, which Python leaves to the system otherwise.
    """
    wake.setblocking(False)
    if threading.current_thread() is not threading.main_thread():  # it can be set only there
        return lambda: None
    before = signal.set_wakeup_fd(wake.fileno(), warn_on_full_buffer=False)
    if before != -1:  # there is another listener
        signal.set_wakeup_fd(before)
        return lambda: None
    handler = signal.getsignal(signal.SIGTERM)
    if handler is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, lambda *_: None)

    def restored() -> None:
        signal.set_wakeup_fd(-1)
        if handler is signal.SIG_DFL:  # it was changed only then
            signal.signal(signal.SIGTERM, handler)

    return restored
