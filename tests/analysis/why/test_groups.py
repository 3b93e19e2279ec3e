"""Columns and groups: who is served badly, which groups lie close, which are clusters."""

import json
import math
import random

import numpy as np
import planted
import pytest

from embviz_callback.analysis.metrics.intervals import Sampling
from embviz_callback.analysis.metrics.numbers import compute_metrics
from embviz_callback.analysis.metrics.resampling import plain
from embviz_callback.analysis.scan import scan
from embviz_callback.analysis.why.columns import Columns, columns_of, memberships
from embviz_callback.analysis.why.groups import grouped_by, silhouette
from embviz_callback.embeddings import Embeddings
from embviz_callback.pairs.formats.reading import records_from
from embviz_callback.pairs.subset import choose_subset


def together(one: planted.Evaluation) -> np.ndarray:
    return Sampling.of(one.subset.relevance, len(one.subset.queries)).groups


def _two_groups(n: int = 24) -> planted.Evaluation:
    """Listings of even price are encoded well; those of odd price all look alike."""
    items = planted.records(n, 1, several=False)
    encode = planted.LinearEncoder(planted.TRUE_WEIGHTS)

    def half(texts: list[str]) -> np.ndarray:
        rows = encode(texts)
        for row, text in zip(rows, texts, strict=True):
            if int(planted.read_features(text)["price"][-1]) % 2:
                row[:] = np.eye(len(row))[0]
        return rows

    for item in items:
        item["metadata"] = {"kind": "odd" if int(item["metadata"]["price"][-1]) % 2 else "even"}
    return planted.evaluate(items, half)


def test_the_worst_group_comes_first_with_its_interval() -> None:
    one = _two_groups()
    found = grouped_by(
        one.embeddings,
        one.similarity,
        columns_of(one.subset),
        "kind",
        draws=200,
        clusters=together(one),
    )
    worst, best = found.groups
    assert (worst.label, best.label) == ("odd", "even")
    n_odd = worst.n_queries
    assert worst.figures["rank1"] == pytest.approx(1 / n_odd)  # all odd listings tie
    assert best.figures["rank1"] == 1.0
    low, high = worst.intervals["rank1"]
    assert low <= worst.figures["rank1"] <= high
    assert found.n_without == 0


def test_one_group_of_all_has_the_metrics_of_the_whole() -> None:
    one = planted.evaluate(planted.records(40, 2), planted.LinearEncoder(planted.TRUE_WEIGHTS, noise=0.4))
    rows = tuple({"all": "same"} for _ in one.subset.queries)
    columns = Columns(rows, tuple({"all": "same"} for _ in one.subset.documents), ())
    group = grouped_by(
        one.embeddings,
        one.similarity,
        columns,
        "all",
        draws=200,
        clusters=together(one),
    ).groups[0]
    whole = compute_metrics(one.similarity, one.embeddings, draws=200)
    for name, value in group.figures.items():
        assert value == pytest.approx(whole[name], rel=1e-6), name
        assert group.intervals[name] == pytest.approx(whole.intervals[name], rel=1e-6), name


def test_small_groups_are_marked_and_come_last() -> None:
    one = _two_groups(40)
    rows = tuple({"group": "tiny" if at < 3 else "rest"} for at in range(40))
    columns = Columns(rows, tuple({} for _ in one.subset.documents), ())
    found = grouped_by(one.embeddings, one.similarity, columns, "group", draws=100)
    assert [(group.label, group.is_small) for group in found.groups] == [("rest", False), ("tiny", True)]


def test_a_query_counts_in_every_group_it_names() -> None:
    one = _two_groups(20)
    rows = tuple({"amenities": ("wc", "gym") if at % 2 else ("wc",)} for at in range(20))
    columns = Columns(rows, tuple({} for _ in one.subset.documents), ())
    found = grouped_by(one.embeddings, one.similarity, columns, "amenities", draws=100)
    assert {group.label: group.n_queries for group in found.groups} == {"wc": 20, "gym": 10}


def test_an_unknown_column_is_answered_with_those_there_are() -> None:
    one = _two_groups(20)
    with pytest.raises(ValueError) as error:
        grouped_by(one.embeddings, one.similarity, columns_of(one.subset), "price")
    assert str(error.value) == "no query has a column 'price'; there are kind"


def test_affinity_is_the_mean_cosine_of_pairs_that_are_not_relevant() -> None:
    one = planted.evaluate(planted.records(30, 3), planted.LinearEncoder(planted.TRUE_WEIGHTS, noise=0.3))
    columns = columns_of(one.subset)
    found = grouped_by(one.embeddings, one.similarity, columns, "location", draws=100)
    scores = one.embeddings.queries.astype(np.float64) @ one.embeddings.documents.astype(np.float64).T
    relevant = np.zeros(scores.shape, dtype=bool)
    relevant[tuple(one.embeddings.relevance.T)] = True
    query = np.array([row["location"] for row in columns.queries])
    document = np.array([row["location"] for row in columns.documents])
    for at, one_label in enumerate(found.labels):
        for beside, other in enumerate(found.labels):
            inside = (query == one_label)[:, None] & (document == other)[None, :] & ~relevant
            expected = scores[inside].mean() if inside.any() else np.nan
            assert found.affinity[at, beside] == pytest.approx(expected, nan_ok=True, abs=1e-6)


def test_the_silhouette_is_near_one_for_clusters_and_below_zero_for_swapped_ones() -> None:
    angles = np.radians([0, 60, 180, 240, 0])
    rows = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    rows[4] = 0  # without direction: in no group
    # Within a pair 1 - cos 60 = 0.5; to the other pair (2 + 1.5) / 2 and (1.5 + 2) / 2.
    assert silhouette(rows, np.array([0, 0, 1, 1, 1])) == pytest.approx(1 - 0.5 / 1.75)
    assert silhouette(rows, np.array([0, 1, 0, 1, 1])) < 0


@pytest.mark.slow  # scikit-learn is imported
@pytest.mark.parametrize("n_groups", [2, 3, 25])
def test_the_silhouette_equals_scikit_learns(n_groups: int) -> None:
    from sklearn.metrics import silhouette_score

    random = np.random.default_rng(n_groups)
    codes = random.integers(0, n_groups, size=40)  # some of 25 alone, some empty
    rows = random.normal(size=(40, 6)) + 2 * random.normal(size=(n_groups, 6))[codes]
    rows[5] = rows[6]
    rows = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    expected = silhouette_score(rows.astype(np.float64), codes, metric="cosine")
    assert silhouette(rows, codes) == pytest.approx(expected, abs=1e-9)


def test_groups_on_one_place_have_a_silhouette_of_nothing() -> None:
    assert silhouette(np.ones((4, 1), dtype=np.float32), np.array([0, 0, 1, 1])) == 0


def test_perfect_embeddings_are_infinitely_separated_in_every_group() -> None:
    rows = np.eye(4)[[0, 0, 0, 1, 1, 1]]
    embeddings = Embeddings.from_raw(rows, np.eye(4)[:2], [(query, query // 3) for query in range(6)])
    stated = tuple({"location": name} for name in "aaabbb")
    columns = Columns(stated, ({"location": "a"}, {"location": "b"}), ())
    found = grouped_by(embeddings, scan(embeddings), columns, "location", clusters=np.arange(6))
    assert [one.figures["separation"] for one in found.groups] == [math.inf, math.inf]
    assert [one.intervals["separation"] for one in found.groups] == [(math.inf, math.inf)] * 2


def test_one_group_has_no_silhouette() -> None:
    assert math.isnan(silhouette(np.eye(3, dtype=np.float32), np.zeros(3, dtype=np.int64)))


def test_numbers_are_cut_into_bands() -> None:
    rows = [{"price": float(price)} for price in range(2, 14)]
    found = memberships(rows, "price", edges=(4.0, 7.0))
    assert list(found) == ["below 4", "4 to 7", "7 and more"]
    assert [len(members) for members in found.values()] == [2, 3, 7]


def test_few_different_numbers_stay_as_they_are() -> None:
    found = memberships([{"floor": 2.0}, {"floor": 1.0}, {}, {"floor": 2.0}], "floor")
    assert {label: members.tolist() for label, members in found.items()} == {"1": [1], "2": [0, 3]}
    assert list(found) == ["1", "2"]


def test_queries_take_over_what_only_their_document_says() -> None:
    items = [
        {"query": "phòng nào price=1", "pos": "phòng price=1 area=2"},
        {"query": "phòng kia", "pos": "phòng price=3", "metadata": {"price": "own"}},
    ]
    found = columns_of(choose_subset(records_from(items), max_samples=5, seed=0), planted.read_features)
    by_price = {row["price"]: row for row in found.queries}
    assert by_price["price=1"] == {"price": "price=1", "area": "area=2"}
    assert by_price["own"] == {"price": "own"}


def test_unusable_rows_are_in_no_mean() -> None:
    queries, documents = np.eye(12)[:, :6] + np.eye(12)[:, 6:], np.eye(12)[:, :6] + np.eye(12)[:, 6:]
    queries[0] = 0
    one = Embeddings.from_raw(queries, documents, [[at, at] for at in range(12)])
    rows = tuple({"side": "left" if at < 6 else "right"} for at in range(12))
    found = grouped_by(one, scan(one), Columns(rows, rows, ()), "side", draws=100)
    assert np.isfinite(found.affinity).all()
    assert json.loads(json.dumps(plain(found)))["column"] == "side"


def test_more_groups_than_can_be_read_are_left_out_and_counted() -> None:
    one = planted.evaluate(planted.records(70, 4, several=False), planted.LinearEncoder(planted.TRUE_WEIGHTS))
    draw = random.Random(0)
    rows = tuple({"street": f"street {draw.randrange(45)}"} for _ in range(70))
    found = grouped_by(one.embeddings, one.similarity, Columns(rows, rows, ()), "street", draws=100)
    assert len(found.groups) == 30
    assert found.n_left_out == len({row["street"] for row in rows}) - 30
