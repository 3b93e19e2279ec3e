from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from embviz_callback.encoding.checkpoints.loading import CheckpointError, LoadedModel, load_checkpoint
from embviz_callback.encoding.models.biencoder import BiEncoder, load_backbone
from tests.tiny_models import tiny_bert, tiny_model, vectors


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_bert(tmp_path_factory.mktemp("encoders") / "bert")


@pytest.fixture(scope="module")
def encoder(folder: Path) -> Mapping[str, Tensor]:
    return dict(load_backbone(str(folder)).encoder.state_dict())


HEAD = torch.randn(8, 16, generator=torch.Generator().manual_seed(1))


def _under(prefix: str, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {prefix + name: tensor for name, tensor in state.items()}


def _load(content: Any, folder: Path, tmp_path: Path, **options: Any) -> LoadedModel:
    torch.save(content, tmp_path / "model.pt")
    return load_checkpoint(tmp_path / "model.pt", encoder=str(folder), max_length=32, **options)


def _error(content: Any, folder: Path, tmp_path: Path, **options: Any) -> str:
    with pytest.raises(CheckpointError) as error:
        _load(content, folder, tmp_path, **options)
    return str(error.value).replace(str(tmp_path / "model.pt"), "model.pt").replace(str(folder), "bert")


def _expected(folder: Path, head: Tensor | None = None) -> Tensor:
    model = tiny_model(folder) if head is not None else BiEncoder(load_backbone(str(folder)), max_length=32)
    if head is not None:
        assert model.head is not None
        model.head.linear.weight.data.copy_(head)
    return vectors(model.eval())


@pytest.mark.parametrize(
    "prefix",
    [
        *("model.0.auto_model.", "backbone.", "net.", "text_encoder.", "student.", "module.model.", "bert.", ""),
        *("encoder.encoder.", "model._orig_mod.bert.", "ema.module.", "0.auto_model."),
    ],
)
def test_an_encoder_is_found_under_any_prefix(
    tmp_path: Path, folder: Path, encoder: Mapping[str, Tensor], prefix: str
) -> None:
    state = {name.replace("encoder.", "encoder._orig_mod.", 1): tensor for name, tensor in encoder.items()}
    loaded = _load({"state_dict": _under(prefix, state)}, folder, tmp_path)
    assert torch.equal(vectors(loaded.model), _expected(folder))


@pytest.mark.parametrize(
    "name",
    [
        "projection",
        "fc",
        "dense",
        "proj.0",
        "head.linear",
        "model.head",
        "output_layer",
        "mlp.0",
        "net.projector.linear",
    ],
)
def test_a_head_is_found_by_its_shape(tmp_path: Path, folder: Path, encoder: Mapping[str, Tensor], name: str) -> None:
    state = _under("backbone.", encoder) | {f"{name}.weight": HEAD}
    assert torch.equal(vectors(_load(state, folder, tmp_path).model), _expected(folder, HEAD))


def test_matrices_of_other_shapes_are_no_heads(tmp_path: Path, folder: Path, encoder: Mapping[str, Tensor]) -> None:
    state = {"queue.0.weight": torch.ones(5, 7), "adapter.weight": torch.ones(5, 7), **_under("backbone.", encoder)}
    loaded = _load(state | {"fc.weight": HEAD, "out.weight": torch.ones(3, 3)}, folder, tmp_path)
    assert torch.equal(vectors(loaded.model), _expected(folder, HEAD))
    assert loaded.notes[0] == "not used: adapter, out, queue"


def test_encoder_and_head_may_lie_in_dictionaries_of_their_own(
    tmp_path: Path, folder: Path, encoder: Mapping[str, Tensor]
) -> None:
    content = {"encoder": encoder, "head": {"weight": HEAD}, "optimizer": {"state": {0: {"x": torch.ones(8, 16)}}}}
    assert torch.equal(vectors(_load(content, folder, tmp_path).model), _expected(folder, HEAD))


def test_what_is_no_weight_and_what_is_not_needed_is_left_aside(
    tmp_path: Path, folder: Path, encoder: Mapping[str, Tensor]
) -> None:
    state = _under("module.", encoder) | {
        "n_averaged": torch.tensor(3),
        "module._extra_state": None,
        "mask": torch.full((4,), -torch.inf),
        "loss.classifier.weight": torch.ones(3, 16),
        "module.cls.predictions.decoder.weight": torch.ones(59, 16),
    }
    loaded = _load({"state_dict": state}, folder, tmp_path)
    assert torch.equal(vectors(loaded.model), _expected(folder))
    assert loaded.notes == (
        "left aside, since they are no weights: module._extra_state",
        "not used: loss, mask, module, n_averaged",
        "not written in it and assumed: the mean of all tokens (--pooling)",
    )


def test_where_two_encoders_fit_the_user_chooses(tmp_path: Path, folder: Path, encoder: Mapping[str, Tensor]) -> None:
    teacher = {name: tensor + 1 for name, tensor in encoder.items()}
    state = _under("teacher.", teacher) | _under("student.", encoder)
    assert _error(state, folder, tmp_path) == (
        "model.pt holds 2 encoders that fit and differ, student.* and teacher.*; choose one with --prefix"
    )
    assert torch.equal(vectors(_load(state, folder, tmp_path, prefix="student").model), _expected(folder))
    assert _error(state, folder, tmp_path, prefix="elsewhere") == (
        "model.pt has no encoder weights under 'elsewhere.'; it has some under 'student.', 'teacher.'"
    )


def test_a_prefix_reaches_averaged_weights_beside_the_usual_place(
    tmp_path: Path, folder: Path, encoder: Mapping[str, Tensor]
) -> None:
    content = {"state_dict": {name: tensor + 1 for name, tensor in encoder.items()}, "ema_state_dict": dict(encoder)}
    loaded = _load(content, folder, tmp_path, prefix="ema_state_dict")
    assert torch.equal(vectors(loaded.model), _expected(folder))


def test_a_teacher_of_another_size_is_no_match(tmp_path: Path, folder: Path, encoder: Mapping[str, Tensor]) -> None:
    larger = tiny_bert(tmp_path / "larger", dim=32)
    teacher = load_backbone(str(larger)).encoder.state_dict()
    state = _under("teacher.", teacher) | _under("student.", encoder)
    assert torch.equal(vectors(_load(state, folder, tmp_path).model), _expected(folder))


def test_two_towers_are_told_apart_by_their_names(tmp_path: Path, folder: Path, encoder: Mapping[str, Tensor]) -> None:
    other = {name: tensor + 0.01 for name, tensor in encoder.items()}
    state = _under("question_encoder.", encoder) | _under("ctx_encoder.", other)
    state |= {"query_proj.weight": HEAD, "doc_proj.weight": 2 * HEAD + 1}
    loaded = _load(state, folder, tmp_path)
    assert torch.equal(vectors(loaded.model), _expected(folder, HEAD))
    assert loaded.document_model.head is not None
    assert torch.equal(loaded.document_model.head.linear.weight, 2 * HEAD + 1)
    assert not torch.equal(vectors(loaded.document_model), vectors(loaded.model))
    assert "two towers: queries are encoded by question_encoder.*, documents by ctx_encoder.*" in loaded.notes


@pytest.mark.parametrize("names", [("query_proj", "doc_proj"), ("question_head.0", "context_head.0")])
def test_two_heads_over_one_encoder_are_refused_with_a_way_that_reads_them(
    tmp_path: Path, folder: Path, encoder: Mapping[str, Tensor], names: tuple[str, str]
) -> None:
    heads = {f"{name}.weight": HEAD + at for at, name in enumerate(names)}
    assert _error(_under("bert.", encoder) | dict(reversed(heads.items())), folder, tmp_path) == (
        f"model.pt holds a head of queries, {names[0].split('.')[0]}, and one of documents, {names[1].split('.')[0]}, "
        "over one encoder, which cannot be read; save the weights twice, each time without one of them, and give the "
        "file of documents by --document-encoder, or evaluate the model in memory: "
        "embviz_callback.evaluate(model, data, encode=(of_queries, of_documents))"
    )
    for name, weight in heads.items():
        alone = _load(_under("bert.", encoder) | {name: weight}, folder, tmp_path)
        assert torch.equal(vectors(alone.model), _expected(folder, weight))


def test_added_tokens_are_answered_with_the_folder_that_reads_them(
    tmp_path: Path, folder: Path, encoder: Mapping[str, Tensor]
) -> None:
    backbone = load_backbone(str(folder))
    network: Any = backbone.encoder
    tokenizer: Any = backbone.tokenizer
    tokenizer.add_tokens(["quận_10"])
    network.resize_token_embeddings(len(tokenizer))
    weights = _under("bert.", network.state_dict())
    shapes = [tuple(state["embeddings.word_embeddings.weight"].shape) for state in (network.state_dict(), encoder)]
    assert _error(weights, folder, tmp_path) == (
        f"model.pt: encoder weight embeddings.word_embeddings.weight has shape {shapes[0]}, that of 'bert' has "
        f"{shapes[1]}; name the encoder it belongs to with --encoder, or, if tokens were added to it, the folder into "
        "which save_pretrained wrote both encoder and tokenizer"
    )
    for part in (network, tokenizer):
        part.save_pretrained(tmp_path / "resized")
    loaded = _load(weights, tmp_path / "resized", tmp_path)
    assert torch.equal(vectors(loaded.model), vectors(BiEncoder(backbone, max_length=32).eval()))


def test_a_head_of_several_layers_needs_its_activation(
    tmp_path: Path, folder: Path, encoder: Mapping[str, Tensor]
) -> None:
    head = nn.Sequential(nn.Linear(16, 12), nn.LayerNorm(12), nn.ReLU(), nn.Dropout(0.1), nn.Linear(12, 8)).eval()
    state = _under("bert.", encoder) | _under("projection.", head.state_dict())
    assert _error(state, folder, tmp_path) == (
        "model.pt: its head has several layers (projection.0, projection.1, projection.4), and the file does not say "
        "which activation stands between them; name it with --head-activation, one of Identity, Tanh, ReLU, GELU, "
        "SiLU, Sigmoid"
    )
    loaded = _load(state, folder, tmp_path, head_activation="ReLU")
    with torch.no_grad():
        features = loaded.model.features(["phòng trọ quận 10"])
        assert torch.allclose(loaded.model.project(features), nn.functional.normalize(head(features)), atol=1e-6)


@pytest.mark.parametrize(
    ("more", "answer"),
    [
        (
            {"a.weight": HEAD, "b.weight": HEAD + 1},
            "model.pt holds several matrices that may be its head, a and b; save the right one alone",
        ),
        (
            {"head.0.weight": HEAD, "head.1.weight": torch.ones(8), "head.1.running_mean": torch.ones(8)},
            "model.pt: its head normalises over batches, which cannot be read; export the model",
        ),
    ],
)
def test_a_head_that_cannot_be_told_is_refused(
    tmp_path: Path, folder: Path, encoder: Mapping[str, Tensor], more: dict[str, Tensor], answer: str
) -> None:
    assert _error(_under("bert.", encoder) | more, folder, tmp_path) == answer


def test_lora_weights_in_a_file_are_merged(tmp_path: Path, folder: Path, encoder: Mapping[str, Tensor]) -> None:
    generator = torch.Generator().manual_seed(3)
    a, b = torch.randn(4, 16, generator=generator), torch.randn(16, 4, generator=generator)
    name = "encoder.layer.0.attention.self.query"
    state = _under("model.base_model.model.", encoder)
    state[f"model.base_model.model.{name}.base_layer.weight"] = state.pop(f"model.base_model.model.{name}.weight")
    state |= {f"model.base_model.model.{name}.lora_A.default.weight": a}
    state |= {f"model.base_model.model.{name}.lora_B.default.weight": b}
    assert _error({"state_dict": state}, folder, tmp_path) == (
        "model.pt has LoRA weights, but does not say their lora_alpha; give it with --lora-alpha"
    )
    loaded = _load({"state_dict": state}, folder, tmp_path, lora_alpha=8)
    noted = _load({"state_dict": state, "hyper_parameters": {"lora_alpha": 8}}, folder, tmp_path)
    merged = dict(encoder) | {f"{name}.weight": encoder[f"{name}.weight"] + 2 * b @ a}
    expected = vectors(_load({"state_dict": merged}, folder, tmp_path).model)
    assert torch.allclose(vectors(loaded.model), expected, atol=1e-6)
    assert torch.allclose(vectors(noted.model), expected, atol=1e-6)


def test_parts_of_a_sharded_training_are_told(tmp_path: Path, folder: Path, encoder: Mapping[str, Tensor]) -> None:
    empty = {name: torch.empty(0) for name in encoder}
    assert _error({"module": empty, "ds_version": "0.16"}, folder, tmp_path) == (
        "model.pt: it is a sharded training checkpoint of DeepSpeed (python zero_to_fp32.py); consolidate it into one "
        "file first"
    )
