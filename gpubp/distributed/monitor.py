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

PATIENCE = 10.0  # seconds, for all connections to be made
TOKEN_BYTES, RANK_BYTES = 16, 4
READY, GOODBYE, END = b"ready", b"goodbye", b"end"
"""Messages: all are connected; a process ends normally; a process must end."""


def accepted(listener: socket.socket, token: bytes, size: int) -> dict[int, socket.socket]:
    """Wait for all processes to connect; connections without the secret are closed."""
    lines: dict[int, socket.socket] = {}
    deadline = time.monotonic() + PATIENCE
    while len(lines) < size:
        listener.settimeout(max(deadline - time.monotonic(), 0.001))
        line, _ = listener.accept()
        line.settimeout(1.0)
        with contextlib.suppress(OSError):
            said = line.recv(TOKEN_BYTES + RANK_BYTES, socket.MSG_WAITALL)
            if hmac.compare_digest(said[:TOKEN_BYTES], token):
                lines[int.from_bytes(said[TOKEN_BYTES:], "big")] = probed(line)
                continue
        line.close()
    return lines


def probed(line: socket.socket) -> socket.socket:
    """Turn on TCP keep-alive, so that the system detects a lost machine."""
    line.settimeout(None)
    line.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (("TCP_KEEPIDLE", SILENCE // 4), ("TCP_KEEPINTVL", SILENCE // 4), ("TCP_KEEPCNT", 3)):
        if hasattr(socket, name):
            line.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
    return line


def received(line: socket.socket) -> bytes:
    """Read what has arrived; empty if the other end is closed or lost."""
    try:
        return line.recv(1 << 16)
    except OSError:
        return b""


def why_all_end(lines: dict[int, socket.socket], hosts: list[str]) -> str | None:
    """Wait until all have disconnected normally, or one fails; then return why the others must end.

    The first event counts, because a launcher may have killed the others before this program runs again; the system
    delivers events in order.
    """
    with selectors.DefaultSelector() as selector:
        for rank, line in lines.items():
            selector.register(line, selectors.EVENT_READ, rank)
        while selector.get_map():
            for key, _ in selector.select():
                said = received(lines[key.data])
                if not said.startswith(GOODBYE):
                    gone = f"{named(key.data, hosts)} is gone: it was killed, or its machine or network failed"
                    return said.decode(errors="replace") or gone
                selector.unregister(key.fileobj)
    return None


def named(rank: int, hosts: list[str]) -> str:
    """Name a process for messages."""
    return f"process {rank} of {len(hosts)} on {hosts[rank]}"


def sentence(why: str, hosts: list[str], fix: str) -> str:
    """Format the message that is printed when all processes end."""
    return f"\ngpubp: {why}; all {len(hosts)} processes end. {fix}".rstrip()


def main() -> None:
    """Monitor the processes given on stdin until they end."""
    given = json.load(sys.stdin)
    hosts: list[str] = given["hosts"]
    with socket.socket(fileno=given["listener"]) as listener:
        lines = accepted(listener, bytes.fromhex(given["token"]), len(hosts))
    for line in lines.values():
        line.sendall(READY)
    why = why_all_end(lines, hosts)
    if why is not None:
        with contextlib.suppress(OSError):
            print(sentence(why, hosts, given["fix"]), file=sys.stderr, flush=True)
        for line in lines.values():
            with contextlib.suppress(OSError):
                line.sendall(END)


if __name__ == "__main__":
    main()
