"""Command lines whose mistakes are answered in one line."""

import argparse
import difflib
import math
from collections.abc import Callable, Sequence
from typing import Any, NoReturn


class UsageError(ValueError):
    """Bad arguments or input: the command ends with exit status 2 and this text on one line."""


class Parser(argparse.ArgumentParser):
    """An `argparse.ArgumentParser` that raises `UsageError` instead of printing its usage and exiting.

    Options cannot be abbreviated: what an abbreviation means would change with the next option.
    """

    def __init__(self, **options: object) -> None:
        super().__init__(allow_abbrev=False, **options)  # type: ignore[arg-type]

    def option(self, spec: str, says: str, **more: Any) -> None:
        """Adds an argument that takes a value.

        Args:
            spec: What it is called, and what stands for its value as help shows it: "--data PATH".
            says: What help says of it.
            more: As for `add_argument`.
        """
        name, _, metavar = spec.partition(" ")
        if metavar:
            more["metavar"] = metavar
        self.add_argument(name, help=says, **more)

    def flag(self, name: str, says: str) -> None:
        """Adds an option that is given or not."""
        self.add_argument(name, action="store_true", help=says)

    def error(self, message: str) -> NoReturn:
        """Called by argparse for every mistake but a mistyped option, which `read` finds first.

        Raises:
            UsageError: Always.
        """
        raise UsageError(message.replace("the following arguments are required: ", "required: "))

    def read(self, arguments: Sequence[str]) -> argparse.Namespace:
        """The options of a command line.

        Args:
            arguments: Without the program's name.

        Returns:
            The parsed options.

        Raises:
            UsageError: If an option does not exist (the nearest is named), is missing or is wrong.
        """
        known = sorted(self._option_string_actions)
        for argument in arguments:
            name = argument.partition("=")[0]
            if name.startswith("-") and name not in known and not _is_number(name):
                raise UsageError(f"unrecognised option {name}{_nearest(name, known)}")
        return self.parse_args(arguments)


def _nearest(name: str, known: Sequence[str]) -> str:
    # A single hyphen before a long option is the commonest slip of all.
    wanted = name if name.startswith("--") else f"-{name}" if len(name) > 2 else name
    close = difflib.get_close_matches(wanted, known, n=1, cutoff=0.5)
    return f"; did you mean {close[0]}?" if close else "; --help lists the options"


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def whole_number(low: int, high: int | None = None) -> Callable[[str], int]:
    """An argparse type for a whole number from `low` to `high`, or of any size."""
    ends = f"from {low}" if high is None else f"from {low} to {high}"

    def read(text: str) -> int:
        is_whole = text.removeprefix("-").isdecimal()
        if not is_whole or int(text) < low or (high is not None and int(text) > high):
            raise argparse.ArgumentTypeError(f"must be a whole number {ends}, got {text!r}")
        return int(text)

    return read


def finite_number(text: str) -> float:
    """An argparse type for a number that is not NaN and not infinite.

    Returns:
        The number.

    Raises:
        ArgumentTypeError: If it is no such number.
    """
    if not _is_number(text) or not math.isfinite(float(text)):
        raise argparse.ArgumentTypeError(f"must be a number, got {text!r}")
    return float(text)
