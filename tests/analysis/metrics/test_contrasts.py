"""Differences between evaluations: their intervals, and tests of one or many."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embviz_callback.analysis.metrics.contrasts import (
    FLIPS,
    compared,
    flips,
    paired_interval,
    paired_standard_error,
    spreads,
    step_down,
)
from embviz_callback.analysis.metrics.intervals import (
    PerQuery,
    Sampling,
    intervals_of,
    per_query,
    point,
    pseudo_values,
    t_intervals,
)
from embviz_callback.analysis.metrics.numbers import compute_metrics
from embviz_callback.analysis.metrics.resampling import Spread
from embviz_callback.analysis.scan import scan
from embviz_callback.analysis.verdict.best import Candidate, candidate, choose_best, spread_between
from embviz_callback.analysis.verdict.losses import loss_at_look, losses, lost
from embviz_callback.embeddings import Embeddings


def pairs(seed: int, n: int, noise: float) -> Embeddings:
    rng = np.random.default_rng(seed)
    documents, ill = rng.standard_normal((2, n, 24))
    return Embeddings.from_raw(documents + noise * ill, documents, np.stack([np.arange(n)] * 2, axis=1))


def statistics(embeddings: Embeddings, **options: object) -> PerQuery:
    return per_query(scan(embeddings), embeddings, **options)  # type: ignore[arg-type]


def test_pseudo_values_of_a_mean_are_what_each_query_has() -> None:
    one = statistics(pairs(0, 40, 1.5))
    assert pseudo_values(one)["rank1"] == pytest.approx(one.ranks["rank1"], abs=1e-9)
    assert pseudo_values(one)["mrr"] == pytest.approx(one.ranks["mrr"], abs=1e-9)


def test_the_whole_is_the_metric_and_pseudo_values_spread_as_the_bootstrap_does() -> None:
    embeddings = pairs(0, 300, 1.5)
    one = statistics(embeddings)
    metrics = compute_metrics(scan(embeddings), embeddings, draws=0)
    for name in ("margin", "separation", "positive_mean", "rank1", "mrr"):
        assert point(one)[name] == pytest.approx(metrics[name], abs=1e-9)
        values = pseudo_values(one)[name]
        assert values.mean() == pytest.approx(metrics[name], abs=0.02)
        low, high = intervals_of(one)[name]
        assert 2 * 1.96 * values.std() / math.sqrt(300) == pytest.approx(high - low, rel=0.15), name


def test_queries_of_one_group_have_one_pseudo_value() -> None:
    found = pseudo_values(statistics(pairs(0, 12, 1.5), groups=np.repeat(np.arange(6), 2)))
    assert {values.shape for values in found.values()} == {(6,)}


def test_the_imagined_pair_has_the_size_of_the_changes() -> None:
    changes = np.array([0.0, 0.0, 0.5, -0.1])
    squares = np.square(changes - changes.mean()).sum() + 2 * (0.25 + 0.01 + 1) / 3  # a full change is imagined too
    assert paired_standard_error("mrr", changes) == pytest.approx(math.sqrt(squares / 5 / 6))
    assert paired_standard_error("margin", changes) == pytest.approx(changes.std(ddof=1) / 2)
    assert paired_standard_error("mrr", np.zeros(4)) == pytest.approx(math.sqrt(2 / 5 / 6))
    assert math.isnan(paired_standard_error("mrr", np.zeros(1)))


def test_a_paired_difference_is_narrower_than_two_intervals_and_sees_what_they_cannot() -> None:
    before, after = (statistics(pairs(0, 200, noise)) for noise in (1.55, 1.5))
    (change,) = compared(before, [after])["margin"]
    assert 0 < change.low < change.value < change.high
    assert change.is_beyond_chance
    first, second = intervals_of(before)["margin"], intervals_of(after)["margin"]
    assert second[0] < first[1]  # the single intervals overlap
    assert change.high - change.low < (first[1] - first[0]) / 3


def test_equal_evaluations_differ_by_nothing_that_is_beyond_chance() -> None:
    one = statistics(pairs(0, 200, 1.5))
    same = compared(one, [one])
    (margin,), (rank1,) = same["margin"], same["rank1"]
    assert (margin.low, margin.high, margin.p_value) == (0, 0, 1)
    assert (rank1.low, rank1.high) == pytest.approx((-0.0139, 0.0139), abs=2e-4)


def test_pairing_refuses_another_subset() -> None:
    with pytest.raises(ValueError) as error:
        compared(statistics(pairs(0, 20, 1.0)), [statistics(pairs(0, 30, 1.0))])
    assert str(error.value) == "paired evaluations must be of one subset, got 20 and 30 queries or other groups"


def test_signs_of_six_groups_tell_at_the_earliest() -> None:
    signs = flips(6)
    (chance,) = step_down(np.full((6, 1), 0.3), signs)
    assert chance == pytest.approx(2 / 64, abs=0.012)
    assert np.isnan(step_down(np.full((5, 1), 0.3), flips(5))).all()


def test_a_column_that_says_nothing_leaves_the_others_alone() -> None:
    changes = np.random.default_rng(0).standard_normal((30, 2)) + 1
    beside = np.concatenate([changes, np.full((30, 1), np.nan)], axis=1)
    assert step_down(beside, flips(30))[:2] == pytest.approx(step_down(changes, flips(30)))
    assert math.isnan(step_down(beside, flips(30))[2])


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 10_000), st.integers(1, 5))
def test_the_step_down_equals_the_algorithm_written_out(seed: int, n_columns: int) -> None:
    rng = np.random.default_rng(seed)
    changes = rng.standard_normal((12, n_columns)) + rng.uniform(0, 1, n_columns)
    signs = flips(12, n=99, seed=seed)
    sizes = np.sqrt((changes**2).sum(axis=0))
    seen = np.abs(changes.sum(axis=0)) / sizes
    expected, worst = {}, 0.0
    left = sorted(range(n_columns), key=lambda at: -seen[at])
    while left:
        drawn = [max(abs((row * changes[:, at]).sum()) / sizes[at] for at in left) for row in signs]
        worst = max(worst, (1 + sum(one >= seen[left[0]] - 1e-6 for one in drawn)) / 100)
        expected[left.pop(0)] = worst
    assert step_down(changes, signs) == pytest.approx([expected[at] for at in range(n_columns)])


def test_many_comparisons_are_corrected_each_metric_for_itself() -> None:
    # Eight evaluations that know other queries than the first does, all about as many.
    one, *others = (statistics(pairs(seed, 60, 1.5)) for seed in range(9))
    alone = [compared(one, [other])["mrr"][0].p_value for other in others]
    together = [found.p_value for found in compared(one, others)["mrr"]]
    assert all(more >= less - 2 / FLIPS for more, less in zip(together, alone, strict=True))
    assert min(together) > min(alone)


def test_where_changes_go_one_way_the_interval_reaches_farther_to_where_few_may_not_have_shown_one() -> None:
    changes = np.array([0.0] * 40 + [0.05] * 6 + [0.5] * 2)
    low, high = paired_interval("mrr", float(changes.mean()), changes)
    assert high - changes.mean() > 1.3 * (changes.mean() - low)
    even = np.concatenate([changes, -changes])
    low, high = paired_interval("mrr", 0.0, even)
    assert high == pytest.approx(-low)
    assert paired_interval("margin", 0.0, even)[1] < high


def test_few_queries_whose_changes_go_one_way_still_have_an_interval_that_holds() -> None:
    rng = np.random.default_rng(0)
    drawn = rng.choice([0.0, 0.02, 0.1, 0.5], size=(400, 50), p=[0.87, 0.06, 0.05, 0.02])
    ends = [paired_interval("mrr", float(one.mean()), one) for one in drawn]
    held = [low <= 0.0162 <= high for low, high in ends]
    assert np.mean(held) >= 0.93


def of_a_chain(*shares: float, seed: int = 0, n: int = 60) -> tuple[np.ndarray, list[PerQuery]]:
    """Queries of three documents each that all hang together; a document's luck is its queries' luck."""
    rng = np.random.default_rng(seed)
    askers = np.repeat(np.arange(n), 3)
    relevance = np.unique(np.stack([askers, rng.integers(0, n, 3 * n)], axis=1), axis=0)
    ill = [
        np.bincount(relevance[:, 0], rng.standard_normal(n)[relevance[:, 1]]) + 0.3 * rng.standard_normal(n)
        for _ in shares
    ]
    ones, sampling = np.ones((n, 1)) * [1.0, 0.5, 0.26], Sampling.of(relevance, n)
    hits = [(one < np.quantile(one, share)).astype(float) for one, share in zip(ill, shares, strict=True)]
    return relevance, [PerQuery(sampling, ones, ones * [1, 0.2, 0.2], {"rank1": one}, 0.0) for one in hits]


def test_a_chain_that_was_cut_counts_every_pair_of_queries_that_share_a_document() -> None:
    relevance, (one, other) = of_a_chain(0.7, 0.8)
    off = other.ranks["rank1"] - one.ranks["rank1"]
    off = off - off.mean()
    documents = [set(relevance[relevance[:, 0] == query, 1]) for query in range(60)]
    shared = [(i, j) for i in range(60) for j in range(60) if documents[i] & documents[j]]
    worth = 60**2 / len(shared)
    by_both = sum(off[i] * off[j] for i, j in shared) / 60**2 * worth / (worth - 1)
    _, group = np.unique(one.sampling.groups, return_inverse=True)
    summed = np.bincount(group, weights=other.ranks["rank1"] - one.ranks["rank1"]) / 60
    by_groups = float(np.square(summed - summed.mean()).sum())
    (found,) = spreads(one, [other])["rank1"]
    assert found.factor == pytest.approx(max(math.sqrt(by_both / by_groups), 1.0))
    assert found.freedom == int(worth)


def _by_groups(one: PerQuery) -> PerQuery:
    """As if no chain had been cut."""
    return replace(one, sampling=Sampling(one.sampling.groups))


def test_where_no_chain_was_cut_nothing_is_widened() -> None:
    _, (one, other) = of_a_chain(0.7, 0.8)
    assert spreads(_by_groups(one), [other])["rank1"] == [Spread()]
    assert Spread().freedom_of(60) == 59


@pytest.mark.parametrize("what", ["interval", "t", "loss", "mean"])
def test_every_interval_allows_for_a_chain_that_was_cut(what: str) -> None:
    held = {"by both": 0, "by groups": 0}
    for seed in range(40):
        _, (one, other) = of_a_chain(0.75, 0.75, seed=seed)
        for name, pair in (("by both", (one, other)), ("by groups", list(map(_by_groups, (one, other))))):
            low, high = _ends(what, *pair)
            held[name] += low - high
    assert held["by both"] < 1.1 * held["by groups"] < 0  # wider by a tenth at least


def test_what_decides_between_epochs_counts_every_pair_too() -> None:
    _, (one, other) = of_a_chain(0.7, 0.8)
    linked = [candidate(part, "rank1") for part in (one, other)]
    kept = Candidate.from_json(linked[0].to_json())  # of a file, which another one of the run has to help out
    changes = other.ranks["rank1"] - one.ranks["rank1"]
    by_queries = [candidate(_by_groups(part.one_by_one), "rank1") for part in (one, other)]
    assert spread_between([kept, linked[1]], changes).factor > 1.05
    wide, narrow = (choose_best(pair, "rank1").interval for pair in ([kept, linked[1]], by_queries))
    assert wide[1] - wide[0] > 1.05 * (narrow[1] - narrow[0])
    looks = [loss_at_look(after, before, "rank1") for before, after in (linked, by_queries)]
    assert looks[0].low < looks[1].low


def _ends(what: str, one: PerQuery, other: PerQuery) -> tuple[float, float]:
    if what == "interval":
        return intervals_of(one, draws=200)["rank1"]
    if what == "t":
        return t_intervals(one)["rank1"]
    if what == "mean":
        found = lost("rank1", 0.0, one.ranks["rank1"] - other.ranks["rank1"], one.sampling, 0.05)
    else:
        (found,) = losses(one, other, {"rank1": 0.0})
    return found.low, found.high


def test_equal_evaluations_of_queries_in_a_chain_are_seldom_called_different() -> None:
    alarms = {"by both": 0, "alone": 0}
    for seed in range(60):
        _, (one, other) = of_a_chain(0.75, 0.75, seed=seed)
        lone = [_by_groups(part.one_by_one) for part in (one, other)]
        alarms["by both"] += compared(one, [other], seed=seed)["rank1"][0].is_beyond_chance
        alarms["alone"] += compared(lone[0], lone[1:], seed=seed)["rank1"][0].is_beyond_chance
    assert alarms["by both"] <= 6  # 3 are expected; 7 come in 3 % of draws
