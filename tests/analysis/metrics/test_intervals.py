"""Intervals: what they resample, that they repeat, and that they cover."""

import math

import numpy as np
import pytest

from embviz_callback.analysis.metrics.intervals import (
    PerQuery,
    bootstrap,
    paired_difference,
    per_query,
    relevance_groups,
)
from embviz_callback.analysis.metrics.numbers import compute_metrics
from embviz_callback.analysis.scan import scan
from embviz_callback.embeddings import Embeddings


def population(seed: int, n: int, *, noise: float = 2.0, dim: int = 24) -> Embeddings:
    """Pairs drawn alike and independently; noise differs from pair to pair."""
    rng = np.random.default_rng(seed)
    documents = rng.standard_normal((n, dim))
    queries = documents + noise * rng.uniform(0.5, 1.5, (n, 1)) * rng.standard_normal((n, dim))
    return Embeddings.from_raw(queries, documents, np.stack([np.arange(n)] * 2, axis=1))


def statistics(embeddings: Embeddings, **options: object) -> PerQuery:
    return per_query(scan(embeddings), embeddings, **options)


def weighted(embeddings: Embeddings, drawn: np.ndarray) -> dict[str, float]:
    """The metrics of the queries taken, each with its whole row of negatives, the slow way."""
    taken = drawn[drawn < len(embeddings.queries)]
    imagined = drawn[drawn >= len(embeddings.queries)] == len(embeddings.queries)
    cosines = embeddings.queries.astype(np.float64) @ embeddings.documents.T.astype(np.float64)
    relevant = np.eye(len(cosines), dtype=bool)
    positives, negatives = cosines[taken][relevant[taken]], cosines[taken][~relevant[taken]]
    margin = positives.mean() - negatives.mean()
    return {
        "positive_mean": positives.mean(),
        "negative_mean": negatives.mean(),
        "margin": margin,
        "separation": margin / math.hypot(positives.std(), negatives.std()),
        "rank1": np.mean([*(cosines[taken].argmax(axis=1) == taken), *imagined]),
    }


def test_draws_are_metrics_of_resampled_queries() -> None:
    embeddings = population(0, 30)
    found = bootstrap(statistics(embeddings), draws=100, seed=5)
    taken = np.random.default_rng(5).integers(32, size=(100, 32))  # two are imagined
    draws = [weighted(embeddings, rows) for rows in taken]
    for name in draws[0]:
        values = np.sort([draw[name] for draw in draws])
        assert found[name] == pytest.approx((values[2], values[97]), abs=1e-6), name


def test_equal_seeds_give_equal_intervals_and_leave_numpy_s_own_stream_alone() -> None:
    embeddings = population(0, 50)
    similarity = scan(embeddings)
    before = np.random.get_state()[1].tolist()  # noqa: NPY002
    one, again, other = (compute_metrics(similarity, embeddings, seed=seed).intervals for seed in (1, 1, 2))
    assert one == again != other
    assert np.random.get_state()[1].tolist() == before  # noqa: NPY002
    for name in ("margin", "separation", "rank1"):
        low, high = one[name]
        assert low < compute_metrics(similarity, embeddings)[name] < high


def test_queries_that_share_a_document_are_one_group() -> None:
    relevance = np.array([(0, 0), (1, 1), (2, 0), (3, 2), (3, 3), (4, 3), (5, 4), (6, 4), (6, 1)])
    assert relevance_groups(relevance, 7).tolist() == [0, 1, 0, 3, 3, 1, 1]
    chain = np.array([(i, j) for i in range(200) for j in (i, i + 1)])
    assert set(relevance_groups(chain[::-1], 200).tolist()) == {0}


def test_copies_of_queries_do_not_narrow_an_interval() -> None:
    single = population(0, 100)
    tenfold = Embeddings(
        np.repeat(single.queries, 10, axis=0),
        single.documents,
        np.stack([np.arange(1000), np.repeat(np.arange(100), 10)], axis=1),
    )
    one, ten = (bootstrap(statistics(e)) for e in (single, tenfold))
    blind = bootstrap(statistics(tenfold, groups=np.arange(1000)))
    width = {name: [high - low for low, high in (each[name] for each in (one, ten, blind))] for name in one}
    for name in ("margin", "rank1"):
        assert width[name][1] == pytest.approx(width[name][0], rel=1e-6)
        assert width[name][2] < 0.5 * width[name][0]


def test_many_groups_are_drawn_in_packs_of_the_same_spread() -> None:
    rng = np.random.default_rng(0)
    n = 10_000
    values = rng.standard_normal(n)
    ones = np.stack([np.ones(n), values, values**2], axis=1)
    low, high = bootstrap(PerQuery(np.arange(n), ones, 0 * ones + [1, 0, 0], {}, 0.0))["margin"]
    assert (high - low) / 2 == pytest.approx(1.96 / math.sqrt(n), rel=0.12)


def test_a_paired_difference_is_narrower_than_two_intervals_and_sees_what_they_cannot() -> None:
    rng = np.random.default_rng(0)
    documents = rng.standard_normal((200, 24))
    noise = rng.standard_normal((200, 24))
    pairs = np.stack([np.arange(200)] * 2, axis=1)
    before, after = (statistics(Embeddings.from_raw(documents + s * noise, documents, pairs)) for s in (1.55, 1.5))
    change, low, high = paired_difference(before, after)["margin"]
    assert 0 < low < change < high
    first, second = bootstrap(before)["margin"], bootstrap(after)["margin"]
    assert second[0] < first[1]  # the single intervals overlap
    assert high - low < (first[1] - first[0]) / 3
    same = paired_difference(before, before)
    assert same["margin"] == (0, 0, 0)
    assert same["rank1"] == pytest.approx((0, -0.01, 0.01), abs=0.006)  # a few changes may have been missed


def test_pairing_refuses_another_subset() -> None:
    with pytest.raises(ValueError) as error:
        paired_difference(statistics(population(0, 20)), statistics(population(0, 30)))
    assert str(error.value) == "paired evaluations must be of one subset, got 20 and 30 queries or other groups"


def test_groups_of_another_length_are_refused() -> None:
    with pytest.raises(ValueError) as error:
        statistics(population(0, 20), groups=np.zeros(3, dtype=np.int64))
    assert str(error.value) == "groups must have one entry per query, got 3 for 20 queries"


def test_one_group_or_no_usable_row_has_no_interval() -> None:
    shared = Embeddings.from_raw(np.eye(3), np.ones((1, 3)), [(0, 0), (1, 0), (2, 0)])
    empty = Embeddings.from_raw(np.zeros((3, 2)), np.eye(3, 2), np.stack([np.arange(3)] * 2, axis=1))
    for embeddings in (shared, empty):
        for ends in (bootstrap(statistics(embeddings))["margin"], bootstrap(statistics(embeddings))["separation"]):
            assert np.isnan(ends).all()


def test_perfect_separation_without_spread_has_an_infinite_interval() -> None:
    found = bootstrap(statistics(Embeddings.from_raw(np.eye(4), np.eye(4), np.stack([np.arange(4)] * 2, axis=1))))
    assert found["separation"] == (math.inf, math.inf)


def test_a_perfect_score_on_few_queries_is_not_certain() -> None:
    few, many = (
        bootstrap(statistics(Embeddings.from_raw(np.eye(n), np.eye(n), np.stack([np.arange(n)] * 2, axis=1))))["rank1"]
        for n in (20, 200)
    )
    assert (few[1], many[1]) == (1, 1)
    assert 0.75 < few[0] < 0.9 < 0.97 < many[0] < 0.99


@pytest.mark.slow
def test_intervals_cover_the_population_s_figure() -> None:
    """A small version of benchmarks/interval_coverage.py: 19 in 20, give or take three standard errors."""
    names, n, runs = ("margin", "separation", "rank1"), 150, 300
    trials = [population(seed, n, noise=1.2) for seed in range(runs)]
    figures = [compute_metrics(scan(e), e, draws=300, seed=i) for i, e in enumerate(trials)]
    for name in names:
        truth = np.mean([metrics[name] for metrics in figures])
        covered = np.mean([low <= truth <= high for low, high in (m.intervals[name] for m in figures)])
        assert abs(covered - 0.95) < 3 * math.sqrt(0.95 * 0.05 / runs), (name, covered)
