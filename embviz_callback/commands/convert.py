"""`embviz convert`: data of any known form, written in another."""

import argparse
import sys
from pathlib import Path

from embviz_callback.commands.arguments import UsageError
from embviz_callback.commands.request import reading_of
from embviz_callback.commands.terminal import Terminal
from embviz_callback.grammar import counted
from embviz_callback.pairs.formats.reading import read_pairs
from embviz_callback.pairs.formats.writing import write_as


def run(options: argparse.Namespace, terminal: Terminal) -> int:
    """Runs the command; 0 when done."""
    out = Path(options.out).expanduser()
    if out.resolve() == Path(options.source).expanduser().resolve():
        raise UsageError(f"{options.out}: expected another place to write, found the source. Fix: choose another")
    found = read_pairs(options.source, reading_of(options))
    for note in found.notes:
        terminal.say(f"{options.source}: {note}")
    for what in write_as(options.to, found.records, out):
        terminal.say(f"{options.out}: not written: {what}")
    sys.stdout.write(f"Wrote {options.out} as {options.to}: {counted(len(found.records), 'record')}\n")
    return 0
