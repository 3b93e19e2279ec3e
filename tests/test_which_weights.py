"""Whose numbers they are: of the weights that are saved, monitored and held when training has ended."""

import re
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import EarlyStopping, ModelCheckpoint, StochasticWeightAveraging
from torch import Tensor

from embviz_callback import EmbeddingVisualizer, evaluate_pairs
from embviz_callback.encoding.isolation import observe
from tests.tiny_training import QUIET, TinyBiEncoder, ema, pairs, trainer

pytestmark = [
    *QUIET,
    pytest.mark.filterwarnings("ignore:You're resuming from a checkpoint that ended before the epoch"),
    pytest.mark.filterwarnings("ignore:Swapping scheduler"),
]


class Shrinking(pl.Callback):
    """Changes the weights, at the end of training or of each epoch."""

    def __init__(self, hook: str) -> None:
        setattr(self, hook, self._shrink)

    def _shrink(self, _: pl.Trainer, module: pl.LightningModule) -> None:
        for parameter in module.parameters():
            parameter.data.copy_(0.5 * parameter.data)


class Keeping(TinyBiEncoder):
    """Whose `encode` computes no text twice, and does not notice that it has been trained since."""

    def __init__(self) -> None:
        super().__init__()
        self.kept: dict[str, Tensor] = {}

    def encode(self, texts: list[str]) -> Tensor:
        self.kept |= {text: super(Keeping, self).encode([text])[0] for text in texts if text not in self.kept}
        return torch.stack([self.kept[text] for text in texts])


class Collapsed(TinyBiEncoder):
    def encode(self, texts: list[str]) -> Tensor:
        return torch.ones(len(texts), 4)


def watched(
    folder: Path,
    *others: pl.Callback,
    before: tuple[pl.Callback, ...] = (),
    module: TinyBiEncoder | None = None,
    **options: Any,
) -> pl.Trainer:
    """A fit under watch; `others` stand behind ours, and what ours is given begins with an underscore."""
    given = {name.removeprefix("_"): options.pop(name) for name in list(options) if name.startswith("_")}
    ours = EmbeddingVisualizer(pairs(), figures=False, alert=None, bootstrap_draws=100, **given)
    pl.seed_everything(1, verbose=False)
    fitted = trainer(folder, *before, ours, *others, **options)
    fitted.fit(module or TinyBiEncoder())
    return fitted


def margin(module: Any) -> float:
    """Of a module as it is, asked by other ways than ours."""
    with observe(module):
        queries, documents = (module.encode([pair[side] for pair in pairs()]) for side in ("query", "pos"))
    return evaluate_pairs(queries, documents, torch.arange(len(queries)), draws=0).margin


def labels(fitted: pl.Trainer) -> list[str]:
    (ours,) = (one for one in fitted.callbacks if isinstance(one, EmbeddingVisualizer))
    return [row.label for row in ours.memory.history.rows]


def are_their_own(folder: Path) -> bool:
    """Whether the margins in the names of all checkpoints are those of the weights in them."""
    found = {}
    for path in folder.glob("*.ckpt"):
        module = TinyBiEncoder()
        module.load_state_dict(torch.load(path, weights_only=True)["state_dict"])
        found[path] = margin(module)
    assert len(found) > 1
    return all(float(path.stem.partition("_")[2]) == pytest.approx(one, abs=1e-4) for path, one in found.items())


def keeper(folder: Path, **options: Any) -> ModelCheckpoint:
    return ModelCheckpoint(
        folder,
        monitor="embviz/margin",
        mode="max",
        save_top_k=-1,
        filename="{step}_{embviz/margin:.5f}",
        auto_insert_metric_name=False,
        **options,
    )


@pytest.mark.parametrize(
    "put_in_place",
    [ema, lambda: StochasticWeightAveraging(swa_lrs=0.01, swa_epoch_start=1), lambda: Shrinking("on_train_end")],
    ids=["exponential average", "stochastic average", "a user's own"],
)
def test_weights_that_are_put_in_place_when_training_ends_are_evaluated_too(tmp_path: Path, put_in_place: Any) -> None:
    fitted = watched(tmp_path, put_in_place())
    # For the statistics of a batch norm Lightning's stochastic averaging adds an epoch, after which they are in place.
    assert labels(fitted)[:3] == ["untrained", "epoch 0", "epoch 1"]
    assert labels(fitted)[3:] in (["end of training"], ["epoch 2"])
    assert float(fitted.callback_metrics["embviz/margin"]) == pytest.approx(margin(fitted.lightning_module), abs=1e-5)


def test_weights_that_are_changed_behind_us_are_spoken_of_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shrinking = Shrinking("on_train_epoch_end")
    watched(tmp_path / "behind", shrinking, max_epochs=3)
    assert caplog.messages == [
        "embviz: the weights were changed after they had been evaluated and before the next step, so that the numbers "
        "of an epoch are not those of its checkpoint; put EmbeddingVisualizer behind the callback that does it, or "
        "move what the module does in its own on_train_epoch_end into on_train_epoch_start"
    ]
    caplog.clear()
    fitted = watched(tmp_path / "before", before=(shrinking,), max_epochs=3, _every_n_epochs=2)
    assert caplog.messages == []
    assert labels(fitted) == ["untrained", "epoch 1", "epoch 2"]


def test_what_a_module_changes_when_an_epoch_begins_is_no_change_behind_us(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    shrink = Shrinking("on_train_end").on_train_end
    for hook, n_said in (("on_train_epoch_end", 1), ("on_train_epoch_start", 0)):
        with monkeypatch.context() as patch:
            patch.setattr(TinyBiEncoder, hook, lambda module: shrink(module.trainer, module), raising=False)
            watched(tmp_path / hook)
        assert sum("before the next step" in message for message in caplog.messages) == n_said
        caplog.clear()


@pytest.mark.parametrize(("module", "is_said"), [(Keeping, True), (Collapsed, False), (TinyBiEncoder, False)])
def test_vectors_that_do_not_follow_the_weights_are_spoken_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, module: type[TinyBiEncoder], is_said: bool
) -> None:
    watched(tmp_path, module=module())
    said = (
        "embviz: the weights have changed since the last evaluation and the vectors have not, to the last bit: encode "
        "gives what it has kept, calls another model, or uses nothing of what is trained; let it compute with the "
        "module that it is given"
    )
    assert caplog.messages == [said] * is_said


@pytest.mark.parametrize(
    ("options", "words", "mend"),
    [
        ({"val_check_interval": 0.5}, "after a validation", {"_when": "validation_end"}),
        ({"check_val_every_n_epoch": 2}, "after a validation", {"_when": "validation_end"}),
        ({"_every_n_epochs": 2}, "in epochs that are left out", {"_every_n_epochs": 1}),
    ],
)
def test_a_checkpoint_chosen_by_the_numbers_of_other_weights_is_spoken_of_and_mended_by_the_advice(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, options: Any, words: str, mend: Any
) -> None:
    options = {"enable_checkpointing": True, "max_epochs": 4, **options}
    watched(tmp_path / "late", keeper(tmp_path / "late"), **options)
    (name,) = mend
    value = f'"{mend[name]}"' if isinstance(mend[name], str) else mend[name]
    assert caplog.messages == [
        f"embviz: ModelCheckpoint looks at embviz/margin {words}, when it is still that of earlier weights; "
        f"give EmbeddingVisualizer {name.removeprefix('_')}={value}"
    ]
    assert not are_their_own(tmp_path / "late")
    caplog.clear()
    watched(tmp_path / "mended", keeper(tmp_path / "mended"), **options | mend)
    assert caplog.messages == []
    assert are_their_own(tmp_path / "mended")


def test_a_stop_by_numbers_that_stand_still_is_spoken_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    watched(tmp_path, EarlyStopping("embviz/margin", mode="max", patience=9), keeper(tmp_path, every_n_train_steps=3),
            enable_checkpointing=True, _every_n_epochs=2)  # fmt: skip
    assert [re.sub("^embviz: ", "", message) for message in caplog.messages] == [
        "EarlyStopping looks at embviz/margin in epochs that are left out, when it is still that of earlier weights; "
        "give EmbeddingVisualizer every_n_epochs=1",
        "ModelCheckpoint looks at embviz/margin every 3 steps, when it is still that of earlier weights; give it "
        "every_n_epochs",
    ]


def test_checkpoints_of_averaged_weights_are_spoken_of_and_mended_by_the_advice(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    watched(tmp_path / "live", ema(), keeper(tmp_path / "live"), enable_checkpointing=True)
    assert caplog.messages == [
        "embviz: checkpoints hold the weights that EMAWeightAveraging averages, and the numbers of an epoch are of "
        'those that are trained; to see the averaged ones give EmbeddingVisualizer when="validation_end" and put it '
        "before EMAWeightAveraging"
    ]
    caplog.clear()
    averaged = watched(
        tmp_path / "averaged", ema(), keeper(tmp_path / "averaged"), enable_checkpointing=True, _when="validation_end"
    )
    assert caplog.messages == []
    assert labels(averaged)[-1] == "epoch 1, step 7"
    assert are_their_own(tmp_path / "averaged")


def test_a_run_resumed_within_an_epoch_counts_that_epoch(tmp_path: Path) -> None:
    kept = ModelCheckpoint(tmp_path / "kept", every_n_train_steps=6, filename="{step}")
    watched(tmp_path, kept, enable_checkpointing=True)
    ours = EmbeddingVisualizer(pairs(), figures=False)
    resumed = trainer(tmp_path, ours)
    resumed.fit(TinyBiEncoder(), ckpt_path=tmp_path / "kept" / "step=6.ckpt", weights_only=True)
    assert labels(resumed) == ["untrained", "epoch 0", "epoch 1"]
