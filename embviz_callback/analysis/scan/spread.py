"""How positives and negatives spread: the probability that one outscores the other, and the histograms."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from embviz_callback.analysis.scan.counting import Twins
from embviz_callback.analysis.scan.pool import EQUAL
from embviz_callback.analysis.scan.tiles import Tally, Task, Tile
from embviz_callback.embeddings import Rows

COARSE_BINS = 256
FINE_BINS = 2**16
OVERLAP_BINS = 32
_LEAP = 7919  # columns between the samples of two queries: a prime, which no stride divides


@dataclass(frozen=True, eq=False)
class Distribution:
    """How positives and negatives spread over [-1, 1].

    Attributes:
        negative_counts: ``(COARSE_BINS,)``.
        positive_counts: ``(COARSE_BINS,)``.
        auc: Ties half; NaN without positives or negatives.
        auc_error: 0 where every negative was compared, else how far `auc` may be off.
        overlap: Share that the two have in common, see `overlap`.
    """

    negative_counts: NDArray[np.int64]
    positive_counts: NDArray[np.int64]
    auc: float
    auc_error: float
    overlap: float


def distribution(task: Task, tally: Tally, twins: Twins, n_negatives: int) -> Distribution:
    """Histograms and AUC of one pass.

    Args:
        task: What was asked.
        tally: All negatives, or a histogram of a share of them.
        twins: Negatives that the pass has left out.
        n_negatives: All there are.

    Returns:
        The distribution; exact if the pass has kept all negatives.
    """
    # As the negatives were made, by the tiles or in float64: a more exact path would favour one side.
    positives: NDArray[np.floating] = np.sort(tally.own[~np.isnan(tally.own)])
    if task.keep:
        positives = np.sort(task.levels[np.isfinite(task.levels)])
        kept = np.concatenate([*tally.kept, np.repeat(twins.level, twins.count)])
        fine = np.bincount(fine_bins(kept), minlength=FINE_BINS).astype(np.float64)
        area, error = exact_auc(positives, kept), 0.0
    else:
        fine = tally.fine * ((n_negatives - twins.count.sum()) / max(tally.fine.sum(), 1))
        np.add.at(fine, fine_bins(twins.score), twins.count)
        area, error = binned_auc(positives, fine, n_sampled=int(tally.fine.sum()) if task.stride > 1 else None)
    own = np.bincount(fine_bins(positives), minlength=FINE_BINS).astype(np.float64)
    return Distribution(_coarse(fine), _coarse(own), area, error, overlap(own, fine))


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


def exact_auc(positives: NDArray[np.floating], negatives: NDArray[np.floating]) -> float:
    """AUC by ranks, ties half; numbers that differ by less than the order of a sum makes are tied.

    Args:
        positives: Scores in float64.
        negatives: Scores in float64.

    Returns:
        A share; NaN if either is empty.

    Example:
        >>> exact_auc(np.array([0.5, 0.9]), np.array([0.1, 0.5]))
        0.875
    """
    if not len(positives) or not len(negatives):
        return math.nan
    negatives = np.sort(negatives)
    surely = np.searchsorted(negatives, positives - EQUAL)
    below = surely + np.searchsorted(negatives, positives + EQUAL, side="right")
    return float(below.mean() / 2 / len(negatives))


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


@dataclass(frozen=True, eq=False)
class Sample:
    """Some of a tile's scores, by bin.

    Attributes:
        bins: ``(n,)``, relevant entries in bin 0.
        copies: ``(n,)`` how many documents each stands for; None where that is one.
        n_hidden: Documents of the relevant entries among them.
    """

    bins: NDArray[np.uint16]
    copies: Rows | None
    n_hidden: int


def sample(task: Task, tile: Tile) -> Sample:
    """Another share of the columns for every query of every tile, so that all pairs have the same chance.

    Columns that all queries of a band shared would be hubs for all of them or for none.

    Returns:
        The sample.
    """
    n_columns, n_rows = tile.scores.shape
    turn = tile.band.rows.start // task.tile[0] * 7 + tile.columns.start // task.tile[1]
    offset = (turn + np.arange(n_rows) * _LEAP) % task.stride
    column = np.arange(0, n_columns, task.stride)[:, None] + offset
    chosen, row = np.nonzero(column < n_columns)
    column = column[chosen, row]
    bins, weights = fine_bins(tile.scores[column, row]), task.pool.weights[tile.columns]
    hidden, of = np.divmod(np.unique(tile.hidden[0] * n_rows + tile.hidden[1]), n_rows)
    hidden = hidden[(hidden - offset[of]) % task.stride == 0]
    return Sample(bins, None if task.pool.is_plain else weights[column], int(weights[hidden].sum()))


def total(samples: list[Sample]) -> NDArray[np.int64]:
    """Of a whole band: 65,536 counters for every tile would cost more than what they count.

    Args:
        samples: Of its tiles.

    Returns:
        ``(FINE_BINS,)``, without the relevant entries.
    """
    if not samples:
        return np.zeros(FINE_BINS, dtype=np.int64)
    bins = np.concatenate([part.bins for part in samples])
    parts = [part.copies for part in samples if part.copies is not None]
    counts = np.bincount(bins, weights=np.concatenate(parts) if parts else None, minlength=FINE_BINS)
    fine: NDArray[np.int64] = counts.astype(np.int64)
    fine[0] -= sum(part.n_hidden for part in samples)
    return fine


def fine_bins(scores: NDArray[np.floating]) -> NDArray[np.uint16]:
    """The fine bin of each score; minus infinity falls into bin 0."""
    scaled = scores + 1  # of a float32 array: float32
    scaled *= FINE_BINS / 2
    np.clip(scaled, 0, FINE_BINS - 1, out=scaled)
    return scaled.astype(np.uint16)
