"""Headless Chromium, spoken to over two pipes: no driver and no package is needed beside it."""

import json
import os
import select
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
FLAGS = (
    "--headless",
    "--no-sandbox",  # which root may not have
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--force-device-scale-factor=1",
    "--remote-debugging-pipe",
)
KEYS = {"ArrowLeft": 37, "ArrowRight": 39, "Home": 36, "End": 35, "Tab": 9, "Enter": 13}


def find() -> str | None:
    return next(filter(None, map(shutil.which, NAMES)), None)


@contextmanager
def opened(executable: str, folder: Path) -> Iterator["Page"]:
    """One empty page in a browser of its own; what the browser says of itself goes into ``folder``."""
    to_read, out = os.pipe()
    into, to_write = os.pipe()
    # the protocol's pipes are the file descriptors 3 and 4; sh need not know numbers of two digits, bash does
    script = f'exec "$@" 3<&{to_read} 4>&{to_write}'
    command = ["bash", "-c", script, "bash", executable, *FLAGS, f"--user-data-dir={folder / 'profile'}"]
    log = folder / "browser.log"
    with log.open("wb") as said:
        process = subprocess.Popen(command, pass_fds=(to_read, to_write), stdout=said, stderr=said)
    os.close(to_read)
    os.close(to_write)
    try:
        yield Page(into, out, log)
    finally:
        os.close(out)  # at which it ends by itself
        os.close(into)
        try:
            process.wait(10.0)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


class Page:
    """A page in a browser; commands are those of Chromium's DevTools protocol."""

    def __init__(self, into: int, out: int, log: Path):
        self._in, self._out, self._log = into, out, log
        self._buffer, self._number, self._session = b"", 0, None
        self.events: list[dict] = []
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.send(f"{domain}.enable")

    def send(self, method: str, **parameters):
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._read()
            if answer.get("id") == self._number:
                assert "error" not in answer, answer
                return answer["result"]
            self.events.append(answer)

    def _read(self, seconds: float = 60.0):
        until = time.monotonic() + seconds
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._in], [], [], max(until - time.monotonic(), 0.0))
            part = os.read(self._in, 1 << 16) if ready else b""
            if not part:
                raise TimeoutError(f"the browser does not answer; it said: {self._log.read_text(errors='replace')}")
            self._buffer += part
        message, _, self._buffer = self._buffer.partition(b"\0")
        return json.loads(message)

    def open(self, url: str) -> None:
        before = len(self.events)
        answer = self.send("Page.navigate", url=url)
        assert "errorText" not in answer, answer
        while not self.said("Page.loadEventFired", since=before):
            self.events.append(self._read())

    def value(self, expression: str):
        """What an expression comes to; of a promise what it promises."""
        answer = self.send("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def press(self, key: str) -> None:
        more = {"text": "\r"} if key == "Enter" else {}
        for kind in ("keyDown", "keyUp"):
            self.send("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=KEYS[key], **more)
            more = {}

    def said(self, *methods: str, since: int = 0) -> list[dict]:
        """The events of some kinds so far, or since there were so many of all kinds."""
        return [event for event in self.events[since:] if event.get("method") in methods]
