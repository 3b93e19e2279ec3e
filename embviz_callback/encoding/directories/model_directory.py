"""Model directories of sentence-transformers and transformers."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

from torch import Tensor, nn

from embviz_callback.encoding.directories.adapters import ADAPTER_SETTINGS, adapt, base_folder, is_adapter
from embviz_callback.encoding.directories.diagnoses import refuse_quantised, what_instead
from embviz_callback.encoding.directories.settings_files import check_sizes, read_settings, settings_in_folder
from embviz_callback.encoding.models.biencoder import POOLINGS, Backbone, ProjectionHead
from embviz_callback.encoding.models.heads import ACTIVATIONS, Stack, Unit
from embviz_callback.encoding.models.rebuilding import fill, outline
from embviz_callback.encoding.models.static import StaticTable, StaticTokenizer
from embviz_callback.encoding.weights.complaints import CheckpointError, short
from embviz_callback.encoding.weights.stored import Weight, fetch
from embviz_callback.encoding.weights.weights_file import file_facts, weights_in

_WEIGHTS = ("model.safetensors", "pytorch_model.bin")
POOLING_FLAGS = {
    "mean": "pooling_mode_mean_tokens",
    "cls": "pooling_mode_cls_token",
    "max": "pooling_mode_max_tokens",
    "mean_sqrt_len_tokens": "pooling_mode_mean_sqrt_len_tokens",
    "weightedmean": "pooling_mode_weightedmean_tokens",
    "lasttoken": "pooling_mode_lasttoken",
}
# sentence-transformers looks for the prompt of a document under these names, in this order.
_DOCUMENT_PROMPTS = ("document", "passage", "corpus")


@dataclass(frozen=True, eq=False)
class ModelDirectory:
    """What a directory says about its model.

    Attributes:
        kind: "sentence-transformers" or "transformers".
        backbone: Encoder with its weights.
        head: What comes after pooling, or None.
        config: `pooling`, `max_length`, `normalise`, and `query_prompt` and `document_prompt` where it has some.
        sha256: Over names and contents of all files that were used.
        size_bytes: Of those files.
        notes: What the reader should know.
    """

    kind: str
    backbone: Backbone
    head: ProjectionHead | None
    config: Mapping[str, Any]
    sha256: str
    size_bytes: int
    notes: tuple[str, ...]


def read_directory(path: Path, *, base: str | None = None) -> ModelDirectory:
    """The model in a directory, weights checked like those of any file.

    Args:
        path: Holds ``modules.json`` (sentence-transformers), ``config.json`` (transformers) or
            ``adapter_config.json`` (peft).
        base: Of an adapter, the model that it adapts; None for what it names.

    Returns:
        The model's parts.

    Raises:
        CheckpointError: If it holds neither; the text says what it holds.
    """
    if (path / "modules.json").is_file():
        return _sentence_transformers(path, base)
    if is_adapter(path):
        return _adapter(path, base)
    if (path / "config.json").is_file():
        files = _Files(path)
        backbone, notes = _backbone(path, files)
        config: dict[str, Any] = {"pooling": "mean"}
        return ModelDirectory("transformers", backbone, None, config, *files.facts(), notes)
    raise CheckpointError(f"{path} is a directory, but no model: {what_instead(path)}")


def _adapter(path: Path, base: str | None) -> ModelDirectory:
    files = _Files(path)
    facts = files.json(path / ADAPTER_SETTINGS)
    place = base_folder(facts, path, base)
    found = read_directory(place)
    unused = adapt(found.backbone, facts, path, files.weights)
    sha256, size = files.facts()
    notes = [f"a LoRA adapter, merged into {place}", *found.notes]
    notes += [f"not used: {short(', '.join(unused))}"] if unused else []
    together = hashlib.sha256(f"{sha256} {found.sha256}".encode()).hexdigest()
    return replace(found, sha256=together, size_bytes=size + found.size_bytes, notes=tuple(notes))


def read_encoder(path: Path) -> Backbone:
    """The encoder alone of a directory, for a head that is kept elsewhere.

    Args:
        path: As for `read_directory`.

    Returns:
        Encoder and tokenizer.
    """
    return read_directory(path).backbone


@dataclass
class _Files:
    """Collects which files a model was read from."""

    root: Path
    used: set[Path] = field(default_factory=set)

    def json(self, path: Path) -> dict[str, Any]:
        self.used.add(path)
        content = read_settings(path)
        if not isinstance(content, dict):
            raise CheckpointError(f"{path} holds {type(content).__name__}, not an object of settings")
        return content

    def weights(self, path: Path) -> dict[str, Weight]:
        self.used.add(path)
        return weights_in(path)

    def facts(self) -> tuple[str, int]:
        digest, total = hashlib.sha256(), 0
        for path in sorted(self.used):
            sha256, size = file_facts(path)
            digest.update(f"{path.relative_to(self.root).as_posix()} {sha256}\n".encode())
            total += size
        return digest.hexdigest(), total


def _backbone(path: Path, files: _Files, base: str | None = None) -> tuple[Backbone, tuple[str, ...]]:
    if is_adapter(path):
        found = _adapter(path, base)
        files.used |= settings_in_folder(path)
        return found.backbone, found.notes
    files.used |= settings_in_folder(path)
    weights = _encoder_weights(path, files)
    config = files.json(path / "config.json")
    refuse_quantised(config, path)
    check_sizes(config, weights.values(), path)
    backbone, unused = fill(outline(str(path), revision=None, where=f"{path} is an"), weights, path)
    notes = (f"not used: {short(', '.join(unused))}",) if unused else ()
    return backbone, notes


def _encoder_weights(path: Path, files: _Files) -> dict[str, Weight]:
    for name in _WEIGHTS:
        if (path / name).is_file():
            return files.weights(path / name)
        index = path / f"{name}.index.json"
        if index.is_file():
            return _sharded(index, files)
    instead = what_instead(path)
    if not instead.startswith("there is no"):
        raise CheckpointError(f"{path} is a directory, but no model: {instead}")
    raise CheckpointError(f"{path} has a config.json but no weights; it needs {' or '.join(_WEIGHTS)}")


def _sharded(index: Path, files: _Files) -> dict[str, Weight]:
    table = files.json(index)
    places = table.get("weight_map")
    if not isinstance(places, dict) or not all(isinstance(name, str) for name in places.values()):
        raise CheckpointError(f"{index} has no weight_map from weights to files; copy or download the model again")
    state: dict[str, Weight] = {}
    for name in sorted(set(places.values())):
        # A name from a file must not lead out of its directory.
        if Path(name).name != name:
            raise CheckpointError(f"{index} names a shard outside of its directory, {short(name)}; do not trust it")
        state |= files.weights(index.parent / name)
    missing = sorted(set(places) - set(state))
    if missing:
        raise CheckpointError(
            f"{index} lists {missing[0]} and {len(missing) - 1} more weights that are in none of its shards; "
            "copy or download the model again"
        )
    return state


def _sentence_transformers(path: Path, base: str | None = None) -> ModelDirectory:
    files = _Files(path)
    files.used.add(path / "modules.json")
    modules = [_module(entry, path) for entry in _listed(read_settings(path / "modules.json"), path)]
    kinds = [kind for kind, _ in modules]
    if kinds[:1] == ["StaticEmbedding"]:
        return _static(modules, files, path)
    if kinds[:2] != ["Transformer", "Pooling"]:
        raise CheckpointError(
            f"{path} is made of {', '.join(kinds) or 'nothing'}; a Transformer followed by Pooling, "
            "or a StaticEmbedding, can be read"
        )
    backbone, notes = _backbone(modules[0][1], files, base)
    config = _transformer_config(modules[0][1], files) | {"pooling": _pooling(modules[1][1], files)}
    config |= _prompts(path, files)
    if backbone.max_length is not None:
        config.setdefault("max_length", backbone.max_length)
    if config.pop("do_lower_case", False):
        backbone = Backbone(
            backbone.encoder, _LowerCase(backbone.tokenizer), backbone.dim, backbone.max_length, backbone.name
        )
    head = _head(modules[2:], files, path)
    normalise = kinds[-1] == "Normalize"
    return ModelDirectory(
        "sentence-transformers", backbone, head, config | {"normalise": normalise}, *files.facts(), notes
    )


def _static(modules: list[tuple[str, Path]], files: _Files, path: Path) -> ModelDirectory:
    folder = modules[0][1]
    weights = _module_weights(folder, files)
    table = weights.get("embedding.weight")
    if set(weights) != {"embedding.weight"} or table is None or table.ndim != 2:
        raise CheckpointError(f"{folder} should have embedding.weight of shape (tokens, dim), it has {sorted(weights)}")
    if not (folder / "tokenizer.json").is_file():
        raise CheckpointError(f"{folder} has no tokenizer.json; copy or download the model again")
    files.used.add(folder / "tokenizer.json")
    backbone = Backbone(
        StaticTable(table).eval(), StaticTokenizer(folder / "tokenizer.json"), table.shape[1], None, str(path)
    )
    config = {"pooling": "mean", **_prompts(path, files), "normalise": modules[-1][0] == "Normalize"}
    head = _head(modules[1:], files, path)
    return ModelDirectory("sentence-transformers", backbone, head, config, *files.facts(), ())


class _LowerCase:
    """A tokenizer that is given lower-case text."""

    def __init__(self, tokenizer: Callable[..., Any]) -> None:
        self.tokenizer = tokenizer

    def __call__(self, texts: list[str], **options: Any) -> Any:
        return self.tokenizer([text.lower() for text in texts], **options)


def _listed(modules: Any, path: Path) -> list[dict[str, Any]]:
    if not isinstance(modules, list) or not all(
        isinstance(entry, dict) and isinstance(entry.get("type"), str) and isinstance(entry.get("path"), str)
        for entry in modules
    ):
        raise CheckpointError(f"{path / 'modules.json'} is no list of modules with type and path")
    return modules


def _module(entry: Mapping[str, Any], path: Path) -> tuple[str, Path]:
    package, _, kind = entry["type"].rpartition(".")
    if not f"{package}.".startswith("sentence_transformers."):
        raise CheckpointError(f"{path} asks for code of its own, {short(entry['type'])}, which is never run here")
    folder = (path / entry["path"]).resolve()
    if not folder.is_relative_to(path.resolve()):
        raise CheckpointError(f"{path} names a module outside of it, {short(entry['path'])}; do not trust it")
    return kind, path / entry["path"]


def _transformer_config(folder: Path, files: _Files) -> dict[str, Any]:
    for found in sorted(folder.glob("sentence_*_config.json")):
        facts = files.json(found)
        length = facts.get("max_seq_length")
        return {"do_lower_case": bool(facts.get("do_lower_case"))} | ({"max_length": length} if length else {})
    return {}


def _pooling(folder: Path, files: _Files) -> str:
    facts = files.json(folder / "config.json")
    given = facts.get("pooling_mode") or [mode for mode, flag in POOLING_FLAGS.items() if facts.get(flag)] or "mean"
    modes = given if isinstance(given, list) else [given]
    if len(modes) != 1 or modes[0] not in POOLINGS:
        raise CheckpointError(f"{folder} pools by {' + '.join(map(str, modes))}; {' and '.join(POOLINGS)} can be read")
    if facts.get("include_prompt") is False:
        raise CheckpointError(f"{folder} leaves the prompt's tokens out of the mean, which cannot be done here")
    return str(modes[0])


def _prompts(path: Path, files: _Files) -> dict[str, str]:
    place = path / "config_sentence_transformers.json"
    facts = files.json(place) if place.is_file() else {}
    listed = facts.get("prompts")
    prompts = {name: text for name, text in listed.items() if isinstance(text, str)} if isinstance(listed, dict) else {}
    default = prompts.get(str(facts.get("default_prompt_name")), "")
    documents = next((prompts[name] for name in _DOCUMENT_PROMPTS if name in prompts), default)
    found = {"query_prompt": prompts.get("query", default), "document_prompt": documents}
    return {name: text for name, text in found.items() if text}


def _head(modules: list[tuple[str, Path]], files: _Files, path: Path) -> ProjectionHead | None:
    """What stands between pooling and the last normalisation."""
    if modules and modules[-1][0] == "Normalize":
        modules = modules[:-1]
    modules = [(kind, folder) for kind, folder in modules if kind != "Dropout"]
    if not modules:
        return None
    unknown = [kind for kind, _ in modules if kind not in ("Dense", "LayerNorm", "Normalize")]
    if unknown or modules[0][0] != "Dense":
        raise CheckpointError(f"{path} has {(unknown or [modules[0][0]])[0]} after pooling; Dense layers can be read")
    layers = [layer for kind, folder in modules for layer in _layers(kind, folder, files)]
    if len(layers) == 1 and isinstance(layers[0], ProjectionHead):
        return layers[0]
    return cast("ProjectionHead", Stack(layers))


def _layers(kind: str, folder: Path, files: _Files) -> list[nn.Module]:
    if kind == "Normalize":
        return [Unit()]
    weights = _module_weights(folder, files)
    if kind == "LayerNorm":
        if set(weights) != {"norm.weight", "norm.bias"}:
            raise CheckpointError(f"{folder} should have norm.weight and norm.bias, it has {short(sorted(weights))}")
        if {tuple(tensor.shape) for tensor in weights.values()} != {(weights["norm.weight"].numel(),)}:
            raise CheckpointError(f"{folder} should have norm.weight and norm.bias of one shape (dim,)")
        norm = nn.LayerNorm(weights["norm.weight"].numel())
        norm.load_state_dict({name.removeprefix("norm."): tensor.float() for name, tensor in weights.items()})
        return [norm]
    facts = files.json(folder / "config.json")
    if facts.get("use_residual") or facts.get("module_input_name", "sentence_embedding") != "sentence_embedding":
        raise CheckpointError(f"{folder} is a Dense layer with a residual or another input, which cannot be read")
    activation = str(facts.get("activation_function", "torch.nn.modules.activation.Tanh")).rpartition(".")[2]
    if activation not in ACTIVATIONS:
        raise CheckpointError(f"{folder} has the activation {short(activation)}; {', '.join(ACTIVATIONS)} can be read")
    dense = _dense(weights, folder)
    return [dense] if activation == "Identity" else [dense, ACTIVATIONS[activation]()]


def _dense(weights: Mapping[str, Tensor], folder: Path) -> ProjectionHead:
    matrix = weights.get("linear.weight")
    if matrix is None or matrix.ndim != 2 or not set(weights) <= {"linear.weight", "linear.bias"}:
        raise CheckpointError(f"{folder} should have linear.weight of shape (dim, dim_in), it has {sorted(weights)}")
    head = ProjectionHead(matrix.shape[1], matrix.shape[0])
    head.linear = nn.Linear(matrix.shape[1], matrix.shape[0], bias="linear.bias" in weights)
    if "linear.bias" in weights and weights["linear.bias"].shape != matrix.shape[:1]:
        raise CheckpointError(f"{folder} should have a linear.bias of shape ({matrix.shape[0]},)")
    head.load_state_dict({name: tensor.float() for name, tensor in weights.items()})
    return head


def _module_weights(folder: Path, files: _Files) -> dict[str, Tensor]:
    for name in _WEIGHTS:
        if (folder / name).is_file():
            return fetch(files.weights(folder / name))
    raise CheckpointError(f"{folder} has no weights; it needs {' or '.join(_WEIGHTS)}")
