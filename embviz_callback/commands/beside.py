"""What a command tells beside an evaluation: what to ship, and what words alone would find."""

from typing import TYPE_CHECKING

from embviz_callback.commands.arguments import UsageError
from embviz_callback.commands.terminal import Terminal

if TYPE_CHECKING:
    from embviz_callback.analysis.ship.lexical import Words
    from embviz_callback.commands.looking import Look
    from embviz_callback.drawing.reports.asides import Aside

WORDS, FOLDED = "words", "folded"


def refuse_without_bm25s() -> None:
    """Said before the work.

    Raises:
        UsageError: If the extra is not installed.
    """
    from embviz_callback.analysis.ship.lexical import is_at_hand

    if not is_at_hand():
        raise UsageError('--bm25: expected the package bm25s, found none. Fix: pip install "embviz-callback[bm25]"')


def words_beside(look: "Look", bm25: str | None, terminal: Terminal) -> "Words | None":
    """What words alone find of the same queries among the same documents.

    Args:
        look: With its vectors at hand.
        bm25: WORDS, or FOLDED for words without diacritics; None where it is not asked for.
        terminal: Hears why nothing is found.

    Returns:
        What is found; None where nothing is asked, or a saved evaluation kept no vectors of its corpus.
    """
    from embviz_callback.analysis.ship.lexical import against_words
    from embviz_callback.analysis.ship.sheet import Shipped

    if bm25 is None:
        return None
    snapshot = look.snapshot
    if not _is_whole(look):
        terminal.say(f"{snapshot.label}: its file keeps neither vectors nor texts of its corpus; no BM25 beside it")
        return None
    model = Shipped(snapshot.label, snapshot.embeddings, look.corpus)
    documents = (*snapshot.subset.documents, *look.corpus_texts)
    return against_words(model, snapshot.subset.queries, documents, is_folded=bm25 == FOLDED)


def asides_of(look: "Look", words: "Words | None") -> "list[Aside]":
    """What stands beside an evaluation in its report and on its page.

    Args:
        look: The evaluation.
        words: What words find, if they were asked.

    Returns:
        Sections; the ship sheet is among them where all vectors are at hand.
    """
    from embviz_callback.analysis.ship.sheet import Shipped, ship_sheet
    from embviz_callback.drawing.reports.comparisons.words_report import only_words_aside, words_aside
    from embviz_callback.drawing.reports.ship_report import ship_aside

    snapshot, made = look.snapshot, []
    if _is_whole(look):
        made.append(ship_aside(ship_sheet([Shipped(snapshot.label, snapshot.embeddings, look.corpus)])))
    if words is not None:
        only = only_words_aside(words, snapshot.subset)
        made += [words_aside([words]), *([] if only is None else [only])]
    return made


def _is_whole(look: "Look") -> bool:
    return look.corpus is not None or not look.snapshot.subset.n_corpus
