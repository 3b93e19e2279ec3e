"""The scan of a pool that a corpus enlarges, block by block, and what is kept when its vectors are gone."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import partial, reduce
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from embviz_callback.analysis.scan.moments import drawn_rows
from embviz_callback.analysis.scan.passes import Pass, Sums, one_thread_each
from embviz_callback.analysis.scan.similarity import TOP, Similarity, ranked_by
from embviz_callback.embeddings import Embeddings, Floats, Rows, Vectors, finite_rows, unit_rows
from embviz_callback.measure import COSINE, Product
from embviz_callback.pairs.subset import Subset

_BLOCK = 8192  # rows of a corpus at a time: their scores stay in the cache
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
    def of(
        cls, similarity: Similarity, texts: Mapping[int, str], facts: Mapping[str, Any], *, depth: int = TOP
    ) -> Self:
        """What is kept of a finished scan.

        Args:
            similarity: With `depth` documents per query.
            texts: Row of the corpus to text, for all of its rows that `similarity` names.
            facts: About the corpus.
            depth: Documents per query that are named in `deep`, where it is more than those that are kept.

        Returns:
            The scan, with the texts among the best ten.
        """
        deep = None
        if depth > TOP:
            deep = Ranking(similarity.top_documents, similarity.top_scores)
            similarity = replace(similarity, top_documents=deep.documents[:, :TOP], top_scores=deep.scores[:, :TOP])
        n_documents = similarity.n_pool - int(facts["texts"])
        named = np.unique(similarity.top_documents[similarity.top_documents >= n_documents]).tolist()
        return cls(similarity, {row: texts[row - n_documents] for row in named}, facts, deep)

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


def scan(
    embeddings: Embeddings,
    *,
    top_k: int = TOP,
    tile: tuple[int, int] = (1024, 1024),
    corpus: Vectors | None = None,
    product: Product | None = None,
) -> Similarity:
    """The scores of all queries and documents, and of a corpus whose rows are at hand.

    Args:
        embeddings: The subset.
        top_k: Documents kept per query, at least 1.
        tile: Queries and documents of a tile.
        corpus: ``(n_corpus, dim)`` rows of further documents that answer no query, as `Scan.add` takes them.
        product: ``(a, b) -> a @ b.T`` in float32; the CPU's without.

    Returns:
        Scores, ranks, best documents, moments and the histogram.
    """
    rows = np.empty((0, embeddings.documents.shape[1]), dtype=np.float32) if corpus is None else corpus
    scanned = Scan(embeddings, n_corpus=len(rows), top_k=top_k, tile=tile, product=product)
    for start in range(0, len(rows), _BLOCK):
        block = rows[start : start + _BLOCK]
        scanned.add(np.arange(start, start + len(block)), block)
    return scanned.finish()


class Scan:
    """Scores of a subset's queries with its own documents, and then with those of a corpus, block by block.

    Nothing of a block is kept but sums and, for each query, the rows of its best; beyond the embeddings it needs
    memory for a tile and for the results (and one copy of the documents if their rows are not in record order).
    How the corpus is cut into blocks, and in which order they come, changes no count, no rank and no list.

    Args:
        embeddings: The subset.
        n_corpus: Documents of the corpus, all blocks together.
        top_k: Documents kept per query, at least 1.
        tile: Queries and documents of a tile.
        product: ``(a, b) -> a @ b.T`` in float32; the CPU's without.

    Raises:
        ValueError: If `top_k` or a side of `tile` is below 1.
    """

    def __init__(
        self,
        embeddings: Embeddings,
        *,
        n_corpus: int = 0,
        top_k: int = TOP,
        tile: tuple[int, int] = (1024, 1024),
        product: Product | None = None,
    ) -> None:
        if min(top_k, *tile) < 1:
            raise ValueError(f"top_k and tile must be at least 1, got {top_k} and {tile}")
        self.embeddings, self.n_corpus, self.top_k = embeddings, n_corpus, top_k
        begin = partial(Pass, n_corpus=n_corpus, top_k=top_k, tile=tile, product=product)
        self._ranking, _ = embeddings.compared()
        with one_thread_each():
            self._passes = [begin(embeddings, drawn=drawn_rows(n_corpus, *embeddings.queries.shape))]
            if embeddings.similarity != COSINE:
                self._passes.append(begin(self._ranking))
            if len(embeddings.grades):
                # What gains need not be relevant (a stated grade may ask for more): a pass of its own, in which
                # these pairs take the place of the relevant ones.
                no_grades = np.empty((0, 3), dtype=np.int64)
                self._passes.append(begin(replace(self._ranking, relevance=embeddings.gains[:, :2], grades=no_grades)))

    def add(self, rows: Rows, vectors: Vectors) -> None:
        """Scores a block of the corpus.

        Args:
            rows: ``(n,)`` rows of the corpus, each in one block only.
            vectors: ``(n, dim)``, unit rows, or as served where another similarity than the cosine is declared; a row
                without a direction is not ranked.

        Raises:
            ValueError: If the block has another width.
        """
        dim = self.embeddings.documents.shape[1]
        if vectors.shape[1:] != (dim,):
            raise ValueError(f"corpus must have {dim} columns, got shape {vectors.shape}")
        of_pool, compared = rows + len(self.embeddings.documents), vectors
        with one_thread_each():
            if self.embeddings.similarity != COSINE:
                compared = finite_rows(vectors) / np.float32(self._ranking.measure.document_unit)
                vectors = unit_rows("corpus", vectors)[0]
            self._passes[0].add(of_pool, vectors)
            for other in self._passes[1:]:
                other.add(of_pool, compared)

    def sums(self) -> list[tuple[Rows, Floats]]:
        """All that has come of the blocks, as numbers that `join` takes in another process."""
        return [one.sums.packed() for one in self._passes]

    def join(self, shares: Iterable[Sequence[tuple[Rows, Floats]]]) -> None:
        """Puts the sums of the shares of a corpus in the place of its own.

        Args:
            shares: What `sums` gave of each, all scans being of the same subset.
        """
        for one, parts in zip(self._passes, zip(*shares, strict=True), strict=True):
            found = [one.sums.unpacked(*part) for part in parts]
            one.sums = reduce(Sums.plus, found)

    @property
    def n_scored(self) -> int:
        """Documents of the blocks that have a direction."""
        return self._passes[0].sums.collected.count

    @property
    def unbeaten(self) -> float:
        """Share of queries of which no document so far scores above a relevant one: rank-1 will be no higher."""
        return self._passes[self.embeddings.similarity != COSINE].unbeaten

    @property
    def best_rows(self) -> Rows:
        """Rows of the corpus that are among the best of a query so far, ascending."""
        rows = np.unique(np.concatenate([one.sums.rows.ravel() for one in self._passes]))
        return rows[rows >= 0] - len(self.embeddings.documents)

    def finish(self) -> Similarity:
        """Scores, ranks, best documents, moments and the histogram."""
        n_pool = len(self.embeddings.documents) + self.n_corpus
        has_grades = len(self.embeddings.grades) > 0
        gains = self._passes[-1].gains() if has_grades else {}
        with one_thread_each():
            found = [one.finish(n_pool) for one in self._passes[: len(self._passes) - has_grades]]
        return replace(found[0] if len(found) == 1 else ranked_by(self._ranking.measure, *found), **gains)
