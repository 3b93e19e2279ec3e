"""How every command ends: its answer, an exit status, and one line where it could not do its work."""

import argparse
import contextlib
import json
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from embviz_callback.commands.arguments import UsageError
from embviz_callback.commands.launched import OtherRankDone
from embviz_callback.commands.terminal import Terminal
from embviz_callback.delivery.redaction import redacted
from embviz_callback.pairs.problems import DataError
from embviz_callback.pairs.texts import beginning

if TYPE_CHECKING:
    from embviz_callback.analysis.metrics.numbers import Metrics

_LONGEST_MESSAGE = 500
_LONGEST_PATH = 100  # of one that is too long, the beginning tells which


def ended(name: str, work: Callable[[], int], terminal: Terminal, *, interrupted: str = "interrupted") -> int:
    """Does the work of a command; no failure of it shows a traceback, unless EMBVIZ_DEBUG is set.

    Args:
        name: Of the command, before every line.
        work: Gives the exit status.
        terminal: Where the line is written.
        interrupted: What to say after Ctrl-C.

    Returns:
        What `work` gave; 2 for bad arguments or input, 1 for anything else that went wrong.

    Raises:
        BrokenPipeError: If whoever read our output has left; nobody would read another line.
    """
    with _hearing_interrupts() as heard:
        try:
            return work()
        except OtherRankDone:
            return 0
        except BrokenPipeError:
            raise
        # The last line of defence: a traceback helps nobody who did not write this program.
        except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001
            if heard or isinstance(error, KeyboardInterrupt):
                terminal.say(f"{name}: {interrupted}")
                return 1
            return _told(name, error, terminal)


@contextlib.contextmanager
def _hearing_interrupts() -> Iterator[list[int]]:
    """Notes every Ctrl-C, which compiled code that calls back into Python may turn into an error of its own.

    Yields:
        The signals that came; none where somebody else listens for them.
    """
    heard: list[int] = []

    def note(number: int, frame: object) -> None:
        heard.append(number)
        raise KeyboardInterrupt

    is_ours = threading.current_thread() is threading.main_thread()
    if not is_ours or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield heard
        return
    signal.signal(signal.SIGINT, note)
    try:
        yield heard
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _told(name: str, error: Exception, terminal: Terminal) -> int:
    if isinstance(error, UsageError | DataError):
        terminal.say(f"{name}: {error}")
        return 2
    if not isinstance(error, OSError) or error.filename is None:
        return _failed(name, error, terminal)
    path = beginning(os.fsdecode(error.filename), _LONGEST_PATH)
    terminal.say(f"{name}: {path}: {error.strerror}. Fix: check the path and the disk", is_for_all=True)
    return 2


def _failed(name: str, error: Exception, terminal: Terminal) -> int:
    if os.environ.get("EMBVIZ_DEBUG"):
        traceback.print_exc()
    message = redacted(" ".join(str(error).split()))[:_LONGEST_MESSAGE]
    # On whichever process: the others only know that one has failed.
    terminal.say(f"{name}: {type(error).__name__}: {message} (EMBVIZ_DEBUG=1 shows where)", is_for_all=True)
    return 1


def answer(text: str, plain: Mapping[str, Any], options: argparse.Namespace, terminal: Terminal) -> None:
    """Says what came of it; a program gets one line of strict JSON, and the people beside it the words.

    Args:
        text: For people.
        plain: The same for a program.
        options: With ``--json``, or without.
        terminal: Hears the words where standard output is the program's.
    """
    if options.json:
        terminal.say(text)
        text = json.dumps(plain, ensure_ascii=False, allow_nan=False) + "\n"
    write_out(text)


def write_out(text: str) -> None:
    """Writes an answer on standard output."""
    with contextlib.suppress(AttributeError):
        # A terminal that knows no ± must not cost the user the result.
        sys.stdout.reconfigure(errors="replace")  # type: ignore[union-attr]
    sys.stdout.write(text)
    sys.stdout.flush()


def status(
    found: "Mapping[str, Metrics]", least: float | None, terminal: Terminal, *, faults: Sequence[str] = ()
) -> int:
    """The exit status of what was evaluated.

    Args:
        found: Label to metrics.
        least: The margin that each must have; None for any.
        terminal: Is told which has not.
        faults: What could not be made.

    Returns:
        3 if a margin is below `least`, 1 if something could not be made, else 0.
    """
    # Written so that NaN, which compares false with everything, fails too.
    missed = {} if least is None else {label: one for label, one in found.items() if not one.margin >= least}
    if missed:
        margins = ", ".join(f"{one.margin:.4f} ({label})" for label, one in missed.items())
        terminal.say(f"embviz: margin {margins} is below --fail-below-margin {least:g}")
        return 3
    return 1 if faults else 0
