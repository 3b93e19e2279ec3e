"""One set under watch, and the numbers that a face gets of it."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from embviz_callback.analysis.metrics.catalogue import CATALOGUE
from embviz_callback.analysis.metrics.numbers import Metrics, evaluate_pairs
from embviz_callback.analysis.verdict.best import Candidate
from embviz_callback.delivery.process.drawings import Drawings
from embviz_callback.evaluator import Evaluator


@dataclass(frozen=True, eq=False)
class Course:
    """One set under watch.

    Attributes:
        name: Of the set, empty where there is one without a name.
        at: The name under which its memory is kept, empty for the first.
        evaluator: What is looked at.
        drawings: What is drawn of it.
    """

    name: str
    at: str
    evaluator: Evaluator
    drawings: Drawings

    def named(self, values: Mapping[str, float]) -> dict[str, float]:
        """Values under their names, and of several sets under that of the set; those of the first under both."""
        named = {f"{self.name}/{name}": value for name, value in values.items()} if self.name else {}
        return named if self.at else {**values, **named}

    def no_values(self) -> dict[str, float]:
        """NaN under every name that an evaluation of this set gives."""
        # The names are those of a very small evaluation.
        rows = np.eye(2, dtype=np.float32)
        has_hard = len(self.evaluator.subset.hard_pairs) > 0
        hard: Any = {"hard_negatives": rows, "hard_pairs": [[0, 1]]} if has_hard else {}
        return dict.fromkeys(values_of(evaluate_pairs(rows, rows, [0, 1], draws=0, **hard), None), math.nan)


def values_of(metrics: Metrics, standing: Candidate | None) -> dict[str, float]:
    """What is logged of an evaluation.

    Args:
        metrics: Its numbers; bounds of ties stand in the history and the report, and would double the tags.
        standing: Among the evaluations of its run; None where it has none.

    Returns:
        Names of docs/metrics.md to values, and ``merit``.
    """
    known = {name: metrics[name] for name in metrics if name in CATALOGUE and not CATALOGUE[name].is_bound}
    return {**known, "merit": math.nan if standing is None else standing.merit}
