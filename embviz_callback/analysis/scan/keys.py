"""A score and its column as one integer, so that sorting needs a single fast comparison.

The smaller key is the better one: the higher score, and of equal scores the lower column.
"""

import numpy as np
from numpy.typing import NDArray

from embviz_callback.embeddings import Rows, Vectors

NOTHING = np.int64(np.iinfo(np.int64).max)  # worse than any column
_LOW = np.int64(2**32 - 1)


def make(scores: Vectors, columns: Rows) -> Rows:
    """Keys of float32 scores and columns below 2**32; any shape."""
    bits = (scores + np.float32(0)).view(np.int32).astype(np.int64)  # + 0 turns -0.0 into 0.0
    # The bits of negative floats grow with their size; flipped, all floats are in integer order.
    rising = np.where(bits < 0, bits ^ np.int64(0x7FFFFFFF), bits)
    keys: Rows = (~rising << np.int64(32)) | columns
    return keys


def score_of(keys: Rows) -> Vectors:
    """The float32 scores in keys; minus infinity for nothing."""
    rising = ~(keys >> np.int64(32))
    bits = np.where(rising < 0, rising ^ np.int64(0x7FFFFFFF), rising)
    scores: Vectors = bits.astype(np.int32).view(np.float32)
    return np.where(keys == NOTHING, np.float32(-np.inf), scores)


def column_of(keys: Rows) -> Rows:
    """The columns in keys; -1 for nothing."""
    return np.where(keys == NOTHING, -1, keys & _LOW)


def best_of(old: Rows, row: Rows, found: NDArray[np.int64]) -> Rows:
    """The best keys of each row among its old and its new ones.

    Args:
        old: ``(n_rows, k)``.
        row: ``(n_found,)`` ascending rows of the new keys.
        found: ``(n_found,)`` the new keys.

    Returns:
        ``(n_rows, k)``, best first.
    """
    starts = np.searchsorted(row, np.arange(len(old)))
    place = np.arange(len(row)) - starts[row]
    both = np.full((len(old), old.shape[1] + int(place.max(initial=-1)) + 1), NOTHING)
    both[:, : old.shape[1]] = old
    both[row, old.shape[1] + place] = found
    both.sort(axis=1)
    return both[:, : old.shape[1]]
