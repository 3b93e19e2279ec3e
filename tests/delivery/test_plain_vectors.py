"""Vectors from elsewhere, and an evaluation as trec_eval reads it."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from embviz_callback import evaluate_pairs
from embviz_callback.cli import main
from embviz_callback.delivery.results.plain_vectors import embeddings_in_order, load_rows, subset_of_arrays
from embviz_callback.delivery.results.result_files import read_embeddings
from embviz_callback.delivery.results.trec import trec_files
from embviz_callback.evaluator import Encoded, Evaluator, Moment
from embviz_callback.pairs.formats.reading import records_from
from embviz_callback.pairs.records import Record
from embviz_callback.pairs.subset import choose_subset
from embviz_callback.settings import Settings
from embviz_callback.snapshot import Provenance, Snapshot
from tests.forms import pairs as five


def _rows(n: int, seed: int = 0) -> Any:
    return np.random.default_rng(seed).normal(size=(n, 8)).astype(np.float32)


def test_plain_arrays_are_measured_as_evaluate_pairs_measures_them(tmp_path: Path) -> None:
    queries, documents, relevance = _rows(6), _rows(9, 1), np.array([[row, row] for row in range(6)] + [[0, 8]])
    np.savez(tmp_path / "v.npz", query=queries, document=documents, relevance=relevance)
    subset, embeddings, corpus = read_embeddings(tmp_path / "v.npz")
    assert (len(subset.queries), len(subset.documents), corpus) == (6, 9, None)
    np.testing.assert_array_equal(embeddings.relevance, np.unique(relevance, axis=0))
    found = Evaluator(subset, Settings()).measure(Encoded(embeddings), Moment(name="v"), Provenance()).metrics
    expected = evaluate_pairs(queries, documents, relevance)
    for name in ("margin", "rank1", "mrr", "ndcg_at_10", "auc"):
        assert found[name] == pytest.approx(expected[name], abs=1e-12)


def test_rows_in_order_need_no_relevance_and_equal_texts_are_one_row() -> None:
    texts = np.array(["Phòng A", "phòng  a", "Phòng B"])
    subset, embeddings = subset_of_arrays({"query": _rows(3), "document": _rows(3, 1), "document_text": texts})
    assert subset.documents == ("Phòng A", "Phòng B")
    assert subset.relevance.tolist() == [[0, 0], [1, 0], [2, 1]]
    assert len(embeddings.documents) == 2


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"other": _rows(1)}, "expected the arrays query and document, found other"),
        (
            {"query": _rows(2), "document": _rows(3)},
            "without relevance there must be a document per query, got 3 for 2",
        ),
        (
            {"query": _rows(2), "document": _rows(2), "relevance": np.array([0, -1])},
            "relevance row 1 is [1, -1], beyond 2 x 2 rows",
        ),
        (
            {"query": _rows(2), "document": _rows(2), "relevance": np.array([1, 2])},
            "relevance row 1 is [1, 2], beyond 2 x 2 rows",
        ),
        ({"query": np.ones(3), "document": _rows(3)}, "query must be numbers of shape (n, dim), got float64 (3,)"),
        (
            {"query": _rows(1), "document": _rows(1), "query_text": np.array([["a"]])},
            "query_text must be 1 texts, got <U1 (1, 1)",
        ),
    ],
)
def test_arrays_that_are_no_evaluation_are_refused(arrays: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError) as error:
        subset_of_arrays(arrays)
    assert str(error.value) == message


def test_vectors_in_record_order_find_their_texts() -> None:
    records = records_from([*five(), five()[0]])
    subset = choose_subset(records, max_samples=3, seed=7)
    queries, documents = _rows(6), _rows(6, 1)
    found = embeddings_in_order(subset, records, queries, documents)
    row = [record.query for record in records].index(subset.queries[0])
    np.testing.assert_allclose(found.queries[0], queries[row] / np.linalg.norm(queries[row]), rtol=1e-6)
    with pytest.raises(ValueError) as error:
        embeddings_in_order(subset, records, queries[:2], documents)
    assert str(error.value) == "queries must have one row for each of 6 records, got shape (2, 8)"
    with pytest.raises(ValueError) as error:
        embeddings_in_order(subset, [Record("a", ("b", "c"))], queries[:1], documents[:1])
    assert str(error.value) == "a record must have one document, record 1 has 2 or grades"


def test_a_file_that_is_no_array_is_refused(tmp_path: Path) -> None:
    (tmp_path / "q.npy").write_bytes(b"nothing of the kind")
    with pytest.raises(ValueError) as error:
        load_rows(tmp_path / "q.npy")
    assert str(error.value).startswith(f"{tmp_path / 'q.npy'}: expected an .npy array, found none (")
    assert str(error.value).endswith(". Fix: np.save it")


# --- TREC


def _snapshot(seed: int, *, least: int) -> Snapshot:
    random = np.random.default_rng(seed)
    grades = random.integers(0, 4, size=(8, 30))
    grades[:, 0] = least
    records = []
    for query in range(8):
        judged = [{"text": f"tin {row}", "grade": int(grades[query, row]), "id": f"D {row}"} for row in range(30)]
        pos = [one["text"] for one in judged if one["grade"] >= least]
        records.append({"id": f"q{query}", "query": f"hỏi {query}", "pos": pos, "judged": judged})
    subset = choose_subset(records_from(records), max_samples=100, seed=7)
    arrays = {"query": _rows(8, seed), "document": _rows(len(subset.documents), seed + 1)}
    _, embeddings = subset_of_arrays({**arrays, "relevance": subset.relevance})
    embeddings = type(embeddings)(embeddings.queries, embeddings.documents, subset.relevance, grades=subset.grades)
    return Evaluator(subset, Settings()).measure(Encoded(embeddings), Moment(name="v"), Provenance())


@pytest.mark.parametrize("least", [1, 2])
@pytest.mark.parametrize("seed", range(3))
def test_trec_eval_gives_our_figures_from_the_files_that_are_left(seed: int, least: int) -> None:
    pytrec_eval = pytest.importorskip("pytrec_eval")
    snapshot = _snapshot(seed, least=least)
    files = trec_files(snapshot)
    run = pytrec_eval.parse_run(files["run.trec"].splitlines(keepends=True))
    judged = pytrec_eval.parse_qrel(files["qrels.trec"].splitlines(keepends=True))
    names = {
        "rank1": "success_1",
        "mrr": "recip_rank",
        "map": "map",
        "ndcg_at_10": "ndcg_cut_10",
        "recall_at_10": "recall_10",
    }
    wanted = {"recip_rank", "map", "ndcg_cut.10", "recall.10", "success.1"}
    theirs = pytrec_eval.RelevanceEvaluator(judged, wanted, relevance_level=least).evaluate(run)
    for name, their_name in names.items():
        assert snapshot.metrics[name] == pytest.approx(np.mean([one[their_name] for one in theirs.values()]), abs=1e-12)


def test_scores_of_a_run_fall_strictly_even_where_documents_tie() -> None:
    arrays = {"query": np.ones((1, 2)), "document": np.ones((5, 2)), "relevance": np.array([[0, 0]])}
    subset, embeddings = subset_of_arrays(arrays)
    snapshot = Evaluator(subset, Settings()).measure(Encoded(embeddings), Moment(name="v"), Provenance())
    scores = [np.float32(line.split()[4]) for line in trec_files(snapshot)["run.trec"].splitlines()]
    assert len(scores) == 5
    assert (np.diff(scores) < 0).all()


# --- on the command line


@pytest.mark.slow
def test_vectors_beside_data_and_a_file_of_arrays_are_evaluated(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "five.json").write_text(json.dumps(five()), encoding="utf-8")
    np.save(tmp_path / "q.npy", _rows(5))
    np.save(tmp_path / "d.npy", _rows(5, 1))
    np.savez(tmp_path / "v.npz", query=_rows(5), document=_rows(5, 1))
    plain = ["--output", str(tmp_path / "out"), "--skip-tsne", "--skip-umap", "--trec"]
    given = ["--vectors", str(tmp_path / "q.npy"), str(tmp_path / "d.npy"), "--data", str(tmp_path / "five.json")]
    assert main([*given, *plain]) == 0
    first = json.loads((tmp_path / "out" / "metrics.json").read_text(encoding="utf-8"))["metrics"]
    assert len((tmp_path / "out" / "run.trec").read_text().splitlines()) == 25
    assert main(["--checkpoint", str(tmp_path / "v.npz"), *plain]) == 0
    second = json.loads((tmp_path / "out" / "metrics.json").read_text(encoding="utf-8"))["metrics"]
    assert {name: first[name] for name in ("margin", "mrr")} == {name: second[name] for name in ("margin", "mrr")}
    capsys.readouterr()
    assert main([*given[:3], *plain]) == 2
    said = capsys.readouterr().err
    assert said == "embviz: --vectors: needs the records that they are of. Fix: add --data PATH\n"
