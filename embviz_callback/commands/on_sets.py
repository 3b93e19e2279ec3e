"""`--data NAME=PATH ...`: checkpoints on several sets, each set in a folder of its own, and one verdict on all."""

import argparse
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from embviz_callback.commands.arguments import UsageError
from embviz_callback.commands.compare import compare_outcomes
from embviz_callback.commands.ending import answer, status
from embviz_callback.commands.evaluate import evaluate_each, flat, quietly, statistics, summary
from embviz_callback.commands.options import output_of, request_from
from embviz_callback.commands.terminal import Terminal

if TYPE_CHECKING:
    from embviz_callback.analysis.compare.comparison import Comparison
    from embviz_callback.delivery.results.result_folder import Outcome


def evaluate_on_sets(options: argparse.Namespace, terminal: Terminal) -> int:
    """Evaluates checkpoints on every set, compares several on each, and says what they gain here and lose there.

    Args:
        options: Of `embviz` or of `embviz compare`; `data` is name to path.
        terminal: Hears what is going on.

    Returns:
        The exit status.

    Raises:
        UsageError: If an option has no use with several sets.
    """
    reference = getattr(options, "reference", 1)
    if getattr(options, "baseline", None) is not None:
        raise UsageError("--baseline is an evaluation of one set; give --data one path")
    if reference > len(options.checkpoint):
        raise UsageError(f"--reference must be at most {len(options.checkpoint)}, got {reference}")
    own = dict(_each(options))
    for name, one in own.items():
        terminal.say(f"{name}: {one.data}")
    with quietly():
        asked = [(request_from(one), output_of(one)) for one in own.values()]
        found = evaluate_each(asked, terminal, trec=getattr(options, "trec", False), bm25=options.bm25)
        outcomes = dict(zip(own, found, strict=True))
        comparisons = {
            name: compare_outcomes(outcomes[name], own[name], reference) for name in own if len(options.checkpoint) > 1
        }
    return _told(options, terminal, outcomes, list(_verdicts(comparisons)))


def _each(options: argparse.Namespace) -> Iterator[tuple[str, argparse.Namespace]]:
    """The options for each set; a corpus is the first one's."""
    for place, (name, path) in enumerate(options.data.items()):
        corpus = options.corpus if place == 0 else None
        own = {"data": path, "output": f"{Path(options.output) / name}", "corpus": corpus}
        yield name, argparse.Namespace(**{**vars(options), **own})


def _verdicts(comparisons: "Mapping[str, Comparison]") -> Iterator[str]:
    """What every checkpoint has gained and lost against the reference, on all sets together."""
    from embviz_callback.analysis.metrics.contrasts import LEVEL
    from embviz_callback.delivery.alerts.regression import JOINT, Moved, joint_sentence, outcome_of

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


def _told(
    options: argparse.Namespace,
    terminal: Terminal,
    outcomes: "Mapping[str, list[Outcome]]",
    verdicts: list[str],
) -> int:
    """Says what came of it, the numbers of the first set at the end."""
    lines = [f"{name}\n{''.join(map(summary, found))}" for name, found in outcomes.items()]
    first = next(iter(outcomes.values()))[0]
    text = "\n".join([*lines, *verdicts, *([""] if verdicts else []), statistics(first.metrics)])
    sets = {name: {one.label: flat(one) for one in of} for name, of in outcomes.items()}
    answer(text, {"sets": sets, "verdicts": verdicts}, options, terminal)
    found = {f"{name}, {one.label}": one.metrics for name, of in outcomes.items() for one in of}
    faults = [fault for of in outcomes.values() for one in of for fault in one.faults]
    return status(found, options.fail_below_margin, terminal, faults=faults)
