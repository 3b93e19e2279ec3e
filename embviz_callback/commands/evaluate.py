"""`embviz --checkpoint ... --data ...`: options in, statistics and exit status out."""

import argparse
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from embviz_callback.analysis.compare.comparison import Comparison
from embviz_callback.analysis.metrics.pictures import MAPS, wanted_maps
from embviz_callback.analysis.ship import lexical
from embviz_callback.analysis.ship.sheet import ship_sheet
from embviz_callback.commands.arguments import UsageError
from embviz_callback.commands.ending import answer, status
from embviz_callback.commands.gate import baseline_of, gate_status, refuse_gate_without_baseline
from embviz_callback.commands.launched import OtherRankDone, is_first
from embviz_callback.commands.looking import Look, as_usage_error, look_at_each, prepared_outputs
from embviz_callback.commands.request import Request, output_of, request_from
from embviz_callback.commands.terminal import Terminal, quietly
from embviz_callback.commands.told import said
from embviz_callback.delivery.results.trec import trec_files
from embviz_callback.delivery.run.data_check import data_check
from embviz_callback.drawing.reports.asides import Aside, Context
from embviz_callback.drawing.reports.comparisons.words_report import only_words_aside, words_aside
from embviz_callback.drawing.reports.ship_report import ship_aside
from embviz_callback.files import safe_name, write_atomically
from embviz_callback.snapshot import Snapshot

if TYPE_CHECKING:
    from embviz_callback.delivery.results.result_folder import Outcome


def run(options: argparse.Namespace, terminal: Terminal) -> int:
    """Runs the command; 0 when done, 3 for a margin below the threshold or a loss against the baseline, 4 for doubt."""
    if options.vectors is None and not options.checkpoint:
        raise UsageError("required: --checkpoint")
    if options.vectors is not None and options.checkpoint:
        raise UsageError("give either --checkpoint or --vectors")
    refuse_gate_without_baseline(options)
    return evaluate_checkpoints(options, terminal)


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
        found = evaluate_each(asked, terminal)
        outcomes = dict(zip(own, found, strict=True))
        comparisons = {name: _compared(outcomes[name], own[name]) for name in own if is_compared}
    answer(*said(options, outcomes, comparisons), options, terminal)
    every = {f"{name}, {one.label}" if name else one.label: one for name, of in outcomes.items() for one in of}
    margins = {label: one.metrics for label, one in every.items()}
    faults = [fault for one in every.values() for fault in one.faults]
    reached = status(margins, options.fail_below_margin, terminal, faults=faults)
    if baseline is None or reached:
        return reached
    return gate_status([one.snapshot for one in every.values()], baseline, options, terminal)


def _each(options: argparse.Namespace) -> Iterator[tuple[str, argparse.Namespace]]:
    """The options for each set, under an empty name those for the only one; a corpus is the first one's."""
    if not (isinstance(options.data, Mapping) and options.checkpoint):
        yield "", options
        return
    for place, (name, path) in enumerate(options.data.items()):
        corpus = options.corpus if place == 0 else None
        own = {"data": path, "output": f"{Path(options.output) / name}", "corpus": corpus}
        yield name, argparse.Namespace(**{**vars(options), **own})


def check_reference(options: argparse.Namespace, n: int) -> None:
    """Refuses a reference beyond the last of `n`.

    Raises:
        UsageError: If it is.
    """
    if options.reference > n:
        raise UsageError(f"--reference must be at most {n}, got {options.reference}")


def evaluate_each(asked: Sequence[tuple[Request, Path]], terminal: Terminal) -> "list[list[Outcome]]":
    """Looks at every checkpoint, loaded once, on one or several sets, and writes the files of each.

    Args:
        asked: What is wanted of each set, and the folder of its results, with a folder in it for each of several
            checkpoints.
        terminal: Hears what is going on.

    Returns:
        For each set one outcome per checkpoint, in the order given.

    Raises:
        OtherRankDone: In every process but the first of several, when all is encoded.
    """
    if asked[0][0].bm25 is not None:
        refuse_without_bm25s()
    looks = look_at_each([request for request, _ in asked], terminal)  # first: a mistyped path leaves no folder behind
    if not is_first():
        for _ in looks:
            pass
        raise OtherRankDone
    outcomes: list[list[Outcome]] = [[] for _ in asked]
    data: list[dict[str, Any]] = [{} for _ in asked]
    with prepared_outputs([output for _, output in asked]):
        for found in looks:
            for place, (look, (request, output)) in enumerate(zip(found, asked, strict=True)):
                folder = output / safe_name(look.snapshot.label) if len(request.checkpoints) > 1 else output
                data[place] = data[place] or data_check(look.snapshot)
                outcomes[place].append(_written(look, request, folder, data[place], terminal))
                for name, content in trec_files(look.snapshot).items() if request.trec else ():
                    write_atomically(folder / name, content)
    return outcomes


def _written(look: Look, request: Request, folder: Path, data: Mapping[str, Any], terminal: Terminal) -> "Outcome":
    # matplotlib, which a mistyped path must not wait for: all is checked before the first look
    from embviz_callback.delivery.results.result_folder import write_results

    words = words_beside(look, request.bm25, terminal)
    context = Context(data=data, asides=asides_of(look, words))
    made = write_results(look.snapshot, folder, context, progress=lambda method: terminal.bar(MAPS[method].title))
    for fault in made.faults:
        terminal.say(f"{look.snapshot.label}: {fault}")
    return replace(made, words=words)


def refuse_without_bm25s() -> None:
    """Said before the work.

    Raises:
        UsageError: If the extra is not installed.
    """
    if not lexical.is_at_hand():
        raise UsageError('--bm25: expected the package bm25s, found none. Fix: pip install "embviz-callback[bm25]"')


def words_beside(look: Look, bm25: str | None, terminal: Terminal) -> lexical.Words | None:
    """What words alone find of the same queries among the same documents.

    Args:
        look: With its vectors at hand.
        bm25: "words", or "folded" for words without diacritics; None where it is not asked for.
        terminal: Hears why nothing is found.

    Returns:
        What is found; None where nothing is asked, or a saved evaluation kept no vectors of its corpus.
    """
    if bm25 is None:
        return None
    snapshot = look.snapshot
    if not look.is_whole:
        terminal.say(f"{snapshot.label}: its file keeps neither vectors nor texts of its corpus; no BM25 beside it")
        return None
    documents = (*snapshot.subset.documents, *(look.kept.texts if look.kept else ()))
    return lexical.against_words(look.shipped, snapshot.subset.queries, documents, is_folded=bm25 == "folded")


def asides_of(look: Look, words: lexical.Words | None) -> list[Aside]:
    """What stands beside an evaluation in its report and on its page.

    Args:
        look: The evaluation.
        words: What words find, if they were asked.

    Returns:
        Sections; the ship sheet is among them where all vectors are at hand.
    """
    made = [ship_aside(ship_sheet([look.shipped]))] if look.is_whole else []
    if words is not None:
        only = only_words_aside(words, look.snapshot.subset)
        made += [words_aside([words]), *([] if only is None else [only])]
    return made


def _compared(outcomes: "Sequence[Outcome]", options: argparse.Namespace) -> Comparison:
    # Nobody says that they are epochs of one training, in this order.
    snapshots = [replace(outcome.snapshot, epoch=None) for outcome in outcomes]
    found = [outcome.words for outcome in outcomes if outcome.words is not None]
    return write_compared(snapshots, options, [words_aside(found)] if found else [])


def write_compared(
    snapshots: Sequence[Snapshot],
    options: argparse.Namespace,
    asides: Sequence[Aside] = (),
    *,
    shown: Sequence[int] | None = None,
) -> Comparison:
    """Compares evaluations of one set, and writes the files of it.

    Args:
        snapshots: Two or more.
        options: Of `embviz` or of `embviz compare`.
        asides: Sections of report and page.
        shown: As for `write_comparison`.

    Returns:
        The comparison; a UsageError says that they are not of one subset.
    """
    # matplotlib, which a mistyped path must not wait for
    from embviz_callback.delivery.results.comparison_folder import write_comparison

    with as_usage_error(ValueError):
        return write_comparison(
            snapshots,
            output_of(options),
            reference=options.reference - 1,
            metric=options.metric,
            maps=wanted_maps(options),
            asides=asides,
            shown=shown,
        )
