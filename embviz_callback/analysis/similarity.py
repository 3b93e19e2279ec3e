"""Every cosine between queries and documents, seen once, in bounded memory."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from embviz_callback.analysis import geometry, tiles
from embviz_callback.analysis.pool import (
    Pool,
    Product,
    exact_products,
    make_pool,
    padded,
    pair_products,
    plain_product,
)
from embviz_callback.embeddings import Embeddings, Rows, Vectors

EXACT_AUC_PAIRS = 2**22  # so many negatives are kept and sorted; 16 MiB, about 50 ms
_SAMPLED_PAIRS = 2**24  # about so many of a larger number are put into the histogram
_COARSE_BINS = 256

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Similarity:
    """What one pass over all cosines has found.

    The ranked pool is the documents, and after them the corpus where one was given: a row from
    ``n_documents`` on is corpus row ``row - n_documents``. Rows without a direction are misses
    (rank infinite) and are in no mean; their scores are NaN.

    Attributes:
        positive_scores: ``(n_positive_pairs,)`` exact cosines, aligned with `relevance`.
        ranked_scores: ``(n_positive_pairs,)`` float32, the same as the tiles made them: ranks
            compare these, so that no pair is favoured by a more exact path.
        pair_above: ``(n_positive_pairs,)`` negatives above each relevant pair.
        pair_tied: ``(n_positive_pairs,)`` negatives with exactly its score.
        best_positive: ``(n_queries,)`` best positive's cosine, NaN without a usable one.
        best_positive_row: ``(n_queries,)`` its document row, -1 without.
        above: ``(n_queries,)`` negatives above the best positive.
        tied: ``(n_queries,)`` negatives tied with it.
        rank: ``(n_queries,)`` expected rank of the first relevant document, from 1, ties in
            random order; infinite for an unusable query or no usable positive.
        top_documents: ``(n_queries, k)`` best rows of the pool, best first; among equal scores
            the one that the records name first. -1 where nothing can be ranked.
        top_scores: ``(n_queries, k)`` their cosines.
        row_count: ``(n_queries,)`` usable negatives of each query.
        row_mean: ``(n_queries,)`` their mean, NaN without.
        row_variance: ``(n_queries,)`` their population variance.
        negative_count: All usable negatives.
        negative_mean: Their mean.
        negative_std: Their population standard deviation.
        edges: ``(n_bins + 1,)`` over [-1, 1].
        negative_counts: ``(n_bins,)``; above 4 million negatives estimated from a sample.
        positive_counts: ``(n_bins,)``.
        auc: Probability that a random positive outscores a random negative, ties half.
        auc_error: How far `auc` may be off: 0 where it is exact.
        hard_scores: ``(n_hard_pairs,)`` aligned with `hard_pairs`.
        naive_hits: ``(n_records,)`` whether ``argmax`` over the record list finds its own row.
        effective_rank: Directions used by queries and documents together.
        mean_off_diagonal: Mean cosine of two different documents of the pool.
        n_pool: Documents and corpus.
    """

    positive_scores: Floats
    ranked_scores: Vectors
    pair_above: Rows
    pair_tied: Rows
    best_positive: Floats
    best_positive_row: Rows
    above: Rows
    tied: Rows
    rank: Floats
    top_documents: Rows
    top_scores: Vectors
    row_count: Rows
    row_mean: Floats
    row_variance: Floats
    negative_count: int
    negative_mean: float
    negative_std: float
    edges: Floats
    negative_counts: NDArray[np.int64]
    positive_counts: NDArray[np.int64]
    auc: float
    auc_error: float
    hard_scores: Floats
    naive_hits: NDArray[np.bool_]
    effective_rank: float
    mean_off_diagonal: float
    n_pool: int


def scan(
    embeddings: Embeddings,
    *,
    top_k: int = 10,
    tile: tuple[int, int] = (1024, 2048),
    corpus: Vectors | None = None,
    product: Product | None = None,
) -> Similarity:
    """One tiled pass over the cosines of all queries and documents.

    Beyond the embeddings it needs memory for one tile and for the results (and one copy of the
    documents if their rows are not in record order).

    Args:
        embeddings: The subset.
        top_k: Documents kept per query, at least 1.
        tile: Queries and documents of a tile.
        corpus: ``(n_corpus, dim)`` unit rows of further documents that answer no query.
        product: ``(a, b) -> a @ b.T`` in float32; the CPU's without.

    Returns:
        Scores, ranks, best documents, moments and the histogram.

    Raises:
        ValueError: If `top_k` or a side of `tile` is below 1, or `corpus` has another width.
    """
    if min(top_k, *tile) < 1:
        raise ValueError(f"top_k and tile must be at least 1, got {top_k} and {tile}")
    if corpus is not None and corpus.shape[1:] != embeddings.documents.shape[1:]:
        raise ValueError(f"corpus must have {embeddings.documents.shape[1]} columns, got shape {corpus.shape}")
    product = product or plain_product
    pool = make_pool(embeddings, corpus)
    usable = np.flatnonzero(embeddings.usable_queries)
    ask = _Question(embeddings, pool, usable, product)
    task = ask.task(top_k, tile)
    return _answer(ask, task, tiles.run(task))


@dataclass(frozen=True, eq=False)
class _Question:
    embeddings: Embeddings
    pool: Pool
    usable: Rows
    product: Product

    def task(self, top_k: int, tile: tuple[int, int]) -> tiles.Task:
        """The pass over the usable rows; relevant pairs without a direction cannot be beaten."""
        queries = self.embeddings.queries
        if len(self.usable) < len(queries):
            queries = queries[self.usable]
        new_row = np.full(len(self.embeddings.queries), -1, dtype=np.int64)
        new_row[self.usable] = np.arange(len(self.usable))
        relevance = self.embeddings.relevance
        row = new_row[relevance[:, 0]]
        pairs = np.stack([row, self.pool.column[relevance[:, 1]]], axis=1)
        pairs = pairs[row >= 0]
        levels = np.full(len(pairs), np.inf, dtype=np.float32)
        valid = pairs[:, 1] >= 0
        levels[valid] = pair_products(queries, self.pool.vectors, pairs[valid], self.product)
        cosines = len(queries) * len(self.pool.members)
        keep = cosines <= EXACT_AUC_PAIRS
        return tiles.Task(
            queries=queries,
            pool=self.pool,
            pairs=pairs,
            levels=levels,
            top_k=top_k,
            tile=tile,
            stride=1 + (cosines - 1) // _SAMPLED_PAIRS if cosines else 1,
            keep=keep,
            product=self.product,
        )


@dataclass(frozen=True, eq=False)
class _Twins:
    """Negatives that share a column, hence a score, with a positive of the same query.

    Attributes:
        row: ``(n,)`` row among the task's queries.
        column: ``(n,)``.
        score: ``(n,)``.
        count: ``(n,)`` such negatives; may be 0.
    """

    row: Rows
    column: Rows
    score: Vectors
    count: Rows


def _twins(task: tiles.Task) -> _Twins:
    valid = task.pairs[:, 1] >= 0
    entries, first, positives = np.unique(task.pairs[valid], axis=0, return_index=True, return_counts=True)
    entries = entries.reshape(-1, 2)
    count = task.pool.weights[entries[:, 1]] - positives
    return _Twins(entries[:, 0], entries[:, 1], task.levels[valid][first], count)


def _answer(ask: _Question, task: tiles.Task, tally: tiles.Tally) -> Similarity:
    embeddings, pool, n_queries = ask.embeddings, ask.pool, len(ask.embeddings.queries)
    twins = _twins(task)
    above, tied = _with_twins(task, tally, twins)
    asked = np.isin(embeddings.relevance[:, 0], ask.usable)
    pair_above, pair_tied = np.zeros((2, len(asked)), dtype=np.int64)
    pair_above[asked], pair_tied[asked] = above, tied
    ranked = np.full(len(asked), np.nan, dtype=np.float32)
    ranked[asked] = np.where(np.isfinite(task.levels), task.levels, np.nan)
    positive_scores = exact_products(embeddings.queries, embeddings.documents, embeddings.relevance)
    best = _best_pair(embeddings.relevance[:, 0], ranked, n_queries)
    has = best >= 0
    n_best = _tied_positives(embeddings.relevance[:, 0], ranked, best, n_queries)
    rank = np.full(n_queries, np.inf)
    rank[has] = 1 + pair_above[best[has]] + pair_tied[best[has]] / (n_best[has] + 1)
    top_documents, top_scores = _top(task, tally, twins, ask, n_queries)
    document_moments = geometry.moments(pool.vectors, pool.weights)
    query_moments = geometry.moments(task.queries, np.ones(len(task.queries), dtype=np.int64))
    rows = _row_statistics(ask, task, document_moments, positive_scores)
    auc, auc_error, fine = _auc(task, tally, twins, int(rows[0].sum()))
    valid_scores = ranked[~np.isnan(ranked)]
    return Similarity(
        positive_scores=positive_scores,
        ranked_scores=ranked,
        pair_above=pair_above,
        pair_tied=pair_tied,
        best_positive=np.where(has, positive_scores[best], np.nan),
        best_positive_row=np.where(has, embeddings.relevance[best, 1], -1),
        above=np.where(has, pair_above[best], 0),
        tied=np.where(has, pair_tied[best], 0),
        rank=rank,
        top_documents=top_documents,
        top_scores=top_scores,
        row_count=rows[0],
        row_mean=rows[1],
        row_variance=rows[2],
        negative_count=int(rows[0].sum()),
        **_negative_moments(*rows),
        edges=np.linspace(-1, 1, _COARSE_BINS + 1),
        negative_counts=np.rint(fine.reshape(_COARSE_BINS, -1).sum(axis=1)).astype(np.int64),
        positive_counts=np.bincount(
            tiles.fine_bins(valid_scores) // (tiles.FINE_BINS // _COARSE_BINS), minlength=_COARSE_BINS
        ),
        auc=auc,
        auc_error=auc_error,
        hard_scores=exact_products(embeddings.queries, embeddings.hard_negatives, embeddings.hard_pairs),
        naive_hits=_naive_hits(embeddings, top_documents, ask.product),
        effective_rank=geometry.effective_rank([query_moments, document_moments]),
        mean_off_diagonal=geometry.mean_off_diagonal(document_moments),
        n_pool=len(pool.column),
    )


def _with_twins(task: tiles.Task, tally: tiles.Tally, twins: _Twins) -> tuple[Rows, Rows]:
    above, tied = tally.above, tally.reaching - tally.above
    extra = twins.count > 0
    if not extra.any():
        return above, tied
    # Every relevant pair meets every such group of its own query.
    row, score, count = twins.row[extra], twins.score[extra], twins.count[extra]
    first, last = np.searchsorted(row, task.pairs[:, 0]), np.searchsorted(row, task.pairs[:, 0], side="right")
    pair = np.repeat(np.arange(len(task.pairs)), last - first)
    group = np.arange(len(pair)) - np.repeat(np.cumsum(last - first) - last, last - first)
    np.add.at(above, pair, count[group] * (score[group] > task.levels[pair]))
    np.add.at(tied, pair, count[group] * (score[group] == task.levels[pair]))
    return above, tied


def _best_pair(query: Rows, ranked: Vectors, n_queries: int) -> Rows:
    """The pair of each query's best positive, the first among equals, -1 for none."""
    order = np.lexsort((np.arange(len(query)), -ranked, query))  # NaN is sorted last
    best = order[np.searchsorted(query[order], np.arange(n_queries))]
    return np.where(np.isnan(ranked[best]), -1, best)


def _tied_positives(query: Rows, ranked: Vectors, best: Rows, n_queries: int) -> Rows:
    return np.bincount(query[ranked == ranked[best[query]]], minlength=n_queries)


def _top(task: tiles.Task, tally: tiles.Tally, twins: _Twins, ask: _Question, n_queries: int) -> tuple[Rows, Vectors]:
    """The best documents per query: the best other columns and the relevant ones, merged."""
    k = min(task.top_k, len(task.pool.column))
    row = np.concatenate([np.repeat(np.arange(len(task.queries)), tally.best.shape[1]), twins.row])
    column = np.concatenate([tally.best_column.ravel(), twins.column])
    score = np.concatenate([tally.best.ravel(), twins.score])
    order = np.lexsort((column, -score, row))
    order = order[column[order] >= 0]
    row, column, score = row[order], column[order], score[order]
    starts = task.pool.starts
    copies = np.minimum(starts[column + 1] - starts[column], k)
    nth = _position(np.repeat(np.arange(len(copies)), copies))
    document = task.pool.members[np.repeat(starts[column], copies) + nth]
    row, score = np.repeat(row, copies), np.repeat(score, copies)
    place = _position(row)
    keep = place < k
    documents = np.full((n_queries, k), -1, dtype=np.int64)
    scores = np.full((n_queries, k), np.nan, dtype=np.float32)
    documents[ask.usable[row[keep]], place[keep]] = document[keep]
    scores[ask.usable[row[keep]], place[keep]] = score[keep]
    return documents, scores


def _position(sorted_keys: Rows) -> Rows:
    """Each entry's position among its equals."""
    return np.arange(len(sorted_keys)) - np.searchsorted(sorted_keys, sorted_keys)


def _row_statistics(
    ask: _Question, task: tiles.Task, documents: geometry.Moments, positive_scores: Floats
) -> tuple[Rows, Floats, Floats]:
    """Count, mean and variance of each query's negatives: all documents minus the relevant ones."""
    n_queries = len(ask.embeddings.queries)
    mean, variance = np.full((2, n_queries), np.nan)
    mean[ask.usable], variance[ask.usable] = geometry.row_moments(task.queries, documents)
    query = ask.embeddings.relevance[:, 0]
    valid = ~np.isnan(positive_scores)
    query = query[valid]
    deviation = positive_scores[valid] - mean[query]
    positives = np.bincount(query, minlength=n_queries)
    count = np.where(np.isnan(mean), 0, documents.count - positives)
    shift = np.bincount(query, weights=deviation, minlength=n_queries)
    square = documents.count * variance - np.bincount(query, weights=deviation**2, minlength=n_queries)
    some = count > 0
    divisor = np.where(some, count, 1)
    row_variance = np.maximum(square / divisor - (shift / divisor) ** 2, 0.0)
    return count, np.where(some, mean - shift / divisor, np.nan), np.where(some, row_variance, np.nan)


def _negative_moments(count: Rows, mean: Floats, variance: Floats) -> dict[str, float]:
    some = count > 0
    if not some.any():
        return {"negative_mean": float("nan"), "negative_std": float("nan")}
    weights, means = count[some] / count.sum(), mean[some]
    overall = float(weights @ means)
    return {
        "negative_mean": overall,
        "negative_std": float(np.sqrt(weights @ (variance[some] + (means - overall) ** 2))),
    }


def _auc(task: tiles.Task, tally: tiles.Tally, twins: _Twins, n_negatives: int) -> tuple[float, float, Floats]:
    """AUC, its possible error and the fine histogram of all negatives."""
    positives = np.sort(task.levels[np.isfinite(task.levels)])
    twin_bins = tiles.fine_bins(twins.score)
    fine = tally.fine.astype(np.float64)
    if task.keep:
        scores = np.concatenate([*tally.kept, np.repeat(twins.score, twins.count)]) if len(twins.row) else np.empty(0)
        scores.sort()
        fine = np.bincount(tiles.fine_bins(scores), minlength=tiles.FINE_BINS).astype(np.float64)
        if not len(scores) or not len(positives):
            return float("nan"), 0.0, fine
        below = np.searchsorted(scores, positives) + np.searchsorted(scores, positives, side="right")
        return float(below.mean() / 2 / len(scores)), 0.0, fine
    sampled = max(fine.sum(), 1.0)
    fine *= (n_negatives - twins.count.sum()) / sampled
    np.add.at(fine, twin_bins, twins.count)
    if not len(positives):
        return float("nan"), 0.0, fine
    shares = np.bincount(tiles.fine_bins(positives), minlength=tiles.FINE_BINS) / len(positives)
    negatives = fine / max(fine.sum(), 1.0)
    within = negatives * shares
    auc = float(shares @ (np.cumsum(negatives) - negatives) + within.sum() / 2)
    chance = 1.5 / np.sqrt(sampled) if task.stride > 1 else 0.0
    return auc, float(within.sum() / 2 + chance), fine


def _naive_hits(embeddings: Embeddings, top_documents: Rows, product: Product) -> NDArray[np.bool_]:
    """Whether each record's own row is the first best one of the record list."""
    records = embeddings.records
    first_record = np.full(len(embeddings.documents), len(records), dtype=np.int64)
    np.minimum.at(first_record, records[:, 1], np.arange(len(records)))
    known = np.append(first_record, len(records))  # corpus rows and -1 stand for no record
    listed = known[np.where(top_documents < len(embeddings.documents), top_documents, -1)] < len(records)
    winner = top_documents[np.arange(len(listed)), listed.argmax(axis=1)]
    usable = embeddings.usable_queries
    lost = np.flatnonzero(~listed.any(axis=1) & usable)
    in_order = np.argsort(first_record, kind="stable")[: int((first_record < len(records)).sum())]
    in_order = in_order[embeddings.usable_documents[in_order]]
    for part in np.array_split(lost, len(lost) // 1024 + 1):
        if len(part) and len(in_order):
            scores = product(padded(embeddings.queries[part]), padded(embeddings.documents[in_order]))
            winner[part] = in_order[scores[: len(part), : len(in_order)].argmax(axis=1)]
    usable &= listed.any(axis=1) | (len(in_order) > 0)
    chosen = known[np.where(usable, winner, -1)]
    return chosen[records[:, 0]] == np.arange(len(records))
