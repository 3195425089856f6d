"""The monitor of processes, and a process's connection to it."""

import selectors
import signal
import socket
import threading
from contextlib import ExitStack

import pytest

from gpubp.distributed import heartbeat, monitor
from gpubp.distributed.heartbeat import Heartbeat, connect_all
from tests.threads_as_processes import Communicator, Table

HOSTS = ["a", "b", "b"]


@pytest.fixture
def ends():
    """The ends of three processes' connections, and the monitor's ends."""
    with ExitStack() as closed:
        pairs = [socket.socketpair() for _ in HOSTS]
        for end in (end for pair in pairs for end in pair):
            closed.enter_context(end)
        yield [pair[0] for pair in pairs], dict(enumerate(pair[1] for pair in pairs))


def test_a_closed_connection_is_a_death(ends):
    own, lines = ends
    own[0].sendall(monitor.GOODBYE)
    own[0].close()  # as it should
    own[1].close()
    assert monitor.reason_to_end(lines, HOSTS).startswith("process 1 of 3 on b is gone: it was killed")


@pytest.mark.skipif(not hasattr(selectors, "EpollSelector"), reason="the system keeps no order of events")
def test_the_first_death_is_reported(ends, monkeypatch):
    own, lines = ends
    reported, watching, received = [], threading.Event(), monitor.receive

    def recorded(line):
        message = received(line)
        watching.set()
        return message

    monkeypatch.setattr(monitor, "receive", recorded)
    waiting = threading.Thread(target=lambda: reported.append(monitor.reason_to_end(lines, HOSTS)))
    waiting.start()
    own[1].sendall(monitor.GOODBYE)
    watching.wait()  # until all connections are monitored
    own[2].close()
    own[0].close()
    waiting.join()
    assert reported[0].startswith("process 2 of 3 on b is gone")


def test_the_reason_of_a_death_is_reported(ends):
    own, lines = ends
    own[2].sendall("process 2 of 3 on b failed: ValueError: größer".encode())
    assert monitor.reason_to_end(lines, HOSTS) == "process 2 of 3 on b failed: ValueError: größer"


def test_a_normal_end_is_not_reported(ends):
    own, lines = ends
    for end in own:
        end.sendall(monitor.GOODBYE)
        end.close()
    assert monitor.reason_to_end(lines, HOSTS) is None


def test_unknown_clients_are_disconnected():
    token = bytes(range(monitor.TOKEN_BYTES))
    with ExitStack() as closed:
        listener = closed.enter_context(socket.create_server(("127.0.0.1", 0)))
        callers = [closed.enter_context(socket.create_connection(listener.getsockname())) for _ in range(3)]
        for caller, message in zip(callers, (bytes(16), token, token), strict=True):
            caller.sendall(message + callers.index(caller).to_bytes(4, "big"))
        lines = monitor.accept_all(listener, token, 2)
        for line in lines.values():
            closed.enter_context(line)
        assert sorted(lines) == [1, 2]
        assert callers[0].recv(1) == b""
        assert lines[1].getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)


def test_waiting_ends(monkeypatch):
    monkeypatch.setattr(monitor, "CONNECT_SECONDS", 0.01)
    with socket.create_server(("127.0.0.1", 0)) as listener, pytest.raises(TimeoutError):
        monitor.accept_all(listener, bytes(16), 1)


def lines_of(size):
    """Connect threads with their own monitor."""
    table, lines = Table(size), [None] * size

    def connect(rank):
        lines[rank] = connect_all(Communicator(table, rank), ["here"] * size, "Start it again")

    threads = [threading.Thread(target=connect, args=(rank,)) for rank in range(size)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return lines


@pytest.fixture
def left(monkeypatch):
    """The exit codes with which processes would have ended."""
    codes = []

    def leave(code):
        codes.append(code)
        raise SystemExit  # of the thread

    monkeypatch.setattr(heartbeat.os, "_exit", leave)
    monkeypatch.setattr(heartbeat, "SECONDS_TO_READ", 0.0)
    return codes


@pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnhandledThreadExceptionWarning"
)  # at the point at which a process would end
def test_the_death_of_one_ends_all(left, capfd):
    lines = lines_of(3)
    heartbeats = [Heartbeat(rank, ["here"] * 3, line, "") for rank, line in enumerate(lines) if rank != 1]
    lines[1].close()
    for each in heartbeats:
        each.thread.join()
        each.thread = threading.Thread()  # that has ended
        each.thread.start()
        each.close()
    assert left == [1, 1]
    reported = capfd.readouterr().err
    assert reported.count("gpubp: process 1 of 3 on here is gone") == 1
    assert "all 3 processes end. Start it again" in reported


def test_all_disconnect(left, capfd):
    heartbeats = [Heartbeat(rank, ["here"] * 2, line, "") for rank, line in enumerate(lines_of(2))]
    for each in heartbeats:
        each.close()
    assert left == []
    assert capfd.readouterr().err == ""


@pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnhandledThreadExceptionWarning"
)  # at the point at which a process would end
def test_a_signal_ends_all_while_python_waits(left, capfd):
    life = Heartbeat(0, ["here"], None, "Start it again")
    assert callable(signal.getsignal(signal.SIGTERM))
    signal.raise_signal(signal.SIGTERM)
    life.thread.join()
    life.restore_signals()
    assert left == [128 + signal.SIGTERM]
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    assert "process 0 of 1 on here received SIGTERM; all 1 processes end" in capfd.readouterr().err
    life.wake_writer.close()
    life.wake_reader.close()


def test_training_continues_without_a_monitor(monkeypatch, caplog):
    monkeypatch.setattr(heartbeat, "_start_monitor", lambda hosts, fix: None)
    assert lines_of(2) == [None, None]
    assert "only mpiexec can report it" in caplog.text
