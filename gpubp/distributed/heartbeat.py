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

SECONDS_TO_READ = 0.3  # seconds for a launcher to read the message before the processes end
CLOSE = b"\0"  # to the thread, among numbers of signals


# --- connecting ---


def connect_all(comm: Any, hosts: list[str], fix: str) -> socket.socket | None:
    """Start a monitor next to process 0 and connect each process to it; return None if that fails.

    Parameters
    ----------
    comm : communicator of mpi4py
    hosts : list of str
        The name of each process's machine.
    fix : str
        How to continue after all processes have ended.
    """
    rank, connection = comm.Get_rank(), None
    monitor_address = comm.bcast(_start_monitor(hosts, fix) if rank == 0 else None)
    if monitor_address is not None:
        with contextlib.suppress(OSError):
            connection = _connect(monitor_address, rank)
    if all(comm.allgather(connection is not None)):
        return connection
    if rank == 0:
        logger.warning("the processes cannot be connected to a monitor: if one dies, only mpiexec can report it")
    if connection is not None:
        connection.close()
    return None


def _start_monitor(hosts: list[str], fix: str) -> tuple[list[str], int, bytes] | None:
    """Start the monitor; return its host names, its port, and the secret by which it recognises the processes."""
    is_local, token = len(set(hosts)) == 1, secrets.token_bytes(monitor.TOKEN_BYTES)
    try:
        with socket.create_server(("127.0.0.1" if is_local else "", 0), backlog=len(hosts)) as listener:
            settings = {"listener": listener.fileno(), "token": token.hex(), "hosts": hosts, "fix": fix}
            program = subprocess.Popen(
                [sys.executable, "-I", "-S", monitor.__file__],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                pass_fds=[listener.fileno()],
                start_new_session=True,  # so that Ctrl-C and signals to the process group do not end it
            )
            assert program.stdin is not None
            with program.stdin:
                program.stdin.write(json.dumps(settings).encode())
            threading.Thread(target=program.wait, daemon=True).start()  # so that it does not become a zombie
            return ["127.0.0.1"] if is_local else _host_names(), listener.getsockname()[1], token
    except OSError:
        return None


def _host_names() -> list[str]:
    """List the names and addresses by which other machines may reach this one."""
    names = [socket.gethostname(), socket.getfqdn()]
    with contextlib.suppress(OSError):
        names += [str(address[4][0]) for address in socket.getaddrinfo(names[0], None, socket.AF_INET)]
    return list(dict.fromkeys(names))


def _connect(monitor_address: tuple[list[str], int, bytes], rank: int) -> socket.socket:
    """Connect to the monitor by the first name that answers, and wait until all processes have connected."""
    names, port, token = monitor_address
    for name in names:
        with contextlib.suppress(OSError):
            connection = socket.create_connection((name, port), timeout=monitor.CONNECT_SECONDS / len(names))
            connection.sendall(token + rank.to_bytes(monitor.RANK_BYTES, "big"))
            connection.settimeout(2 * monitor.CONNECT_SECONDS)
            if connection.recv(len(monitor.READY), socket.MSG_WAITALL) == monitor.READY:
                return monitor.with_keep_alive(connection)
            connection.close()
    raise ConnectionError(f"none of {names} answers")


# --- while training runs ---


class Heartbeat:
    """A thread that listens to the monitor and to signals.

    Python's own signal handlers would wait for the end of an exchange that may never come.
    """

    def __init__(self, rank: int, hosts: list[str], connection: socket.socket | None, fix: str) -> None:
        self.rank, self.hosts, self.connection, self.fix = rank, hosts, connection, fix
        self.reporting = threading.Lock()  # acquired once, by the first caller of report
        self.wake_writer, self.wake_reader = socket.socketpair()
        self.restore_signals = _redirect_signals(self.wake_writer)
        self.thread = threading.Thread(target=self._listen, name="gpubp heartbeat", daemon=True)
        self.thread.start()

    def report(self, reason: str) -> None:
        """Send the monitor the reason why all processes end; without a monitor, print it here."""
        if not self.reporting.acquire(blocking=False):
            return
        with contextlib.suppress(OSError):
            if self.connection is not None:
                self.connection.sendall(reason.encode())
                return
        print(monitor.end_message(reason, self.hosts, self.fix), file=sys.stderr, flush=True)

    def close(self) -> None:
        """Disconnect; all processes must call this."""
        self.restore_signals()
        self.wake_writer.sendall(CLOSE)
        self.thread.join()
        if self.connection is not None:
            with contextlib.suppress(OSError):
                self.connection.sendall(monitor.GOODBYE)
            self.connection.close()
        self.wake_writer.close()
        self.wake_reader.close()

    def _listen(self) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(self.wake_reader, selectors.EVENT_READ)
            if self.connection is not None:
                selector.register(self.connection, selectors.EVENT_READ)
            while True:
                for event, _ in selector.select():
                    received = monitor.receive(event.fileobj)  # type: ignore[arg-type]
                    if event.fileobj is not self.wake_reader:
                        self._end(announced=received.startswith(monitor.END))
                    if CLOSE in received:
                        return
                    for number in {signal.SIGINT, signal.SIGTERM} & set(received):
                        self.report(f"{self._name()} received {signal.Signals(number).name}")
                        self._exit(128 + number)

    def _end(self, *, announced: bool) -> None:
        """End this process because the monitor says so, or because the connection to it is lost."""
        if not announced:
            self.connection = None
            self.report(f"{self._name()} lost its connection: the machine {self.hosts[0]} or the network failed")
        self._exit(1)

    def _name(self) -> str:
        return monitor.process_name(self.rank, self.hosts)

    def _exit(self, code: int) -> None:
        """End this process immediately, even if its main thread is blocked."""
        time.sleep(SECONDS_TO_READ)
        with contextlib.suppress(Exception):
            sys.stdout.flush()
        os._exit(code)


def _redirect_signals(wake_writer: socket.socket) -> Callable[[], None]:
    """Write arriving signals into a socket, even while Python is blocked; return a function that undoes this.

    It includes SIGTERM, which Python leaves to the system otherwise.
    """
    wake_writer.setblocking(False)
    if threading.current_thread() is not threading.main_thread():  # it can be set only there
        return lambda: None
    previous_fd = signal.set_wakeup_fd(wake_writer.fileno(), warn_on_full_buffer=False)
    if previous_fd != -1:  # there is another listener
        signal.set_wakeup_fd(previous_fd)
        return lambda: None
    handler = signal.getsignal(signal.SIGTERM)
    if handler is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, lambda *_: None)

    def restore_signals() -> None:
        signal.set_wakeup_fd(-1)
        if handler is signal.SIG_DFL:  # it was changed only then
            signal.signal(signal.SIGTERM, handler)

    return restore_signals
