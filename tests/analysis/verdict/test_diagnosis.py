"""Every verdict with what brings it about, and with what narrowly does not."""

import math

import numpy as np
import pytest

from embviz_callback.analysis.metrics.numbers import Metrics, evaluate_pairs
from embviz_callback.analysis.verdict.diagnosis import VERDICTS, Diagnosis, diagnose

HEALTHY = {
    "margin": 0.5,
    "separation": 3.0,
    "auc": 0.98,
    "rank1": 0.9,
    "recall_at_10": 0.98,
    "negative_mean": 0.1,
    "effective_rank": 60.0,
    "mean_off_diagonal": 0.1,
}


def judged(history: tuple[Metrics, ...] = (), **changed: float) -> Diagnosis:
    counts = {name: int(changed.pop(name)) for name in ("non_finite", "zero") if name in changed}
    return diagnose(Metrics(HEALTHY | changed, n_queries=100, n_documents=100, **counts), history=history)


def past(*values: float, name: str = "rank1") -> tuple[Metrics, ...]:
    return tuple(Metrics(HEALTHY | {name: value}, n_queries=100, n_documents=100) for value in values)


def noisy(noise: float, n: int = 300, dim: int = 64) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    documents = rng.standard_normal((n, dim))
    return documents + noise * rng.standard_normal((n, dim)), documents


def test_a_model_that_tells_its_pairs_apart_is_healthy_and_a_noisier_one_is_undertrained() -> None:
    assert diagnose(evaluate_pairs(*noisy(1.5), np.arange(300))).verdict == "healthy"
    assert diagnose(evaluate_pairs(*noisy(8.0), np.arange(300))).verdict == "undertrained"
    assert diagnose(evaluate_pairs(*noisy(1e6), np.arange(300))).verdict == "undertrained"


@pytest.mark.parametrize(
    ("edge", "verdict"),
    [({"separation": 2.01}, "healthy"), ({"separation": 2.0}, "undertrained"),
     ({"auc": 0.95}, "healthy"), ({"auc": 0.949}, "undertrained"),
     ({"rank1": 0.6}, "healthy"), ({"rank1": 0.59, "recall_at_10": 0.8}, "undertrained"),
     ({"separation": math.nan}, "healthy"), ({"separation": math.inf}, "healthy")],
)  # fmt: skip
def test_healthy_ends_where_ranking_is_no_longer_intact(edge: dict[str, float], verdict: str) -> None:
    assert judged(**edge).verdict == verdict


def squeezed(rows: np.ndarray, side: int, a: float, b: float) -> np.ndarray:
    rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    rest = np.zeros((len(rows), 2))
    rest[:, side] = math.sqrt(1 - a - b)
    return np.concatenate([math.sqrt(a) * rows, np.full((len(rows), 1), math.sqrt(b)), rest], axis=1)


def test_scores_squeezed_into_the_top_are_a_compressed_scale_not_a_worse_model() -> None:
    queries, documents = noisy(1.2)
    plain = evaluate_pairs(queries, documents, np.arange(300))
    tight = evaluate_pairs(squeezed(queries, 0, 0.2, 0.8), squeezed(documents, 1, 0.2, 0.8), np.arange(300))
    assert (plain.rank1, round(plain.auc, 4)) == (tight.rank1, round(tight.auc, 4))
    assert diagnose(plain).verdict == "healthy"
    found = diagnose(tight)
    assert found.verdict == "compressed scale"
    assert f"margin is {tight.margin:.3f}" in found.reason
    assert "squeezed around 0.80" in found.reason


def test_the_scale_is_compressed_from_the_checklist_s_margin_down() -> None:
    assert judged(margin=0.25).verdict == "compressed scale"
    assert judged(margin=0.251).verdict == "healthy"


def test_a_constant_model_has_collapsed() -> None:
    rng = np.random.default_rng(0)
    one = rng.standard_normal((1, 32))
    exact = evaluate_pairs(one.repeat(60, 0), one.repeat(60, 0), np.arange(60))
    near = one + 0.02 * rng.standard_normal((2, 60, 32))
    for metrics in (exact, evaluate_pairs(near[0], near[1], np.arange(60))):
        assert diagnose(metrics).verdict == "collapse"
    assert diagnose(exact).reason == (
        "two different documents have a mean cosine of 1.000, effective rank is 1.0 and AUC 0.500:"
        " all texts get nearly one vector"
    )


def test_a_narrow_cone_that_still_ranks_has_not_collapsed() -> None:
    poor = {"auc": 0.6, "rank1": 0.05, "separation": 0.4, "margin": 0.01}
    assert judged(mean_off_diagonal=0.951, **poor).verdict == "collapse"
    assert judged(mean_off_diagonal=0.95, **poor).verdict == "undertrained"
    assert judged(effective_rank=1.9, **poor).verdict == "collapse"
    assert judged(effective_rank=2.0, **poor).verdict == "undertrained"
    assert judged(mean_off_diagonal=0.99, margin=0.02).verdict == "compressed scale"


def test_listings_entered_twice_look_like_suspicious_data() -> None:
    """Every document has three unlabelled near copies: false negatives."""
    queries, documents = noisy(1.0, n=60)
    rng = np.random.default_rng(1)
    copies = np.concatenate([documents] + [documents + 0.02 * rng.standard_normal(documents.shape) for _ in range(3)])
    found = diagnose(evaluate_pairs(queries, copies, np.arange(60)))
    assert found.verdict == "suspicious data"
    assert diagnose(evaluate_pairs(queries, documents, np.arange(60))).verdict == "healthy"


def test_suspicion_ends_at_its_edges() -> None:
    assert judged(rank1=0.59, recall_at_10=0.9).verdict == "suspicious data"
    assert judged(rank1=0.6, recall_at_10=0.9).verdict == "healthy"
    assert judged(rank1=0.59, recall_at_10=0.89).verdict == "undertrained"


def test_hard_negatives_that_beat_the_positives_of_a_good_model_are_suspicious() -> None:
    assert judged(hard_accuracy=0.49, rank1=0.86).verdict == "suspicious data"
    assert judged(hard_accuracy=0.5, rank1=0.86).verdict == "healthy"
    assert judged(hard_accuracy=0.49, rank1=0.85).verdict == "healthy"


def test_a_fall_after_a_rise_is_overfitting() -> None:
    found = judged(past(0.70, 0.90, 0.95), rank1=0.90)
    assert found.verdict == "overfitting"
    assert found.reason == "rank1 rose from 0.700 to 0.950 and has fallen to 0.900, more than its noise of 0.020"
    assert judged(past(2.0, 3.5, name="separation"), separation=3.0).verdict == "overfitting"


def test_a_fall_within_the_noise_or_without_a_rise_is_none() -> None:
    assert judged(past(0.70, 0.90, 0.915), rank1=0.90).verdict == "healthy"
    assert judged(past(0.95, 0.94), rank1=0.90).verdict == "healthy"  # it never rose
    assert judged(past(0.95), rank1=0.90).verdict == "healthy"
    assert judged(past(0.7, math.nan), rank1=0.60).verdict == "healthy"
    assert judged(past(0.7, 0.9), rank1=0.95).verdict == "healthy"


def test_a_wide_interval_asks_for_a_larger_fall() -> None:
    metrics = Metrics(HEALTHY, {"rank1": (0.84, 0.96)}, n_queries=100, n_documents=100)
    assert diagnose(metrics, history=past(0.7, 0.95)).verdict == "healthy"
    assert diagnose(metrics, history=past(0.7, 0.97)).verdict == "overfitting"


def test_an_auc_below_1_is_never_written_as_1() -> None:
    assert "AUC 0.999 and" in judged(auc=0.9997).reason
    assert "AUC 1.000 and" in judged(auc=1.0).reason


def test_a_diverged_model_cannot_be_judged() -> None:
    assert diagnose(evaluate_pairs(np.full((5, 3), np.nan), np.eye(5, 3), np.arange(5))).verdict == "cannot judge"
    found = judged(non_finite=100, zero=1)
    assert found.verdict == "cannot judge"
    assert found.reason == "100 rows are not finite and 1 has no length, of 200"
    assert judged(non_finite=100).verdict == "healthy"  # exactly half


def test_too_little_data_cannot_be_judged() -> None:
    assert diagnose(evaluate_pairs(np.eye(1, 3), np.eye(1, 3), [0])).reason == "1 query and 1 document are too few"
    assert diagnose(evaluate_pairs(np.eye(2, 3), np.eye(2, 3), [0, 1])).verdict == "healthy"
    assert judged(margin=math.nan).reason == "margin is nan and rank-1 0.9000: no pairs to compare"


def test_figures_that_an_older_file_lacks_decide_nothing() -> None:
    assert diagnose(Metrics({"margin": 0.1, "rank1": 0.5}, n_queries=9, n_documents=9)).verdict == "undertrained"


def test_every_verdict_is_a_known_one() -> None:
    assert {judged().verdict, judged(margin=0.1).verdict} < set(VERDICTS)
    assert judged().advice
