"""Words instead of vectors: BM25 on the same queries and documents, and both rankings fused."""

import importlib.util
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from embviz_callback.analysis.metrics.intervals import Sampling
from embviz_callback.analysis.metrics.ranks import Counts, rank_values
from embviz_callback.analysis.ship.ranking import Scores, count, scores_of
from embviz_callback.analysis.ship.sheet import Shipped
from embviz_callback.analysis.verdict.best import chosen_metric
from embviz_callback.analysis.verdict.losses import Loss, lost
from embviz_callback.embeddings import Embeddings, Floats
from embviz_callback.pairs.texts import fold, without_diacritics

SHOWN = ("mrr", "rank1", "recall_at_10", "ndcg_at_10")
FOUND = 10  # a query finds what it seeks where a right document is among so many
_TAIL = 0.025
_WORD = re.compile(r"\w+")
_DAMPING = 60  # of reciprocal-rank fusion, as Cormack, Clarke and Buettcher (2009) have it


@dataclass(frozen=True, eq=False)
class Ranked:
    """One way to rank, on every query.

    Attributes:
        name: Of the way.
        values: Metric of SHOWN to ``(n_queries,)``.
        first: ``(n_queries,)`` rank of the first right document, ties in the middle; infinite for none.
        changes: Against words alone, with 95 % intervals; none of those themselves.
    """

    name: str
    values: Mapping[str, Floats]
    first: Floats
    changes: tuple[Loss, ...] = ()


@dataclass(frozen=True, eq=False)
class Words:
    """What words find beside a model.

    Attributes:
        words: BM25.
        model: The vectors.
        fused: Both.
        metric: The one that decides.
        is_folded: Whether diacritics were left out of the words.
        n_pool: Documents that were ranked.
    """

    words: Ranked
    model: Ranked
    fused: Ranked
    metric: str
    is_folded: bool
    n_pool: int

    @property
    def only_words(self) -> NDArray[np.int64]:
        """Rows of the queries that BM25 alone finds, those farthest from the model first."""
        found = np.flatnonzero((self.words.first <= FOUND) & (self.model.first > FOUND))
        return found[np.argsort(-self.model.first[found], kind="stable")]

    @property
    def n_only_model(self) -> int:
        """Queries that the model alone finds."""
        return int(((self.model.first <= FOUND) & (self.words.first > FOUND)).sum())


def is_at_hand() -> bool:
    """Whether bm25s is installed."""
    return importlib.util.find_spec("bm25s") is not None


def words_of(text: str, *, is_folded: bool = False) -> list[str]:
    """A text's words: runs of letters, digits and underscores, NFC and case folded; no stop words, no stems.

    Args:
        text: Any.
        is_folded: Whether diacritics are left out, and đ is d.

    Returns:
        Words in their order.

    Example:
        >>> words_of("Phòng trọ, 5tr!"), words_of("Đống Đa", is_folded=True)
        (['phòng', 'trọ', '5tr'], ['dong', 'da'])
    """
    folded = fold(text)
    return _WORD.findall(without_diacritics(folded) if is_folded else folded)


def bm25_scores(queries: Sequence[str], documents: Sequence[str], *, is_folded: bool = False) -> Scores:
    """Scores of bm25s: Lucene's BM25 with k1 1.5 and b 0.75.

    Args:
        queries: Texts.
        documents: Texts.
        is_folded: As for `words_of`.

    Returns:
        The scores; documents without a common word have 0.
    """
    import bm25s  # an extra

    # A document without words takes part, and is found by nothing.
    index = bm25s.BM25(method="lucene", k1=1.5, b=0.75)
    index.index([words_of(text, is_folded=is_folded) or [""] for text in documents], show_progress=False)
    asked = [[word for word in words_of(text, is_folded=is_folded) if word in index.vocab_dict] for text in queries]

    def block(rows: slice) -> NDArray[np.floating]:
        found = np.zeros((rows.stop - rows.start, len(documents)), dtype=np.float32)
        for line, words in zip(found, asked[rows], strict=True):
            if words:
                line[:] = index.get_scores(words)
        return found

    return block


def fused_scores(one: Scores, other: Scores) -> Scores:
    """Reciprocal-rank fusion: the sum of 1 / (60 + rank) over both rankings, ties with their mean rank."""

    def block(rows: slice) -> NDArray[np.floating]:
        return np.asarray(_reciprocal(one(rows)) + _reciprocal(other(rows)))

    return block


def _reciprocal(table: NDArray[np.floating]) -> Floats:
    from scipy.stats import rankdata  # slow to import, and only fusion needs it

    return np.asarray(1 / (_DAMPING + rankdata(-np.round(table.astype(np.float64), 12), axis=1)))


def against_words(model: Shipped, queries: Sequence[str], documents: Sequence[str], *, is_folded: bool) -> Words:
    """Ranks the same documents by words, by vectors and by both.

    Args:
        model: Its vectors.
        queries: Texts, row for row.
        documents: Texts of the pool, those of the corpus behind those of the subset.
        is_folded: As for `words_of`.

    Returns:
        What each finds.
    """
    embeddings, n_pool = model.embeddings, len(documents)
    by_words, by_model = bm25_scores(queries, documents, is_folded=is_folded), scores_of(*model.asked_by(model))
    words = _ranked("BM25", by_words, embeddings, n_pool)
    vectors = _ranked(model.label, by_model, embeddings, n_pool, words)
    both = _ranked(f"{model.label} + BM25", fused_scores(by_words, by_model), embeddings, n_pool, words)
    return Words(words, vectors, both, chosen_metric(embeddings), is_folded, n_pool)


def _ranked(name: str, scores: Scores, embeddings: Embeddings, n_pool: int, words: Ranked | None = None) -> Ranked:
    counts = count(embeddings, scores, n_pool)
    found = rank_values(counts, embeddings)
    changes = []
    if words is not None:
        sampling = Sampling.of(embeddings.relevance, len(embeddings.queries))
        drops = {metric: words.values[metric] - found[metric] for metric in SHOWN}
        changes = [lost(metric, 0.0, drop, sampling, _TAIL) for metric, drop in drops.items()]
    return Ranked(name, {metric: found[metric] for metric in SHOWN}, _first(counts, embeddings), tuple(changes))


def _first(counts: Counts, embeddings: Embeddings) -> Floats:
    ranks = np.where(np.isnan(counts.pair_levels), np.inf, 1 + counts.pair_above + counts.pair_tied / 2)
    found = np.full(len(embeddings.queries), np.inf)
    np.minimum.at(found, embeddings.relevance[:, 0], ranks)
    return found
