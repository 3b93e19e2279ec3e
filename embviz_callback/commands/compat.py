"""`embviz compat`: whether a new model may search an old one's index."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from embviz_callback.commands.arguments import Parser, UsageError, finite_number
from embviz_callback.commands.evaluate import quietly
from embviz_callback.commands.gate import RANKED, add_loss_option
from embviz_callback.commands.options import (
    add_data_options,
    add_json_option,
    add_keeping_option,
    add_model_options,
    add_sampling_options,
    output_of,
    request_from,
)
from embviz_callback.commands.ship import tell
from embviz_callback.commands.terminal import Terminal

if TYPE_CHECKING:
    from embviz_callback.analysis.ship.compatibility import Compatibility
    from embviz_callback.analysis.ship.sheet import Shipped


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
    add_loss_option(made, "0.01 in the metric that decides", RANKED)
    add_keeping_option(made)
    add_sampling_options(made)
    add_model_options(made)
    add_json_option(made)
    return made


def run(options: argparse.Namespace, terminal: Terminal) -> int:
    """Runs the command; 0 when done."""
    if len(options.allow_loss or ()) > 1:
        raise UsageError("--allow-loss: expected one metric that judges the index, found several. Fix: give one")
    is_one = Path(options.old).expanduser().resolve() == Path(options.new).expanduser().resolve()
    options.checkpoint = [options.old] if is_one else [options.old, options.new]
    with quietly():
        from embviz_callback.commands.at_hand import models_at_hand
        from embviz_callback.commands.looking import prepared_outputs
        from embviz_callback.drawing.reports.comparisons.compat_report import compat_aside, compat_json

        with prepared_outputs([output_of(options)]):
            models = models_at_hand(request_from(options), terminal)
            found = _crossed(models[0], models[-1], options)
    tell("compat", f"{options.old} and {options.new}", compat_aside(found), compat_json(found), options, terminal)
    return 0


def _crossed(old: "Shipped", new: "Shipped", options: argparse.Namespace) -> "Compatibility":
    from embviz_callback.analysis.ship.compatibility import compatibility
    from embviz_callback.analysis.ship.sheet import ALLOWED
    from embviz_callback.commands.looking import as_usage_error

    metric, allowed = (options.allow_loss or [("", ALLOWED)])[0]
    with as_usage_error(ValueError):
        return compatibility(old, new, metric=metric, allowed=allowed, threshold=options.threshold, seed=options.seed)
