"""A histogram of so many cosines that only a share of them is looked at."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from embviz_callback.analysis.scan.tiles import Task, Tile
from embviz_callback.embeddings import Rows

FINE_BINS = 2**16


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
    """Another share of the columns in every tile, so that all queries and documents are seen."""
    turn = tile.band.rows.start // task.tile[0] * 7 + tile.columns.start // task.tile[1]
    chosen = slice(turn % task.stride, None, task.stride)
    bins, weights = fine_bins(tile.scores[chosen]), task.pool.weights[tile.columns]
    column, row = tile.hidden
    hidden = np.unique(column * tile.scores.shape[1] + row) // tile.scores.shape[1]
    hidden = hidden[(hidden - chosen.start) % task.stride == 0]
    copies = None if task.pool.is_plain else np.broadcast_to(weights[chosen, None], bins.shape).ravel()
    return Sample(bins.ravel(), copies, int(weights[hidden].sum()))


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
