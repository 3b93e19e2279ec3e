"""Intervals: what they resample, that they repeat, and that they cover."""

import math

import numpy as np
import pytest
from scipy.stats import t as student

from embviz_callback.analysis.metrics.intervals import (
    PerQuery,
    Sampling,
    intervals_of,
    per_query,
    relevance_groups,
    t_quantile,
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


def test_draws_are_rank_metrics_of_resampled_queries() -> None:
    embeddings = population(0, 30)
    found = intervals_of(statistics(embeddings), draws=100, seed=5)
    taken = np.random.default_rng(5).integers(32, size=(100, 32))  # two are imagined
    values = np.sort([weighted(embeddings, rows)["rank1"] for rows in taken])
    assert found["rank1"] == pytest.approx((values[2], values[97]), abs=1e-6)


def test_the_other_intervals_are_students_of_the_figures_without_each_query() -> None:
    embeddings = population(0, 30)
    found, whole = intervals_of(statistics(embeddings)), weighted(embeddings, np.arange(30))
    without = [weighted(embeddings, np.delete(np.arange(30), row)) for row in range(30)]
    for name in ("positive_mean", "negative_mean", "margin", "separation"):
        pseudo = [30 * whole[name] - 29 * one[name] for one in without]
        reach = student.ppf(0.975, 29) * np.std(pseudo, ddof=1) / math.sqrt(30)
        assert found[name] == pytest.approx((whole[name] - reach, whole[name] + reach), abs=1e-5), name


@pytest.mark.parametrize(("freedom", "off"), [(5, 0.03), (10, 0.002), (20, 1e-4), (499, 1e-8)])
@pytest.mark.parametrize("share", [0.95, 0.975, 0.995])
def test_quantiles_of_student_are_scipys(share: float, freedom: int, off: float) -> None:
    assert t_quantile(share, freedom) == pytest.approx(student.ppf(share, freedom), abs=off)


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


def test_where_a_chain_holds_nearly_all_queries_the_document_that_most_share_groups_them() -> None:
    # Forty queries, each on its own document and on one that four share, and a chain from one four to the next.
    own = [(query, query) for query in range(40)]
    fours = [(query, 40 + query // 4) for query in range(40)]
    chain = [(query, 50 + query // 2) for query in range(1, 40)] + [
        (query, 50 + (query + 1) // 2) for query in range(39)
    ]
    loose, tied = np.array(own + fours), np.array(own + fours + chain)
    assert Sampling.of(loose, 40).groups.tolist() == [query // 4 * 4 for query in range(40)]
    assert len(set(relevance_groups(tied, 40).tolist())) == 1
    assert Sampling.of(tied, 40).groups.tolist() == [40 + 40 + query // 4 for query in range(40)]


def test_copies_of_queries_do_not_narrow_an_interval() -> None:
    single = population(0, 100)
    tenfold = Embeddings(
        np.repeat(single.queries, 10, axis=0),
        single.documents,
        np.stack([np.arange(1000), np.repeat(np.arange(100), 10)], axis=1),
    )
    one, ten = (intervals_of(statistics(e)) for e in (single, tenfold))
    blind = intervals_of(statistics(tenfold, groups=np.arange(1000)))
    width = {name: [high - low for low, high in (each[name] for each in (one, ten, blind))] for name in one}
    for name in ("margin", "rank1"):
        assert width[name][1] == pytest.approx(width[name][0], rel=1e-6)
        assert width[name][2] < 0.5 * width[name][0]


def test_many_groups_are_drawn_in_packs_of_the_same_spread() -> None:
    rng = np.random.default_rng(0)
    n = 10_000
    values = rng.standard_normal(n)
    ones = np.stack([np.ones(n), values, values**2], axis=1)
    low, high = intervals_of(PerQuery(Sampling(np.arange(n)), ones, 0 * ones + [1, 0, 0], {}, 0.0))["margin"]
    assert (high - low) / 2 == pytest.approx(1.96 / math.sqrt(n), rel=0.12)


def test_groups_of_another_length_are_refused() -> None:
    with pytest.raises(ValueError) as error:
        statistics(population(0, 20), groups=np.zeros(3, dtype=np.int64))
    assert str(error.value) == "groups must have one entry per query, got 3 for 20 queries"


def test_one_group_or_no_usable_row_has_no_interval() -> None:
    shared = Embeddings.from_raw(np.eye(3), np.ones((1, 3)), [(0, 0), (1, 0), (2, 0)])
    empty = Embeddings.from_raw(np.zeros((3, 2)), np.eye(3, 2), np.stack([np.arange(3)] * 2, axis=1))
    for embeddings in (shared, empty):
        for ends in (
            intervals_of(statistics(embeddings))["margin"],
            intervals_of(statistics(embeddings))["separation"],
        ):
            assert np.isnan(ends).all()


def test_perfect_separation_without_spread_has_an_infinite_interval() -> None:
    found = intervals_of(statistics(Embeddings.from_raw(np.eye(4), np.eye(4), np.stack([np.arange(4)] * 2, axis=1))))
    assert found["separation"] == (math.inf, math.inf)


def test_a_perfect_score_on_few_queries_is_not_certain() -> None:
    few, many = (
        intervals_of(statistics(Embeddings.from_raw(np.eye(n), np.eye(n), np.stack([np.arange(n)] * 2, axis=1))))[
            "rank1"
        ]
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
