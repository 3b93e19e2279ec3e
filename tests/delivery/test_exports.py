import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest

from embviz_callback.delivery.results.result_files import (
    embeddings_npz,
    errors_csv,
    inert_cell,
    metrics_json,
    read_embeddings,
)
from embviz_callback.embeddings import Embeddings
from embviz_callback.files import to_json
from embviz_callback.pairs.formats.reading import records_from
from embviz_callback.pairs.subset import Subset, choose_subset
from embviz_callback.settings import Settings
from embviz_callback.snapshot import Snapshot, take_snapshot


def _subset() -> Subset:
    items = [
        {"query": "=1+1", "pos": "+formula", "id": "a"},
        {"query": '-5tr, "quoted"', "pos": 'second, "line"', "hard_neg": ["@hard"], "id": "b"},
        {"query": "hit", "pos": "right", "id": "c"},
    ]
    return choose_subset(records_from(items), max_samples=10, seed=0)


def _snapshot(angles: dict[str, float]) -> Snapshot:
    """Each text is a direction in the plane; NaN is a row without one."""
    subset = _subset()

    def rows(texts: tuple[str, ...]) -> np.ndarray:
        found = [next(angle for start, angle in angles.items() if text.startswith(start)) for text in texts]
        return np.array([[np.cos(angle), np.sin(angle)] for angle in found])

    embeddings = Embeddings.from_raw(
        rows(subset.queries),
        rows(subset.documents),
        subset.relevance,
        hard_negatives=rows(subset.hard_negatives),
        hard_pairs=subset.hard_pairs,
        records=subset.records,
    )
    return take_snapshot(label="x", subset=subset, embeddings=embeddings, settings=Settings(bootstrap_draws=100))


ANGLES = {"=1+1": 0.0, "+formula": 1.0, "-5tr": 0.1, "second": 0.3, "@hard": 2.0, "hit": 2.0, "right": 2.0}


@pytest.mark.parametrize(
    ("cell", "shown"),
    [
        ("＝1+1", "'＝1+1"),
        ("＋1", "'＋1"),
        ("＠SUM(1)", "'＠SUM(1)"),
        ("－5tr", "'－5tr"),
        ("\u22125tr", "'\u22125tr"),
        ("  =1", "'  =1"),
        ("\n=1", "'\n=1"),
        ("\t1", "'\t1"),
        ("-5.25", "-5.25"),
        ("Căn hộ = nhà", "Căn hộ = nhà"),
        ("", ""),
    ],
)
def test_no_spelling_of_a_sign_begins_a_formula(cell: str, shown: str) -> None:
    assert inert_cell(cell) == shown


def _errors(angles: dict[str, float]) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(errors_csv(_snapshot(angles)))))


def test_a_miss_is_told_with_both_documents_and_both_scores() -> None:
    (row,) = _errors(ANGLES)
    assert row["id"] == "a"
    assert (row["expected"], row["rank"], row["first"]) == ("'+formula", "2", 'second, "line"')
    assert float(row["score_expected"]) == pytest.approx(np.cos(1.0), abs=1e-6)
    assert float(row["score_first"]) == pytest.approx(np.cos(0.3), abs=1e-6)


def test_what_a_spreadsheet_would_calculate_begins_with_an_apostrophe() -> None:
    rows = _errors(ANGLES | {"+formula": 2.2, "second": 3.0})
    assert sorted(row["query"] for row in rows) == ['\'-5tr, "quoted"', "'=1+1"]


def test_negative_scores_stay_numbers() -> None:
    (row,) = [row for row in _errors(ANGLES | {"+formula": 3.0}) if row["id"] == "a"]
    assert float(row["score_expected"]) == pytest.approx(np.cos(3.0), abs=1e-6)


def test_a_tie_and_a_query_without_direction_are_misses() -> None:
    rows = {row["id"]: row for row in _errors(ANGLES | {"+formula": 0.3, "hit": np.nan})}
    assert rows["a"]["rank"] == "1.5"
    assert (rows["a"]["first"], rows["a"]["score_first"]) == ('second, "line"', rows["a"]["score_expected"])
    assert (rows["c"]["rank"], rows["c"]["expected"]) == ("inf", "right")
    assert (rows["c"]["first"], rows["c"]["score_expected"], rows["c"]["score_first"]) == ("", "", "")


def test_embeddings_come_back_as_they_were(tmp_path: Path) -> None:
    snapshot = _snapshot(ANGLES | {"hit": np.nan})
    path = tmp_path / "embeddings.npz"
    path.write_bytes(embeddings_npz(snapshot))
    subset, embeddings, corpus_scan = read_embeddings(path)
    assert corpus_scan is None
    assert subset.fingerprint == snapshot.subset.fingerprint
    assert subset.ids == snapshot.subset.ids
    for name in ("queries", "documents", "relevance", "hard_negatives", "hard_pairs", "records", "non_finite", "zero"):
        assert np.array_equal(getattr(embeddings, name), getattr(snapshot.embeddings, name)), name
    assert embeddings_npz(snapshot) == path.read_bytes()
    with np.load(path, allow_pickle=False) as file:
        assert tuple(file["hard_negative_text"]) == ("@hard",)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut short", b"text"])
def test_another_file_is_refused_in_one_sentence(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "embeddings.npz"
    path.write_bytes(content)
    with pytest.raises(ValueError) as error:
        read_embeddings(path)
    assert str(error.value).startswith(f"{path} is no embeddings.npz of this program (")
    assert str(error.value).endswith("); make it again")


def test_arrays_of_another_program_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "other.npz", query=np.eye(3))
    with pytest.raises(ValueError) as error:
        read_embeddings(tmp_path / "other.npz")
    assert str(error.value) == (
        f"{tmp_path / 'other.npz'} is no embeddings.npz of this program "
        "(expected the arrays query and document, found query); make it again"
    )


def test_numbers_that_json_does_not_know_are_null_or_text() -> None:
    snapshot = _snapshot(dict.fromkeys(ANGLES, np.nan))
    content = json.loads(to_json(metrics_json(snapshot, ())))
    assert content["metrics"]["margin"] is None
    assert (content["ready"], content["checklist"]) == (None, [])
    assert content["bands"]["margin"] == "not judged"
