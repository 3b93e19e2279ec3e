"""Which feature moves the similarity most, and whether that is what the weights ask for."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from embviz_callback.analysis.metrics.resampling import (
    Draws,
    Estimate,
    draw_clusters,
    estimate,
    or_least,
    simultaneous,
    spearman,
    told,
)
from embviz_callback.analysis.scan import Similarity, exact_scores
from embviz_callback.embeddings import Embeddings, Floats, Rows, unit_rows
from embviz_callback.pairs.weight_rule import OTHER, WeightRule

SMALL = 10
_SINGLE, _JOINT = "changed alone", "least squares"


@dataclass(frozen=True)
class Effect:
    """How far the similarity drops when one feature changes.

    Attributes:
        feature: Its name.
        drop: Mean drop of the cosine, with its interval.
        count: Comparisons behind it.
        method: "changed alone": the mean over texts in which nothing else was changed; "least
            squares": a share of the drop of texts that changed several, for a feature that hardly
            ever changes alone.
        joint: The least-squares drop from all comparisons, for every feature, as a cross-check.
        weight: What the weight rule gives the feature, None without a rule.
        has_own_weight: Whether the rule names it; else it weighs as ``other``.
    """

    feature: str
    drop: Estimate
    count: int
    method: str
    joint: Estimate
    weight: float | None = None
    has_own_weight: bool = False

    @property
    def is_small(self) -> bool:
        """Whether fewer than ten comparisons speak for it."""
        return self.count < SMALL

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        names = ("feature", "drop", "count", "small=is_small", "method", "drop_least_squares=joint")
        return told(self, *names, "weight", "has_own_weight")


@dataclass(frozen=True)
class Disorder:
    """Two features that the weights order one way and the model the other.

    Attributes:
        heavier: The feature of the larger weight.
        lighter: The one that moves the similarity more all the same.
        excess: By how much more, with an interval that holds for all pairs of features at once.
    """

    heavier: str
    lighter: str
    excess: Estimate

    @property
    def is_clear(self) -> bool:
        """Whether that interval lies above 0: more than chance."""
        return self.excess.low > 0

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        return told(self, "heavier", "lighter", "excess", "clear=is_clear")


@dataclass(frozen=True)
class Importance:
    """The features by their effect, beside the weights.

    Attributes:
        effects: Largest drop first.
        spearman: Rank correlation of drop and weight over all features with a weight; NaN below
            two or without weights.
        out_of_order: Pairs that disagree, largest excess first.
    """

    effects: tuple[Effect, ...]
    spearman: float = math.nan
    out_of_order: tuple[Disorder, ...] = ()

    @property
    def order(self) -> tuple[str, ...]:
        """Features, the one that moves the similarity most first."""
        return tuple(effect.feature for effect in self.effects)

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        return told(self, "effects", "spearman_with_weights=spearman", "out_of_order")


def importance_of_types(
    embeddings: Embeddings,
    similarity: Similarity,
    hard_types: Sequence[Sequence[str]],
    *,
    rule: WeightRule | None = None,
    draws: int = 1000,
    seed: int = 0,
    clusters: Rows | None = None,
) -> Importance:
    """Effects from the hard negatives: best positive's cosine minus the hard negative's, by type.

    The drop of a type is the mean over hard negatives of that type alone, which assumes nothing.
    Where there are fewer than ten of those, it is the type's share in a least-squares fit over
    all hard negatives (drop = sum over its types, no constant), which assumes that drops add up;
    the fit is given beside every type as a cross-check. Intervals are drawn over queries.

    Args:
        embeddings: The subset's vectors.
        similarity: Their scan.
        hard_types: Per hard pair, what differs.
        rule: The weights to compare with.
        draws: Resamples.
        seed: Of the resamples.
        clusters: ``(n_queries,)`` queries that are drawn together.

    Returns:
        The effects; none without usable hard negatives.

    Raises:
        ValueError: If there is not one entry of types per hard pair.
    """
    pairs = embeddings.hard_pairs
    if len(hard_types) != len(pairs):
        raise ValueError(f"hard_types must have one entry per hard pair, got {len(hard_types)} for {len(pairs)}")
    query = pairs[:, 0]
    # Cosines, as edits are measured by, whatever the model ranks by.
    best = similarity.best_positive_row[query]
    drops = exact_scores(embeddings.queries, embeddings.documents, np.stack([query, best], axis=1))
    drops -= exact_scores(embeddings.queries, embeddings.hard_negatives, pairs)
    drops[best < 0] = np.nan
    owner = query if clusters is None else np.asarray(clusters)[query]
    return _importance(drops, [tuple(types) for types in hard_types], owner, rule, draws, seed)


def importance_of_edits(
    encode: Callable[[list[str]], ArrayLike],
    edits: Sequence[tuple[str, str, str]],
    *,
    rule: WeightRule | None = None,
    draws: int = 1000,
    seed: int = 0,
) -> Importance:
    """Effects from controlled edits: 1 minus the cosine of a text with itself after one change.

    Args:
        encode: Texts to ``(n, dim)`` vectors of any length, on the CPU.
        edits: (text, edited text, the one feature that was changed).
        rule: The weights to compare with.
        draws: Resamples, over texts: all edits of one text are drawn together.
        seed: Of the resamples.

    Returns:
        The effects; none without edits.

    Raises:
        ValueError: If `encode` does not give one vector per text.
    """
    texts = list(dict.fromkeys(text for before, after, _ in edits for text in (before, after)))
    if not texts:
        return Importance(())
    vectors, _, _ = unit_rows("encode(texts)", encode(texts))
    if len(vectors) != len(texts):
        raise ValueError(f"encode must give one vector per text, got {len(vectors)} for {len(texts)} texts")
    row = {text: at for at, text in enumerate(texts)}
    left = np.array([row[before] for before, _, _ in edits])
    right = np.array([row[after] for _, after, _ in edits])
    wide = vectors.astype(np.float64)
    usable: NDArray[np.bool_] = np.any(wide != 0, axis=1)
    # From the difference of the vectors: 1 - cosine would lose all digits of a tiny change.
    distances = ((wide[left] - wide[right]) ** 2).sum(axis=1) / 2
    drops = np.where(usable[left] & usable[right], distances, np.nan)
    return _importance(drops, [(feature,) for _, _, feature in edits], left, rule, draws, seed)


def _importance(
    drops: Floats, changed: Sequence[tuple[str, ...]], clusters: Rows, rule: WeightRule | None, draws: int, seed: int
) -> Importance:
    known = ~np.isnan(drops)
    rows = np.flatnonzero(known).tolist()
    drops, clusters, changed = drops[known], clusters[known], [tuple(dict.fromkeys(changed[at])) for at in rows]
    features = sorted({name for names in changed for name in names})
    if not features:
        return Importance(())
    table = np.array([[name in names for name in features] for names in changed], dtype=np.float64)
    resampled = draw_clusters(clusters, draws=draws, seed=seed)
    single, replicates = _alone(drops, table, resampled)
    joint, joint_replicates = _least_squares(drops, table, resampled)
    effects, chosen = [], {}
    for at, feature in enumerate(features):
        count = int((table[:, at] * (table.sum(axis=1) == 1)).sum())
        alone = count >= SMALL or count == int(table[:, at].sum())
        chosen[feature] = replicates[:, at] if alone else joint_replicates[:, at]
        both = estimate(joint[at], joint_replicates[:, at])
        drop = estimate(single[at], replicates[:, at]) if alone else both
        n = count if alone else int(table[:, at].sum())
        effects.append(Effect(feature, drop, n, _SINGLE if alone else _JOINT, both, *_weight(feature, rule)))
    ranked = tuple(sorted(effects, key=lambda effect: (-or_least(effect.drop.value), effect.feature)))
    return Importance(ranked, _agreement(ranked), _out_of_order(ranked, chosen))


def _weight(feature: str, rule: WeightRule | None) -> tuple[float | None, bool]:
    if rule is None:
        return None, False
    return rule.weight([feature]), feature in rule.base and feature != OTHER


def _alone(drops: Floats, table: Floats, resampled: Draws) -> tuple[Floats, Floats]:
    """Mean drop per feature over rows that changed nothing else, and its replicates."""
    single = table * (table.sum(axis=1) == 1)[:, None]
    sums = resampled.sums(np.concatenate([single, single * drops[:, None]], axis=1))
    n = table.shape[1]
    with np.errstate(divide="ignore", invalid="ignore"):
        point: Floats = (single * drops[:, None]).sum(axis=0) / single.sum(axis=0)
        replicates: Floats = sums[:, n:] / sums[:, :n]
    return point, replicates


def _least_squares(drops: Floats, table: Floats, resampled: Draws) -> tuple[Floats, Floats]:
    """Additive drops per feature, from normal equations that are summed per cluster."""
    n = table.shape[1]
    products = (table[:, :, None] * table[:, None, :]).reshape(len(table), n * n)
    sums = resampled.sums(np.concatenate([products, table * drops[:, None]], axis=1))
    point: Floats = np.linalg.lstsq(table, drops, rcond=None)[0].astype(np.float64)
    if np.isnan(sums).any():
        return point, np.full((1, n), np.nan)
    inverse = np.linalg.pinv(sums[:, : n * n].reshape(-1, n, n), hermitian=True)
    replicates: Floats = np.einsum("dij,dj->di", inverse, sums[:, n * n :])
    # A feature that a draw does not hold has no drop in it; the pseudo-inverse would say 0.
    absent = np.einsum("dii->di", sums[:, : n * n].reshape(-1, n, n)) == 0
    return point, np.where(absent, np.nan, replicates)


def _agreement(effects: Sequence[Effect]) -> float:
    known = [effect for effect in effects if effect.weight is not None and not math.isnan(effect.drop.value)]
    drops, weights = ([one.drop.value for one in known], [one.weight for one in known])
    return spearman(np.array(drops), np.array(weights, dtype=np.float64))


def _out_of_order(effects: Sequence[Effect], replicates: Mapping[str, NDArray[np.float64]]) -> tuple[Disorder, ...]:
    """Pairs that the weights order the other way; all pairs are one family, of which 5 % err in one at most."""
    # Effects stand largest drop first, so the first of a pair moves the similarity more.
    pairs = list(combinations([effect for effect in effects if effect.weight is not None], 2))
    if not pairs:
        return ()
    values = np.array([stronger.drop.value - weaker.drop.value for stronger, weaker in pairs])
    drawn = [replicates[stronger.feature] - replicates[weaker.feature] for stronger, weaker in pairs]
    found = [
        Disorder(weaker.feature, stronger.feature, excess)
        for (stronger, weaker), excess in zip(pairs, simultaneous(values, np.stack(drawn, axis=1)), strict=True)
        if (stronger.weight or 0.0) < (weaker.weight or 0.0) and excess.value > 0
    ]
    return tuple(sorted(found, key=lambda pair: -pair.excess.value))
