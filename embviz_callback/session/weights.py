"""The weights of the last look: whether they are still the same, and whether the vectors follow them."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from embviz_callback.encoding.isolation import weights_mark
from embviz_callback.evaluator import Encoded

_STANDING = (
    "the weights have changed since the last evaluation and the vectors have not, to the last bit: encode gives what "
    "it has kept, calls another model, or uses nothing of what is trained; let it compute with the module that it is "
    "given"
)
_CHANGED = (
    "the weights were changed after they had been evaluated and before the next step, so that the numbers of an epoch "
    "are not those of its checkpoint; put EmbeddingVisualizer behind the callback that does it, or move what the "
    "module does in its own on_train_epoch_end into on_train_epoch_start"
)


class Weights:
    """Those that were looked at last, as far as a few of their numbers tell."""

    def __init__(self) -> None:
        self._mark: bytes | None = None
        self._vectors: int | None = None

    def see(self, module: Any, encoded: Sequence[Encoded]) -> list[str]:
        """Notes what was looked at.

        Args:
            module: With these weights.
            encoded: What came of it; empty where encoding failed.

        Returns:
            What to say, if vectors stand still while weights change.
        """
        rows = encoded[0].embeddings.queries if encoded else np.empty((1, 0))
        mark = weights_mark(module)
        vectors = hash(rows.tobytes()) if (rows != rows[:1]).any() else None  # a collapsed model's may stay equal
        stands = mark != self._mark and vectors is not None and vectors == self._vectors
        self._mark, self._vectors = mark, vectors
        return [_STANDING] * stands

    def are_others(self, module: Any) -> bool:
        """Whether somebody has changed a module's weights since it was looked at."""
        return self._mark is not None and weights_mark(module) != self._mark

    def changed_afterwards(self, module: Any) -> list[str]:
        """What to say before the next step, if somebody has."""
        return [_CHANGED] * self.are_others(module)
