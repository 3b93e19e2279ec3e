"""`embviz ship`: which dimensions, which precision, and what they cost."""

import argparse
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from embviz_callback.commands.arguments import Parser
from embviz_callback.commands.ending import answer
from embviz_callback.commands.evaluate import quietly
from embviz_callback.commands.gate import RANKED, add_loss_option
from embviz_callback.commands.options import (
    add_json_option,
    add_keeping_option,
    add_model_options,
    add_sampling_options,
    add_subject_options,
    output_of,
    request_from,
)
from embviz_callback.commands.terminal import Terminal

if TYPE_CHECKING:
    from embviz_callback.analysis.ship.sheet import Sheet, Shipped
    from embviz_callback.drawing.reports.asides import Aside


def parser() -> Parser:
    """What is measured, and what may be lost."""
    made = Parser(
        prog="embviz ship",
        description="Says what a model loses with fewer dimensions and at a lower precision, and names the smallest"
        " setting that is not worse. Of several checkpoints the first, as it is, is what all are held against.",
    )
    add_subject_options(made, is_required=True)
    add_loss_option(made, "0.01 in the metric that decides", RANKED)
    add_keeping_option(made)
    add_sampling_options(made)
    add_model_options(made)
    add_json_option(made)
    return made


def run(options: argparse.Namespace, terminal: Terminal) -> int:
    """Runs the command; 0 when done."""
    with quietly():
        from embviz_callback.commands.at_hand import models_at_hand
        from embviz_callback.commands.looking import prepared_outputs
        from embviz_callback.drawing.reports.ship_report import sheet_json, ship_aside

        with prepared_outputs([output_of(options)]):
            models = models_at_hand(request_from(options), terminal)
            sheet = _sheet(models, options)
    tell("ship", models[0].label, ship_aside(sheet), sheet_json(sheet), options, terminal)
    return 0


def _sheet(models: "Sequence[Shipped]", options: argparse.Namespace) -> "Sheet":
    from embviz_callback.analysis.ship.sheet import ship_sheet
    from embviz_callback.commands.looking import as_usage_error

    with as_usage_error(ValueError):
        return ship_sheet(models, allowed=dict(options.allow_loss or ()))


def tell(
    name: str, what: str, aside: "Aside", plain: Mapping[str, Any], options: argparse.Namespace, terminal: Terminal
) -> None:
    """Writes what a command has found, as markdown and as JSON, and says it.

    Args:
        name: Of the command and its files.
        what: Was looked at.
        aside: What was found.
        plain: The same as plain JSON.
        options: Where it goes, and whether JSON is wanted.
        terminal: Hears it where JSON is.
    """
    from embviz_callback.drawing.reports.asides import asides_report
    from embviz_callback.files import to_json, write_atomically

    folder = output_of(options)
    write_atomically(folder / f"{name}.json", to_json(plain))
    write_atomically(folder / f"{name}.md", asides_report(what, [aside]))
    text = "\n".join([*aside.lines(), "", f"{aside.sentence}.", f"   {folder / f'{name}.md'}", ""])
    answer(text, plain, options, terminal)
