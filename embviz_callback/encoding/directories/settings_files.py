"""The small files of a model directory: read if they are regular and small, believed if the weights agree."""

import json
import re
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from embviz_callback.encoding.weights.complaints import CheckpointError, short
from embviz_callback.encoding.weights.stored import Weight

# The vocabularies of the largest tokenizers take 35 MB; settings are kilobytes.
_MOST_BYTES = {".json": 200_000_000, ".txt": 100_000_000, ".model": 100_000_000, ".jinja": 1_000_000}
_MOST_SETTINGS_BYTES = 10_000_000
# Layers are counted in weights; every other number is a size of some matrix, or one of a few that cost nothing.
_COUNTS = re.compile(r"layers?$|n_layer|depth|blocks?$")
_FREE = re.compile(r"window|length|ctx|context|theta|token|_ids?$|freq|seed|base|scal|factor|rate|period|interval")
_MOST_POSITIONS = 20_000_000  # rotary models name ten million without storing any of them
# Sizes up to this cost nothing, whatever the weights are.
_FREE_COUNT, _FREE_SIZE = 64, 4096


def settings_in_folder(folder: Path) -> set[Path]:
    """Settings and tokenizer of a model directory, none of which will keep a reader waiting.

    Args:
        folder: The directory.

    Returns:
        Its files of settings; a `CheckpointError` names one that is no regular file (a link to a device, a pipe) or
        far larger than any honest one.
    """
    found = {path for path in folder.iterdir() if path.suffix in _MOST_BYTES and path.exists() and not path.is_dir()}
    for path in sorted(found):
        _check_file(path, _MOST_BYTES[path.suffix])
    return found


def _check_file(path: Path, most: int) -> None:
    if path.exists() and not path.is_file():
        raise CheckpointError(f"{path} is no regular file; do not trust this directory")
    if path.is_file() and path.stat().st_size > most:
        raise CheckpointError(f"{path} has {path.stat().st_size} bytes, {most} at most are read; do not trust it")


def read_settings(path: Path) -> Any:
    """A small JSON file of a model directory.

    Args:
        path: The file.

    Returns:
        What it holds.

    Raises:
        CheckpointError: If it is missing, no JSON, no regular file or too large.
    """
    _check_file(path, _MOST_SETTINGS_BYTES)
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror or error}") from None
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} is no JSON ({short(str(error))}); copy or download the model again") from None


def check_sizes(config: Any, weights: Collection[Weight], path: Path) -> None:
    """Compares what a configuration would have built with the weights that there are.

    Args:
        config: The content of ``config.json``.
        weights: All that the model has.
        path: For the error.

    Raises:
        CheckpointError: If it asks for more layers than there are weights, or for a matrix larger than any.
    """
    most_layers = max(_FREE_COUNT, len(weights))
    most_size = max(_FREE_SIZE, max((size for weight in weights for size in weight.shape), default=0))
    for name, value in _numbers(config):
        most = _MOST_POSITIONS if "position" in name else most_layers if _COUNTS.search(name) else most_size
        if value > most and not _FREE.search(name):
            raise CheckpointError(
                f"{path}: config.json says {short(name)} {value:,}, which its {len(weights)} weights cannot fill "
                f"(at most {most:,}); it is not theirs, or made to fill the memory"
            )


def _numbers(value: Any, name: str = "") -> Iterator[tuple[str, int]]:
    """Every number below a value, with the name it stands under."""
    if isinstance(value, dict):
        for key, part in value.items():
            yield from _numbers(part, str(key))
    elif isinstance(value, list):
        for part in value:
            yield from _numbers(part, name)
    elif isinstance(value, int | float) and abs(value) < 1e300:
        yield name, int(value)
