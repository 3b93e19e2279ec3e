"""What an evaluation rests on: the pairs that were given, and the circumstances it was made in."""

import math
import re
from collections.abc import Mapping
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import embviz_callback
from embviz_callback.pairs.formats.reading import PairFile, Reading, read_pairs

# They would stand in reports and job files, which are passed on.
_SECRET = re.compile(r"(?i)token(?!s|i)|secret|passw|api_?key|credential")
_MOST_HPARAMS, _LONGEST = 50, 200
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
    """Those hyperparameters of a module that are numbers, words or truth values, and by their name no secret.

    Args:
        given: What Lightning keeps after ``save_hyperparameters``; anything else has none.

    Returns:
        At most 50; a long text is cut.
    """
    if not isinstance(given, Mapping):
        return {}
    # Names that begin with an underscore are Lightning's own.
    shown = {f"{name}": value for name, value in given.items() if not f"{name}".startswith("_")}
    shown = {name: value for name, value in shown.items() if not _SECRET.search(name)}
    plain = {name: value for name, value in shown.items() if _is_plain(value)}
    cut = {name: value[:_LONGEST] if isinstance(value, str) else value for name, value in plain.items()}
    return dict(list(cut.items())[:_MOST_HPARAMS])


def _is_plain(value: Any) -> bool:
    # By type, not instance: a subclass may be anything, and must be readable without its class.
    return type(value) in (bool, int, str) or (type(value) is float and math.isfinite(value))


def versions(*packages: str) -> dict[str, str]:
    """Of this package and of those among `packages` that are installed."""
    found = {"embviz_callback": embviz_callback.__version__}
    for name in packages:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found
