"""`embviz compare`: checkpoints, epochs or runs side by side on one subset."""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from embviz_callback.analysis.metrics.pictures import wanted_maps
from embviz_callback.commands.arguments import Parser, UsageError, whole_number
from embviz_callback.commands.compare_runs import add_group_option, compare_kept_runs
from embviz_callback.commands.ending import answer, status
from embviz_callback.commands.evaluate import evaluate, flat, quietly, statistics, summary
from embviz_callback.commands.gate import baseline_of, gate_status
from embviz_callback.commands.options import (
    add_choice_option,
    add_ending_options,
    add_evaluation_options,
    add_model_options,
    add_run_option,
    add_subject_options,
    add_words_option,
    output_of,
    request_from,
)
from embviz_callback.commands.terminal import Terminal

if TYPE_CHECKING:
    from embviz_callback.analysis.compare.comparison import Comparison
    from embviz_callback.delivery.results.result_folder import Outcome
    from embviz_callback.drawing.reports.asides import Aside
    from embviz_callback.snapshot import Snapshot

_EPOCH_NUMBER = whole_number(0, 10**9)
_NOTHING = -1  # no epoch has this number


def parser() -> Parser:
    """The evaluation's options, and where epochs of a run come from."""
    made = Parser(prog="embviz compare", description="Compares checkpoints, epochs of a run or runs.")
    add_subject_options(made, is_required=False)
    add_run_option(made, "its epochs compared, or several runs with one another,", several=True)
    add_group_option(made)
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
    add_choice_option(made)
    add_evaluation_options(made)
    add_model_options(made)
    add_ending_options(made)
    add_words_option(made)
    return made


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
    return _compare_epochs(options, terminal) if options.run is not None else compare_checkpoints(options, terminal)


def compare_checkpoints(options: argparse.Namespace, terminal: Terminal) -> int:
    """Evaluates several checkpoints, writes the files of each and those of their comparison.

    Args:
        options: Of `embviz` or of `embviz compare`.
        terminal: Hears what is going on.

    Returns:
        The exit status.

    Raises:
        UsageError: If there is no such reference, or a baseline is of other data.
    """
    if isinstance(options.data, Mapping):
        from embviz_callback.commands.on_sets import evaluate_on_sets

        return evaluate_on_sets(options, terminal)
    reference = getattr(options, "reference", 1)
    if reference > len(options.checkpoint):
        raise UsageError(f"--reference must be at most {len(options.checkpoint)}, got {reference}")
    with quietly():
        baseline = None
        if getattr(options, "baseline", None) is not None:
            baseline = baseline_of(options, request_from(options), terminal)
        trec = getattr(options, "trec", False)
        outcomes = evaluate(request_from(options), output_of(options), terminal, trec=trec, bm25=options.bm25)
        comparison = compare_outcomes(outcomes, options, reference)
    reached = _told(comparison, options, terminal, outcomes)
    if baseline is None or reached:
        return reached
    return gate_status([outcome.snapshot for outcome in outcomes], baseline, options, terminal)


def compare_outcomes(outcomes: "Sequence[Outcome]", options: argparse.Namespace, reference: int) -> "Comparison":
    """Compares several checkpoints on one set, and writes the files of it.

    Args:
        outcomes: What came of each.
        options: Of `embviz` or of `embviz compare`.
        reference: Which of them the others are held against, from 1.

    Returns:
        The comparison.
    """
    from embviz_callback.drawing.reports.comparisons.words_report import words_aside

    # Nobody says that they are epochs of one training, in this order.
    snapshots = [replace(outcome.snapshot, epoch=None) for outcome in outcomes]
    found = [outcome.words for outcome in outcomes if outcome.words is not None]
    return _written(snapshots, options, reference, [words_aside(found)] if found else [])


def _compare_epochs(options: argparse.Namespace, terminal: Terminal) -> int:
    from embviz_callback.commands.kept_runs import refuse_beside_run

    refuse_beside_run(corpus=options.corpus, data=options.data)
    with quietly():
        snapshots = _epochs_of(options)
        if options.reference > len(snapshots):
            raise UsageError(f"--reference must be at most {len(snapshots)}, got {options.reference}")
        comparison = _written(snapshots, options, options.reference)
    return _told(comparison, options, terminal)


def _written(
    snapshots: "Sequence[Snapshot]", options: argparse.Namespace, reference: int, asides: "Sequence[Aside]" = ()
) -> "Comparison":
    from embviz_callback.commands.looking import as_usage_error
    from embviz_callback.delivery.results.comparison_folder import write_comparison

    with as_usage_error(ValueError):
        return write_comparison(
            snapshots,
            output_of(options),
            reference=reference - 1,
            metric=options.metric,
            maps=wanted_maps(options),
            asides=asides,
        )


def _told(
    comparison: "Comparison", options: argparse.Namespace, terminal: Terminal, outcomes: "Sequence[Outcome]" = ()
) -> int:
    """Says what came of it, the best at the end."""
    from embviz_callback.delivery.results.comparison_folder import comparison_json
    from embviz_callback.drawing.reports.comparisons.comparison_report import metrics_lines, sentences

    where = f"{output_of(options) / 'comparison.md'}"
    parts = ["\n".join([*metrics_lines(comparison), "", *sentences(comparison), where, ""])]
    parts += ["".join(map(summary, outcomes))] if outcomes else []
    text = "\n".join([*parts, statistics(comparison.metrics[comparison.best.place])])
    checkpoints = {outcome.label: flat(outcome) for outcome in outcomes}
    answer(text, comparison_json(comparison) | ({"checkpoints": checkpoints} if outcomes else {}), options, terminal)
    found = dict(zip(comparison.labels, comparison.metrics, strict=True))
    faults = [fault for outcome in outcomes for fault in outcome.faults]
    return status(found, options.fail_below_margin, terminal, faults=faults)


def _epoch(text: str) -> int | None:
    return None if text == "untrained" else _EPOCH_NUMBER(text)


def _epochs_of(options: argparse.Namespace) -> "list[Snapshot]":
    from embviz_callback.commands.kept_runs import first_best_last, kept_snapshots, run_at

    run = run_at(Path(options.run[0]).expanduser())
    snapshots = kept_snapshots(run)
    if options.epochs is None:
        chosen = first_best_last(snapshots, options.metric)
    else:
        chosen = _picked(options.epochs, snapshots, run.path)
    if len(chosen) < 2:
        raise UsageError(f"--run: {run.path} keeps {len(chosen)} of these snapshots; two or more are needed to compare")
    return chosen


def _picked(epochs: Sequence[int | None], snapshots: "Sequence[Snapshot]", folder: Path) -> "list[Snapshot]":
    kept = [one.epoch for one in snapshots]
    missing = next((epoch for epoch in epochs if epoch not in kept), _NOTHING)
    if missing != _NOTHING:
        what = "the untrained model" if missing is None else f"epoch {missing}"
        there = ", ".join(dict.fromkeys("untrained" if epoch is None else str(epoch) for epoch in kept))
        raise UsageError(f"--epochs: {folder} keeps no snapshot of {what}; there are: {there}")
    return [one for one in snapshots if one.epoch in epochs]
