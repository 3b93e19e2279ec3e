"""BM25 beside a model: the library's ranks, its words, and the fusion by hand."""

import numpy as np
import pytest

from embviz_callback.analysis.ship.lexical import SHOWN, against_words, bm25_scores, fused_scores, words_of
from embviz_callback.analysis.ship.sheet import Shipped
from embviz_callback.embeddings import Embeddings

bm25s = pytest.importorskip("bm25s")

DOCUMENTS = (
    "phòng trọ quận 1 giá 5tr",
    "căn hộ quận 10 giá 12tr ban công",
    "phòng trọ Bình Thạnh gần chợ",
    "nhà nguyên căn Gò Vấp, sân vườn",
    "phòng trọ Đống Đa giá rẻ",
    "!!!",
)
QUERIES = ("phòng quận 1", "ban công", "phong tro dong da", "???")


def test_ranks_are_those_of_the_library() -> None:
    index = bm25s.BM25(method="lucene", k1=1.5, b=0.75)
    index.index([words_of(text) or [""] for text in DOCUMENTS], show_progress=False)
    found = bm25_scores(QUERIES, DOCUMENTS)(slice(0, 4))
    for row, text in enumerate(QUERIES[:2]):
        names, scores = index.retrieve([words_of(text)], k=len(DOCUMENTS), show_progress=False, sorted=True)
        assert found[row, names[0]] == pytest.approx(scores[0])
        assert found[row].argmax() == names[0, 0]
    assert not found[3].any()


def test_words_without_diacritics_are_found_where_they_are_left_out() -> None:
    plain, folded = (bm25_scores(QUERIES, DOCUMENTS, is_folded=folded)(slice(2, 3))[0] for folded in (False, True))
    assert not plain.any()
    assert folded.argmax() == 4


def test_a_fusion_sums_reciprocal_ranks_ties_with_their_mean() -> None:
    one, other = np.array([[3.0, 2.0, 1.0]]), np.array([[0.0, 5.0, 0.0]])
    found = fused_scores(lambda rows: one[rows], lambda rows: other[rows])(slice(0, 1))
    assert found[0] == pytest.approx([1 / 61 + 1 / 62.5, 1 / 62 + 1 / 61, 1 / 63 + 1 / 62.5])


def test_what_only_words_find_is_named_and_what_only_the_model_finds_is_counted() -> None:
    names = [f"số {n} đường {n % 7} khu{n}" for n in range(40)]
    rows = np.eye(40)
    # The model takes the first query for another; words know nothing of the second.
    queries = ["khu3", "không có chữ nào", "khu5"]
    seen = np.stack([-rows[3] + 0.1 * rows.sum(axis=0), rows[4], rows[5]])
    model = Shipped("a.pt", Embeddings.from_raw(seen, rows, [[0, 3], [1, 4], [2, 5]]))
    found = against_words(model, queries, names, is_folded=False)
    assert found.only_words.tolist() == [0]
    assert found.n_only_model == 1
    assert found.words.first[2] == found.model.first[2] == 1
    assert found.words.first[1] == 1 + 39 / 2
    assert found.fused.name == "a.pt + BM25"
    assert [loss.metric for loss in found.model.changes] == list(SHOWN)
    assert found.model.changes[1].value == pytest.approx(
        found.words.values["rank1"].mean() - found.model.values["rank1"].mean()
    )
