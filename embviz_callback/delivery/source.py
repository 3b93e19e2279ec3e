"""What an evaluation rests on: the pairs that were given, and the circumstances it was made in."""

import os
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import embviz_callback
from embviz_callback.pairs.reading import Record, read_pairs, records_from

_PACKAGES = ("torch", "pytorch-lightning", "lightning", "numpy")


def read_source(data: Any, datamodule: Any) -> tuple[tuple[Record, ...], dict[str, Any]]:
    """Records, and where they come from.

    Args:
        data: Path, list of pairs, or None for the data module's.
        datamodule: May have ``validation_pairs()``, which returns a path or pairs.

    Returns:
        The records, and plain JSON for the report.

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
    if isinstance(data, str | os.PathLike):
        file = read_pairs(data)
        return file.records, {"data": file.path, "data_sha256": file.sha256, "skipped_records": file.skipped}
    return records_from(data), {"data": f"{len(data)} pairs from Python"}


def circumstances(trainer: Any, module: Any) -> dict[str, Any]:
    """Model, device, precision and versions as plain JSON, for the report."""
    return {
        "model": type(module).__name__,
        "device": f"{module.device}",
        "precision": f"{trainer.precision}",
        "strategy": type(trainer.strategy).__name__,
        "ranks": trainer.world_size,
        "versions": versions(*_PACKAGES),
    }


def versions(*packages: str) -> dict[str, str]:
    """Of this package and of those among `packages` that are installed."""
    found = {"embviz_callback": embviz_callback.__version__}
    for name in packages:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found
