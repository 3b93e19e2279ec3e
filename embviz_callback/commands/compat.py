"""`embviz compat`: whether a new model may search an old one's index."""

import argparse
from pathlib import Path

from embviz_callback.analysis.ship.compatibility import Compatibility, compatibility
from embviz_callback.analysis.ship.sheet import ALLOWED, Shipped
from embviz_callback.commands.arguments import Parser, UsageError, finite_number
from embviz_callback.commands.at_hand import add_at_hand_options, look_at_hand, tell
from embviz_callback.commands.options import add_data_options
from embviz_callback.commands.terminal import Terminal
from embviz_callback.drawing.reports.comparisons.compat_report import compat_aside, compat_json


def parser() -> Parser:
    """Which two, and what may be lost."""
    made = Parser(
        prog="embviz compat",
        description="Says whether queries of a new model may search documents that an old one has indexed.",
    )
    what = "a checkpoint, a model directory, or an embeddings.npz of the same texts"
    made.add_argument("--old", required=True, metavar="PATH", help=f"whose documents are indexed: {what}")
    made.add_argument("--new", required=True, metavar="PATH", help="the other, likewise")
    add_data_options(made)
    made.add_argument(
        "--threshold",
        type=finite_number,
        metavar="X",
        help="score from which documents are shown; what it becomes is said (default 0.6, of cosines)",
    )
    add_at_hand_options(made)
    return made


def run(options: argparse.Namespace, terminal: Terminal) -> int:
    """Runs the command; 0 when done."""
    if len(options.allow_loss or ()) > 1:
        raise UsageError("--allow-loss: expected one metric that judges the index, found several. Fix: give one")
    is_one = Path(options.old).expanduser().resolve() == Path(options.new).expanduser().resolve()
    options.checkpoint = [options.old] if is_one else [options.old, options.new]
    metric, allowed = (options.allow_loss or [("", ALLOWED)])[0]

    def crossed(models: list[Shipped]) -> Compatibility:
        given = {"threshold": options.threshold, "seed": options.seed}
        return compatibility(models[0], models[-1], metric=metric, allowed=allowed, **given)

    found = look_at_hand(options, terminal, crossed)
    tell("compat", f"{options.old} and {options.new}", compat_aside(found), compat_json(found), options, terminal)
    return 0
