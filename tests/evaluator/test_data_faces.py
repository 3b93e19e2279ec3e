"""Data of other forms at every door: the callback, the evaluator, and the command line, with real files."""

import json
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl

from embviz_callback import EmbeddingVisualizer
from embviz_callback.cli import main
from embviz_callback.pairs.formats.reading import Reading, read_pairs, records_from
from embviz_callback.pairs.subset import choose_subset
from tests.commands.test_cli import _save_head
from tests.forms import CASES, NEGATIVES
from tests.forms import pairs as five
from tests.tiny_training import QUIET, TinyBiEncoder, trainer

pytestmark = [pytest.mark.slow, *QUIET]
FIVE = choose_subset(records_from(five()), max_samples=100, seed=7).fingerprint


def _watched(folder: Path, data: Any, **options: Any) -> EmbeddingVisualizer:
    pl.seed_everything(1, verbose=False)
    callback = EmbeddingVisualizer(data, figures=False, on_error="raise", **options)
    trainer(folder, callback, max_epochs=1).fit(TinyBiEncoder())
    return callback


def _subset(callback: EmbeddingVisualizer) -> Any:
    assert callback._evaluator is not None
    return callback._evaluator.subset


def test_the_callback_takes_data_sets_frames_and_generators(tmp_path: Path) -> None:
    datasets, pandas = pytest.importorskip("datasets"), pytest.importorskip("pandas")
    given = (datasets.Dataset.from_list(five()), pandas.DataFrame(five()), (one for one in five()))
    for number, data in enumerate(given):
        callback = EmbeddingVisualizer(data, figures=False, on_error="raise")
        for turn in range(2):  # a generator gives its rows once
            trainer(tmp_path / f"{number}-{turn}", callback, max_epochs=1).fit(TinyBiEncoder())
            assert _subset(callback).fingerprint == FIVE


def test_the_callback_ranks_a_folder_among_its_own_corpus(tmp_path: Path) -> None:
    folder = CASES["beir"].write(tmp_path / "beir")
    callback = _watched(tmp_path / "run", folder, corpus="auto")
    assert _subset(callback).n_corpus == len(NEGATIVES)
    assert callback._evaluator is not None
    assert callback._evaluator.source["data_split"] == "test"
    assert callback.folder is not None


def test_the_callback_is_told_what_a_label_means(tmp_path: Path) -> None:
    rows = [one | {"label": 1} for one in five()] + [{"query": "tìm phòng ở Ba Đình", "pos": "Nhà xa", "label": 0}]
    callback = _watched(tmp_path, rows, reading=Reading(relevant_label="1"))
    assert len(_subset(callback).hard_pairs) == 1


def test_a_prompt_of_a_record_stands_before_its_query_in_place_of_that_of_the_settings(tmp_path: Path) -> None:
    seen: list[str] = []

    def encode(module: Any, texts: list[str]) -> Any:
        seen.extend(texts)
        return module.encode(texts)

    data = [five()[0] | {"prompt": "own: "}, *five()[1:]]
    _watched(tmp_path, data, encode=encode, query_prompt="query: ")
    assert {"own: tìm phòng ở Ba Đình", "query: tìm phòng ở Tây Hồ"} <= set(seen)
    assert "query: tìm phòng ở Ba Đình" not in seen


def _run(tmp_path: Path, data: Path, *options: str) -> dict[str, Any]:
    given = ["--checkpoint", str(_save_head(tmp_path / "head.pt")), "--data", str(data)]
    out = ["--output", str(tmp_path / "out"), "--skip-tsne", "--skip-umap"]
    assert main([*given, *out, *options]) == 0
    found: dict[str, Any] = json.loads((tmp_path / "out" / "metrics.json").read_text(encoding="utf-8"))
    return found


@pytest.mark.parametrize("name", ["flagembedding", "squad", "dpr"])
def test_the_command_reads_a_form_as_it_lies_and_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    data = CASES[name].write(tmp_path)
    twin = choose_subset(records_from(CASES[name].twin), max_samples=500, seed=7)
    assert twin.fingerprint in json.dumps(_run(tmp_path, data))
    note = next(one for one in read_pairs(data).notes if one.startswith("read as"))
    assert f"{data}: {note}" in capsys.readouterr().err


def test_a_folder_with_grades_is_judged_and_its_corpus_ranked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = CASES["beir"].write(tmp_path / "beir")
    rows = [f"q{at}\td{at}\t2\nq{at}\td{(at + 1) % 5}\t1" for at in range(5)]
    (folder / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\n" + "\n".join(rows), encoding="utf-8")
    found = json.dumps(_run(tmp_path, folder, "--split", "test", "--corpus", "auto", "--relevant-from", "2"))
    assert '"n_corpus": 5' in found
    assert '"relevant_from": 2' in found
    assert "documents are graded: relevant from 2 on; nDCG uses the grades" in capsys.readouterr().err


def test_placeholders_are_said_on_standard_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = tmp_path / "pairs.json"
    data.write_text(json.dumps([*five(), {"query": "tìm phòng", "pos": "Phòng {district}"}]), encoding="utf-8")
    _run(tmp_path, data)
    expected = "1 of 6 records has a text that is a placeholder nobody filled in, such as {pos} (first: record 6)"
    assert f"{data}: {expected}" in capsys.readouterr().err


def test_labels_without_a_word_end_the_command_with_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = tmp_path / "sts.jsonl"
    data.write_text(json.dumps({"sentence1": "a", "sentence2": "b", "score": 0.5}), encoding="utf-8")
    head = _save_head(tmp_path / "head.pt")
    assert main(["--checkpoint", str(head), "--data", str(data)]) == 2
    assert capsys.readouterr().err == (
        f"embviz: {data}: expected to know which score makes a pair relevant, found the number 0.5. "
        "Fix: say it: --relevant-from 0.8, or --relevant-label 1; a column that says something else is named by "
        "--fields query=...,pos=...,metadata=score\n"
    )
