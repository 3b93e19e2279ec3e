"""`embviz ship`: which dimensions, which precision, and what they cost."""

import argparse

from embviz_callback.analysis.ship.sheet import ship_sheet
from embviz_callback.commands.at_hand import look_at_hand, tell
from embviz_callback.commands.terminal import Terminal
from embviz_callback.drawing.reports.ship_report import sheet_json, ship_aside


def run(options: argparse.Namespace, terminal: Terminal) -> int:
    """Runs the command; 0 when done."""
    allowed = dict(options.allow_loss or ())
    sheet = look_at_hand(options, terminal, lambda models: ship_sheet(models, allowed=allowed))
    tell("ship", sheet.reference.setting.model, ship_aside(sheet), sheet_json(sheet), options, terminal)
    return 0
