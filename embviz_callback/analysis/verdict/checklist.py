"""Quality bands and the checklist before a model goes out."""

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from embviz_callback.analysis.metrics.catalogue import BANDS, CATALOGUE, LOWER, Metric
from embviz_callback.analysis.metrics.numbers import Metrics
from embviz_callback.analysis.metrics.pictures import BRIGHT_SHARE, CLEAR_SHARE, FIGURES, MAPS
from embviz_callback.embeddings import Embeddings


@dataclass(frozen=True)
class Check:
    """One line of the checklist.

    Attributes:
        name: What is checked.
        value: What was found, NaN where nothing was.
        threshold: What must be exceeded (or, where lower is better, stayed below).
        passed: None for not judged, which does not count as passed.
        reason: The comparison in words.
    """

    name: str
    value: float
    threshold: float
    passed: bool | None
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
    metrics: Metrics, maps: Mapping[str, object], figures_made: Collection[str], heatmap_rows: float | None
) -> tuple[Check, ...]:
    """What a model must show before it goes out.

    Args:
        metrics: The figures.
        maps: Under the key of each method a map with its `clear_share`, or a value with the
            `reason` why there is none.
        figures_made: Names of the figures that were drawn.
        heatmap_rows: Share of the heatmap's rows whose brightest cell is relevant, as
            `bright_diagonal` gives it; None where no heatmap was made.

    Returns:
        The figures, a check for each metric with a threshold, the maps, the diagonal.
    """
    numbers = [_number(row, metrics.get(row.name, math.nan)) for row in CATALOGUE.values() if row.is_checked]
    clusters = [_clear_clusters(method, maps.get(method)) for method in MAPS]
    diagonal = _above("bright_diagonal", math.nan if heatmap_rows is None else heatmap_rows, BRIGHT_SHARE)
    # A panel that says why there is no map is a picture, but not the figure.
    panels = {row.figure for method, row in MAPS.items() if hasattr(maps.get(method), "reason")}
    return _figures([name for name in figures_made if name not in panels]), *numbers, *clusters, diagonal


def is_ready(checks: Collection[Check]) -> bool:
    """Whether every check is passed; one that could not be judged is not."""
    return all(check.passed is True for check in checks)


def bright_diagonal(embeddings: Embeddings, rows: ArrayLike, columns: ArrayLike | None = None) -> float:
    """Share of heatmap rows whose brightest cell is a relevant one.

    Equally bright cells count by their expectation under random choice; a query without a
    direction has no bright cell.

    Args:
        embeddings: The subset.
        rows: ``(n_rows,)`` query rows of the heatmap.
        columns: ``(n_columns,)`` its document rows; by default each row's first relevant
            document, every document once.

    Returns:
        The share; NaN without rows.
    """
    queries = np.asarray(rows, dtype=np.int64)
    if columns is None:
        first = np.searchsorted(embeddings.relevance[:, 0], queries)
        columns = np.unique(embeddings.relevance[first, 1])
    documents = np.unique(np.asarray(columns, dtype=np.int64))
    if not len(queries) or not len(documents):
        return math.nan
    place = np.full(len(embeddings.documents), -1, dtype=np.int64)
    place[documents] = np.arange(len(documents))
    # Bit-equal documents are scored once, or the product's last bits would choose among them.
    vectors, twin = np.unique(embeddings.documents[documents], axis=0, return_inverse=True)
    scores = (embeddings.queries[queries].astype(np.float64) @ vectors.T.astype(np.float64))[:, twin.ravel()]
    scores[:, ~embeddings.usable_documents[documents]] = -np.inf
    relevant = np.zeros((len(embeddings.queries), len(documents)), dtype=bool)
    inside = embeddings.relevance[place[embeddings.relevance[:, 1]] >= 0]
    relevant[inside[:, 0], place[inside[:, 1]]] = True
    brightest = scores == scores.max(axis=1, keepdims=True)
    share = (brightest & relevant[queries]).sum(axis=1) / brightest.sum(axis=1)
    return float(np.where(embeddings.usable_queries[queries], share, 0.0).mean())


def _figures(made: Collection[str]) -> Check:
    missing = [name for name in FIGURES if name not in made]
    found = len(FIGURES) - len(missing)
    number = {5: "five"}.get(len(FIGURES), f"{len(FIGURES)}")
    reason = f"missing: {', '.join(missing)}" if missing else f"all {number} figures made"
    return Check("figures", float(found), float(len(FIGURES)), not missing, reason)


def _number(row: Metric, value: float) -> Check:
    return (_below if row.better == LOWER else _above)(row.name, value, row.threshold)


def _above(name: str, value: float, least: float) -> Check:
    if math.isnan(value):
        return Check(name, value, least, None, "not judged")
    return Check(name, value, least, value > least, f"{value:.4f} {'>' if value > least else 'is not above'} {least:g}")


def _below(name: str, value: float, most: float) -> Check:
    if math.isnan(value):
        return Check(name, value, most, None, "not judged")
    return Check(name, value, most, value < most, f"{value:.4f} {'<' if value < most else 'is not below'} {most:g}")


def _clear_clusters(method: str, found: object) -> Check:
    name, share = f"clear_clusters_{method}", getattr(found, "clear_share", None)
    if share is None:
        reason = getattr(found, "reason", "no such map was made")
        return Check(name, math.nan, CLEAR_SHARE, None, f"{MAPS[method].title} not judged: {reason}")
    return _above(name, float(share), CLEAR_SHARE)
