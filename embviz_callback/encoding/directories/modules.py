"""The modules of sentence-transformers, as towers: transformer, pooling and what comes after; routes of a router."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

from torch import Tensor, nn

from embviz_callback.encoding.directories.backbone import WEIGHTS, Folder, read_transformer
from embviz_callback.encoding.directories.settings_files import read_settings
from embviz_callback.encoding.models.biencoder import TOKEN_POOLINGS, Backbone
from embviz_callback.encoding.models.rebuilding import ACTIVATIONS, Residual, Stack, Unit, layer_of
from embviz_callback.encoding.models.self_pooling import StaticTable, StaticTokenizer
from embviz_callback.encoding.serving import Serving
from embviz_callback.encoding.weights.complaints import CheckpointError, short
from embviz_callback.encoding.weights.stored import fetch

POOLING_FLAGS = {
    "cls": "pooling_mode_cls_token",
    "max": "pooling_mode_max_tokens",
    "mean": "pooling_mode_mean_tokens",
    "mean_sqrt_len_tokens": "pooling_mode_mean_sqrt_len_tokens",
    "weightedmean": "pooling_mode_weightedmean_tokens",
    "lasttoken": "pooling_mode_lasttoken",
}
_ROUTERS = ("Router", "Asym")
# Of a Transformer module: what is read, or says no more than it does of every text encoder.
_SAID = ("max_seq_length", "do_lower_case", "transformer_task", "modality_config", "module_output_name")
_ARGUMENTS = ("_args", "_kwargs")  # of tokenizer, model and config
_HARMLESS = frozenset(
    {"trust_remote_code", "attn_implementation", "torch_dtype", "dtype", "add_pooling_layer", "use_fast", "revision"}
    | {"token", "local_files_only", "cache_dir", "low_cpu_mem_usage", "device_map", "use_safetensors"}
)
Modules = Sequence[tuple[str, Path]]


@dataclass(frozen=True, eq=False)
class Tower:
    """What turns the texts of one side into vectors.

    Attributes:
        backbone: Encoder with its weights, and tokenizer.
        head: What comes after pooling, or None.
        settings: `pooling`, `max_length`, `normalise` and `include_prompt`, as far as it says them.
    """

    backbone: Backbone
    head: nn.Module | None
    settings: Mapping[str, Any] = field(default_factory=dict)

    def is_made_of(self, other: Self) -> bool:
        """Whether it has the same encoder and head."""
        return (self.backbone, self.head) == (other.backbone, other.head)


def read_modules(path: Path, folder: Folder) -> dict[str, Modules]:
    """The modules that each side's texts go through.

    Args:
        path: Holds ``modules.json``.
        folder: Keeps what was read.

    Returns:
        Kind and place of each module, for "query" and for "document".
    """
    folder.used.add(path / "modules.json")
    modules = [_module(entry, path) for entry in _listed(read_settings(path / "modules.json"), path)]
    return {side: _routed(modules, side, folder) for side in ("query", "document")}


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


def _routed(modules: Modules, side: str, folder: Folder) -> Modules:
    """With the modules of a side's route in place of each router."""
    found: list[tuple[str, Path]] = []
    for kind, path in modules:
        found += _route(path, side, folder) if kind in _ROUTERS else [(kind, path)]
    return found


def _route(path: Path, side: str, folder: Folder) -> list[tuple[str, Path]]:
    place = next((path / name for name in ("router_config.json", "config.json") if (path / name).is_file()), None)
    facts = folder.json(place) if place is not None else {}
    types, structure, parameters = facts.get("types"), facts.get("structure"), facts.get("parameters") or {}
    if not isinstance(types, dict) or not isinstance(structure, dict) or not isinstance(parameters, dict):
        raise CheckpointError(f"{path} is a router without types and structure; copy or download the model again")
    mapped = parameters.get("route_mappings") or {}
    named = (mapped.get(f"({task}, {kind})") for task in (f"'{side}'", "None") for kind in ("'text'", "None"))
    route = next((name for name in (*named, side, "text", parameters.get("default_route")) if name in structure), None)
    if route is None:
        raise CheckpointError(f"{path} has routes for {short(', '.join(structure))}, none for {side}")
    return [_module({"type": str(types.get(name)), "path": str(name)}, path) for name in structure[route]]


def said_of_texts(path: Path) -> dict[str, Any]:
    """What a folder of sentence-transformers says of length and pooling, without its weights.

    Args:
        path: Holds ``modules.json``.

    Returns:
        `max_length`, `pooling`, `include_prompt` and, of its Dense layers, `dense_activation`, as far as it says them.
    """
    folder = Folder(path)
    chain = read_modules(path, folder)["query"]
    if [kind for kind, _ in chain[:2]] != ["Transformer", "Pooling"]:
        return {}
    said = {**_length(_sentence_config(chain[0][1], folder), chain[0][1]), **_pooling(chain[1][1], folder)}
    dense = {_activation(folder.json(place / "config.json")) for kind, place in chain[2:] if kind == "Dense"}
    return said | ({"dense_activation": dense.pop()} if len(dense) == 1 else {})


def tower_of(
    modules: Mapping[str, Modules], side: str, folder: Folder, serving: Serving
) -> tuple[Tower, tuple[str, ...]]:
    """The modules of one side, built.

    Args:
        modules: From `read_modules`.
        side: "query" or "document".
        folder: Keeps what was read, so that a transformer of both sides is read once.
        serving: What the user says.

    Returns:
        The tower, and what the reader should know.

    Raises:
        CheckpointError: If it is made of anything but a transformer, pooling and dense layers, or static embeddings.
    """
    chain = modules[side]
    kinds = [kind for kind, _ in chain]
    settings: dict[str, Any] = {"normalise": kinds[-1:] == ["Normalize"]}
    if kinds[:1] == ["StaticEmbedding"]:
        backbone, head = _static(chain[0][1], folder), _head(chain[1:], folder)
        return Tower(backbone, head, settings | {"pooling": "mean"}), ()
    if kinds[:2] != ["Transformer", "Pooling"]:
        raise CheckpointError(
            f"{folder.root} is made of {', '.join(kinds) or 'nothing'}; a Transformer followed by Pooling, "
            "or a StaticEmbedding, can be read"
        )
    backbone, notes = read_transformer(chain[0][1], folder, serving)
    facts = _sentence_config(chain[0][1], folder)
    notes = (*notes, *_arguments(facts, backbone))
    length = {} if backbone.max_length is None else {"max_length": backbone.max_length}
    settings = {**length, **_length(facts, chain[0][1]), **_pooling(chain[1][1], folder), **settings}
    if facts.get("do_lower_case"):
        backbone = replace(backbone, tokenizer=_LowerCase(backbone.tokenizer))
    return Tower(backbone, _head(chain[2:], folder), settings), notes


class _LowerCase:
    """A tokenizer that is given lower-case text."""

    def __init__(self, tokenizer: Callable[..., Any]) -> None:
        self.tokenizer = tokenizer

    def __call__(self, texts: list[str], **options: Any) -> Any:
        return self.tokenizer([text.lower() for text in texts], **options)

    def pad(self, *arguments: Any, **options: Any) -> Any:
        """Pads what was made of texts."""
        return self.tokenizer.pad(*arguments, **options)  # type: ignore[attr-defined]

    @property
    def all_special_ids(self) -> list[int]:
        """Numbers of tokens that are no text."""
        return list(self.tokenizer.all_special_ids)  # type: ignore[attr-defined]


def _static(path: Path, folder: Folder) -> Backbone:
    weights = _module_weights(path, folder)
    table = _table(weights)
    if table is None or table.ndim != 2:
        raise CheckpointError(f"{path} should have embedding.weight of shape (tokens, dim), it has {sorted(weights)}")
    if not (path / "tokenizer.json").is_file():
        raise CheckpointError(f"{path} has no tokenizer.json; copy or download the model again")
    folder.used.add(path / "tokenizer.json")
    tokenizer = StaticTokenizer(path / "tokenizer.json")
    return Backbone(StaticTable(table).eval(), tokenizer, table.shape[1], None, str(folder.root))


def _table(weights: Mapping[str, Tensor]) -> Tensor | None:
    """A vector per token; None where other weights are there than those of StaticEmbedding or of Model2Vec."""
    if set(weights) == {"embedding.weight"}:
        return weights["embedding.weight"]
    if not {"embeddings"} <= set(weights) <= {"embeddings", "mapping", "weights"}:
        return None
    # Model2Vec lets tokens share rows and weighs them.
    table = weights["embeddings"].float()
    table = table[weights["mapping"].long()] if "mapping" in weights else table
    return table * weights["weights"][:, None] if "weights" in weights else table


def _sentence_config(path: Path, folder: Folder) -> dict[str, Any]:
    """What a Transformer module says beside the model's own configuration."""
    found = sorted(path.glob("sentence_*_config.json"))
    return folder.json(found[0]) if found else {}


def _arguments(facts: Mapping[str, Any], backbone: Backbone) -> tuple[str, ...]:
    """Obeys what a Transformer module says to its tokenizer, and names whatever else may change vectors."""
    unread: list[str] = []
    for name, given in facts.items():
        if not name.endswith(_ARGUMENTS) or not isinstance(given, Mapping):
            unread += [name] if name not in _SAID else []
            continue
        for argument, value in given.items():
            if argument in ("padding_side", "truncation_side") and value in ("left", "right"):
                setattr(backbone.tokenizer, argument, value)
            elif argument not in _HARMLESS:
                unread.append(f"{name}.{argument}")
    return (f"not read, and may change vectors: {short(', '.join(unread))}",) if unread else ()


def _length(facts: Mapping[str, Any], path: Path) -> dict[str, Any]:
    if facts.get("transformer_task", "feature-extraction") != "feature-extraction":
        raise CheckpointError(f"{path} is made for {short(str(facts['transformer_task']))}, not for embeddings")
    return {"max_length": facts["max_seq_length"]} if facts.get("max_seq_length") else {}


def _pooling(path: Path, folder: Folder) -> dict[str, Any]:
    facts = folder.json(path / "config.json")
    given = facts.get("pooling_mode") or [mode for mode, flag in POOLING_FLAGS.items() if facts.get(flag)] or "mean"
    modes = [str(mode) for mode in (given if isinstance(given, list) else [given])]
    if not set(modes) <= set(TOKEN_POOLINGS):
        raise CheckpointError(f"{path} pools by {short(' + '.join(modes))}; {' and '.join(TOKEN_POOLINGS)} can be read")
    left_out = {"include_prompt": False} if facts.get("include_prompt") is False else {}
    return {"pooling": "+".join(modes), **left_out}


def _head(modules: Modules, folder: Folder) -> nn.Module | None:
    """What stands between pooling and the last normalisation."""
    if modules and modules[-1][0] == "Normalize":
        modules = modules[:-1]
    modules = [(kind, path) for kind, path in modules if kind != "Dropout"]
    if not modules:
        return None
    unknown = [kind for kind, _ in modules if kind not in ("Dense", "LayerNorm", "Normalize")]
    if unknown or modules[0][0] != "Dense":
        odd = (unknown or [modules[0][0]])[0]
        raise CheckpointError(f"{folder.root} has {odd} after pooling; Dense layers can be read")
    layers = [layer for kind, path in modules for layer in _layers(kind, path, folder)]
    return layers[0] if len(layers) == 1 else Stack(*layers)


def _layers(kind: str, path: Path, folder: Folder) -> list[nn.Module]:
    if kind == "Normalize":
        return [Unit()]
    weights = _module_weights(path, folder)
    if kind == "LayerNorm":
        return [_layer(weights, "norm", path)]
    facts = folder.json(path / "config.json")
    if facts.get("module_input_name", "sentence_embedding") != "sentence_embedding":
        raise CheckpointError(f"{path} is a Dense layer with another input, which cannot be read")
    activation = _activation(facts)
    if activation not in ACTIVATIONS:
        raise CheckpointError(f"{path} has the activation {short(activation)}; {', '.join(ACTIVATIONS)} can be read")
    past = weights.pop("residual.weight", None)
    dense: Any = _layer(weights, "linear", path)
    layers: list[nn.Module] = [dense] if activation == "Identity" else [dense, ACTIVATIONS[activation]()]
    if not facts.get("use_residual"):
        return layers
    shape = (dense.out_features, dense.in_features)
    if past.shape != shape if past is not None else shape[0] != shape[1]:
        raise CheckpointError(f"{path} should have a residual.weight of shape {shape}")
    return [Residual(layers, past)]


def _activation(facts: Mapping[str, Any]) -> str:
    return str(facts.get("activation_function", "torch.nn.modules.activation.Tanh")).rpartition(".")[2]


def _layer(weights: Mapping[str, Tensor], name: str, path: Path) -> nn.Module:
    """The linear map or the norm that a module is made of."""
    own = {key.removeprefix(f"{name}."): tensor for key, tensor in weights.items()}
    shape, axes = ("(dim, dim_in)", 2) if name == "linear" else ("(dim,)", 1)
    if f"{name}.weight" not in weights or own["weight"].ndim != axes:
        raise CheckpointError(f"{path} should have {name}.weight of shape {shape}, it has {short(sorted(weights))}")
    return layer_of(own, f"{path}: its weights")


def _module_weights(path: Path, folder: Folder) -> dict[str, Tensor]:
    for name in WEIGHTS:
        if (path / name).is_file():
            return fetch(folder.weights(path / name))
    raise CheckpointError(f"{path} has no weights; it needs {' or '.join(WEIGHTS)}")
