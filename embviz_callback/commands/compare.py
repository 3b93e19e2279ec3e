"""`embviz compare`: checkpoints, epochs or runs side by side on one subset."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from embviz_callback.commands.arguments import UsageError
from embviz_callback.commands.compare_runs import compare_kept_runs
from embviz_callback.commands.ending import answer, status
from embviz_callback.commands.evaluate import check_reference, evaluate_checkpoints, write_compared
from embviz_callback.commands.kept_runs import first_best_last, kept_snapshots, refuse_beside_run, run_at
from embviz_callback.commands.request import output_of
from embviz_callback.commands.terminal import Terminal, quietly
from embviz_callback.commands.told import comparison_said
from embviz_callback.snapshot import Snapshot

_NOTHING = -1  # no epoch has this number


def run(options: argparse.Namespace, terminal: Terminal) -> int:
    """Runs the command; 0 when done, 3 for a margin below the threshold."""
    if (options.run is None) == (not options.checkpoint):
        raise UsageError("give either --checkpoint with two or more paths, or --run")
    if options.checkpoint and len(options.checkpoint) < 2:
        raise UsageError("--checkpoint needs two or more paths to compare")
    if options.epochs is not None and options.run is None:
        raise UsageError("--epochs picks epochs of a run; give its folder with --run")
    if options.bm25 and options.run is not None:
        raise UsageError("--bm25 ranks the texts of checkpoints; give --checkpoint")
    if options.group and len(options.run or ()) < 2:
        raise UsageError("--group puts runs together; give several --run")
    if options.run is not None and len(options.run) > 1:
        return compare_kept_runs(options, terminal)
    return _compare_epochs(options, terminal) if options.run is not None else evaluate_checkpoints(options, terminal)


def _compare_epochs(options: argparse.Namespace, terminal: Terminal) -> int:
    refuse_beside_run(corpus=options.corpus, data=options.data)
    with quietly():
        snapshots = _epochs_of(options)
        check_reference(options, len(snapshots))
        comparison = write_compared(snapshots, options)
    answer(*comparison_said(comparison, output_of(options)), options, terminal)
    found = dict(zip(comparison.labels, comparison.metrics, strict=True))
    return status(found, options.fail_below_margin, terminal)


def _epochs_of(options: argparse.Namespace) -> list[Snapshot]:
    run = run_at(options.run[0])
    snapshots = kept_snapshots(run)
    if options.epochs is None:
        chosen = first_best_last(snapshots, options.metric)
    else:
        chosen = _picked(options.epochs, snapshots, run.path)
    if len(chosen) < 2:
        raise UsageError(f"--run: {run.path} keeps {len(chosen)} of these snapshots; two or more are needed to compare")
    return chosen


def _picked(epochs: Sequence[int | None], snapshots: Sequence[Snapshot], folder: Path) -> list[Snapshot]:
    kept = [one.epoch for one in snapshots]
    missing = next((epoch for epoch in epochs if epoch not in kept), _NOTHING)
    if missing != _NOTHING:
        what = "the untrained model" if missing is None else f"epoch {missing}"
        there = ", ".join(dict.fromkeys("untrained" if epoch is None else str(epoch) for epoch in kept))
        raise UsageError(f"--epochs: {folder} keeps no snapshot of {what}; there are: {there}")
    return [one for one in snapshots if one.epoch in epochs]
