"""Headless Chromium, controlled over two pipes, without a driver or a package."""

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
    "--no-sandbox",  # which root cannot have
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
TOO_WIDE = """[...document.querySelectorAll("body *")].filter((e) => e.checkVisibility()
    && !e.closest(".terms *, figure *") && getComputedStyle(e).position !== "absolute"
    && e.getBoundingClientRect().right > document.documentElement.clientWidth + 0.5)
    .map((e) => `${e.closest("section")?.id} ${e.tagName}.${e.className}`).join()"""
"""What reaches beyond the screen's right edge, other than within what may scroll."""
KEYS = {"ArrowLeft": 37, "ArrowRight": 39, "Home": 36, "End": 35, "Tab": 9, "Enter": 13}


def find() -> str | None:
    """Return the path of a browser that runs; on some systems the command only prints how to install one."""
    for path in filter(None, map(shutil.which, NAMES)):
        if subprocess.run([path, "--version"], capture_output=True).returncode == 0:
            return path
    return None


@contextmanager
def opened(executable: str, folder: Path) -> Iterator["Browser"]:
    """Start a browser without settings; its log goes into ``folder``."""
    to_read, out = os.pipe()
    into, to_write = os.pipe()
    # the protocol's pipes are the file descriptors 3 and 4; sh may not support numbers of two digits, but bash does
    script = f'exec "$@" 3<&{to_read} 4>&{to_write}'
    command = ["bash", "-c", script, "bash", executable, *FLAGS, f"--user-data-dir={folder / 'profile'}"]
    log = folder / "browser.log"
    with log.open("wb") as log_file:
        process = subprocess.Popen(command, pass_fds=(to_read, to_write), stdout=log_file, stderr=log_file)
    os.close(to_read)
    os.close(to_write)
    try:
        yield Browser(into, out, log)
    finally:
        os.close(out)  # the browser ends at this message
        os.close(into)
        try:
            process.wait(10.0)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


class Browser:
    """A connection for commands and events of Chromium's DevTools protocol."""

    def __init__(self, into: int, out: int, log: Path):
        self._in, self._out, self._log = into, out, log
        self._buffer, self._number = b"", 0
        self.events: list[dict] = []

    def send(self, method: str, session: str | None = None, **parameters):
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        os.write(self._out, json.dumps(message | ({"sessionId": session} if session else {})).encode() + b"\0")
        while (answer := self._read()).get("id") != self._number:
            self.events.append(answer)
        assert "error" not in answer, answer
        return answer["result"]

    def wait(self) -> None:
        """Wait for an event."""
        self.events.append(self._read())

    def _read(self, seconds: float = 60.0):
        stop_when = time.monotonic() + seconds
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._in], [], [], max(stop_when - time.monotonic(), 0.0))
            part = os.read(self._in, 1 << 16) if ready else b""
            if not part:
                raise TimeoutError(f"the browser does not answer; it said: {self._log.read_text(errors='replace')}")
            self._buffer += part
        message, _, self._buffer = self._buffer.partition(b"\0")
        return json.loads(message)

    @contextmanager
    def page(self) -> Iterator["Page"]:
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        try:
            yield Page(self, self.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"])
        finally:
            self.send("Target.closeTarget", targetId=target)
            self.events.clear()  # of hundreds of pages, all would be searched for those of one


class Page:
    """A page in the browser."""

    def __init__(self, browser: Browser, session: str):
        self._browser, self._session = browser, session
        self._opened: set[str] = set()
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.send(f"{domain}.enable")

    def send(self, method: str, **parameters):
        return self._browser.send(method, self._session, **parameters)

    def events(self, *methods: str) -> list[dict]:
        """Return the parameters of past events of some kinds."""
        all_events = self._browser.events
        return [e["params"] for e in all_events if e.get("sessionId") == self._session and e["method"] in methods]

    def requested_urls(self) -> set[str]:
        """Return the requested URLs, except those of opened pages and their inline data."""
        urls = {event["request"]["url"] for event in self.events("Network.requestWillBeSent")}
        assert self._opened <= urls
        return {url for url in urls - self._opened if not url.startswith("data:")}

    def screen(self, width: int, height: int = 700, scale: int = 1) -> None:
        of_screen = {"width": width, "height": height, "deviceScaleFactor": scale, "mobile": True}
        self.send("Emulation.setDeviceMetricsOverride", **of_screen)

    def open(self, url: str) -> None:
        self._opened.add(url.partition("#")[0])
        before = len(self.events("Page.loadEventFired"))
        answer = self.send("Page.navigate", url=url)
        assert "errorText" not in answer, answer
        while len(self.events("Page.loadEventFired")) == before:
            self._browser.wait()

    def value(self, expression: str):
        """Evaluate an expression; a promise is awaited."""
        answer = self.send("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def press(self, key: str) -> None:
        more = {"text": "\r"} if key == "Enter" else {}
        for kind in ("keyDown", "keyUp"):
            self.send("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=KEYS[key], **more)
            more = {}
