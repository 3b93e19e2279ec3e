"""Checkpoints on one set or, each in a folder of its own, on several: the files of all, and one answer."""

import argparse
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from embviz_callback.analysis.compare.comparison import Comparison
from embviz_callback.analysis.metrics.contrasts import LEVEL
from embviz_callback.analysis.metrics.pictures import wanted_maps
from embviz_callback.commands.arguments import UsageError
from embviz_callback.commands.ending import answer, status
from embviz_callback.commands.gate import baseline_of, gate_status
from embviz_callback.commands.looking import as_usage_error
from embviz_callback.commands.options import output_of, request_from
from embviz_callback.commands.outcomes import evaluate_each, flat, statistics, summary
from embviz_callback.commands.terminal import Terminal, quietly
from embviz_callback.delivery.alerts.regression import JOINT, Moved, joint_sentence, outcome_of
from embviz_callback.drawing.reports.asides import Aside
from embviz_callback.drawing.reports.comparisons.comparison_report import metrics_lines, sentences
from embviz_callback.drawing.reports.comparisons.words_report import words_aside
from embviz_callback.snapshot import Snapshot

if TYPE_CHECKING:
    from embviz_callback.delivery.results.result_folder import Outcome


def evaluate_checkpoints(options: argparse.Namespace, terminal: Terminal) -> int:
    """Evaluates checkpoints on every set, compares several on each, and says what they gain here and lose there.

    Args:
        options: Of `embviz` or of `embviz compare`; `data` may be name to path.
        terminal: Hears what is going on.

    Returns:
        The exit status.

    Raises:
        UsageError: If an option has no use with several sets, there is no such reference, or a baseline is of other
            data.
    """
    own, is_compared = dict(_each(options)), len(options.checkpoint or ()) > 1
    if "" not in own and options.baseline is not None:
        raise UsageError("--baseline is an evaluation of one set; give --data one path")
    if is_compared:
        check_reference(options, len(options.checkpoint))
    for name, one in own.items() if "" not in own else ():
        terminal.say(f"{name}: {one.data}")
    with quietly():
        asked = [(request_from(one), output_of(one)) for one in own.values()]
        baseline = baseline_of(options, asked[0][0], terminal)
        found = evaluate_each(asked, terminal, trec=options.trec, bm25=options.bm25)
        outcomes = dict(zip(own, found, strict=True))
        comparisons = {name: _compared(outcomes[name], own[name]) for name in own if is_compared}
    answer(*_said(options, outcomes, comparisons), options, terminal)
    every = {f"{name}, {one.label}" if name else one.label: one for name, of in outcomes.items() for one in of}
    margins = {label: one.metrics for label, one in every.items()}
    faults = [fault for one in every.values() for fault in one.faults]
    reached = status(margins, options.fail_below_margin, terminal, faults=faults)
    if baseline is None or reached:
        return reached
    return gate_status([one.snapshot for one in every.values()], baseline, options, terminal)


def check_reference(options: argparse.Namespace, n: int) -> None:
    """Refuses a reference beyond the last of `n`.

    Raises:
        UsageError: If it is.
    """
    if options.reference > n:
        raise UsageError(f"--reference must be at most {n}, got {options.reference}")


def write_compared(
    snapshots: Sequence[Snapshot], options: argparse.Namespace, asides: Sequence[Aside] = ()
) -> Comparison:
    """Compares evaluations of one set, and writes the files of it.

    Args:
        snapshots: Two or more.
        options: Of `embviz` or of `embviz compare`.
        asides: Sections of report and page.

    Returns:
        The comparison; a UsageError says that they are not of one subset.
    """
    # matplotlib, which a mistyped option must not wait for
    from embviz_callback.delivery.results.comparison_folder import write_comparison

    with as_usage_error(ValueError):
        return write_comparison(
            snapshots,
            output_of(options),
            reference=options.reference - 1,
            metric=options.metric,
            maps=wanted_maps(options),
            asides=asides,
        )


def comparison_said(
    comparison: Comparison, output: Path, outcomes: "Sequence[Outcome]" = ()
) -> tuple[str, dict[str, Any]]:
    """What came of a comparison, the best at the end, for people and for a program.

    Args:
        comparison: What was found.
        output: Folder of its files.
        outcomes: Of checkpoints, if it is of some.

    Returns:
        Words and plain JSON.
    """
    from embviz_callback.delivery.results.comparison_folder import comparison_json

    where = f"{output / 'comparison.md'}"
    parts = ["\n".join([*metrics_lines(comparison), "", *sentences(comparison), where, ""])]
    parts += ["".join(map(summary, outcomes))] if outcomes else []
    text = "\n".join([*parts, statistics(comparison.metrics[comparison.best.place])])
    checkpoints = {outcome.label: flat(outcome) for outcome in outcomes}
    return text, comparison_json(comparison) | ({"checkpoints": checkpoints} if outcomes else {})


def _compared(outcomes: "Sequence[Outcome]", options: argparse.Namespace) -> Comparison:
    # Nobody says that they are epochs of one training, in this order.
    snapshots = [replace(outcome.snapshot, epoch=None) for outcome in outcomes]
    found = [outcome.words for outcome in outcomes if outcome.words is not None]
    return write_compared(snapshots, options, [words_aside(found)] if found else [])


def _said(
    options: argparse.Namespace, outcomes: "Mapping[str, list[Outcome]]", comparisons: Mapping[str, Comparison]
) -> tuple[str, dict[str, Any]]:
    """The answer, in words and as plain JSON, the numbers of the first set at the end."""
    first = next(iter(outcomes.values()))
    if "" in comparisons:
        return comparison_said(comparisons[""], output_of(options), first)
    if "" in outcomes:
        return f"{summary(first[0])}\n{statistics(first[0].metrics)}", flat(first[0])
    verdicts = list(_verdicts(comparisons))
    lines = [f"{name}\n{''.join(map(summary, found))}" for name, found in outcomes.items()]
    text = "\n".join([*lines, *verdicts, *([""] if verdicts else []), statistics(first[0].metrics)])
    sets = {name: {one.label: flat(one) for one in of} for name, of in outcomes.items()}
    return text, {"sets": sets, "verdicts": verdicts}


def _each(options: argparse.Namespace) -> Iterator[tuple[str, argparse.Namespace]]:
    """The options for each set, under an empty name those for the only one; a corpus is the first one's."""
    if not (isinstance(options.data, Mapping) and options.checkpoint):
        yield "", options
        return
    for place, (name, path) in enumerate(options.data.items()):
        corpus = options.corpus if place == 0 else None
        own = {"data": path, "output": f"{Path(options.output) / name}", "corpus": corpus}
        yield name, argparse.Namespace(**{**vars(options), **own})


def _verdicts(comparisons: Mapping[str, Comparison]) -> Iterator[str]:
    """What every checkpoint has gained and lost against the reference, on all sets together."""
    if not comparisons:
        return
    first = next(iter(comparisons.values()))
    for place, label in enumerate(first.labels):
        if place == first.reference:
            continue
        found = {name: one.differences[place][JOINT] for name, one in comparisons.items()}
        # The chance is shared by the sets (Bonferroni): of many that have not changed none should seem to have.
        sure = {name: one.p_value <= LEVEL / len(found) for name, one in found.items()}
        changes = [Moved(name, one.value, outcome_of(one.value, is_sure=sure[name])) for name, one in found.items()]
        yield f"{label}: {joint_sentence(changes, against=first.labels[first.reference])}"
