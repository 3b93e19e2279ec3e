"""What a training program put into a file: weights, and what it noted beside them."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from embviz_callback.encoding.directories.diagnoses import refuse_shards
from embviz_callback.encoding.directories.model_directory import SIMILARITY_WORDS
from embviz_callback.encoding.weights.complaints import CheckpointError, asks_for_code, short
from embviz_callback.encoding.weights.fit import plain_name
from embviz_callback.encoding.weights.pickle_values import Inert, StoredTensor, settings_in
from embviz_callback.encoding.weights.stored import Weight, as_weight, numbers_of
from embviz_callback.encoding.weights.weights_file import Contents, read_weights_file

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
    "pooling": (
        *("pooling", "pooling_mode", "pooling_strategy", "pooling_method", "pooling_type", "pool_type"),
        "sentence_pooling_method",
    ),
    # FlagEmbedding and tevatron note a length for either side; that of documents goes for both where it is alone.
    "max_length": (
        *("passage_max_len", "passage_max_length", "p_max_len"),
        *("max_length", "max_seq_length", "max_len", "max_seq_len"),
    ),
    "query_max_length": ("query_max_len", "query_max_length", "q_max_len"),
    "normalise": ("normalise", "normalize", "normalize_embeddings", "normalized", "normlized"),
    "similarity": ("similarity", "similarity_fn_name", "similarity_fn", "sim_fn"),
    "truncate_dim": ("truncate_dim",),
    "layer_norm": ("layer_norm", "use_layer_norm"),
    "query_prompt": ("query_prompt", "query_prefix", "query_instruction", "query_instruction_for_retrieval"),
    "document_prompt": ("document_prompt", "document_prefix", "passage_prefix", "passage_instruction_for_retrieval"),
    "revision": ("revision",),
    "encoder_sha256": ("encoder_sha256",),
    "lora_alpha": ("lora_alpha",),
    "use_rslora": ("use_rslora",),
    "chosen": ("chosen",),
}
_INNER_CONFIGS = (
    "config",
    "model",
    "model_config",
    "hparams",
    "hyper_parameters",
    "args",
    "cfg",
    "lora_config",
    "lora",
)
# Where a dictionary of weights lies within what was saved.
_WEIGHT_FIELDS = ("state_dict", "model_state_dict", "model", "module", "weights")
_NEVER_WEIGHTS = ("optimizer", "optimizer_states", "optimizer_state_dict", "lr_schedulers", "scheduler", "scaler")
_MOST_LEVELS = 4
_SHARD = re.compile(r"[\w.]+-(\d{5})-of-(\d{5})\.\w+|[\w.]+\.index\.json")


@dataclass(frozen=True, eq=False)
class TrainingFile:
    """What was saved.

    Attributes:
        kind: "Lightning checkpoint", "training checkpoint" or "state dict".
        weights: By plain name.
        config: Noted settings, under our names.
        epoch: As noted, or None.
        loss: Likewise.
        notes: What was left aside.
    """

    kind: str
    weights: dict[str, Weight]
    config: Mapping[str, Any]
    epoch: int | None
    loss: float | None
    notes: tuple[str, ...]


def read_training_file(path: Path, *, prefix: str | None = None) -> TrainingFile:
    """The weights in a file and what is noted beside them.

    Args:
        path: The file.
        prefix: Where weights lie that the user wants, which may be beside the usual place.

    Returns:
        What was saved, of which no tensor has been read.

    Raises:
        CheckpointError: If it holds no weights, or the weights are objects that only their own program can make.
    """
    if shard := _SHARD.fullmatch(path.name):
        what = f"is file {int(shard[1])} of {int(shard[2])}" if shard[1] else "lists the files"
        raise CheckpointError(f"{path} {what} of a model; give the folder in which they lie with its config.json")
    contents = read_weights_file(path)
    content = contents.value
    _refuse_objects(content, contents, path)
    if not isinstance(content, Mapping):
        raise CheckpointError(f"{path} holds {type(content).__name__}, not a dictionary of weights; save a state_dict")
    field = next((name for name in _WEIGHT_FIELDS if isinstance(content.get(name), Mapping | Inert)), None)
    state = content if field is None else content[field]
    _refuse_objects(state, contents, path)
    if prefix and field is not None and not any(name.startswith(prefix) for name, _ in _entries(state)):
        state = {name: part for name, part in content.items() if name != field}
    entries = dict(_entries(state))
    refuse_shards(entries, content, path)
    weights = {
        plain_name(name): Weight(name, part, contents.source) for name, part in entries.items() if _is_dense(part)
    }
    if not weights:
        _refuse_no_weights(content, entries, contents, is_nested=field is not None)
    is_lightning = "pytorch-lightning_version" in content or "hyper_parameters" in content
    noted = {} if field is None and not is_lightning else content
    return TrainingFile(
        kind="Lightning checkpoint" if is_lightning else "state dict" if field is None else "training checkpoint",
        weights=weights,
        config=_config(noted.get("hyper_parameters"), noted.get("config"), noted),
        epoch=_number(noted.get("epoch"), int, contents),
        loss=_number(noted.get("loss"), float, contents),
        notes=(*_left_aside(contents.left_aside), *_no_weights(entries), *_beside(content, field, prefix)),
    )


def _beside(content: Mapping[Any, Any], field: str | None, prefix: str | None) -> tuple[str, ...]:
    """The note on further weights in a file, such as averaged ones, of which nobody has said which are meant."""
    others = () if field is None or prefix else (name for name in content if name not in (field, *_NEVER_WEIGHTS))
    found = [str(name) for name in others if any(_is_dense(part) and part.shape for _, part in _entries(content[name]))]
    if not found:
        return ()
    return (f"read from {field}; there are more weights in {short(', '.join(found))} (--prefix {short(found[0])})",)


def _entries(state: Any) -> Iterator[tuple[str, Any]]:
    """Everything in dictionaries within dictionaries, under names with dots."""
    pending: list[tuple[str, Any, int]] = [("", state, 0)]
    seen: set[int] = set()  # a hostile file may hold one dictionary a thousand times in the next
    while pending:
        name, value, level = pending.pop()
        if not isinstance(value, Mapping):
            yield name, value
        elif level < _MOST_LEVELS and id(value) not in seen:
            seen.add(id(value))
            parts = [(f"{name}.{key}" if name else str(key), part, level + 1) for key, part in value.items()]
            pending += [part for part in reversed(parts) if level or part[0] not in _NEVER_WEIGHTS]


def _is_dense(value: Any) -> bool:
    return isinstance(value, StoredTensor) and not value.dtype.is_complex


def _refuse_no_weights(
    content: Mapping[Any, Any], entries: Mapping[str, Any], contents: Contents, *, is_nested: bool
) -> None:
    if is_nested or any(isinstance(part, Inert | StoredTensor) for part in entries.values()):
        for name, value in entries.items():
            as_weight(name, value, contents.source)
    raise CheckpointError(
        f"{contents.source.path} holds no weights; it has {short(', '.join(map(str, content)) or 'nothing')} "
        f"and should have {', '.join(_WEIGHT_FIELDS[:2])} or the weights themselves"
    )


def _no_weights(entries: Mapping[str, Any]) -> tuple[str, ...]:
    """Of a dictionary of weights; beside them anything may stand."""
    odd = [name for name, value in entries.items() if not _is_dense(value) and not name.startswith(_NEVER_WEIGHTS)]
    plain = [name for name in odd if "." in name or isinstance(entries[name], Inert)]
    return (f"left aside, since they are no weights: {short(', '.join(plain))}",) if plain else ()


def _refuse_objects(value: Any, contents: Contents, path: Path) -> None:
    if isinstance(value, Inert):
        raise CheckpointError(asks_for_code(path, sorted({value.name, *contents.left_aside})))


def _left_aside(names: Sequence[str]) -> tuple[str, ...]:
    return (f"it also holds objects, which were left aside and not made: {short(', '.join(names))}",) if names else ()


def _config(*sources: Any) -> dict[str, Any]:
    """Settings under our names, from the first source that has them."""
    found: dict[str, Any] = {}
    for source in (inner for outer in sources for inner in _with_inner(outer)):
        for name, spellings in _SPELLINGS.items():
            given = (source.get(spelling) for spelling in spellings)
            value = next((one for one in given if isinstance(one, str | int | float | bool)), None)
            if value is not None:
                found.setdefault(name, value)
    dim = found.pop("truncate_dim", None)
    found |= {"truncate_dim": dim} if type(dim) is int and dim > 0 else {}
    named = SIMILARITY_WORDS.get(str(found.pop("similarity", None)).lower())
    return found | ({"similarity": named} if named else {})


def _with_inner(config: Any, level: int = 0) -> Iterator[Mapping[Any, Any]]:
    settings = settings_in(config)
    if settings is not None and level < _MOST_LEVELS:
        yield settings
        for name in _INNER_CONFIGS:
            yield from _with_inner(settings.get(name), level + 1)


def _number(value: Any, kind: Any, contents: Contents) -> Any:
    """A number that was saved as such or as a tensor of one element; None for anything else."""
    if isinstance(value, StoredTensor) and value.n_bytes == value.dtype.itemsize:
        value = numbers_of(Weight("", value, contents.source)).item()
    return kind(value) if isinstance(value, int | float) and not isinstance(value, bool) and value == value else None
