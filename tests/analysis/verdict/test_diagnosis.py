"""Every verdict with what brings it about, and with what narrowly does not."""

import math
from dataclasses import replace

import numpy as np
import pytest

from embviz_callback.analysis.metrics.intervals import PerQuery, Sampling
from embviz_callback.analysis.metrics.numbers import Metrics, evaluate_pairs
from embviz_callback.analysis.verdict.best import Candidate, candidate
from embviz_callback.analysis.verdict.diagnosis import Diagnosis, diagnose

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


def judged(**changed: float) -> Diagnosis:
    counts = {name: int(changed.pop(name)) for name in ("non_finite", "zero", "n_hard_queries") if name in changed}
    return diagnose(Metrics(HEALTHY | changed, n_queries=100, n_documents=100, **counts))


def run_of(*shares: float, n: int = 400, **changed: float) -> list[Metrics]:
    """A run whose MRR takes these values: right on the first share of the queries, without a rank on the others."""
    ones, nothing = np.ones((n, 1)) * [1.0, 0.5, 0.25], np.zeros(n)
    return [
        Metrics(
            HEALTHY | {"mrr": share} | changed,
            n_queries=n,
            n_documents=n,
            per_query=PerQuery(
                Sampling(np.arange(n)), ones, ones, {"mrr": nothing + (np.arange(n) < round(share * n))}, 0.0
            ),
        )
        for share in shares
    ]


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
    many = {"n_hard_queries": 20}
    assert judged(hard_accuracy=0.49, rank1=0.86, **many).verdict == "suspicious data"
    assert judged(hard_accuracy=0.5, rank1=0.86, **many).verdict == "healthy"
    assert judged(hard_accuracy=0.49, rank1=0.85, **many).verdict == "healthy"


def test_a_few_hard_negatives_say_nothing_of_the_data() -> None:
    assert judged(hard_accuracy=0.0, rank1=0.86, n_hard_queries=19).verdict == "healthy"


def standings(run: list[Metrics], *losses: float) -> list[Candidate]:
    known = losses or (math.nan,) * len(run)
    return [
        candidate(one.per_query, "mrr", label=f"epoch {at}", training_loss=loss)
        for at, (one, loss) in enumerate(zip(run, known, strict=True))
        if one.per_query is not None
    ]


def test_a_fall_from_the_best_is_said_and_overfitting_only_where_the_training_loss_still_falls() -> None:
    run = run_of(0.70, 0.95, 0.94, 0.85)
    found = diagnose(run[-1], run=standings(run))
    assert found.verdict == "fallen from its best"
    assert found.reason == "MRR was 0.950 at its best (epoch 1) and is 0.850, beyond chance"
    found = diagnose(run[-1], run=standings(run, 2.0, 1.0, 0.9, 0.999))
    assert found.verdict == "overfitting"
    assert found.reason.endswith("is 0.850, beyond chance, while the training loss fell from 1 to 0.999")
    for last in (1.0, 1.5, math.nan):
        assert diagnose(run[-1], run=standings(run, 2.0, 1.0, 0.9, last)).verdict == "fallen from its best"
    # Neither a known fall of the loss nor one that is not known makes a fall where there is none.
    rising = run_of(0.6, 0.7, 0.8, 0.9)
    assert diagnose(rising[-1], run=standings(rising, 4.0, 3.0, 2.0, 1.0)).verdict == "healthy"


def test_at_its_best_nothing_has_fallen_whatever_other_metrics_do() -> None:
    run = run_of(0.6, 0.7, 0.8, 0.9)
    assert diagnose(run[-1], run=standings(run)).verdict == "healthy"
    worse = replace(run[-1], figures=dict(run[-1]) | {"separation": 2.1})
    assert diagnose(worse, run=standings(run)).verdict == "healthy"


def test_a_training_that_has_raised_nothing_is_not_told_to_go_on() -> None:
    def advice(*mrrs: float) -> str:
        run = [replace(one, figures=dict(one) | {"auc": 0.8}) for one in run_of(*mrrs)]
        found = diagnose(run[-1], run=standings(run))
        assert found.verdict == "undertrained"
        return found.advice

    assert advice(0.70, 0.71) == "train longer, or raise the learning rate or the head's size"
    for last in (0.70, 0.69):
        assert advice(0.70, 0.72, last) == (
            f"MRR was 0.700 at first (epoch 0) and is {last:.3f}: before training longer, look at the learning rate, at"
            " what is trained, and at whether the pairs are right and many enough"
        )


def test_a_fall_within_chance_is_none() -> None:
    for run in (run_of(0.70, 0.90, 0.89), run_of(0.7, 0.9, 0.8, n=30)):
        assert diagnose(run[-1], run=standings(run)).verdict == "healthy"


def test_among_a_corpus_the_verdict_is_that_of_the_subset_s_own_documents() -> None:
    own = Metrics(HEALTHY, n_queries=100, n_documents=100)
    among = Metrics(HEALTHY | {"rank1": 0.3, "recall_at_10": 0.5}, n_queries=100, n_documents=100, own=own)
    assert diagnose(replace(among, own=None)).verdict == "undertrained"
    found = diagnose(among)
    assert found.verdict == "healthy"
    assert found.reason == f"among the documents of the data alone, {diagnose(own).reason}"


def test_an_auc_below_1_is_never_written_as_1() -> None:
    assert "AUC 0.999 and" in judged(auc=0.9997).reason
    assert "AUC 1.000 and" in judged(auc=1.0).reason


def test_a_diverged_model_cannot_be_judged() -> None:
    found = diagnose(evaluate_pairs(np.full((5, 3), np.nan), np.eye(5, 3), np.arange(5)))
    assert (found.verdict, found.advice) == ("cannot judge", "look for NaN in the loss and at what encode returns")
    found = judged(non_finite=100, zero=1)
    assert found.verdict == "cannot judge"
    assert found.reason == "100 rows are not finite and 1 has no length, hard negatives included"
    assert judged(non_finite=100).verdict == "healthy"  # exactly half


def test_too_little_data_cannot_be_judged() -> None:
    assert diagnose(evaluate_pairs(np.eye(1, 3), np.eye(1, 3), [0])).reason == "1 query and 1 document are too few"
    assert diagnose(evaluate_pairs(np.eye(2, 3), np.eye(2, 3), [0, 1])).verdict == "healthy"
    assert judged().reason.endswith(" and rank-1 90.0 %")  # as the page's tile has it
    assert judged(margin=math.nan).reason == "margin is n/a and rank-1 90.0 %: no pairs to compare"


def test_figures_that_an_older_file_lacks_decide_nothing() -> None:
    assert diagnose(Metrics({"margin": 0.1, "rank1": 0.5}, n_queries=9, n_documents=9)).verdict == "undertrained"


def test_every_verdict_is_a_known_one() -> None:
    known = {"healthy", "compressed scale", "collapse", "undertrained", "suspicious data", "cannot judge"}
    assert {judged().verdict, judged(margin=0.1).verdict} < known
    assert judged().advice
