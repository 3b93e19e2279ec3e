"""The projector and the table of hyperparameters, read back by TensorBoard's own plugins."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.loggers import TensorBoardLogger
from small_runs import HOSTILE, a_run, a_subset
from tensorboard.backend.event_processing.data_provider import MultiplexerDataProvider
from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer
from tensorboard.plugins.base_plugin import TBContext
from tensorboard.plugins.hparams.hparams_plugin import HParamsPlugin
from tensorboard.plugins.projector.projector_plugin import ProjectorPlugin
from werkzeug.test import Client

from embviz_callback import EmbeddingVisualizer
from embviz_callback.delivery.provenance import plain_hparams
from embviz_callback.delivery.run.run_folder import RunFolder
from embviz_callback.delivery.tensorboard.projector import write_projection
from embviz_callback.snapshot import Snapshot, load_snapshot
from tests.tiny_training import QUIET, TinyBiEncoder, pairs, trainer

pytestmark = QUIET


def context(folder: Path) -> TBContext:
    runs = EventMultiplexer().AddRunsFromDirectory(str(folder))
    runs.Reload()
    return TBContext(logdir=str(folder), multiplexer=runs, data_provider=MultiplexerDataProvider(runs, str(folder)))


def ask(plugin: Any, route: str, **query: Any) -> bytes:
    answer = Client(plugin.get_plugin_apps()[route]).get(query_string=query)
    assert answer.status_code == 200, answer.text
    return answer.get_data()


def table(plugin: ProjectorPlugin, run: str, name: str) -> list[list[str]]:
    text = ask(plugin, "/metadata", run=run, name=name).decode()
    return [line.split("\t") for line in text.split("\n") if line]


@pytest.fixture
def snapshot() -> Snapshot:
    made = a_run(a_subset(12), (1.0,), maps=False)[0]
    texts = tuple(f"{text}\tx\ny\r\\z\u2028\x85w" for text in made.subset.queries)
    columns = tuple({"quận\t1": f"a\tb\n{row}"} for row in range(len(texts)))
    return replace(made, subset=replace(made.subset, queries=texts, metadata=columns))


def test_the_projector_gets_vectors_texts_ranks_and_columns_row_for_row(snapshot: Snapshot, tmp_path: Path) -> None:
    write_projection(tmp_path, snapshot, "000000010_epoch_0004_step_9", {"000000010_epoch_0004_step_9"})
    plugin = ProjectorPlugin(context(tmp_path))
    (found,) = json.loads(ask(plugin, "/info", run="."))["embeddings"]
    embeddings = snapshot.embeddings
    points = np.concatenate([embeddings.queries, embeddings.documents])
    assert (found["tensorName"], found["tensorShape"]) == ("epoch 4, step 9", list(points.shape))
    raw = ask(plugin, "/tensor", run=".", name="epoch 4, step 9")
    assert (np.frombuffer(raw, dtype=np.float32).reshape(points.shape) == points).all()
    head, *rows = table(plugin, ".", "epoch 4, step 9")
    assert head == ["text", "kind", "rank", "right first", "quận\\t1", "quận", "area"][: len(head)]
    assert len(rows) == len(points)
    assert {len(row) for row in rows} == {len(head)}
    rank = float(snapshot.similarity.rank[0])
    text = snapshot.subset.queries[0].replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n")
    text = text.replace("\r", "\\r").replace("\u2028", " ").replace("\x85", " ")
    assert rows[0][:5] == [text, "query", f"{rank:g}", "yes" if rank == 1 else "no", "a\\tb\\n0"]
    assert [row[0] for row in rows[len(snapshot.subset.queries) :]] == [
        text.replace("\\", "\\\\").replace("\u2028", " ") for text in snapshot.subset.documents
    ]
    assert any(HOSTILE[0] in row[0] for row in rows)


def test_raw_vectors_take_a_fifth_of_a_table_of_numbers(snapshot: Snapshot, tmp_path: Path) -> None:
    write_projection(tmp_path, snapshot, "1_a", {"1_a"})
    (raw,) = (tmp_path / "projector").glob("*.bytes")
    points = np.concatenate([snapshot.embeddings.queries, snapshot.embeddings.documents])
    assert raw.stat().st_size == 4 * points.size
    assert 4 * raw.stat().st_size < len("\n".join("\t".join(map(repr, row)) for row in points.tolist()))


def test_what_the_run_no_longer_keeps_leaves_the_projector(snapshot: Snapshot, tmp_path: Path) -> None:
    for name in ("1_epoch_0000", "2_epoch_0001", "3_epoch_0002"):
        write_projection(tmp_path, snapshot, name, {"1_epoch_0000", "3_epoch_0002", name})
    plugin = ProjectorPlugin(context(tmp_path))
    names = [one["tensorName"] for one in json.loads(ask(plugin, "/info", run="."))["embeddings"]]
    assert names == ["epoch 2", "epoch 0"]
    assert len(list((tmp_path / "projector").iterdir())) == 4


def test_only_plain_hyperparameters_are_kept() -> None:
    class Odd(str):
        pass

    given = {
        "lr": 0.1,
        "n": 3,
        "on": True,
        "name": "x" * 300,
        "nan": float("nan"),
        "odd": Odd("a"),
        "list": [1],
        5: 1,
        "_x": 2,
        "hf_token": "a secret",
        "dbPassword": "a secret",
        "max_tokens": 9,
    }
    assert plain_hparams(given) == {"lr": 0.1, "n": 3, "on": True, "5": 1, "max_tokens": 9}
    assert plain_hparams(None) == {}


class Tunable(TinyBiEncoder):
    def __init__(self, lr: float = 0.02, pooling: str = "mean") -> None:
        super().__init__(lr=lr)
        self.save_hyperparameters()


def fit(folder: Path, epochs: int, resume: Path | None = None) -> EmbeddingVisualizer:
    made = EmbeddingVisualizer(pairs(), skip_tsne=True, skip_umap=True, projector=True, bootstrap_draws=100)
    kept = ModelCheckpoint(dirpath=folder / "kept", filename="{epoch}", save_top_k=-1)
    logger = TensorBoardLogger(folder, name="run", version="", default_hp_metric=False)
    training = trainer(folder, made, kept, max_epochs=epochs, enable_checkpointing=True, logger=logger)
    training.fit(Tunable(lr=0.03), ckpt_path=None if resume is None else str(resume), weights_only=True)
    return made


@pytest.mark.slow
def test_a_resumed_run_stays_one_row_with_its_final_metrics_and_keeps_its_earlier_epochs(tmp_path: Path) -> None:
    fit(tmp_path, 2)
    folder = fit(tmp_path, 3, tmp_path / "kept" / "epoch=0.ckpt").folder
    assert folder is not None
    seen = context(tmp_path)
    projector = ProjectorPlugin(seen)
    names = [one["tensorName"] for one in json.loads(ask(projector, "/info", run="run/embviz"))["embeddings"]]
    assert names == ["epoch 2", "epoch 1", "epoch 0"]
    table_of = HParamsPlugin(seen)
    experiment = json.loads(ask(table_of, "/experiment", request=json.dumps({"experimentName": "x"})))
    assert {one["name"] for one in experiment["hparamInfos"]} == {"lr", "pooling"}
    columns = [{"metric": one["name"]} for one in experiment["metricInfos"]]
    request = {"experimentName": "x", "sliceSize": 10, "startIndex": 0, "colParams": columns}
    request["allowedStatuses"] = ["STATUS_UNKNOWN", "STATUS_SUCCESS", "STATUS_FAILURE", "STATUS_RUNNING"]
    (row,) = json.loads(ask(table_of, "/session_groups", request=json.dumps(request)))["sessionGroups"]
    assert row["hparams"] == {"lr": 0.03, "pooling": "mean"}
    (session,) = row["sessions"]
    assert (session["name"], session["status"]) == ("run/embviz", "STATUS_SUCCESS")
    last = load_snapshot(RunFolder(folder).kept[-1])
    final = {one["name"]["tag"]: one["value"] for one in row["metricValues"]}
    for name in ("margin", "rank1", "separation", "mrr"):
        assert final[f"embviz_final/{name}"] == pytest.approx(last.metrics[name], abs=1e-6)
