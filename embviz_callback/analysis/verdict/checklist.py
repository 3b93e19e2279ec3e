"""Quality bands and the checklist before a model goes out."""

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike

from embviz_callback.analysis.metrics.catalogue import BANDS, CATALOGUE, INTACT_AUC, INTACT_RANK1, LOWER, Metric
from embviz_callback.analysis.metrics.intervals import PerQuery, t_interval, t_intervals
from embviz_callback.analysis.metrics.numbers import Metrics
from embviz_callback.analysis.metrics.pictures import BRIGHT_SHARE, CLEAR_SHARE, FIGURES, MAPS
from embviz_callback.embeddings import Embeddings, Floats, Rows

PASSED, FAILED, CANNOT_TELL = "passed", "failed", "cannot tell"
SCALE, DESCRIBED, NOT_JUDGED = "scale", "described", "not judged"
READY, READY_ON_VALUES, NOT_READY = "ready", "ready on the point values, not beyond noise", "not ready"
_FALSE = 0.05  # of whole checklists, those with a false sentence at most
_OF_SCALE = ("positive_mean", "negative_mean", "margin")
_BLOCK = 50  # columns of a heatmap
_TOO_MANY = 1_000_000
_UNTOLD = (math.nan, math.nan)


@dataclass(frozen=True)
class Check:
    """One line of the checklist.

    Attributes:
        name: What is checked.
        value: What was found, NaN where nothing was.
        threshold: What must be exceeded (or, where lower is better, stayed below).
        outcome: PASSED or FAILED beyond doubt, CANNOT_TELL from so few queries, SCALE where the scores are squeezed
            and the separation decides instead, DESCRIBED for what decides nothing, NOT_JUDGED.
        meets: Whether the value itself meets the threshold; None where it does not count.
        reason: The comparison in words.
    """

    name: str
    value: float
    threshold: float
    outcome: str
    meets: bool | None
    reason: str


def band(name: str, value: float) -> str:
    """The quality band of a margin or a separation.

    A band holds its lower edge; only `excellent` must be exceeded: a margin of exactly 0.40 is
    good, of exactly 0.10 poor.

    Args:
        name: ``margin`` or ``separation``.
        value: The figure.

    Returns:
        excellent, good, fair, poor or bad; "not judged" for NaN.

    Raises:
        ValueError: If there are no bands for `name`.

    Example:
        >>> band("margin", 0.3713)
        'good'
    """
    edges = CATALOGUE[name].bands if name in CATALOGUE else None
    if edges is None:
        banded = [row.name for row in CATALOGUE.values() if row.bands]
        raise ValueError(f"there are bands for {' and '.join(banded)}, not for {name!r}")
    if math.isnan(value):
        return "not judged"
    best, *others = edges
    if value > best:
        return BANDS[0]
    return next((word for word, edge in zip(BANDS[1:], others, strict=False) if value >= edge), BANDS[-1])


def checklist(
    metrics: Metrics, maps: Mapping[str, object], figures_made: Collection[str], bright: Floats | None
) -> tuple[Check, ...]:
    """What a model must show before it goes out.

    A line is passed or failed beyond doubt where its interval lies wholly on one side of the threshold. The intervals
    are so wide that of whole checklists at most 5 % hold a false sentence (benchmarks/conclusions.py).

    Args:
        metrics: The figures, with what each query contributes.
        maps: Under the key of each method a map with its `clear_share`, or a value with the
            `reason` why there is none.
        figures_made: Names of the figures that were drawn.
        bright: ``(n_queries,)``, what `bright_cells` gives; None where nothing was compared.

    Returns:
        The figures, a check for each metric with a threshold, the maps, the diagonal.
    """
    metrics = metrics.own or metrics
    decided = [row for row in CATALOGUE.values() if row.is_checked]
    tail = _FALSE / (len(decided) + 1)
    statistics = metrics.per_query
    ends = {} if statistics is None else t_intervals(statistics, tail=tail)
    has_rank = ranks_well(metrics)
    numbers = [_number(row, metrics, ends.get(row.name, _UNTOLD), has_rank=has_rank) for row in decided]
    clusters = [_clear_clusters(method, maps.get(method)) for method in MAPS]
    # A panel that says why there is no map is a picture, but not the figure.
    panels = {row.figure for method, row in MAPS.items() if hasattr(maps.get(method), "reason")}
    figures = _figures([name for name in figures_made if name not in panels])
    return figures, *numbers, *clusters, _diagonal(None if math.isnan(metrics.rank1) else bright, statistics, tail)


def ranks_well(metrics: Metrics) -> bool:
    """Whether ranking is intact, whatever the scale of the scores: by AUC, rank-1 and separation.

    Without any spread there is no separation or it is infinite, and AUC and rank-1 decide alone.

    Returns:
        Whether it is; not where AUC or rank-1 are unknown.
    """
    separation = metrics.get("separation", math.nan)
    is_wide = separation > Metrics.separation.threshold or math.isnan(separation)
    return is_wide and metrics.get("auc", 0.0) >= INTACT_AUC and metrics.get("rank1", 0.0) >= INTACT_RANK1


def conclusion(checks: Collection[Check]) -> str:
    """What the checks say together.

    Returns:
        READY where every check that decides is passed beyond doubt, READY_ON_VALUES where no value misses its threshold
        but some could by chance, else NOT_READY.
    """
    deciding = [check for check in checks if check.outcome not in (DESCRIBED, SCALE)]
    if all(check.outcome == PASSED for check in deciding):
        return READY
    return READY_ON_VALUES if all(check.meets and check.outcome != FAILED for check in deciding) else NOT_READY


def bright_cells(embeddings: Embeddings, *, seed: int = 0) -> Floats:
    """Whether each query's brightest cell in a random block of 50 columns is a relevant one.

    The columns are the documents, dealt at random into blocks of about 50; a query is looked at in the block of its
    first relevant document. Equally bright cells count by their expectation under random choice; a query without a
    direction has no bright cell.

    Args:
        embeddings: The subset.
        seed: Of the deal.

    Returns:
        ``(n_queries,)`` from 0 to 1.
    """
    n_documents = len(embeddings.documents)
    dealt = np.random.default_rng(seed).permutation(n_documents)
    blocks = np.array_split(dealt, max(round(n_documents / _BLOCK), 1))
    first = np.searchsorted(embeddings.relevance[:, 0], np.arange(len(embeddings.queries)))
    own = embeddings.relevance[first, 1]
    found = np.zeros(len(embeddings.queries))
    for block in blocks:
        queries = np.flatnonzero(np.isin(own, block))
        found[queries] = _brightest(embeddings, queries, np.sort(block)) if len(queries) else 0.0
    return found


def bright_diagonal(embeddings: Embeddings, rows: ArrayLike, columns: ArrayLike) -> float:
    """Share of heatmap rows whose brightest cell is a relevant one.

    Equally bright cells count by their expectation under random choice; a query without a
    direction has no bright cell.

    Args:
        embeddings: The subset.
        rows: ``(n_rows,)`` query rows of the heatmap.
        columns: ``(n_columns,)`` its document rows.

    Returns:
        The share; NaN without rows.
    """
    queries = np.asarray(rows, dtype=np.int64)
    documents = np.unique(np.asarray(columns, dtype=np.int64))
    if not len(queries) or not len(documents):
        return math.nan
    return float(_brightest(embeddings, queries, documents).mean())


def _brightest(embeddings: Embeddings, queries: Rows, documents: Rows) -> Floats:
    """Per query the share of its brightest cells that are relevant."""
    # Bit-equal documents are scored once, or the product's last bits would choose among them.
    vectors, twin = np.unique(embeddings.documents[documents], axis=0, return_inverse=True)
    scores = (embeddings.queries[queries].astype(np.float64) @ vectors.T.astype(np.float64))[:, twin.ravel()]
    scores[:, ~embeddings.usable_documents[documents]] = -np.inf
    place = np.full(len(embeddings.documents), -1, dtype=np.int64)
    place[documents] = np.arange(len(documents))
    relevant = np.zeros((len(embeddings.queries), len(documents)), dtype=bool)
    inside = embeddings.relevance[place[embeddings.relevance[:, 1]] >= 0]
    relevant[inside[:, 0], place[inside[:, 1]]] = True
    brightest = scores == scores.max(axis=1, keepdims=True)
    share = (brightest & relevant[queries]).sum(axis=1) / brightest.sum(axis=1)
    return np.where(embeddings.usable_queries[queries], share, 0.0)


def _figures(made: Collection[str]) -> Check:
    missing = [name for name in FIGURES if name not in made]
    found = len(FIGURES) - len(missing)
    number = {5: "five"}.get(len(FIGURES), f"{len(FIGURES)}")
    reason = f"missing: {', '.join(missing)}" if missing else f"all {number} figures made"
    return Check("figures", float(found), float(len(FIGURES)), DESCRIBED, not missing, reason)


def _number(row: Metric, metrics: Metrics, ends: tuple[float, float], *, has_rank: bool) -> Check:
    value = metrics.get(row.name, math.nan)
    check = _judged(row.name, value, row.threshold, ends, metrics.n_queries, is_lower=row.better == LOWER)
    if check.meets is False and has_rank and row.name in _OF_SCALE:
        reason = f"{value:.4f} for {row.threshold:g}: the scale of the scores, which costs no rank; separation decides"
        return replace(check, outcome=SCALE, reason=reason)
    return check


def _judged(
    name: str,
    value: float,
    threshold: float,
    ends: tuple[float, float],
    n_queries: int,
    *,
    is_lower: bool = False,
) -> Check:
    """A value with its interval against a threshold."""
    if math.isnan(value):
        return Check(name, value, threshold, NOT_JUDGED, None, "not judged")
    meets = value < threshold if is_lower else value > threshold
    word = ("<" if meets else "is not below") if is_lower else (">" if meets else "is not above")
    reason = f"{value:.4f} {word} {threshold:g}"
    low, high = ends
    if low > threshold or high < threshold:
        return Check(name, value, threshold, PASSED if meets else FAILED, meets, reason)
    if math.isnan(low):
        return Check(name, value, threshold, CANNOT_TELL, meets, f"{reason}, without an interval")
    reach = high - value if value < threshold else value - low
    return Check(name, value, threshold, CANNOT_TELL, meets, f"{reason}; {_needs(reach, value - threshold, n_queries)}")


def _needs(reach: float, distance: float, n_queries: int) -> str:
    """How many queries would tell: an interval shrinks with the root of their number."""
    wanted = math.ceil(n_queries * (reach / distance) ** 2) if distance else math.inf
    if wanted > _TOO_MANY:
        return "too close to it for any number of queries to tell"
    step = 10 ** max(len(str(wanted)) - 2, 0)
    return f"beyond doubt it takes about {math.ceil(wanted / step) * step:,} queries"


def _diagonal(bright: Floats | None, statistics: PerQuery | None, tail: float) -> Check:
    if bright is None or not len(bright):
        return _judged("bright_diagonal", math.nan, BRIGHT_SHARE, _UNTOLD, 0)
    ends = _UNTOLD
    if statistics is not None:
        pseudo, spread = statistics.sampling.mean_spread(bright)
        ends = t_interval(float(bright.mean()), pseudo, is_share=True, tail=tail, spread=spread)
    return _judged("bright_diagonal", float(bright.mean()), BRIGHT_SHARE, ends, len(bright))


def _clear_clusters(method: str, found: object) -> Check:
    name, share = f"clear_clusters_{method}", getattr(found, "clear_share", None)
    if share is None:
        reason = getattr(found, "reason", "no such map was made")
        return Check(name, math.nan, CLEAR_SHARE, DESCRIBED, None, f"{MAPS[method].title} not judged: {reason}")
    blind = getattr(found, "blind_share", 0.0)
    least = max(CLEAR_SHARE, blind)
    word = ">" if share > least else "is not above"
    reason = f"{share:.4f} {word} {least:.4g}" + (
        ", what chance can give among so few points" if blind > CLEAR_SHARE else ""
    )
    return Check(name, float(share), least, DESCRIBED, share > least, reason)
