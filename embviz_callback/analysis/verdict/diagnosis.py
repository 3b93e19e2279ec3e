"""What the numbers say together: a verdict, its reason and what to do."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from embviz_callback.analysis.metrics.catalogue import INTACT_AUC, INTACT_RANK1, ONE_CLUSTER
from embviz_callback.analysis.metrics.numbers import Metrics
from embviz_callback.grammar import counted

VERDICTS = (
    "healthy",
    "compressed scale",
    "collapse",
    "undertrained",
    "suspicious data",
    "overfitting",
    "cannot judge",
)
NEAR_MISSES = 0.9  # recall@10 above which a missed positive is usually close by
_USED = ("margin", "separation", "auc", "rank1", "recall_at_10", "negative_mean", "effective_rank", "mean_off_diagonal")
_LEAST_FALL = {"rank1": 0.02, "separation": 0.1}


@dataclass(frozen=True)
class Diagnosis:
    """A verdict on one evaluation.

    Attributes:
        verdict: One of VERDICTS.
        reason: The numbers that led to it.
        advice: What to look at or try next.
    """

    verdict: str
    reason: str
    advice: str


def diagnose(metrics: Metrics, *, history: Sequence[Metrics] = ()) -> Diagnosis:
    """The first rule that fits, gravest first.

    Args:
        metrics: The evaluation.
        history: Earlier evaluations of the same run and subset, oldest first.

    Returns:
        cannot judge (no usable scores, fewer than two queries or documents, or most rows without
        a direction), collapse, overfitting, suspicious data, compressed scale, healthy, or else
        undertrained.
    """
    # What an older file does not hold decides nothing.
    metrics = replace(metrics, figures=dict.fromkeys(_USED, math.nan) | dict(metrics))
    return (
        _cannot_judge(metrics)
        or _collapse(metrics)
        or _overfitting(metrics, history)
        or _suspicious_data(metrics)
        or _compressed_scale(metrics)
        or _healthy(metrics)
        or _undertrained(metrics)
    )


def _cannot_judge(m: Metrics) -> Diagnosis | None:
    unusable = m.non_finite + m.zero
    if unusable > (m.n_queries + m.n_documents) / 2:
        without = f"{m.zero} {'has' if m.zero == 1 else 'have'} no length, of {m.n_queries + m.n_documents}"
        reason = f"{counted(m.non_finite, 'row[s] [are|is] not finite')} and {without}"
    elif m.n_queries < 2 or m.n_documents < 2:
        reason = f"{counted(m.n_queries, 'query')} and {counted(m.n_documents, 'document')} are too few"
    elif math.isnan(m.margin) or math.isnan(m.rank1):
        reason = f"margin is {m.margin:.4f} and rank-1 {m.rank1:.4f}: no pairs to compare"
    else:
        return None
    return Diagnosis("cannot judge", reason, "look for NaN in the loss and at what encode returns; add pairs")


def _collapse(m: Metrics) -> Diagnosis | None:
    one_way = m.mean_off_diagonal > ONE_CLUSTER or m.effective_rank < 2
    if not one_way or _is_intact(m):
        return None
    return Diagnosis(
        "collapse",
        f"two different documents have a mean cosine of {m.mean_off_diagonal:.3f}, effective rank is"
        f" {m.effective_rank:.1f} and AUC {_auc(m):.3f}: all texts get nearly one vector",
        "lower the learning rate, check that the loss has negatives and that the head is not frozen at zero",
    )


def _auc(m: Metrics) -> float:
    return Metrics.auc.capped(m.auc, decimals=3)


def _is_intact(m: Metrics) -> bool:
    # The separation is NaN or infinite only without any spread, where AUC decides alone.
    wide = m.separation > Metrics.separation.threshold or math.isnan(m.separation)
    return wide and m.auc >= INTACT_AUC and m.rank1 >= INTACT_RANK1


def _overfitting(m: Metrics, history: Sequence[Metrics]) -> Diagnosis | None:
    for name, least in _LEAST_FALL.items():
        earlier = [past[name] for past in history if math.isfinite(past.get(name, math.nan))]
        if len(earlier) < 2 or not math.isfinite(m[name]):
            continue
        peak = max(earlier)
        noise = max(least, _half_width(m, name))
        if peak - earlier[0] > noise and peak - m[name] > noise:
            return Diagnosis(
                "overfitting",
                f"{name} rose from {earlier[0]:.3f} to {peak:.3f} and has fallen to {m[name]:.3f},"
                f" more than its noise of {noise:.3f}",
                "keep the checkpoint of the best epoch; stop earlier, or add data or regularisation",
            )
    return None


def _half_width(m: Metrics, name: str) -> float:
    low, high = m.intervals.get(name, (0.0, 0.0))
    return (high - low) / 2 if math.isfinite(high - low) else 0.0


def _suspicious_data(m: Metrics) -> Diagnosis | None:
    if m.get("hard_accuracy", 1.0) < 0.5 and m.rank1 > Metrics.rank1.threshold:
        return Diagnosis(
            "suspicious data",
            f"rank-1 is {m.rank1:.3f}, yet only {m['hard_accuracy']:.3f} of the queries put their positive above"
            " all their hard negatives",
            "read the hard negatives that score highest: some may be right answers",
        )
    if m.auc >= INTACT_AUC and m.recall_at_10 >= NEAR_MISSES and m.rank1 < INTACT_RANK1:
        return Diagnosis(
            "suspicious data",
            f"AUC is {_auc(m):.3f} and recall@10 {m.recall_at_10:.3f}, yet rank-1 only {m.rank1:.3f}:"
            " a few negatives stand just above the positive",
            "read the documents that come first: near copies and unlabelled right answers are false negatives",
        )
    return None


def _compressed_scale(m: Metrics) -> Diagnosis | None:
    if m.margin > Metrics.margin.threshold or not _is_intact(m):
        return None
    return Diagnosis(
        "compressed scale",
        f"margin is {m.margin:.3f}, but separation {m.separation:.2f}, AUC {_auc(m):.3f} and rank-1 {m.rank1:.3f}"
        f" are intact: scores are squeezed around {m.negative_mean:.2f}",
        "judge by separation and rank-1; set score thresholds on this scale, or train with a lower temperature",
    )


def _healthy(m: Metrics) -> Diagnosis | None:
    if m.margin <= Metrics.margin.threshold or not _is_intact(m):
        return None
    return Diagnosis(
        "healthy",
        f"margin is {m.margin:.3f}, separation {m.separation:.2f}, AUC {_auc(m):.3f} and rank-1 {m.rank1:.3f}",
        "nothing to mend; the checklist says whether to ship it",
    )


def _undertrained(m: Metrics) -> Diagnosis:
    return Diagnosis(
        "undertrained",
        f"margin is {m.margin:.3f}, separation {m.separation:.2f}, AUC {_auc(m):.3f} and rank-1 {m.rank1:.3f}:"
        f" positives do not stand clear of negatives (effective rank {m.effective_rank:.1f})",
        "train longer, or raise the learning rate or the head's size",
    )
