"""Heads of several layers, and the activations that may stand between them."""

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import torch
from torch import Tensor, nn

from embviz_callback.encoding.weights.complaints import CheckpointError

# A fixed list: a class path in a file is never imported.
ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    kind.__name__: kind for kind in (nn.Identity, nn.Tanh, nn.ReLU, nn.GELU, nn.SiLU, nn.Sigmoid)
}
_Layer = TypeVar("_Layer", bound=nn.Module)


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
