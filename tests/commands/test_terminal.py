"""What a terminal gets to see, and to obey."""

import io

import pytest

from embviz_callback.commands.ending import ended
from embviz_callback.commands.terminal import Terminal, inert

HOSTILE = {
    "clear\x1b[2J.pt": "clear\\x1b[2J.pt",
    "title\x1b]0;owned\x07": "title\\x1b]0;owned\\x07",
    "over\rwritten\b": "over\\rwritten\\x08",
    "eight\x9b31m bits": "eight\\x9b31m bits",
    "txt\u202eexe": "txt\\u202eexe",
    "Căn hộ\tmới\nrẻ": "Căn hộ\tmới\nrẻ",
}


@pytest.mark.parametrize(("text", "shown"), HOSTILE.items())
def test_what_files_are_called_gives_a_terminal_no_orders(text: str, shown: str) -> None:
    assert inert(text) == shown
    stream = io.StringIO()
    Terminal(stream).say(text)
    assert stream.getvalue() == f"{shown}\n"


def test_an_unforeseen_failure_tells_no_secret_and_gives_no_orders() -> None:
    stream = io.StringIO()

    def work() -> int:
        raise RuntimeError("\x1b[31m https://me:swordfish@host/")

    assert ended("embviz", work, Terminal(stream)) == 1
    said = "embviz: RuntimeError: \\x1b[31m https://***@host/ (EMBVIZ_DEBUG=1 shows where)\n"
    assert stream.getvalue() == said
