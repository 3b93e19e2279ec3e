"""`embviz compare`: checkpoints or epochs side by side on one subset."""

import argparse
import contextlib
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from embviz_callback.commands import evaluate
from embviz_callback.commands.arguments import Parser, UsageError, whole_number
from embviz_callback.commands.comparison import MAPS, comparison_json, remeasured, write_comparison
from embviz_callback.commands.terminal import Terminal

if TYPE_CHECKING:
    from embviz_callback.snapshot import Snapshot


def main(arguments: Sequence[str]) -> int:
    """Runs the command.

    Args:
        arguments: Without the command's name.

    Returns:
        0 when done, 2 for bad arguments or input, 1 for anything else.
    """
    terminal = Terminal()
    try:
        options = parser().read(arguments)
        return _run(options, terminal)
    except UsageError as error:
        terminal.say(f"embviz compare: {error}")
        return 2
    except KeyboardInterrupt:
        terminal.say("embviz compare: interrupted")
        return 1
    # The last line of defence: a traceback helps nobody who did not write this program.
    except Exception as error:
        if os.environ.get("EMBVIZ_DEBUG"):
            raise
        terminal.say(f"embviz compare: {type(error).__name__}: {error} (EMBVIZ_DEBUG=1 shows where)")
        return 1


def parser() -> Parser:
    """The evaluation's options, and where epochs of a run come from."""
    made = evaluate.parser()
    made.prog = "embviz compare"
    made.description = "Compares checkpoints, or epochs of a run, on the same queries."
    for action in made._actions:
        if action.dest == "checkpoint":
            action.required = False  # a run can be compared instead
    made.add_argument("--run", metavar="DIR", help="folder of a run that kept its snapshots, instead of --checkpoint")
    made.add_argument(
        "--epochs", nargs="+", type=whole_number(0, 10**9), metavar="N", help="with --run: which (default: all kept)"
    )
    made.add_argument(
        "--reference", type=whole_number(1, 10**6), default=1, metavar="N", help="compare with the n-th (default 1)"
    )
    return made


def _run(options: argparse.Namespace, terminal: Terminal) -> int:
    if (options.run is None) == (not options.checkpoint):
        raise UsageError("give either --checkpoint with two or more paths, or --run")
    if options.checkpoint and len(options.checkpoint) < 2:
        raise UsageError("--checkpoint needs two or more paths to compare")
    with contextlib.redirect_stdout(sys.stderr):
        snapshots = _from_run(options) if options.run is not None else _from_checkpoints(options, terminal)
        if options.reference > len(snapshots):
            raise UsageError(f"--reference must be at most {len(snapshots)}, got {options.reference}")
        output = Path(options.output).expanduser()
        skipped = {method for method in MAPS if getattr(options, f"skip_{method}")}
        comparison = write_comparison(snapshots, output, reference=options.reference - 1, skipped=skipped)
    from embviz_callback.drawing.comparison_report import sentences

    if options.json:
        sys.stdout.write(json.dumps(comparison_json(comparison), ensure_ascii=False, allow_nan=False) + "\n")
    else:
        sys.stdout.write("\n".join([*sentences(comparison), f"{output / 'comparison.md'}", ""]))
    return 0


def _from_run(options: argparse.Namespace) -> list["Snapshot"]:
    from embviz_callback.snapshot import load_snapshot

    folder = Path(options.run).expanduser()
    kept = sorted(path.parent for path in (folder / "snapshots").glob("*/snapshot.json"))
    snapshots = sorted((load_snapshot(path) for path in kept), key=lambda one: (_or_first(one.epoch), one.step or 0))
    epochs = [one.epoch for one in snapshots]
    missing = [epoch for epoch in options.epochs or () if epoch not in epochs]
    if missing:
        there = ", ".join("untrained" if epoch is None else str(epoch) for epoch in epochs) or "none"
        raise UsageError(f"--epochs: {folder} keeps no snapshot of epoch {missing[0]}; there are: {there}")
    chosen = [one for one in snapshots if options.epochs is None or one.epoch in options.epochs]
    if len(chosen) < 2:
        raise UsageError(f"--run: {folder} keeps {len(chosen)} of these snapshots; two or more are needed to compare")
    return chosen


def _or_first(epoch: int | None) -> int:
    return -1 if epoch is None else epoch


def _from_checkpoints(options: argparse.Namespace, terminal: Terminal) -> list["Snapshot"]:
    from embviz_callback.commands.evaluation import evaluate as evaluated

    request = evaluate.request_from(options)
    return [remeasured(one.label, one.folder, request.settings) for one in evaluated(request, terminal)]
