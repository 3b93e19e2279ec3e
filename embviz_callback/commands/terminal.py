"""What a person sees while a command works: lines on standard error, bars only on a terminal."""

import contextlib
import logging
import os
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from datetime import timedelta
from shutil import get_terminal_size
from typing import TYPE_CHECKING, Any, NoReturn, TextIO

from embviz_callback.commands.launched import is_first
from embviz_callback.pairs.texts import inert

if TYPE_CHECKING:
    from tqdm import tqdm

_REDRAW_S = 0.1
_TELL_S = 60.0  # between the lines that take the place of a bar in a file


class Terminal:
    """Standard error.

    Args:
        stream: Where it writes.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = sys.stderr if stream is None else stream
        self._speaks = is_first()
        self._is_open = False  # a bar stands on the last line
        self._last: tqdm[NoReturn] | None = None
        self._known = ""

    def say(self, text: str, *, is_for_all: bool = False) -> None:
        """Writes a line of its own; names of files and models may hold anything.

        Args:
            text: The line.
            is_for_all: Of several processes each writes it, and not the first one alone.
        """
        if not (self._speaks or is_for_all):
            return
        text = inert(text)
        self._stream.write(f"\n{text}\n" if self._is_open else f"{text}\n")
        self._stream.flush()
        self._is_open = False

    def bar(self, stage: str, unit: str = "it") -> Callable[[int, int], None] | None:
        """Takes steps done and in all; for a pipe or a file a line a minute, None where another process speaks."""
        if not self._speaks:
            return None
        self._known = ""
        return self._drawn(stage, unit) if self._stream.isatty() else self._told(stage)

    def _drawn(self, stage: str, unit: str) -> Callable[[int, int], None]:
        from tqdm import tqdm  # only where somebody watches

        shown: list[tqdm[NoReturn]] = []

        def draw(done: int, total: int) -> None:
            if not shown:
                # A terminal that does not say how large it is counts as one of 80 columns, not of none.
                width, height = get_terminal_size()
                size: Any = {"ncols": width, "nrows": height}
                shown.append(
                    tqdm(total=total, desc=inert(stage), file=self._stream, mininterval=_REDRAW_S, unit=unit, **size)
                )
                self._last = shown[0]
            # A finished bar stays finished, however often its end is told.
            if not shown[0].disable:
                shown[0].update(done - shown[0].n)
                self._is_open = done < total
            if done >= total:
                shown[0].close()

        return draw

    def _told(self, stage: str) -> Callable[[int, int], None]:
        begun = last = time.monotonic()

        def tell(done: int, total: int) -> None:
            nonlocal last
            now = time.monotonic()
            if now - last < _TELL_S or not 0 < done < total:
                return
            last, rate = now, done / (now - begun)
            left = timedelta(seconds=round((total - done) / rate))
            known = f"; {self._known}" if self._known else ""
            self.say(f"{stage}: {done:,} of {total:,}, {rate:,.0f} a second, {left} left{known}")

        return tell

    def known(self, words: str) -> None:
        """Sets what is known so far behind the last bar, as long as that goes on."""
        self._known = words
        if self._last is not None and not self._last.disable:
            self._last.set_postfix_str(inert(words), refresh=False)


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    """Keeps libraries from talking over the answer; this process is ours alone."""
    calm(is_watched=sys.stderr.isatty())
    # Whatever a library prints must not come between a pipeline and its JSON.
    with contextlib.redirect_stdout(sys.stderr):
        yield


def calm(*, is_watched: bool) -> None:
    """Sets what libraries read when they are imported, and silences their warnings."""
    # A notebook's backend would break the import of matplotlib here.
    os.environ["MPLBACKEND"] = "Agg"
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_VERBOSITY", "error")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    if not is_watched:
        os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    logging.getLogger("embviz_callback").addHandler(logging.NullHandler())
    if not os.environ.get("EMBVIZ_DEBUG"):
        warnings.simplefilter("ignore")
