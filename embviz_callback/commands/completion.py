"""`embviz completion`: a script that lets a shell complete embviz's commands, options and files."""

import argparse
from collections.abc import Iterator
from typing import Any

from embviz_callback.commands.arguments import UsageError
from embviz_callback.commands.ending import write_out
from embviz_callback.commands.parsers import COMMANDS, EVALUATION
from embviz_callback.commands.terminal import Terminal


def run(options: argparse.Namespace, terminal: Terminal) -> int:
    """Runs the command; 0 when done."""
    try:
        import shtab
    except ModuleNotFoundError:
        raise UsageError('needs shtab; install it with: pip install "embviz-callback[completion]"') from None
    whole = _whole_parser()
    for action in _actions_of(whole):
        if action.metavar in ("PATH", "NAME|PATH"):
            action.complete = shtab.FILE
        elif action.metavar == "DIR":
            action.complete = shtab.DIRECTORY
    write_out(shtab.complete(whole, options.shell) + "\n")
    return 0


def _whole_parser() -> argparse.ArgumentParser:
    """All commands in one, which only a completion needs; each command reads its own arguments."""
    whole = argparse.ArgumentParser(prog="embviz", parents=[EVALUATION.parser()], add_help=False)
    commands = whole.add_subparsers()
    for name, command in COMMANDS.items():
        commands.add_parser(name, parents=[command.parser()], add_help=False, help=command.says)
    return whole


def _actions_of(made: argparse.ArgumentParser) -> Iterator[Any]:
    for action in made._actions:
        yield action
        if isinstance(action, argparse._SubParsersAction):
            for inner in action.choices.values():
                yield from _actions_of(inner)
