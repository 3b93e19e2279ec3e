"""Where to cut: the similarity from which a document is shown, for a wanted precision or recall."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from embviz_callback.analysis.metrics.resampling import Estimate, draw_clusters, estimate, plain
from embviz_callback.embeddings import Embeddings, Floats, Rows

PRECISIONS = (0.8, 0.9, 0.95)
RECALLS = (0.8, 0.9, 0.95)
_BINS = 2000  # a threshold is worth three decimals
_TILE = 1024


@dataclass(frozen=True)
class Advice:
    """One threshold.

    Attributes:
        kind: "precision", "recall" or "F1".
        wanted: The wanted share; None for F1, which is as large as can be.
        threshold: Show documents of at least this cosine; NaN if the wish cannot be met.
        precision: Share of shown documents that are relevant, on this subset.
        recall: Share of relevant documents that are shown.
        shown: Documents shown per query, on average.
        reason: Why there is no threshold; empty if there is one.
    """

    kind: str
    wanted: float | None
    threshold: Estimate
    precision: float
    recall: float
    shown: float
    reason: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        return {
            "kind": self.kind,
            "wanted": self.wanted,
            "threshold": self.threshold.as_dict(),
            "precision": plain(self.precision),
            "recall": plain(self.recall),
            "shown_per_query": plain(self.shown),
            "reason": self.reason,
        }


@dataclass(frozen=True, eq=False)
class Thresholds:
    """Precision and recall over all cut-offs, and the advice.

    Attributes:
        with_hard_negatives: Whether each query's hard negatives compete as well.
        cuts: ``(2000,)`` thresholds, ascending, 0.001 apart.
        precision: ``(2000,)``, NaN where nothing is shown.
        recall: ``(2000,)``.
        advice: For each wish.
        n_queries: Queries behind it.
        n_documents: Documents in the pool: precision depends on it, and a larger pool wants a
            higher threshold.
    """

    with_hard_negatives: bool
    cuts: Floats
    precision: Floats
    recall: Floats
    advice: tuple[Advice, ...]
    n_queries: int
    n_documents: int

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON, without the curves."""
        return {
            "with_hard_negatives": self.with_hard_negatives,
            "n_queries": self.n_queries,
            "n_documents": self.n_documents,
            "advice": [one.as_dict() for one in self.advice],
        }


def thresholds(
    embeddings: Embeddings,
    *,
    precisions: Sequence[float] = PRECISIONS,
    recalls: Sequence[float] = RECALLS,
    with_hard_negatives: bool = False,
    draws: int = 200,
    seed: int = 0,
    clusters: Rows | None = None,
) -> Thresholds:
    """Thresholds for wanted shares, over all pairs of a query and a document.

    For a precision: the lowest threshold that reaches it, which shows most. For a recall: the
    highest that reaches it. The shares are measured on the pairs that chose the threshold, so
    that new data will fall a little short; the interval, drawn over queries, says by how much
    the threshold itself may be off. Precision is that of a pool as large as this one.

    Args:
        embeddings: The subset's vectors; unusable ones show nothing and are never shown, and count
            as missed.
        precisions: Wanted shares, above 0 and at most 1.
        recalls: Wanted shares, above 0 and at most 1.
        with_hard_negatives: Let each query's hard negatives compete, as a pool of near copies would.
        draws: Resamples.
        seed: Of the resamples.
        clusters: ``(n_queries,)`` queries that are drawn together.

    Returns:
        Curves and advice.

    Raises:
        ValueError: If a wanted share is out of range.
    """
    for wanted in (*precisions, *recalls):
        if not 0 < wanted <= 1:
            raise ValueError(f"a wanted precision or recall must be above 0 and at most 1, got {wanted}")
    n_queries = len(embeddings.queries)
    drawn = draw_clusters(np.arange(n_queries) if clusters is None else clusters, draws=draws, seed=seed)
    n_packs = drawn.weights.shape[1]
    positive, shown = _histograms(embeddings, drawn.pack, n_packs, with_hard_negatives=with_hard_negatives)
    relevant = np.bincount(drawn.pack[embeddings.relevance[:, 0]], minlength=n_packs).astype(np.float64)
    weights = np.concatenate([np.ones((1, n_packs)), drawn.weights])
    precision, recall = _shares(weights @ positive, weights @ shown, weights @ relevant)
    curve = _Curve(precision, recall, _from_top(weights[:1] @ shown)[0] / n_queries)
    wishes = [
        *(("precision", wanted) for wanted in precisions),
        *(("recall", wanted) for wanted in recalls),
        ("F1", None),
    ]
    return Thresholds(
        with_hard_negatives=with_hard_negatives,
        cuts=_cuts(),
        precision=precision[0],
        recall=recall[0],
        advice=tuple(_advise(kind, wanted, curve) for kind, wanted in wishes),
        n_queries=n_queries,
        n_documents=len(embeddings.documents),
    )


def _cuts() -> Floats:
    return np.arange(_BINS, dtype=np.float64) * (2 / _BINS) - 1


def _bins(scores: np.ndarray[Any, np.dtype[np.float32]]) -> Rows:
    # A score a rounding error below its bin's edge must not fall out of it.
    return np.clip(((scores.astype(np.float64) + 1) * (_BINS / 2) + 1e-4).astype(np.int64), 0, _BINS - 1)


def _histograms(
    embeddings: Embeddings, pack: Rows, n_packs: int, *, with_hard_negatives: bool
) -> tuple[Floats, Floats]:
    """Per pack of queries: relevant pairs, and all pairs, by their cosine."""
    shown = np.zeros(n_packs * _BINS)
    usable = embeddings.usable_documents
    documents = embeddings.documents[usable]
    rows = np.flatnonzero(embeddings.usable_queries)
    for part in np.array_split(rows, len(rows) // _TILE + 1):
        codes = pack[part][:, None] * _BINS + _bins(embeddings.queries[part] @ documents.T)
        shown += np.bincount(codes.ravel(), minlength=len(shown))
    query, document = embeddings.relevance.T
    positive = _pair_histogram(embeddings, query, embeddings.documents[document], pack, n_packs)
    if with_hard_negatives and len(embeddings.hard_pairs):
        query, hard = embeddings.hard_pairs.T
        shown += _pair_histogram(embeddings, query, embeddings.hard_negatives[hard], pack, n_packs)
    return positive.reshape(n_packs, _BINS), shown.reshape(n_packs, _BINS)


def _pair_histogram(
    embeddings: Embeddings, query: Rows, others: np.ndarray[Any, np.dtype[np.float32]], pack: Rows, n_packs: int
) -> Floats:
    left = embeddings.queries[query]
    keep = left.any(axis=1) & others.any(axis=1)
    scores = np.einsum("ij,ij->i", left, others)[keep]
    return np.bincount(pack[query[keep]] * _BINS + _bins(scores), minlength=n_packs * _BINS).astype(np.float64)


def _from_top(counts: Floats) -> Floats:
    """How many lie at or above each cut."""
    return np.cumsum(counts[:, ::-1], axis=1)[:, ::-1]


def _shares(positive: Floats, shown: Floats, relevant: Floats) -> tuple[Floats, Floats]:
    hits, all_shown = _from_top(positive), _from_top(shown)
    with np.errstate(divide="ignore", invalid="ignore"):
        # A positive may fall one bin apart from its own copy among all pairs, by a rounding.
        return np.minimum(hits / all_shown, 1.0), hits / relevant[:, None]


@dataclass(frozen=True, eq=False)
class _Curve:
    """Row 0 is the subset itself, the others its resamples.

    Attributes:
        precision: ``(1 + n_draws, n_bins)``.
        recall: ``(1 + n_draws, n_bins)``.
        shown: ``(n_bins,)`` documents per query.
    """

    precision: Floats
    recall: Floats
    shown: Floats


def _advise(kind: str, wanted: float | None, curve: _Curve) -> Advice:
    found = _positions(kind, wanted, curve)
    cuts = np.where(found >= 0, _cuts()[found], np.nan)
    at = int(found[0])
    if at < 0:
        best = float(np.nanmax(curve.precision[0], initial=0.0)) if kind == "precision" else 1.0
        reason = f"no threshold reaches it here, the best is {best:.3f}" if kind == "precision" else "not reachable"
        return Advice(kind, wanted, Estimate(math.nan), math.nan, math.nan, math.nan, reason)
    shares = float(curve.precision[0, at]), float(curve.recall[0, at])
    return Advice(kind, wanted, estimate(float(cuts[0]), cuts[1:]), *shares, float(curve.shown[at]))


def _positions(kind: str, wanted: float | None, curve: _Curve) -> Rows:
    """Per row of the curve the bin of the threshold, -1 if there is none."""
    if kind == "F1":
        with np.errstate(divide="ignore", invalid="ignore"):
            score = 2 * curve.precision * curve.recall / (curve.precision + curve.recall)
        score = np.nan_to_num(score)
        return np.where(score.max(axis=1) > 0, score.argmax(axis=1), -1)
    goal = 1.0 if wanted is None else wanted
    if kind == "precision":
        reached = np.nan_to_num(curve.precision) >= goal
        return np.where(reached.any(axis=1), reached.argmax(axis=1), -1)
    reached = np.nan_to_num(curve.recall) >= goal
    last = reached.shape[1] - 1 - reached[:, ::-1].argmax(axis=1)
    return np.where(reached.any(axis=1), last, -1)
