"""A gate against a baseline, and how many queries it takes to see a difference."""

import numpy as np
import pytest
from scipy.stats import binom

from embviz_callback.analysis.metrics.intervals import PerQuery, Sampling
from embviz_callback.analysis.verdict.best import Candidate, candidate
from embviz_callback.analysis.verdict.losses import KEPT, LOST, UNDECIDED, loss_at_look, losses
from embviz_callback.analysis.verdict.power import discordance, planned, queries_needed, smallest_difference


def right_on(places: np.ndarray, n: int = 1000) -> PerQuery:
    """An evaluation that is right on some of the queries."""
    hits = np.zeros(n)
    hits[places] = 1
    ones = np.ones((n, 1)) * [1.0, 0.5, 0.26 + 0.01]
    return PerQuery(Sampling(np.arange(n)), ones, ones * [1.0, 0.2, 0.2], {"rank1": hits}, 0.0)


BEFORE = right_on(np.arange(800))


def outcome(after: PerQuery, allowed: float) -> str:
    return losses(BEFORE, after, {"rank1": allowed})[0].outcome


def test_a_loss_is_shown_excluded_or_not_to_be_told() -> None:
    lost = right_on(np.arange(50, 800))
    assert outcome(lost, 0.01) == LOST
    assert outcome(lost, 0.045) == UNDECIDED
    assert outcome(lost, 0.10) == KEPT
    assert outcome(BEFORE, 0.01) == KEPT
    assert outcome(right_on(np.arange(20, 820)), 0.0) == UNDECIDED  # as many won as lost
    assert outcome(right_on(np.arange(900)), 0.0) == KEPT


def test_where_lower_is_better_a_rise_is_the_loss() -> None:
    higher = PerQuery(BEFORE.sampling, BEFORE.positive, np.add(BEFORE.negative, [0.0, 0.1, 0.1]), BEFORE.ranks, 0.0)
    assert losses(BEFORE, higher, {"negative_mean": 0.05})[0].value == pytest.approx(0.1)


def test_more_metrics_ask_for_more_of_each() -> None:
    lost = right_on(np.arange(50, 800))
    (alone,), (among, *_) = (
        losses(BEFORE, lost, dict.fromkeys(names, 0.0)) for names in (["rank1"], ["rank1", "margin"])
    )
    assert among.low < alone.low < alone.value < alone.high < among.high


def test_a_later_look_at_a_run_must_show_more() -> None:
    before, lost = candidate(BEFORE, "rank1"), candidate(right_on(np.arange(14, 800)), "rank1")
    assert losses(BEFORE, right_on(np.arange(14, 800)), {"rank1": 0.0})[0].outcome == LOST
    found = [loss_at_look(before, lost, "rank1", look=look) for look in (1, 50)]
    assert [one.outcome for one in found] == [LOST, UNDECIDED]
    assert [one.value for one in found] == pytest.approx([0.014, 0.014])
    assert loss_at_look(before, lost, "rank1", allowed=0.02).outcome == UNDECIDED


def test_of_runs_of_equal_evaluations_at_most_one_in_twenty_is_ever_said_to_be_worse() -> None:
    rng, accused = np.random.default_rng(0), 0
    for _ in range(200):
        hard = rng.standard_normal(150)
        untrained, *run = (
            Candidate(float(hits.mean()), hits, 1.0)
            for hits in (hard + 0.5 * rng.standard_normal((21, 150)) < 0.8).astype(float)
        )
        looks = enumerate(run, start=1)
        accused += any(loss_at_look(untrained, one, "rank1", look=k).outcome == LOST for k, one in looks)
    assert accused <= 14  # 10 are expected at most; 15 come in 8 % of draws


def test_few_groups_or_other_ones_are_not_judged() -> None:
    few = Candidate(0.2, np.array([1.0, 0, 0, 0, 0]), 1.0)
    none = Candidate(0.0, np.zeros(5), 1.0)
    assert loss_at_look(few, none, "rank1").outcome == UNDECIDED
    with pytest.raises(ValueError) as error:
        loss_at_look(few, Candidate(0.0, np.zeros(6), 1.0), "rank1")
    assert str(error.value) == "both must be of the same groups of queries, got 5 and 6"
    with pytest.raises(ValueError) as error:
        loss_at_look(few, none, "rank1", allowed=-0.1, look=0)
    assert str(error.value) == "allowed must be at least 0 and look at least 1, got -0.1 and 0"


def test_a_gate_refuses_what_it_cannot_judge() -> None:
    with pytest.raises(ValueError) as error:
        losses(BEFORE, BEFORE, {"rank_1": 0.0})
    assert str(error.value) == (
        "a loss can be allowed of positive_mean, negative_mean, margin, separation, rank1, not of 'rank_1'"
    )
    with pytest.raises(ValueError) as error:
        losses(BEFORE, BEFORE, {"rank1": -0.1})
    assert str(error.value) == "an allowed loss must be at least 0, got -0.1 for rank1"
    with pytest.raises(ValueError) as error:
        losses(BEFORE, right_on(np.arange(5), n=10), {"rank1": 0.1})
    assert str(error.value) == "the baseline has 1000 queries and the model 10"


@pytest.mark.parametrize(("difference", "disagreeing"), [(0.05, 0.15), (0.02, 0.05), (0.1, 0.2)])
def test_the_queries_needed_find_the_difference_in_four_of_five_runs(difference: float, disagreeing: float) -> None:
    """By the exact test of those that disagree, which flipped signs come to."""
    n, found = queries_needed(difference, disagreeing), 0.0
    for moved in range(n + 1):
        gained = np.arange(moved + 1)
        sides = np.minimum(binom.cdf(gained, moved, 0.5), binom.sf(gained - 1, moved, 0.5))
        shown = binom.pmf(gained, moved, 0.5 + difference / disagreeing / 2)[2 * sides <= 0.05].sum()
        found += binom.pmf(moved, n, disagreeing) * shown
    assert 0.795 < found < 0.83


def test_the_smallest_difference_is_the_one_that_needs_so_many() -> None:
    assert queries_needed(smallest_difference(500, 0.12), 0.12) == 500
    assert np.isnan(smallest_difference(20, 0.05))
    assert planned(0.08) == ((0.05, None), (0.10, queries_needed(0.08, 0.10)), (0.20, queries_needed(0.08, 0.20)))


def test_discordance_counts_the_queries_that_changed() -> None:
    assert discordance(BEFORE, right_on(np.arange(20, 820))) == pytest.approx(0.04)


def test_a_difference_larger_than_the_discordance_is_none() -> None:
    with pytest.raises(ValueError) as error:
        queries_needed(0.2, 0.1)
    assert str(error.value) == "difference must be above 0 and discordance from it to 1, got 0.2 and 0.1"
