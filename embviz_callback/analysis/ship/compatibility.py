"""Whether a new model may search the index of an old one: two models crossed, and how their spaces are related."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from embviz_callback.analysis.metrics.intervals import mean_pseudo_values, sampling_groups
from embviz_callback.analysis.metrics.ranks import rank_values
from embviz_callback.analysis.metrics.resampling import Estimate, draw_clusters, estimate
from embviz_callback.analysis.scan import EQUAL
from embviz_callback.analysis.ship.ranking import blocks, cosines, count
from embviz_callback.analysis.ship.sheet import ALLOWED, Shipped
from embviz_callback.analysis.verdict.best import primary_metric
from embviz_callback.analysis.verdict.losses import KEPT, LOST, Loss, bounded
from embviz_callback.embeddings import Floats, Rows, Vectors

COMPATIBLE, SHIFTED = "compatible", "compatible after a threshold shift"
INCOMPATIBLE, CANNOT_TELL = "incompatible", "cannot tell"
SIZES, SAME, UNRELATED, RELATED = "other sizes", "same documents", "unrelated spaces", "related spaces"
_TAIL = 0.025  # beyond each end of the intervals
_EQUAL_VECTORS = 1e-4  # what batches and devices leave of equal vectors
_LEAST_SHIFT = 0.01  # of a threshold; less shows and hides next to nothing
_BEYOND_CHANCE = 0.01
_MOST_COMPARED = 2000  # documents that are looked for among each other
_BINS = 4000


@dataclass(frozen=True)
class Cell:
    """Queries of one model searching documents of one.

    Attributes:
        queries: "old" or "new".
        documents: Likewise.
        value: Of the metric.
        loss: Against the old model alone, with a 95 % interval; None for that itself.
    """

    queries: str
    documents: str
    value: float
    loss: Loss | None


@dataclass(frozen=True)
class Kinship:
    """How the two vectors of a document lie to each other.

    Attributes:
        n: Documents that were looked at.
        same: Mean cosine of the new and the old vector of one text.
        other: The same of two texts.
        found: Documents whose new vector has its own old one nearest.
        turned: Share of those that do once the new space is turned to fit the old, among documents that the turn was
            not fitted to.
        is_equal: All documents have the same vectors.
        chance: Of so many found where the spaces are unrelated.
    """

    n: int
    same: float
    other: float
    found: int
    turned: float
    is_equal: bool
    chance: float

    @property
    def kind(self) -> str:
        """SAME, RELATED or UNRELATED."""
        if self.is_equal:
            return SAME
        return RELATED if self.chance < _BEYOND_CHANCE else UNRELATED


@dataclass(frozen=True)
class Compatibility:
    """What came of crossing two models.

    Attributes:
        metric: By which.
        cells: Old and new queries in old and new documents; the two of each model alone where sizes differ.
        kinship: Of the documents; None where sizes differ.
        threshold: A score from which documents are shown.
        becomes: From which new queries in old documents show as many; NaN where nothing can be said.
        sizes: Numbers of a vector, old and new.
        n_queries: Queries.
        n_pool: Documents that were searched.
    """

    metric: str
    cells: tuple[Cell, ...]
    kinship: Kinship | None
    threshold: float
    becomes: Estimate
    sizes: tuple[int, int]
    n_queries: int
    n_pool: int

    @property
    def upgrade(self) -> Cell:
        """New queries in the index as it is."""
        return next(cell for cell in self.cells if (cell.queries, cell.documents) == ("new", "old"))

    @property
    def reason(self) -> str:
        """SIZES, SAME, UNRELATED or RELATED."""
        return SIZES if self.kinship is None else self.kinship.kind

    @property
    def is_shifted(self) -> bool:
        """Whether the threshold moves by more than 0.01, beyond chance."""
        found = self.becomes
        return abs(found.value - self.threshold) > _LEAST_SHIFT and not found.low <= self.threshold <= found.high

    @property
    def outcome(self) -> str:
        """What can be said of the index.

        An index of equal vectors is the new model's own. Otherwise it serves where new queries in it are not worse than
        the old model by more than is allowed, and does not where they are, or where the spaces are unrelated: each is
        false in at most 2.5 % of the cases.
        """
        if self.reason in (SIZES, UNRELATED):
            return INCOMPATIBLE
        serves = SHIFTED if self.is_shifted else COMPATIBLE
        loss = self.upgrade.loss
        if self.reason == SAME or loss is None:
            return serves
        return {KEPT: serves, LOST: INCOMPATIBLE}.get(loss.outcome, CANNOT_TELL)


def compatibility(
    old: Shipped, new: Shipped, *, metric: str = "", allowed: float = ALLOWED, threshold: float = 0.6, seed: int = 0
) -> Compatibility:
    """Crosses two models.

    Args:
        old: Whose documents are indexed.
        new: Of the same subset and corpus, row for row.
        metric: By which; by default the one that decides.
        allowed: Loss of it that is accepted.
        threshold: Score from which documents are shown.
        seed: Of the resamples.

    Returns:
        What came of it.

    Raises:
        ValueError: If there is no such metric or the loss is below 0.
    """
    metric = metric or primary_metric(old.embeddings)
    if not allowed >= 0:
        raise ValueError(f"an allowed loss must be at least 0, got {allowed:g} for {metric}")
    pools = {"old": old.pool, "new": new.pool}
    values = {
        (asks, answers): _values(queries, pools[answers], old, metric)
        for asks, queries in (("old", old.embeddings.queries), ("new", new.embeddings.queries))
        for answers in pools
        if queries.shape[1] == pools[answers].shape[1]
    }
    groups = sampling_groups(old.embeddings.relevance, len(old.embeddings.queries))
    best = values["old", "old"]
    cells = tuple(
        Cell(*names, float(found.mean()), None if found is best else _loss(metric, allowed, best - found, groups))
        for names, found in values.items()
    )
    fits = old.dim == new.dim
    return Compatibility(
        metric=metric,
        cells=cells,
        kinship=kinship(pools["old"], pools["new"], seed=seed) if fits else None,
        threshold=threshold,
        becomes=shifted(old, new, pools["old"], threshold, groups, seed=seed) if fits else Estimate(math.nan),
        sizes=(old.dim, new.dim),
        n_queries=len(groups),
        n_pool=old.n_pool,
    )


def _values(queries: Vectors, documents: Vectors, model: Shipped, metric: str) -> Floats:
    counts = count(model.embeddings, cosines(queries, documents), len(documents))
    values = rank_values(counts, model.embeddings)
    if metric not in values:
        raise ValueError(f"a loss can be allowed of {', '.join(values)}, not of {metric!r}")
    return values[metric]


def _loss(metric: str, allowed: float, changes: Floats, groups: Rows) -> Loss:
    return bounded(metric, allowed, float(changes.mean()), mean_pseudo_values(changes, groups), _TAIL)


def kinship(old: Vectors, new: Vectors, *, seed: int = 0) -> Kinship:
    """How the vectors of the same documents in two spaces lie to each other.

    Args:
        old: ``(n, dim)`` unit rows or zero.
        new: ``(n, dim)``, of the same texts.
        seed: Of the sample of at most 2,000 that is looked at.

    Returns:
        The kinship.
    """
    # scipy, slow to import, which no other part of a sheet needs
    from scipy.linalg import orthogonal_procrustes
    from scipy.stats import binomtest

    is_equal = bool(np.abs(old - new).max(initial=0) <= _EQUAL_VECTORS)
    usable = np.flatnonzero(old.any(axis=1) & new.any(axis=1))
    drawn = np.random.default_rng(seed).permutation(usable)[:_MOST_COMPARED]
    one, two = (rows[drawn].astype(np.float64) for rows in (old, new))
    crossed = two @ one.T
    n, found, same = len(drawn), int(_finds_itself(crossed).sum()), float(np.diag(crossed).mean())
    half = n // 2
    turn = orthogonal_procrustes(two[:half], one[:half])[0] if half else np.eye(one.shape[1])
    turned = _finds_itself(two[half:] @ turn @ one[half:].T).mean() if n > 1 else math.nan
    other = (crossed.sum() - np.trace(crossed)) / max(n * (n - 1), 1)
    chance = binomtest(found, n, 1 / n, alternative="greater").pvalue if n else 1.0
    return Kinship(n, same, float(other), found, float(turned), is_equal, float(chance))


def _finds_itself(crossed: Floats) -> NDArray[np.bool_]:
    return np.asarray(np.diag(crossed) >= crossed.max(axis=1, initial=-np.inf) - EQUAL)


def shifted(
    old: Shipped, new: Shipped, documents: Vectors, threshold: float, groups: Rows, *, seed: int, draws: int = 500
) -> Estimate:
    """The score from which new queries show as many of the old documents as old ones do from a threshold.

    Args:
        old: Whose threshold it is.
        new: The other model.
        documents: ``(n_pool, dim)`` of the old one.
        threshold: From -1 to 1.
        groups: ``(n_queries,)`` queries with equal numbers are drawn together.
        seed: Of the resamples.
        draws: Resamples behind the interval.

    Returns:
        The score; NaN where all documents or none lie above the threshold.
    """
    both = np.concatenate([_histograms(one.embeddings.queries, documents) for one in (old, new)], axis=1)
    drawn = draw_clusters(groups, draws=draws, seed=seed)
    resampled = np.array([_moved(counts, threshold) for counts in drawn.sums(both)])
    return estimate(_moved(both.sum(axis=0), threshold), resampled)


def _histograms(queries: Vectors, documents: Vectors) -> Floats:
    """Scores of each query in bins over -1 to 1, ``(n_queries, n_bins)``."""
    found = np.zeros((len(queries), _BINS))
    scores = cosines(queries, documents)
    for block in blocks(len(queries), len(documents)):
        for row, line in zip(range(block.start, block.stop), scores(block), strict=True):
            places = np.clip((line[np.isfinite(line)] + 1) * (_BINS / 2), 0, _BINS - 1).astype(np.int64)
            found[row] = np.bincount(places, minlength=_BINS)
    return found


def _moved(counts: Floats, threshold: float) -> float:
    """Where as many of the scores of the second half lie below as of the first below the threshold."""
    edges = np.linspace(-1, 1, _BINS + 1)
    below, others = (np.append(0.0, np.cumsum(half)) for half in np.split(counts, 2))
    wanted = float(np.interp(threshold, edges, below))
    if not 0 < wanted < below[-1]:
        return math.nan
    first, last = np.searchsorted(others, wanted), np.searchsorted(others, wanted, side="right") - 1
    if first <= last:  # between two scores any threshold shows the same
        return float(np.clip(threshold, edges[first], edges[last]))
    share = (wanted - others[last]) / (others[first] - others[last])
    return float(edges[last] + share * (edges[first] - edges[last]))
