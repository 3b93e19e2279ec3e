"""The scan against a plain matrix of cosines, and its corners."""

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.stats import norm
from threadpoolctl import threadpool_info, threadpool_limits

from embviz_callback.analysis.scan import EQUAL, Similarity, scan
from embviz_callback.analysis.scan import passes as passes_room
from embviz_callback.analysis.scan.nearest import NOTHING, column_of, make_keys, score_of
from embviz_callback.analysis.scan.spread import fine_bins, overlap, wins
from embviz_callback.analysis.scan.tiles import Tile
from embviz_callback.embeddings import Embeddings


def unit(rows: object) -> np.ndarray:
    raw = np.asarray(rows, dtype=np.float64)
    return (raw / np.linalg.norm(raw, axis=1, keepdims=True)).astype(np.float32)


def own_rows(n: int) -> np.ndarray:
    return np.stack([np.arange(n), np.arange(n)], axis=1)


def exact_auc(positives: np.ndarray, negatives: np.ndarray) -> float:
    return wins(positives, negatives) / (2 * len(positives) * len(negatives))


def random_embeddings(seed: int, n_queries: int = 40, n_documents: int = 70, dim: int = 8) -> Embeddings:
    """Several positives per query; documents repeat, so that many scores are exactly tied."""
    rng = np.random.default_rng(seed)
    documents = rng.standard_normal((n_documents, dim))
    documents[n_documents // 2 :: 3] = documents[: len(documents[n_documents // 2 :: 3])]
    extra = rng.integers((0, 0), (n_queries, n_documents), size=(n_queries, 2))
    first = np.stack([np.arange(n_queries), rng.integers(0, n_documents, n_queries)], axis=1)
    queries = documents[first[:, 1]] + rng.standard_normal((n_queries, dim))
    return Embeddings.from_raw(queries, documents, np.concatenate([first, extra]), records=first)


def check_against_matrix(found: Similarity, embeddings: Embeddings) -> None:
    cosines = embeddings.queries.astype(np.float64) @ embeddings.documents.T.astype(np.float64)
    relevant = np.zeros(cosines.shape, dtype=bool)
    relevant[embeddings.relevance[:, 0], embeddings.relevance[:, 1]] = True
    tied = np.abs(cosines[:, :, None] - cosines[:, None, :]) < EQUAL if cosines.size < 10_000 else None
    for pair, (query, document) in enumerate(embeddings.relevance):
        score = cosines[query, document]
        same = tied[query, document] if tied is not None else np.abs(cosines[query] - score) < EQUAL
        assert found.pair_above[pair] == ((cosines[query] > score) & ~same & ~relevant[query]).sum()
        assert found.pair_tied[pair] == (same & ~relevant[query]).sum()
        assert found.positive_scores[pair] == pytest.approx(score, abs=1e-12)
    negatives = cosines[~relevant]
    assert found.negative_count == len(negatives)
    assert found.negative_mean == pytest.approx(negatives.mean(), abs=1e-12)
    assert found.negative_std == pytest.approx(negatives.std(), abs=1e-9)
    for query in range(len(cosines)):
        row = cosines[query][~relevant[query]]
        assert found.row_count[query] == len(row)
        assert found.row_mean[query] == pytest.approx(row.mean(), abs=1e-12)
        assert found.row_variance[query] == pytest.approx(row.var(), abs=1e-12)
    best = -np.sort(-cosines, axis=1)[:, : found.top_scores.shape[1]]
    assert found.top_scores == pytest.approx(best, abs=1e-6)
    listed = np.take_along_axis(cosines, found.top_documents, axis=1)
    assert listed == pytest.approx(best, abs=1e-6)
    assert all(len(set(row)) == len(row) for row in found.top_documents.tolist())
    assert found.negative_counts.sum() == pytest.approx(len(negatives), abs=1)
    assert found.positive_counts.sum() == relevant.sum()


@pytest.mark.parametrize("tile", [(512, 2048), (7, 11), (1, 1), (64, 300)])
def test_every_tile_shape_finds_what_the_whole_matrix_shows(tile: tuple[int, int]) -> None:
    for seed in range(3):
        embeddings = random_embeddings(seed)
        check_against_matrix(scan(embeddings, tile=tile, top_k=5), embeddings)


def test_wide_tiles_find_the_best_documents_by_segments() -> None:
    embeddings = random_embeddings(3, n_queries=30, n_documents=900)
    check_against_matrix(scan(embeddings, tile=(16, 400)), embeddings)


@pytest.mark.parametrize("n_positives", [1, 9])
@pytest.mark.parametrize("n_copies", [1, 3])
@pytest.mark.parametrize("noise", [0.3, 3.0, 1000.0])
def test_few_and_many_scores_above_a_positive_are_counted_alike(
    monkeypatch: pytest.MonkeyPatch, noise: float, n_copies: int, n_positives: int
) -> None:
    rng = np.random.default_rng(4)
    documents = rng.standard_normal((1203, 32)).repeat(n_copies, axis=0)
    first = rng.permutation(1203)[:150] * n_copies
    queries = documents[first] + noise * rng.standard_normal((150, 32))
    relevance = np.stack([np.arange(150), first], axis=1)
    relevance = np.concatenate([relevance, *([[5, row], [9, row]] for row in range(1, n_positives))])
    monkeypatch.setattr(passes_room, "EXACT_AUC_PAIRS", 0)  # bands side by side, as for millions
    ways = []

    def watched(tile: Tile, levels: np.ndarray, rows: np.ndarray | None = None) -> object:
        found = entries_above(tile, levels, rows)
        ways.append(found is None)
        return found

    entries_above = Tile.entries_above
    monkeypatch.setattr(Tile, "entries_above", watched)
    embeddings = Embeddings.from_raw(queries, documents, relevance)
    check_against_matrix(scan(embeddings, top_k=1), embeddings)
    assert not all(ways)
    assert any(ways) or noise < 500


def test_a_scan_leaves_the_threads_of_blas_as_they_were() -> None:
    def count() -> int:
        return next(library["num_threads"] for library in threadpool_info() if "numpy" in library["filepath"])

    seen = []

    def product(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        seen.append(count())
        return np.asarray(a @ b.T)

    before = count()
    with threadpool_limits(limits=3, user_api="blas"):
        scan(random_embeddings(0), product=product)
        assert (seen, count()) == ([1], 3)
        with pytest.raises(ValueError, match="top_k"):
            scan(random_embeddings(0), top_k=0)
        assert count() == 3
    assert count() == before


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 10_000), st.integers(1, 12), st.integers(1, 12))
@example(seed=192, n_queries=1, n_documents=3)  # one negative: no spread, and no rounding of one
@example(seed=0, n_queries=1, n_documents=4)  # two copies of one negative: the same
@example(seed=113, n_queries=1, n_documents=3)  # likewise, near their query
@example(seed=116, n_queries=12, n_documents=12)  # two different scores closer than 1e-6: not tied
def test_few_rows_and_columns_are_counted_like_many(seed: int, n_queries: int, n_documents: int) -> None:
    embeddings = random_embeddings(seed, n_queries, n_documents, dim=3)
    found = scan(embeddings)
    assert found.top_documents.shape == (n_queries, min(10, n_documents))
    if n_documents > 1 and found.row_count.all():
        check_against_matrix(found, embeddings)


def test_auc_of_a_sample_is_within_its_stated_error(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    documents = rng.standard_normal((1500, 16))
    embeddings = Embeddings.from_raw(documents + 2 * rng.standard_normal(documents.shape), documents, own_rows(1500))
    exact = scan(embeddings)
    assert exact.auc_error == 0
    monkeypatch.setattr(passes_room, "EXACT_AUC_PAIRS", 1000)
    monkeypatch.setattr(passes_room, "SAMPLED_PAIRS", 200_000)
    sampled = scan(embeddings, tile=(128, 256))
    assert 0 < sampled.auc_error < 0.005
    assert sampled.auc == pytest.approx(exact.auc, abs=sampled.auc_error)
    assert sampled.negative_counts.sum() == pytest.approx(exact.negative_counts.sum(), abs=100)
    shares = (
        sampled.negative_counts / sampled.negative_counts.sum(),
        exact.negative_counts / exact.negative_counts.sum(),
    )
    assert shares[0] == pytest.approx(shares[1], abs=0.002)
    monkeypatch.setattr(passes_room, "SAMPLED_PAIRS", 10**9)
    binned = scan(embeddings, tile=(128, 256))
    # A cosine on the edge of two bins falls to either side, as the processor rounds it in this tile.
    moved = np.abs(np.cumsum(binned.negative_counts) - np.cumsum(exact.negative_counts))
    assert moved[-1] == 0
    assert moved.max() <= 5
    assert binned.auc == pytest.approx(exact.auc, abs=binned.auc_error)
    assert binned.auc_error < 1e-4


def test_sampled_histogram_counts_copies_of_a_vector_as_often_as_they_occur(monkeypatch: pytest.MonkeyPatch) -> None:
    embeddings = random_embeddings(5, 30, 200)
    exact = scan(embeddings)
    monkeypatch.setattr(passes_room, "EXACT_AUC_PAIRS", 0)
    binned = scan(embeddings, tile=(8, 16))
    assert binned.negative_counts.tolist() == exact.negative_counts.tolist()


def test_auc_of_few_pairs_tells_apart_what_float32_cannot() -> None:
    angle = 5e-4  # from the query; the cosines 1 and 1 - 1.25e-7 are one number to a float32 product
    rows = unit([[1.0, 0.0], [math.cos(angle), math.sin(angle)]])
    better = scan(Embeddings.from_raw(rows[:1], rows, [(0, 0)]))
    worse = scan(Embeddings.from_raw(rows[:1], rows, [(0, 1)]))
    assert (better.auc, worse.auc) == (1.0, 0.0)
    assert exact_auc(np.array([0.5 + 1e-15]), np.array([0.5])) == 0.5


def test_what_positive_and_negative_cosines_have_in_common_is_a_share() -> None:
    apart = Embeddings(unit(np.eye(4)), unit(np.eye(4)), own_rows(4))
    assert scan(apart).overlap == 0
    same = unit([[1, 1]] * 4)
    assert scan(Embeddings(same, same, own_rows(4))).overlap == 1
    # Two of four positives lie where all twelve negatives lie.
    queries = unit([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 1], [0, 0, 0, 1]])
    documents = unit([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 1, 0]])
    assert scan(Embeddings(queries, documents, own_rows(4))).overlap == 0.5
    nowhere = Embeddings.from_raw(np.full((1, 2), np.nan), np.ones((1, 2)), own_rows(1))
    assert math.isnan(scan(nowhere).overlap)


def test_a_squeezed_scale_overlaps_as_much_as_before() -> None:
    rng = np.random.default_rng(0)
    positives, negatives = rng.normal(0.5, 0.1, 2000), rng.normal(0.2, 0.1, 20_000)
    wide, tight = (
        overlap(*(np.bincount(fine_bins(scale * part + shift), minlength=2**16) for part in (positives, negatives)))
        for scale, shift in ((1.0, 0.0), (0.05, 0.9))
    )
    assert wide == pytest.approx(2 * norm.cdf(-1.5), abs=0.02)
    assert tight == pytest.approx(wide, abs=0.01)


@pytest.mark.slow
def test_the_error_of_auc_holds_in_pools_with_hubs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passes_room, "EXACT_AUC_PAIRS", 0)
    monkeypatch.setattr(passes_room, "SAMPLED_PAIRS", 30_000)
    for seed in range(12):
        rng = np.random.default_rng(seed)
        documents = rng.standard_normal((3000, 16))
        centre = rng.standard_normal(16)
        documents[rng.choice(3000, 30, replace=False)] = 3 * centre + 0.3 * rng.standard_normal((30, 16))
        queries = documents[:200] + centre + rng.standard_normal((200, 16))
        embeddings = Embeddings.from_raw(queries, documents, own_rows(200))
        found = scan(embeddings)
        cosines = embeddings.queries.astype(np.float64) @ embeddings.documents.T.astype(np.float64)
        right = np.eye(200, 3000, dtype=bool)
        assert found.auc_error > 0
        assert abs(found.auc - exact_auc(cosines[right], cosines[~right])) <= found.auc_error, seed


def test_near_ties_at_the_end_of_the_list_are_settled_in_float64() -> None:
    rng = np.random.default_rng(0)
    queries = rng.standard_normal((60, 64))
    # Of each query ten documents are listed and twelve score nearly the same.
    near = queries[:, None] + 2e-4 * rng.standard_normal((60, 12, 64))
    documents = np.concatenate([near.reshape(-1, 64), -queries])
    relevance = np.stack([np.arange(60), 720 + np.arange(60)], axis=1)
    embeddings = Embeddings.from_raw(queries, documents, relevance)
    exact = embeddings.queries.astype(np.float64) @ embeddings.documents.T.astype(np.float64)
    assert (scan(embeddings).top_documents == np.argsort(-exact, axis=1)[:, :10]).all()


def test_auc_counts_ties_as_half() -> None:
    rng = np.random.default_rng(0)
    positives, negatives = rng.integers(0, 5, 20).astype(np.float32), rng.integers(0, 5, 30).astype(np.float32)
    won = (positives[:, None] > negatives).mean() + (positives[:, None] == negatives).mean() / 2
    assert exact_auc(positives, negatives) == pytest.approx(won)


@pytest.mark.parametrize("dim", [3, 64, 257, 1024])
@pytest.mark.parametrize("tile", [(512, 2048), (17, 5), (100, 130)])
def test_a_collapsed_model_has_exactly_tied_scores_in_every_tile(dim: int, tile: tuple[int, int]) -> None:
    one = np.random.default_rng(dim).standard_normal((1, dim))
    embeddings = Embeddings.from_raw(one.repeat(150, 0), one.repeat(203, 0), own_rows(150))
    found = scan(embeddings, tile=tile)
    assert (found.tied == 202).all()
    assert (found.above == 0).all()
    assert (found.rank == 102).all()
    assert found.auc == 0.5
    assert found.naive_hits.sum() == 1


@pytest.mark.parametrize("tile", [(512, 2048), (17, 5), (100, 130)])
def test_a_nearly_collapsed_model_gains_nothing_from_rounding(tile: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    one = rng.standard_normal((1, 300))
    rows = one + 1e-7 * rng.standard_normal((2, 300, 300))
    found = scan(Embeddings.from_raw(rows[0], rows[1], own_rows(300)), tile=tile)
    # A positive from a more exact path would stand above or below all its rivals.
    assert 145 < np.mean(found.rank) < 156
    assert found.auc == pytest.approx(0.5, abs=0.02)
    assert found.naive_hits.mean() < 0.02
    assert (found.top_documents[:, 0] == np.arange(300)).mean() < 0.02


@pytest.mark.parametrize("scale", [1e-3, 1e-4])
@pytest.mark.parametrize("tile", [(512, 2048), (17, 5), (100, 130)])
def test_scores_closer_than_float32_can_tell_are_ranked_as_float64_ranks_them(
    tile: tuple[int, int], scale: float
) -> None:
    rng = np.random.default_rng(1)
    one = rng.standard_normal((1, 64))
    embeddings = Embeddings.from_raw(
        one + scale * rng.standard_normal((80, 64)), one + scale * rng.standard_normal((200, 64)), own_rows(80)
    )
    found = scan(embeddings, tile=tile)
    cosines = embeddings.queries.astype(np.float64) @ embeddings.documents.T.astype(np.float64)
    above = (cosines > np.diagonal(cosines)[:, None] + 1e-14).sum(axis=1)
    assert np.abs(found.above - above).max() == 0
    first = np.take_along_axis(cosines, found.top_documents, axis=1)
    assert (np.diff(first, axis=1) <= 1e-14).all()
    if scale == 1e-3:  # below, more than ten are too close to tell, and the list of ten is any ten of them
        assert ((found.rank == 1) == (found.top_documents[:, 0] == np.arange(80))).all()


def test_copies_of_a_positive_tie_with_it_wherever_they_stand() -> None:
    rng = np.random.default_rng(0)
    documents = rng.standard_normal((300, 96))
    documents[7::10] = documents[7]
    queries = documents[[7]] + 0.01 * rng.standard_normal((50, 96))
    found = scan(Embeddings.from_raw(queries, documents, [(i, 7) for i in range(50)]), tile=(16, 37))
    assert (found.tied == 29).all()
    assert (found.rank == 15.5).all()
    assert (found.top_documents[:, :10] == np.arange(7, 107, 10)).all()


def test_what_came_first_of_a_tie_is_the_document_that_does_not_answer() -> None:
    documents = unit([[1, 0], [1, 0], [0, 1], [1, 1]])
    queries = unit([[1, 0], [0, 1], [-1, 1]])
    # The first query's own document stands before its equal, the second's is alone, the third's is second.
    found = scan(Embeddings(queries, documents, np.array([(0, 0), (1, 2), (2, 3)])))
    assert found.top_documents[:, 0].tolist() == [0, 2, 2]
    assert found.is_hit.tolist() == [False, True, False]
    assert found.came_first.tolist() == [1, 2, 2]
    assert found.first_score.tolist() == pytest.approx([1, 1, 0.5**0.5])


def test_nothing_came_first_where_nothing_wrong_is_listed() -> None:
    embeddings = Embeddings.from_raw([[1, 0], [0, 0]], [[1, 0], [1, 0]], [(0, 0), (1, 0), (1, 1)])
    found = scan(embeddings, top_k=1)
    assert found.came_first.tolist() == [-1, -1]  # of the tie the list holds the query's own only
    assert np.isnan(found.first_score).all()


def test_equal_scores_stand_in_record_order() -> None:
    documents = np.eye(4)[[0, 1, 1, 2]]
    records = np.array([(0, 3), (1, 2), (0, 1)])
    embeddings = Embeddings.from_raw(np.ones((2, 4)), documents, records, records=records)
    assert scan(embeddings).top_documents.tolist() == [[3, 2, 1, 0]] * 2


def test_rows_without_direction_are_misses_and_in_no_mean() -> None:
    queries = np.array([[1, 0], [np.nan, 0], [0, 1], [0, 1]])
    documents = np.array([[1, 1], [0, 1], [np.inf, 0], [0, 1]])
    embeddings = Embeddings.from_raw(queries, documents, [(0, 0), (1, 1), (2, 2), (3, 2), (3, 3)])
    found = scan(embeddings)
    assert found.rank.tolist() == [1, np.inf, np.inf, 1.5]
    assert found.best_positive_row.tolist() == [0, -1, -1, 3]
    assert np.isnan(found.positive_scores).tolist() == [False, True, True, True, False]
    assert found.row_count.tolist() == [2, 0, 3, 2]
    half = np.sqrt(0.5)
    assert found.negative_mean == pytest.approx((0 + 0 + half + 1 + 1 + half + 1) / 7, abs=1e-7)
    assert found.top_documents.tolist() == [[0, 1, 3, -1], [-1] * 4, [1, 3, 0, -1], [1, 3, 0, -1]]
    assert np.isnan(found.top_scores[1]).all()
    assert np.isnan(found.best_positive).tolist() == [False, True, True, False]


def test_without_any_direction_nothing_can_be_said() -> None:
    found = scan(Embeddings.from_raw(np.zeros((3, 2)), np.zeros((3, 2)), own_rows(3)))
    assert found.rank.tolist() == [np.inf] * 3
    assert found.negative_count == 0
    assert np.isnan([found.negative_mean, found.negative_std, found.auc, found.effective_rank]).all()
    assert not found.naive_hits.any()


def test_corpus_rows_are_further_negatives_behind_the_documents() -> None:
    embeddings = random_embeddings(0, 20, 30)
    corpus = unit(np.random.default_rng(9).standard_normal((50, 8)))
    found = scan(embeddings, corpus=corpus)
    whole = Embeddings(
        embeddings.queries, np.concatenate([embeddings.documents, corpus]), embeddings.relevance,
        records=embeddings.records,
    )  # fmt: skip
    check_against_matrix(found, whole)
    assert found.n_pool == 80
    assert (found.naive_hits == scan(embeddings).naive_hits).all()


@pytest.mark.parametrize("tile", [(512, 2048), (2, 3)])
def test_different_documents_with_equal_scores_are_tied(tile: tuple[int, int]) -> None:
    queries = np.array([[1, 1, 1, 0, 0, 0], [1, 1, 0, 0, 0, 0], [0, 0, 0, 0, 0, 1], [1, 1, 1, 1, 1, 1]])
    relevance = [(0, 0), (1, 1), (1, 4), (2, 0), (3, 2), (3, 3)]
    embeddings = Embeddings.from_raw(queries, np.eye(6), relevance)
    found = scan(embeddings, tile=tile)
    check_against_matrix(found, embeddings)
    assert found.above.tolist() == [0, 0, 1, 0]
    assert found.tied.tolist() == [2, 1, 4, 4]
    assert found.rank.tolist() == pytest.approx([2, 1.5, 4, 1 + 4 / 3])


def test_any_product_may_be_plugged_in() -> None:
    embeddings = random_embeddings(1)
    shapes = []

    def product(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        shapes.append((len(a), len(b)))
        return a @ b.T

    check_against_matrix(scan(embeddings, product=product, tile=(64, 64)), embeddings)
    assert shapes


def naive_brute_force(embeddings: Embeddings) -> list[bool]:
    """What a careless script does: one row per record, argmax against the diagonal."""
    queries = embeddings.queries[embeddings.records[:, 0]]
    documents = embeddings.documents[embeddings.records[:, 1]]
    cosines = queries.astype(np.float64) @ documents.T.astype(np.float64)
    best = (cosines > cosines.max(axis=1, keepdims=True) - 1e-9).argmax(axis=1)
    return (best == np.arange(len(best))).tolist()


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 10_000), st.integers(1, 3))
def test_naive_hits_are_those_of_an_argmax_over_the_record_list(seed: int, top_k: int) -> None:
    rng = np.random.default_rng(seed)
    documents = np.eye(5)[rng.integers(0, 5, 12)]  # a cosine is one number: ties are exact
    queries = rng.integers(-1, 2, (10, 5)) + 0.5
    records = np.stack([rng.permutation(np.r_[np.arange(10), rng.integers(0, 10, 15)]), rng.integers(0, 8, 25)], axis=1)
    relevance = np.concatenate([records, rng.integers((0, 8), (10, 12), (6, 2))])
    embeddings = Embeddings.from_raw(queries, documents, relevance, records=records)
    assert scan(embeddings, top_k=top_k).naive_hits.tolist() == naive_brute_force(embeddings)


def test_keys_keep_score_and_column_and_sort_by_falling_score_then_column() -> None:
    scores = np.array([0.5, -0.5, 0.0, -0.0, 1.0, -1.0, 0.5, -np.inf], dtype=np.float32)
    columns = np.array([3, 0, 5, 1, 7, 2, 2**31, 4])
    made = make_keys(scores, columns)
    assert score_of(made).tolist() == (scores + 0).tolist()
    assert column_of(made).tolist() == columns.tolist()
    assert np.argsort(made).tolist() == [4, 0, 6, 3, 2, 1, 5, 7]
    nothing = np.array([NOTHING])
    assert (score_of(nothing)[0], column_of(nothing)[0]) == (-np.inf, -1)


def test_wrong_options_are_named() -> None:
    embeddings = random_embeddings(0)
    with pytest.raises(ValueError) as error:
        scan(embeddings, top_k=0)
    assert str(error.value) == "top_k and tile must be at least 1, got 0 and (1024, 1024)"
    with pytest.raises(ValueError) as error:
        scan(embeddings, corpus=np.ones((2, 5), dtype=np.float32))
    assert str(error.value) == "corpus must have 8 columns, got shape (2, 5)"


def test_the_rooms_of_the_training_process_import_no_heavy_library() -> None:
    import subprocess
    import sys

    code = (
        "import sys; import embviz_callback.analysis.verdict.checklist, embviz_callback.analysis.verdict.diagnosis;"
        "print([m for m in ('torch','sklearn','scipy','numba','umap','matplotlib') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path.cwd())
    assert done.stdout.strip() == "[]"
