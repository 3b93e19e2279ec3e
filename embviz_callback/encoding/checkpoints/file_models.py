"""The model in a file that a training program wrote: encoder and head by fit, towers, adapters."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from embviz_callback.encoding.cache.fingerprints import state_sha256
from embviz_callback.encoding.checkpoints.hub import is_hub_name, settings_directory
from embviz_callback.encoding.checkpoints.training_files import read_training_file
from embviz_callback.encoding.directories.backbone import Wanted, dtype_named
from embviz_callback.encoding.directories.model_directory import read_encoder
from embviz_callback.encoding.directories.modules import said_of_texts
from embviz_callback.encoding.directories.settings_files import settings_in_folder
from embviz_callback.encoding.models.biencoder import Backbone, ProjectionHead
from embviz_callback.encoding.models.lora import LowRank, Scale, merge, split_lora
from embviz_callback.encoding.models.rebuilding import build_dense, build_head, fill, outline, pretrained
from embviz_callback.encoding.weights.complaints import CheckpointError, short
from embviz_callback.encoding.weights.fit import Fit, Found, find_encoders, is_of_documents, is_of_queries
from embviz_callback.encoding.weights.heads import Layer, find_head
from embviz_callback.encoding.weights.stored import Weight
from embviz_callback.encoding.weights.weights_file import file_facts
from embviz_callback.measure import COSINE

DEFAULT_ENCODER = "BAAI/bge-m3"
_FIRST_MODULE = re.compile(r"0\.(auto_)?model\.$")
Parts = tuple[Backbone, ProjectionHead | None]


@dataclass(frozen=True, eq=False)
class FileModel:
    """What a file makes.

    Attributes:
        towers: Of queries and of documents, the same parts twice but for a model of two towers.
        config: What is noted in the file and what the user says.
        notes: What the reader should know.
        facts: Declared similarity, kind, hash, size, encoder, epoch, loss and prefix, as `LoadedModel` has them.
    """

    towers: tuple[Parts, Parts]
    config: Mapping[str, Any]
    notes: tuple[str, ...]
    facts: Mapping[str, Any]


def wanted_of(chosen: Mapping[str, Any], *, base: str | None) -> Wanted:
    """What the user says, as far as it concerns a directory.

    Args:
        chosen: By the names of `load_checkpoint`.
        base: Of an adapter, the model that it adapts.

    Returns:
        The same for `read_directory`.
    """
    dtype = chosen.get("dtype", "float32")
    return Wanted(base, chosen.get("tokenizer"), dtype, is_pooled="pooling" in chosen)


def read_file_model(path: Path, encoder: str | None, chosen: Mapping[str, Any]) -> FileModel:
    """The model that a training program put into a file.

    Args:
        path: The file.
        encoder: Its encoder; None for the one that the file names, else BAAI/bge-m3.
        chosen: What the user says, as far as anything.

    Returns:
        Its parts.

    Raises:
        CheckpointError: If it holds neither an encoder nor a head that fits one.
    """
    saved = read_training_file(path, prefix=chosen.get("prefix"))
    config = {**saved.config, **chosen}
    notes = list(saved.notes)
    sketch, revision, where = _sketch(path, encoder, config, saved.weights)
    place = Path(sketch.name).expanduser()
    if "pooling" not in config and is_hub_name(sketch.name):
        place = settings_directory(sketch.name, revision) or place
    if (place / "modules.json").is_file():
        said = said_of_texts(place)
        notes += _borrowed(said, config, sketch.name) if is_hub_name(sketch.name) else []
        config = {**said, **config}
    weights, changes = split_lora(saved.weights, path)
    found = find_encoders(sketch.encoder, weights, path, prefix=chosen.get("prefix"), called=sketch.name)
    heads = [_head(found, fit, sketch, config, path, notes) for fit in found.fits or (None,)]
    if found.fits:
        backbones = [_filled(sketch, fit, path) for fit in found.fits]
    elif any(heads) or changes:
        backbones = [_named(sketch.name, revision, where, config, notes)]
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
    sha256, size_bytes = file_facts(path)
    parts = list(zip(backbones, heads, strict=True))
    if (declared := str(saved.config.get("similarity", COSINE))) != COSINE:
        notes.append(f"documents are ranked by {declared}, as its settings say (--similarity)")
    facts = {
        "declared": declared,
        "kind": saved.kind if found.fits or saved.kind != "state dict" else "head",
        "sha256": sha256,
        "size_bytes": size_bytes,
        "encoder": sketch.name,
        "epoch": saved.epoch,
        "loss": saved.loss,
        "stripped_prefix": ", ".join(filter(None, (fit.prefix.removesuffix("encoder.") for fit in found.fits))),
    }
    return FileModel((parts[0], parts[-1]), config, tuple(notes), facts)


def _borrowed(said: Mapping[str, Any], config: Mapping[str, Any], name: str) -> list[str]:
    """What a file leaves open and its encoder says of itself, which nobody else sees."""
    words = {"pooling": "pooling {}", "max_length": "{} tokens per text"}
    found = [text.format(said[key]) for key, text in words.items() if key in said and key not in config]
    return [f"not written in it, but said by {name}: {' and '.join(found)} (--pooling, --max-length)"] if found else []


def _sketch(
    path: Path, encoder: str | None, config: Mapping[str, Any], weights: Mapping[str, Weight]
) -> tuple[Backbone, str | None, str]:
    name, where = _encoder_name(path, encoder, config)
    # A revision belongs to the encoder it was noted with.
    revision = None if encoder is not None else config.get("revision")
    revision = revision if isinstance(revision, str) else None
    if Path(name).expanduser().is_dir():
        settings_in_folder(Path(name).expanduser())
    dtype = dtype_named(str(config.get("dtype", "float32")), weights.values())
    sketch = outline(name, revision=revision, where=where, tokenizer=config.get("tokenizer"), dtype=dtype)
    return sketch, revision, where


def _head(
    found: Found, fit: Fit | None, sketch: Backbone, config: Mapping[str, Any], path: Path, notes: list[str]
) -> ProjectionHead | None:
    """The head of one tower; that of the other tower is none of its business."""
    others = (is_of_documents, is_of_queries) if len(found.fits) == 2 else ()
    other = others[found.fits.index(fit)] if fit is not None and others else None
    rest = {name: weight for name, weight in found.rest.items() if other is None or not other(name.rpartition(".")[0])}
    layers, ignored = find_head(rest, path, dim=sketch.dim, near=fit.prefix if fit is not None else "")
    if fit is not None and layers and not _fits(layers, sketch.dim) and not _is_called_head(layers):
        layers, ignored = [], tuple(sorted({name.split(".")[0] for name in rest}))
    if ignored:
        notes.append(f"not used: {short(', '.join(ignored))}")
    if not layers:
        return None
    if not _fits(layers, sketch.dim):
        # Before any weights are fetched: those of the wrong encoder would be gigabytes for nothing.
        raise CheckpointError(
            f"{path}: its head takes {_dim_in(layers)} features, encoder {sketch.name!r} gives {sketch.dim}; "
            "name the encoder it was trained on with --encoder"
        )
    return (build_dense if fit is not None and _are_dense(layers, fit) else build_head)(layers, config, path)


def _are_dense(layers: Sequence[Layer], fit: Fit) -> bool:
    """Whether a head is that of a SentenceTransformer, whose modules are numbered from its transformer on."""
    root = _FIRST_MODULE.sub("", fit.prefix)
    numbered = re.compile(re.escape(root) + r"\d+\.(linear|norm)")
    return root != fit.prefix and all(numbered.fullmatch(layer.name) for layer in layers)


def _dim_in(layers: Sequence[Layer]) -> int:
    return next(layer.weights["weight"].shape[1] for layer in layers if not layer.is_norm)


def _fits(layers: Sequence[Layer], dim: int) -> bool:
    return _dim_in(layers) == dim


def _is_called_head(layers: Sequence[Layer]) -> bool:
    return any("head" in layer.name or "proj" in layer.name for layer in layers)


def _filled(sketch: Backbone, fit: Fit, path: Path) -> Backbone:
    backbone, unused = fill(sketch, fit.encoder, path)
    if unused:
        raise CheckpointError(
            f"{path} has {len(unused)} encoder weights that {sketch.name!r} does not, the first is {short(unused[0])}; "
            "name the encoder they belong to with --encoder"
        )
    return backbone


def _named(name: str, revision: str | None, where: str, config: Mapping[str, Any], notes: list[str]) -> Backbone:
    """The encoder that a file only names, with the weights it was published with."""
    folder = Path(name).expanduser()
    wanted = wanted_of(config, base=None)
    if folder.is_dir():
        backbone = read_encoder(folder, wanted)
    else:
        dtype = dtype_named(wanted.dtype, ())
        backbone = pretrained(name, revision=revision, where=where, tokenizer=wanted.tokenizer, dtype=dtype)
    backbone = replace(backbone, name=name)
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


def _encoder_name(path: Path, given: str | None, config: Mapping[str, Any]) -> tuple[str, str]:
    """The encoder's name, and the beginning of a sentence that says where it comes from."""
    if given is not None:
        return given, f"{path} is to be read with"
    noted = config.get("encoder")
    if isinstance(noted, str) and noted:
        return noted, f"{path} names"
    return DEFAULT_ENCODER, f"{path} names no encoder, so that it is read with the default"
