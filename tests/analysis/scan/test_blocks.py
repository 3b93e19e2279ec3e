"""A corpus in blocks: however it is cut and shared out, what one block of it gives."""

from dataclasses import fields
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embviz_callback.analysis.scan import Scan, Similarity, scan
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
@given(st.sampled_from(KINDS), st.integers(0, 2**32 - 1), st.sampled_from(SIMILARITIES), st.integers(1, 3))
def test_however_a_corpus_is_cut_and_shared_out_the_scan_finds_the_same(
    kind: str, seed: int, similarity: str, n_shares: int
) -> None:
    embeddings, corpus = a_pool(kind, seed, similarity)
    whole = scan(embeddings, corpus=corpus, top_k=4)
    found = in_blocks(embeddings, corpus, np.random.default_rng(seed), n_shares, top_k=4)
    check_equal(found, whole)


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
