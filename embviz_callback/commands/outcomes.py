"""What comes of checkpoints: evaluated, with what stands beside them, written down and told."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from embviz_callback.analysis.metrics.numbers import Metrics
from embviz_callback.analysis.metrics.pictures import MAPS
from embviz_callback.analysis.ship import lexical
from embviz_callback.analysis.ship.sheet import ship_sheet
from embviz_callback.commands.arguments import UsageError
from embviz_callback.commands.launched import OtherRankDone, is_first
from embviz_callback.commands.looking import Look, Request, look_at_each, prepared_outputs
from embviz_callback.commands.terminal import Terminal
from embviz_callback.delivery.results.trec import DEPTH, trec_files
from embviz_callback.delivery.run.data_check import data_check
from embviz_callback.drawing.reports.asides import Aside, Context
from embviz_callback.drawing.reports.comparisons.words_report import only_words_aside, words_aside
from embviz_callback.drawing.reports.ship_report import ship_aside
from embviz_callback.files import safe_name, write_atomically

if TYPE_CHECKING:
    from embviz_callback.delivery.results.result_folder import Outcome

WORDS, FOLDED = "words", "folded"


def evaluate_each(
    asked: Sequence[tuple[Request, Path]], terminal: Terminal, *, trec: bool = False, bm25: str | None = None
) -> "list[list[Outcome]]":
    """Looks at every checkpoint, loaded once, on one or several sets, and writes the files of each.

    Args:
        asked: What is wanted of each set, and the folder of its results, with a folder in it for each of several
            checkpoints.
        terminal: Hears what is going on.
        trec: Leave a run and its judgements too.
        bm25: As for `words_beside`.

    Returns:
        For each set one outcome per checkpoint, in the order given.

    Raises:
        OtherRankDone: In every process but the first of several, when all is encoded.
    """
    if trec:
        asked = [(replace(request, depth=DEPTH), output) for request, output in asked]
    if bm25 is not None:
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
                outcomes[place].append(_written(look, folder, data[place], terminal, bm25))
                for name, content in trec_files(look.snapshot).items() if trec else ():
                    write_atomically(folder / name, content)
    return outcomes


def _written(look: Look, folder: Path, data: Mapping[str, Any], terminal: Terminal, bm25: str | None) -> "Outcome":
    # matplotlib, which a mistyped option must not wait for: all is checked before the first look
    from embviz_callback.delivery.results.result_folder import write_results

    words = words_beside(look, bm25, terminal)
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
        bm25: WORDS, or FOLDED for words without diacritics; None where it is not asked for.
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
    return lexical.against_words(look.shipped, snapshot.subset.queries, documents, is_folded=bm25 == FOLDED)


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
