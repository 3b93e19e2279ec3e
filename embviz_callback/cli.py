"""`embviz`: evaluates checkpoints, or hands over to a subcommand."""

import os
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

from embviz_callback.commands.ending import ended
from embviz_callback.commands.launched import is_first, n_processes
from embviz_callback.commands.parsers import COMMANDS, EVALUATION, Command
from embviz_callback.commands.terminal import Terminal
from embviz_callback.settings import nearest

_INTERRUPTED = "interrupted; only results that were finished are kept"


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; the first word, if it is no option, chooses a subcommand.

    Args:
        arguments: Without the program's name; by default the process's own.

    Returns:
        The exit status: 0 done, 2 bad arguments or input, 3 a threshold was missed, 1 anything else.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    _replace_closed_streams()
    try:
        try:
            return _dispatch(given)
        finally:
            sys.stdout.flush()  # a pipe that nobody reads is found out here rather than when Python ends
    except BrokenPipeError:
        # Whoever read our output has left; Python's own flush at exit must not complain again.
        sys.stdout = None
        return 1


def _replace_closed_streams() -> None:
    """Puts the null device where a stream was closed (``>&-``): the next file that is opened would take its place."""
    is_mute = sys.stdout is None
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open(mode, encoding="utf-8"))  # noqa: SIM115  # until the process ends
    if is_mute:
        sys.stderr.write("embviz: standard output is closed, so that what belongs there is lost\n")


def _dispatch(given: list[str]) -> int:
    if not given:
        sys.stdout.write(greeting())
        return 0
    word, rest = given[0], given[1:]
    if word.startswith("-"):
        return _run("embviz", EVALUATION, given, interrupted=_INTERRUPTED)
    if n_processes() > 1 and word != "compare":
        if is_first():
            sys.stderr.write(f"embviz: {word} works in one process. Fix: start it without a launcher\n")
        return 2
    if word in COMMANDS:
        return _run(f"embviz {word}", COMMANDS[word], rest)
    sys.stderr.write(f"embviz: there is no command {word!r}{nearest(word, list(COMMANDS))}\n")
    return 2


def _run(name: str, command: Command, arguments: list[str], *, interrupted: str = "interrupted") -> int:
    terminal = Terminal()

    def work() -> int:
        options = command.parser(name).read(arguments)
        return int(import_module(command.room).run(options, terminal))

    return ended(name, work, terminal, interrupted=interrupted)


def greeting() -> str:
    """What the program can do, in a few lines."""
    lines = [
        "embviz shows what an embedding model has learned.",
        "",
        f"  embviz --checkpoint best_model.pt --data val.json    {EVALUATION.says}",
        "  embviz --checkpoint a.pt b.pt --data val.json        the same for several, compared",
        *(f"  embviz {name:<46}{command.says}" for name, command in COMMANDS.items()),
        "  embviz --help                                        every option",
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
