"""What a pickle may hold: plain data, tensors that were not read yet, and things that are not made."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch


@dataclass(eq=False)
class Inert:
    """Something that a pickle asks for and that is not made.

    Attributes:
        name: Of the class or function.
        arguments: What it was to be called with.
        state: What its attributes were to be set from, or None.
    """

    name: str
    arguments: Any = ()
    state: Any = None

    def __repr__(self) -> str:
        return f"<{self.name}>"


@dataclass(eq=False)
class Storage:
    """A run of bytes that tensors look into; where it lies is known to whoever reads the file.

    Attributes:
        key: Its name in the file.
        dtype: Of its elements.
        n_bytes: Its length.
    """

    key: str
    dtype: torch.dtype
    n_bytes: int


@dataclass(frozen=True, eq=False)
class StoredTensor:
    """A tensor whose numbers were not read yet.

    Attributes:
        storage: Where they lie.
        dtype: Of the tensor.
        shape: Sizes.
        stride: In elements.
        offset: Of the first element, in elements.
    """

    storage: Storage
    dtype: torch.dtype
    shape: tuple[int, ...]
    stride: tuple[int, ...]
    offset: int

    @property
    def n_bytes(self) -> int:
        """What the tensor would take if it shared nothing."""
        return math.prod(self.shape) * self.dtype.itemsize


def settings_in(value: Any) -> Mapping[Any, Any] | None:
    """What an object that was not made holds under names, or None.

    Args:
        value: A mapping, or an `Inert` whose attributes are noted: a Namespace, or a container of OmegaConf,
            whose values lie one level deeper.

    Returns:
        Names and values.
    """
    if isinstance(value, Mapping):
        return value
    state = value.state if isinstance(value, Inert) else None
    if not isinstance(state, Mapping):
        return None
    inner = state.get("_content", state)
    return {key: _unwrapped(part) for key, part in inner.items()} if isinstance(inner, Mapping) else None


def _unwrapped(value: Any) -> Any:
    state = value.state if isinstance(value, Inert) else None
    return state["_val"] if isinstance(state, Mapping) and "_val" in state else value
