"""A loaded model as a directory that sentence-transformers reads, written without it."""

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from embviz_callback.encoding.checkpoints.loading import CheckpointError, LoadedModel
from embviz_callback.encoding.directories.modules import POOLING_FLAGS
from embviz_callback.encoding.models.biencoder import BiEncoder, ProjectionHead
from embviz_callback.encoding.models.self_pooling import CharNgrams

# The old names of the classes: every release since 2.2 knows them.
_PACKAGE = "sentence_transformers.models"


def check_exportable(loaded: LoadedModel, path: str | Path) -> None:
    """Makes sure that a model consists of parts that sentence-transformers has.

    Args:
        loaded: The model.
        path: Of its checkpoint, for the error.

    Raises:
        CheckpointError: If it has others, or is such a directory already.
    """
    model = loaded.model
    if loaded.origin.kind == "sentence-transformers":
        raise CheckpointError(f"{path} is a sentence-transformers directory already; copy it")
    if isinstance(model.encoder, CharNgrams):
        raise CheckpointError(
            f"{path} has the built-in encoder {loaded.origin.encoder!r}, which sentence-transformers does not have; "
            "export a checkpoint whose encoder is a transformers model"
        )
    parts = (model.encoder, model.backbone.tokenizer)
    if not all(callable(getattr(part, "save_pretrained", None)) for part in parts):
        raise CheckpointError(
            f"{path} has an encoder of its own, {type(model.encoder).__name__}, which cannot be exported; "
            "export a checkpoint whose encoder is a transformers model"
        )
    if loaded.document_model.max_length != model.max_length and loaded.document_model.backbone is model.backbone:
        raise CheckpointError(
            f"{path} reads {model.max_length} tokens of queries and {loaded.document_model.max_length} of documents, "
            "sentence-transformers as many of both; choose one with --max-length"
        )
    if loaded.document_model is not model or model.pooling == "pooler":
        what = "two towers" if loaded.document_model is not model else "the encoder's own pooler"
        raise CheckpointError(f"{path} has {what}, which cannot be exported; export a checkpoint of one pooled encoder")
    if model.head is not None and not isinstance(model.head, ProjectionHead):
        raise CheckpointError(
            f"{path} has a head of its own, {type(model.head).__name__}; a linear head can be exported"
        )


def export_model(loaded: LoadedModel, folder: Path, *, card: str, pictures: Sequence[Path] = ()) -> None:
    """Writes the directory under a temporary name beside its own, then renames it.

    Args:
        loaded: A model that `check_exportable` lets through.
        folder: The final name; must not exist, or be an empty directory.
        card: The text of ``README.md``.
        pictures: Files that the card shows, copied beside it.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    unfinished = folder.with_name(f".{folder.name}.{os.getpid()}")
    unfinished.mkdir()
    try:
        _write(loaded, unfinished)
        (unfinished / "README.md").write_text(card, encoding="utf-8")
        for picture in pictures:
            shutil.copyfile(picture, unfinished / picture.name)
        unfinished.replace(folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _write(loaded: LoadedModel, folder: Path) -> None:
    model = loaded.model
    encoder: Any = model.encoder
    tokenizer: Any = model.backbone.tokenizer
    encoder.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    limits = {"max_seq_length": model.max_length, "do_lower_case": False}
    _write_json(folder / "sentence_bert_config.json", limits)
    modules = [("Transformer", ""), *_write_modules(model, folder)]
    listed = [
        {"idx": row, "name": str(row), "path": path, "type": f"{_PACKAGE}.{kind}"}
        for row, (kind, path) in enumerate(modules)
    ]
    _write_json(folder / "modules.json", listed)
    facts: dict[str, Any] = {
        "prompts": prompts_of(loaded),
        "default_prompt_name": None,
        "similarity_fn_name": loaded.similarity,
    }
    if model.dim is not None:
        facts["truncate_dim"] = model.dim
    _write_json(folder / "config_sentence_transformers.json", facts)


def prompts_of(loaded: LoadedModel) -> dict[str, str]:
    """The prompts of a model, as sentence-transformers names them: ``query`` and ``document``; empty without any."""
    found = {"query": loaded.query_prompt, "document": loaded.document_prompt}
    return found if any(found.values()) else {}


def _write_modules(model: BiEncoder, folder: Path) -> list[tuple[str, str]]:
    """What comes after the transformer: kind and folder of each."""
    written: list[tuple[str, str]] = []

    def add(kind: str, facts: Mapping[str, Any] | None = None, weights: Mapping[str, Tensor] | None = None) -> None:
        name = f"{len(written) + 1}_{kind}"
        (folder / name).mkdir()
        if facts is not None:
            _write_json(folder / name / "config.json", facts)
        if weights is not None:
            tensors = {key: tensor.detach().cpu().contiguous() for key, tensor in weights.items()}
            save_file(tensors, folder / name / "model.safetensors", metadata={"format": "pt"})
        written.append((kind, name))

    pooling = {flag: name in model.pooling.split("+") for name, flag in POOLING_FLAGS.items()}
    add("Pooling", {"word_embedding_dimension": model.backbone.dim, **pooling, "include_prompt": not model.skip})
    head = model.head
    if isinstance(head, ProjectionHead):
        if head.ln is not None and head.norm_first:
            # A head begins with Dense for whoever reads one, this package included; the identity changes nothing.
            add("Dense", *_dense({"weight": torch.eye(head.linear.in_features)}))
            add("LayerNorm", *_layer_norm(head.ln))
        add("Dense", *_dense(head.linear.state_dict()))
        if head.ln is not None and not head.norm_first:
            add("LayerNorm", *_layer_norm(head.ln))
    if model.normalise:
        add("Normalize", {})
    return written


def _dense(weights: Mapping[str, Tensor]) -> tuple[dict[str, Any], dict[str, Tensor]]:
    dim_out, dim_in = weights["weight"].shape
    facts = {
        "in_features": dim_in,
        "out_features": dim_out,
        "bias": "bias" in weights,
        "activation_function": "torch.nn.modules.linear.Identity",
    }
    return facts, {f"linear.{name}": tensor for name, tensor in weights.items()}


def _layer_norm(norm: nn.LayerNorm) -> tuple[dict[str, Any], dict[str, Tensor]]:
    return {"dimension": norm.weight.numel()}, {f"norm.{name}": part for name, part in norm.state_dict().items()}


def _write_json(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
