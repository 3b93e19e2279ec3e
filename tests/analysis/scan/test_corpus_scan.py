"""Ranking among a corpus: what it changes, what it does not, and what is kept of it."""

import csv
import io
from collections.abc import Iterable
from dataclasses import fields
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small_runs import a_page
from torch import Tensor, nn
from torch._subclasses import FakeTensorMode

from embviz_callback.analysis.compare.comparison import outcomes
from embviz_callback.analysis.metrics.numbers import compute_metrics
from embviz_callback.analysis.scan import CorpusScan, Scan, scan
from embviz_callback.analysis.why.analysis import analyse
from embviz_callback.delivery.results.result_files import embeddings_npz, errors_csv, metrics_json, read_embeddings
from embviz_callback.drawing.figures.png import draw
from embviz_callback.drawing.figures.top_k import bars
from embviz_callback.drawing.reports.evaluation_report import report
from embviz_callback.embeddings import Embeddings, unit_rows
from embviz_callback.encoding import encode as encode_room
from embviz_callback.encoding import product as product_room
from embviz_callback.encoding.encode import encode_blocks, encode_subset
from embviz_callback.encoding.product import device_for, product_on
from embviz_callback.encoding.subject import Side
from embviz_callback.pairs.corpus import Corpus, corpus_for, read_corpus
from embviz_callback.pairs.formats.reading import records_from
from embviz_callback.pairs.subset import Subset, choose_subset
from embviz_callback.settings import Settings
from embviz_callback.snapshot import Snapshot, load_snapshot, save_snapshot, take_snapshot
from tests.corpora import corpus_of, ranked_among, texts_of
from tests.tiny_models import one_way

SEEDS = st.integers(0, 2**32 - 1)
SETTINGS = Settings(bootstrap_draws=100, heatmap_pairs=4, batch_size=3)


def directions(n: int, dim: int, rng: np.random.Generator) -> np.ndarray[Any, np.dtype[np.float32]]:
    rows = rng.standard_normal((n, dim))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def noisy_pairs(n: int, rng: np.random.Generator, *, dim: int = 6) -> Embeddings:
    documents = rng.standard_normal((n, dim))
    return Embeddings.from_raw(documents + rng.standard_normal((n, dim)), documents, np.stack([np.arange(n)] * 2, 1))


def ranked(embeddings: Embeddings, vectors: np.ndarray[Any, np.dtype[np.float32]]) -> Any:
    return scan(embeddings, corpus=vectors)


@settings(max_examples=30, deadline=None)
@given(SEEDS, st.integers(1, 30))
def test_a_corpus_that_lies_far_away_changes_no_rank(seed: int, n: int) -> None:
    rng = np.random.default_rng(seed)
    # All in one quarter of the sphere, the corpus opposite to it.
    rows = np.abs(rng.standard_normal((2, 20, 5)))
    embeddings = Embeddings.from_raw(*rows, np.stack([np.arange(20)] * 2, axis=1))
    far = -np.abs(directions(n, 5, rng))
    alone, among = scan(embeddings), ranked(embeddings, far)
    assert among.rank.tolist() == alone.rank.tolist()
    assert among.top_documents.tolist() == alone.top_documents.tolist()
    assert among.negative_mean < alone.negative_mean


@settings(max_examples=30, deadline=None)
@given(SEEDS, st.lists(st.integers(1, 40), min_size=1, max_size=4))
def test_no_rank_improves_when_the_corpus_grows(seed: int, sizes: list[int]) -> None:
    rng = np.random.default_rng(seed)
    embeddings = noisy_pairs(15, rng)
    vectors = directions(sum(sizes), 6, rng)
    found = [scan(embeddings)] + [ranked(embeddings, vectors[:end]) for end in np.cumsum(sizes)]
    for before, after in pairwise(found):
        assert (after.rank >= before.rank).all()
        shares = [compute_metrics(one, embeddings, draws=0).rank1 for one in (before, after)]
        assert shares[1] <= shares[0]


class Encoder(nn.Module):
    """Letters to counts, hashed: equal texts are equal vectors; texts in `nowhere` have no direction."""

    def __init__(self, nowhere: tuple[str, ...] = ()) -> None:
        super().__init__()
        self.nowhere, self.given = nowhere, list[list[str]]()

    def forward(self, texts: list[str]) -> Tensor:
        self.given.append(list(texts))
        rows = np.zeros((len(texts), 12), dtype=np.float32)
        for row, text in zip(rows, texts, strict=True):
            for place, letter in enumerate("" if text in self.nowhere else text.casefold()):
                row[(ord(letter) * 7 + place % 3) % 12] += 1
        return torch.from_numpy(rows)


def a_subset(n: int = 12) -> Subset:
    items = [
        {"query": f"tìm phòng {row} quận {row % 5}", "pos": f"Phòng {row}, quận {row % 5}", "metadata": {"q": row % 5}}
        for row in range(n)
    ]
    return choose_subset(records_from(items), max_samples=n, seed=3)


LISTINGS = [f"Phòng {row}, quận {row % 7} có gác" for row in range(60)]


def evaluated(subset: Subset, corpus: Corpus | None, label: str = "one", encode: Encoder | None = None) -> Snapshot:
    encode = encode or Encoder()
    embeddings = encode_subset(one_way(encode), subset, batch_size=SETTINGS.batch_size)
    corpus_scan = None
    if corpus is not None:
        subset = corpus.beside(subset)
        corpus_scan = ranked_among(embeddings, corpus, lambda texts: unit_rows("corpus", encode(texts))[0])
    return take_snapshot(
        label=label, subset=subset, embeddings=embeddings, settings=SETTINGS, epoch=0, step=4, corpus_scan=corpus_scan
    )


@pytest.fixture(scope="module")
def snapshot() -> Snapshot:
    subset = a_subset()
    made = evaluated(subset, corpus_for(subset, read_corpus(LISTINGS)))
    firsts = made.similarity.top_documents[:, 0]
    assert (firsts >= len(subset.documents)).any()  # or nothing below would show a text of the corpus
    return made


def test_copies_of_positives_in_the_corpus_change_nothing() -> None:
    subset = a_subset()
    copies = [text.upper() for text in subset.documents] + [f" {text}" for text in subset.documents]
    plain, copied = (
        evaluated(subset, corpus_for(subset, read_corpus(given))) for given in (LISTINGS, LISTINGS + copies)
    )
    assert dict(plain.metrics) == dict(copied.metrics)
    assert plain.subset.fingerprint == copied.subset.fingerprint


def test_a_corpus_is_encoded_the_longest_texts_first_and_no_batch_is_larger_than_asked() -> None:
    corpus, encode = corpus_of(["b", "aaaa", "cc", "a", "d"]), Encoder(nowhere=("cc",))
    told: list[tuple[int, int]] = []
    (block,) = encode_blocks(Side(encode), corpus, batch_size=3, progress=lambda *done: told.append(done))
    assert (encode.given, told) == ([["aaaa", "cc", "a"], ["b", "d"]], [(3, 5), (5, 5)])
    assert (block.rows.tolist(), tuple(block.texts)) == ([0, 1, 2, 3, 4], texts_of(corpus))
    expected = encode(block.texts).numpy()
    assert block.vectors == pytest.approx(expected / np.maximum(np.linalg.norm(expected, axis=1, keepdims=True), 1e-9))
    scanned = Scan(noisy_pairs(3, np.random.default_rng(0), dim=12), n_corpus=5)
    scanned.add(block.rows, block.vectors)
    assert scanned.n_scored == 4


def test_dims_that_change_within_a_corpus_are_refused() -> None:
    side = Side(lambda texts: torch.ones(len(texts), len(texts)))
    with pytest.raises(ValueError) as error:
        list(encode_blocks(side, corpus_of(["a", "b", "c", "d"]), batch_size=3))
    assert str(error.value) == "encode must return rows of one dim, got 1 and 3 in different batches"


def test_a_batch_that_was_halved_stays_so_for_the_rest_of_the_corpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encode_room, "WINDOW", 4)
    sizes: list[int] = []

    def encode(texts: list[str]) -> Tensor:
        sizes.append(len(texts))
        if len(texts) > 2:
            raise MemoryError
        return torch.ones(len(texts), 2)

    said: list[int] = []
    list(encode_blocks(Side(encode), corpus_of(f"text {row}" for row in range(8)), batch_size=4, on_halved=said.append))
    assert (sizes, said) == ([4, 2, 2, 2, 2], [2])


# --- what is kept, and what it shows


def test_a_saved_evaluation_is_whole_without_a_vector_of_the_corpus(tmp_path: Path, snapshot: Snapshot) -> None:
    save_snapshot(snapshot, tmp_path)
    again = load_snapshot(tmp_path)
    assert again.subset.fingerprint == snapshot.subset.fingerprint
    assert dict(again.corpus_texts) == dict(snapshot.corpus_texts)
    again_metrics = compute_metrics(again.similarity, again.embeddings, draws=0)
    assert dict(again_metrics) == dict(snapshot.metrics)
    assert (again_metrics.n_documents, again_metrics.n_corpus) == (12, snapshot.subset.n_corpus)
    for name, value in vars(snapshot.similarity).items():
        assert np.array_equal(getattr(again.similarity, name), value, equal_nan=name != "measure")
        assert isinstance(getattr(again.similarity, name), type(value))
    with np.load(tmp_path / "arrays.npz") as file:
        assert not [name for name in file.files if file[name].shape[:1] == (snapshot.subset.n_corpus,)]


def test_a_pool_of_another_size_is_refused(snapshot: Snapshot) -> None:
    with pytest.raises(ValueError) as error:
        take_snapshot(label="x", subset=snapshot.subset, embeddings=snapshot.embeddings, settings=SETTINGS)
    assert str(error.value) == (
        f"the pool must hold the subset's 12 documents and {snapshot.subset.n_corpus} texts of its corpus, it holds 12"
    )


def test_embeddings_npz_is_drawn_again_to_the_same_figures(tmp_path: Path, snapshot: Snapshot) -> None:
    path = tmp_path / "embeddings.npz"
    path.write_bytes(embeddings_npz(snapshot))
    subset, embeddings, corpus_scan = read_embeddings(path)
    assert isinstance(corpus_scan, CorpusScan)
    again = take_snapshot(
        label="one", subset=subset, embeddings=embeddings, settings=SETTINGS, epoch=0, step=4, corpus_scan=corpus_scan
    )
    assert metrics_json(again, ()) == metrics_json(snapshot, ())
    assert errors_csv(again) == errors_csv(snapshot)


def test_what_came_first_is_shown_with_its_text(snapshot: Snapshot) -> None:
    row = int(np.flatnonzero(snapshot.similarity.top_documents[:, 0] >= 12)[0])
    first = snapshot.text(int(snapshot.similarity.top_documents[row, 0]))
    assert first in LISTINGS
    query = snapshot.subset.queries[row]
    listed = {line["query"]: line["first"] for line in csv.DictReader(io.StringIO(errors_csv(snapshot)))}
    assert listed[query] == first
    assert bars(snapshot, row)[0].text == first
    assert outcomes(snapshot)[query].first == first
    miss = next(one for one in analyse([snapshot]).errors.misses if one.search.query == query)
    assert (miss.search.first, miss.differs, miss.gap > 0) == (first, {}, True)
    assert first in a_page([snapshot])


def test_report_numbers_and_figures_say_what_was_ranked(snapshot: Snapshot) -> None:
    n_corpus = snapshot.subset.n_corpus
    pool = f"12 documents + {n_corpus} of the corpus"
    text = report(snapshot, checks=())
    assert f"Ranks, negatives, AUC and hubs are against {pool}" in text
    assert f"{n_corpus} distinct texts that answer no query" in text
    content = metrics_json(snapshot, ())
    assert (content["n_documents"], content["n_corpus"]) == (12, n_corpus)
    assert content["provenance"]["corpus"]["texts"] == n_corpus
    notes = {name: draw(name, snapshot).get_supxlabel() for name in ("top_k_predictions", "similarity_heatmap")}
    assert f"12 queries, {pool} · subset" in notes["top_k_predictions"]
    assert "12 queries, 12 documents, without the corpus · subset" in notes["similarity_heatmap"]


# --- where the cosines are computed


def test_the_product_on_a_device_finds_the_same() -> None:
    rng = np.random.default_rng(0)
    embeddings, vectors = noisy_pairs(40, rng), directions(300, 6, rng)
    product = product_on(torch.device("cpu"), on_fallback=lambda: None)
    assert scan(embeddings, corpus=vectors, product=product).rank.tolist() == ranked(embeddings, vectors).rank.tolist()


def test_exhausted_memory_on_the_device_costs_one_notice_and_the_scan_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    embeddings, vectors, said, left = noisy_pairs(40, rng), directions(300, 6, rng), [], [3]

    def on_device(a: Any, b: Any) -> Any:
        left[0] -= 1
        if left[0] < 0:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return a @ b.T

    monkeypatch.setattr(product_room, "gpu_product", lambda device: on_device)
    product = product_on(torch.device("cpu"), on_fallback=lambda: said.append("said"))
    found = scan(embeddings, corpus=vectors, tile=(16, 64), product=product)
    assert found.rank.tolist() == ranked(embeddings, vectors).rank.tolist()
    assert (said, left) == (["said"], [-1])
    monkeypatch.setattr(
        product_room, "gpu_product", lambda device: lambda a, b: (_ for _ in ()).throw(RuntimeError("x"))
    )
    with pytest.raises(RuntimeError, match="x"):
        scan(embeddings, product=product_on(torch.device("cpu"), on_fallback=lambda: None))
    assert product_on(None, on_fallback=lambda: None) is None


def test_only_a_large_pool_of_a_model_on_cuda_goes_to_the_device() -> None:
    with FakeTensorMode():  # a device that is not there
        on_cuda = nn.ParameterList([nn.Parameter(torch.empty(1, device="cuda:0"))])
    assert device_for(on_cuda, 10_000) == torch.device("cuda:0")
    assert (
        device_for(on_cuda, 9_999) is device_for(nn.Linear(2, 2), 10_000) is device_for(nn.Identity(), 10_000) is None
    )


def test_a_deeper_scan_names_more_documents_and_changes_nothing_else() -> None:
    pairs = noisy_pairs(20, np.random.default_rng(5), dim=8)
    vectors = unit_rows("corpus", np.random.default_rng(6).normal(size=(90, 8)))[0]
    corpus = corpus_of(f"text {row}" for row in range(90))

    def vectors_of(texts: Iterable[str]) -> Any:
        return vectors[[int(text.removeprefix("text ")) for text in texts]]

    kept, deep = (ranked_among(pairs, corpus, vectors_of, depth=depth) for depth in (10, 60))
    assert kept.deep is None
    assert deep.deep is not None
    for one in fields(kept.similarity):
        np.testing.assert_array_equal(getattr(deep.similarity, one.name), getattr(kept.similarity, one.name))
    pool = np.concatenate([pairs.documents, vectors_of(texts_of(corpus))]).astype(np.float64)
    expected = np.argsort(-(pairs.queries.astype(np.float64) @ pool.T), axis=1)[:, :60]
    assert deep.deep.documents.tolist() == expected.tolist()
    assert deep.texts == kept.texts
