"""`embviz compat`: whether a new model may search an old one's index."""

import argparse
from pathlib import Path

from embviz_callback.analysis.ship.compatibility import Compatibility, compatibility
from embviz_callback.analysis.ship.sheet import ALLOWED, Shipped
from embviz_callback.commands.arguments import UsageError
from embviz_callback.commands.at_hand import look_at_hand, tell
from embviz_callback.commands.terminal import Terminal
from embviz_callback.drawing.reports.comparisons.compat_report import compat_aside, compat_json


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
