"""`embviz ship`: which dimensions, which precision, and what they cost."""

import argparse

from embviz_callback.analysis.ship.sheet import ship_sheet
from embviz_callback.commands.arguments import Parser
from embviz_callback.commands.at_hand import add_at_hand_options, look_at_hand, tell
from embviz_callback.commands.options import add_subject_options
from embviz_callback.commands.terminal import Terminal
from embviz_callback.drawing.reports.ship_report import sheet_json, ship_aside


def parser() -> Parser:
    """What is measured, and what may be lost."""
    made = Parser(
        prog="embviz ship",
        description="Says what a model loses with fewer dimensions and at a lower precision, and names the smallest"
        " setting that is not worse. Of several checkpoints the first, as it is, is what all are held against.",
    )
    add_subject_options(made, is_required=True)
    add_at_hand_options(made)
    return made


def run(options: argparse.Namespace, terminal: Terminal) -> int:
    """Runs the command; 0 when done."""
    allowed = dict(options.allow_loss or ())
    sheet = look_at_hand(options, terminal, lambda models: ship_sheet(models, allowed=allowed))
    tell("ship", sheet.reference.setting.model, ship_aside(sheet), sheet_json(sheet), options, terminal)
    return 0
