"""A model from a checkpoint of any usual form, without running anything that is in it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from embviz_callback.encoding.checkpoints.file_models import read_file_model
from embviz_callback.encoding.checkpoints.hub import explain_missing, hub_directory, is_hub_name
from embviz_callback.encoding.devices import is_out_of_memory
from embviz_callback.encoding.directories.model_directory import Origin, ReadModel, read_directory
from embviz_callback.encoding.directories.modules import Tower
from embviz_callback.encoding.models.biencoder import POOLINGS, Backbone, BiEncoder, n_prompt_tokens
from embviz_callback.encoding.models.self_pooling import SELF_POOLING
from embviz_callback.encoding.serving import Serving
from embviz_callback.encoding.weights.complaints import CheckpointError, short
from embviz_callback.measure import COSINE

__all__ = ["CheckpointError", "LoadedModel", "load_checkpoint"]

_DEFAULT_MAX_LENGTH = 256
# Of what the user says, what turns no text into another vector.
_NOT_SHOWN = ("prefix", "head_activation", "tokenizer", "dtype")
_POOLING_WORDS = {
    **dict.fromkeys(("avg", "average", "mean_pooling", "mean_tokens"), "mean"),
    **dict.fromkeys(("cls_token", "cls_pooling", "first", "first_token"), "cls"),
    **dict.fromkeys(("last", "last_token", "last_token_pool", "eos"), "lasttoken"),
    "pooler_output": "pooler",
    "max_pooling": "max",
}


@dataclass(frozen=True, eq=False)
class LoadedModel:
    """A model and where it came from.

    Attributes:
        model: Encodes queries; in eval mode, without gradients, on the device that was asked for.
        document_model: The same, but for a model of two towers.
        query_prompt: Put before queries, the user's or else the checkpoint's.
        document_prompt: Put before documents, likewise.
        similarity: "cosine", "dot", "euclidean" or "manhattan", by which it declares that its vectors are compared.
        origin: Where it was read from.
        config: Settings noted in the checkpoint under our names: `pooling`, `max_length`,
            `query_prompt` and so on, where it has them; plain JSON.
        notes: What the reader should know, one sentence each.
    """

    model: BiEncoder
    document_model: BiEncoder
    query_prompt: str
    document_prompt: str
    similarity: str
    origin: Origin
    config: Mapping[str, Any]
    notes: tuple[str, ...]

    def encode_query(self, texts: Sequence[str]) -> Tensor:
        """Vectors of queries as they are served, ``(n, dim)``; the caller chooses gradients."""
        return self.model.encode([self.query_prompt + text for text in texts])

    def encode_document(self, texts: Sequence[str]) -> Tensor:
        """Vectors of documents, likewise."""
        return self.document_model.encode([self.document_prompt + text for text in texts])

    def truncated_share(self, queries: Sequence[str], documents: Sequence[str]) -> float:
        """The share of texts that are longer than what is read of them.

        Args:
            queries: Without prompts.
            documents: Likewise.

        Returns:
            In [0, 1]; 0 without texts.
        """
        sides = ((self.model, self.query_prompt, queries), (self.document_model, self.document_prompt, documents))
        counts = (model.count_truncated([prompt + text for text in texts]) for model, prompt, texts in sides)
        return sum(counts) / max(1, len(queries) + len(documents))


def load_checkpoint(path: str | Path, **options: Any) -> LoadedModel:
    """The model in a file or directory.

    There is no way to trust a file that asks for code to run: saving the weights again is
    simpler than judging who made it.

    Args:
        path: ``.ckpt``, ``.pt``, ``.safetensors`` or a model directory; known by content, not by name. A
            name on the hub ("intfloat/multilingual-e5-small") stands for the directory that is kept under it.
        options: The fields of `Serving`, of which `document_encoder` and `cache` are somebody else's business.

    Returns:
        The model, ready to encode.

    Raises:
        CheckpointError: If anything is missing, damaged, of the wrong shape, or asks for code to run.
    """
    place, serving = Path(path).expanduser(), Serving(**options)
    if is_hub_name(path):
        folder = hub_directory(str(path))
        loaded = load_checkpoint(folder, **options)
        # The folder of a fetched model is named after its commit.
        origin = replace(loaded.origin, encoder=str(path))
        return replace(loaded, origin=origin, notes=(f"from the hub, commit {folder.name}", *loaded.notes))
    if not place.exists():
        raise CheckpointError(explain_missing(path))
    if not place.is_dir() and not place.is_file():
        raise CheckpointError(f"{path} is neither a file nor a directory")
    # New layers are first filled at random, which must not be seen from outside.
    with torch.random.fork_rng(devices=[]):
        found = _from_directory(place, serving) if place.is_dir() else read_file_model(place, serving)
        return _loaded(found, serving, place)


def _from_directory(path: Path, serving: Serving) -> ReadModel:
    found = read_directory(path, serving)
    notes = list(found.notes)
    if serving.encoder is not None and not any(note.startswith("a LoRA adapter") for note in notes):
        notes.append(f"the encoder {serving.encoder!r} is not used: a model directory has its own")
    if found.documents is not found.queries:
        notes.append("two towers: queries and documents are encoded by routes of their own")
    return replace(found, notes=tuple(notes))


def _loaded(found: ReadModel, serving: Serving, path: Path) -> LoadedModel:
    """The towers of queries and documents, one for both where they do not differ."""
    towers, notes = (found.queries, found.documents), list(found.notes)
    configs = [{**found.config, **tower.settings, **serving.said} for tower in towers]
    prompts = [_prompt(config, name) for config, name in zip(configs, ("query_prompt", "document_prompt"), strict=True)]
    is_as_long = configs[0].get("max_length") == configs[1].get("max_length")
    models: list[BiEncoder] = []
    for tower, config, prompt in zip(towers, configs, prompts, strict=True):
        skip = 0 if config.get("include_prompt", True) else n_prompt_tokens(tower.backbone, prompt)
        is_same = models and tower.is_made_of(towers[0]) and skip == models[0].skip and is_as_long
        models.append(models[0] if is_same else _assemble(tower, config, path, notes, skip=skip, device=serving.device))
    if models[0].max_length != models[1].max_length:
        lengths = f"queries up to {models[0].max_length} tokens, documents up to {models[1].max_length}"
        notes.append(f"read as its settings say, {lengths} (--max-length)")
    return LoadedModel(
        model=models[0],
        document_model=models[1],
        query_prompt=prompts[0],
        document_prompt=prompts[1],
        similarity=found.config.get("similarity", COSINE),
        origin=found.origin,
        config={name: value for name, value in configs[0].items() if name not in _NOT_SHOWN},
        notes=tuple(dict.fromkeys(notes)),
    )


def _prompt(config: Mapping[str, Any], name: str) -> str:
    found = config.get(name)
    return found if isinstance(found, str) else ""


def _assemble(
    tower: Tower, config: Mapping[str, Any], path: Path, notes: list[str], *, skip: int, device: str
) -> BiEncoder:
    backbone = tower.backbone
    pooling = str(config.get("pooling", "mean")).lower()
    pooling = _POOLING_WORDS.get(pooling, pooling)
    if not set(pooling.split("+")) <= set(POOLINGS):
        raise CheckpointError(
            f"{path} pools by {short(pooling)!r}, {' and '.join(POOLINGS)} can be read; choose one with --pooling"
        )
    if pooling == "pooler" and getattr(backbone.encoder, "pooler", backbone) is None:
        raise CheckpointError(f"{path} has no weights of a pooler; choose another pooling with --pooling")
    assumed = _assumed(backbone, config)
    if assumed:
        notes.append(f"not written in it and assumed: {', '.join(assumed)}")
    max_length = _max_length(backbone, config, path, notes)
    try:
        made = BiEncoder(
            backbone,
            tower.head,
            pooling=pooling,
            max_length=max_length,
            # Vectors that nothing scales are served as they are where their length counts.
            normalise=config.get("normalise", config.get("similarity", COSINE) == COSINE) is not False,
            skip=skip,
            dim=config.get("truncate_dim"),
        )
    except ValueError as error:
        raise CheckpointError(f"{path}: {error}; copy or download it again") from None
    return _ready(made, device, path)


def _assumed(backbone: Backbone, config: Mapping[str, Any]) -> list[str]:
    """What a checkpoint leaves open and vectors depend on, with the option that says it."""
    if isinstance(backbone.encoder, SELF_POOLING):
        return []
    found = []
    if "pooling" not in config:
        found.append("the mean of all tokens (--pooling)")
    if "max_length" not in config and (backbone.max_length or _DEFAULT_MAX_LENGTH + 1) > _DEFAULT_MAX_LENGTH:
        found.append(f"{_DEFAULT_MAX_LENGTH} tokens per text (--max-length)")
    return found


def _max_length(backbone: Backbone, config: Mapping[str, Any], path: Path, notes: list[str]) -> int:
    wanted = config.get("max_length")
    if wanted is None:
        return _DEFAULT_MAX_LENGTH
    if not isinstance(wanted, int) or isinstance(wanted, bool) or wanted < 1:
        raise CheckpointError(f"{path} reads {short(wanted)!r} tokens per text; give a whole number with --max-length")
    if backbone.max_length is not None and wanted > backbone.max_length:
        notes.append(f"{wanted} tokens per text are asked for, encoder {backbone.name!r} reads {backbone.max_length}")
    return wanted


def _ready(model: BiEncoder, device: str, path: Path) -> BiEncoder:
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
