"""`embviz compare`: checkpoints or epochs side by side on one subset."""

import argparse
import contextlib
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from embviz_callback.analysis.metrics.pictures import wanted_maps
from embviz_callback.commands import evaluate
from embviz_callback.commands.arguments import Parser, UsageError, whole_number
from embviz_callback.commands.comparison import (
    comparison_json,
    first_best_last,
    kept_snapshots,
    remeasured,
    run_folder,
    write_comparison,
)
from embviz_callback.commands.ending import ended
from embviz_callback.commands.terminal import Terminal

if TYPE_CHECKING:
    from embviz_callback.snapshot import Snapshot

_EPOCH_NUMBER = whole_number(0, 10**9)
_NOTHING = -1  # no epoch has this number


def main(arguments: Sequence[str]) -> int:
    """Runs the command.

    Args:
        arguments: Without the command's name.

    Returns:
        0 when done, 2 for bad arguments or input, 1 for anything else.
    """
    terminal = Terminal()
    return ended("embviz compare", lambda: _run(parser().read(arguments), terminal), terminal)


def parser() -> Parser:
    """The evaluation's options, and where epochs of a run come from."""
    made = evaluate.parser()
    made.prog = "embviz compare"
    made.description = "Compares checkpoints, or epochs of a run, on the same queries."
    evaluate.make_optional(made, "checkpoint")  # a run can be compared instead
    made.add_argument("--run", metavar="DIR", help="folder of a run that was visualised, instead of --checkpoint")
    made.add_argument(
        "--epochs",
        nargs="+",
        type=_epoch,
        metavar="N",
        help="with --run: which, 'untrained' or numbers (default: the untrained model, the best and the last)",
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
    if options.epochs is not None and options.run is None:
        raise UsageError("--epochs picks epochs of a run; give its folder with --run")
    if options.corpus is not None and options.run is not None:
        raise UsageError(
            "--corpus has no use with --run, whose evaluations hold what they were ranked among; leave it out"
        )
    if options.data is not None and options.run is not None:
        raise UsageError("--data has no use with --run, whose evaluations hold their pairs; leave it out")
    with contextlib.redirect_stdout(sys.stderr):
        snapshots = _from_run(options) if options.run is not None else _from_checkpoints(options, terminal)
        if options.reference > len(snapshots):
            raise UsageError(f"--reference must be at most {len(snapshots)}, got {options.reference}")
        output = Path(options.output).expanduser()
        comparison = write_comparison(snapshots, output, reference=options.reference - 1, maps=wanted_maps(options))
    from embviz_callback.drawing.reports.comparison_report import sentences

    if options.json:
        sys.stdout.write(json.dumps(comparison_json(comparison), ensure_ascii=False, allow_nan=False) + "\n")
    else:
        sys.stdout.write("\n".join([*sentences(comparison), f"{output / 'comparison.md'}", ""]))
    return 0


def _epoch(text: str) -> int | None:
    return None if text == "untrained" else _EPOCH_NUMBER(text)


def _from_run(options: argparse.Namespace) -> list["Snapshot"]:
    folder = run_folder(Path(options.run).expanduser())
    snapshots = kept_snapshots(folder)
    chosen = first_best_last(snapshots) if options.epochs is None else _picked(options.epochs, snapshots, folder)
    if len(chosen) < 2:
        raise UsageError(f"--run: {folder} keeps {len(chosen)} of these snapshots; two or more are needed to compare")
    return chosen


def _picked(epochs: Sequence[int | None], snapshots: Sequence["Snapshot"], folder: Path) -> list["Snapshot"]:
    kept = [one.epoch for one in snapshots]
    missing = next((epoch for epoch in epochs if epoch not in kept), _NOTHING)
    if missing != _NOTHING:
        what = "the untrained model" if missing is None else f"epoch {missing}"
        there = ", ".join(dict.fromkeys("untrained" if epoch is None else str(epoch) for epoch in kept))
        raise UsageError(f"--epochs: {folder} keeps no snapshot of {what}; there are: {there}")
    return [one for one in snapshots if one.epoch in epochs]


def _from_checkpoints(options: argparse.Namespace, terminal: Terminal) -> list["Snapshot"]:
    from embviz_callback.commands.evaluation import evaluate as evaluated

    request = evaluate.request_from(options)
    return [remeasured(one.label, one.folder, request.settings) for one in evaluated(request, terminal)]
