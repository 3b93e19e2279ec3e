"""The training's own loss between two evaluations, which tells overfitting from a mere fall."""

import math
from typing import Any


class TrainingLoss:
    """Mean of the losses seen since it was last taken.

    A tensor stays on its device until then: a step of the training must not wait for it.
    """

    def __init__(self) -> None:
        self._sum: Any = 0.0
        self._count = 0

    def see(self, loss: Any) -> None:
        """Adds a step's loss: a number, a tensor of one, or a mapping with one under ``loss``; else nothing."""
        value: Any = loss.get("loss") if isinstance(loss, dict) else loss
        value = value.detach() if hasattr(value, "detach") else value
        if isinstance(value, bool) or not (isinstance(value, int | float) or getattr(value, "numel", lambda: 0)() == 1):
            return
        self._sum = self._sum + value
        self._count += 1

    def taken(self) -> float:
        """The mean, and a new beginning; NaN where nothing was seen."""
        mean = float(self._sum) / self._count if self._count else math.nan
        self._sum, self._count = 0.0, 0
        return mean
