"""What a person sees while a command works: lines on standard error, bars only on a terminal."""

import sys
from collections.abc import Callable
from shutil import get_terminal_size
from typing import TYPE_CHECKING, Any, NoReturn, TextIO

from embviz_callback.commands.launched import is_first
from embviz_callback.pairs.texts import inert

if TYPE_CHECKING:
    from tqdm import tqdm

_REDRAW_S = 0.1


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

    def bar(self, stage: str) -> Callable[[int, int], None] | None:
        """Takes steps done and in all; None where nobody watches, as in a pipe."""
        if not self._speaks or not self._stream.isatty():
            return None
        from tqdm import tqdm  # only where somebody watches

        shown: list[tqdm[NoReturn]] = []

        def draw(done: int, total: int) -> None:
            if not shown:
                # A terminal that does not say how large it is counts as one of 80 columns, not of none.
                width, height = get_terminal_size()
                size: Any = {"ncols": width, "nrows": height}
                bar = tqdm(total=total, desc=inert(stage), file=self._stream, mininterval=_REDRAW_S, **size)
                shown.append(bar)
                self._last = shown[0]
            # A finished bar stays finished, however often its end is told.
            if not shown[0].disable:
                shown[0].update(done - shown[0].n)
                self._is_open = done < total
            if done >= total:
                shown[0].close()

        return draw

    def known(self, words: str) -> None:
        """Sets what is known so far behind the last bar, as long as that goes on."""
        if self._last is not None and not self._last.disable:
            self._last.set_postfix_str(inert(words), refresh=False)
