"""What came of checkpoints, in words and as plain JSON."""

import argparse
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from embviz_callback.analysis.compare.comparison import Comparison
from embviz_callback.analysis.metrics.contrasts import LEVEL
from embviz_callback.analysis.metrics.numbers import Metrics
from embviz_callback.commands.request import output_of
from embviz_callback.delivery.alerts.regression import JOINT, Moved, joint_sentence, outcome_of
from embviz_callback.drawing.reports.comparisons.comparison_report import metrics_lines, sentences

if TYPE_CHECKING:
    from embviz_callback.delivery.results.result_folder import Outcome


def statistics(metrics: Metrics) -> str:
    """The block that standard output ends with."""
    return (
        "Similarity Statistics:\n"
        f"   Positive:   {metrics.positive_mean:.4f} ± {metrics.positive_std:.4f}\n"
        f"   Negative:   {metrics.negative_mean:.4f} ± {metrics.negative_std:.4f}\n"
        f"   Margin:     {metrics.margin:.4f}\n"
        f"   Separation: {metrics.separation:.2f}σ\n"
        f"   Rank-1:     {100 * metrics.rank1:.1f}%\n"
    )


def summary(outcome: "Outcome") -> str:
    """What came of one checkpoint, and where its report is."""
    diagnosis = outcome.snapshot.diagnosis
    verdict = outcome.content["conclusion"]
    return (
        f"{outcome.label}: {diagnosis.verdict}, {verdict}\n"
        f"   {diagnosis.reason}; {diagnosis.advice}\n"
        f"   {outcome.folder / 'report.md'}\n"
    )


def flat(outcome: "Outcome") -> dict[str, Any]:
    """Metrics on the first level, so that a pipeline can say ``.margin``."""
    content = dict(outcome.content)
    return {"label": content.pop("label"), **content.pop("metrics"), **content}


def said(
    options: argparse.Namespace, outcomes: "Mapping[str, list[Outcome]]", comparisons: Mapping[str, Comparison]
) -> tuple[str, dict[str, Any]]:
    """The answer, the numbers of the first set at the end.

    Args:
        options: Of `embviz` or of `embviz compare`.
        outcomes: Name of the set to what came of each checkpoint; an empty one for the only set.
        comparisons: Name of the set to the comparison, where there are several.

    Returns:
        Words and plain JSON.
    """
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
