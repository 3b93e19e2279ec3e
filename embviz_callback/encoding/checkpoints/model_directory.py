"""Model directories of sentence-transformers and transformers."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from embviz_callback.encoding.checkpoints.rebuilding import build_head, fill, outline
from embviz_callback.encoding.checkpoints.settings_files import check_sizes, read_settings, settings_in_folder
from embviz_callback.encoding.models.biencoder import POOLINGS, Backbone, ProjectionHead
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
# A fixed list: a class path in a file is never imported.
_ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "Identity": nn.Identity,
    "Tanh": nn.Tanh,
    "ReLU": nn.ReLU,
    "GELU": nn.GELU,
    "SiLU": nn.SiLU,
    "Sigmoid": nn.Sigmoid,
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


def read_directory(path: Path) -> ModelDirectory:
    """The model in a directory, weights checked like those of any file.

    Args:
        path: Holds ``modules.json`` (sentence-transformers) or ``config.json`` (transformers).

    Returns:
        The model's parts.

    Raises:
        CheckpointError: If it holds neither; the text says what it holds.
    """
    if (path / "modules.json").is_file():
        return _sentence_transformers(path)
    if (path / "config.json").is_file():
        files = _Files(path)
        backbone, notes = _backbone(path, files)
        config: dict[str, Any] = {"pooling": "mean"}
        return ModelDirectory("transformers", backbone, None, config, *files.facts(), notes)
    raise CheckpointError(f"{path} is a directory, but no model: {_what_instead(path)}")


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


def _what_instead(path: Path) -> str:
    names = sorted(entry.name for entry in path.iterdir())
    if "adapter_config.json" in names:
        return "it is a LoRA adapter; merge it into its model first (merge_and_unload) and save that"
    if "zero_to_fp32.py" in names or ".metadata" in names or "meta.pt" in names:
        return "it is a sharded training checkpoint; consolidate it into one file first"
    weights = [name for name in names if name.endswith((".pt", ".ckpt", ".safetensors", ".bin", ".pth"))]
    if weights:
        return f"there is no config.json in it; did you mean {path / weights[0]}?"
    return f"there is no config.json and no modules.json in it, only {short(', '.join(names)) or 'nothing'}"


def _backbone(path: Path, files: _Files) -> tuple[Backbone, tuple[str, ...]]:
    files.used |= settings_in_folder(path)
    weights = _encoder_weights(path, files)
    check_sizes(files.json(path / "config.json"), weights.values(), path)
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


def _sentence_transformers(path: Path) -> ModelDirectory:
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
    backbone, notes = _backbone(modules[0][1], files)
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
    return cast("ProjectionHead", _Stack(layers))


class _Stack(nn.Module):
    """Several layers where a `ProjectionHead` is expected; ``linear`` is the first, for its input size."""

    def __init__(self, layers: list[nn.Module]) -> None:
        super().__init__()
        self.layers = nn.Sequential(*layers)

    @property
    def linear(self) -> nn.Linear:
        return cast("ProjectionHead", self.layers[0]).linear

    def forward(self, features: Tensor) -> Tensor:
        projected: Tensor = self.layers(features)
        return projected


class _Unit(nn.Module):
    def forward(self, features: Tensor) -> Tensor:
        return torch.nn.functional.normalize(features, dim=-1)


def _layers(kind: str, folder: Path, files: _Files) -> list[nn.Module]:
    if kind == "Normalize":
        return [_Unit()]
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
    if activation not in _ACTIVATIONS:
        raise CheckpointError(f"{folder} has the activation {short(activation)}; {', '.join(_ACTIVATIONS)} can be read")
    dense = build_head(weights, {}, folder)
    return [dense] if activation == "Identity" else [dense, _ACTIVATIONS[activation]()]


def _module_weights(folder: Path, files: _Files) -> dict[str, Tensor]:
    for name in _WEIGHTS:
        if (folder / name).is_file():
            return fetch(files.weights(folder / name))
    raise CheckpointError(f"{folder} has no weights; it needs {' or '.join(_WEIGHTS)}")
