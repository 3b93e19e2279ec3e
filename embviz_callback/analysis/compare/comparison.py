"""Several checkpoints or epochs side by side on one subset: what has changed beyond chance, and which is best."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Protocol

import numpy as np

from embviz_callback.analysis.compare.ledger import Evaluated, Ledger
from embviz_callback.analysis.compare.standings import Changes, Series
from embviz_callback.analysis.maps.projections import Projection, Skipped, project
from embviz_callback.analysis.metrics.intervals import PerQuery, paired_difference, per_query
from embviz_callback.analysis.metrics.numbers import Metrics
from embviz_callback.embeddings import Embeddings
from embviz_callback.pairs.texts import fold

RULE = (
    "highest rank-1; of those that cannot be told from it (the paired 95 % interval of the difference includes 0)"
    " the one with the highest separation, which unlike the margin does not depend on the scale of the scores;"
    " of equal ones the first"
)
_SIGNS = ("rank1", "separation")


class Measured(Evaluated, Protocol):
    """What a comparison reads of a snapshot."""

    @property
    def embeddings(self) -> Embeddings:
        """The vectors."""

    @property
    def metrics(self) -> Metrics:
        """The numbers."""


@dataclass(frozen=True)
class Difference:
    """A metric's change between two evaluations of the same queries.

    Attributes:
        value: Later minus earlier.
        low: Lower end of its paired 95 % interval; NaN where nothing can be said.
        high: Upper end.
    """

    value: float
    low: float
    high: float

    @property
    def is_beyond_chance(self) -> bool:
        """Whether the interval leaves 0 out."""
        return self.low > 0 or self.high < 0


@dataclass(frozen=True)
class Fall:
    """A later evaluation that is worse than an earlier one beyond the interval.

    Attributes:
        metric: In which it is worse.
        before: Label of the earlier one, the best until then.
        after: Label of the later one.
        difference: Below 0, its interval too.
    """

    metric: str
    before: str
    after: str
    difference: Difference


@dataclass(frozen=True, eq=False)
class Comparison:
    """Evaluations of one subset, in the order in which they were given.

    Attributes:
        fingerprint: Of the subset.
        labels: One per evaluation, all different.
        metrics: Likewise.
        reference: Index of the one that differences are taken from.
        differences: For each evaluation name to difference from the reference; none for itself.
        changes: For each evaluation the queries gained and lost since the reference.
        best: Index of the best by RULE.
        falls: Later ones that are worse than the best before them.
        series: Each query's standing.
        is_in_order: They are epochs of a run, one after the other, so that a fall is a sign of
            overfitting; otherwise later means further down the list only.
    """

    fingerprint: str
    labels: tuple[str, ...]
    metrics: tuple[Metrics, ...]
    reference: int
    differences: tuple[Mapping[str, Difference], ...]
    changes: tuple[Changes, ...]
    best: int
    falls: tuple[Fall, ...]
    series: Series
    is_in_order: bool


def compare(snapshots: Sequence[Measured], *, reference: int = 0, draws: int = 1000, seed: int = 0) -> Comparison:
    """Compares evaluations pair by pair on the same resampled queries.

    Args:
        snapshots: Two or more, in the order of training if there is one.
        reference: Index of the one that the others are held against.
        draws: Resamples behind an interval.
        seed: Of the resamples.

    Returns:
        The comparison.

    Raises:
        ValueError: If there are fewer than two, or their subsets differ.
    """
    if len(snapshots) < 2:
        raise ValueError(f"a comparison needs at least two evaluations, got {len(snapshots)}")
    first = snapshots[0].subset.fingerprint
    for one in snapshots[1:]:
        if one.subset.fingerprint != first:
            raise ValueError(
                f"only evaluations of one subset can be compared: {snapshots[0].label} is of {first},"
                f" {one.label} of {one.subset.fingerprint}; use the same data, max_samples, seed and corpus"
            )
    if not 0 <= reference < len(snapshots):
        raise ValueError(f"reference must be an index below {len(snapshots)}, got {reference}")
    statistics = [_statistics(one, snapshots[0]) for one in snapshots]
    paired = _Paired(statistics, draws, seed)
    labels = _distinct([one.label for one in snapshots])
    series = _series(snapshots, labels)
    places = range(len(snapshots))
    return Comparison(
        fingerprint=first,
        labels=labels,
        metrics=tuple(one.metrics for one in snapshots),
        reference=reference,
        differences=tuple({} if place == reference else paired.differences(reference, place) for place in places),
        changes=tuple(series.changes(reference, place) for place in places),
        best=paired.best([one.metrics for one in snapshots]),
        falls=paired.falls([one.metrics for one in snapshots], labels),
        series=series,
        is_in_order=_is_in_order(snapshots),
    )


def best_checkpoint(snapshots: Sequence[Measured], *, draws: int = 1000, seed: int = 0) -> int:
    """Index of the best of several evaluations of one subset, by RULE.

    Args:
        snapshots: One or more.
        draws: Resamples behind the intervals.
        seed: Of the resamples.

    Returns:
        What `compare` calls best.
    """
    return compare(snapshots, draws=draws, seed=seed).best if len(snapshots) > 1 else 0


def common_maps(snapshots: Sequence[Measured], method: str, *, seed: int) -> tuple[Projection | Skipped, ...]:
    """One map for each evaluation on common axes: each starts from the one before.

    Args:
        snapshots: With the same texts in the same order.
        method: Key of MAPS.
        seed: Of the maps.

    Returns:
        Maps, or why there is none.
    """
    made: list[Projection | Skipped] = []
    previous = None
    for one in snapshots:
        if one.subset.queries != snapshots[0].subset.queries or one.subset.documents != snapshots[0].subset.documents:
            made.append(Skipped("its texts stand in another order; evaluate it with the same seed"))
            continue
        made.append(project(one.embeddings, method, seed=seed, previous=previous))
        previous = made[-1] if isinstance(made[-1], Projection) else previous
    return tuple(made)


@dataclass(frozen=True, eq=False)
class _Paired:
    """Differences between evaluations whose queries stand in one order."""

    statistics: Sequence[PerQuery]
    draws: int
    seed: int

    def differences(self, before: int, after: int) -> dict[str, Difference]:
        found = paired_difference(self.statistics[before], self.statistics[after], draws=self.draws, seed=self.seed)
        return {name: Difference(*ends) for name, ends in found.items()}

    def best(self, metrics: Sequence[Metrics]) -> int:
        """By RULE."""
        top = _highest([one.rank1 for one in metrics])
        equals = [
            place
            for place in range(len(metrics))
            if place == top or not self.differences(top, place)["rank1"].is_beyond_chance
        ]
        return equals[_highest([metrics[place].separation for place in equals])]

    def falls(self, metrics: Sequence[Metrics], labels: Sequence[str]) -> tuple[Fall, ...]:
        """Later evaluations that are worse than the best one before them."""
        found = []
        for name in _SIGNS:
            values = [one[name] for one in metrics]
            for after in range(1, len(metrics)):
                peak = _highest(values[:after])
                difference = self.differences(peak, after)[name]
                if difference.high < 0:
                    found.append(Fall(name, labels[peak], labels[after], difference))
        return tuple(found)


def _highest(values: Sequence[float]) -> int:
    """The first of the highest; NaN is below everything."""
    known = [-math.inf if math.isnan(value) else value for value in values]
    return known.index(max(known))


def _statistics(one: Measured, first: Measured) -> PerQuery:
    """What its queries contribute, in the order of the first evaluation's queries."""
    found = per_query(one.similarity, one.embeddings, groups=one.subset.group)
    if one.subset.queries == first.subset.queries:
        return replace(found, groups=first.subset.group)
    row = {fold(text): place for place, text in enumerate(one.subset.queries)}
    order = np.array([row[fold(text)] for text in first.subset.queries])
    return PerQuery(
        groups=first.subset.group,
        positive=found.positive[order],
        negative=found.negative[order],
        ranks={name: values[order] for name, values in found.ranks.items()},
        centre=found.centre,
    )


def _distinct(labels: Sequence[str]) -> tuple[str, ...]:
    """Labels of which no two are equal: two files of one name are told apart by their place."""
    return tuple(
        f"{label} ({place + 1})" if list(labels).count(label) > 1 else label for place, label in enumerate(labels)
    )


def _series(snapshots: Sequence[Measured], labels: Sequence[str]) -> Series:
    """The ledger's view of them, in the order given."""
    ledgers = [Ledger().record(one).series[0] for one in snapshots]
    evaluations = tuple(replace(one.evaluations[0], label=label) for one, label in zip(ledgers, labels, strict=True))
    return replace(ledgers[0], evaluations=evaluations)


def _is_in_order(snapshots: Sequence[Measured]) -> bool:
    steps = [(-1 if one.epoch is None else one.epoch, -1 if one.step is None else one.step) for one in snapshots]
    return all(before < after for before, after in pairwise(steps))
