"""What the numbers say together: a verdict, its reason and what to do."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from embviz_callback.analysis.metrics.catalogue import CATALOGUE, INTACT_AUC, INTACT_RANK1, ONE_CLUSTER, SHARE, SIGMA
from embviz_callback.analysis.metrics.numbers import Metrics
from embviz_callback.analysis.verdict.best import Candidate, fallen
from embviz_callback.analysis.verdict.checklist import ranks_well
from embviz_callback.grammar import counted

NEAR_MISSES = 0.9  # recall@10 above which a missed positive is usually close by
FEWEST_HARD = 20  # queries with hard negatives before their scores say anything of the data
_USED = ("margin", "separation", "auc", "rank1", "recall_at_10", "negative_mean", "effective_rank", "mean_off_diagonal")


@dataclass(frozen=True)
class Diagnosis:
    """A verdict on one evaluation.

    Attributes:
        verdict: As `diagnose` names them.
        reason: The numbers that led to it.
        advice: What to look at or try next.
    """

    verdict: str
    reason: str
    advice: str


def diagnose(metrics: Metrics, *, run: Sequence[Candidate] = ()) -> Diagnosis:
    """The first rule that fits, gravest first.

    Args:
        metrics: The evaluation; one among a corpus is judged among its own documents.
        run: The evaluations of its run by the metric that decides, this one last; empty outside a training.

    Returns:
        cannot judge (no usable scores, fewer than two queries or documents, or most rows without
        a direction), collapse, fallen from its best (overfitting, where the training loss still falls), suspicious
        data, compressed scale, healthy, or else undertrained.
    """
    own = metrics.own or metrics
    # What an older file does not hold decides nothing.
    judged = replace(own, figures=dict.fromkeys(_USED, math.nan) | dict(own))
    fall = _fallen(run)
    found = (
        _cannot_judge(judged)
        or _collapse(judged)
        or fall
        or _suspicious_data(judged)
        or _intact(judged)
        or _undertrained(judged, run)
    )
    if metrics.own is None or found is fall:
        return found
    # Beside the figures against the corpus its numbers would seem wrong.
    return replace(found, reason=f"among the documents of the data alone, {found.reason}")


def _cannot_judge(m: Metrics) -> Diagnosis | None:
    unusable = m.non_finite + m.zero
    if unusable > (m.n_queries + m.n_documents) / 2:
        without = f"{m.zero} {'has' if m.zero == 1 else 'have'} no length, hard negatives included"
        reason = f"{counted(m.non_finite, 'row[s] [are|is] not finite')} and {without}"
        advice = "look for NaN in the loss and at what encode returns"
    elif m.n_queries < 2 or m.n_documents < 2:
        reason = f"{counted(m.n_queries, 'query')} and {counted(m.n_documents, 'document')} are too few"
        advice = "add pairs"
    elif math.isnan(m.margin) or math.isnan(m.rank1):
        reason = f"margin is {_read(m.margin, 'margin')} and rank-1 {_read(m.rank1, 'rank1')}: no pairs to compare"
        advice = "add pairs, and look at what encode returns"
    else:
        return None
    return Diagnosis("cannot judge", reason, advice)


def _collapse(m: Metrics) -> Diagnosis | None:
    one_way = m.mean_off_diagonal > ONE_CLUSTER or m.effective_rank < 2
    if not one_way or ranks_well(m):
        return None
    return Diagnosis(
        "collapse",
        f"two different documents have a mean cosine of {m.mean_off_diagonal:.3f}, effective rank is"
        f" {m.effective_rank:.1f} and AUC {_read(m.auc, 'auc')}: all texts get nearly one vector",
        "lower the learning rate, check that the loss has negatives and that the head is not frozen at zero",
    )


def _level(m: Metrics, but: str = "") -> str:
    """Where the margin, and what it must never be read without, stand."""
    separation, auc, rank1 = (_read(m[name], name) for name in ("separation", "auc", "rank1"))
    return f"margin is {_read(m.margin, 'margin')},{but} separation {separation}, AUC {auc} and rank-1 {rank1}"


def _read(value: float, name: str) -> str:
    """A metric's value as reports and tiles write it; two decimals of a separation."""
    row = CATALOGUE[name]
    if math.isnan(value):
        return "n/a"
    if row.unit == SHARE:
        return f"{100 * row.capped(value):.1f} %"
    decimals = 2 if row.unit == SIGMA else 3
    return f"{row.capped(value, decimals):.{decimals}f}"


def _fallen(run: Sequence[Candidate]) -> Diagnosis | None:
    fall = fallen(run, run[-1].metric) if run else None
    if fall is None:
        return None
    peak, last = run[fall.peak], run[-1]
    highest, value = (_read(one, fall.metric) for one in (fall.highest, fall.value))
    is_overfitting = last.training_loss < peak.training_loss  # false where either is not known
    before, now = f"{peak.training_loss:.4g}", f"{last.training_loss:.4g}"
    loss = f", while the training loss fell from {before} to {now}" if is_overfitting else ""
    return Diagnosis(
        "overfitting" if is_overfitting else "fallen from its best",
        f"{CATALOGUE[fall.metric].title} was {highest} at its best ({peak.label}) and is {value}, beyond chance{loss}",
        "keep the checkpoint of the best epoch; stop earlier, or add data or regularisation"
        if is_overfitting
        else "keep the checkpoint of the best epoch, and look at what the training loss did since",
    )


def _suspicious_data(m: Metrics) -> Diagnosis | None:
    is_hard = m.n_hard_queries >= FEWEST_HARD and m.get("hard_accuracy", 1.0) < 0.5
    if is_hard and m.rank1 > Metrics.rank1.threshold:
        return Diagnosis(
            "suspicious data",
            f"rank-1 is {_read(m.rank1, 'rank1')}, yet only {_read(m['hard_accuracy'], 'hard_accuracy')} of"
            f" {m.n_hard_queries} queries put their positive above all their hard negatives",
            "read the hard negatives that score highest: some may be right answers",
        )
    if m.auc >= INTACT_AUC and m.recall_at_10 >= NEAR_MISSES and m.rank1 < INTACT_RANK1:
        return Diagnosis(
            "suspicious data",
            f"AUC is {_read(m.auc, 'auc')} and recall@10 {_read(m.recall_at_10, 'recall_at_10')}, yet rank-1 only"
            f" {_read(m.rank1, 'rank1')}:"
            " a few negatives stand just above the positive",
            "read the documents that come first: those that answer the query are unlabelled right answers; if they do"
            " not, train on, with such documents as hard negatives",
        )
    return None


def _intact(m: Metrics) -> Diagnosis | None:
    if not ranks_well(m):
        return None
    if m.margin > Metrics.margin.threshold:
        return Diagnosis("healthy", _level(m), "no fault shows; the checklist says whether it is good enough to ship")
    return Diagnosis(
        "compressed scale",
        f"{_level(m, ' but')} are intact: scores are squeezed around {m.negative_mean:.2f}",
        "judge by separation and rank-1 and set score thresholds on this scale; to widen it, train with a higher"
        " temperature (a lower one squeezes)",
    )


def _undertrained(m: Metrics, run: Sequence[Candidate]) -> Diagnosis:
    reason = f"{_level(m)}: positives do not stand clear of negatives (effective rank {m.effective_rank:.1f})"
    return Diagnosis(
        "undertrained", reason, _in_vain(run) or "train longer, or raise the learning rate or the head's size"
    )


def _in_vain(run: Sequence[Candidate]) -> str:
    """What to do where a training has not raised the metric that decides; empty where it has, or outside of one."""
    # Point values, without a test: this says where to look first, and judges no model.
    if len(run) < 2 or not run[-1].value <= run[0].value:
        return ""
    first, last = run[0], run[-1]
    before, now = (_read(one.value, last.metric) for one in (first, last))
    return (
        f"{CATALOGUE[last.metric].title} was {before} at first ({first.label}) and is {now}: before training longer,"
        " look at the learning rate, at what is trained, and at whether the pairs are right and many enough"
    )
