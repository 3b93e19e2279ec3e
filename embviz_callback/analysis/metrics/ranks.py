"""Rank metrics of every query: by expectation over the order of ties, and their two extremes."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from embviz_callback.analysis.scan import EQUAL, Similarity
from embviz_callback.embeddings import Embeddings, Floats, Rows

RECALL_CUTS = (1, 5, 10, 50)
ENDS = ("", "_optimistic", "_pessimistic")
Ends = tuple[Floats, Floats, Floats]


@dataclass(frozen=True, eq=False)
class Counts:
    """How the relevant and the graded documents stand in a pool, as a `Similarity` says it too.

    Attributes:
        pair_levels: ``(n_positive_pairs,)`` scores of the relevant pairs, NaN for one that cannot be ranked.
        pair_above: ``(n_positive_pairs,)`` negatives above each.
        pair_tied: ``(n_positive_pairs,)`` negatives with its score.
        gain_above: ``(n_gains,)`` documents above each pair that gains, -1 without a score; empty without grades.
        gain_tied: ``(n_gains,)`` other documents with its score.
    """

    pair_levels: Floats
    pair_above: Rows
    pair_tied: Rows
    gain_above: Rows
    gain_tied: Rows


@dataclass(frozen=True, eq=False)
class Levels:
    """Groups of a query's positives with exactly equal scores, best first.

    Attributes:
        query: ``(n_levels,)`` query row.
        positives: ``(n_levels,)`` positives in the group, p.
        tied: ``(n_levels,)`` negatives with the same score, t.
        found: ``(n_levels,)`` positives above the group, a.
        offset: ``(n_levels,)`` documents above it, positives and negatives, o.
        relevant: ``(n_queries,)`` all relevant documents of each query, usable or not.

    Its methods say what each group adds to its query's sum: expected, optimistic, pessimistic. In a group of n = p + t
    documents behind o others, slot m holds a positive with probability p / n, and of the m - 1 slots before it a share
    (p - 1) / (n - 1) are positives.
    """

    query: Rows
    positives: Rows
    tied: Rows
    found: Rows
    offset: Rows
    relevant: Rows

    @property
    def size(self) -> Rows:
        """Documents in the group, n."""
        return self.positives + self.tied

    @cached_property
    def harmonic(self) -> Floats:
        """1 + 1/2 + ... + 1/n at n, for as many documents as there are down to the last group."""
        return np.append(0.0, np.cumsum(1 / np.arange(1, (self.offset + self.size).max(initial=0) + 2)))

    def rank1(self) -> Ends:
        """Whether it holds the first place."""
        first = 1.0 * (self.offset == 0)
        return first * self.positives / self.size, first, first * (self.tied == 0)

    def found_within(self, cut: int) -> Ends:
        """Positives among the first ranks."""
        room = 1.0 * (cut - self.offset)
        expected = self.positives * np.clip(room, 0, self.size) / self.size
        return expected, np.clip(room, 0, self.positives), np.clip(room - self.tied, 0, self.positives)

    def gain(self, cut: int) -> Ends:
        """Discounts of the ranks of its positives."""
        start, discount = self.offset, _discount(cut)

        def between(start: Rows, stop: Rows) -> Floats:
            return np.asarray(discount[np.minimum(stop, cut)] - discount[np.minimum(start, cut)])

        end = start + self.size
        expected = between(start, end) * self.positives / self.size
        return expected, between(start, start + self.positives), between(start + self.tied, end)

    def precision(self) -> Ends:
        """Precisions at the ranks of its positives."""
        slope = (self.positives - 1) / np.maximum(self.size - 1, 1)
        # The sum over slots of (a + 1 + (m - 1) slope) / (o + m), with its harmonic part set apart.
        slots = self.harmonic[self.offset + self.size] - self.harmonic[self.offset]
        expected = (self.found + 1 - (self.offset + 1) * slope) * slots + slope * self.size
        return expected * self.positives / self.size, self._run(self.offset), self._run(self.offset + self.tied)

    def _run(self, before: Rows) -> Floats:
        """Sum of precisions when a group's positives stand together behind `before` documents."""
        slots: Floats = self.harmonic[before + self.positives] - self.harmonic[before]
        return self.positives - (before - self.found) * slots

    def reciprocal(self, cut: int | None) -> Ends:
        """1 / rank of its first positive, where none stands above it."""
        first = self.found == 0
        cases = np.stack([self.offset, self.positives, self.tied], axis=1)[first]
        expected = np.zeros(len(first))
        expected[first] = self._reciprocals(cases, cut)

        def at(rank: Rows) -> Floats:
            return np.asarray(first * np.where(rank <= (cut or np.inf), 1 / rank, 0.0))

        return expected, at(self.offset + 1), at(self.offset + self.tied + 1)

    def _reciprocals(self, cases: Rows, cut: int | None) -> Floats:
        above, positives, tied = cases.T
        end = above + 1 + tied
        end = end if cut is None else np.minimum(end, np.maximum(cut, above))
        # Right for a single positive: it stands in each slot equally often.
        values: Floats = (self.harmonic[end] - self.harmonic[above]) / (1 + tied)
        several = positives > 1
        distinct, which = np.unique(cases[several], axis=0, return_inverse=True)
        sums = [expected_reciprocal(*map(int, case), cut=cut) for case in distinct]
        values[several] = np.array(sums)[which.ravel()] if sums else 0.0
        return values


def levels(similarity: Counts | Similarity, embeddings: Embeddings) -> Levels:
    """Groups of tied positives per query; pairs without a direction are in none."""
    query = embeddings.relevance[:, 0]
    valid = np.flatnonzero(~np.isnan(similarity.pair_levels))
    order = valid[np.lexsort((-similarity.pair_levels[valid], query[valid]))]
    score, owner = similarity.pair_levels[order], query[order]
    is_first = np.ones(len(order), dtype=bool)
    is_first[1:] = (owner[1:] != owner[:-1]) | (score[:-1] - score[1:] > EQUAL)
    heads = np.flatnonzero(is_first)
    found = heads - np.searchsorted(owner, owner[heads])
    pair = order[heads]
    return Levels(
        query=owner[heads],
        positives=np.diff(np.append(heads, len(order))),
        tied=similarity.pair_tied[pair],
        found=found,
        offset=similarity.pair_above[pair] + found,
        relevant=np.bincount(query, minlength=len(embeddings.queries)),
    )


def rank_values(counted: Counts | Similarity, embeddings: Embeddings) -> dict[str, Floats]:
    """Every rank metric of every query, with grades where the documents carry some.

    Args:
        counted: How the relevant documents stand.
        embeddings: What was counted.

    Returns:
        As `rank_metrics`.
    """
    values = rank_metrics(levels(counted, embeddings))
    return values | (graded_ndcg(counted, embeddings) if len(embeddings.grades) else {})


def rank_metrics(groups: Levels) -> dict[str, Floats]:
    """Every rank metric of every query.

    Args:
        groups: The tied groups.

    Returns:
        ``(n_queries,)`` under each name, ``<name>_optimistic`` and ``<name>_pessimistic``
        (positives first and last among their ties). A query without a usable positive has 0.
    """
    ones, relevant = np.ones(len(groups.relevant)), groups.relevant.astype(np.float64)
    parts = {"rank1": (groups.rank1(), ones), "mrr": (groups.reciprocal(None), ones)}
    parts |= {"mrr_at_10": (groups.reciprocal(10), ones)}
    parts |= {f"recall_at_{cut}": (groups.found_within(cut), relevant) for cut in RECALL_CUTS}
    parts |= {"ndcg_at_10": (groups.gain(10), _discount(10)[np.minimum(groups.relevant, 10)])}
    parts |= {"map": (groups.precision(), relevant)}
    return {
        name + end: np.bincount(groups.query, weights=values, minlength=len(ones)) / most
        for name, (ends, most) in parts.items()
        for end, values in zip(ENDS, ends, strict=True)
    }


def graded_ndcg(similarity: Counts | Similarity, embeddings: Embeddings, *, cut: int = 10) -> dict[str, Floats]:
    """NDCG of graded documents as trec_eval has it: the grade is the gain, log2(rank + 1) the discount.

    Args:
        similarity: The scan of the embeddings.
        embeddings: With grades.
        cut: Ranks beyond it gain nothing.

    Returns:
        ``(n_queries,)`` expected over the order of ties, with gains best first and worst last among their ties,
        under the names of `rank_metrics`.
    """
    query, _, gain = embeddings.gains.T
    best_first = np.lexsort((-gain, query))
    place, _ = _runs(query[best_first])
    most = _per_query(embeddings, query[best_first], gain[best_first] * _worth(place, cut))
    scored = np.flatnonzero(similarity.gain_above >= 0)
    query, gain, above = query[scored], gain[scored], similarity.gain_above[scored]
    size = similarity.gain_tied[scored] + 1
    sums = _discount(cut)
    expected = gain * (sums[np.minimum(above + size, cut)] - sums[np.minimum(above, cut)]) / size
    ends = [_per_query(embeddings, query, expected)]
    for is_last in (False, True):
        order = np.lexsort((gain if is_last else -gain, above, query))
        # Tied are those of a query with equally many above them; what gains nothing stands behind or before them.
        place, length = _runs(query[order] * (int(above.max(initial=0)) + 1) + above[order])
        slot = above[order] + place + (size[order] - length if is_last else 0)
        ends.append(_per_query(embeddings, query[order], gain[order] * _worth(slot, cut)))
    return {f"ndcg_at_{cut}{name}": found / np.maximum(most, 1) for name, found in zip(ENDS, ends, strict=True)}


def _per_query(embeddings: Embeddings, query: Rows, values: Floats) -> Floats:
    return np.bincount(query, weights=values, minlength=len(embeddings.queries)).astype(np.float64)


def _runs(keys: Rows) -> tuple[Rows, Rows]:
    """Place of each within its run of equal keys, from 0, and the length of that run."""
    heads = np.flatnonzero(np.diff(keys, prepend=-1))
    lengths = np.diff(np.append(heads, len(keys)))
    return np.arange(len(keys)) - np.repeat(heads, lengths), np.repeat(lengths, lengths)


def _worth(slot: Rows, cut: int) -> Floats:
    """1 / log2(rank + 1) of a slot counted from 0, nothing beyond the cut."""
    return np.where(slot < cut, 1 / np.log2(slot + 2.0), 0.0)


def _discount(cut: int) -> Floats:
    """Sums of 1 / log2(rank + 1) over the first 0, 1, ... `cut` ranks."""
    return np.append(0.0, np.cumsum(1 / np.log2(np.arange(2, cut + 2))))


def expected_reciprocal(above: int, positives: int, tied: int, *, cut: int | None = None) -> float:
    """Mean of 1 / rank of the first positive over all orders of a tied group.

    The first positive stands in slot m with probability C(p + t - m, p - 1) / C(p + t, p).

    Args:
        above: Documents above the group.
        positives: Positives in it, at least 1.
        tied: Negatives in it.
        cut: Ranks beyond it count 0.

    Returns:
        The expectation.

    Example:
        >>> expected_reciprocal(0, 1, 1)
        0.75
    """
    slots = np.arange(1, tied + 2)
    size = positives + tied
    steps = np.concatenate([[positives / size], (size - slots[:-1] - positives + 1) / (size - slots[:-1])])
    ranks = above + slots
    gains = np.where(ranks <= (cut or np.inf), 1 / ranks, 0.0)
    return float(np.cumprod(steps) @ gains)
