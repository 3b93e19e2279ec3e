"""The loss against naive loops; what is trained, what is saved, and that it loads again."""

import math
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.nn.functional import normalize
from torch.utils.data import DataLoader

from embviz_callback.encoding.models.biencoder import ProjectionHead
from embviz_callback.pairs.formats.reading import records_from
from model import BestModel, RentalBiEncoder, weighted_info_nce
from pair_dataset import PairDataset, collate, generate_pairs
from tiny_models import tiny_bert


def _unit(*shape: int, seed: int = 0) -> Tensor:
    return normalize(torch.randn(*shape, generator=torch.Generator().manual_seed(seed)), dim=-1)


def _naive_loss(
    queries: Tensor,
    documents: Tensor,
    equivalent: Tensor,
    hard: Tensor,
    weights: Tensor,
    owner: Tensor,
    hard_eq: Tensor,
) -> float:
    n, temperature, total = len(queries), 0.07, 0.0
    for i in range(n):
        own = math.exp(float(queries[i] @ documents[i]) / temperature)
        forward = own + sum(
            math.exp(float(queries[i] @ documents[j]) / temperature)
            for j in range(n)
            if j != i and not equivalent[i, j]
        )
        forward += sum(
            float(weights[k]) * math.exp(float(queries[i] @ hard[k]) / temperature)
            for k in range(len(hard))
            if owner[k] == i and not hard_eq[i, k]
        )
        backward = own + sum(
            math.exp(float(queries[j] @ documents[i]) / temperature)
            for j in range(n)
            if j != i and not equivalent[j, i]
        )
        total += -math.log(own / forward) - math.log(own / backward)
    return total / (2 * n)


def test_the_loss_equals_its_formula_written_out() -> None:
    queries, documents, hard = _unit(5, 8), _unit(5, 8, seed=1), _unit(7, 8, seed=2)
    weights = torch.tensor([2.5, 2.3, 1.0, 0.0, 4.0, 0.5, 1.5])
    owner = torch.tensor([0, 0, 1, 2, 3, 3, 4])
    equivalent = torch.zeros(5, 5, dtype=torch.bool)
    equivalent[0, 1] = equivalent[1, 0] = equivalent[2, 4] = True
    hard_equivalent = torch.zeros(5, 7, dtype=torch.bool)
    hard_equivalent[0, 1] = True
    found = weighted_info_nce(
        queries,
        documents,
        equivalent=equivalent,
        hard_negatives=hard,
        hard_weights=weights,
        hard_owner=owner,
        hard_equivalent=hard_equivalent,
    )
    expected = _naive_loss(queries, documents, equivalent, hard, weights, owner, hard_equivalent)
    assert float(found) == pytest.approx(expected, rel=1e-5)


def test_a_query_whose_only_negative_is_an_equivalent_has_no_loss() -> None:
    rows = _unit(2, 4)
    assert float(weighted_info_nce(rows, rows, equivalent=torch.ones(2, 2, dtype=torch.bool))) == pytest.approx(
        0, abs=1e-7
    )


def test_a_large_weight_neither_overflows_nor_loses_its_gradient() -> None:
    queries = _unit(2, 4).requires_grad_(True)
    loss = weighted_info_nce(
        queries,
        _unit(2, 4, seed=1),
        equivalent=torch.eye(2, dtype=torch.bool),
        hard_negatives=_unit(1, 4, seed=2),
        hard_weights=torch.tensor([1e30]),
        hard_owner=torch.tensor([0]),
        temperature=0.001,
    )
    loss.backward()
    assert torch.isfinite(loss)
    assert queries.grad is not None
    assert torch.isfinite(queries.grad).all()


@pytest.fixture
def encoder(tmp_path: Path) -> str:
    return str(tiny_bert(tmp_path / "encoder"))


def test_a_frozen_encoder_stays_in_eval_mode_and_gets_no_gradient(encoder: str) -> None:
    model = RentalBiEncoder(encoder, dim=8, cache_dir="")
    model.train()
    assert not model.encoder.training
    assert model.head.training
    assert [name for name, parameter in model.named_parameters() if parameter.requires_grad] == ["head.linear.weight"]


def test_embeddings_are_unit_vectors_of_the_wanted_size(encoder: str) -> None:
    rows = RentalBiEncoder(encoder, dim=8, layer_norm=True, cache_dir="").encode(["phòng trọ Q10", "căn hộ", ""])
    assert rows.shape == (3, 8)
    torch.testing.assert_close(rows.norm(dim=1), torch.ones(3))


def test_names_in_the_state_dict_are_those_of_the_contract(encoder: str) -> None:
    model = RentalBiEncoder(encoder, dim=8, layer_norm=True, cache_dir="")
    outside = {name for name in model.state_dict() if not name.startswith("encoder.")}
    assert outside == {"head.linear.weight", "head.ln.weight", "head.ln.bias"}


def test_a_frozen_encoder_is_named_and_not_stored(encoder: str) -> None:
    model = RentalBiEncoder(encoder, dim=8, cache_dir="")
    content = model.deployable()
    assert set(content["model_state_dict"]) == {"head.linear.weight"}
    assert content["config"]["encoder"] == encoder
    assert len(content["config"]["encoder_sha256"]) == 64
    assert (
        "encoder_sha256"
        not in RentalBiEncoder(encoder, dim=8, freeze_encoder=False, cache_dir="").deployable()["config"]
    )
    full = RentalBiEncoder(encoder, dim=8, full_checkpoints=True, cache_dir="").deployable()["model_state_dict"]
    assert set(full) > {"head.linear.weight"}


def test_the_norm_of_the_head_has_the_size_of_its_place() -> None:
    before = ProjectionHead(6, 4, layer_norm="before")
    after = ProjectionHead(6, 4, layer_norm=True)
    assert before.ln is not None
    assert after.ln is not None
    assert (before.ln.normalized_shape, after.ln.normalized_shape) == ((6,), (4,))


def test_the_best_model_has_the_highest_merit_after_a_resumed_training_too() -> None:
    best = BestModel()
    kept = [merit for merit in (0.80, 0.800001, 0.79, float("nan"), 0.83) if best.is_better(merit)]
    assert kept == [0.80, 0.800001, 0.83]
    resumed, older = BestModel(), BestModel()
    resumed.load_state_dict(best.state_dict())
    older.load_state_dict({"best": [0.83, 2.5]})
    assert not resumed.is_better(0.82)
    assert not older.is_better(0.82)


def _losses(encoder: str, *, feature_cache: bool) -> list[float]:
    seen: list[float] = []

    class Keep(pl.Callback):
        def on_train_batch_end(self, trainer: Any, module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
            seen.append(float(outputs["loss"]))

    pl.seed_everything(7, verbose=False)
    model = RentalBiEncoder(encoder, dim=8, learning_rate=1e-2, feature_cache=feature_cache, cache_dir="")
    records = records_from(generate_pairs(40, seed=1))
    loader = DataLoader(PairDataset(records), batch_size=16, shuffle=True, collate_fn=collate)
    trainer = pl.Trainer(
        max_epochs=3,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[Keep()],
    )
    trainer.fit(model, loader)
    return seen


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::UserWarning")  # Lightning's advice on workers and a frozen part in eval mode
def test_training_on_kept_features_follows_the_same_losses(encoder: str) -> None:
    kept, live = _losses(encoder, feature_cache=True), _losses(encoder, feature_cache=False)
    assert len(kept) == 9
    assert kept == pytest.approx(live, abs=1e-5)
    assert kept[-1] < kept[0]
