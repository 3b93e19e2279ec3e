"""The one place where whatever goes wrong is caught, said once, and written down."""

import logging
import signal
import sys
import traceback
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from types import CodeType
from typing import Any, TypeVar

from embviz_callback.delivery.redaction import redacted
from embviz_callback.pairs.texts import inert

_ENOUGH = 3  # equal faults in a row after which a stage is no longer tried
_LONGEST_MESSAGE = 500
_LONGEST_DETAILS = 20_000

Result = TypeVar("Result")
_log = logging.getLogger("embviz_callback")


class Guard:
    """Runs stages so that an exception of theirs never ends a training run.

    Each kind of fault (stage and exception type) costs one warning, however often it comes back,
    and one row each time in the log of events. A stage that failed three times in a row with the
    same type of exception is not tried again.

    Args:
        on_error: "warn" goes on, "raise" lets the exception through.
        note: Takes the row that describes a fault, plain JSON; may fail.
        rank: Of this process, for the message.
    """

    def __init__(
        self, *, on_error: str = "warn", note: Callable[[Mapping[str, Any]], None] = lambda row: None, rank: int = 0
    ) -> None:
        self.on_error = on_error
        self.faults: list[str] = []
        self._note = note
        self._rank = rank
        self._said: set[tuple[str, str]] = set()
        self._in_a_row: Counter[tuple[str, str]] = Counter()
        self._given_up: set[str] = set()

    def attempt(
        self,
        stage: str,
        act: Callable[[], Result],
        *,
        where: str,
        skipped: str,
        redo: str = "",
        passing: tuple[type[BaseException], ...] = (),
    ) -> Result | None:
        """Runs `act`; with ``on_error="raise"`` its exception passes, as Ctrl-C and SIGTERM always do.

        Args:
            stage: What is attempted, a noun.
            act: Does it.
            where: Epoch and step, for the message.
            skipped: What the user does not get when it fails.
            redo: How to get it all the same.
            passing: Exceptions that are an answer to the user, and no fault.

        Returns:
            What `act` gives, or None where it failed or is no longer tried.
        """
        if stage in self._given_up:
            return None
        try:
            result = act()
        # Not Exception alone: what panics in Rust, such as a tokenizer, is none.
        except BaseException as error:
            if isinstance(error, passing) or is_wanted_end(error):
                raise
            # Only text is kept: a traceback holds the frames, and with them tensors on the device.
            self._record(stage, error, where=where, skipped=skipped, redo=redo)
            if self.on_error == "raise":
                raise
            return None
        for kind in [kind for kind in self._in_a_row if kind[0] == stage]:
            del self._in_a_row[kind]
        return result

    def warn(self, stage: str, kind: str, message: str, details: str = "") -> None:
        """Notes a fault that came without an exception, such as a worker that died.

        Args:
            stage: Where it happened.
            kind: Equal kinds of one stage are warned of once.
            message: For the user: what happened, what is missing, how to get it.
            details: For the log of events only.
        """
        message, details = inert(redacted(message)), redacted(details[-_LONGEST_DETAILS:])
        if (stage, kind) not in self._said:
            self._said.add((stage, kind))
            self.faults.append(message)
            with suppress(Exception):  # a handler of the user's may raise
                _log.warning("embviz: %s", message)
        self._write_down({"event": "fault", "stage": stage, "kind": kind, "message": message, "details": details})

    def _record(self, stage: str, error: BaseException, *, where: str, skipped: str, redo: str) -> None:
        kind = (stage, type(error).__name__)
        text = f"{kind[1]}: {_words(error)}"[:_LONGEST_MESSAGE]
        self._in_a_row = Counter({kind: self._in_a_row[kind] + 1}) + Counter({
            other: count for other, count in self._in_a_row.items() if other[0] != stage
        })
        message = f"{stage} failed ({where}, rank {self._rank}): {text}; skipped: {skipped}"
        self.warn(*kind, f"{message}; {redo}" if redo else message, traceback.format_exc())
        if self._in_a_row[kind] == _ENOUGH:
            self._given_up.add(stage)
            self.warn(stage, "given up", f"{stage} failed {_ENOUGH} times in a row and is not tried again in this run")

    def _write_down(self, row: Mapping[str, Any]) -> None:
        try:
            self._note(row)
        # The disk, or a path that cannot be encoded, may be the fault that is noted; its warning has been given.
        except Exception as error:  # noqa: BLE001
            with suppress(Exception):
                _log.debug("embviz: could not note a fault: %s", error)


def is_wanted_end(error: BaseException) -> bool:
    """Whether somebody outside wants an end: Ctrl-C, Lightning's SIGTERM, or what a handler of a signal raised.

    A SystemExit by itself is none: what a model or a library raises so is a fault like any other.

    Args:
        error: With its traceback.

    Returns:
        Yes or no.
    """
    if isinstance(error, KeyboardInterrupt) or "SIGTERMException" in {one.__name__ for one in type(error).__mro__}:
        return True
    handlers = set(filter(None, map(_code_of_handler, signal.valid_signals())))
    return any(frame.f_code in handlers for frame, _ in traceback.walk_tb(error.__traceback__))


def _code_of_handler(number: int) -> CodeType | None:
    handler: Any = signal.getsignal(number)
    if not callable(handler):
        return None
    handler = getattr(handler, "func", handler)  # of a partial
    called = handler if hasattr(handler, "__code__") else vars(type(handler)).get("__call__")
    code = getattr(called, "__code__", None)
    return code if isinstance(code, CodeType) else None


def _words(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:  # noqa: BLE001  # an exception whose own __str__ fails
        return "(it cannot say what it is)"


def say(message: str) -> None:
    """A notice that is good news: where nobody set up logging, Lightning's own console shows it, or standard error."""
    message = inert(message)
    consoles = [name for name in ("lightning.pytorch", "pytorch_lightning") if name in sys.modules]
    if _log.isEnabledFor(logging.INFO):
        _log.info("embviz: %s", message)
    elif consoles:
        logging.getLogger(consoles[0]).info("embviz: %s", message)
    else:
        say_plainly(message)


def say_plainly(message: str) -> None:
    """To standard error, which a program without a terminal may lack."""
    if sys.stderr is not None:
        with suppress(OSError, ValueError):
            sys.stderr.write(f"embviz: {inert(message)}\n")
            sys.stderr.flush()
