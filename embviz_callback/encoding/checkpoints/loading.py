"""A model from a checkpoint of any usual form, without running anything that is in it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from embviz_callback.encoding.cache.fingerprints import state_sha256
from embviz_callback.encoding.checkpoints.hub import HubError, hub_directory, is_hub_name
from embviz_callback.encoding.checkpoints.missing import explain_missing
from embviz_callback.encoding.checkpoints.model_directory import read_directory
from embviz_callback.encoding.checkpoints.rebuilding import build_head, fill, outline, pretrained
from embviz_callback.encoding.memory import is_out_of_memory
from embviz_callback.encoding.models.biencoder import POOLINGS, Backbone, BiEncoder, ProjectionHead
from embviz_callback.encoding.weights.complaints import CheckpointError, asks_for_code, short
from embviz_callback.encoding.weights.pickles import Inert, StoredTensor, settings_in
from embviz_callback.encoding.weights.state_dicts import Parts, split
from embviz_callback.encoding.weights.stored import SafeTensor, Weight, as_weight, fetch, numbers_of
from embviz_callback.encoding.weights.weights_file import Contents, file_facts, read_weights_file

__all__ = ["CheckpointError", "LoadedModel", "load_checkpoint"]

DEFAULT_ENCODER = "BAAI/bge-m3"
_DEFAULT_MAX_LENGTH = 256
# Under these names projects note what they were configured with, the likelier ones first.
_SPELLINGS = {
    "encoder": (
        "encoder",
        "encoder_name",
        "encoder_path",
        "model_name",
        "model_name_or_path",
        "base_model",
        "pretrained_model_name",
        "pretrained_model_name_or_path",
        "backbone",
        "backbone_name",
    ),
    "pooling": ("pooling", "pooling_mode", "pooling_strategy"),
    "max_length": ("max_length", "max_seq_length", "max_len"),
    "normalise": ("normalise", "normalize", "normalize_embeddings"),
    "layer_norm": ("layer_norm", "use_layer_norm"),
    "query_prompt": ("query_prompt", "query_prefix", "query_instruction"),
    "document_prompt": ("document_prompt", "document_prefix", "passage_prefix"),
    "revision": ("revision",),
    "encoder_sha256": ("encoder_sha256",),
}
_POOLING_WORDS = {"avg": "mean", "average": "mean", "mean_pooling": "mean", "cls_token": "cls", "cls_pooling": "cls"}
_INNER_CONFIGS = ("config", "model", "model_config", "hparams", "hyper_parameters", "args", "cfg")
# Where a dictionary of weights lies within what was saved.
_WEIGHT_FIELDS = ("state_dict", "model_state_dict", "model", "module", "weights")


@dataclass(frozen=True, eq=False)
class LoadedModel:
    """A model and where it came from.

    Attributes:
        model: In eval mode, without gradients, on the device that was asked for.
        kind: "Lightning checkpoint", "training checkpoint", "state dict", "head", "sentence-transformers"
            or "transformers".
        sha256: Of the file, or of names and contents of the files used of a directory.
        size_bytes: Of the same.
        encoder: Name or path of the encoder.
        epoch: As noted in the checkpoint, or None.
        loss: Likewise.
        config: Settings noted in the checkpoint under our names: `pooling`, `max_length`,
            `query_prompt` and so on, where it has them; plain JSON.
        stripped_prefix: What stood before the names of the weights.
        notes: What the reader should know, one sentence each.
    """

    model: BiEncoder
    kind: str
    sha256: str
    size_bytes: int
    encoder: str
    epoch: int | None
    loss: float | None
    config: Mapping[str, Any]
    stripped_prefix: str
    notes: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class _Saved:
    """What a training program put into a file."""

    kind: str
    state: dict[str, Weight]
    config: Mapping[str, Any]
    epoch: int | None
    loss: float | None
    notes: tuple[str, ...]


def load_checkpoint(
    path: str | Path,
    *,
    encoder: str | None = None,
    device: str | torch.device = "cpu",
    pooling: str | None = None,
    max_length: int | None = None,
) -> LoadedModel:
    """The model in a file or directory.

    There is no way to trust a file that asks for code to run: saving the weights again is
    simpler than judging who made it.

    Args:
        path: ``.ckpt``, ``.pt``, ``.safetensors`` or a model directory; known by content, not by name. A
            name on the hub ("intfloat/multilingual-e5-small") stands for the directory that is kept under it.
        encoder: Encoder of a file; by default the one that the file names, else BAAI/bge-m3.
            A directory has its own.
        device: Where the model goes.
        pooling: One of `POOLINGS`; by default what the checkpoint says, else mean.
        max_length: Tokens per text; by default what the checkpoint says, else 256.

    Returns:
        The model, ready to encode.

    Raises:
        CheckpointError: If anything is missing, damaged, of the wrong shape, or asks for code to run.
    """
    place = Path(path).expanduser()
    given = {"pooling": pooling, "max_length": max_length}
    chosen = {name: value for name, value in given.items() if value is not None}
    if is_hub_name(path):
        return _from_hub(str(path), device, pooling=pooling, max_length=max_length)
    if not place.exists():
        raise CheckpointError(explain_missing(path))
    if not place.is_dir() and not place.is_file():
        raise CheckpointError(f"{path} is neither a file nor a directory")
    read = _from_directory if place.is_dir() else _from_file
    # New layers are first filled at random, which must not be seen from outside.
    with torch.random.fork_rng(devices=[]):
        return read(place, encoder, device, chosen)


def _from_hub(name: str, device: str | torch.device, **chosen: Any) -> LoadedModel:
    try:
        folder = hub_directory(name)
    except HubError as error:
        raise CheckpointError(str(error)) from None
    loaded = load_checkpoint(folder, device=device, **chosen)
    # The folder of a fetched model is named after its commit.
    return replace(loaded, encoder=name, notes=(f"from the hub, commit {folder.name}", *loaded.notes))


def _from_directory(
    path: Path, encoder: str | None, device: str | torch.device, chosen: Mapping[str, Any]
) -> LoadedModel:
    found = read_directory(path)
    config = {**found.config, **chosen}
    notes = list(found.notes)
    if encoder is not None:
        notes.append(f"the encoder {encoder!r} is not used: a model directory has its own")
    model = _assemble(found.backbone, found.head, config, path, notes)
    return LoadedModel(
        model=_ready(model, device, path),
        kind=found.kind,
        sha256=found.sha256,
        size_bytes=found.size_bytes,
        encoder=str(path),
        epoch=None,
        loss=None,
        config=config,
        stripped_prefix="",
        notes=tuple(notes),
    )


def _from_file(path: Path, encoder: str | None, device: str | torch.device, chosen: Mapping[str, Any]) -> LoadedModel:
    saved = _saved(read_weights_file(path), path)
    parts = split(saved.state, path)
    config = {**saved.config, **chosen}
    notes = [*saved.notes, *([f"not used: {short(', '.join(parts.ignored))}"] if parts.ignored else [])]
    head = build_head(fetch(parts.head), config, path) if parts.head else None
    backbone = _backbone(path, parts, head, encoder, config, notes)
    sha256, size_bytes = file_facts(path)
    return LoadedModel(
        model=_ready(_assemble(backbone, head, config, path, notes), device, path),
        kind=saved.kind if parts.encoder or saved.kind != "state dict" else "head",
        sha256=sha256,
        size_bytes=size_bytes,
        encoder=backbone.name,
        epoch=saved.epoch,
        loss=saved.loss,
        config=config,
        stripped_prefix=parts.prefix,
        notes=tuple(notes),
    )


def _saved(contents: Contents, path: Path) -> _Saved:
    content = contents.value
    _refuse_objects(content, contents, path)
    if not isinstance(content, Mapping):
        raise CheckpointError(f"{path} holds {type(content).__name__}, not a dictionary of weights; save a state_dict")
    field = next((name for name in _WEIGHT_FIELDS if isinstance(content.get(name), Mapping | Inert)), None)
    state = content if field is None else content[field]
    _refuse_objects(state, contents, path)
    if not state or (
        field is None and not any(isinstance(value, StoredTensor | SafeTensor) for value in state.values())
    ):
        raise CheckpointError(
            f"{path} holds no weights; it has {short(', '.join(map(str, content)) or 'nothing')} "
            f"and should have {', '.join(_WEIGHT_FIELDS[:2])} or the weights themselves"
        )
    is_lightning = "pytorch-lightning_version" in content or "hyper_parameters" in content
    kind = "Lightning checkpoint" if is_lightning else "state dict" if field is None else "training checkpoint"
    noted = {} if field is None else content
    return _Saved(
        kind=kind,
        state={name: as_weight(name, value, contents.source) for name, value in state.items()},
        config=_config(noted.get("hyper_parameters"), noted.get("config"), noted),
        epoch=_number(noted.get("epoch"), int, contents),
        loss=_number(noted.get("loss"), float, contents),
        notes=_left_aside(contents),
    )


def _refuse_objects(value: Any, contents: Contents, path: Path) -> None:
    if isinstance(value, Inert):
        raise CheckpointError(asks_for_code(path, sorted({value.name, *contents.left_aside})))


def _left_aside(contents: Contents) -> tuple[str, ...]:
    if not contents.left_aside:
        return ()
    return (f"it also holds objects, which were left aside and not made: {short(', '.join(contents.left_aside))}",)


def _config(*sources: Any) -> dict[str, Any]:
    """Settings under our names, from the first source that has them."""
    found: dict[str, Any] = {}
    for source in (inner for outer in sources for inner in _with_inner(outer)):
        for name, spellings in _SPELLINGS.items():
            value = next((source[spelling] for spelling in spellings if _is_plain(source.get(spelling))), None)
            if value is not None:
                found.setdefault(name, value)
    return found


def _with_inner(config: Any) -> Iterator[Mapping[Any, Any]]:
    settings = settings_in(config)
    if settings is not None:
        yield settings
        inner = (settings_in(settings.get(name)) for name in _INNER_CONFIGS)
        yield from (found for found in inner if found is not None)


def _is_plain(value: object) -> bool:
    return isinstance(value, str | int | float | bool)


def _number(value: Any, kind: Any, contents: Contents) -> Any:
    """A number that was saved as such or as a tensor of one element; None for anything else."""
    if isinstance(value, StoredTensor) and value.n_bytes == value.dtype.itemsize:
        value = numbers_of(Weight("", value, contents.source)).item()
    return kind(value) if isinstance(value, int | float) and not isinstance(value, bool) and value == value else None


def _backbone(
    path: Path,
    parts: Parts,
    head: ProjectionHead | None,
    encoder: str | None,
    config: Mapping[str, Any],
    notes: list[str],
) -> Backbone:
    name, where = _encoder_name(path, encoder, config)
    # A revision belongs to the encoder it was noted with.
    revision = None if encoder is not None else config.get("revision")
    revision = revision if isinstance(revision, str) else None
    sketch = outline(name, revision=revision, where=where)
    if head is not None and head.linear.in_features != sketch.dim:
        # Before any weights are fetched: those of the wrong encoder would be gigabytes for nothing.
        raise CheckpointError(
            f"{path}: its head takes {head.linear.in_features} features, encoder {name!r} gives {sketch.dim}; "
            "name the encoder it was trained on with --encoder"
        )
    if parts.encoder:
        backbone, unused = fill(sketch, parts.encoder, path)
        if unused:
            raise CheckpointError(
                f"{path} has {len(unused)} encoder weights that {name!r} does not, the first is {short(unused[0])}; "
                "name the encoder they belong to with --encoder"
            )
        return backbone
    backbone = pretrained(name, revision=revision, where=where)
    expected = config.get("encoder_sha256")
    if isinstance(expected, str) and state_sha256(backbone.encoder) != expected:
        notes.append(
            f"the weights of encoder {name!r} are not those that the head was trained on "
            f"(their hash does not begin with {expected[:12]}): these figures may be those of no real model"
        )
    return backbone


def _encoder_name(path: Path, given: str | None, config: Mapping[str, Any]) -> tuple[str, str]:
    """The encoder's name, and the beginning of a sentence that says where it comes from."""
    if given is not None:
        return given, f"{path} is to be read with"
    noted = config.get("encoder")
    if isinstance(noted, str) and noted:
        return noted, f"{path} names"
    return DEFAULT_ENCODER, f"{path} names no encoder, so that it is read with the default"


def _assemble(
    backbone: Backbone, head: ProjectionHead | None, config: Mapping[str, Any], path: Path, notes: list[str]
) -> BiEncoder:
    pooling = config.get("pooling", "mean")
    pooling = _POOLING_WORDS.get(str(pooling).lower(), str(pooling).lower())
    if pooling not in POOLINGS:
        raise CheckpointError(
            f"{path} pools by {short(pooling)!r}, {' and '.join(POOLINGS)} can be read; choose one with --pooling"
        )
    return BiEncoder(
        backbone,
        head,
        pooling=pooling,
        max_length=_max_length(backbone, config, path, notes),
        normalise=config.get("normalise") is not False,
    )


def _max_length(backbone: Backbone, config: Mapping[str, Any], path: Path, notes: list[str]) -> int:
    wanted = config.get("max_length")
    if wanted is None:
        return min(_DEFAULT_MAX_LENGTH, backbone.max_length or _DEFAULT_MAX_LENGTH)
    if not isinstance(wanted, int) or isinstance(wanted, bool) or wanted < 1:
        raise CheckpointError(f"{path} reads {short(wanted)!r} tokens per text; give a whole number with --max-length")
    if backbone.max_length is not None and wanted > backbone.max_length:
        notes.append(f"{wanted} tokens per text are asked for, encoder {backbone.name!r} reads {backbone.max_length}")
        return backbone.max_length
    return wanted


def _ready(model: BiEncoder, device: str | torch.device, path: Path) -> BiEncoder:
    """On its device, in eval mode, and tried on a text: settings may fit the weights and still make no sense."""
    ready = model.to(device).eval().requires_grad_(False)
    try:
        with torch.no_grad():
            ready.encode(["a"])
    except (RuntimeError, ValueError, TypeError, IndexError, KeyError, AttributeError, AssertionError) as error:
        if is_out_of_memory(error):
            raise
        reason = short(str(error).partition("\n")[0] or type(error).__name__)
        raise CheckpointError(f"{path} can be built, but not encode a text ({reason}); is it damaged?") from None
    return ready
