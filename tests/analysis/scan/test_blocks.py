"""A corpus in blocks: however it is cut and shared out, what one block of it gives."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embviz_callback.analysis.scan import Scan, Similarity, scan
from embviz_callback.analysis.scan import moments as moments_room
from embviz_callback.analysis.scan import passes as passes_room
from embviz_callback.embeddings import Embeddings, ranked_rows
from embviz_callback.settings import SIMILARITIES

EXACT = ("pair_above", "pair_tied", "above", "tied", "rank", "best_positive_row", "top_documents", "row_count")
COUNTS = (*EXACT, "naive_hits", "gain_above", "gain_tied", "negative_count", "n_pool", "measure")
KINDS = ("spread", "grid", "collapsed", "nearly collapsed")


def rows_of(kind: str, n: int, rng: np.random.Generator, dim: int = 3) -> Any:
    if kind == "grid":  # scores tie, of copies and of different rows
        return rng.integers(-1, 2, (n, dim)).astype(np.float64)
    spread = {"spread": 1.0, "collapsed": 0.0, "nearly collapsed": 1e-7}[kind]
    return np.arange(1.0, dim + 1) + spread * rng.standard_normal((n, dim)) * np.r_[1.0, 2.0, 30.0]


def a_pool(kind: str, seed: int, similarity: str) -> tuple[Embeddings, Any]:
    rng = np.random.default_rng(seed)
    n_queries, n_documents, n_corpus = rng.integers(1, 7), rng.integers(6, 9), rng.integers(1, 70)
    queries, documents = (rows_of(kind, int(n), rng) for n in (n_queries, n_documents))
    relevance = np.column_stack([np.arange(n_queries), rng.permutation(n_documents)[:n_queries]])
    grades = np.column_stack([relevance, np.full(n_queries, 2)]) if seed % 2 else None
    embeddings = Embeddings.from_raw(queries, documents, relevance, similarity=similarity, grades=grades)
    # Longer than anything of the subset, as a document may be that nobody has judged.
    return embeddings, ranked_rows("corpus", 5 * rows_of(kind, int(n_corpus), rng), similarity)


@contextmanager
def drawing(most: int) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(moments_room, "DRAWN", most)
        yield


def in_blocks(
    embeddings: Embeddings, corpus: Any, rng: np.random.Generator, n_shares: int, **options: Any
) -> Similarity:
    shares = [Scan(embeddings, n_corpus=len(corpus), **options) for _ in range(n_shares)]
    for rows in np.array_split(rng.permutation(len(corpus)), rng.integers(1, len(corpus) + 1)):
        shares[rng.integers(n_shares)].add(rows, corpus[rows])
    shares[0].join([one.sums() for one in shares])
    return shares[0].finish()


def check_equal(found: Similarity, whole: Similarity) -> None:
    for name in COUNTS:
        np.testing.assert_array_equal(getattr(found, name), getattr(whole, name), err_msg=name)
    for one in fields(Similarity):
        if one.name not in COUNTS and one.name != "top_scores":
            # The root of an eigenvalue that is nothing but rounding is 1e-8.
            most = 1e-7 if one.name == "effective_rank" else 1e-12
            given, wanted = (getattr(similarity, one.name) for similarity in (found, whole))
            np.testing.assert_allclose(given, wanted, rtol=most, atol=most, err_msg=one.name)
    np.testing.assert_allclose(found.top_scores, whole.top_scores, rtol=1e-6, atol=1e-6)


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from(KINDS), st.integers(0, 2**32 - 1), st.sampled_from(SIMILARITIES), st.integers(1, 3), st.booleans()
)
def test_however_a_corpus_is_cut_and_shared_out_the_scan_finds_the_same(
    kind: str, seed: int, similarity: str, n_shares: int, is_large: bool
) -> None:
    embeddings, corpus = a_pool(kind, seed, similarity)
    with drawing(20 if is_large else 100):
        whole = scan(embeddings, corpus=corpus, top_k=4)
        found = in_blocks(embeddings, corpus, np.random.default_rng(seed), n_shares, top_k=4)
    check_equal(found, whole)


def far_more_documents(spread: float, apart: float, n: int = 900, dim: int = 32) -> tuple[Embeddings, Any]:
    """Pairs and a corpus, each around a direction of its own."""
    rng = np.random.default_rng(0)
    centre, other = rng.standard_normal((2, dim))
    rows = [centre + spread * rng.standard_normal((20, dim)) for _ in range(2)]
    embeddings = Embeddings.from_raw(*rows, np.stack([np.arange(20)] * 2, axis=1))
    return embeddings, ranked_rows("corpus", centre + apart * other + spread * rng.standard_normal((n, dim)), "cosine")


@pytest.mark.parametrize(("spread", "apart", "off"), [(1.0, 0.0, 1e-7), (0.01, 0.0, 1e-3), (0.01, 1.0, 1e-6)])
def test_the_spread_of_a_large_corpus_is_as_exact_as_scores_in_float32(spread: float, apart: float, off: float) -> None:
    embeddings, corpus = far_more_documents(spread, apart)
    with drawing(300):
        found = scan(embeddings, corpus=corpus)
    cosines = embeddings.queries.astype(np.float64) @ np.concatenate([embeddings.documents, corpus]).T
    negatives = cosines[~np.eye(20, len(cosines.T), dtype=bool)].reshape(20, -1)
    assert found.row_mean == pytest.approx(negatives.mean(axis=1), abs=1e-12)
    assert found.row_variance == pytest.approx(negatives.var(axis=1), rel=off, abs=0)


@pytest.mark.parametrize("apart", [0.0, 1.0])
def test_copies_in_a_large_corpus_have_no_spread_of_their_own(apart: float) -> None:
    embeddings, corpus = far_more_documents(0.0, apart)
    with drawing(300):
        found = scan(embeddings, corpus=corpus)
    own, other = embeddings.queries[0].astype(np.float64) @ np.stack([embeddings.documents[0], corpus[0]]).T
    shares = 19 / 919, 900 / 919
    assert found.row_variance == pytest.approx(np.full(20, shares[0] * shares[1] * (own - other) ** 2), abs=1e-14)
    assert (found.row_variance == 0).all() == (apart == 0)


def test_queries_by_the_dozen_a_dimension_are_worth_the_covariance_of_all() -> None:
    rng = np.random.default_rng(0)
    documents, corpus = rng.standard_normal((30, 2)), ranked_rows("corpus", rng.standard_normal((500, 2)), "cosine")
    embeddings = Embeddings.from_raw(documents, documents, np.stack([np.arange(30)] * 2, axis=1))
    with drawing(100):
        found = scan(embeddings, corpus=corpus)
    check_equal(found, scan(embeddings, corpus=corpus))


def test_the_effective_rank_of_a_large_corpus_is_that_of_all_of_it_as_far_as_a_part_can_tell() -> None:
    embeddings, corpus = far_more_documents(1.0, 0.0, n=4000)
    whole = scan(embeddings, corpus=corpus).effective_rank
    with drawing(400):
        part = scan(embeddings, corpus=corpus).effective_rank
    assert 0.98 * whole < part < whole


@pytest.mark.parametrize("similarity", SIMILARITIES)
def test_ranks_and_lists_are_those_of_the_whole_matrix(similarity: str) -> None:
    for seed in range(8):
        embeddings, corpus = a_pool("spread", 2 * seed, similarity)
        found = in_blocks(embeddings, corpus, np.random.default_rng(seed), 2, top_k=4)
        ranked, _ = embeddings.compared()
        others = corpus / np.float32(ranked.measure.document_unit)
        table = ranked.measure.table(ranked.queries, np.concatenate([ranked.documents, others]))
        own = np.take_along_axis(table, embeddings.relevance[:, 1:], axis=1)
        assert found.above.tolist() == (table > own + 1e-13).sum(axis=1).tolist()
        assert found.top_documents.tolist() == np.argsort(-table, axis=1)[:, :4].tolist()


def test_what_is_known_on_the_way_is_no_less_than_what_comes_of_it() -> None:
    embeddings, corpus = a_pool("spread", 4, "dot")
    scanned = Scan(embeddings, n_corpus=len(corpus))
    known = [scanned.unbeaten]
    for row in range(len(corpus)):
        scanned.add(np.array([row]), corpus[[row]])
        known.append(scanned.unbeaten)
    assert known == sorted(known, reverse=True)
    assert known[0] > known[-1] == (scanned.finish().above == 0).mean()


def test_the_sample_behind_the_histogram_is_the_same_in_any_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passes_room, "EXACT_AUC_PAIRS", 0)
    monkeypatch.setattr(passes_room, "SAMPLED_PAIRS", 500)
    rng = np.random.default_rng(2)
    documents = rng.standard_normal((30, 8))
    queries = documents + rng.standard_normal((30, 8))
    embeddings = Embeddings.from_raw(queries, documents, np.stack([np.arange(30)] * 2, axis=1))
    corpus = ranked_rows("corpus", rng.standard_normal((400, 8)), "cosine")
    whole = scan(embeddings, corpus=corpus)
    assert 0 < whole.auc_error < 0.2
    for tile in ((1024, 1024), (7, 16)):
        found = in_blocks(embeddings, corpus, rng, 3, tile=tile)
        assert found.auc == pytest.approx(whole.auc, abs=1e-4)  # a score on the edge of two bins falls to either side
        assert found.negative_counts.sum() == whole.negative_counts.sum()
