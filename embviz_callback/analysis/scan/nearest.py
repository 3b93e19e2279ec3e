"""The best documents of every query, and what an argmax over the record list would say.

A score and its column are kept as one integer, a key, so that sorting needs a single fast comparison: the
smaller key is the better one, the higher score, and of equal scores the lower column.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from embviz_callback.analysis.scan.pool import EQUAL, first_records, pair_scores
from embviz_callback.analysis.scan.tiles import SLACK, Tally, Task, Tile, where
from embviz_callback.embeddings import Embeddings, Floats, Rows, Vectors
from embviz_callback.measure import EUCLIDEAN

NOTHING = np.int64(np.iinfo(np.int64).max)  # worse than any column
_LOW = np.int64(2**32 - 1)
_SEGMENTS = 64


def make_keys(scores: Vectors, columns: Rows) -> Rows:
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


def keep_best(tally: Tally, tile: Tile) -> None:
    """Adds to a tally the columns of a tile that are among the best of their query.

    Args:
        tally: Its `best` and `bar` change.
        tile: The scores.
    """
    k = tally.best.shape[1]
    bar = tally.bar[tile.band.rows]
    if tile.columns.start == 0 and k <= min(_SEGMENTS, len(tile.highest)) and bar.min(initial=0) == -np.inf:
        bar = np.maximum(bar, _lower_bound(tile.highest, k))
    # Later columns must be strictly better: among equals the first column stays.
    found = tile.entries_above(bar)
    if found is None:
        column, row = where(tile.scores > bar)
        found = row, column, tile.scores[column, row]
    row, column, scores = found
    if not len(row):
        return
    # Two bytes are sorted by counting, eight by comparing.
    order = np.argsort(row.astype(np.uint16) if len(bar) <= 2**16 else row, kind="stable")
    row = row[order]
    is_first = np.append(True, row[1:] != row[:-1])
    active, at = tile.band.rows.start + row[is_first], np.cumsum(is_first) - 1
    new = make_keys(scores[order], tile.columns.start + column[order])
    tally.best[active] = kept = best_of(tally.best[active], at, new)
    tally.bar[active] = np.maximum(tally.bar[active], score_of(kept[:, -1]))


def _lower_bound(highest: Vectors, k: int) -> Vectors:
    """A bar per row that at least `k` of its scores exceed.

    The k-th largest of the maxima of disjoint segments is reached by k scores, and much cheaper
    to find than the k-th largest score.

    Args:
        highest: ``(n_groups, n_rows)`` maxima of groups, at least k.
        k: At most the number of segments.

    Returns:
        ``(n_rows,)``.
    """
    n_segments = min(_SEGMENTS, len(highest))
    whole = len(highest) // n_segments * n_segments
    segments = highest[:whole].reshape(-1, n_segments, highest.shape[1]).max(axis=0)
    kth = np.partition(segments, n_segments - k, axis=0)[n_segments - k]
    bar: Vectors = np.nextafter(kth, np.float32(-np.inf))
    return bar


def best_documents(task: Task, tally: Tally) -> tuple[Rows, Vectors]:
    """The best columns in float64's order, opened into documents.

    Args:
        task: What was asked.
        tally: The best columns.

    Returns:
        Document rows and scores, both ``(n_task_queries, k)``; -1 and NaN for nothing.
    """
    columns, scores = best_columns(task, tally)
    with np.errstate(invalid="ignore"):
        is_close = (scores[:, :-1] - scores[:, 1:] <= 2 * task.margin).any(axis=1)
    # The root of a small squared distance would show its rounding: all are made exact.
    close = np.flatnonzero(is_close | (task.measure.name == EUCLIDEAN))
    listed = columns[close]
    columns[close], scores[close] = merged_lists(listed, listed_scores(task, close, listed), listed, listed.shape[1])
    return _opened(task, columns, scores, min(task.top_k + SLACK, len(task.pool.column)))


def best_columns(task: Task, tally: Tally) -> tuple[Rows, Vectors]:
    """The best columns; lists behind which further ones may score as high are made anew in float64 from all.

    Args:
        task: What was asked.
        tally: The best by scores in float32.

    Returns:
        Columns and scores, both ``(n_task_queries, k)``; -1 and minus infinity for nothing.
    """
    columns, scores = column_of(tally.best), score_of(tally.best)
    k, n_columns = columns.shape[1], len(task.pool.vectors)
    if k >= n_columns:
        return columns, scores
    with np.errstate(invalid="ignore"):
        gaps = scores[:, min(task.top_k, k) - 1] - scores[:, -1]
    unsure = np.flatnonzero((columns[:, -1] >= 0) & (gaps <= 2 * task.margin))
    for start in range(0, len(unsure), 64):
        rows = unsure[start : start + 64]
        exact = task.measure.table(task.queries[rows], task.pool.vectors)
        least = np.partition(exact, n_columns - k, axis=1)[:, n_columns - k]
        for row, found, bar in zip(rows, exact, least, strict=True):
            near = np.flatnonzero(found >= bar - EQUAL)[None]
            columns[row], scores[row] = merged_lists(near, found[near], near, k)
    return columns, scores


def listed_scores(task: Task, rows: Rows, columns: Rows) -> Floats:
    """Exact scores of lists.

    Args:
        task: What was asked.
        rows: ``(n,)`` the query of each list.
        columns: ``(n, k)``, -1 for nothing.

    Returns:
        ``(n, k)``; minus infinity for nothing.
    """
    found = np.full(columns.shape, -np.inf)
    line, place = np.nonzero(columns >= 0)
    entries = np.column_stack([rows[line], columns[line, place]])
    found[line, place] = pair_scores(task.queries, task.pool.vectors, entries, task.measure)
    return found


def merged_lists(documents: Rows, scores: Floats, places: Rows, k: int) -> tuple[Rows, Any]:
    """The best of several lists side by side.

    Args:
        documents: ``(n_queries, n)``, -1 for nothing.
        scores: ``(n_queries, n)``, exact; minus infinity for nothing.
        places: ``(n_queries, n)``, of equal scores the lower one comes first.
        k: How many to keep.

    Returns:
        Documents and scores, both ``(n_queries, k)``.
    """
    order = np.argsort(-scores, axis=1)
    falling = np.take_along_axis(scores, order, axis=1)
    with np.errstate(invalid="ignore"):
        gaps = falling[:, :-1] - falling[:, 1:]
    tied = np.flatnonzero((gaps <= EQUAL).any(axis=1))
    if len(tied):  # few, and this is slow
        group = np.pad(np.cumsum(gaps[tied] > EQUAL, axis=1), ((0, 0), (1, 0)))
        inner = np.lexsort((np.take_along_axis(places[tied], order[tied], axis=1), group))
        order[tied] = np.take_along_axis(order[tied], inner, axis=1)
    order = order[:, :k]
    return np.take_along_axis(documents, order, axis=1), np.take_along_axis(scores, order, axis=1)


def _opened(task: Task, columns: Rows, scores: Vectors, k: int) -> tuple[Rows, Vectors]:
    """Each column replaced by its documents, as far as k places reach."""
    starts = task.pool.starts
    copies = np.where(columns < 0, 0, np.minimum(starts[columns + 1] - starts[columns], k))
    first = np.cumsum(copies, axis=1) - copies
    line, place = (np.repeat(at, copies.ravel()) for at in np.indices(columns.shape).reshape(2, -1))
    nth = np.arange(len(line)) - np.repeat(np.cumsum(copies) - copies.ravel(), copies.ravel())
    slot = first[line, place] + nth
    line, place, nth, slot = np.stack([line, place, nth, slot])[:, slot < k]
    documents, opened = np.full((len(columns), k), -1), np.full((len(columns), k), np.nan, dtype=np.float32)
    documents[line, slot] = task.pool.members[starts[columns[line, place]] + nth]
    opened[line, slot] = scores[line, place]
    return documents, opened


def naive_hits(embeddings: Embeddings, top_documents: Rows) -> NDArray[np.bool_]:
    """Whether ``argmax`` over the record list's documents finds each record's own row.

    Args:
        embeddings: The subset.
        top_documents: ``(n_queries, k)``; equal scores stand in record order, so that the first
            one in the record list is what argmax would find.

    Returns:
        ``(n_records,)``; a query without a direction never hits.
    """
    records, n_documents = embeddings.records, len(embeddings.documents)
    first_record = first_records(records, n_documents + 1)  # the last entry is no document
    listed = first_record[np.where(top_documents < n_documents, top_documents, -1)]
    # The first of the list that is in the records at all.
    best = np.take_along_axis(listed, (listed < len(records)).argmax(axis=1)[:, None], axis=1)[:, 0]
    # A corpus or further positives can fill the whole list of a query.
    unknown = np.flatnonzero((best == len(records)) & embeddings.usable_queries)
    for start in range(0, len(unknown), 128):
        part = unknown[start : start + 128]
        best[part] = _first_best(embeddings, part, first_record[:-1])
    hits: NDArray[np.bool_] = best[records[:, 0]] == np.arange(len(records))
    return hits


def _first_best(embeddings: Embeddings, rows: Rows, first_record: Rows) -> Rows:
    """The first record whose document scores highest for each of some queries."""
    in_order = np.argsort(first_record, kind="stable")
    in_order = in_order[embeddings.usable_documents[in_order] & (first_record[in_order] < len(embeddings.records))]
    if not len(in_order):
        return np.full(len(rows), len(embeddings.records))
    scores = embeddings.measure.table(embeddings.documents[in_order], embeddings.queries[rows])
    is_best = scores >= scores.max(axis=0) - EQUAL
    return np.asarray(first_record[in_order[is_best.argmax(axis=0)]])
