"""What ranking among a sample of a corpus tells of the whole of it: shares and bounds, never a rank."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from embviz_callback.analysis.scan import Similarity
from embviz_callback.embeddings import Floats, Rows

DEPTHS = (1, 5, 10, 50)
_ERROR = 0.05
_STEPS = 60  # halvings, down to the last bit


@dataclass(frozen=True)
class WholeCorpus:
    """Bounds on a corpus that was not ranked as a whole, each with an error of at most 5 %.

    Attributes:
        n_texts: Of the whole corpus.
        share_above: Share of its documents that score above a positive, over all positives: the sample's, and the
            ends of its interval.
        hits: Depth to the least and the most that the share of positives within so many places may be.
    """

    n_texts: int
    share_above: tuple[float, float, float]
    hits: dict[int, tuple[float, float]]

    def to_json(self) -> dict[str, Any]:
        """Plain JSON."""
        hits = {f"positives_within_{depth}": list(ends) for depth, ends in self.hits.items()}
        return {"texts": self.n_texts, "share_above": list(self.share_above), **hits}


def whole_corpus(among: Similarity, alone: Similarity, *, n_texts: int) -> WholeCorpus:
    """What a sample tells of its corpus.

    The documents of a sample are alike for all queries; by Chernoff and Hoeffding (1963, theorem 1, which holds without
    replacement as well) a mean of shares is off by no more than one of coins of that probability would be.

    Args:
        among: Of the pool with the sample.
        alone: Of the subset's own documents, which are all known.
        n_texts: Of the whole corpus.

    Returns:
        The bounds.
    """
    n_sampled = among.n_pool - alone.n_pool
    usable = ~np.isnan(among.pair_levels)
    above = (among.pair_above - alone.pair_above)[usable]
    reaching = above + (among.pair_tied - alone.pair_tied)[usable]
    mean = float(above.mean() / n_sampled) if len(above) else math.nan
    low, high = (float(end[0]) for end in _ends(np.array([mean]), n_sampled, _ERROR / 2))
    # Every positive's share has to hold at once.
    _, highest = _ends(reaching / n_sampled, n_sampled, _ERROR / max(len(above), 1))
    unseen = np.ceil(highest * (n_texts - n_sampled))
    best = 1 + among.pair_above[usable]
    worst = best + among.pair_tied[usable] * (unseen > 0) + unseen  # ties against it where documents are unseen
    hits = {depth: (_share(worst, depth), _share(best, depth)) for depth in DEPTHS}
    return WholeCorpus(n_texts, (mean, low, high), hits)


def _share(places: Floats | Rows, depth: int) -> float:
    return float(np.mean(places <= depth)) if len(places) else math.nan


def _ends(shares: Floats, n: int, error: float) -> Sequence[Floats]:
    """The least and the greatest probability under which shares of `n` are not too rare."""
    most = math.log(1 / error) / n
    ends = []
    for far in (np.zeros_like(shares), np.ones_like(shares)):
        near, bound = shares.copy(), far
        for _ in range(_STEPS):
            middle = (near + bound) / 2
            is_too_far = _divergence(shares, middle) > most
            near, bound = np.where(is_too_far, near, middle), np.where(is_too_far, middle, bound)
        ends.append(bound)
    return ends


def _divergence(shares: Floats, probabilities: Floats) -> Floats:
    """Of two coins, Kullback and Leibler's."""
    with np.errstate(divide="ignore", invalid="ignore"):
        heads = np.where(shares > 0, shares * np.log(shares / probabilities), 0.0)
        tails = np.where(shares < 1, (1 - shares) * np.log((1 - shares) / (1 - probabilities)), 0.0)
    return np.asarray(heads + tails)
