"""`embviz compare`: checkpoints, epochs or runs side by side on one subset."""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from embviz_callback.analysis.compare.runs import MOST_RUNS
from embviz_callback.analysis.metrics.pictures import wanted_maps
from embviz_callback.commands.arguments import UsageError
from embviz_callback.commands.ending import answer, status
from embviz_callback.commands.evaluate import check_reference, evaluate_checkpoints, write_compared
from embviz_callback.commands.kept_runs import first_best_last, kept_snapshots, refuse_beside_run, run_at
from embviz_callback.commands.looking import as_usage_error, tell_apart
from embviz_callback.commands.request import output_of
from embviz_callback.commands.terminal import Terminal, quietly
from embviz_callback.commands.told import comparison_said, statistics
from embviz_callback.delivery.results.runs_folder import KeptRun, RunsCompared, compare_runs, runs_json, write_runs
from embviz_callback.drawing.wording import aligned
from embviz_callback.snapshot import Snapshot


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
    if options.run is None:
        return evaluate_checkpoints(options, terminal)
    refuse_beside_run(options)
    return _compare_epochs(options, terminal) if len(options.run) == 1 else _compare_runs(options, terminal)


def _compare_epochs(options: argparse.Namespace, terminal: Terminal) -> int:
    with quietly():
        snapshots, shown = _epochs_of(options)
        check_reference(options, len(shown))
        comparison = write_compared(snapshots, options, shown=shown)
    answer(*comparison_said(comparison, output_of(options)), options, terminal)
    found = dict(zip(comparison.labels, comparison.metrics, strict=True))
    if options.epochs is None:  # as of several runs: it stands by its best, and not by its untrained model
        found = dict([list(found.items())[comparison.best.place]])
    return status(found, options.fail_below_margin, terminal)


def _epochs_of(options: argparse.Namespace) -> tuple[list[Snapshot], list[int]]:
    """Evaluations of which the best is chosen, and which of them to show."""
    run = run_at(options.run[0])
    snapshots = kept_snapshots(run)
    if options.epochs is None:
        shown = first_best_last(snapshots, options.metric)
    else:
        snapshots = _picked(options.epochs, snapshots, run.path)
        shown = list(range(len(snapshots)))
    if len(shown) < 2:
        raise UsageError(f"--run: {run.path} keeps {len(shown)} of these snapshots; two or more are needed to compare")
    return snapshots, shown


def _picked(epochs: Sequence[int | None], snapshots: Sequence[Snapshot], folder: Path) -> list[Snapshot]:
    kept = [one.epoch for one in snapshots]
    if missing := [epoch for epoch in epochs if epoch not in kept]:
        what = "the untrained model" if missing[0] is None else f"epoch {missing[0]}"
        there = ", ".join(dict.fromkeys("untrained" if epoch is None else str(epoch) for epoch in kept))
        raise UsageError(f"--epochs: {folder} keeps no snapshot of {what}; there are: {there}")
    return [one for one in snapshots if one.epoch in epochs]


def _compare_runs(options: argparse.Namespace, terminal: Terminal) -> int:
    """Whole trainings held against each other, by what they have kept."""
    for name, default in (("epochs", None), ("reference", 1)):
        if getattr(options, name) != default:
            raise UsageError(
                f"--{name} has no use with several --run, each stands by its best evaluation; leave it out"
            )
    if len(options.run) > MOST_RUNS:
        raise UsageError(f"--run: at most {MOST_RUNS} can be compared, got {len(options.run)}")
    with quietly():
        compared = _compared(options)
    return _told(compared, options, terminal)


def _compared(options: argparse.Namespace) -> RunsCompared:
    runs = _kept(options.run)
    runs, settings = _grouped(runs, options.group or ())
    with as_usage_error(ValueError):
        compared = compare_runs(runs, metric=options.metric, settings=settings)
        write_runs(compared, output_of(options), maps=wanted_maps(options))
    return compared


def _kept(paths: Sequence[str]) -> list[KeptRun]:
    labels = tell_apart(paths, "--run")
    return [KeptRun(label, tuple(kept_snapshots(run_at(path)))) for label, path in zip(labels, paths, strict=True)]


def _grouped(runs: list[KeptRun], groups: Sequence[str]) -> tuple[list[KeptRun], list[tuple[str, tuple[int, ...]]]]:
    """The runs that are wanted, and which of them are one setting."""
    wanted: dict[str, list[str]] = {}
    for group in groups:
        name, _, values = group.partition("=")
        wanted[name] = [value for value in values.split(",") if value]
        if not any(name in run.hparams for run in runs):
            known = sorted({name for run in runs for name in run.hparams})
            there = ", ".join(known) or "none"
            raise UsageError(
                f"--group: expected a hyperparameter of these runs, found {name!r}. Fix: there are {there}"
            )
    runs = [run for run in runs if all(not of or _value(run.hparams, name) in of for name, of in wanted.items())]
    settings: dict[str, tuple[int, ...]] = {}
    for place, run in enumerate(runs if wanted else ()):
        label = ", ".join(f"{name}={_value(run.hparams, name)}" for name in wanted)
        settings[label] = (*settings.get(label, ()), place)
    if not runs or (wanted and len(settings) < 2):
        found = ", ".join(settings) or "none of these values"
        raise UsageError(
            f"--group: expected two settings or more, found {found}. Fix: name more values, or give more --run"
        )
    return runs, list(settings.items())


def _value(hparams: Mapping[str, Any], name: str) -> str:
    value = hparams.get(name, "n/a")
    return f"{value:g}" if isinstance(value, float) else f"{value}"


def _told(compared: RunsCompared, options: argparse.Namespace, terminal: Terminal) -> int:
    """Says what came of it, the numbers of the leader's best evaluation at the end."""
    board = compared.told
    lines = aligned([board["heads"], *board["lines"]])
    where = f"{output_of(options) / 'runs.md'}, and the queries of any two in runs.html"
    found = dict(zip(compared.labels, (one.metrics for one in compared.best), strict=True))
    best = found[compared.labels[compared.board.entries[0].runs[0]]]
    text = "\n".join([*lines, "", *board["said"], where, "", statistics(best)])
    answer(text, runs_json(compared), options, terminal)
    return status(found, options.fail_below_margin, terminal)
