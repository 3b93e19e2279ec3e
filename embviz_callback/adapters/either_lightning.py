"""Lightning under either of its names, `pytorch_lightning` and `lightning.pytorch`: whichever the trainer is of."""

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

__all__ = ["Callback", "join_loaded", "lightning_of", "pl"]

_NAMES = ("pytorch_lightning", "lightning.pytorch")


def lightning_of(thing: Any) -> ModuleType | None:
    """The Lightning that an object's class comes from; a trainer takes only its own modules.

    Args:
        thing: A module, trainer or callback of either.

    Returns:
        `pytorch_lightning` or `lightning.pytorch`, None for what is of neither.
    """
    for base in type(thing).__mro__:
        for name in _NAMES:
            if base.__module__.startswith(f"{name}."):
                return sys.modules[name]
    return None


def _loaded() -> list[ModuleType]:
    found = [sys.modules[name] for name in _NAMES if name in sys.modules]
    return [module for module in found if hasattr(module, "Callback")]  # None is what blocks an import


def _find() -> ModuleType:
    """The first that is loaded, else the first that is installed: the other need not be there."""
    for module in _loaded():
        return module
    for name in _NAMES:
        try:
            return import_module(name)
        except ModuleNotFoundError as error:
            if not name.startswith(error.name or "-"):
                raise
    raise ModuleNotFoundError(
        "EmbeddingVisualizer needs Lightning; install it with: pip install pytorch-lightning",
        name=_NAMES[0],
    )


if TYPE_CHECKING:
    import pytorch_lightning as pl

    Callback = pl.Callback
else:
    pl = _find()

    class Callback(*(module.Callback for module in _loaded())):
        """The base of our callbacks: of each Lightning that is loaded."""


def join_loaded() -> None:
    """Makes our callbacks those of a Lightning imported after them too.

    Both trainers take each other's callbacks, but a LightningCLI checks the type, and sorted imports
    put ours before `lightning`.
    """
    missing = tuple(module.Callback for module in _loaded() if not issubclass(Callback, module.Callback))
    if missing:
        Callback.__bases__ = (*Callback.__bases__, *missing)
