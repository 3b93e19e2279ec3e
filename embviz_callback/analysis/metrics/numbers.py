"""The numbers of one evaluation, by name, with their intervals."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, Self

import numpy as np

from embviz_callback.analysis.metrics import geometry
from embviz_callback.analysis.metrics.catalogue import Named
from embviz_callback.analysis.metrics.intervals import PerQuery, in_spreads, intervals_of, per_query
from embviz_callback.analysis.metrics.resampling import told
from embviz_callback.analysis.scan import Similarity, one_thread_each, scan
from embviz_callback.embeddings import Embeddings, Rows, ranked_rows
from embviz_callback.measure import COSINE, Product
from embviz_callback.pairs.subset import Subset
from embviz_callback.settings import SIMILARITIES

_NEIGHBOURS = 10


@dataclass(frozen=True, eq=False)
class Metrics(Named, Mapping[str, float]):
    """Figures under the names of the catalogue, as attributes and as a mapping.

    ``metrics.margin``, ``metrics["margin"]`` and ``dict(metrics)`` all work. What the data do
    not allow (`hard_margin` without hard negatives) is not among the names; what cannot be
    judged (no usable pair) is NaN.

    Attributes:
        figures: Name to value.
        intervals: Name to the (low, high) of a 95 % interval over queries.
        hubs: (document row, occurrences) of the three documents most often among a query's
            ten nearest; a row from `n_documents` on is of the corpus.
        n_queries: Queries evaluated.
        n_documents: Distinct documents, without hard negatives and corpus.
        non_finite: Rows that held NaN or infinity.
        zero: Rows without length.
        n_corpus: Further texts that the documents were ranked among.
        n_hard_queries: Queries that have hard negatives.
        per_query: What each query contributes, for tests of differences; None where only the sums are known.
        own: The same among the subset's own documents, where a corpus makes the pool larger: verdicts are by these.
    """

    figures: Mapping[str, float]
    intervals: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    hubs: tuple[tuple[int, int], ...] = ()
    n_queries: int = 0
    n_documents: int = 0
    non_finite: int = 0
    zero: int = 0
    n_corpus: int = 0
    n_hard_queries: int = 0
    per_query: PerQuery | None = field(default=None, repr=False)
    own: "Metrics | None" = field(default=None, repr=False)

    def __getitem__(self, name: str) -> float:
        return self.figures[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.figures)

    def __len__(self) -> int:
        return len(self.figures)

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON; NaN becomes null, an infinity the text "Infinity" or "-Infinity"."""
        return told(self, "metrics=figures", "intervals", "hubs", *_COUNTS)

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Self:
        """The metrics that `as_dict` wrote."""
        # What was written down before there were corpora does not say that there was none.
        counts: dict[str, Any] = {name: int(stored.get(name, 0)) for name in _COUNTS}
        return cls(
            figures={name: _from_json(value) for name, value in stored["metrics"].items()},
            intervals={name: (_from_json(low), _from_json(high)) for name, (low, high) in stored["intervals"].items()},
            hubs=tuple((int(row), int(count)) for row, count in stored["hubs"]),
            **counts,
        )


class Evaluated(Protocol):
    """What the analyses read of an evaluation; a Snapshot is one."""

    @property
    def label(self) -> str:
        """For titles."""

    @property
    def epoch(self) -> int | None:
        """Training epoch from 0."""

    @property
    def step(self) -> int | None:
        """The step under which it is logged."""

    @property
    def subset(self) -> Subset:
        """The texts."""

    @property
    def embeddings(self) -> Embeddings:
        """Their vectors."""

    @property
    def similarity(self) -> Similarity:
        """Their scan: the ranks and the first documents."""

    @property
    def metrics(self) -> Metrics:
        """The numbers."""

    @property
    def corpus_texts(self) -> Mapping[int, str]:
        """Row of the pool to text, for what came first of a corpus."""


_COUNTS = ("n_queries", "n_documents", "non_finite", "zero", "n_corpus", "n_hard_queries")


def _from_json(value: float | str | None) -> float:
    return math.nan if value is None else float(value)


def separation(margin: float, positive_std: float, negative_std: float) -> float:
    """Distance between positive and negative cosines in units of their joint spread.

    If both groups were normal, a random positive would outscore a random negative with
    probability Phi(separation): 1 sigma is 84 %, 2 sigma 98 %.

    Args:
        margin: Mean positive minus mean negative cosine.
        positive_std: Population standard deviation of the positive cosines.
        negative_std: The same of the negative cosines.

    Returns:
        margin / sqrt(positive_std**2 + negative_std**2). Without any spread beyond float32's
        rounding of a cosine (1e-7): infinite with the sign of the margin, NaN for no margin.

    Example:
        >>> separation(0.3, positive_std=0.3, negative_std=0.4)
        0.6
    """
    spread = np.array(math.hypot(positive_std, negative_std))
    return float(in_spreads(np.array(margin), spread))


@one_thread_each()
def compute_metrics(similarity: Similarity, embeddings: Embeddings, *, draws: int = 1000, seed: int = 0) -> Metrics:
    """All figures of docs/metrics.md.

    Args:
        similarity: The scan.
        embeddings: What was scanned.
        draws: Resamples behind an interval; 0 for no intervals.
        seed: Of the resamples.

    Returns:
        The metrics.
    """
    skewness, hubs = geometry.hubness(similarity.top_documents[:, :_NEIGHBOURS], similarity.n_pool)
    statistics = per_query(similarity, embeddings)
    figures = _spreads(similarity) | _ranks(similarity, statistics)
    figures |= {"naive_rank1_ceiling": naive_ceiling(embeddings.records)}
    figures |= {"auc": similarity.auc, "auc_error": similarity.auc_error}
    figures |= _hard(similarity, embeddings) if len(embeddings.hard_pairs) else {}
    blind = geometry.blind_hubness(len(embeddings.queries), _NEIGHBOURS, similarity.n_pool)
    figures |= _shape(similarity, embeddings) | {"hubness": skewness, "hubness_blind": blind}
    return Metrics(
        figures=figures,
        intervals=intervals_of(statistics, draws=draws, seed=seed) if draws else {},
        hubs=hubs,
        n_queries=len(embeddings.queries),
        n_documents=len(embeddings.documents),
        non_finite=embeddings.non_finite,
        zero=embeddings.zero,
        n_corpus=similarity.n_pool - len(embeddings.documents),
        n_hard_queries=len(np.unique(embeddings.hard_pairs[:, 0])),
        per_query=statistics,
    )


def _spreads(similarity: Similarity) -> dict[str, float]:
    positives = similarity.positive_scores[~np.isnan(similarity.positive_scores)]
    mean = float(positives.mean()) if len(positives) else math.nan
    std = float(positives.std()) if len(positives) else math.nan
    margin = mean - similarity.negative_mean
    return {
        "positive_mean": mean,
        "positive_std": std,
        "negative_mean": similarity.negative_mean,
        "negative_std": similarity.negative_std,
        "margin": margin,
        "separation": separation(margin, std, similarity.negative_std),
    }


def _ranks(similarity: Similarity, statistics: PerQuery) -> dict[str, float]:
    values = {**statistics.ranks, "naive_rank1": similarity.naive_hits}
    judged = bool(np.isfinite(similarity.rank).any())
    return {name: float(found.mean()) if judged else math.nan for name, found in values.items()}


def naive_ceiling(records: Rows) -> float:
    """The most that a perfect model could reach by ``argmax == own row``.

    A perfect model scores a query's relevant documents above all others, in an order of its
    choice. Among copies of a document argmax finds the first record, and equal queries find one
    and the same row, so each distinct query earns at most one hit, and only if one of its
    records is the first to name its document.

    Args:
        records: ``(n_records, 2)`` (query row, document row), in record order.

    Returns:
        A share of the records; NaN without records.
    """
    if not len(records):
        return math.nan
    _, first = np.unique(records[:, 1], return_index=True)
    return len(np.unique(records[first, 0])) / len(records)


def _hard(similarity: Similarity, embeddings: Embeddings) -> dict[str, float]:
    """Best positive minus hardest negative, over queries that have both."""
    hardest = np.full(len(embeddings.queries), -np.inf)
    np.fmax.at(hardest, embeddings.hard_pairs[:, 0], similarity.hard_scores)
    gaps = (similarity.best_positive - hardest)[np.unique(embeddings.hard_pairs[:, 0])]
    usable = np.isfinite(gaps)
    if not usable.any():
        return {"hard_margin": math.nan, "hard_accuracy": math.nan}
    # A query that cannot be judged is a miss, as everywhere; it has no gap to average.
    return {"hard_margin": float(gaps[usable].mean()), "hard_accuracy": float((gaps > 0).mean())}


def _shape(similarity: Similarity, embeddings: Embeddings) -> dict[str, float]:
    scores, own = similarity.positive_scores, embeddings
    sides = (own.queries, own.usable_queries), (own.documents, own.usable_documents)
    return {
        "alignment": geometry.alignment(scores[~np.isnan(scores)]),
        "uniformity": float(np.mean([geometry.uniformity(*side) for side in sides])),
        "effective_rank": similarity.effective_rank,
        "mean_off_diagonal": similarity.mean_off_diagonal,
    }


def evaluate_pairs(
    query: Any,
    document: Any,
    relevance: Any,
    *,
    hard_negatives: Any = None,
    hard_pairs: Any = None,
    corpus: Any = None,
    similarity: str = COSINE,
    draws: int = 1000,
    seed: int = 0,
    product: Product | None = None,
) -> Metrics:
    """All metrics of plain arrays or tensors; no model needed.

    Args:
        query: ``(n_queries, dim)``, rows of any length.
        document: ``(n_documents, dim)``; equal texts should be one row.
        relevance: Which documents answer a query: integer pairs ``(n, 2)``, or the row of each
            query's document ``(n_queries,)``, or a boolean matrix ``(n_queries, n_documents)``.
        hard_negatives: ``(n_hard, dim)``.
        hard_pairs: ``(n, 2)`` pairs (query row, hard negative row).
        corpus: ``(n_corpus, dim)`` further documents that answer no query.
        similarity: By which documents are ranked: "cosine", "dot", "euclidean" or "manhattan"; means and spreads are
            of cosines.
        draws: Resamples behind the intervals; 0 for none.
        seed: Of the resamples.
        product: ``(a, b) -> a @ b.T`` in float32, as on a GPU.

    Returns:
        The metrics.

    Raises:
        ValueError: If only one of `hard_negatives` and `hard_pairs` is given, or there is no such similarity.

    Example:
        >>> import numpy as np
        >>> evaluate_pairs(np.eye(3), np.eye(3), [0, 1, 2]).rank1
        1.0
    """
    if (hard_negatives is None) != (hard_pairs is None):
        given, missing = (
            ("hard_pairs", "hard_negatives") if hard_negatives is None else ("hard_negatives", "hard_pairs")
        )
        raise ValueError(f"hard_negatives and hard_pairs belong together, got {given} without {missing}")
    if similarity not in SIMILARITIES:
        raise ValueError(f"similarity must be one of {', '.join(SIMILARITIES)}, got {similarity!r}")
    queries, documents = _array(query), _array(document)
    embeddings = Embeddings.from_raw(
        queries,
        documents,
        relevance_pairs(relevance, len(queries), len(documents)),
        hard_negatives=None if hard_negatives is None else _array(hard_negatives),
        hard_pairs=None if hard_pairs is None else _array(hard_pairs),
        similarity=similarity,
    )
    others = None if corpus is None else ranked_rows("corpus", _array(corpus), similarity)
    found = scan(embeddings, corpus=others, product=product)
    return compute_metrics(found, embeddings, draws=draws, seed=seed)


def relevance_pairs(relevance: Any, n_queries: int, n_documents: int) -> Rows:
    """Pairs (query row, document row) from any accepted form.

    Args:
        relevance: Integer pairs, one row per query, or a boolean matrix.
        n_queries: Queries there are.
        n_documents: Documents there are.

    Returns:
        ``(n_pairs, 2)`` int64.

    Raises:
        ValueError: If the shape fits none of the three forms.
        TypeError: If the entries are neither integers nor booleans.
    """
    given = _array(relevance)
    if given.dtype == np.bool_:
        if given.shape != (n_queries, n_documents):
            raise ValueError(
                f"a boolean relevance must have shape ({n_queries}, {n_documents}), queries by documents,"
                f" got {given.shape}"
            )
        return np.argwhere(given)
    if given.dtype.kind not in "iu":
        raise TypeError(f"relevance must hold integers or booleans, got {given.dtype}")
    if given.ndim == 1:
        if len(given) != n_queries:
            raise ValueError(
                f"relevance must name one document row per query, got {len(given)} for {n_queries} queries"
            )
        return np.stack([np.arange(n_queries), given.astype(np.int64)], axis=1)
    if given.ndim != 2 or given.shape[1] != 2:
        raise ValueError(
            "relevance must be pairs (n, 2), one document row per query (n,) or a boolean matrix"
            f" ({n_queries}, {n_documents}), got {given.dtype} {given.shape}"
        )
    return given.astype(np.int64)


def _array(values: Any) -> np.ndarray[Any, Any]:
    """Arrays as they are, tensors by their own methods: torch is not imported here."""
    if hasattr(values, "detach"):
        values = values.detach().cpu()
        # numpy has no bfloat16.
        return np.asarray((values.float() if values.is_floating_point() else values).numpy())
    return np.asarray(values)
