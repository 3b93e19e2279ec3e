"""Whether a new model may search the index of an old one: two models crossed, and how their spaces are related."""

import math
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from embviz_callback.analysis.metrics.intervals import Sampling
from embviz_callback.analysis.metrics.ranks import rank_values
from embviz_callback.analysis.metrics.resampling import Estimate, draw_clusters, estimate
from embviz_callback.analysis.scan import EQUAL
from embviz_callback.analysis.ship.ranking import blocks, count, scores_of
from embviz_callback.analysis.ship.sheet import ALLOWED, Shipped
from embviz_callback.analysis.verdict.best import chosen_metric
from embviz_callback.analysis.verdict.losses import KEPT, LOST, Loss, check_allowed, lost
from embviz_callback.embeddings import Floats, Rows, Vectors, unit_rows
from embviz_callback.measure import COSINE, Measure

COMPATIBLE, SHIFTED = "compatible", "compatible after a threshold shift"
INCOMPATIBLE, CANNOT_TELL = "incompatible", "cannot tell"
SIZES, SAME, UNRELATED, RELATED = "other sizes", "same documents", "unrelated spaces", "related spaces"
UNTOLD = "too few documents to tell whether the spaces are related"
_TAIL = 0.025  # beyond each end of the intervals
_EQUAL_VECTORS = 1e-4  # what batches and devices leave of equal vectors
_LEAST_SHIFT = 0.01  # of a threshold; less shows and hides next to nothing
_THRESHOLD = 0.6  # of a cosine
_BEYOND_CHANCE = 0.01
_MOST_FOUND = 0.1  # of the documents, that would find themselves between unrelated spaces
_MOST_COMPARED = 2000  # documents that are looked for among each other
_BINS = 4000
_DRAWS = 500  # resamples behind the interval of a threshold


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
        most_found: Upper end of the 95 % interval of their share.
        turned: Share of those that do once the new space is turned to fit the old, among documents that the turn was
            not fitted to.
        is_equal: All documents have the same vectors.
        chance: Of so many found where the spaces are unrelated.
    """

    n: int
    same: float
    other: float
    found: int
    most_found: float
    turned: float
    is_equal: bool
    chance: float

    @property
    def kind(self) -> str:
        """SAME, RELATED, UNRELATED, or UNTOLD where so few documents show neither."""
        if self.is_equal:
            return SAME
        if self.chance < _BEYOND_CHANCE:
            return RELATED
        return UNRELATED if self.most_found < _MOST_FOUND else UNTOLD


@dataclass(frozen=True)
class Compatibility:
    """What came of crossing two models.

    Attributes:
        metric: By which.
        cells: Old and new queries in old and new documents; the two of each model alone where sizes differ.
        kinship: Of the documents; None where sizes differ.
        threshold: A score from which documents are shown; NaN where none was given.
        becomes: From which new queries in old documents show as many; NaN where nothing can be said.
        least_shift: Of the threshold that counts.
        similarity: By which the old model compares, and so its index.
        sizes: Numbers of a vector, old and new.
        n_queries: Queries.
        n_pool: Documents that were searched.
    """

    metric: str
    cells: tuple[Cell, ...]
    kinship: Kinship | None
    threshold: float
    becomes: Estimate
    least_shift: float
    similarity: str
    sizes: tuple[int, int]
    n_queries: int
    n_pool: int

    @property
    def upgrade(self) -> Cell:
        """New queries in the index as it is."""
        return next(cell for cell in self.cells if (cell.queries, cell.documents) == ("new", "old"))

    @property
    def reason(self) -> str:
        """SIZES, SAME, UNRELATED, RELATED or UNTOLD."""
        return SIZES if self.kinship is None else self.kinship.kind

    @property
    def is_shifted(self) -> bool:
        """Whether the threshold moves by more than what counts, beyond chance."""
        found = self.becomes
        return abs(found.value - self.threshold) > self.least_shift and not found.low <= self.threshold <= found.high

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
    old: Shipped,
    new: Shipped,
    *,
    metric: str = "",
    allowed: float = ALLOWED,
    threshold: float | None = None,
    seed: int = 0,
) -> Compatibility:
    """Crosses two models, each index compared as its own model declares.

    Args:
        old: Whose documents are indexed.
        new: Of the same subset and corpus, row for row.
        metric: By which; by default the one that decides.
        allowed: Loss of it that is accepted.
        threshold: Score from which documents are shown; None for 0.6 of a cosine, and for none of another similarity.
        seed: Of the resamples.

    Returns:
        What came of it; a ValueError says if there is no such metric, the loss is below 0, or no cosine can reach the
        threshold.
    """
    metric = chosen_metric(old.embeddings, metric)
    threshold = _checked(threshold, old.embeddings.similarity)
    models, values = {"old": old, "new": new}, {}
    for asks, answers in product(models, models):
        if models[asks].dim == models[answers].dim:
            own = models[answers]
            counts = count(own.embeddings, scores_of(*own.asked_by(models[asks])), own.n_pool)
            found = rank_values(counts, own.embeddings)
            check_allowed({metric: allowed}, found)
            values[asks, answers] = found[metric]
    sampling = Sampling.of(old.embeddings.relevance, len(old.embeddings.queries))
    best = values["old", "old"]

    def _loss(found: Floats) -> Loss | None:
        return None if found is best else lost(metric, allowed, best - found, sampling, _TAIL)

    cells = tuple(Cell(*names, float(found.mean()), _loss(found)) for names, found in values.items())
    kin, becomes, unit = None, Estimate(math.nan), 1.0
    if old.dim == new.dim:
        becomes, unit = shifted(old, new, threshold, sampling.groups, seed=seed)
        is_one_way = old.embeddings.similarity == new.embeddings.similarity
        kin = kinship(old.pool, new.pool, is_one_way=is_one_way, seed=seed)
    return Compatibility(
        metric=metric,
        cells=cells,
        kinship=kin,
        threshold=threshold,
        becomes=becomes,
        least_shift=_LEAST_SHIFT * unit,
        similarity=old.embeddings.similarity,
        sizes=(old.dim, new.dim),
        n_queries=sampling.n_queries,
        n_pool=old.n_pool,
    )


def _checked(threshold: float | None, similarity: str) -> float:
    if threshold is None:
        return _THRESHOLD if similarity == COSINE else math.nan
    if similarity == COSINE and not -1 < threshold < 1:
        raise ValueError(f"a threshold of cosines must lie between -1 and 1, got {threshold:g}")
    return threshold


def kinship(old: Vectors, new: Vectors, *, is_one_way: bool = True, seed: int = 0) -> Kinship:
    """How the vectors of the same documents in two spaces lie to each other, by their directions.

    Args:
        old: ``(n, dim)`` rows of any length.
        new: ``(n, dim)``, of the same texts.
        is_one_way: Whether both are compared in one way; else equal vectors are not the same.
        seed: Of the sample of at most 2,000 that is looked at.

    Returns:
        The kinship.
    """
    # scipy, slow to import, which no other part of a sheet needs
    from scipy.linalg import orthogonal_procrustes
    from scipy.stats import binomtest

    longest = float(np.sqrt(np.einsum("ij,ij->i", old, old).max(initial=0)))
    is_equal = is_one_way and bool(np.abs(old - new).max(initial=0) <= _EQUAL_VECTORS * longest)
    old, new = (unit_rows("documents", rows)[0] for rows in (old, new))
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
    most = binomtest(found, n).proportion_ci().high if n else 1.0
    return Kinship(n, same, float(other), found, float(most), float(turned), is_equal, float(chance))


def _finds_itself(crossed: Floats) -> NDArray[np.bool_]:
    return np.asarray(np.diag(crossed) >= crossed.max(axis=1, initial=-np.inf) - EQUAL)


def shifted(old: Shipped, new: Shipped, threshold: float, groups: Rows, *, seed: int) -> tuple[Estimate, float]:
    """From which score new queries show as many of the old documents as old queries do from a threshold.

    Args:
        old: Whose documents are searched, by its similarity.
        new: The other model.
        threshold: A score; NaN for none.
        groups: ``(n_queries,)`` queries with equal numbers are drawn together.
        seed: Of the resamples.

    Returns:
        The score, NaN where all documents or none lie above the threshold; and the unit beyond which no score lies,
        1 for cosines.
    """
    asked = [old.asked_by(one) for one in (old, new)]
    unit = max(measure.span for *_, measure in asked)
    both = np.concatenate([_histograms(*one, unit) for one in asked], axis=1)
    drawn = draw_clusters(groups, draws=_DRAWS, seed=seed)
    resampled = np.array([_moved(counts, threshold / unit) for counts in drawn.sums(both)])
    return estimate(_moved(both.sum(axis=0), threshold / unit), resampled).times(unit), unit


def _histograms(queries: Vectors, documents: Vectors, measure: Measure, unit: float) -> Floats:
    """Scores of each query in bins over -1 to 1 of the unit, ``(n_queries, n_bins)``."""
    found = np.zeros((len(queries), _BINS))
    scores = scores_of(queries, documents, measure)
    for block in blocks(len(queries), len(documents)):
        for row, line in zip(range(block.start, block.stop), scores(block), strict=True):
            values = measure.value(line[np.isfinite(line)]) / unit
            places = np.clip((values + 1) * (_BINS / 2), 0, _BINS - 1).astype(np.int64)
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
