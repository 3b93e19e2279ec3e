"""The numbers, checked by hand, by brute force and by what must not change them."""

import itertools
import json
import math
import pickle
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from embviz_callback import evaluate_pairs as public_evaluate_pairs
from embviz_callback.analysis.metrics.numbers import (
    Metrics,
    compute_metrics,
    evaluate_pairs,
    geometry,
    naive_ceiling,
    separation,
)
from embviz_callback.analysis.metrics.ranks import Levels, expected_reciprocal, rank_metrics
from embviz_callback.analysis.scan import scan
from embviz_callback.analysis.scan.moments import effective_rank, mean_off_diagonal, moments
from embviz_callback.embeddings import Embeddings
from embviz_callback.encoding.product import gpu_product


def own_rows(n: int) -> np.ndarray:
    return np.stack([np.arange(n), np.arange(n)], axis=1)


def noisy(n: int, noise: float, *, dim: int = 32, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    documents = rng.standard_normal((n, dim))
    return documents + noise * rng.standard_normal((n, dim)), documents


# Ranks and ties


def in_order(places: list[int], relevant: int) -> dict[str, float]:
    """The usual definitions for positives at these ranks."""
    values = {"rank1": 1.0 * (places[0] == 1), "mrr": 1 / places[0], "mrr_at_10": (places[0] <= 10) / places[0]}
    values |= {f"recall_at_{k}": sum(place <= k for place in places) / relevant for k in (1, 5, 10, 50)}
    gain = sum(1 / math.log2(place + 1) for place in places if place <= 10)
    values["ndcg_at_10"] = gain / sum(1 / math.log2(place + 1) for place in range(1, min(relevant, 10) + 1))
    values["map"] = sum((nth + 1) / place for nth, place in enumerate(places)) / relevant
    return values


def all_orders(scores: list[int], is_relevant: list[bool]) -> list[dict[str, float]]:
    """The metrics of every order that sorts by score."""
    found = []
    for order in itertools.permutations(range(len(scores))):
        if all(scores[a] >= scores[b] for a, b in itertools.pairwise(order)):
            places = [rank for rank, item in enumerate(order, 1) if is_relevant[item]]
            found.append(in_order(places, sum(is_relevant)))
    return found


def levels_of(scores: list[int], is_relevant: list[bool]) -> Levels:
    groups = []
    for score in sorted({s for s, r in zip(scores, is_relevant, strict=True) if r}, reverse=True):
        same = [r for s, r in zip(scores, is_relevant, strict=True) if s == score]
        higher = [r for s, r in zip(scores, is_relevant, strict=True) if s > score]
        groups.append((0, sum(same), len(same) - sum(same), sum(higher), len(higher)))
    return Levels(*np.array(groups).T, relevant=np.array([sum(is_relevant)]))


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.tuples(st.integers(0, 2), st.booleans()), min_size=1, max_size=7).filter(lambda x: any(r for _, r in x))
)
def test_ties_are_the_mean_the_best_and_the_worst_of_all_orders(items: list[tuple[int, bool]]) -> None:
    scores, is_relevant = [s for s, _ in items], [r for _, r in items]
    orders = all_orders(scores, is_relevant)
    found = rank_metrics(levels_of(scores, is_relevant))
    for name in orders[0]:
        values = [order[name] for order in orders]
        assert found[name][0] == pytest.approx(np.mean(values), abs=1e-12), name
        assert found[f"{name}_optimistic"][0] == pytest.approx(max(values), abs=1e-12), name
        assert found[f"{name}_pessimistic"][0] == pytest.approx(min(values), abs=1e-12), name


def test_cut_of_ten_is_right_where_it_falls_into_the_ties() -> None:
    assert expected_reciprocal(8, 1, 3, cut=10) == pytest.approx((1 / 9 + 1 / 10) / 4)
    groups = Levels(*np.array([[0, 1, 3, 0, 8], [1, 2, 30, 0, 5]]).T, relevant=np.array([1, 2]))
    found = rank_metrics(groups)
    assert found["mrr_at_10"][0] == pytest.approx((1 / 9 + 1 / 10) / 4)
    # The first of two among 32 stands in slot m with probability (32 - m) / C(32, 2).
    assert found["mrr_at_10"][1] == pytest.approx(sum((32 - m) / 496 / (5 + m) for m in range(1, 6)))
    assert found["recall_at_10"].tolist() == pytest.approx([2 / 4, 5 / 32])


def test_closed_form_of_the_reciprocal_rank_is_that_of_the_issue() -> None:
    for g, p, t in itertools.product((0, 3), (1, 2, 4), (0, 1, 5)):
        total = sum(math.comb(p + t - m, p - 1) / math.comb(p + t, p) / (g + m) for m in range(1, t + 2))
        assert expected_reciprocal(g, p, t) == pytest.approx(total, abs=1e-14)


def test_collapsed_encoder_earns_no_credit_for_its_ties() -> None:
    metrics = evaluate_pairs(np.ones((10, 4)), np.ones((10, 4)), np.arange(10))
    assert metrics.rank1 == pytest.approx(1 / 10)  # ten documents, one draw
    assert metrics.mrr == pytest.approx(sum(1 / rank for rank in range(1, 11)) / 10)
    assert metrics.recall_at_5 == pytest.approx(0.5)
    assert (metrics.rank1_optimistic, metrics.rank1_pessimistic) == (1, 0)
    assert (metrics.naive_rank1, metrics.naive_rank1_ceiling) == (0.1, 1)
    assert metrics.auc == 0.5
    assert metrics.margin == pytest.approx(0, abs=1e-12)
    assert math.isnan(metrics.separation)
    assert metrics.effective_rank == pytest.approx(1, abs=1e-4)
    assert metrics.mean_off_diagonal == pytest.approx(1, abs=1e-6)
    assert metrics.uniformity == pytest.approx(0, abs=1e-5)


def test_perfect_model_on_repeated_documents_shows_the_ceiling_of_the_naive_count() -> None:
    records = np.array([(0, 0), (1, 0), (2, 0), (3, 1)])
    embeddings = Embeddings.from_raw(np.eye(2)[[0, 0, 0, 1]], np.eye(2), records, records=records)
    metrics = compute_metrics(scan(embeddings), embeddings)
    assert metrics.rank1 == 1
    assert metrics.naive_rank1 == metrics.naive_rank1_ceiling == 0.5
    assert metrics.separation == math.inf


def test_ceiling_counts_each_query_once_and_only_the_first_copy_of_a_document() -> None:
    assert naive_ceiling(np.array([(0, 0), (0, 1), (1, 1), (2, 2)])) == 0.5  # query 0 once, query 2
    assert naive_ceiling(np.array([(0, 5), (1, 5)])) == 0.5
    assert naive_ceiling(own_rows(7)) == 1


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 9999))
def test_no_choice_of_best_documents_beats_the_ceiling(seed: int) -> None:
    rng = np.random.default_rng(seed)
    records = np.stack([np.r_[np.arange(3), rng.integers(0, 3, 3)], rng.integers(0, 4, 6)], axis=1)
    first = {int(d): k for k, d in reversed(list(enumerate(records[:, 1])))}
    options = [sorted({int(d) for q, d in records if q == query}) for query in range(3)]
    hits = [
        sum(first[choice[q]] == k and choice[q] == d for k, (q, d) in enumerate(records.tolist()))
        for choice in itertools.product(*options)
    ]
    assert naive_ceiling(records) == max(hits) / 6


# Definitions


def test_the_contract_s_numeric_check_of_separation() -> None:
    assert round(0.8234 - 0.4521, 4) == 0.3713
    assert round(separation(0.8234 - 0.4521, 0.0876, 0.1234), 2) == 2.45


def test_separation_without_spread_is_infinite_or_undefined() -> None:
    assert separation(0.5, 0.0, 0.0) == math.inf
    assert separation(-0.5, 0.0, 0.0) == -math.inf
    assert math.isnan(separation(0.0, 0.0, 0.0))
    assert math.isnan(separation(math.nan, 0.1, 0.1))
    assert separation(0.5, 1e200, 1e200) > 0  # squares would overflow


def test_moments_are_those_of_the_cosines() -> None:
    embeddings = Embeddings.from_raw(*noisy(60, 1.0), np.concatenate([own_rows(60), [[0, 5], [1, 7]]]))
    metrics = compute_metrics(scan(embeddings), embeddings)
    cosines = embeddings.queries.astype(np.float64) @ embeddings.documents.T.astype(np.float64)
    relevant = np.eye(60, dtype=bool)
    relevant[[0, 1], [5, 7]] = True
    expected = {
        "positive_mean": cosines[relevant].mean(),
        "positive_std": cosines[relevant].std(),
        "negative_mean": cosines[~relevant].mean(),
        "negative_std": cosines[~relevant].std(),
        "alignment": (2 - 2 * cosines[relevant]).mean(),
        "auc": (cosines[relevant][:, None] > cosines[~relevant]).mean(),
    }
    for name, value in expected.items():
        assert metrics[name] == pytest.approx(value, abs=1e-9), name
    assert metrics.margin == metrics.positive_mean - metrics.negative_mean


def test_hard_negatives_are_measured_against_the_best_positive() -> None:
    angles = np.radians([0, 30, 60, 90, 80])
    points = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    metrics = evaluate_pairs(
        points[[0, 3, 2]],
        points[[1, 2, 4]],
        [(0, 0), (0, 1), (1, 2), (2, 1)],
        hard_negatives=points[[2, 0, 3]],
        hard_pairs=[(0, 0), (0, 2), (1, 0), (1, 1)],
    )
    gaps = np.cos(np.radians(30)) - np.cos(np.radians(60)), np.cos(np.radians(10)) - np.cos(np.radians(30))
    assert metrics.hard_margin == pytest.approx(np.mean(gaps), abs=1e-6)
    assert metrics.hard_accuracy == 1
    equal = evaluate_pairs(np.eye(2), np.eye(2), [0, 1], hard_negatives=np.eye(2), hard_pairs=[(0, 0), (1, 0)])
    assert equal.hard_accuracy == 0.5  # a tie is not above


def test_hard_figures_are_absent_without_hard_negatives() -> None:
    metrics = evaluate_pairs(*noisy(10, 1.0), np.arange(10))
    assert "hard_margin" not in metrics
    with pytest.raises(AttributeError) as error:
        _ = metrics.hard_margin
    assert str(error.value).startswith("there is no metric 'hard_margin'; there are positive_mean, positive_std, ")


def test_a_query_without_direction_misses_its_hard_negatives() -> None:
    queries = np.array([[1, 0], [np.nan, 0]])
    metrics = evaluate_pairs(queries, np.eye(2), [0, 1], hard_negatives=[[0, 1]], hard_pairs=[(0, 0), (1, 0)])
    assert (metrics.hard_margin, metrics.hard_accuracy) == (1, 0.5)


def test_uniformity_and_effective_rank_by_their_definitions() -> None:
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((300, 6)) * [9, 5, 3, 1, 1, 0.2]
    rows = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    squares = ((rows[:, None] - rows).astype(np.float64) ** 2).sum(axis=2)[np.triu_indices(300, 1)]
    assert geometry.uniformity(rows) == pytest.approx(np.log(np.exp(-2 * squares).mean()), abs=1e-6)
    values = np.linalg.svd(rows, compute_uv=False)
    shares = values / values.sum()
    weights = np.ones(300, dtype=np.int64)
    assert effective_rank([moments(rows, weights)]) == pytest.approx(np.exp(-(shares * np.log(shares)).sum()), rel=1e-5)
    off = (rows @ rows.T)[~np.eye(300, dtype=bool)].mean()
    assert mean_off_diagonal(moments(rows, weights)) == pytest.approx(off, abs=1e-6)


def test_rows_without_direction_are_left_out_of_uniformity() -> None:
    rng = np.random.default_rng(2)
    rows = rng.standard_normal((40, 8))
    whole = evaluate_pairs(rows, rows, np.arange(40), draws=0)
    rows = np.concatenate([rows, np.zeros((9, 8))])
    assert evaluate_pairs(rows, rows, np.arange(49), draws=0).uniformity == pytest.approx(whole.uniformity, abs=1e-12)


def test_uniformity_of_many_rows_is_close_to_that_of_all() -> None:
    rows = np.random.default_rng(0).standard_normal((3000, 16)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    squares = np.maximum(2 - 2 * (rows @ rows.T), 0)[np.triu_indices(3000, 1)]
    assert geometry.uniformity(rows) == pytest.approx(np.log(np.exp(-2 * squares).mean()), abs=0.02)


def test_hubs_are_named_by_row_and_count() -> None:
    neighbours = np.array([[0, 1], [0, 2], [0, 1], [0, -1]])
    skewness, hubs = geometry.hubness(neighbours, 5)
    assert hubs == ((0, 4), (1, 2), (2, 1))
    counts = np.array([4, 2, 1, 0, 0])
    assert skewness == pytest.approx(((counts - 1.4) ** 3).mean() / counts.std() ** 3)
    assert math.isnan(geometry.hubness(np.array([[0], [1]]), 2)[0])


def test_separation_and_auc_agree_on_normal_scores() -> None:
    """For normal scores AUC = Phi(separation)."""
    rng = np.random.default_rng(0)
    n, dim = 1200, 512
    documents = rng.standard_normal((n, dim))
    queries = 0.12 * documents + rng.standard_normal((n, dim))
    metrics = evaluate_pairs(queries, documents, np.arange(n), draws=0)
    phi = (1 + math.erf(metrics.separation / math.sqrt(2))) / 2
    assert 1.5 < metrics.separation < 3
    assert metrics.auc == pytest.approx(phi, abs=0.01)


# What must not change a figure

_RANKS = ("rank1", "mrr", "recall_at_5", "recall_at_10", "ndcg_at_10", "map", "auc")


def spread(seed: int, n: int = 14) -> tuple[np.ndarray, np.ndarray]:
    return noisy(n, 1.0, dim=5, seed=seed)


def assert_same(one: Metrics, other: Metrics, tolerance: float = 1e-5) -> None:
    for name in one:
        if name not in ("hubness", "naive_rank1", "naive_rank1_ceiling"):
            assert other[name] == pytest.approx(one[name], abs=tolerance, nan_ok=True), name


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 10_000))
def test_rotation_changes_nothing(seed: int) -> None:
    queries, documents = spread(seed)
    turn, _ = np.linalg.qr(np.random.default_rng(seed + 1).standard_normal((5, 5)))
    one = evaluate_pairs(queries, documents, np.arange(14), draws=0)
    assert_same(one, evaluate_pairs(queries @ turn, documents @ turn, np.arange(14), draws=0))


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 10_000))
def test_order_of_rows_changes_nothing(seed: int) -> None:
    queries, documents = spread(seed)
    documents[3:6] = documents[0]  # exact ties
    rng = np.random.default_rng(seed)
    q, d = rng.permutation(14), rng.permutation(14)
    place = np.argsort(d)
    one = evaluate_pairs(queries, documents, np.arange(14), draws=0)
    assert_same(one, evaluate_pairs(queries[q], documents[d], place[q], draws=0))


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 10_000), st.integers(0, 13))
def test_a_record_given_twice_changes_nothing_but_the_naive_count(seed: int, again: int) -> None:
    queries, documents = spread(seed)
    one = Embeddings.from_raw(queries, documents, own_rows(14))
    records = np.concatenate([own_rows(14), [[again, again]]])
    two = Embeddings.from_raw(queries, documents, records, records=records)
    first, second = (compute_metrics(scan(e), e) for e in (one, two))
    assert_same(first, second, tolerance=0)
    assert dict(first.intervals) == dict(second.intervals)
    assert second.naive_rank1_ceiling == pytest.approx(14 / 15)


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 10_000), st.floats(0.05, 1.0), st.floats(0.0, 1.0))
def test_scores_scaled_and_shifted_keep_separation_auc_and_every_rank(seed: int, a: float, share: float) -> None:
    """One more dimension turns every cosine s into a * s + b."""
    queries, documents = (rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in spread(seed))
    b = share * (1 - a)

    def squeezed(rows: np.ndarray, side: int) -> np.ndarray:
        # The parts beside a and b keep the rows at length 1 and meet only zeros of the other side.
        rest = np.zeros((len(rows), 2))
        rest[:, side] = math.sqrt(max(1 - a - b, 0))
        return np.concatenate([math.sqrt(a) * rows, np.full((len(rows), 1), math.sqrt(b)), rest], axis=1)

    one = evaluate_pairs(queries, documents, np.arange(14), draws=0)
    other = evaluate_pairs(squeezed(queries, 0), squeezed(documents, 1), np.arange(14), draws=0)
    assert other.margin == pytest.approx(a * one.margin, abs=1e-6)
    assert other.separation == pytest.approx(one.separation, rel=1e-4, abs=1e-5)
    for name in _RANKS:
        assert other[name] == pytest.approx(one[name], abs=1e-9), name


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 10_000), st.integers(1, 9), st.integers(1, 9))
def test_figures_stay_within_their_bounds(seed: int, n_queries: int, n_documents: int) -> None:
    rng = np.random.default_rng(seed)
    queries = rng.integers(-1, 2, (n_queries, 3)).astype(float)  # zero rows and ties
    documents = rng.integers(-1, 2, (n_documents, 3)).astype(float)
    metrics = evaluate_pairs(queries, documents, rng.integers(0, n_documents, n_queries), draws=100)
    for name, value in metrics.items():
        if name.startswith(("rank1", "mrr", "recall", "ndcg", "map", "naive", "auc")):
            assert math.isnan(value) or 0 <= value <= 1 + 1e-12, name
            ends = metrics.get(f"{name}_pessimistic", value), metrics.get(f"{name}_optimistic", value)
            assert math.isnan(value) or ends[0] - 1e-12 <= value <= ends[1] + 1e-12, name
    assert math.isnan(metrics.margin) or -2 <= metrics.margin <= 2
    assert math.isnan(metrics.effective_rank) or 1 - 1e-9 <= metrics.effective_rank <= 3 + 1e-9
    for low, high in metrics.intervals.values():
        assert math.isnan(low) or low <= high


# Rows without a direction


def test_a_nan_row_is_never_a_hit() -> None:
    queries = np.full((2, 2), np.nan)
    metrics = evaluate_pairs(np.concatenate([queries, np.eye(2)]), np.eye(2), [0, 0, 0, 1])
    assert metrics.rank1 == 0.5
    assert metrics.naive_rank1 == 0.25  # only the last record is the first to name its document
    assert (metrics.positive_mean, metrics.non_finite, metrics.zero) == (1, 2, 0)


def test_without_any_direction_every_figure_is_nan() -> None:
    metrics = evaluate_pairs(np.zeros((3, 2)), np.eye(3, 2), [0, 1, 2])
    assert all(math.isnan(metrics[name]) for name in ("margin", "separation", "rank1", "mrr", "map", "auc"))
    assert metrics.zero == 4


def test_one_pair_has_no_negatives_and_no_margin() -> None:
    metrics = evaluate_pairs(np.ones((1, 3)), np.ones((1, 3)), [0])
    assert metrics.rank1 == 1
    assert math.isnan(metrics.margin)
    assert math.isnan(metrics.auc)


# The value and the front door


def test_metrics_are_a_mapping_with_attributes_and_survive_json_and_pickle() -> None:
    metrics = Metrics(
        {"margin": 0.25, "separation": math.inf, "auc": math.nan}, {"margin": (0.2, math.inf)}, ((3, 9),), 7, 5, 1, 2
    )
    assert metrics.margin == metrics["margin"] == dict(metrics)["margin"] == 0.25
    stored = json.loads(json.dumps(metrics.as_dict(), allow_nan=False))
    assert stored == {
        "metrics": {"margin": 0.25, "separation": "Infinity", "auc": None},
        "intervals": {"margin": [0.2, "Infinity"]},
        "hubs": [[3, 9]],
        "n_queries": 7,
        "n_documents": 5,
        "non_finite": 1,
        "zero": 2,
        "n_corpus": 0,
        "n_hard_queries": 0,
    }
    for again in (Metrics.from_dict(stored), pickle.loads(pickle.dumps(metrics))):
        assert again.as_dict() == metrics.as_dict()
        assert (again.hubs, again.n_queries, again.separation) == (((3, 9),), 7, math.inf)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_tensors_of_any_precision_with_gradients_are_accepted(dtype: torch.dtype) -> None:
    queries, documents = (torch.tensor(rows, dtype=dtype, requires_grad=True) for rows in noisy(20, 0.5))
    metrics = public_evaluate_pairs(queries, documents, torch.arange(20))
    arrays = (rows.detach().float().numpy() for rows in (queries, documents))
    assert metrics.as_dict() == evaluate_pairs(*arrays, np.arange(20)).as_dict()


def test_three_forms_of_relevance_mean_the_same() -> None:
    queries, documents = noisy(6, 1.0)
    row = np.array([0, 1, 2, 3, 4, 5])
    matrix = np.eye(6, dtype=bool)
    forms = [row, own_rows(6), matrix, matrix.tolist(), torch.tensor(matrix), row.astype(np.uint8)]
    figures = [evaluate_pairs(queries, documents, form).as_dict() for form in forms]
    assert all(found == figures[0] for found in figures)


def test_wrong_relevance_is_answered_with_what_is_expected() -> None:
    queries, documents = noisy(4, 1.0)
    wrong = {
        "a boolean relevance must have shape (4, 4), queries by documents, got (4, 3)": np.ones((4, 3), dtype=bool),
        "relevance must hold integers or booleans, got float64": np.ones((4, 2)),
        "relevance must name one document row per query, got 3 for 4 queries": [0, 1, 2],
        "relevance must be pairs (n, 2), one document row per query (n,) or a boolean matrix (4, 4),"
        " got int64 (4, 3)": np.zeros((4, 3), dtype=np.int64),
        "relevance row 3 is [3, 9], beyond 4 x 4 rows": [0, 1, 2, 9],
        "every query needs a relevant document, query row 3 has none": [(0, 0), (1, 1), (2, 2)],
    }
    for text, relevance in wrong.items():
        with pytest.raises((ValueError, TypeError)) as error:
            evaluate_pairs(queries, documents, relevance)
        assert str(error.value) == text


def test_hard_negatives_and_their_pairs_come_together() -> None:
    queries, documents = noisy(4, 1.0)
    with pytest.raises(ValueError) as error:
        evaluate_pairs(queries, documents, np.arange(4), hard_negatives=documents)
    assert str(error.value) == "hard_negatives and hard_pairs belong together, got hard_negatives without hard_pairs"
    with pytest.raises(ValueError) as error:
        evaluate_pairs(queries, documents, np.arange(4), hard_pairs=[(0, 1)])
    assert str(error.value) == "hard_negatives and hard_pairs belong together, got hard_pairs without hard_negatives"


def test_a_product_on_a_torch_device_gives_the_same_figures() -> None:
    queries, documents = noisy(40, 1.0)
    with torch.inference_mode():
        found = evaluate_pairs(queries, documents, np.arange(40), product=gpu_product("cpu"))
    plain = evaluate_pairs(queries, documents, np.arange(40))
    assert dict(found) == pytest.approx(dict(plain), abs=1e-6)


PRECISIONS = """
import torch, numpy as np
from embviz_callback.encoding.product import gpu_product
rows = np.eye(3, dtype=np.float32)
for word in ("highest", "high", "medium"):
    torch.set_float32_matmul_precision(word)
    gpu_product("cpu")(rows, rows)
    assert torch.get_float32_matmul_precision() == word
torch.backends.cuda.matmul.fp32_precision = "tf32"
assert (gpu_product("cpu")(rows, rows) == rows).all()
assert torch.backends.cuda.matmul.fp32_precision == "tf32"
"""


@pytest.mark.slow
def test_a_product_leaves_the_precision_that_the_user_has_chosen_by_either_name() -> None:
    done = subprocess.run([sys.executable, "-c", PRECISIONS], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]


def test_a_corpus_makes_the_task_harder() -> None:
    queries, documents = noisy(50, 2.0)
    corpus = np.random.default_rng(7).standard_normal((2000, 32))
    alone, among = (evaluate_pairs(queries, documents, np.arange(50), corpus=c) for c in (None, corpus))
    assert among.rank1 < alone.rank1
    assert among.positive_mean == alone.positive_mean
    assert among.n_documents == 50
