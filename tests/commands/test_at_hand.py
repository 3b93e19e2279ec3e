"""Vectors at hand: of a corpus a sample, of several models row for row."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from small_runs import a_run, a_subset

from embviz_callback.commands.at_hand import models_at_hand
from embviz_callback.commands.request import Request
from embviz_callback.commands.terminal import Terminal
from embviz_callback.delivery.results.result_files import embeddings_npz
from embviz_callback.settings import Settings
from tests.tiny_models import tiny_bert, tiny_model, weights_of


def test_rows_stand_in_the_order_of_the_first_model(tmp_path: Path) -> None:
    snapshot = a_run(a_subset(12), (0.3,), maps=False)[0]
    subset, embeddings = snapshot.subset, snapshot.embeddings
    turned = replace(
        snapshot,
        subset=replace(
            subset,
            queries=subset.queries[::-1],
            documents=subset.documents[::-1],
            relevance=(11 - subset.relevance)[::-1],
            records=11 - subset.records,
            ids=subset.ids[::-1],
        ),
        embeddings=replace(
            embeddings,
            queries=embeddings.queries[::-1],
            documents=embeddings.documents[::-1],
            relevance=(11 - embeddings.relevance)[::-1],
            records=11 - embeddings.records,
            served=None,
        ),
    )
    for name, one in (("a", snapshot), ("b", turned)):
        (tmp_path / f"{name}.npz").write_bytes(embeddings_npz(one))
    paths = tuple(str(tmp_path / f"{name}.npz") for name in "ab")
    first, second = models_at_hand(Request(paths, None, Settings()), Terminal())
    assert second.embeddings.queries == pytest.approx(first.embeddings.queries, abs=1e-6)
    assert second.embeddings.documents == pytest.approx(first.embeddings.documents, abs=1e-6)
    assert (second.embeddings.relevance == first.embeddings.relevance).all()


def test_of_a_larger_corpus_a_sample_is_ranked_and_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    weights = weights_of(tiny_model(tiny_bert(tmp_path / "tiny")), parts=("head",))
    torch.save({"model_state_dict": weights, "config": {"encoder": str(tmp_path / "tiny")}}, tmp_path / "a.pt")
    pairs = [{"query": f"tìm {n}", "pos": f"phòng {n}"} for n in range(4)]
    (tmp_path / "val.json").write_text(json.dumps(pairs), encoding="utf-8")
    (tmp_path / "more.txt").write_text("\n".join(f"nhà {n}" for n in range(30)), encoding="utf-8")
    request = Request(
        (str(tmp_path / "a.pt"),), str(tmp_path / "val.json"), Settings(), {"cache": False}, "cpu",
        corpus=str(tmp_path / "more.txt"), max_corpus=10, keeps_vectors=True,
    )  # fmt: skip
    (model,) = models_at_hand(request, Terminal())
    assert model.n_pool == 14
    assert model.corpus is not None
    assert np.linalg.norm(model.corpus, axis=1) == pytest.approx(1, abs=1e-5)
    assert "10 distinct texts are ranked beside the documents (a sample of 30)" in capsys.readouterr().err


def test_a_file_among_a_corpus_is_ranked_among_its_own(tmp_path: Path) -> None:
    (tmp_path / "e.npz").write_bytes(embeddings_npz(a_run(a_subset(12), (0.3,), maps=False)[0]))
    (model,) = models_at_hand(Request((str(tmp_path / "e.npz"),), None, Settings()), Terminal())
    assert (model.n_pool, model.corpus) == (12, None)
