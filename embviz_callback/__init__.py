"""See what your embedding model learns: metrics, maps and alerts at the end of every epoch.

The public names are imported when first used (PEP 562): the worker process that only draws
must not pay for torch and Lightning, nor may a command line that prints its help.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from embviz_callback.analysis.metrics.numbers import Metrics, evaluate_pairs
    from embviz_callback.callback import EmbeddingVisualizer
    from embviz_callback.delivery.alerts.regression import RegressionAlert
    from embviz_callback.delivery.alerts.rule import MarginAlert
    from embviz_callback.encoding.text_encoder import text_encoder
    from embviz_callback.notebook.comparing import Comparison, compare
    from embviz_callback.notebook.evaluating import Result, evaluate
    from embviz_callback.settings import Settings

__version__ = "0.1.0"
__all__ = [
    "Comparison",
    "EmbeddingVisualizer",
    "MarginAlert",
    "Metrics",
    "RegressionAlert",
    "Result",
    "Settings",
    "__version__",
    "compare",
    "evaluate",
    "evaluate_pairs",
    "text_encoder",
]

_HOMES = {
    "Comparison": "embviz_callback.notebook.comparing",
    "EmbeddingVisualizer": "embviz_callback.callback",
    "MarginAlert": "embviz_callback.delivery.alerts.rule",
    "Metrics": "embviz_callback.analysis.metrics.numbers",
    "RegressionAlert": "embviz_callback.delivery.alerts.regression",
    "Result": "embviz_callback.notebook.evaluating",
    "Settings": "embviz_callback.settings",
    "compare": "embviz_callback.notebook.comparing",
    "evaluate": "embviz_callback.notebook.evaluating",
    "evaluate_pairs": "embviz_callback.analysis.metrics.numbers",
    "text_encoder": "embviz_callback.encoding.text_encoder",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name == "EmbeddingVisualizer":
        # LightningCLI asks for it by name, maybe long after it was imported and before `lightning` was.
        import_module("embviz_callback.adapters.either_lightning").join_loaded()
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
