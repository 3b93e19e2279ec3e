"""What each query contributes, in a file: enough to test a later evaluation of the same queries against this one."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np

from embviz_callback.analysis.metrics.catalogue import RANK_NAMES
from embviz_callback.analysis.metrics.intervals import PerQuery, Sampling
from embviz_callback.embeddings import Floats, Rows
from embviz_callback.files import read_json
from embviz_callback.pairs.texts import fold
from embviz_callback.snapshot import Snapshot

_MOMENTS = ("count", "sum", "square")


@dataclass(frozen=True, eq=False)
class ByQuery:
    """An evaluation of a subset, query by query.

    Attributes:
        fingerprint: Of the subset.
        keys: Per query a hash of its text; the order may be another one in another file.
        statistics: What each contributes.
    """

    fingerprint: str
    keys: tuple[str, ...]
    statistics: PerQuery

    @classmethod
    def of(cls, snapshot: Snapshot) -> Self | None:
        """That of an evaluation; None where its queries are not known."""
        statistics = snapshot.metrics.per_query
        if statistics is None:
            return None
        keys = tuple(hashlib.sha256(fold(text).encode()).hexdigest()[:8] for text in snapshot.subset.queries)
        return cls(snapshot.subset.fingerprint, keys, statistics)

    def in_order_of(self, other: "ByQuery") -> PerQuery:
        """The statistics with the queries in another's order."""
        place = {key: row for row, key in enumerate(self.keys)}
        rows = np.array([place[key] for key in other.keys], dtype=np.int64)
        return replace(self.statistics.taken(rows), sampling=Sampling(other.statistics.sampling.groups))

    def to_json(self) -> dict[str, str | float]:
        """Plain JSON: a line of numbers for each, in the order of the queries."""
        own = self.statistics
        lines = {name: _line(own.ranks[name]) for name in RANK_NAMES if name in own.ranks}
        for side in ("positive", "negative"):
            lines |= {
                f"{side}_{name}": _line(column) for name, column in zip(_MOMENTS, getattr(own, side).T, strict=True)
            }
        return {"query": " ".join(self.keys), "group": _line(own.sampling.groups), **lines, "centre": own.centre}


def _line(values: Floats | Rows) -> str:
    return " ".join(f"{value:.9g}" for value in values)


def read_by_query(path: Path) -> ByQuery:
    """What ``metrics.json`` says of each query.

    Args:
        path: The file.

    Returns:
        The evaluation.

    Raises:
        ValueError: If the file says nothing of them, as one of an older version.
    """
    try:
        stored = read_json(path)
        return _by_query(stored["fingerprint"], stored["per_query"])
    except (OSError, UnicodeDecodeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"{path}: expected the metrics.json of an evaluation with its queries, found none ({error})."
            " Fix: evaluate that model again, or give its checkpoint or embeddings.npz"
        ) from None


def _by_query(fingerprint: str, lines: Mapping[str, Any]) -> ByQuery:
    def column(name: str) -> Floats:
        return np.array(lines[name].split(), dtype=np.float64)

    positive, negative = (
        np.stack([column(f"{side}_{name}") for name in _MOMENTS], axis=1) for side in ("positive", "negative")
    )
    ranks = {name: column(name) for name in RANK_NAMES if name in lines}
    sampling = Sampling(column("group").astype(np.int64))
    statistics = PerQuery(sampling, positive, negative, ranks, float(lines["centre"]))
    return ByQuery(fingerprint, tuple(lines["query"].split()), statistics)
