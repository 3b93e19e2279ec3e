"""Rank metrics of every query: by expectation over the order of ties, and their two extremes."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from embviz_callback.analysis.scan import EQUAL
from embviz_callback.embeddings import Embeddings, Floats, Rows

RECALL_CUTS = (1, 5, 10, 50)
ENDS = ("", "_optimistic", "_pessimistic")
Ends = tuple[Floats, Floats, Floats]


class Counted(Protocol):
    """How the relevant and the graded documents stand in a pool; a `Similarity` is one."""

    @property
    def pair_levels(self) -> Floats:
        """``(n_positive_pairs,)`` scores of the relevant pairs, NaN for one that cannot be ranked."""

    @property
    def pair_above(self) -> Rows:
        """``(n_positive_pairs,)`` negatives above each."""

    @property
    def pair_tied(self) -> Rows:
        """``(n_positive_pairs,)`` negatives with its score."""

    @property
    def gain_above(self) -> Rows:
        """``(n_gains,)`` documents above each pair that gains, -1 without a score; empty without grades."""

    @property
    def gain_tied(self) -> Rows:
        """``(n_gains,)`` other documents with its score."""


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
    """

    query: Rows
    positives: Rows
    tied: Rows
    found: Rows
    offset: Rows
    relevant: Rows


def levels(similarity: Counted, embeddings: Embeddings) -> Levels:
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


def rank_values(counted: Counted, embeddings: Embeddings) -> dict[str, Floats]:
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
    highest = int((groups.offset + groups.positives + groups.tied).max(initial=0)) + 1
    sums = _Sums(groups, np.append(0.0, np.cumsum(1 / np.arange(1, highest + 1))))
    ones, relevant = np.ones(len(groups.relevant)), groups.relevant.astype(np.float64)
    parts = {"rank1": (sums.rank1(), ones), "mrr": (sums.reciprocal(None), ones)}
    parts |= {"mrr_at_10": (sums.reciprocal(10), ones)}
    parts |= {f"recall_at_{cut}": (sums.found_within(cut), relevant) for cut in RECALL_CUTS}
    parts |= {"ndcg_at_10": (sums.gain(10), _discount(10)[np.minimum(groups.relevant, 10)])}
    parts |= {"map": (sums.precision(), relevant)}
    return {
        name + end: np.bincount(groups.query, weights=values, minlength=len(ones)) / most
        for name, (ends, most) in parts.items()
        for end, values in zip(ENDS, ends, strict=True)
    }


def graded_ndcg(similarity: Counted, embeddings: Embeddings, *, cut: int = 10) -> dict[str, Floats]:
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


@dataclass(frozen=True, eq=False)
class _Sums:
    """What each group adds to its query's sum: expected, optimistic, pessimistic.

    In a group of n = p + t documents behind o others, slot m holds a positive with probability
    p / n, and of the m - 1 slots before it a share (p - 1) / (n - 1) are positives.
    """

    groups: Levels
    harmonic: Floats  # 1 + 1/2 + ... + 1/n at n

    @property
    def size(self) -> Rows:
        return self.groups.positives + self.groups.tied

    def rank1(self) -> Ends:
        g, first = self.groups, 1.0 * (self.groups.offset == 0)
        return first * g.positives / self.size, first, first * (g.tied == 0)

    def found_within(self, cut: int) -> Ends:
        g, room = self.groups, 1.0 * (cut - self.groups.offset)
        expected = g.positives * np.clip(room, 0, self.size) / self.size
        return expected, np.clip(room, 0, g.positives), np.clip(room - g.tied, 0, g.positives)

    def gain(self, cut: int) -> Ends:
        g, discount = self.groups, _discount(cut)

        def between(start: Rows, stop: Rows) -> Floats:
            return np.asarray(discount[np.minimum(stop, cut)] - discount[np.minimum(start, cut)])

        end = g.offset + self.size
        expected = between(g.offset, end) * g.positives / self.size
        return expected, between(g.offset, g.offset + g.positives), between(g.offset + g.tied, end)

    def precision(self) -> Ends:
        g = self.groups
        slope = (g.positives - 1) / np.maximum(self.size - 1, 1)
        # The sum over slots of (a + 1 + (m - 1) slope) / (o + m), with its harmonic part set apart.
        slots = self.harmonic[g.offset + self.size] - self.harmonic[g.offset]
        expected = (g.found + 1 - (g.offset + 1) * slope) * slots + slope * self.size
        return expected * g.positives / self.size, self._run(g.offset), self._run(g.offset + g.tied)

    def _run(self, before: Rows) -> Floats:
        """Sum of precisions when a group's positives stand together behind `before` documents."""
        g = self.groups
        slots: Floats = self.harmonic[before + g.positives] - self.harmonic[before]
        return g.positives - (before - g.found) * slots

    def reciprocal(self, cut: int | None) -> Ends:
        g, first = self.groups, self.groups.found == 0
        cases = np.stack([g.offset, g.positives, g.tied], axis=1)[first]
        expected = np.zeros(len(first))
        expected[first] = self._reciprocals(cases, cut)

        def at(rank: Rows) -> Floats:
            return np.asarray(first * np.where(rank <= (cut or np.inf), 1 / rank, 0.0))

        return expected, at(g.offset + 1), at(g.offset + g.tied + 1)

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
