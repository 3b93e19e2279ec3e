"""What words find beside a model, in words and as tables."""

from collections.abc import Sequence

from embviz_callback.analysis.metrics.catalogue import CATALOGUE
from embviz_callback.analysis.ship.lexical import FOUND, SHOWN, Ranked, Words
from embviz_callback.drawing.reports.asides import Aside
from embviz_callback.drawing.reports.ship_report import changed
from embviz_callback.drawing.wording import measured, rank_word
from embviz_callback.grammar import counted
from embviz_callback.pairs.subset import Subset

_MOST_LISTED = 10


def words_aside(found: Sequence[Words]) -> Aside:
    """BM25, every model and every model with it, one line each.

    Args:
        found: At least one; all of the same queries, documents and words.

    Returns:
        A section.
    """
    ways = [found[0].words, *(one.model for one in found), *(one.fused for one in found)]
    return Aside(
        title="Against words alone",
        sentence=". ".join(words_sentence(one) for one in found),
        head=("ranked by", *(CATALOGUE[name].title for name in SHOWN), f"change of {CATALOGUE[found[0].metric].title}"),
        rows=tuple(_row(way, found[0].metric) for way in ways),
        notes=(_tokens(found[0]), "A fused ranking sums 1 / (60 + rank) of both; ties count as their expectation"),
    )


def words_sentence(found: Words) -> str:
    """How a model stands to BM25, and what each finds alone."""
    metric, title = found.metric, CATALOGUE[found.metric].title
    words, model, fused = (_value(way, metric) for way in (found.words, found.model, found.fused))
    only, many = len(found.only_words), counted(len(found.words.first), "query")
    return (
        f"{found.model.name} has {title} {model}, BM25 {words}, both fused {fused}; of {many} BM25 alone finds {only:,}"
        f" among the first {FOUND}, the model alone {found.n_only_model:,}"
    )


def only_words_aside(found: Words, subset: Subset) -> Aside | None:
    """The queries that BM25 alone finds; None where there is none.

    Args:
        found: What each finds.
        subset: The texts.

    Returns:
        A section.
    """
    rows = found.only_words
    if not len(rows):
        return None
    answers = dict(subset.relevance[::-1].tolist())
    return Aside(
        title="What only words find",
        sentence=f"Among the first {FOUND} BM25 has a right document for {counted(len(rows), 'query')}, the model none",
        head=("query", "expected", "rank by words", "rank by the model"),
        rows=tuple(
            (
                subset.queries[row],
                subset.documents[answers[row]],
                rank_word(float(found.words.first[row])),
                rank_word(float(found.model.first[row])),
            )
            for row in rows[:_MOST_LISTED].tolist()
        ),
        notes=(f"The {_MOST_LISTED} farthest from the model",) if len(rows) > _MOST_LISTED else (),
    )


def _value(way: Ranked, metric: str) -> str:
    return measured(float(way.values[metric].mean()), metric)


def _row(way: Ranked, metric: str) -> tuple[str, ...]:
    changes = {loss.metric: changed(loss) for loss in way.changes}
    return way.name, *(_value(way, name) for name in SHOWN), changes.get(metric, "")


def _tokens(found: Words) -> str:
    without = "diacritics left out (đ as d), " if found.is_folded else ""
    return (
        f"BM25 is bm25s's (Lucene's formula, k1 1.5, b 0.75) over {found.n_pool:,} documents; words are runs of letters"
        f" and digits, case folded, {without}no stop words, no stems. Changes are paired, against BM25, with 95 %"
        " intervals"
    )
