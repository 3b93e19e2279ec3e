"""What a file leaves open: who says it instead, or the sentence that asks for it."""

import json
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from embviz_callback.encoding.checkpoints import hub
from embviz_callback.encoding.checkpoints.loading import CheckpointError, LoadedModel, load_checkpoint
from embviz_callback.encoding.subject import Side, Subject, notes_on_prompts
from embviz_callback.encoding.weights.complaints import SAFE_AGAIN
from tests.tiny_models import tiny_bert, tiny_tokenizer, vectors


@pytest.fixture(scope="module")
def encoders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("encoders")
    return tiny_bert(folder / "one"), tiny_bert(folder / "two", seed=5)


def _weights(folder: Path, prefix: str = "") -> dict[str, Tensor]:
    return {f"{prefix}{name}": part for name, part in load_file(folder / "model.safetensors").items()}


def _refusal(path: Path, **options: Any) -> str:
    with pytest.raises(CheckpointError) as error:
        load_checkpoint(path, **options)
    return str(error.value).removeprefix(f"{path}")


def _noted(tmp_path: Path, encoder: Path, **settings: Any) -> LoadedModel:
    torch.save({"state_dict": _weights(encoder, "model."), "hyper_parameters": settings}, tmp_path / "noted.ckpt")
    return load_checkpoint(tmp_path / "noted.ckpt", encoder=str(encoder))


@pytest.mark.parametrize("name", ["model", "ema_model.module"])
def test_of_two_encoders_the_one_that_is_named_is_read_and_the_other_is_no_head(
    tmp_path: Path, encoders: tuple[Path, Path], name: str
) -> None:
    both = _weights(encoders[0], "model.") | _weights(encoders[1], "ema_model.module.")
    torch.save({"state_dict": {**both, "ema_model.n_averaged": torch.tensor(3)}}, tmp_path / "both.ckpt")
    found = load_checkpoint(tmp_path / "both.ckpt", encoder=str(encoders[0]), pooling="mean", prefix=name)
    own = encoders[0] if name == "model" else encoders[1]
    assert torch.equal(vectors(found.model), vectors(load_checkpoint(own, pooling="mean").model))


def test_averaged_weights_beside_the_others_are_said_and_read_where_they_are_named(
    tmp_path: Path, encoders: tuple[Path, Path]
) -> None:
    path = tmp_path / "both.pt"
    torch.save({"model": _weights(encoders[0]), "ema": _weights(encoders[1]), "optimizer": {"a": torch.ones(2)}}, path)
    for said, own in (({}, encoders[0]), ({"prefix": "ema"}, encoders[1])):
        found = load_checkpoint(path, encoder=str(encoders[0]), pooling="mean", max_length=64, **said)
        assert torch.equal(vectors(found.model), vectors(load_checkpoint(own, pooling="mean").model))
        assert found.notes == (() if said else ("read from model; there are more weights in ema (--prefix ema)",))


@pytest.mark.parametrize(
    ("name", "shape"),
    [("text_projection", (16, 8)), ("proj.weight_v", (8, 16)), ("pool.query", (16,)), ("norm.0.weight", (16,))],
)
def test_weights_that_may_make_the_vectors_are_never_left_aside(
    tmp_path: Path, encoders: tuple[Path, Path], name: str, shape: tuple[int, ...]
) -> None:
    path = tmp_path / "more.pt"
    other = {"topic.0.weight": torch.ones(3, 16), "topic.1.weight": torch.ones(16), "head.weight": torch.ones(8, 16)}
    torch.save({**_weights(encoders[0], "encoder."), **other}, path)
    assert "not used: topic" in load_checkpoint(path, encoder=str(encoders[0])).notes
    torch.save({**_weights(encoders[0], "encoder."), **other, name: torch.ones(shape)}, path)
    assert _refusal(path, encoder=str(encoders[0])) == (
        f" holds {name}, which may be part of what makes its vectors and cannot be read; if they are not, save the "
        "weights without them, else evaluate the model in memory: embviz_callback.evaluate(model, data, encode=...)"
    )


def test_a_folder_that_names_code_of_its_own_is_read_without_it_and_says_so(tmp_path: Path) -> None:
    folder = tiny_bert(tmp_path / "bert")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"auto_map": {"AutoModel": "modeling.OwnModel"}}))
    assert load_checkpoint(folder, pooling="mean").notes == (
        "its code, modeling.OwnModel, is not run: the class of transformers is, which may give other vectors",
    )


def test_weights_in_the_folder_of_their_encoder_lead_to_it(encoders: tuple[Path, Path]) -> None:
    assert _refusal(encoders[0] / "model.safetensors") == (
        f" names no encoder, but lies in the folder of one; give the folder, {encoders[0]}, or, if the file holds more "
        f"than what is read from there, --encoder {encoders[0]}"
    )


def test_static_embeddings_of_model2vec_are_read_with_shared_rows_and_weights(tmp_path: Path) -> None:
    table, mapping, weights = torch.randn(5, 4), torch.arange(59) % 5, torch.rand(59)
    save_file({"embeddings": table, "mapping": mapping, "weights": weights}, tmp_path / "model.safetensors")
    tiny_tokenizer().backend_tokenizer.save(str(tmp_path / "tokenizer.json"))
    module = {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.StaticEmbedding"}
    (tmp_path / "modules.json").write_text(json.dumps([module]))
    ids = tiny_tokenizer()("phòng gác", add_special_tokens=False)["input_ids"]
    mean = torch.stack([table[at % 5] * weights[at] for at in ids]).mean(dim=0)
    assert torch.allclose(load_checkpoint(tmp_path).model.encode(["phòng gác"])[0], mean, atol=1e-6)


QUERY = "encoder.layer.0.attention.self.query"


def _factors(module: str) -> dict[str, Tensor]:
    sizes = {"A": (2, 16), "B": (16, 2)}
    return {f"base_model.model.{module}.lora_{side}.weight": torch.full(size, 0.1) for side, size in sizes.items()}


def _adapter(folder: Path, base: Path, more: dict[str, Tensor], **settings: Any) -> Path:
    folder.mkdir()
    facts = {"peft_type": "LORA", "base_model_name_or_path": str(base), "lora_alpha": 2, **settings}
    (folder / "adapter_config.json").write_text(json.dumps(facts))
    save_file(_factors(QUERY) | more, folder / "adapter_model.safetensors")
    return folder


@pytest.mark.parametrize(
    ("more", "settings", "answer"),
    [
        (
            "",
            {"init_lora_weights": "pissa_niter_4"},
            " was begun with pissa_niter_4, which changes the model it adapts; merge it and save that",
        ),
        (
            "embeddings.word_embeddings.token_adapter.trainable_tokens_delta",
            {},
            " has adapters of another kind than LoRA (embeddings.word_embeddings.token_adapter.trainable_tokens_delta);"
            " merge them and save that",
        ),
        (
            f"{QUERY}.lora_B.bias",
            {},
            f" has adapters of another kind than LoRA ({QUERY}.lora_B.bias); merge them and save that",
        ),
    ],
)
def test_an_adapter_that_is_more_than_two_factors_is_refused(
    tmp_path: Path, encoders: tuple[Path, Path], more: str, settings: dict[str, Any], answer: str
) -> None:
    folder = _adapter(tmp_path / "lora", encoders[0], {more: torch.ones(16)} if more else {}, **settings)
    assert _refusal(folder, pooling="mean") == answer


def test_an_adapter_of_all_linear_layers_does_without_the_pooler_that_its_model_lacks(
    tmp_path: Path, encoders: tuple[Path, Path]
) -> None:
    base = tiny_bert(tmp_path / "bert")
    bare = {name: part for name, part in _weights(base).items() if not name.startswith("pooler.")}
    save_file(bare, base / "model.safetensors", metadata={"format": "pt"})
    with_it, without = (_adapter(tmp_path / f"{len(more)}", base, more) for more in (_factors("pooler.dense"), {}))
    assert torch.equal(*(vectors(load_checkpoint(one, pooling="mean").model) for one in (with_it, without)))


def test_a_tokenizer_of_more_tokens_than_the_model_has_vectors_is_refused(tmp_path: Path) -> None:
    folder = tiny_bert(tmp_path / "bert")
    tokenizer = tiny_tokenizer()
    tokenizer.add_special_tokens({"eos_token": "<eos>"})
    tokenizer.save_pretrained(folder)
    assert load_checkpoint(folder, pooling="mean").notes == ()
    tokenizer.add_tokens(["chung", "cư"])
    tokenizer.save_pretrained(folder)
    assert _refusal(folder, pooling="mean") == (
        f" has vectors of 59 tokens, its tokenizer has {len(tokenizer)}; give the tokenizer it was trained with by "
        "--tokenizer, or save the model again behind resize_token_embeddings"
    )


def test_a_program_is_called_one(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "m.pt", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("m/constants.pkl", b"0" * 99)
    assert _refusal(tmp_path / "m.pt") == f" is a TorchScript program, which would have to be run; {SAFE_AGAIN}"


def test_a_pooler_without_weights_is_never_made_up(tmp_path: Path, encoders: tuple[Path, Path]) -> None:
    folder = tiny_bert(tmp_path / "bert")
    bare = {name: part for name, part in _weights(folder).items() if not name.startswith("pooler.")}
    save_file(bare, folder / "model.safetensors", metadata={"format": "pt"})
    torch.save(bare, tmp_path / "bare.pt")
    answer = " has no weights of a pooler; choose another pooling with --pooling"
    assert _refusal(folder, pooling="pooler") == answer
    assert _refusal(tmp_path / "bare.pt", encoder=str(encoders[0]), pooling="pooler") == answer
    assert load_checkpoint(folder, pooling="cls").model.pooling == "cls"


def test_settings_lie_as_deep_as_configurations_do_and_dimensions_are_among_them(
    tmp_path: Path, encoders: tuple[Path, Path]
) -> None:
    loaded = _noted(tmp_path, encoders[0], cfg={"model": {"pooling": "cls", "truncate_dim": 4}})
    assert (loaded.model.pooling, vectors(loaded.model).shape[1]) == ("cls", 4)
    assert loaded.notes == ("the first 4 dimensions are served, as its settings say",)
    assert vectors(_noted(tmp_path, encoders[0], pooling="cls", truncate_dim="all").model).shape[1] == 16


@pytest.mark.parametrize(
    ("settings", "pooling", "similarity"),
    [
        ({"sentence_pooling_method": "cls", "normlized": True}, "cls", "cosine"),
        ({"pool_type": "last", "max_seq_len": 12}, "lasttoken", "cosine"),
        ({"pooling_method": "avg", "similarity_fn_name": "dot_score"}, "mean", "dot"),
        ({"pooling": "first_token", "similarity": 0.7}, "cls", "cosine"),
    ],
)
def test_settings_are_known_under_the_names_that_projects_give_them(
    tmp_path: Path, encoders: tuple[Path, Path], settings: dict[str, Any], pooling: str, similarity: str
) -> None:
    loaded = _noted(tmp_path, encoders[0], **settings)
    assert (loaded.model.pooling, loaded.similarity) == (pooling, similarity)
    assert loaded.model.max_length == settings.get("max_seq_len", 64)
    said = ("documents are ranked by dot, as its settings say (--similarity)",)
    assert loaded.notes == (said if similarity == "dot" else ())


@pytest.mark.parametrize(
    ("name", "what"),
    [("model-00002-of-00003.safetensors", "is file 2 of 3"), ("model.safetensors.index.json", "lists the files")],
)
def test_a_part_of_a_model_leads_to_its_folder(tmp_path: Path, name: str, what: str) -> None:
    (tmp_path / name).write_bytes(b"{}")
    assert _refusal(tmp_path / name) == f" {what} of a model; give the folder in which they lie with its config.json"


def _modules(folder: Path, pooling: str, **settings: Any) -> None:
    kinds = {"": "Transformer", "1_Pooling": "Pooling", "2_Normalize": "Normalize"}
    modules = [{"path": path, "type": f"sentence_transformers.models.{kind}"} for path, kind in kinds.items()]
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "1_Pooling").mkdir(exist_ok=True)
    (folder / "1_Pooling" / "config.json").write_text(json.dumps({"pooling_mode": pooling}))
    (folder / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": 24, **settings}))


def test_a_head_for_a_model_of_the_hub_pools_as_that_model_says(
    tmp_path: Path, encoders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tiny_bert(tmp_path / "acme" / "tiny")
    _modules(folder, "cls")
    torch.save({"head.linear.weight": torch.eye(16)[:8]}, tmp_path / "head.pt")
    monkeypatch.chdir(tmp_path)
    here = load_checkpoint(tmp_path / "head.pt", encoder="acme/tiny")
    # The same as if it lay in the hub's cache and not below the working directory.
    monkeypatch.setattr("embviz_callback.encoding.checkpoints.file_models.is_hub_name", lambda name: True)
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda name, **options: str(folder))
    loaded = load_checkpoint(tmp_path / "head.pt", encoder="acme/tiny")
    assert (loaded.model.pooling, loaded.model.max_length) == ("cls", 24)
    assert torch.equal(vectors(loaded.model), vectors(here.model))
    assert loaded.notes == (
        "not written in it, but said by acme/tiny: pooling cls and 24 tokens per text (--pooling, --max-length)",
    )


def test_settings_of_the_hub_that_cannot_be_had_are_none(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(name: str, **options: Any) -> str:
        raise OSError(name)

    monkeypatch.setattr("huggingface_hub.snapshot_download", unreachable)
    assert hub.settings_directory("acme/tiny", None) is None


def test_what_a_module_says_to_its_tokenizer_is_obeyed_and_what_is_not_read_is_named(tmp_path: Path) -> None:
    folder = tiny_bert(tmp_path / "bert")
    sides = {"padding_side": "left", "truncation_side": "left"}
    _modules(folder, "mean", tokenizer_args=sides, config_args={"num_hidden_layers": 1}, unpad_inputs=True)
    loaded = load_checkpoint(folder)
    tokenizer: Any = loaded.model.backbone.tokenizer
    assert (tokenizer.padding_side, tokenizer.truncation_side) == ("left", "left")
    assert loaded.notes == ("not read, and may change vectors: config_args.num_hidden_layers, unpad_inputs",)


def test_texts_that_bring_the_models_prompt_already_are_said() -> None:
    sides = Side(len, "query: "), Side(len, own_prompt="passage: ")
    subject = Subject(torch.nn.Identity(), *sides)
    texts = ["query: trọ Q1", "query: trọ Q3", "nhà"], ["Phòng", "passage: nhà"]
    assert notes_on_prompts(subject, *texts) == (
        "2 of 3 queries begin with 'query:' already, which is put before them once more",
    )
