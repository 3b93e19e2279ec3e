"""An evaluation of a model that declares another similarity than the cosine, in everything that is shown and kept."""

import base64
import csv
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from embviz_callback.analysis.why.analysis import Questions, analyse
from embviz_callback.analysis.why.thresholds import thresholds
from embviz_callback.delivery.results.result_files import embeddings_npz, errors_csv, metrics_json, read_embeddings
from embviz_callback.delivery.results.trec import trec_files
from embviz_callback.drawing.figures.top_k import draw_top_k
from embviz_callback.drawing.page.epoch_view import epoch_view
from embviz_callback.drawing.reports.analysis_report import analysis_report
from embviz_callback.drawing.reports.evaluation_report import report
from embviz_callback.embeddings import Embeddings
from embviz_callback.measure import DOT, EUCLIDEAN, MANHATTAN
from embviz_callback.pairs.corpus import corpus_for, read_corpus
from embviz_callback.pairs.formats.reading import records_from
from embviz_callback.pairs.subset import Subset, choose_subset
from embviz_callback.settings import Settings
from embviz_callback.snapshot import Snapshot, load_snapshot, save_snapshot, take_snapshot
from tests.corpora import ranked_among

SETTINGS = Settings(bootstrap_draws=100)
# The short document lies in the query's direction, the long one has the larger product.
PLACES = {"one": [1.0, 0.0], "short": [3.0, 0.0], "two": [0.0, 1.0], "long": [8.0, 8.0]}


def _rows(texts: tuple[str, ...]) -> np.ndarray:
    return np.array([PLACES[text] for text in texts], dtype=np.float32)


def _subset() -> Subset:
    items = [{"query": "one", "pos": "short"}, {"query": "two", "pos": "long"}]
    return choose_subset(records_from(items), max_samples=10, seed=0)


def _snapshot(similarity: str) -> Snapshot:
    subset = _subset()
    embeddings = Embeddings.from_raw(
        _rows(subset.queries), _rows(subset.documents), subset.relevance, similarity=similarity
    )
    return take_snapshot(label="x", subset=subset, embeddings=embeddings, settings=SETTINGS)


@pytest.fixture(scope="module")
def dot() -> Snapshot:
    return _snapshot(DOT)


def _read(snapshot: Snapshot, folder: Path) -> tuple[Any, ...]:
    path = folder / "embeddings.npz"
    path.write_bytes(embeddings_npz(snapshot))
    return read_embeddings(path)


def test_vectors_are_kept_as_served_and_measured_again_the_same(tmp_path: Path, dot: Snapshot) -> None:
    subset, embeddings, _ = _read(dot, tmp_path)
    again = take_snapshot(label="x", subset=subset, embeddings=embeddings, settings=SETTINGS)
    assert metrics_json(again, ()) == metrics_json(dot, ())
    with np.load(tmp_path / "embeddings.npz") as file:
        assert file["document"].tolist() == _rows(subset.documents).tolist()
        assert str(file["similarity"]) == "dot"


def test_vectors_that_a_cosine_compares_are_kept_as_served_too(tmp_path: Path) -> None:
    snapshot = _snapshot("cosine")
    _, embeddings, _ = _read(snapshot, tmp_path)
    assert embeddings.as_served.documents.tolist() == _rows(_subset().documents).tolist()
    assert embeddings.documents.tolist() == snapshot.embeddings.documents.tolist()
    assert not errors_csv(snapshot).splitlines()[1:]


def test_what_the_drawing_process_is_handed_is_the_whole_evaluation(tmp_path: Path, dot: Snapshot) -> None:
    save_snapshot(dot, tmp_path)
    again = load_snapshot(tmp_path)
    assert again.embeddings.similarity == again.similarity.measure == "dot"
    assert again.similarity.top_scores.tolist() == dot.similarity.top_scores.tolist()


def test_a_miss_is_told_with_the_similarity_that_decided_it(dot: Snapshot) -> None:
    (miss,) = csv.DictReader(io.StringIO(errors_csv(dot)))
    assert (miss["expected"], miss["score_expected"], miss["first"], miss["score_first"]) == (
        *("short", "3.000000"),
        *("long", "8.000000"),
    )
    assert miss["similarity"] == "dot"


def test_the_report_says_what_ranks_and_what_does_not(dot: Snapshot) -> None:
    text = report(dot, checks=())
    assert (
        "Ranks, AUC, hard negatives and scores follow the dot product; margin, separation, means, spreads, maps and "
        "heatmap are of cosines." in text
    )
    assert "| query | expected | its rank | its dot product | came first | its dot product |" in text
    assert "| one | short | 2 | 3.000 | long | 8.000 |" in text
    assert "follow the" not in report(_snapshot("cosine"), checks=())


def test_the_analysis_says_by_what_a_threshold_cuts(dot: Snapshot) -> None:
    text = analysis_report(dot, analyse([dot], Questions(draws=100)))
    assert "Among 2 documents, by the dot product:" in text


def test_bars_reach_as_far_as_the_largest_product(dot: Snapshot) -> None:
    figure = draw_top_k(dot)
    assert figure.axes[0].get_xlim() == (0.0, 8.0)
    assert any("bar: dot product from 0 to 8.00" in text.get_text() for text in figure.texts)


def test_the_page_shows_the_values_of_the_similarity(dot: Snapshot) -> None:
    view = epoch_view(dot).to_json()
    assert (view["similarity"], view["unit"]) == ("dot product", 8.0)
    packed = np.frombuffer(base64.b64decode(view["top_scores"]), dtype="<i2").reshape(2, -1)[:, :2] / 32767 * 8
    assert packed == pytest.approx(dot.similarity.top_scores[:, :2], abs=1e-3)
    row = dot.subset.queries.index("one")
    assert view["scores"][row] / 1e4 * 8 == pytest.approx(3, abs=1e-3)
    assert view["gaps"][row] / 1e4 * 8 == pytest.approx(5, abs=1e-3)


def test_a_run_for_trec_eval_is_ranked_by_it(dot: Snapshot) -> None:
    scores = [line.split()[4] for line in trec_files(dot)["run.trec"].splitlines()]
    assert sorted(map(float, scores)) == [0.0, 3.0, 8.0, pytest.approx(8.0)]


@pytest.mark.parametrize("similarity", [DOT, EUCLIDEAN, MANHATTAN])
def test_a_threshold_is_one_of_the_models_own_scores(similarity: str) -> None:
    rng = np.random.default_rng(0)
    queries = rng.normal(size=(40, 4)) * 5
    embeddings = Embeddings.from_raw(
        queries, queries + rng.normal(size=(40, 4)), np.stack([np.arange(40)] * 2, axis=1), similarity=similarity
    )
    found = thresholds(embeddings, draws=2)
    best = next(advice for advice in found.advice if advice.kind == "F1")
    documents = embeddings.as_served.documents
    left, right = embeddings.as_served.queries[:, None].astype(np.float64), documents[None].astype(np.float64)
    scores = {
        DOT: (left * right).sum(-1),
        EUCLIDEAN: -np.sqrt(((left - right) ** 2).sum(-1)),
        MANHATTAN: -np.abs(left - right).sum(-1),
    }[similarity]
    shown = scores >= best.threshold.value
    assert best.shown == pytest.approx(shown.sum(axis=1).mean())
    assert best.recall == pytest.approx(np.diagonal(shown).mean())
    assert found.measure == similarity


@pytest.mark.parametrize("similarity", [DOT, EUCLIDEAN])
def test_a_corpus_is_ranked_by_it_and_measured_again_without_its_vectors(tmp_path: Path, similarity: str) -> None:
    whole = _subset()
    corpus = corpus_for(whole, read_corpus(["far", "near"], None))
    subset = corpus.beside(whole)

    def vectors_of(texts: list[str]) -> Any:
        return np.array([[90, 90] if text == "far" else [1.0, 0.5] for text in texts], dtype=np.float32)

    embeddings = Embeddings.from_raw(
        _rows(subset.queries), _rows(subset.documents), subset.relevance, similarity=similarity
    )
    snapshot = take_snapshot(
        label="x",
        subset=subset,
        embeddings=embeddings,
        settings=SETTINGS,
        corpus_scan=ranked_among(embeddings, corpus, vectors_of),
    )
    row = subset.queries.index("one")
    first = snapshot.text(int(snapshot.similarity.top_documents[row, 0]))
    assert (first, snapshot.similarity.top_scores[row, 0]) == {DOT: ("far", 90.0), EUCLIDEAN: ("near", -0.5)}[
        similarity
    ]
    subset, embeddings, kept = _read(snapshot, tmp_path)
    again = take_snapshot(label="x", subset=subset, embeddings=embeddings, settings=SETTINGS, corpus_scan=kept)
    assert metrics_json(again, ()) == metrics_json(snapshot, ())


def test_scores_of_any_size_stay_beside_their_sign() -> None:
    subset = _subset()
    rows = [_rows(texts) * np.float32(10) for texts in (subset.queries, subset.documents)]
    embeddings = Embeddings.from_raw(*rows, subset.relevance, similarity=DOT)
    figure = draw_top_k(take_snapshot(label="x", subset=subset, embeddings=embeddings, settings=SETTINGS))
    shown = {text.get_text() for text in figure.texts}
    assert {"800", "300", "0"} <= shown
