"""The scan of a pool that a corpus enlarges, without the corpus: what is kept when its vectors are gone."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from embviz_callback.analysis.scan.similarity import TOP, Similarity, scan
from embviz_callback.embeddings import Embeddings, Rows, Vectors, finite_rows
from embviz_callback.measure import Product
from embviz_callback.pairs.corpus import Corpus
from embviz_callback.pairs.subset import Subset

UNKNOWN_TEXT = "a text of the corpus"
_PREFIX = "scan_"
_BESIDE = "relevance"  # of the embeddings, which whoever keeps a scan keeps too
_NAMES = tuple(one.name for one in fields(Similarity) if one.name != _BESIDE)

_LATER = ("gain_above", "gain_tied", "overlap", "pair_levels", "measure")


@dataclass(frozen=True, eq=False)
class Ranking:
    """The best of a pool for every query.

    Attributes:
        documents: ``(n_queries, depth)`` rows of the pool, best first, -1 for nothing.
        scores: ``(n_queries, depth)`` their similarities.
    """

    documents: Rows
    scores: Vectors


@dataclass(frozen=True, eq=False)
class CorpusScan:
    """What came of ranking a subset's documents among a corpus.

    A corpus of 100,000 texts fills hundreds of megabytes with vectors; this is about a kilobyte a
    query, and all that figures, reports and comparisons need.

    Attributes:
        similarity: Of the whole pool.
        texts: Row of the pool to text, for every row of the corpus that `similarity` names.
        facts: About the corpus, plain JSON: source, counts, and texts without a direction.
        deep: Further documents than `similarity` names, where they were asked for; not kept on disk.
    """

    similarity: Similarity
    texts: Mapping[int, str] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)
    deep: Ranking | None = None

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The similarity without its relevance as arrays, for an ``.npz``; a number is an array without axes."""
        return {f"{_PREFIX}{name}": np.asarray(getattr(self.similarity, name)) for name in _NAMES}

    def to_json(self) -> dict[str, Any]:
        """All but the arrays, as plain JSON."""
        return {"texts": [[row, text] for row, text in self.texts.items()], "facts": dict(self.facts)}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]], plain: Mapping[str, Any]) -> Self:
        """The scan that `arrays` and `to_json` wrote.

        Args:
            arrays: With others among them, the embeddings' `relevance` too.
            plain: What `to_json` gave.

        Returns:
            An equal scan; a missing array, as in a file of another version, is a KeyError.
        """
        # Scans that were kept before there were grades lack these, and older ones the overlap.
        names = [name for name in _NAMES if name not in _LATER or f"{_PREFIX}{name}" in arrays]
        found = {name: arrays[f"{_PREFIX}{name}"] for name in names}
        values: dict[str, Any] = {name: value if value.ndim else value.item() for name, value in found.items()}
        similarity = Similarity(relevance=arrays[_BESIDE], **values)
        return cls(similarity, {int(row): text for row, text in plain["texts"]}, plain["facts"])


def pool_text(subset: Subset, corpus_texts: Mapping[int, str], row: int) -> str:
    """The text of a row of the pool.

    Args:
        subset: Its documents come first.
        corpus_texts: Row to text of what is known of the corpus behind them.
        row: From 0.

    Returns:
        The text; for a row of the corpus that is not at hand, that it is one.
    """
    return subset.documents[row] if row < len(subset.documents) else corpus_texts.get(row, UNKNOWN_TEXT)


def scan_with_corpus(
    embeddings: Embeddings, corpus: Corpus, vectors: Vectors, *, product: Product | None = None, depth: int = TOP
) -> CorpusScan:
    """Ranks a subset's documents among a corpus.

    Args:
        embeddings: The subset.
        corpus: The texts.
        vectors: ``(n_corpus, dim)``, their rows, as `scan` takes them; a text without a direction is not ranked.
        product: As for `scan`.
        depth: Documents per query that are named in `CorpusScan.deep`, where it is more than those that are kept.

    Returns:
        What is kept of it.

    Raises:
        ValueError: If there is not one vector per text.
    """
    if len(vectors) != len(corpus.texts):
        raise ValueError(f"a corpus of {len(corpus.texts)} texts needs as many vectors, got {len(vectors)}")
    similarity = scan(embeddings, corpus=vectors, product=product, top_k=max(depth, TOP))
    deep = None
    if depth > TOP:
        deep = Ranking(similarity.top_documents, similarity.top_scores)
        similarity = replace(similarity, top_documents=deep.documents[:, :TOP], top_scores=deep.scores[:, :TOP])
    n_documents = len(embeddings.documents)
    named = np.unique(similarity.top_documents[similarity.top_documents >= n_documents]).tolist()
    unusable = int((~finite_rows(vectors).any(axis=1)).sum())
    facts = corpus.facts | ({"without_direction": unusable} if unusable else {})
    return CorpusScan(similarity, {row: corpus.texts[row - n_documents] for row in named}, facts, deep)
