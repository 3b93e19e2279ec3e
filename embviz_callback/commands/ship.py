"""`embviz ship`: which dimensions, which precision, and what they cost."""

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

from embviz_callback.commands.arguments import Parser
from embviz_callback.commands.ending import ended
from embviz_callback.commands.evaluate import as_json, quietly, write_out
from embviz_callback.commands.gate import add_loss_option
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
from embviz_callback.measure import COSINE

if TYPE_CHECKING:
    from embviz_callback.analysis.ship.sheet import Sheet, Shipped
    from embviz_callback.commands.looking import Look


def main(arguments: Sequence[str]) -> int:
    """Runs the command.

    Args:
        arguments: Without the command's name.

    Returns:
        0 when done, 2 for bad arguments or input, 1 for anything else.
    """
    terminal = Terminal()
    return ended("embviz ship", lambda: _run(parser().read(arguments), terminal), terminal)


def parser() -> Parser:
    """What is measured, and what may be lost."""
    made = Parser(
        prog="embviz ship",
        description="Says what a model loses with fewer dimensions and at a lower precision, and names the smallest"
        " setting that is not worse. Of several checkpoints the first, as it is, is what all are held against.",
    )
    add_subject_options(made, is_required=True)
    add_loss_option(made, "0.01 in the metric that decides")
    add_keeping_option(made)
    add_sampling_options(made)
    add_model_options(made)
    add_json_option(made)
    return made


def _run(options: argparse.Namespace, terminal: Terminal) -> int:
    with quietly():
        from embviz_callback.commands.looking import look_at, prepare_output

        looks = look_at(request_from(options), terminal)  # first: a mistyped path leaves no folder behind
        prepare_output(output_of(options))
        models = [_shipped(look, terminal) for look in looks]
        sheet = _sheet(models, options)
        _write(sheet, options)
    _tell(sheet, options, terminal)
    return 0


def _shipped(look: "Look", terminal: Terminal) -> "Shipped":
    from embviz_callback.analysis.ship.sheet import Shipped

    label, subset = look.snapshot.label, look.snapshot.subset
    if subset.n_corpus and look.corpus is None:
        terminal.say(f"{label}: its file keeps no vectors of its corpus; ranked among its own documents alone")
    if look.snapshot.embeddings.similarity != COSINE:
        declared = look.snapshot.embeddings.similarity
        terminal.say(f"{label}: declares {declared}; the sheet ranks by the cosine, all rows brought to length 1")
    return Shipped(label, look.snapshot.embeddings, look.corpus)


def _sheet(models: "Sequence[Shipped]", options: argparse.Namespace) -> "Sheet":
    from embviz_callback.analysis.ship.sheet import ship_sheet
    from embviz_callback.commands.looking import as_usage_error

    with as_usage_error(ValueError):
        return ship_sheet(models, allowed=dict(options.allow_loss or ()))


def _write(sheet: "Sheet", options: argparse.Namespace) -> None:
    from embviz_callback.drawing.reports.asides import asides_report
    from embviz_callback.drawing.reports.ship_report import sheet_json, ship_aside
    from embviz_callback.files import to_json, write_atomically

    folder, label = output_of(options), sheet.reference.setting.model
    write_atomically(folder / "ship.json", to_json(sheet_json(sheet)))
    write_atomically(folder / "ship.md", asides_report(f"Ship sheet: {label}", [ship_aside(sheet)]))


def _tell(sheet: "Sheet", options: argparse.Namespace, terminal: Terminal) -> None:
    from embviz_callback.drawing.reports.ship_report import sheet_json, ship_aside

    aside = ship_aside(sheet)
    text = "\n".join([*aside.lines(), "", f"{aside.sentence}.", f"   {output_of(options) / 'ship.md'}", ""])
    if options.json:
        terminal.say(text)
        write_out(as_json(sheet_json(sheet)))
    else:
        write_out(text)
