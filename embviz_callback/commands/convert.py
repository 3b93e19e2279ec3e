"""`embviz convert`: data of any known form, written in another."""

import argparse
import sys
from pathlib import Path

from embviz_callback.commands.arguments import Parser, UsageError
from embviz_callback.commands.options import add_reading_options, reading_of
from embviz_callback.commands.terminal import Terminal
from embviz_callback.grammar import counted
from embviz_callback.pairs.formats.reading import read_pairs
from embviz_callback.pairs.formats.writing import OUT_FORMS, write_as


def parser() -> Parser:
    """The command's options."""
    made = Parser(prog="embviz convert", description="Writes data of any known form in another.")
    made.add_argument("source", metavar="IN", help="a file or folder of data")
    made.add_argument("out", metavar="OUT", help="the file to write; for beir and trec a folder")
    made.add_argument("--to", required=True, choices=tuple(OUT_FORMS), help="the form to write")
    add_reading_options(made)
    return made


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
