"""Where to cut: the similarity from which a document is shown, for a promised precision or recall."""

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embviz_callback.analysis.metrics.resampling import Estimate, draw_clusters, estimate, told
from embviz_callback.embeddings import Embeddings, Floats, Rows, Vectors
from embviz_callback.measure import COSINE, Measure

_WANTED = (0.8, 0.9, 0.95)
_BINS = 2000  # a threshold is worth three decimals
_STEP = 5  # bins between two cuts that are tested: fixed beforehand, or the choice would cost certainty
_DOUBT = 0.05
_TILE = 1024
_NONE = Estimate(math.nan)


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
    threshold: Estimate = _NONE
    precision: float = math.nan
    recall: float = math.nan
    shown: float = math.nan
    n_pairs: int = 0
    reason: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        names = ("kind", "wanted", "threshold", "precision", "recall", "shown_per_query=shown", "n_pairs", "reason")
        return told(self, *names)


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
        return told(self, "similarity=measure", "with_hard_negatives", "n_queries", "n_documents", "advice")


def thresholds(
    embeddings: Embeddings,
    *,
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
        with_hard_negatives: Let each query's hard negatives compete, as a pool of near copies would.
        draws: Resamples.
        seed: Of the resamples.
        clusters: ``(n_queries,)`` queries that are drawn together.

    Returns:
        Curves and advice, for precisions and recalls of 0.8, 0.9 and 0.95 and the largest F1.
    """
    embeddings, _ = embeddings.compared()
    n_queries, span = len(embeddings.queries), embeddings.measure.span
    drawn = draw_clusters(np.arange(n_queries) if clusters is None else clusters, draws=draws, seed=seed)
    n_packs = drawn.weights.shape[1]
    hits, shown = _histograms(embeddings, drawn.pack, n_packs, with_hard_negatives=with_hard_negatives)
    relevant = np.bincount(drawn.pack[embeddings.relevance[:, 0]], minlength=n_packs).astype(np.float64)
    counts = _Counts(_from_top(hits), _from_top(shown), relevant, n_queries)
    precision, recall = counts.shares(np.concatenate([np.ones((1, n_packs)), drawn.weights]))
    promises = [_promise(kind, wanted, counts) for kind in ("precision", "recall") for wanted in _WANTED]
    advice = (*promises, _best_f1(precision, recall, counts))
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


def _binned(scores: NDArray[np.floating], pack: Rows, n_packs: int) -> Floats:
    """Scores of each pack in bins, ``(n_packs, n_bins)``."""
    # A score a rounding error below its bin's edge must not fall out of it.
    bins = np.clip(((scores.astype(np.float64) + 1) * (_BINS / 2) + 1e-4).astype(np.int64), 0, _BINS - 1)
    found = np.bincount((pack * _BINS + bins).ravel(), minlength=n_packs * _BINS)
    return found.astype(np.float64).reshape(n_packs, _BINS)


def _histograms(
    embeddings: Embeddings, pack: Rows, n_packs: int, *, with_hard_negatives: bool
) -> tuple[Floats, Floats]:
    """Per pack of queries: relevant pairs, and all pairs, by their similarity."""
    shown = np.zeros((n_packs, _BINS))
    usable = embeddings.usable_documents
    documents = embeddings.documents[usable]
    rows = np.flatnonzero(embeddings.usable_queries)
    for part in np.array_split(rows, len(rows) // _TILE + 1):
        shown += _binned(_table(embeddings.measure, embeddings.queries[part], documents), pack[part][:, None], n_packs)
    query, document = embeddings.relevance.T
    positive = _pair_histogram(embeddings, query, embeddings.documents[document], pack, n_packs)
    if with_hard_negatives and len(embeddings.hard_pairs):
        query, hard = embeddings.hard_pairs.T
        shown += _pair_histogram(embeddings, query, embeddings.hard_negatives[hard], pack, n_packs)
    return positive, shown


def _pair_histogram(embeddings: Embeddings, query: Rows, others: Vectors, pack: Rows, n_packs: int) -> Floats:
    left, measure = embeddings.queries[query], embeddings.measure
    keep = left.any(axis=1) & others.any(axis=1)
    wide = np.float32 if measure.name == COSINE else np.float64
    scores = _linear(measure, measure.pairs(left.astype(wide, copy=False), others.astype(wide, copy=False)))[keep]
    return _binned(scores, pack[query[keep]], n_packs)


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


@dataclass(frozen=True, eq=False)
class _Counts:
    """Pairs at or above each cut, per pack of queries.

    Attributes:
        hits: ``(n_packs, n_bins)`` relevant ones.
        shown: ``(n_packs, n_bins)`` all.
        relevant: ``(n_packs,)`` relevant ones at any cut.
        n_queries: In all packs.
    """

    hits: Floats
    shown: Floats
    relevant: Floats
    n_queries: int

    def shares(self, weights: Floats) -> tuple[Floats, Floats]:
        """Precision and recall at each cut, of packs taken as often as each row of weights says."""
        hits = weights @ self.hits
        with np.errstate(divide="ignore", invalid="ignore"):
            # A positive may fall one bin apart from its own copy among all pairs, by a rounding.
            return np.minimum(hits / (weights @ self.shown), 1.0), hits / (weights @ self.relevant)[:, None]

    def advice(self, kind: str, wanted: float | None, threshold: Estimate, at: int, n_pairs: int = 0) -> Advice:
        """What comes of a cut."""
        precision, recall = (float(share[0, at]) for share in self.shares(np.ones((1, len(self.relevant)))))
        shown = float(self.shown[:, at].sum() / self.n_queries)
        return Advice(kind, wanted, threshold, precision, recall, shown, n_pairs)


def _promise(kind: str, wanted: float, counts: _Counts) -> Advice:
    """The last cut of the sequence that keeps the wish beyond doubt."""
    of = counts.shown if kind == "precision" else np.broadcast_to(counts.relevant[:, None], counts.shown.shape)
    cuts = np.arange(0, _BINS, _STEP)[:: -1 if kind == "precision" else 1]
    total = of[:, cuts].sum(axis=0)
    # Fewer could not show it even if all of them were right.
    least = math.ceil(math.log(_DOUBT) / math.log(wanted))
    n_relevant = int(counts.relevant.sum())
    if n_relevant < least:
        reason = f"it takes at least {least} relevant pairs to show it, there are {n_relevant}"
        return Advice(kind, wanted, reason=reason)
    cuts = cuts[np.argmax(total >= least) :]
    hits, of = np.minimum(counts.hits, counts.shown)[:, cuts], of[:, cuts]
    passed = _lower_bounds(hits, of) >= wanted
    if not passed[0]:
        n_pairs = int(of[:, 0].sum())
        share = f"{100 * hits[:, 0].sum() / n_pairs:.1f} %"
        found = f"the {n_pairs:,} highest scored pairs are right"
        if kind == "recall":
            found = f"all {n_pairs:,} right pairs are shown by the lowest"
        return Advice(kind, wanted, reason=f"no cut is shown to keep it: {share} of {found}")
    last = _run(passed) - 1
    at = int(cuts[last])
    return counts.advice(kind, wanted, Estimate(float(_cuts()[at])), at, int(of[:, last].sum()))


def _run(passed: NDArray[np.bool_]) -> int:
    """How many are passed before the first that is not."""
    return len(passed) if passed.all() else int(np.argmin(passed))


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


def _best_f1(precision: Floats, recall: Floats, counts: _Counts) -> Advice:
    """The cut of the largest F1, which promises nothing; row 0 is the subset itself, the others its resamples."""
    with np.errstate(divide="ignore", invalid="ignore"):
        score = np.nan_to_num(2 * precision * recall / (precision + recall))
    found = np.where(score.max(axis=1) > 0, _cuts()[score.argmax(axis=1)], np.nan)
    if np.isnan(found[0]):
        return Advice("F1", None, reason="no pair is relevant")
    return counts.advice("F1", None, estimate(float(found[0]), found[1:]), int(score[0].argmax()))
