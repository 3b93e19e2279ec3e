"""Weights that lie in a file: their names and shapes first, their numbers when they are asked for."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from embviz_callback.encoding.weights.complaints import CheckpointError, short
from embviz_callback.encoding.weights.pickle_values import Inert, StoredTensor
from embviz_callback.encoding.weights.torch_files import Places, bytes_of

# A module that is registered under several names is saved under each.
_MOST_COPIES = 8


@dataclass(frozen=True, eq=False)
class WeightsSource:
    """An open file of weights.

    Attributes:
        path: Where it is.
        places: By the key of a storage its bytes; empty for safetensors.
        safe: The open safetensors file, None for one of ``torch.save``.
    """

    path: Path
    places: Places
    safe: Any = None


@dataclass(frozen=True, eq=False)
class Weight:
    """One weight in a file.

    Attributes:
        name: As the file calls it.
        stored: Its type and shape.
        source: The file.
    """

    name: str
    stored: StoredTensor
    source: WeightsSource

    @property
    def shape(self) -> tuple[int, ...]:
        """Its sizes."""
        return self.stored.shape

    @property
    def dtype(self) -> torch.dtype:
        """Its type."""
        return self.stored.dtype


def as_weight(name: object, value: object, source: WeightsSource) -> Weight:
    """What a file holds under a name, as a dense tensor of real numbers.

    Args:
        name: In the file.
        value: There.
        source: The file.

    Returns:
        The weight.

    Raises:
        CheckpointError: If the name is no string or the value is no dense tensor.
    """
    unlike = isinstance(value, Inert) and value.name.startswith("torch._utils._rebuild")
    if unlike or (isinstance(value, StoredTensor) and value.dtype.is_complex):
        raise CheckpointError(
            f"{source.path}: {short(name)} is no dense real tensor; save it as float32, float16 or bfloat16"
        )
    if not isinstance(name, str) or not isinstance(value, StoredTensor):
        raise CheckpointError(
            f"{source.path}: {short(name)} should be a tensor, it is {type(value).__name__} {short(value)}"
        )
    return Weight(name, value, source)


def fetch(weights: Mapping[str, Weight]) -> dict[str, Tensor]:
    """The numbers of weights; each storage is read once and compared with its checksum.

    Args:
        weights: By any names, of one file or several.

    Returns:
        Under the same names and in the same order, on the CPU; a `CheckpointError` says that a checksum is wrong, a
        number is no finite one, or a tensor claims more than is stored.
    """
    _check_claims(weights)
    read: dict[tuple[Path, str], Tensor] = {}
    made = {name: numbers_of(weight, read) for name, weight in weights.items()}
    for name, tensor in made.items():
        _check_finite(weights[name], tensor)
    return made


def are_equal(one: Mapping[str, Weight], other: Mapping[str, Weight]) -> bool:
    """Whether weights under the same names hold the same numbers."""
    if {name: weight.shape for name, weight in one.items()} != {name: weight.shape for name, weight in other.items()}:
        return False
    if all(one[name].stored is other[name].stored for name in one):
        return True
    first, second = fetch(one), fetch(other)
    return all(torch.equal(first[name], second[name]) for name in first)


def numbers_of(weight: Weight, read: dict[tuple[Path, str], Tensor] | None = None) -> Tensor:
    """The numbers of one weight as they stand in the file, NaN and infinity included.

    Args:
        weight: Which.
        read: Storages that were read before, by file and key; this one is added.

    Returns:
        A view of its storage.
    """
    read = {} if read is None else read
    source, stored = weight.source, weight.stored
    if source.safe is not None:
        found: Tensor = source.safe.get_tensor(stored.storage.key)
        return found
    place = (source.path, stored.storage.key)
    if place not in read:
        content = bytes_of(source.path, source.places[place[1]])
        read[place] = torch.frombuffer(content, dtype=torch.uint8) if content else torch.empty(0, dtype=torch.uint8)
    return read[place].view(stored.dtype).as_strided(stored.shape, stored.stride, stored.offset)


def _check_claims(weights: Mapping[str, Weight]) -> None:
    """Views may repeat what is stored: one number a billion times, or one matrix under a thousand names."""
    claimed: dict[Path, int] = {}
    for weight in weights.values():
        path, stored = weight.source.path, weight.stored
        there = stored.storage.n_bytes
        claimed[path] = claimed.get(path, 0) + stored.n_bytes
        if stored.n_bytes > there or claimed[path] > _MOST_COPIES * path.stat().st_size:
            raise CheckpointError(
                f"{path}: {short(weight.name)} claims {stored.n_bytes} bytes of weights where the file stores "
                f"{there}; it is damaged or made to fill the memory, do not trust it"
            )


def _check_finite(weight: Weight, tensor: Tensor) -> None:
    if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
        n_bad = int((~torch.isfinite(tensor)).sum())
        raise CheckpointError(
            f"{weight.source.path}: {short(weight.name)} holds {n_bad} NaN or infinite weights of {tensor.numel()}; "
            "the training diverged or the file is damaged, take an earlier checkpoint"
        )
