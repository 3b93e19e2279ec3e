"""One rule for the best of several evaluations, and when the last has fallen from it."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest

from embviz_callback.analysis.verdict.best import (
    Candidate,
    Fall,
    best_of,
    check_metric,
    choose_best,
    chosen_metric,
    fallen,
    merit,
)
from embviz_callback.embeddings import Embeddings


def candidates(*shares: float, n: int = 400, separations: tuple[float, ...] = ()) -> list[Candidate]:
    """Right on the first share of the queries: nested, so that the discordance is the difference."""
    extra = separations or (1.0,) * len(shares)
    return [
        Candidate(share, (np.arange(n) < round(share * n)).astype(float), one)
        for share, one in zip(shares, extra, strict=True)
    ]


def test_one_right_document_each_is_judged_by_its_rank_and_lists_by_ndcg() -> None:
    single, several = (
        Embeddings.from_raw(np.eye(2), np.eye(2), pairs) for pairs in ([(0, 0), (1, 1)], [(0, 0), (0, 1), (1, 0)])
    )
    assert [chosen_metric(single), chosen_metric(several)] == ["mrr", "ndcg_at_10"]
    graded = replace(single, grades=np.array([(0, 0, 2), (1, 0, 1)]))
    assert chosen_metric(graded) == "ndcg_at_10"


def test_the_highest_is_the_best_whatever_the_separation_of_a_worse_one() -> None:
    found = choose_best(candidates(0.80, 0.76, separations=(1.0, 9.0)), "mrr")
    assert (found.place, found.equals, found.undecided) == (0, (), ())


def test_what_cannot_be_told_from_the_best_is_named_and_not_preferred() -> None:
    found = choose_best(candidates(0.80, 0.7975, 0.7, separations=(1.0, 9.0, 9.0)), "mrr")
    assert (found.place, found.undecided) == (0, (1,))


def test_of_those_that_are_the_same_beyond_doubt_the_more_separated_is_the_best() -> None:
    found = choose_best(candidates(0.80, 0.80, n=4000, separations=(1.0, 1.1)), "mrr")
    assert (found.place, found.equals, found.undecided) == (1, (0,), ())
    # So few queries do not show that two are the same, even if they agree on every one.
    assert choose_best(candidates(0.8, 0.8, n=50, separations=(1.0, 1.1)), "mrr").place == 0


def test_the_interval_of_the_best_of_many_reaches_lower_than_its_own() -> None:
    rng = np.random.default_rng(0)
    equal = [Candidate(float(one.mean()), one, 1.0) for one in (rng.random((16, 300)) < 0.8).astype(float)]
    best = choose_best(equal, "rank1")
    alone = choose_best([equal[best.place]], "rank1")
    assert best.interval[0] < alone.interval[0] - 0.01
    assert best.interval[1] == pytest.approx(alone.interval[1], abs=1e-12)


def test_evaluations_far_behind_do_not_widen_the_interval_of_the_best() -> None:
    alone, beside = (choose_best(candidates(0.8, *others), "rank1") for others in ((), (0.5, 0.4, 0.3)))
    assert beside.interval == alone.interval


def test_nothing_usable_has_no_interval() -> None:
    nothing = Candidate(math.nan, np.full(20, np.nan), math.nan)
    assert all(math.isnan(end) for end in choose_best([nothing], "mrr").interval)


def test_a_fall_is_said_of_the_last_against_the_best_before_it() -> None:
    assert fallen(candidates(0.6, 0.8, 0.7), "mrr") == Fall("mrr", 1, 0.8, 0.7)


def test_nothing_has_fallen_while_it_is_at_its_best_or_near_it() -> None:
    assert fallen(candidates(0.6, 0.5, 0.8), "mrr") is None  # a dip on the way up
    assert fallen(candidates(0.6, 0.8, 0.792), "mrr") is None  # less than 0.01
    assert fallen(candidates(0.6, 0.8, 0.77, n=100), "mrr") is None  # three queries of a hundred
    assert fallen(candidates(0.8), "mrr") is None


def test_the_more_often_one_has_looked_the_deeper_a_fall_must_be() -> None:
    shares = (0.8, 0.755)
    assert fallen(candidates(*shares), "mrr") is not None
    assert fallen(candidates(*(0.5,) * 60, *shares), "mrr") is None


def test_a_fall_from_a_peak_more_than_fifty_evaluations_ago_names_its_place() -> None:
    found = fallen(candidates(*(0.5,) * 60, 0.9, 0.5), "mrr")
    assert found is not None
    assert found.peak == 60


def with_merits(run: list[Candidate]) -> list[float]:
    found: list[Candidate] = []
    for one in run:
        found.append(replace(one, merit=merit([*found, one], "mrr")))
    return [one.merit for one in found]


def test_whoever_keeps_the_highest_merit_keeps_by_the_rule() -> None:
    shares = (0.80, 0.80, 0.8005, 0.70, 0.85)
    run = candidates(*shares, n=4000, separations=(1.0, 1.1, 1.05, 9.0, 0.5))
    merits = with_merits(run)
    assert merits == pytest.approx([0.80, 0.800001, 0.800001, 0.70, 0.85], abs=1e-9)
    kept = [at for at in range(5) if merits[at] > max([0.0, *merits[:at]])]
    assert kept == [0, 1, 4]  # the third is higher, but the same to within 0.005 and less separated
    assert kept == [at for at in range(5) if best_of(run[: at + 1], "mrr") == at]


def test_what_cannot_be_measured_has_no_merit_and_takes_none() -> None:
    nothing = Candidate(math.nan, np.full(400, np.nan), math.nan)
    first, second, third = with_merits([candidates(0.8)[0], nothing, candidates(0.9)[0]])
    assert (first, third) == (0.8, 0.9)
    assert math.isnan(second)


def test_a_candidate_is_the_same_after_a_file() -> None:
    values = np.float32([0.25, 1 / 3, 1.0]).astype(np.float64)
    one = Candidate(0.5, values, math.inf, "epoch 3", "mrr", math.nan, 0.5)
    again = Candidate.from_json(json.loads(json.dumps(one.to_json(), allow_nan=False)))
    assert again.pseudo.tolist() == values.tolist()
    assert (again.value, again.separation, again.merit) == (0.5, math.inf, 0.5)
    assert (again.label, again.metric) == ("epoch 3", "mrr")
    assert math.isnan(again.training_loss)


def test_a_metric_that_nothing_can_be_chosen_by_is_refused() -> None:
    check_metric("")
    check_metric("recall_at_10")
    with pytest.raises(ValueError) as error:
        check_metric("negative_mean")
    assert str(error.value).startswith("metric must be one of rank1, mrr,")
    assert str(error.value).endswith("margin, separation, got 'negative_mean'")
