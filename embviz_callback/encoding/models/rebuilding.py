"""A model from weights: the encoder's architecture by name, the head's layers by their weights."""

import contextlib
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from embviz_callback.encoding.models.biencoder import NGRAM_PREFIX, Backbone, ProjectionHead, load_backbone
from embviz_callback.encoding.models.self_pooling import CharNgrams
from embviz_callback.encoding.weights.complaints import CheckpointError, short
from embviz_callback.encoding.weights.fit import is_optional
from embviz_callback.encoding.weights.heads import Layer
from embviz_callback.encoding.weights.stored import Weight, fetch

# A fixed list: a class path in a file is never imported.
ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    kind.__name__: kind for kind in (nn.Identity, nn.Tanh, nn.ReLU, nn.GELU, nn.SiLU, nn.Sigmoid)
}
_Layer = TypeVar("_Layer", bound=nn.Module)
_TOKEN_TABLE = re.compile(r"word_embeddings|embed_tokens|tok_embeddings|wte")
_RESIZED = ", or, if tokens were added to it, the folder into which save_pretrained wrote both encoder and tokenizer"
_FREE_ELEMENTS = 50_000_000  # 200 MB


def with_weights(layer: _Layer, weights: Mapping[str, Tensor], whose: str) -> _Layer:
    """Puts weights into a layer, which must be all that it has.

    Args:
        layer: In float32.
        weights: Of any type, by the layer's own names.
        whose: Which weights of which file, for the error.

    Returns:
        The layer.

    Raises:
        CheckpointError: If one is missing, of another shape, or too many.
    """
    expected, found = (
        {name: tuple(tensor.shape) for name, tensor in state.items()} for state in (layer.state_dict(), weights)
    )
    if expected != found:
        raise CheckpointError(f"{whose} must have the shapes {expected}, got {found}")
    layer.load_state_dict({name: tensor.float() for name, tensor in weights.items()})
    return layer


def layer_of(weights: Mapping[str, Tensor], whose: str) -> nn.Module:
    """A linear map, or where ``weight`` is a vector a layer norm, with weights in it; see `with_weights`."""
    shape = weights["weight"].shape
    made = nn.LayerNorm(shape) if len(shape) == 1 else nn.Linear(shape[1], shape[0], bias="bias" in weights)
    return with_weights(made, weights, whose)


class Stack(nn.Sequential):
    """Several layers one after the other, the first of which is a linear map."""


class Residual(nn.Module):
    """Layers whose input is added to what they make of it.

    Args:
        layers: In their order; the first is a linear map.
        past: ``(dim_out, dim_in)``, what the input is multiplied by; None for the input itself.
    """

    def __init__(self, layers: Sequence[nn.Module], past: Tensor | None) -> None:
        super().__init__()
        self.layers = nn.Sequential(*layers)
        self.past = None if past is None else nn.Parameter(past.float())

    def forward(self, features: Tensor) -> Tensor:
        """Maps ``(n, dim_in)`` to ``(n, dim_out)``."""
        beside = features if self.past is None else features @ self.past.T
        projected: Tensor = self.layers(features) + beside
        return projected


class Unit(nn.Module):
    """Scales rows to length 1."""

    def forward(self, features: Tensor) -> Tensor:
        """Maps ``(n, dim)`` to the same."""
        return torch.nn.functional.normalize(features, dim=-1)


def build_head(layers: Sequence[Layer], config: Mapping[str, Any], path: Path) -> nn.Module:
    """The head of those layers, its sizes read from them.

    Args:
        layers: Linear maps and layer norms, in their order.
        config: Where a square head leaves open on which side the layer norm stands, `layer_norm` says it;
            `head_activation` says what stands between several linear maps.
        path: For the error.

    Returns:
        The head, in float32.

    Raises:
        CheckpointError: If a weight is missing or of the wrong shape, or if there are several linear maps and no
            activation.
    """
    matrices = [layer for layer in layers if not layer.is_norm]
    if len(matrices) > 1:
        return _stacked(layers, config.get("head_activation"), path)
    norms = [layer for layer in layers if layer.is_norm]
    if len(norms) > 1:
        raise CheckpointError(f"{path}: its head {short(matrices[0].name)} has {len(norms)} norms, one can be read")
    named = {f"linear.{part}": weight for part, weight in matrices[0].weights.items()}
    named |= {f"ln.{part}": weight for norm in norms for part, weight in norm.weights.items()}
    weights = fetch(named)
    if not all(tensor.is_floating_point() for tensor in weights.values()):
        types = ", ".join(sorted({f"{tensor.dtype}" for tensor in weights.values()}))
        raise CheckpointError(f"{path}: a head's weights must be of a float type, got {types}")
    dim_out, dim_in = weights["linear.weight"].shape
    head = ProjectionHead(dim_in, dim_out, layer_norm=_layer_norm(weights, config), bias="linear.bias" in weights)
    return with_weights(head, weights, f"{path}: the head's weights")


def build_dense(layers: Sequence[Layer], config: Mapping[str, Any], path: Path) -> nn.Module:
    """The Dense layers of a SentenceTransformer, behind each of which an activation stands.

    Args:
        layers: Linear maps and layer norms, in their order.
        config: `head_activation`, or `dense_activation` of the model that it was trained on, says which.
        path: For the error.

    Returns:
        The head, in float32.

    Raises:
        CheckpointError: If nothing says which activation, or none of that name is known.
    """
    activation = config.get("head_activation", config.get("dense_activation"))
    if activation not in ACTIVATIONS:
        raise CheckpointError(
            f"{path}: its head {short(layers[0].name)} is a Dense layer of sentence-transformers, and the file does "
            "not say which activation stands behind it; name it with --head-activation (Tanh is that library's "
            "default, Identity is none)"
        )
    made: list[nn.Module] = []
    for layer in layers:
        made += [_module(layer, path), *(() if layer.is_norm else (ACTIVATIONS[activation](),))]
    return Stack(*made)


def _stacked(layers: Sequence[Layer], activation: object, path: Path) -> Stack:
    """Linear maps one after the other, the activation before each but the first."""
    names = ", ".join(layer.name for layer in layers)
    if activation is None:
        raise CheckpointError(
            f"{path}: its head has several layers ({short(names)}), and the file does not say which activation stands "
            f"between them; name it with --head-activation, one of {', '.join(ACTIVATIONS)}"
        )
    made: list[nn.Module] = []
    for layer in layers:
        if made and not layer.is_norm:
            made.append(ACTIVATIONS[str(activation)]())
        made.append(_module(layer, path))
    return Stack(*made)


def _module(layer: Layer, path: Path) -> nn.Module:
    return layer_of(fetch(layer.weights), f"{path}: the weights of {short(layer.name)}")


def _layer_norm(weights: Mapping[str, Tensor], config: Mapping[str, Any]) -> Any:
    if "ln.weight" not in weights:
        return False
    dim_out, dim_in = weights["linear.weight"].shape
    if dim_in == dim_out:
        return "before" if config.get("layer_norm") == "before" else "after"
    return "before" if tuple(weights["ln.weight"].shape) == (dim_in,) else "after"


def outline(name: str, *, where: str, revision: str | None = None, **options: Any) -> Backbone:
    """An encoder's configuration and tokenizer, its weights without memory.

    Args:
        name: See `load_backbone`.
        where: Which file asks for it and why this name, for the error.
        revision: On the hub.
        options: Others of `load_backbone`.

    Returns:
        The backbone on torch's meta device; the built-in encoder, which has no weights, as it is.
    """
    with _explained(name, where):
        _refuse_foreign_code(name, revision)
        with contextlib.nullcontext() if name.startswith(NGRAM_PREFIX) else torch.device("meta"):
            backbone = load_backbone(name, revision=revision, pretrained=False, **options)
        _check_vocabulary(backbone)
        return backbone


def _check_vocabulary(backbone: Backbone) -> None:
    """Before a text has a token without a vector, which CUDA answers by losing the whole process."""
    added: dict[str, int] = getattr(backbone.tokenizer, "get_added_vocab", dict)()
    # Some classes of tokenizers add special tokens of their own, which nobody has trained or uses.
    special = getattr(backbone.tokenizer, "all_special_ids", ())
    n_tokens = 1 + max((number for number in added.values() if number not in special), default=-1)
    table = getattr(backbone.encoder, "get_input_embeddings", lambda: None)()
    n_rows = getattr(table, "num_embeddings", n_tokens)
    if n_tokens > n_rows:
        raise CheckpointError(
            f"{backbone.name} has vectors of {n_rows:,} tokens, its tokenizer has {n_tokens:,}; give the tokenizer it "
            "was trained with by --tokenizer, or save the model again behind resize_token_embeddings"
        )


def pretrained(name: str, *, where: str, **options: Any) -> Backbone:
    """An encoder with the weights it was published with; arguments as for `outline`."""
    with _explained(name, where), _quiet():
        return load_backbone(name, **options)


def fill(backbone: Backbone, weights: Mapping[str, Weight], path: Path) -> tuple[Backbone, tuple[str, ...]]:
    """An outline with weights in it.

    Args:
        backbone: From `outline`.
        weights: By the encoder's own names, or those of a model around it that transformers knows.
        path: For the error.

    Returns:
        The backbone on the CPU, and the names that it had no use for (a language
        model's output layer, an unused pooler).

    Raises:
        CheckpointError: If a weight is missing or of another shape.
    """
    encoder: Any = backbone.encoder
    if isinstance(encoder, CharNgrams):
        return _fill_ngrams(backbone, encoder, fetch(weights), path), ()
    _check_shapes(backbone, weights, path)
    with _explained(backbone.name, f"{path} is to fill"), _quiet():
        filled, report = type(encoder).from_pretrained(
            None,
            config=encoder.config,
            state_dict=fetch(weights),
            output_loading_info=True,
            ignore_mismatched_sizes=True,
            dtype=encoder.dtype,
        )
    missing = sorted(name for name in report["missing_keys"] if not is_optional(name))
    if report["mismatched_keys"]:
        raise CheckpointError(f"{path}: {_mismatch(sorted(report['mismatched_keys'])[0], backbone.name)}")
    if missing:
        raise CheckpointError(
            f"{path} lacks {len(missing)} weights of encoder {backbone.name!r}, the first is {missing[0]}; "
            "name the encoder it belongs to with --encoder"
        )
    if any(name.startswith("pooler.") for name in report["missing_keys"]):
        filled.pooler = None  # made at random, and better not there than used
    unused = tuple(sorted(name for name in report["unexpected_keys"] if not is_optional(name)))
    return replace(backbone, encoder=filled.eval()), unused


def _fill_ngrams(backbone: Backbone, encoder: CharNgrams, weights: Mapping[str, Tensor], path: Path) -> Backbone:
    found = {name: int(tensor) for name, tensor in weights.items() if tensor.numel() == 1}
    if found != {"size": encoder.n_buckets} or len(weights) > 1:
        raise CheckpointError(
            f"{path}: the built-in encoder {backbone.name!r} has one number, size = {encoder.n_buckets}; "
            f"this file has {short(found or sorted(weights))}; name the encoder it belongs to with --encoder"
        )
    return backbone


def _check_shapes(backbone: Backbone, weights: Mapping[str, Weight], path: Path) -> None:
    """Before anything gets memory: what differs or lacks would first be made at random, whatever its size."""
    expected = {name: tuple(tensor.shape) for name, tensor in backbone.encoder.state_dict().items()}
    for name, shape in sorted(expected.items()):
        if name in weights and weights[name].shape != shape and not is_optional(name):
            raise CheckpointError(f"{path}: {_mismatch((name, weights[name].shape, shape), backbone.name)}")
    n_lacking = sum(math.prod(shape) for name, shape in expected.items() if name not in weights)
    n_buffers = sum(tensor.numel() for tensor in backbone.encoder.buffers())
    n_there = sum(math.prod(weight.shape) for weight in weights.values())
    if n_lacking + n_buffers > max(_FREE_ELEMENTS, 2 * n_there):
        raise CheckpointError(
            f"{path}: encoder {backbone.name!r} would have {n_lacking + n_buffers:,} numbers that are not among its "
            f"{n_there:,}; name the encoder they belong to with --encoder"
        )


def _mismatch(entry: Any, name: str) -> str:
    if isinstance(entry, str):  # transformers 4 keeps the shapes to itself
        return f"encoder weight {entry} is not that of {name!r}; name the encoder it belongs to with --encoder"
    weight, in_file, in_encoder = entry
    is_resized = tuple(in_file[1:]) == tuple(in_encoder[1:]) and _TOKEN_TABLE.search(weight) is not None
    return (
        f"encoder weight {weight} has shape {tuple(in_file)}, that of {name!r} has {tuple(in_encoder)}; "
        f"name the encoder it belongs to with --encoder{_RESIZED if is_resized else ''}"
    )


def _refuse_foreign_code(name: str, revision: str | None) -> None:
    """Says so in few words, where transformers would advise to trust the code that comes with a model."""
    if name.startswith(NGRAM_PREFIX):
        return
    from transformers import CONFIG_MAPPING, PretrainedConfig

    place = Path(name).expanduser()
    if not place.exists() and (name.startswith((".", "~")) or place.is_absolute() or name.count("/") > 1):
        raise ValueError("there is no such directory")
    facts = PretrainedConfig.get_config_dict(str(place) if place.exists() else name, revision=revision)
    config: Any = facts[0]
    if not isinstance(kind := config.get("model_type", ""), str):
        raise ValueError("the model_type in its config.json is no name")
    if "auto_map" in config and kind not in CONFIG_MAPPING:
        raise ValueError("it asks for code of its own to be run, which is never done here")


@contextlib.contextmanager
def _explained(name: str, where: str) -> Iterator[None]:
    try:
        yield
    except CheckpointError:
        raise
    # The hub's client, the network below it and each tokenizer have exceptions of their own.
    except Exception as error:  # noqa: BLE001
        reason = short(str(error).split("\n")[0] or type(error).__name__)
        raise CheckpointError(
            f"{where} encoder {short(name)!r}, which cannot be loaded ({reason}); "
            "give a model directory, or a name that can be reached, with --encoder PATH"
        ) from None


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without transformers' bars and its table of missing weights: what matters becomes an error or a note."""
    from transformers.utils import logging

    level, had_bar = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if had_bar:
            logging.enable_progress_bar()  # type: ignore[no-untyped-call]
