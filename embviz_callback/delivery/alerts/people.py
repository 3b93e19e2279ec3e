"""Alerts to people: each by a short-lived process of its own, so that a dead endpoint costs no training time."""

import json
import os
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from embviz_callback.delivery.alerts.rule import AlertEvent
from embviz_callback.delivery.process.training_side import Report, started

LIMIT_S = 15.0  # after which the process ends itself, whatever an endpoint does
LIMIT_EXIT = 75  # with this exit code
_MOST_AT_ONCE = 4
_POLL_S = 0.05
_PROCESS = "embviz_callback.delivery.alerts.sending_process"


@dataclass(frozen=True)
class _Sending:
    process: "subprocess.Popen[bytes]"
    begun: float
    is_check: bool


class Notifier:
    """Sends the edges of an alert to the addresses in an environment variable.

    The addresses are secrets. This process never reads them; the one that does writes nothing but
    the scheme of an address and the type of an exception. No thread is started, nothing is
    forked, and no method but `finish` waits.

    Args:
        variable: Name of the environment variable.
        run: What to call the run in a message.
        report: Called with the kind and the sentence of what went wrong.
    """

    def __init__(self, variable: str, *, run: str, report: Report) -> None:
        self.variable = variable
        self.run = run
        self._report = report
        self._sending: list[_Sending] = []

    def check(self) -> None:
        """Has the addresses looked at before training, so that a slip is not found out by an alert."""
        if not os.environ.get(self.variable, "").split():
            self._report(
                "no address",
                f"the environment variable {self.variable} is not set, so nobody will be notified of alerts; "
                "put into it the addresses of https://appriseit.com, separated by spaces",
            )
            return
        self._launch({"check": True}, is_check=True)

    def send(self, event: AlertEvent) -> None:
        """Sends one message and does not wait for it."""
        if not os.environ.get(self.variable, "").split():
            return  # said by `check`
        text = f"{event.message}\nRun: {self.run}" if self.run else event.message
        kind = "warning" if event.kind == "firing" else "success"
        self._launch({"title": event.headline, "text": text, "type": kind}, is_check=False)

    def poll(self) -> None:
        """Hears what became of the messages."""
        for sending in list(self._sending):
            process = sending.process
            if process.poll() is None and time.monotonic() - sending.begun > 2 * LIMIT_S:
                process.kill()  # its own limit should have ended it; a stopped process cannot keep to that
                process.wait()
            if process.poll() is not None:
                self._sending.remove(sending)
                self._hear(process, is_check=sending.is_check)

    def finish(self, limit_s: float) -> None:
        """Waits for messages that are still on their way; what is not through then is given up.

        Args:
            limit_s: Longest wait in seconds.
        """
        until = time.monotonic() + limit_s
        self.poll()
        while self._sending and time.monotonic() < until:
            time.sleep(_POLL_S)
            self.poll()
        for sending in self._sending:
            sending.process.kill()
            sending.process.wait()
        self.poll()

    def _launch(self, message: Mapping[str, Any], *, is_check: bool) -> None:
        self.poll()
        if len(self._sending) >= _MOST_AT_ONCE:
            self._report("too many", f"{_MOST_AT_ONCE} messages are still on their way, so that others are left out")
            return
        process = started(_PROCESS, self.variable, errors=subprocess.DEVNULL)  # a complaint may quote an address
        self._sending.append(_Sending(process, time.monotonic(), is_check))
        assert process.stdin is not None
        try:
            # Shorter than what a pipe holds, so that this does not wait.
            process.stdin.write(json.dumps(message).encode())
            process.stdin.close()
        except OSError:
            pass  # it has died already; the next poll finds out

    def _hear(self, process: "subprocess.Popen[bytes]", *, is_check: bool) -> None:
        assert process.stdout is not None
        with process.stdout:
            said = process.stdout.read()
        try:
            faults = json.loads(said)
        except ValueError:
            took_too_long = process.returncode in (LIMIT_EXIT, -9)
            faults = [f"no answer within {LIMIT_S:.0f} s" if took_too_long else f"exit code {process.returncode}"]
        if faults:
            self._report("address" if is_check else "not reached", self._sentence(faults, is_check=is_check))

    def _sentence(self, faults: Sequence[str], *, is_check: bool) -> str:
        what = "not everybody can be notified of alerts" if is_check else "an alert did not reach everybody"
        return (
            f"{what} ({self.variable}: {'; '.join(faults)}); training goes on, and every alert stands in the log "
            "and in events.jsonl"
        )
