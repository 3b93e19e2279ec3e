"""A real headless Chromium, spoken to over a pipe: what a page asks for, complains of and shows."""

import base64
import json
import os
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

_FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--remote-debugging-pipe",
)
_LIMIT_S = 60.0


class Tab:
    """One open page, and everything that has gone over the pipe so far."""

    def __init__(self, send: int, receive: int) -> None:
        self._send, self._receive = send, receive
        self._rest = b""
        self._number = 0
        self._session: str | None = None
        self.events: list[dict[str, Any]] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        if self._session is not None:
            message["sessionId"] = self._session
        os.write(self._send, json.dumps(message).encode() + b"\0")
        while (answer := self._next()).get("id") != self._number:
            self.events.append(answer)
        assert "error" not in answer, answer["error"]
        result: dict[str, Any] = answer["result"]
        return result

    def _next(self) -> dict[str, Any]:
        deadline = time.monotonic() + _LIMIT_S
        while b"\0" not in self._rest:
            ready, _, _ = select.select([self._receive], [], [], max(0.0, deadline - time.monotonic()))
            assert ready, f"the browser has not answered within {_LIMIT_S:.0f} s"
            part = os.read(self._receive, 1 << 16)
            assert part, "the browser has ended"
            self._rest += part
        message, self._rest = self._rest.split(b"\0", 1)
        found: dict[str, Any] = json.loads(message)
        return found

    def show(self, *, width: int = 1280, height: int = 900, scheme: str = "light") -> None:
        """The window's size and the user's colour scheme; motion is calm, so that a map is at once where it goes."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        features = [("prefers-color-scheme", scheme), ("prefers-reduced-motion", "reduce")]
        self.call("Emulation.setEmulatedMedia", features=[{"name": n, "value": v} for n, v in features])

    def open(self, path: Path, fragment: str = "") -> None:
        # A change of the fragment alone would not load the page anew.
        self.call("Page.navigate", url="about:blank")
        self.call("Page.navigate", url=f"{path.as_uri()}{fragment and '#'}{fragment}")
        deadline = time.monotonic() + _LIMIT_S
        while self.ask("document.readyState") != "complete" or not self.ask("location.href.startsWith('file:')"):
            assert time.monotonic() < deadline, "the page is not loaded"

    def ask(self, expression: str) -> Any:
        """The value of an expression in the page."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def settle(self) -> None:
        """Returns after the page has drawn twice more."""
        self.ask("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => done(1))))")

    def press(self, key: str, code: int) -> None:
        for kind in ("rawKeyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code)
        self.settle()

    def type(self, text: str) -> None:
        self.call("Input.insertText", text=text)
        self.settle()

    def click(self, selector: str) -> None:
        self.ask(f"document.querySelector({json.dumps(selector)}).click()")
        self.settle()

    def text(self, selector: str) -> str:
        return str(self.ask(f"document.querySelector({json.dumps(selector)}).innerText"))

    def picture(self, path: Path, *, whole: bool = False) -> None:
        shot = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(shot["data"]))

    @property
    def requests(self) -> list[str]:
        """Addresses that were asked for, but for the page itself."""
        asked = [event["params"]["request"]["url"] for event in self._of("Network.requestWillBeSent")]
        return [address for address in asked if not address.startswith(("file:", "about:", "data:,"))]

    @property
    def complaints(self) -> list[Mapping[str, Any]]:
        """Errors, warnings and uncaught exceptions."""
        return [
            *(event["params"]["entry"] for event in self._of("Log.entryAdded")),
            *(event["params"] for event in self._of("Runtime.exceptionThrown")),
            *(event["params"] for event in self._of("Runtime.consoleAPICalled")),
        ]

    def _of(self, method: str) -> list[dict[str, Any]]:
        return [event for event in self.events if event.get("method") == method]


@contextmanager
def browser(profile: Path) -> Iterator[Tab]:
    """A tab of a fresh browser; the test is skipped where there is none.

    Args:
        profile: An empty folder.
    """
    binary = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if binary is None:
        pytest.skip("no Chromium here: chromium, chromium-browser and google-chrome are not on the PATH")
    theirs_in, ours_out = os.pipe()
    ours_in, theirs_out = os.pipe()
    # The browser speaks on descriptors 3 and 4; copies first, since one of ours may be 3 or 4 itself.
    start = (
        f"import os, sys; ends = os.dup({theirs_in}), os.dup({theirs_out})\n"
        "high = [os.dup(end) for end in ends for _ in range(4)]\n"
        "os.dup2(high[3], 3); os.dup2(high[7], 4); os.execv(sys.argv[1], sys.argv[1:])"
    )
    command = [sys.executable, "-c", start, binary, *_FLAGS, f"--user-data-dir={profile}", "about:blank"]
    process = subprocess.Popen(command, pass_fds=(theirs_in, theirs_out), stderr=subprocess.DEVNULL)
    os.close(theirs_in)
    os.close(theirs_out)
    try:
        tab = Tab(ours_out, ours_in)
        tab.show()
        yield tab
    finally:
        os.close(ours_out)  # its end of the pipe closed, the browser ends by itself
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        os.close(ours_in)
