"""Where to cut: the similarity from which a document is shown, for a promised precision or recall."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embviz_callback.analysis.metrics.resampling import Estimate, draw_clusters, estimate, plain
from embviz_callback.embeddings import Embeddings, Floats, Rows, Vectors
from embviz_callback.measure import COSINE, Measure

PRECISIONS = (0.8, 0.9, 0.95)
RECALLS = (0.8, 0.9, 0.95)
_BINS = 2000  # a threshold is worth three decimals
_STEP = 5  # bins between two cuts that are tested: fixed beforehand, or the choice would cost certainty
_DOUBT = 0.05
_TILE = 1024


@dataclass(frozen=True)
class Advice:
    """One threshold.

    Attributes:
        kind: "precision", "recall" or "F1".
        wanted: The wanted share; None for F1, which is as large as can be.
        threshold: Show documents of at least this cosine; NaN if nothing can be promised. Of F1 with an interval.
        precision: Share of shown documents that are relevant, on this subset.
        recall: Share of relevant documents that are shown.
        shown: Documents shown per query, on average.
        n_pairs: Pairs behind the promise: those shown, or for a recall all relevant ones.
        reason: Why there is no threshold; empty if there is one.
    """

    kind: str
    wanted: float | None
    threshold: Estimate
    precision: float
    recall: float
    shown: float
    n_pairs: int = 0
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
            "n_pairs": self.n_pairs,
            "reason": self.reason,
        }


@dataclass(frozen=True, eq=False)
class Thresholds:
    """Precision and recall over all cut-offs, and the advice.

    Attributes:
        with_hard_negatives: Whether each query's hard negatives compete as well.
        cuts: ``(2000,)`` thresholds, ascending, 0.001 apart for the cosine.
        precision: ``(2000,)``, NaN where nothing is shown.
        recall: ``(2000,)``.
        advice: For each wish.
        n_queries: Queries behind it.
        n_documents: Documents in the pool: precision depends on it, and a larger pool wants a
            higher threshold.
        measure: What is cut, one of `embviz_callback.measure.SIMILARITIES`.
    """

    with_hard_negatives: bool
    cuts: Floats
    precision: Floats
    recall: Floats
    advice: tuple[Advice, ...]
    n_queries: int
    n_documents: int
    measure: str = COSINE

    @property
    def telling(self) -> tuple[float, float]:
        """The cuts between which something happens, for an axis; of cosines the same in every evaluation."""
        if self.measure == COSINE:
            return -0.2, 1.0
        some = np.flatnonzero(self.recall > 0)
        all_found = np.flatnonzero(self.recall >= self.recall[0])
        if not len(some) or not len(all_found):
            return float(self.cuts[0]), float(self.cuts[-1])
        return float(self.cuts[all_found[-1]]), float(self.cuts[min(int(some[-1]) + 1, len(self.cuts) - 1)])

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON, without the curves."""
        return {
            "similarity": self.measure,
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
    """Thresholds that keep a promised share, over all pairs of a query and a document.

    Cuts 0.005 apart are tested one after the other: for a precision from the highest one down at which enough pairs
    are shown, for a recall from the lowest up, as long as the lower 95 % bound of the share is at least the wish
    (fixed-sequence testing: Maurer, Hothorn and Lehmacher 1995). The last cut that passed keeps the promise on new
    queries of the same kind in 95 % of the files, in a pool as large as this one (benchmarks/conclusions.py).

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
    embeddings, _ = embeddings.compared()
    n_queries = len(embeddings.queries)
    drawn = draw_clusters(np.arange(n_queries) if clusters is None else clusters, draws=draws, seed=seed)
    n_packs = drawn.weights.shape[1]
    positive, shown = _histograms(embeddings, drawn.pack, n_packs, with_hard_negatives=with_hard_negatives)
    relevant = np.bincount(drawn.pack[embeddings.relevance[:, 0]], minlength=n_packs).astype(np.float64)
    weights = np.concatenate([np.ones((1, n_packs)), drawn.weights])
    precision, recall = _shares(weights @ positive, weights @ shown, weights @ relevant)
    curve = _Curve(precision, recall, _from_top(weights[:1] @ shown)[0] / n_queries)
    counts = _Counts(np.minimum(_from_top(positive), _from_top(shown)), _from_top(shown), relevant)
    advice = (
        *(_promise("precision", wanted, curve, counts) for wanted in precisions),
        *(_promise("recall", wanted, curve, counts) for wanted in recalls),
        _best_f1(curve),
    )
    span = embeddings.measure.span
    return Thresholds(
        with_hard_negatives=with_hard_negatives,
        cuts=_cuts() * span,
        precision=precision[0],
        recall=recall[0],
        advice=tuple(replace(one, threshold=one.threshold.times(span)) for one in advice),
        n_queries=n_queries,
        n_documents=len(embeddings.documents),
        measure=embeddings.measure.name,
    )


def _cuts() -> Floats:
    return np.arange(_BINS, dtype=np.float64) * (2 / _BINS) - 1


def _bins(scores: NDArray[np.floating]) -> Rows:
    # A score a rounding error below its bin's edge must not fall out of it.
    return np.clip(((scores.astype(np.float64) + 1) * (_BINS / 2) + 1e-4).astype(np.int64), 0, _BINS - 1)


def _histograms(
    embeddings: Embeddings, pack: Rows, n_packs: int, *, with_hard_negatives: bool
) -> tuple[Floats, Floats]:
    """Per pack of queries: relevant pairs, and all pairs, by their similarity."""
    shown = np.zeros(n_packs * _BINS)
    usable = embeddings.usable_documents
    documents = embeddings.documents[usable]
    rows = np.flatnonzero(embeddings.usable_queries)
    for part in np.array_split(rows, len(rows) // _TILE + 1):
        scores = _table(embeddings.measure, embeddings.queries[part], documents)
        codes = pack[part][:, None] * _BINS + _bins(scores)
        shown += np.bincount(codes.ravel(), minlength=len(shown))
    query, document = embeddings.relevance.T
    positive = _pair_histogram(embeddings, query, embeddings.documents[document], pack, n_packs)
    if with_hard_negatives and len(embeddings.hard_pairs):
        query, hard = embeddings.hard_pairs.T
        shown += _pair_histogram(embeddings, query, embeddings.hard_negatives[hard], pack, n_packs)
    return positive.reshape(n_packs, _BINS), shown.reshape(n_packs, _BINS)


def _pair_histogram(embeddings: Embeddings, query: Rows, others: Vectors, pack: Rows, n_packs: int) -> Floats:
    left, measure = embeddings.queries[query], embeddings.measure
    keep = left.any(axis=1) & others.any(axis=1)
    wide = np.float32 if measure.name == COSINE else np.float64
    scores = _linear(measure, measure.pairs(left.astype(wide, copy=False), others.astype(wide, copy=False)))[keep]
    return np.bincount(pack[query[keep]] * _BINS + _bins(scores), minlength=n_packs * _BINS).astype(np.float64)


def _table(measure: Measure, queries: Vectors, documents: Vectors) -> NDArray[np.floating]:
    """Similarities of queries with documents, from -1 to 1."""
    if measure.name == COSINE:
        return np.asarray(queries @ documents.T)
    return _linear(measure, measure.table(queries, documents))


def _linear(measure: Measure, scores: Any) -> NDArray[np.floating]:
    return np.asarray(measure.value(scores) / measure.span)


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


@dataclass(frozen=True, eq=False)
class _Counts:
    """Pairs at or above each cut, per pack of queries.

    Attributes:
        hits: ``(n_packs, n_bins)`` relevant ones.
        shown: ``(n_packs, n_bins)`` all.
        relevant: ``(n_packs,)`` relevant ones at any cut.
    """

    hits: Floats
    shown: Floats
    relevant: Floats


def _promise(kind: str, wanted: float, curve: _Curve, counts: _Counts) -> Advice:
    """The last cut of the sequence that keeps the wish beyond doubt."""
    if wanted == 1:
        return _none(kind, wanted, "no number of pairs shows that none is ever wrong")
    of = counts.shown if kind == "precision" else np.broadcast_to(counts.relevant[:, None], counts.shown.shape)
    cuts = np.arange(0, _BINS, _STEP)[:: -1 if kind == "precision" else 1]
    total = of[:, cuts].sum(axis=0)
    # Fewer could not show it even if all of them were right.
    least = math.ceil(math.log(_DOUBT) / math.log(wanted))
    n_relevant = int(counts.relevant.sum())
    if n_relevant < least:
        return _none(kind, wanted, f"it takes at least {least} relevant pairs to show it, there are {n_relevant}")
    cuts = cuts[np.argmax(total >= least) :]
    passed = _lower_bounds(counts.hits[:, cuts], of[:, cuts]) >= wanted
    if not passed[0]:
        share = counts.hits[:, cuts[0]].sum() / of[:, cuts[0]].sum()
        where = "the first" if kind == "precision" else "all"
        reached = f"{where} {int(of[:, cuts[0]].sum())} pairs reach {share:.3f}"
        return _none(kind, wanted, f"{reached}, which does not show it")
    at = int(cuts[_run(passed) - 1])
    return Advice(
        kind,
        wanted,
        Estimate(float(_cuts()[at])),
        float(curve.precision[0, at]),
        float(curve.recall[0, at]),
        float(curve.shown[at]),
        int(of[:, at].sum()),
    )


def _run(passed: NDArray[np.bool_]) -> int:
    """How many are passed before the first that is not."""
    return len(passed) if passed.all() else int(np.argmin(passed))


def _none(kind: str, wanted: float, reason: str) -> Advice:
    return Advice(kind, wanted, Estimate(math.nan), math.nan, math.nan, math.nan, reason=reason)


def _lower_bounds(hits: Floats, of: Floats) -> Floats:
    """Lower 95 % bounds of the share of hits at each cut, one-sided.

    Exact for independent pairs (Clopper and Pearson 1934), for as many of them as the pairs of all packs are worth:
    their number by the design effect (Kish 1965), which is never taken for less than 1. Where every pair is a hit
    nothing is seen of how packs differ, and each pack counts as one pair.

    Args:
        hits: ``(n_packs, n_cuts)``.
        of: ``(n_packs, n_cuts)``.

    Returns:
        ``(n_cuts,)``.
    """
    from scipy.special import betaincinv  # slow to import, and no metric needs it

    total, n_packs = of.sum(axis=0), (of > 0).sum(axis=0)
    share = hits.sum(axis=0) / np.maximum(total, 1)
    chance = total * share * (1 - share)
    seen = np.square(hits - share * of).sum(axis=0) * n_packs / np.maximum(n_packs - 1, 1)
    worth = np.where(chance > 0, total / np.maximum(seen / np.where(chance > 0, chance, 1.0), 1.0), n_packs)
    right = share * worth
    return np.where(right > 0, betaincinv(np.maximum(right, 1e-9), worth - right + 1, _DOUBT), 0.0)


def _best_f1(curve: _Curve) -> Advice:
    """The cut of the largest F1, which promises nothing."""
    with np.errstate(divide="ignore", invalid="ignore"):
        score = np.nan_to_num(2 * curve.precision * curve.recall / (curve.precision + curve.recall))
    found = np.where(score.max(axis=1) > 0, _cuts()[score.argmax(axis=1)], np.nan)
    if np.isnan(found[0]):
        return Advice("F1", None, Estimate(math.nan), math.nan, math.nan, math.nan, reason="no pair is relevant")
    at = int(score[0].argmax())
    shares = float(curve.precision[0, at]), float(curve.recall[0, at])
    return Advice("F1", None, estimate(float(found[0]), found[1:]), *shares, float(curve.shown[at]))
