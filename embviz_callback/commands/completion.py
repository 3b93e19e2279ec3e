"""`embviz completion`: a script that lets a shell complete embviz's commands, options and files."""

import argparse
from collections.abc import Iterator
from importlib import import_module
from typing import Any

from embviz_callback.commands.arguments import Parser, UsageError
from embviz_callback.commands.ending import write_out
from embviz_callback.commands.terminal import Terminal

_SHELLS = ("bash", "zsh", "tcsh")


def parser() -> Parser:
    """Which shell."""
    made = Parser(
        prog="embviz completion",
        description='Prints a completion script. bash: eval "$(embviz completion bash)", also in ~/.bashrc.',
    )
    made.add_argument("shell", choices=_SHELLS)
    return made


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
    from embviz_callback.commands import COMMANDS
    from embviz_callback.commands.evaluate import parser as evaluation

    whole = argparse.ArgumentParser(prog="embviz", parents=[evaluation()], add_help=False)
    commands = whole.add_subparsers()
    for name, (module, meaning) in COMMANDS.items():
        own = import_module(module).parser()
        commands.add_parser(name, parents=[own], add_help=False, help=meaning)
    return whole


def _actions_of(made: argparse.ArgumentParser) -> Iterator[Any]:
    for action in made._actions:
        yield action
        if isinstance(action, argparse._SubParsersAction):
            for inner in action.choices.values():
                yield from _actions_of(inner)
