"""What a terminal gets to see, and to obey."""

import io
import itertools

import pytest

from embviz_callback.commands import terminal as terminal_room
from embviz_callback.commands.ending import ended
from embviz_callback.commands.terminal import Terminal
from embviz_callback.pairs.texts import inert

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


class Screen(io.StringIO):
    """A stream that somebody watches."""

    def isatty(self) -> bool:
        return True


def test_a_bar_shows_how_far_it_is_how_fast_and_what_is_left_and_ends_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "120")  # a million steps a second would take the place of the end
    screen = Screen()
    terminal = Terminal(screen)
    bar = terminal.bar("ranking\x1b[2J")
    assert bar is not None
    for done in (0, 50, 100, 100):
        terminal.known(f"rank-1 at most {100 - done} %\x1b[2J")  # before the first bar and after the last: nothing
        bar(done, 100)
    last = screen.getvalue().split("\r")[-1]
    assert last.startswith("ranking\\x1b[2J: 100%|")
    assert "100/100 [00:00<00:00, " in last
    assert "rank-1 at most 0 %\\x1b[2J]" in last
    assert screen.getvalue().count("\n") == 1


def test_a_file_gets_a_line_a_minute_in_the_place_of_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = itertools.count(0.0, 45.0)
    monkeypatch.setattr(terminal_room.time, "monotonic", lambda: next(clock))
    stream = io.StringIO()
    terminal = Terminal(stream)
    bar = terminal.bar("ranking among the corpus", unit=" texts")
    assert bar is not None
    for done in (0, 90_000, 100_000, 180_000, 7_200_000):
        bar(done, 7_200_000)
        terminal.known("rank-1 at most 61.2%")
    assert stream.getvalue() == (
        "ranking among the corpus: 90,000 of 7,200,000, 1,000 a second, 1:58:30 left; rank-1 at most 61.2%\n"
        "ranking among the corpus: 180,000 of 7,200,000, 1,000 a second, 1:57:00 left; rank-1 at most 61.2%\n"
    )


def test_of_several_processes_the_first_one_speaks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    for rank, said in (("0", "a\nb\n"), ("1", "b\n")):
        monkeypatch.setenv("RANK", rank)
        stream = Screen()
        terminal = Terminal(stream)
        terminal.say("a")
        terminal.say("b", is_for_all=True)
        assert stream.getvalue() == said
        assert (terminal.bar("ranking") is None) == (rank == "1")


def test_an_unforeseen_failure_tells_no_secret_and_gives_no_orders() -> None:
    stream = io.StringIO()

    def work() -> int:
        raise RuntimeError("\x1b[31m https://me:swordfish@host/")

    assert ended("embviz", work, Terminal(stream)) == 1
    said = "embviz: RuntimeError: \\x1b[31m https://***@host/ (EMBVIZ_DEBUG=1 shows where)\n"
    assert stream.getvalue() == said
