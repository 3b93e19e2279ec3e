"""What a folder or file is that holds no model which could be read, and what to do about it."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from embviz_callback.encoding.weights.complaints import CheckpointError, short

_SHARDED = "it is a sharded training checkpoint{}; consolidate it into one file first"
_DEEPSPEED, _FSDP = " of DeepSpeed (python zero_to_fp32.py)", " of FSDP (accelerate merge-weights)"
# By what lies in a folder: names, or ends of names.
_MARKS: tuple[tuple[tuple[str, ...], str], ...] = (
    (("zero_to_fp32.py", "_optim_states.pt", "_model_states.pt"), _SHARDED.format(_DEEPSPEED)),
    ((".metadata", ".distcp", "pytorch_model_fsdp_0"), _SHARDED.format(_FSDP)),
    (("meta.pt",), _SHARDED.format("")),
    ((".onnx", "onnx"), "it is an ONNX export, which is run by another library; give the model it was made from"),
    (("openvino_model.xml", "openvino"), "it is an OpenVINO export; give the model it was made from"),
    ((".gguf",), "it is a GGUF export; give the model it was made from"),
    (("tf_model.h5", "saved_model.pb"), "it is a TensorFlow model; save it with PyTorch (from_tf=True) first"),
    (("flax_model.msgpack",), "it is a Flax model; save it with PyTorch (from_flax=True) first"),
)
_MODEL_FILES = ("config.json", "modules.json", "adapter_config.json")
_WEIGHT_ENDS = (".pt", ".ckpt", ".safetensors", ".bin", ".pth")
# What a training needs to go on, beside the weights.
_OF_TRAINING = re.compile(r"(optimizer|scheduler|scaler|sampler|rng_state|random_states|training_args)[_\d]*\.")


def what_instead(path: Path) -> str:
    """What a folder is that has no model in it.

    Args:
        path: The folder.

    Returns:
        A clause that says what it is, or what is missing and what lies near.
    """
    names = sorted(entry.name for entry in path.iterdir())
    steps = [path / name for name in names if name.startswith("global_step")]
    below = [inner.name for step in steps if step.is_dir() for inner in step.iterdir()]
    for marks, sentence in _MARKS:
        if any(name.endswith(marks) for name in (*names, *below)):
            return sentence
    # Two levels, since the hub's cache has snapshots/<hash>.
    models = [found.parent for level in ("*", "*/*") for one in _MODEL_FILES for found in path.glob(f"{level}/{one}")]
    for near in (_weights_in(path), models, *map(_weights_in, map(path.joinpath, names))):
        if near:
            return f"there is no config.json in it; did you mean {max(near, key=_last_number)}?"
    there = f"only {short(', '.join(names))}" if names else "nothing at all"
    return f"there is no config.json and no modules.json in it, {there}"


def _weights_in(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return [one for one in folder.iterdir() if one.name.endswith(_WEIGHT_ENDS) and not _OF_TRAINING.match(one.name)]


def _last_number(path: Path) -> tuple[int, str]:
    """Trainers number what they save: the newest has the highest number, and is not the last in the alphabet."""
    numbers = re.findall("[0-9]{1,15}", path.name)
    return (int(numbers[-1]) if numbers else -1, path.name)


def refuse_quantised(config: Mapping[str, Any], path: Path) -> None:
    """Refuses weights that are no numbers by themselves.

    Args:
        config: The content of ``config.json``.
        path: Of the folder.

    Raises:
        CheckpointError: If the model was quantised.
    """
    facts = config.get("quantization_config")
    if isinstance(facts, Mapping) and facts:
        method = short(str(facts.get("quant_method", "an unnamed method")))
        raise CheckpointError(f"{path} is quantised by {method}; give the model it was made from")


def refuse_shards(entries: Mapping[str, Any], content: Mapping[Any, Any], path: Path) -> None:
    """Refuses a file that is one rank's part of a model.

    Args:
        entries: What it holds under names.
        content: The file.
        path: Of the file.

    Raises:
        CheckpointError: If it is such a part.
    """
    kinds = {getattr(value, "name", "") for value in entries.values()}
    if any("ShardedTensor" in kind or "DTensor" in kind for kind in kinds):
        raise CheckpointError(f"{path}: {_SHARDED.format(_FSDP)}")
    shapes = [getattr(value, "shape", (1,)) for value in entries.values()]
    is_part = "ds_version" in content or "ds_config" in content
    if path.name.endswith("_optim_states.pt") or (is_part and (not shapes or all(0 in shape for shape in shapes))):
        raise CheckpointError(f"{path}: {_SHARDED.format(_DEEPSPEED)}")
