"""Several sets at one look at the model, on all three faces."""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from embviz_callback import EmbeddingVisualizer, MarginAlert, RegressionAlert
from embviz_callback.adapters.sentence_transformers import EmbvizEvaluator
from tests.tiny_training import QUIET, TinyBiEncoder, pairs, trainer

pytestmark = QUIET

GENERAL = [{"query": f"who wrote book {row}", "pos": f"The author of book {row} is number {row}"} for row in range(12)]
QUICK: dict[str, Any] = {"skip_tsne": True, "skip_umap": True, "bootstrap_draws": 100, "on_error": "raise"}


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> tuple[pl.Trainer, EmbeddingVisualizer, Path]:
    folder = tmp_path_factory.mktemp("sets")
    alert = [MarginAlert(), RegressionAlert(of="general", loss=0.0)]
    callback = EmbeddingVisualizer(sets={"rental": pairs(), "general": GENERAL}, alert=alert, **QUICK)
    kept = pl.callbacks.ModelCheckpoint(folder / "kept", monitor="embviz/general/mrr", mode="max")
    made = trainer(folder, callback, kept, max_epochs=1, enable_checkpointing=True)
    made.fit(TinyBiEncoder())
    assert kept.best_model_score is not None
    return made, callback, folder


@pytest.mark.slow
def test_every_set_has_its_names_and_the_first_also_plain_ones(
    fitted: tuple[pl.Trainer, EmbeddingVisualizer, Path],
) -> None:
    metrics = fitted[0].callback_metrics
    assert metrics["embviz/rental/margin"] == metrics["embviz/margin"]
    assert metrics["embviz/general/margin"] != metrics["embviz/margin"]
    assert {"embviz/alert", "embviz/rental/alert", "embviz/general/alert"} <= set(metrics)
    assert "embviz/hard_accuracy" in metrics
    assert "embviz/general/hard_accuracy" not in metrics  # which has no hard negatives


@pytest.mark.slow
def test_every_set_has_its_files_and_figures(fitted: tuple[pl.Trainer, EmbeddingVisualizer, Path]) -> None:
    folder = fitted[1].folder
    assert folder is not None
    for own, n in ((folder, 16), (folder / "general", 12)):
        rows = [json.loads(line) for line in (own / "history.jsonl").read_text(encoding="utf-8").splitlines()]
        assert [row["label"] for row in rows] == ["untrained", "epoch 0"]
        assert len(json.loads((own / "validation_pairs.json").read_text(encoding="utf-8"))) == n
        assert (own / "epoch_0000" / "similarity_heatmap.png").is_file()
        report = (own / "epoch_0000" / "report.md").read_text(encoding="utf-8")
        assert "points of rank-1 against the untrained model" in report
        page = (own / "report.html").read_text(encoding="utf-8")
        assert "points of rank-1 against the untrained model" in page.split('"alerts":', 1)[1].split("]", 1)[0]
    assert "<title>Run, general</title>" in page
    board = EventAccumulator(str(folder / "general"), size_guidance={"images": 0})
    board.Reload()
    assert "embviz/general/similarity_heatmap" in board.Tags()["images"]
    scalars = EventAccumulator(str(fitted[2] / "run"))
    scalars.Reload()
    tags = set(scalars.Tags()["scalars"])
    assert {"embviz/general/margin", "embviz/rental/margin", "embviz/margin", "embviz_detail/general/map"} <= tags


@pytest.mark.slow
def test_what_is_known_of_every_set_travels_in_a_checkpoint(
    fitted: tuple[pl.Trainer, EmbeddingVisualizer, Path], tmp_path: Path
) -> None:
    state = json.loads(json.dumps(fitted[1].state_dict()))
    again = EmbeddingVisualizer(sets={"rental": pairs(), "general": GENERAL}, **QUICK)
    again.load_state_dict(state)
    assert [row.label for row in again.memory.of("general").history.rows] == ["untrained", "epoch 0"]
    assert again.memory.to_json() == state


def test_the_model_is_looked_at_once_for_all_sets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from embviz_callback.encoding import isolation

    entered: list[int] = []
    observe = isolation.observe

    def counted(*given: Any) -> Any:
        entered.append(1)
        return observe(*given)

    monkeypatch.setattr(isolation, "observe", counted)
    look = EmbvizEvaluator(sets={"a": pairs(), "b": GENERAL}, figures=False, **QUICK)
    numbers = look(TinyBiEncoder(), str(tmp_path), epoch=0)
    assert entered == [1]
    assert numbers["embviz_a_margin"] == numbers["embviz_margin"]
    alone = EmbvizEvaluator(GENERAL, figures=False, **QUICK)(_same(), str(tmp_path / "alone"), epoch=0)
    assert set(numbers) >= {f"embviz_b_{name.removeprefix('embviz_')}" for name in alone if "rank" in name}


def test_an_evaluator_does_not_take_an_alert_that_would_end_the_training() -> None:
    with pytest.raises(ValueError) as error:
        EmbvizEvaluator(pairs(), alert=MarginAlert(stop_training=True))
    assert str(error.value) == (
        "alert must not ask for stop_training here, an evaluator ends no training; leave it out, and end yours where"
        " embviz_alert is 1"
    )


def test_an_evaluation_that_fails_has_the_names_of_one_that_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    look = EmbvizEvaluator(pairs(), figures=False, **(QUICK | {"on_error": "warn"}))
    model = TinyBiEncoder()
    found = look(model, str(tmp_path), epoch=0)
    monkeypatch.setattr(model, "encode", lambda texts: [[1.0]] * len(texts), raising=False)
    failed = look(model, str(tmp_path), epoch=1)
    assert found.keys() - failed.keys() == {"embviz_blocked_s", "embviz_overhead"}
    assert failed.pop("embviz_alert") == found["embviz_alert"]
    assert all(map(math.isnan, failed.values()))


def _same() -> TinyBiEncoder:
    torch.manual_seed(0)
    return TinyBiEncoder()


def test_a_set_is_measured_as_it_would_be_alone(tmp_path: Path) -> None:
    model = TinyBiEncoder()
    both = EmbvizEvaluator(sets={"a": pairs(), "b": GENERAL}, figures=False, **QUICK)(model, str(tmp_path), epoch=0)
    for name, data in (("a", pairs()), ("b", GENERAL)):
        alone = EmbvizEvaluator(data, figures=False, alert=None, **QUICK)(model, str(tmp_path / name), epoch=0)
        for key, value in alone.items():
            if key not in ("embviz_blocked_s", "embviz_overhead"):
                assert both[f"embviz_{name}_{key.removeprefix('embviz_')}"] == pytest.approx(value, nan_ok=True)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"data": [], "sets": {"a": []}}, "give data or sets, not both"),
        ({"sets": {}}, "sets must hold at least one set, got none"),
        ({"sets": {"a b": []}}, "the name of a set must be of letters, digits, - and _, and not our own, got 'a b'"),
        ({"sets": {"jobs": []}}, "the name of a set must be of letters, digits, - and _, and not our own, got 'jobs'"),
        (
            {"sets": {"a": []}, "alert": RegressionAlert(of="b")},
            "RegressionAlert(of='b') needs a set of that name; there are: a",
        ),
        (
            {"data": [], "alert": RegressionAlert(of="b")},
            "RegressionAlert(of='b') needs a set of that name; there are: only one, without a name",
        ),
        (
            {"data": [], "alert": [MarginAlert(), MarginAlert(0.3)]},
            "alert must hold one MarginAlert at most, which watches the first set",
        ),
    ],
)
def test_what_cannot_be_watched_is_refused_before_training(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError) as error:
        EmbeddingVisualizer(**options)
    assert str(error.value) == said


class Forgetting(TinyBiEncoder):
    """Knows every text until it is trained, and then those of the first set alone."""

    is_trained = False

    def encode(self, texts: Sequence[str]) -> torch.Tensor:
        def place(text: str) -> int:
            number = int(text.rsplit(" ", 1)[1])
            is_general = "book" in text
            return 0 if is_general and self.is_trained else number if is_general or self.is_trained else 0

        return torch.eye(64)[[place(text) for text in texts]]


def test_forgetting_that_was_planted_is_told_and_stops_the_training(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    own = [{"query": f"room {row}", "pos": f"a room with number {row}"} for row in range(16)]
    heard: list[str] = []
    alert = RegressionAlert(
        of="general", loss=0.02, stop_training=True, on_alert=lambda event: heard.append(event.kind)
    )
    callback = EmbeddingVisualizer(sets={"rental": own, "general": GENERAL}, alert=alert, figures=False, **QUICK)
    model = Forgetting()
    turn = pl.callbacks.LambdaCallback(on_train_epoch_start=lambda *_: setattr(model, "is_trained", True))
    made = trainer(tmp_path, callback, turn, max_epochs=3)
    with caplog.at_level("INFO"):
        made.fit(model)
    assert heard == ["firing"]
    assert made.current_epoch == 1
    assert made.callback_metrics["embviz/general/alert"] == 1
    rows = [json.loads(line) for line in (tmp_path / "run" / "embviz" / "events.jsonl").read_text().splitlines()]
    (said,) = [row["said"] for row in rows if row["event"] == "sets"]
    assert said.endswith("points of rank-1 against the untrained model, beyond chance: forgetting")
