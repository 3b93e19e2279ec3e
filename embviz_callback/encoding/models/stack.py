"""Heads of several layers, and the activations that may stand between them."""

from collections.abc import Callable, Sequence
from typing import cast

import torch
from torch import Tensor, nn

from embviz_callback.encoding.models.biencoder import ProjectionHead

# A fixed list: a class path in a file is never imported.
ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "Identity": nn.Identity,
    "Tanh": nn.Tanh,
    "ReLU": nn.ReLU,
    "GELU": nn.GELU,
    "SiLU": nn.SiLU,
    "Sigmoid": nn.Sigmoid,
}


class Stack(nn.Module):
    """Several layers where a `ProjectionHead` is expected.

    Args:
        layers: In their order; the first is a linear map or a `ProjectionHead`.
    """

    def __init__(self, layers: Sequence[nn.Module]) -> None:
        super().__init__()
        self.layers = nn.Sequential(*layers)

    @property
    def linear(self) -> nn.Linear:
        """The first linear map, which tells the size of the input."""
        first = self.layers[0]
        return first if isinstance(first, nn.Linear) else cast("ProjectionHead", first).linear

    def forward(self, features: Tensor) -> Tensor:
        """Maps ``(n, dim_in)`` to ``(n, dim_out)``."""
        projected: Tensor = self.layers(features)
        return projected


class Residual(nn.Module):
    """Layers whose input is added to what they make of it.

    Args:
        layers: In their order; the first is a `ProjectionHead`.
        past: ``(dim_out, dim_in)``, what the input is multiplied by; None for the input itself.
    """

    def __init__(self, layers: Sequence[nn.Module], past: Tensor | None) -> None:
        super().__init__()
        self.layers = nn.Sequential(*layers)
        self.past = None if past is None else nn.Parameter(past.float())

    @property
    def linear(self) -> nn.Linear:
        """The linear map that the layers begin with."""
        return cast("ProjectionHead", self.layers[0]).linear

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
