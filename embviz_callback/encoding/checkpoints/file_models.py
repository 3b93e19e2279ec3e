"""The model in a file that a training program wrote: encoder and head by fit, towers, adapters."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import nn

from embviz_callback.encoding.cache.fingerprints import state_sha256
from embviz_callback.encoding.checkpoints.hub import is_hub_name, settings_directory
from embviz_callback.encoding.checkpoints.training_files import read_training_file
from embviz_callback.encoding.directories.backbone import dtype_named, not_used
from embviz_callback.encoding.directories.model_directory import Origin, ReadModel, read_encoder
from embviz_callback.encoding.directories.modules import Tower, said_of_texts
from embviz_callback.encoding.directories.settings_files import settings_in_folder
from embviz_callback.encoding.models.biencoder import Backbone
from embviz_callback.encoding.models.lora import LowRank, Scale, merge, split_lora
from embviz_callback.encoding.models.rebuilding import build_dense, build_head, fill, outline, pretrained
from embviz_callback.encoding.serving import Serving
from embviz_callback.encoding.weights.complaints import CheckpointError, short
from embviz_callback.encoding.weights.fit import Fit, Found, find_encoders, is_of_documents, is_of_queries
from embviz_callback.encoding.weights.heads import Layer, find_head
from embviz_callback.encoding.weights.weights_file import file_facts
from embviz_callback.measure import COSINE

DEFAULT_ENCODER = "BAAI/bge-m3"
_FIRST_MODULE = re.compile(r"0\.(auto_)?model\.$")


def read_file_model(path: Path, serving: Serving) -> ReadModel:
    """The model that a training program put into a file.

    Args:
        path: The file.
        serving: What the user says; without an encoder the one that the file names, else BAAI/bge-m3.

    Returns:
        Its parts, the same twice but for a model of two towers.

    Raises:
        CheckpointError: If it holds neither an encoder nor a head that fits one.
    """
    saved = read_training_file(path, prefix=serving.prefix)
    config, notes = {**saved.config, **serving.said}, list(saved.notes)
    name, options = _encoder_named(path, serving, config)
    sketch = outline(name, dtype=dtype_named(serving.dtype, saved.weights.values()), **options)
    said = _said_by_encoder(name, options["revision"], config, notes)
    config = {**said, **config}
    weights, changes = split_lora(saved.weights, path)
    found = find_encoders(sketch.encoder, weights, path, prefix=serving.prefix, called=sketch.name)
    heads = [_head(found, fit, sketch, config, path, notes) for fit in found.fits or (None,)]
    if found.fits:
        # Under the encoder's own names only, so that nothing is left over.
        backbones = [fill(sketch, fit.encoder, path)[0] for fit in found.fits]
    elif any(heads) or changes:
        backbones = [_published(name, options, serving, config, notes)]
    else:
        raise CheckpointError(
            f"{path} has neither the weights of encoder {sketch.name!r} nor a head among its {len(weights)} weights; "
            f"it has {short(', '.join([*weights][:3]))}; name the encoder they belong to with --encoder"
        )
    if changes:
        _merge(backbones, changes, config, path)
    if len(backbones) == 2:
        first, second = (fit.prefix for fit in found.fits)
        notes.append(f"two towers: queries are encoded by {first}*, documents by {second}*")
    if (declared := saved.config.get("similarity", COSINE)) != COSINE:
        notes.append(f"documents are ranked by {declared}, as its settings say (--similarity)")
    if "truncate_dim" in saved.config:
        notes.append(f"the first {saved.config['truncate_dim']} dimensions are served, as its settings say")
    own = {"max_length": config["query_max_length"]} if "query_max_length" in config else {}
    origin = Origin(
        saved.kind if found.fits or saved.kind != "state dict" else "head",
        *file_facts(path),
        sketch.name,
        epoch=saved.epoch,
        loss=saved.loss,
        stripped_prefix=", ".join(filter(None, (fit.prefix.removesuffix("encoder.") for fit in found.fits))),
    )
    queries, documents = Tower(backbones[0], heads[0], own), Tower(backbones[-1], heads[-1])
    return ReadModel(origin, queries, documents, {**said, **saved.config}, tuple(notes))


def _said_by_encoder(name: str, revision: str | None, config: Mapping[str, Any], notes: list[str]) -> dict[str, Any]:
    """What a folder of sentence-transformers that a file names as its encoder says of texts."""
    place, is_fetched = Path(name).expanduser(), is_hub_name(name)
    if "pooling" not in config and is_fetched:
        place = settings_directory(name, revision) or place
    if not (place / "modules.json").is_file():
        return {}
    said = said_of_texts(place)
    notes += _borrowed(said, config, name) if is_fetched else []
    return said


def _borrowed(said: Mapping[str, Any], config: Mapping[str, Any], name: str) -> list[str]:
    """What a file leaves open and its encoder says of itself, which nobody else sees."""
    words = {"pooling": "pooling {}", "max_length": "{} tokens per text"}
    found = [text.format(said[key]) for key, text in words.items() if key in said and key not in config]
    return [f"not written in it, but said by {name}: {' and '.join(found)} (--pooling, --max-length)"] if found else []


def _encoder_named(path: Path, serving: Serving, config: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """The encoder's name, and how `outline` and `pretrained` are to load it."""
    noted, revision = config.get("encoder"), config.get("revision")
    if serving.encoder is not None:
        # A revision belongs to the encoder it was noted with.
        name, revision, where = serving.encoder, None, f"{path} is to be read with"
    elif isinstance(noted, str) and noted:
        name, where = noted, f"{path} names"
    elif (path.parent / "config.json").is_file():
        raise CheckpointError(
            f"{path} names no encoder, but lies in the folder of one; give the folder, {path.parent}, or, if the file "
            f"holds more than what is read from there, --encoder {path.parent}"
        )
    else:
        name, where = DEFAULT_ENCODER, f"{path} names no encoder, so that it is read with the default"
    if _is_folder(name):
        settings_in_folder(Path(name).expanduser())
    revision = revision if isinstance(revision, str) else None
    return name, {"revision": revision, "where": where, "tokenizer": serving.tokenizer}


def _is_folder(name: str) -> bool:
    try:
        return Path(name).expanduser().is_dir()
    except (OSError, RuntimeError):  # too long for a path, or below the home of nobody: whoever loads it says so
        return False


def _head(
    found: Found, fit: Fit | None, sketch: Backbone, config: Mapping[str, Any], path: Path, notes: list[str]
) -> nn.Module | None:
    """The head of one tower; that of the other tower is none of its business."""
    others = (is_of_documents, is_of_queries) if len(found.fits) == 2 else ()
    other = others[found.fits.index(fit)] if fit is not None and others else None
    rest = {name: weight for name, weight in found.rest.items() if other is None or not other(name.rpartition(".")[0])}
    layers, ignored = find_head(rest, path, dim=sketch.dim, near=fit.prefix if fit is not None else "")
    dim_in = next((layer.dim_in for layer in layers if not layer.is_norm), sketch.dim)
    is_called_head = any("head" in layer.name or "proj" in layer.name for layer in layers)
    if fit is not None and dim_in != sketch.dim and not is_called_head:
        layers, ignored = [], tuple(sorted({name.split(".")[0] for name in rest}))
    notes += not_used(ignored)
    if not layers:
        return None
    if dim_in != sketch.dim:
        # Before any weights are fetched: those of the wrong encoder would be gigabytes for nothing.
        raise CheckpointError(
            f"{path}: its head takes {dim_in} features, encoder {sketch.name!r} gives {sketch.dim}; "
            "name the encoder it was trained on with --encoder"
        )
    return (build_dense if fit is not None and _are_dense(layers, fit) else build_head)(layers, config, path)


def _are_dense(layers: Sequence[Layer], fit: Fit) -> bool:
    """Whether a head is that of a SentenceTransformer, whose modules are numbered from its transformer on."""
    root = _FIRST_MODULE.sub("", fit.prefix)
    numbered = re.compile(re.escape(root) + r"\d+\.(linear|norm)")
    return root != fit.prefix and all(numbered.fullmatch(layer.name) for layer in layers)


def _published(
    name: str, options: Mapping[str, Any], serving: Serving, config: Mapping[str, Any], notes: list[str]
) -> Backbone:
    """The encoder that a file only names, with the weights it was published with."""
    folder = Path(name).expanduser()
    if folder.is_dir():
        backbone = replace(read_encoder(folder, serving), name=name)
    else:
        backbone = pretrained(name, dtype=dtype_named(serving.dtype, ()), **options)
    expected = config.get("encoder_sha256")
    if isinstance(expected, str) and state_sha256(backbone.encoder) != expected:
        notes.append(
            f"the weights of encoder {name!r} are not those that the head was trained on "
            f"(their hash does not begin with {expected[:12]}): these figures may be those of no real model"
        )
    return backbone


def _merge(backbones: Sequence[Backbone], changes: list[LowRank], config: Mapping[str, Any], path: Path) -> None:
    alpha = config.get("lora_alpha")
    if not isinstance(alpha, int | float):
        raise CheckpointError(f"{path} has LoRA weights, but does not say their lora_alpha; give it with --lora-alpha")
    if len(backbones) > 1:
        raise CheckpointError(f"{path} has LoRA weights on two towers, which cannot be read; merge them and save that")
    merge(backbones[0].encoder, changes, Scale(float(alpha), by_root=config.get("use_rslora") is True), path)
