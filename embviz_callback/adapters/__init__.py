"""Other training programs: the same evaluation behind their interfaces.

The public names are imported when first used (PEP 562): who has transformers need not have sentence-transformers.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from embviz_callback.adapters.sentence_transformers import EmbvizEvaluator
    from embviz_callback.adapters.transformers import EmbvizTrainerCallback

__all__ = ["EmbvizEvaluator", "EmbvizTrainerCallback"]

_HOMES = {
    "EmbvizEvaluator": "embviz_callback.adapters.sentence_transformers",
    "EmbvizTrainerCallback": "embviz_callback.adapters.transformers",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
