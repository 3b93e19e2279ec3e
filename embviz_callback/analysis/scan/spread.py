"""How positives and negatives spread: the probability that one outscores the other, and the histograms."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embviz_callback.analysis.scan.pool import EQUAL
from embviz_callback.analysis.scan.tiles import Task, Tile
from embviz_callback.embeddings import Floats, Rows, Vectors

COARSE_BINS = 256
FINE_BINS = 2**16
OVERLAP_BINS = 32
_LEAP = 7919  # queries between the samples of two documents: a prime, which no stride divides


def distribution(task: Task, own: Vectors, sampled: Rows, beaten: int, n_negatives: int) -> dict[str, Any]:
    """Histograms and AUC of one pass.

    Args:
        task: What was asked.
        own: As of the tally.
        sampled: ``(FINE_BINS,)`` all negatives by score, or a share of them.
        beaten: As of the tally.
        n_negatives: All there are.

    Returns:
        Fields of a similarity; exact if the pass has kept all negatives.
    """
    if task.keep:
        fine, error = sampled.astype(np.float64), 0.0
        n_pairs = len(own) * n_negatives
        area = beaten / (2 * n_pairs) if n_pairs else math.nan
    else:
        fine = sampled * (n_negatives / max(sampled.sum(), 1))
        # The positives as the negatives were made, by the tiles: a more exact path would favour one side.
        area, error = binned_auc(own, fine, n_sampled=int(sampled.sum()) if task.stride > 1 else None)
    by_bin = counted_by_bin(fine_bins(task.levels if task.keep else own)).astype(np.float64)
    return {
        "negative_counts": _coarse(fine),
        "positive_counts": _coarse(by_bin),
        "auc": area,
        "auc_error": error,
        "overlap": overlap(by_bin, fine),
        "edges": np.linspace(-1, 1, COARSE_BINS + 1),
    }


def overlap(positives: NDArray[np.float64], negatives: NDArray[np.float64]) -> float:
    """Share that two distributions have in common, in 32 bins over the range of both.

    The bins go with the data, so that scores squeezed into a corner overlap as much as before.

    Args:
        positives: ``(FINE_BINS,)``.
        negatives: ``(FINE_BINS,)``.

    Returns:
        From 0 to 1; NaN where one is empty.
    """
    if not positives.any() or not negatives.any():
        return math.nan
    used = np.flatnonzero(positives + negatives)
    place = (used - used[0]) * OVERLAP_BINS // (used[-1] - used[0] + 1)
    shares = [
        np.bincount(place, weights=one[used], minlength=OVERLAP_BINS) / one.sum() for one in (positives, negatives)
    ]
    return float(np.minimum(*shares).sum())


def _coarse(fine: NDArray[np.floating] | NDArray[np.integer]) -> NDArray[np.int64]:
    return np.asarray(np.rint(fine.reshape(COARSE_BINS, -1).sum(axis=1)), dtype=np.int64)


def wins(positives: NDArray[np.floating], negatives: NDArray[np.floating]) -> int:
    """How many pairs of a positive and a negative the positive wins, and once more how many it does not lose.

    Numbers that differ by less than the order of a sum makes are tied.

    Args:
        positives: Scores in float64.
        negatives: Scores in float64.

    Returns:
        Twice the pairs won, ties half: by twice the number of pairs it is AUC. Those of parts of the negatives add up.

    Example:
        >>> wins(np.array([0.5, 0.9]), np.array([0.1, 0.5])) / (2 * 4)
        0.875
    """
    negatives = np.sort(negatives)
    surely = np.searchsorted(negatives, positives - EQUAL)
    return int(surely.sum() + np.searchsorted(negatives, positives + EQUAL, side="right").sum())


def binned_auc(
    positives: NDArray[np.floating], fine: NDArray[np.float64], *, n_sampled: int | None = None
) -> tuple[float, float]:
    """AUC from a histogram of the negatives, and how far it may be off.

    Args:
        positives: Scores.
        fine: ``(FINE_BINS,)`` negatives.
        n_sampled: How many negatives were looked at, where it was not all.

    Returns:
        AUC, where both in one bin count half; and half the share of pairs in one bin, the most
        that binning can do, plus three standard errors of a random sample.
    """
    if not len(positives) or not fine.sum():
        return math.nan, 0.0
    mine = np.bincount(fine_bins(positives), minlength=FINE_BINS) / len(positives)
    theirs = fine / fine.sum()
    shared = float(mine @ theirs) / 2
    beaten = 1 - np.cumsum(mine) + mine / 2  # share of the positives above a negative in each bin
    area = float(theirs @ beaten)
    variance = float(theirs @ (beaten - area) ** 2)
    return area, shared + (3 * math.sqrt(variance / n_sampled) if n_sampled else 0.0)


def sample(task: Task, tile: Tile) -> NDArray[np.uint16]:
    """Some of a tile's scores, by bin, without the relevant ones: of every document those with every stride-th query.

    Which queries these are is another share for every document: rows that all queries shared would be hubs for all of
    them or for none. How the pool is cut into tiles has no part in it.

    Args:
        task: What is asked.
        tile: The scores.

    Returns:
        ``(n,)``; a column that several documents share is there for each.
    """
    n_rows = tile.scores.shape[1]
    first = (task.pool.members[tile.members] * _LEAP - tile.band.rows.start) % task.stride
    rows = first[:, None] + np.arange(0, n_rows, task.stride)
    wanted = rows < n_rows
    member, row = tile.hidden
    nth, beside = np.divmod(row - first[member], task.stride)
    wanted[member[beside == 0], nth[beside == 0]] = False
    rows += (task.pool.lines[tile.members] - tile.columns.start)[:, None] * n_rows
    return fine_bins(tile.scores.ravel()[rows[wanted]])


def all_negatives(task: Task, tile: Tile) -> Floats:
    """In float64: so few are cheap, and none is tied with a positive that only looks so."""
    table = task.measure.table(task.pool.vectors[tile.columns], task.queries[tile.band.rows])
    scores = np.repeat(table, task.pool.weights[tile.columns], axis=0)
    scores[tile.hidden] = -np.inf
    return np.asarray(scores[scores > -np.inf])


def counted_by_bin(bins: NDArray[np.uint16]) -> NDArray[np.int64]:
    """``(FINE_BINS,)``."""
    return np.asarray(np.bincount(bins, minlength=FINE_BINS), dtype=np.int64)


def fine_bins(scores: NDArray[np.floating]) -> NDArray[np.uint16]:
    """The fine bin of each score; minus infinity falls into bin 0."""
    scaled = scores + 1  # of a float32 array: float32
    scaled *= FINE_BINS / 2
    np.clip(scaled, 0, FINE_BINS - 1, out=scaled)
    return scaled.astype(np.uint16)
