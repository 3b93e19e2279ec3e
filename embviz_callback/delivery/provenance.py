"""What an evaluation rests on: the pairs that were given, and the circumstances it was made in."""

import math
from collections.abc import Mapping
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import embviz_callback
from embviz_callback.delivery.redaction import is_setting
from embviz_callback.pairs.formats.reading import PairFile, Reading, read_pairs

_MOST_HPARAMS = 50
_PACKAGES = ("torch", "pytorch-lightning", "lightning", "numpy")


def given_pairs(data: Any, datamodule: Any = None, reading: Reading | None = None) -> PairFile:
    """The pairs that a training is to be watched by.

    Args:
        data: What `read_pairs` takes, or None for the data module's.
        datamodule: May have ``validation_pairs()``, which returns the same.
        reading: How they are read.

    Returns:
        The pairs.

    Raises:
        ValueError: If there is no data; a `DataError` if they cannot be read.
    """
    if data is None:
        give = getattr(datamodule, "validation_pairs", None)
        if not callable(give):
            raise ValueError(
                "EmbeddingVisualizer has no data; give it the path of a file or a list of pairs, "
                "or give the trainer a data module with validation_pairs()"
            )
        data = give()
    return read_pairs(data, reading)


def circumstances(trainer: Any, module: Any) -> dict[str, Any]:
    """Model, device, precision and versions as plain JSON, for the report."""
    return {
        "model": type(module).__name__,
        "device": f"{module.device}",
        "precision": f"{trainer.precision}",
        "strategy": type(trainer.strategy).__name__,
        "ranks": trainer.world_size,
        "hparams": plain_hparams(getattr(module, "hparams", None)),
        "versions": versions(*_PACKAGES),
    }


def plain_hparams(given: Any) -> dict[str, bool | int | float | str]:
    """Those hyperparameters of a module that are plainly settings: they stand in reports, which are passed on.

    Args:
        given: What Lightning keeps after ``save_hyperparameters``; anything else has none.

    Returns:
        Numbers, truth values and short words, at most 50; nothing with the name or the look of a secret.
    """
    if not isinstance(given, Mapping):
        return {}
    # Names that begin with an underscore are Lightning's own.
    shown = {f"{name}": value for name, value in given.items() if not f"{name}".startswith("_")}
    plain = {name: value for name, value in shown.items() if is_setting(name, value) and _is_json(value)}
    return dict(list(plain.items())[:_MOST_HPARAMS])


def _is_json(value: Any) -> bool:
    return not isinstance(value, float) or math.isfinite(value)


def versions(*packages: str) -> dict[str, str]:
    """Of this package and of those among `packages` that are installed."""
    found = {"embviz_callback": embviz_callback.__version__}
    for name in packages:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found
