"""How positives and negatives spread: the probability that one outscores the other, and the histograms."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from embviz_callback.analysis.scan.counting import Twins
from embviz_callback.analysis.scan.pool import EQUAL
from embviz_callback.analysis.scan.tiles import Tally, Task, Tile
from embviz_callback.embeddings import Rows, Vectors

COARSE_BINS = 256
FINE_BINS = 2**16
OVERLAP_BINS = 32
_FEW_STRIDES = 64  # views of a tile; beyond, it holds so few entries that they are cheaper one by one
_LEAP = 7919  # rows between the samples of two queries: a prime, which no stride divides


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
    if task.keep:
        positives, hidden = task.positives, np.repeat(twins.level, twins.count)
        fine = (tally.fine + counted_by_bin(fine_bins(hidden))).astype(np.float64)
        n_pairs = len(positives) * fine.sum()
        area = float((tally.beaten + wins(positives, hidden)) / (2 * n_pairs)) if n_pairs else math.nan
        error = 0.0
    else:
        # As the negatives were made, by the tiles: a more exact path would favour one side.
        positives = np.sort(tally.own[~np.isnan(tally.own)])
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
    return wins(positives, negatives) / 2 / len(positives) / len(negatives)


def wins(positives: NDArray[np.floating], negatives: NDArray[np.floating]) -> int:
    """How many pairs of a positive and a negative the positive wins, and once more how many it does not lose.

    Args:
        positives: Scores in float64.
        negatives: Scores in float64.

    Returns:
        Twice the pairs won, ties half; those of parts of the negatives add up.
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


@dataclass(frozen=True, eq=False)
class Draws:
    """Which queries of a band take a document into the histogram, by the remainder that its row leaves.

    Attributes:
        wanted: ``(n_queries,)`` the remainder of each query of the band.
        queries: ``(n_queries,)`` rows of the band, those of one remainder together.
        starts: ``(stride + 1,)`` where those of each remainder begin.
    """

    wanted: Rows
    queries: Rows
    starts: Rows


def draws_of(task: Task, rows: slice) -> Draws:
    """Every stride-th row of the pool, another share for every query.

    Rows that all queries shared would be hubs for all of them or for none. Which these are does not depend on how the
    pool is cut into tiles.

    Args:
        task: What is asked.
        rows: The band.

    Returns:
        The draws.
    """
    wanted = -np.arange(rows.start, rows.stop) * _LEAP % task.stride
    order = np.argsort(wanted, kind="stable")
    return Draws(wanted, order, np.searchsorted(wanted[order], np.arange(task.stride + 1)))


def sample(task: Task, tile: Tile, draws: Draws) -> NDArray[np.uint16]:
    """Some of a tile's scores, by bin, without the relevant ones.

    Args:
        task: What is asked.
        tile: The scores.
        draws: Those of the tile's band.

    Returns:
        ``(n,)``; a column that several documents share is there for each.
    """
    pool, columns = task.pool, tile.columns
    members = pool.members[pool.starts[columns.start] : pool.starts[columns.stop]]
    if pool.is_plain and task.stride <= _FEW_STRIDES and members[-1] - members[0] == len(members) - 1:
        scores = _strided(tile.scores, draws.wanted - members[0], task.stride)
        return fine_bins(scores[scores > -np.inf])
    phase = members % task.stride
    starts, ends = draws.starts[phase], draws.starts[phase + 1]
    counts = ends - starts
    member = np.repeat(np.arange(len(phase)), counts)
    nth = np.arange(len(member)) - np.repeat(np.cumsum(counts) - counts - starts, counts)
    column = member if pool.is_plain else np.repeat(np.arange(len(tile.scores)), pool.weights[columns])[member]
    scores = tile.scores[column, draws.queries[nth]]
    return fine_bins(scores[scores > -np.inf])


def _strided(scores: Vectors, begins: Rows, stride: int) -> Vectors:
    """Every stride-th query wants the same rows: views, at a tenth of what entries cost that are named one by one."""
    firsts = enumerate((begins[:stride] % stride).tolist())
    return np.concatenate([scores[begin::stride, row::stride].ravel() for row, begin in firsts])


def counted_by_bin(bins: NDArray[np.uint16]) -> NDArray[np.int64]:
    """``(FINE_BINS,)``."""
    return np.asarray(np.bincount(bins, minlength=FINE_BINS), dtype=np.int64)


def fine_bins(scores: NDArray[np.floating]) -> NDArray[np.uint16]:
    """The fine bin of each score; minus infinity falls into bin 0."""
    scaled = scores + 1  # of a float32 array: float32
    scaled *= FINE_BINS / 2
    np.clip(scaled, 0, FINE_BINS - 1, out=scaled)
    return scaled.astype(np.uint16)
