"""Folders of LoRA adapters, merged into the model that they name."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from embviz_callback.encoding.checkpoints.hub import hub_directory, is_hub_name
from embviz_callback.encoding.models.biencoder import Backbone
from embviz_callback.encoding.models.lora import merge, scale_in, split_lora
from embviz_callback.encoding.weights.complaints import CheckpointError, short
from embviz_callback.encoding.weights.fit import ends_of, plain_name
from embviz_callback.encoding.weights.stored import Weight, fetch

ADAPTER_SETTINGS = "adapter_config.json"
ADAPTER_WEIGHTS = ("adapter_model.safetensors", "adapter_model.bin")


def is_adapter(folder: Path) -> bool:
    """Whether a folder holds an adapter and not the model that it adapts."""
    whole = ("model.safetensors", "pytorch_model.bin", "model.safetensors.index.json", "pytorch_model.bin.index.json")
    return (folder / ADAPTER_SETTINGS).is_file() and not any((folder / name).is_file() for name in whole)


def base_folder(facts: Mapping[str, Any], folder: Path, encoder: str | None) -> Path:
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


def adapt(
    backbone: Backbone, facts: Mapping[str, Any], folder: Path, weights_of: Callable[[Path], dict[str, Weight]]
) -> tuple[str, ...]:
    """Adds the adapter in a folder to a model in memory.

    Args:
        backbone: Is changed.
        facts: The content of the adapter's ``adapter_config.json``.
        folder: Of the adapter.
        weights_of: Reads a file of weights.

    Returns:
        Names of weights of the adapter that the encoder has no use for.

    Raises:
        CheckpointError: If the adapter is of another kind, or of another model.
    """
    place = next((folder / name for name in ADAPTER_WEIGHTS if (folder / name).is_file()), None)
    if place is None:
        raise CheckpointError(
            f"{folder} has an {ADAPTER_SETTINGS} but no weights; it needs {' or '.join(ADAPTER_WEIGHTS)}"
        )
    named = {plain_name(name): weight for name, weight in weights_of(place).items()}
    whole, changes = split_lora(named, folder)
    merge(backbone.encoder, changes, scale_in(facts, folder), folder)
    return _replaced(backbone, whole, folder)


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
