"""A program with a connection to each process; if one of them dies, it says so and ends the others.

The launcher does not know it, so it survives when the launcher kills the others. However a process dies, the system
closes its connection. If a machine or its network is lost, TCP keep-alive detects this within :data:`SILENCE` seconds;
the system answers its probes even if a process is busy. The program imports only the standard library and is run as a
file, so it starts fast.
"""

import contextlib
import hmac
import json
import selectors
import socket
import sys
import time

SILENCE = 8
"""Approximate seconds without an answer after which a machine counts as lost."""

CONNECT_SECONDS = 10.0  # seconds, for all connections to be made
TOKEN_BYTES, RANK_BYTES = 16, 4
READY, GOODBYE, END = b"ready", b"goodbye", b"end"
"""Messages: all are connected; a process ends normally; a process must end."""


def accept_all(listener: socket.socket, token: bytes, size: int) -> dict[int, socket.socket]:
    """Wait for all processes to connect; connections without the secret are closed."""
    connections: dict[int, socket.socket] = {}
    deadline = time.monotonic() + CONNECT_SECONDS
    while len(connections) < size:
        listener.settimeout(max(deadline - time.monotonic(), 0.001))
        connection, _ = listener.accept()
        connection.settimeout(1.0)
        with contextlib.suppress(OSError):
            message = connection.recv(TOKEN_BYTES + RANK_BYTES, socket.MSG_WAITALL)
            if hmac.compare_digest(message[:TOKEN_BYTES], token):
                connections[int.from_bytes(message[TOKEN_BYTES:], "big")] = with_keep_alive(connection)
                continue
        connection.close()
    return connections


def with_keep_alive(connection: socket.socket) -> socket.socket:
    """Turn on TCP keep-alive, so that the system detects a lost machine."""
    connection.settimeout(None)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (("TCP_KEEPIDLE", SILENCE // 4), ("TCP_KEEPINTVL", SILENCE // 4), ("TCP_KEEPCNT", 3)):
        if hasattr(socket, name):
            connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
    return connection


def receive(connection: socket.socket) -> bytes:
    """Read what has arrived; empty if the other end is closed or lost."""
    try:
        return connection.recv(1 << 16)
    except OSError:
        return b""


def reason_to_end(connections: dict[int, socket.socket], hosts: list[str]) -> str | None:
    """Wait until all have disconnected normally, or one fails; then return why the others must end.

    The first event counts, because a launcher may have killed the others before this program runs again; the system
    delivers events in order.
    """
    with selectors.DefaultSelector() as selector:
        for rank, connection in connections.items():
            selector.register(connection, selectors.EVENT_READ, rank)
        while selector.get_map():
            for key, _ in selector.select():
                message = receive(connections[key.data])
                if not message.startswith(GOODBYE):
                    lost = f"{process_name(key.data, hosts)} is gone: it was killed, or its machine or network failed"
                    return message.decode(errors="replace") or lost
                selector.unregister(key.fileobj)
    return None


def process_name(rank: int, hosts: list[str]) -> str:
    """Name a process for messages."""
    return f"process {rank} of {len(hosts)} on {hosts[rank]}"


def end_message(reason: str, hosts: list[str], fix: str) -> str:
    """Format the message that is printed when all processes end."""
    return f"\ngpubp: {reason}; all {len(hosts)} processes end. {fix}".rstrip()


def main() -> None:
    """Monitor the processes given on stdin until they end."""
    settings = json.load(sys.stdin)
    hosts: list[str] = settings["hosts"]
    with socket.socket(fileno=settings["listener"]) as listener:
        connections = accept_all(listener, bytes.fromhex(settings["token"]), len(hosts))
    for connection in connections.values():
        connection.sendall(READY)
    reason = reason_to_end(connections, hosts)
    if reason is not None:
        with contextlib.suppress(OSError):
            print(end_message(reason, hosts, settings["fix"]), file=sys.stderr, flush=True)
        for connection in connections.values():
            with contextlib.suppress(OSError):
                connection.sendall(END)


if __name__ == "__main__":
    main()
