"""The transformer of a model directory: weights compared with its configuration, a tokenizer, an adapter merged."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from embviz_callback.encoding.checkpoints.hub import hub_directory, is_hub_name
from embviz_callback.encoding.directories.diagnoses import refuse_quantised, what_instead
from embviz_callback.encoding.directories.settings_files import check_sizes, read_settings, settings_in_folder
from embviz_callback.encoding.models.biencoder import Backbone
from embviz_callback.encoding.models.lora import merge, scale_in, split_lora
from embviz_callback.encoding.models.rebuilding import fill, outline
from embviz_callback.encoding.serving import Serving
from embviz_callback.encoding.weights.complaints import CheckpointError, short
from embviz_callback.encoding.weights.fit import ends_of, plain_name
from embviz_callback.encoding.weights.stored import Weight, as_weight, fetch
from embviz_callback.encoding.weights.weights_file import file_facts, read_weights_file

_ADAPTER_SETTINGS = "adapter_config.json"
_ADAPTER_WEIGHTS = ("adapter_model.safetensors", "adapter_model.bin")
WEIGHTS = ("model.safetensors", "pytorch_model.bin")
_TOKENIZER_ENDS = (".model", "tokenizer.json", "vocab.txt", "vocab.json", "bpe.codes", "tokenizer.jsonl", ".tiktoken")
_BYTE_TOKENIZERS = ("ByT5Tokenizer", "CanineTokenizer", "PerceiverTokenizer")
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass
class Folder:
    """Collects which files a model was read from."""

    root: Path
    used: set[Path] = field(default_factory=set)
    read: dict[Path, tuple[Backbone, tuple[str, ...]]] = field(default_factory=dict)

    def json(self, path: Path) -> dict[str, Any]:
        """An object of settings."""
        self.used.add(path)
        content = read_settings(path)
        if not isinstance(content, dict):
            raise CheckpointError(f"{path} holds {type(content).__name__}, not an object of settings")
        return content

    def weights(self, path: Path) -> dict[str, Weight]:
        """What a file of weights holds, which should hold nothing else."""
        self.used.add(path)
        contents = read_weights_file(path)
        if not isinstance(contents.value, Mapping):
            raise CheckpointError(f"{path} holds {type(contents.value).__name__}, not a dictionary of weights")
        return {name: as_weight(name, value, contents.source) for name, value in contents.value.items()}

    def facts(self) -> tuple[str, int]:
        """SHA-256 and size in bytes of all files together."""
        digest, total = hashlib.sha256(), 0
        for path in sorted(self.used):
            sha256, size = file_facts(path)
            digest.update(f"{path.relative_to(self.root).as_posix()} {sha256}\n".encode())
            total += size
        return digest.hexdigest(), total


def read_transformer(path: Path, folder: Folder, serving: Serving) -> tuple[Backbone, tuple[str, ...]]:
    """Encoder and tokenizer of a directory of transformers, with an adapter merged if there is one.

    Args:
        path: Holds ``config.json`` and weights, or an adapter's.
        folder: Keeps what was read.
        serving: What the user says.

    Returns:
        The encoder, and what the reader should know.
    """
    if path not in folder.read:
        folder.read[path] = _adapted(path, folder, serving) if is_adapter(path) else _whole(path, folder, serving)
    return folder.read[path]


def on_base(path: Path, folder: Folder, serving: Serving) -> tuple[dict[str, Any], Path, Serving]:
    """What an adapter says, where the model lies that it adapts, and how that is to be read.

    Args:
        path: Holds ``adapter_config.json``.
        folder: Keeps what was read.
        serving: What the user says.

    Returns:
        The adapter's settings, a folder, and what is said of the model in it.
    """
    facts = folder.json(path / _ADAPTER_SETTINGS)
    place = _base_folder(facts, path, serving.encoder)
    tokenizer = str(path) if serving.tokenizer is None and _has_tokenizer(path, folder) else serving.tokenizer
    return facts, place, replace(serving, encoder=None, tokenizer=tokenizer)


def not_used(names: Sequence[str]) -> tuple[str, ...]:
    """The note on weights that nothing has a use for, where there are any."""
    return (f"not used: {short(', '.join(names))}",) if names else ()


def _adapted(path: Path, folder: Folder, serving: Serving) -> tuple[Backbone, tuple[str, ...]]:
    facts, place, of_base = on_base(path, folder, serving)
    backbone, notes = _whole(place, Folder(place), of_base)
    more = adapt(backbone, facts, path, folder)
    folder.used |= settings_in_folder(path)
    return backbone, (f"a LoRA adapter, merged into {place}", *notes, *more)


def _whole(path: Path, folder: Folder, serving: Serving) -> tuple[Backbone, tuple[str, ...]]:
    folder.used |= settings_in_folder(path)
    config = folder.json(path / "config.json")
    refuse_quantised(config, path)
    weights = _encoder_weights(path, folder)
    check_sizes(config, weights.values(), path)
    if serving.tokenizer is None and not _has_tokenizer(path, folder):
        raise CheckpointError(
            f"{path} has no tokenizer; save it there with the model, or name it with --tokenizer NAME|PATH"
        )
    dtype = dtype_named(serving.dtype, weights.values(), config.get("dtype", config.get("torch_dtype")))
    sketch = outline(str(path), where=f"{path} is an", tokenizer=serving.tokenizer, dtype=dtype)
    backbone, unused = fill(sketch, weights, path)
    return backbone, (*_own_code(config), *not_used(unused))


def _own_code(config: Mapping[str, Any]) -> tuple[str, ...]:
    """The note on a model that another class should make; the weights may fit this one all the same."""
    given = config.get("auto_map")
    named = given.get("AutoModel") if isinstance(given, Mapping) else None
    if not named:
        return ()
    return (f"its code, {short(str(named))}, is not run: the class of transformers is, which may give other vectors",)


def _has_tokenizer(path: Path, folder: Folder) -> bool:
    """Whether a directory brings a tokenizer of its own; without one transformers makes an empty one."""
    if any(found.name.endswith(_TOKENIZER_ENDS) and found.is_file() for found in path.iterdir()):
        return True
    place = path / "tokenizer_config.json"
    return place.is_file() and folder.json(place).get("tokenizer_class") in _BYTE_TOKENIZERS


def dtype_named(name: str, weights: Iterable[Weight], noted: object = None) -> torch.dtype:
    """The type that an encoder's weights get.

    Args:
        name: "float32", "bfloat16", "float16", or "auto".
        weights: Of the encoder; for "auto" what most of them have.
        noted: What a configuration says of them, for "auto".

    Returns:
        The type.
    """
    if name != "auto":
        return DTYPES[name]
    kinds = [weight.dtype for weight in weights if weight.dtype in DTYPES.values()]
    known = DTYPES.get(str(noted).removeprefix("torch."))
    return known or (max(set(kinds), key=kinds.count) if kinds else torch.float32)


def _encoder_weights(path: Path, folder: Folder) -> dict[str, Weight]:
    for name in WEIGHTS:
        if (path / name).is_file():
            return folder.weights(path / name)
        index = path / f"{name}.index.json"
        if index.is_file():
            return _sharded(index, folder)
    instead = what_instead(path)
    if not instead.startswith("there is no"):
        raise CheckpointError(f"{path} is a directory, but no model: {instead}")
    raise CheckpointError(f"{path} has a config.json but no weights; it needs {' or '.join(WEIGHTS)}")


def _sharded(index: Path, folder: Folder) -> dict[str, Weight]:
    table = folder.json(index)
    places = table.get("weight_map")
    if not isinstance(places, dict) or not all(isinstance(name, str) for name in places.values()):
        raise CheckpointError(f"{index} has no weight_map from weights to files; copy or download the model again")
    state: dict[str, Weight] = {}
    for name in sorted(set(places.values())):
        # A name from a file must not lead out of its directory.
        if Path(name).name != name:
            raise CheckpointError(f"{index} names a shard outside of its directory, {short(name)}; do not trust it")
        state |= folder.weights(index.parent / name)
    missing = sorted(set(places) - set(state))
    if missing:
        raise CheckpointError(
            f"{index} lists {missing[0]} and {len(missing) - 1} more weights that are in none of its shards; "
            "copy or download the model again"
        )
    return state


def is_adapter(folder: Path) -> bool:
    """Whether a folder holds an adapter and not the model that it adapts."""
    whole = ("model.safetensors", "pytorch_model.bin", "model.safetensors.index.json", "pytorch_model.bin.index.json")
    return (folder / _ADAPTER_SETTINGS).is_file() and not any((folder / name).is_file() for name in whole)


def _base_folder(facts: Mapping[str, Any], folder: Path, encoder: str | None) -> Path:
    """Where the model lies that an adapter was trained on.

    Args:
        facts: The content of its ``adapter_config.json``.
        folder: Of the adapter.
        encoder: Another than it names, or None.

    Returns:
        A folder, that of the hub's cache for a name on the hub.

    Raises:
        CheckpointError: If there is none.
    """
    name = encoder or facts.get("base_model_name_or_path")
    if not isinstance(name, str) or not name:
        raise CheckpointError(f"{folder} does not name the model it adapts; name it with --encoder")
    place = Path(name).expanduser()
    if place.is_dir():
        if is_adapter(place):
            raise CheckpointError(f"{folder} adapts {short(name)}, which is an adapter itself; merge that one first")
        return place
    if not is_hub_name(name):
        raise CheckpointError(
            f"{folder} adapts {short(name)}, which does not exist here; name the model with --encoder"
        )
    try:
        return hub_directory(name)
    except CheckpointError as error:
        raise CheckpointError(f"{folder} adapts {short(name)}: {error}; name the model with --encoder") from None


def adapt(backbone: Backbone, facts: Mapping[str, Any], path: Path, folder: Folder) -> tuple[str, ...]:
    """Adds the adapter in a folder to a model in memory.

    Args:
        backbone: Is changed.
        facts: The content of the adapter's ``adapter_config.json``.
        path: Of the adapter.
        folder: Keeps what was read.

    Returns:
        The note on weights of the adapter that the encoder has no use for, where there are any.

    Raises:
        CheckpointError: If the adapter is of another kind, or of another model.
    """
    place = next((path / name for name in _ADAPTER_WEIGHTS if (path / name).is_file()), None)
    if place is None:
        raise CheckpointError(
            f"{path} has an {_ADAPTER_SETTINGS} but no weights; it needs {' or '.join(_ADAPTER_WEIGHTS)}"
        )
    named = {plain_name(name): weight for name, weight in folder.weights(place).items()}
    whole, changes = split_lora(named, path)
    merge(backbone.encoder, changes, scale_in(facts, path), path)
    return not_used(_replaced(backbone, whole, path))


def _replaced(backbone: Backbone, whole: Mapping[str, Weight], folder: Path) -> tuple[str, ...]:
    """Puts weights that were trained whole (biases, embeddings) where they belong."""
    own = backbone.encoder.state_dict()
    unused = []
    for name, weight in whole.items():
        place = next((end for end in ends_of(name) if end in own), None)
        if place is None:
            unused.append(name)
            continue
        tensor = fetch({name: weight})[name]
        if tensor.shape != own[place].shape:
            raise CheckpointError(
                f"{folder} changes {short(place)} to {tuple(tensor.shape)}, its encoder has another shape"
            )
        with torch.no_grad():
            own[place].copy_(tensor)
    return tuple(sorted(unused))
