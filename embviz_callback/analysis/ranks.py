"""Rank metrics of every query: by expectation over the order of ties, and their two extremes."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from embviz_callback.analysis.similarity import Floats, Similarity
from embviz_callback.embeddings import Embeddings, Rows

RECALL_CUTS = (1, 5, 10, 50)
_EXTREMES = ("optimistic", "pessimistic")


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


def levels(similarity: Similarity, embeddings: Embeddings) -> Levels:
    """Groups of tied positives per query; pairs without a direction are in none."""
    query = embeddings.relevance[:, 0]
    valid = np.flatnonzero(~np.isnan(similarity.ranked_scores))
    order = valid[np.lexsort((-similarity.ranked_scores[valid], query[valid]))]
    score, owner = similarity.ranked_scores[order], query[order]
    is_first = np.ones(len(order), dtype=bool)
    is_first[1:] = (owner[1:] != owner[:-1]) | (score[1:] != score[:-1])
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


def rank_metrics(groups: Levels) -> dict[str, Floats]:
    """Every rank metric of every query.

    Args:
        groups: The tied groups.

    Returns:
        ``(n_queries,)`` under each name, ``<name>_optimistic`` and ``<name>_pessimistic``
        (positives first and last among their ties). A query without a usable positive has 0.
    """
    highest = int((groups.offset + groups.positives + groups.tied).max(initial=0)) + 1
    sums = _Sums(groups, np.concatenate([[0.0], np.cumsum(1 / np.arange(1, highest + 1))]))
    results = {"rank1": sums.rank1(), "mrr": sums.reciprocal(None), "mrr_at_10": sums.reciprocal(10)}
    results |= {f"recall_at_{cut}": sums.recall(cut) for cut in RECALL_CUTS}
    results |= {"ndcg_at_10": sums.gain(10), "map": sums.precision()}
    named: dict[str, Floats] = {}
    for name, (expected, *extremes) in results.items():
        named[name] = expected
        named |= {f"{name}_{end}": values for end, values in zip(_EXTREMES, extremes, strict=True)}
    return named


@dataclass(frozen=True, eq=False)
class _Sums:
    """Expected, optimistic and pessimistic sums over a query's groups.

    In a group of n = p + t documents behind o others, slot m holds a positive with probability
    p / n, and of the m - 1 slots before it a share (p - 1) / (n - 1) are positives.
    """

    groups: Levels
    harmonic: Floats

    def _per_query(self, values: Floats) -> Floats:
        return np.bincount(self.groups.query, weights=values, minlength=len(self.groups.relevant))

    def rank1(self) -> tuple[Floats, Floats, Floats]:
        g = self.groups
        first = g.offset == 0
        chances = (g.positives / (g.positives + g.tied), np.ones(len(first)), g.tied == 0)
        return tuple(self._per_query(first * chance) for chance in chances)  # type: ignore[return-value]

    def recall(self, cut: int) -> tuple[Floats, Floats, Floats]:
        g, room = self.groups, cut - self.groups.offset
        size = g.positives + g.tied
        counts = (
            g.positives * np.clip(room, 0, size) / size,
            np.clip(room, 0, g.positives),
            np.clip(room - g.tied, 0, g.positives),
        )
        return tuple(self._per_query(count) / g.relevant for count in counts)  # type: ignore[return-value]

    def gain(self, cut: int) -> tuple[Floats, Floats, Floats]:
        g = self.groups
        discount = np.concatenate([[0.0], np.cumsum(1 / np.log2(np.arange(2, cut + 2)))])

        def between(start: Rows, stop: Rows) -> Floats:
            return discount[np.minimum(stop, cut)] - discount[np.minimum(start, cut)]

        size = g.positives + g.tied
        gains = (
            between(g.offset, g.offset + size) * g.positives / size,
            between(g.offset, g.offset + g.positives),
            between(g.offset + g.tied, g.offset + size),
        )
        return tuple(self._per_query(gain) / between(0 * g.relevant, g.relevant) for gain in gains)  # type: ignore[return-value]

    def precision(self) -> tuple[Floats, Floats, Floats]:
        g, size = self.groups, self.groups.positives + self.groups.tied
        slope = (g.positives - 1) / np.maximum(size - 1, 1)
        # The sum over slots of (a + 1 + (m - 1) slope) / (o + m), with its harmonic part set apart.
        slots = self.harmonic[g.offset + size] - self.harmonic[g.offset]
        expected = (g.found + 1 - (g.offset + 1) * slope) * slots + slope * size
        sums = (
            expected * g.positives / size,
            self._run(g.offset),
            self._run(g.offset + g.tied),
        )
        return tuple(self._per_query(part) / g.relevant for part in sums)  # type: ignore[return-value]

    def _run(self, before: Rows) -> Floats:
        """Sum of precisions when a group's positives stand together behind `before` documents."""
        g = self.groups
        slots = self.harmonic[before + g.positives] - self.harmonic[before]
        return g.positives - (before - g.found) * slots

    def reciprocal(self, cut: int | None) -> tuple[Floats, Floats, Floats]:
        g = self.groups
        first = g.found == 0
        expected = np.zeros(len(first))
        single = first & (g.positives == 1)
        end = g.offset + 1 + g.tied if cut is None else np.minimum(g.offset + 1 + g.tied, np.maximum(cut, g.offset))
        expected[single] = ((self.harmonic[end] - self.harmonic[g.offset]) / (1 + g.tied))[single]
        several = np.flatnonzero(first & ~single)
        cases = np.stack([g.offset, g.positives, g.tied], axis=1)[several]
        distinct, which = np.unique(cases, axis=0, return_inverse=True)
        values = np.array([expected_reciprocal(*map(int, case), cut=cut) for case in distinct])
        expected[several] = values[which.ravel()] if len(several) else 0.0

        def at(rank: Rows) -> Floats:
            return first * np.where(rank <= (cut or np.inf), 1 / rank, 0.0)

        ends = (expected, at(g.offset + 1), at(g.offset + g.tied + 1))
        return tuple(self._per_query(value) for value in ends)  # type: ignore[return-value]


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
