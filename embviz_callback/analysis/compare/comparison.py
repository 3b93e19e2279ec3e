"""Several checkpoints or epochs on one subset: what has changed beyond chance, for which queries, and which is best."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Self

import numpy as np

from embviz_callback.analysis.maps.projections import Projection, Skipped, project
from embviz_callback.analysis.metrics.contrasts import Difference, compared
from embviz_callback.analysis.metrics.intervals import PerQuery, Sampling, per_query, point
from embviz_callback.analysis.metrics.numbers import Evaluated, Metrics
from embviz_callback.analysis.metrics.searches import searches
from embviz_callback.analysis.verdict.best import Best, Fall, candidate, choose_best, chosen_metric, fallen
from embviz_callback.pairs.texts import fold, places_of


@dataclass(frozen=True)
class Outcome:
    """One query at one evaluation.

    Attributes:
        rank: Expected rank of its best positive, from 1; infinite where it has none.
        first: The document that came first; empty where nothing could be ranked.
    """

    rank: float
    first: str

    @property
    def is_hit(self) -> bool:
        """Whether a relevant document came first for sure: rank 1 exactly, so no wrong one is tied with it."""
        return self.rank == 1


@dataclass(frozen=True)
class Change:
    """A query whose first document became right or wrong between two evaluations.

    Attributes:
        query: Its text.
        expected: Its first relevant document.
        before: Then.
        after: Now.
    """

    query: str
    expected: str
    before: Outcome
    after: Outcome


@dataclass(frozen=True)
class Changes:
    """What two evaluations of the same queries differ in.

    Attributes:
        before: Label of the reference.
        after: Label of the other.
        improved: Missed before, hit after; the largest gain of ranks first.
        fell: Hit before, missed after; the deepest fall first.
    """

    before: str
    after: str
    improved: tuple[Change, ...]
    fell: tuple[Change, ...]


@dataclass(frozen=True, eq=False)
class Comparison:
    """Evaluations of one subset, in the order in which they were given.

    Attributes:
        fingerprint: Of the subset.
        labels: One per evaluation, all different.
        metrics: Likewise.
        reference: Index of the one that differences are taken from.
        differences: For each evaluation name to difference from the reference; none for itself. Probabilities
            are corrected for all the others that are compared with the reference.
        changes: For each evaluation the queries gained and lost since the reference.
        sampling: Groups of queries that intervals and tests are over.
        best: The best by RULE, and what may as well be.
        fall: Of the last from the best before it, where they are epochs of a run in order; None where none is shown.
        unshown: Labels of further ones that the best was chosen from, and that may as well be the best.
    """

    fingerprint: str
    labels: tuple[str, ...]
    metrics: tuple[Metrics, ...]
    reference: int
    differences: tuple[Mapping[str, Difference], ...]
    changes: tuple[Changes, ...]
    sampling: Sampling
    best: Best
    fall: Fall | None
    unshown: tuple[str, ...] = ()

    def of(self, places: Sequence[int]) -> Self:
        """The same with fewer evaluations to show: best, its interval and what is beyond chance stay those among all.

        Args:
            places: Ascending indices, with those of the reference, the best and the peak before a fall.

        Returns:
            A comparison of these.
        """
        new = {place: at for at, place in enumerate(places)}
        equals, undecided = (
            tuple(new[place] for place in near if place in new) for near in (self.best.equals, self.best.undecided)
        )
        near = (*self.best.equals, *self.best.undecided)
        return replace(
            self,
            labels=tuple(self.labels[place] for place in places),
            metrics=tuple(self.metrics[place] for place in places),
            reference=new[self.reference],
            differences=tuple(self.differences[place] for place in places),
            changes=tuple(self.changes[place] for place in places),
            best=replace(self.best, place=new[self.best.place], equals=equals, undecided=undecided),
            fall=None if self.fall is None else replace(self.fall, peak=new[self.fall.peak]),
            unshown=tuple(self.labels[place] for place in sorted(near) if place not in new),
        )


def compare(
    snapshots: Sequence[Evaluated], *, reference: int = 0, metric: str = "", draws: int = 1000, seed: int = 0
) -> Comparison:
    """Compares evaluations pair by pair on the same resampled queries.

    Args:
        snapshots: Two or more, in the order of training if there is one.
        reference: Index of the one that the others are held against.
        metric: By which the best is chosen; by default `chosen_metric`.
        draws: Resamples behind the interval of the best.
        seed: Of the resamples and of the flips of sign.

    Returns:
        The comparison.

    Raises:
        ValueError: If there are fewer than two, their subsets differ, or there is no such metric.
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
    statistics = [in_order_of(snapshots[0], one) for one in snapshots]
    decides = deciding_metric(snapshots[0], metric)
    candidates = [candidate(one, decides) for one in statistics]
    labels = _distinct([one.label for one in snapshots])
    return Comparison(
        fingerprint=first,
        labels=labels,
        metrics=tuple(one.metrics for one in snapshots),
        reference=reference,
        differences=_differences(statistics, reference, seed),
        changes=tuple(
            changes_between(snapshots[reference], one, labels=(labels[reference], label))
            for one, label in zip(snapshots, labels, strict=True)
        ),
        sampling=statistics[0].sampling,
        best=choose_best(candidates, decides, draws=draws, seed=seed),
        fall=fallen(candidates, decides) if _is_in_order(snapshots) else None,
    )


def _differences(statistics: Sequence[PerQuery], reference: int, seed: int) -> tuple[dict[str, Difference], ...]:
    others = [place for place in range(len(statistics)) if place != reference]
    found = compared(statistics[reference], [statistics[place] for place in others], seed=seed)
    return tuple(
        {} if place == reference else {name: family[others.index(place)] for name, family in found.items()}
        for place in range(len(statistics))
    )


def common_maps(snapshots: Sequence[Evaluated], method: str, *, seed: int) -> tuple[Projection | Skipped, ...]:
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


def deciding_metric(first: Evaluated, metric: str = "") -> str:
    """The metric by which the best of evaluations is chosen.

    Args:
        first: One of them.
        metric: That somebody asked for; empty for that of `chosen_metric`.

    Returns:
        Its name.

    Raises:
        ValueError: If there is none of that name.
    """
    known = point(in_order_of(first, first))
    decides = chosen_metric(first.embeddings, metric)
    if decides not in known:
        raise ValueError(f"metric must be one of {', '.join(known)}, got {decides!r}")
    return decides


def in_order_of(first: Evaluated, one: Evaluated) -> PerQuery:
    """What an evaluation's queries contribute, in the order of the first evaluation's queries."""
    found = one.metrics.per_query or per_query(one.similarity, one.embeddings)
    sampling = Sampling.of(first.embeddings.relevance, len(first.embeddings.queries))
    order = np.array(places_of(first.subset.queries, one.subset.queries))
    return replace(found.taken(order), sampling=sampling)


def _distinct(labels: Sequence[str]) -> tuple[str, ...]:
    """Labels of which no two are equal: two files of one name are told apart by their place."""
    return tuple(
        f"{label} ({place + 1})" if list(labels).count(label) > 1 else label for place, label in enumerate(labels)
    )


def _is_in_order(snapshots: Sequence[Evaluated]) -> bool:
    steps = [(-1 if one.epoch is None else one.epoch, -1 if one.step is None else one.step) for one in snapshots]
    return all(before < after for before, after in pairwise(steps))


def outcomes(one: Evaluated) -> dict[str, Outcome]:
    """Where each query stood, by its folded text: rows differ between two readings of the same data."""
    return {fold(found.query): Outcome(found.rank, found.first or "") for found in searches(one)}


def changes_between(before: Evaluated, after: Evaluated, *, labels: tuple[str, str]) -> Changes:
    """Queries gained and lost from one evaluation to another.

    Args:
        before: Need not be the earlier one.
        after: Of the same subset.
        labels: What the two are called.

    Returns:
        The changes, their texts as they stand in the first.
    """
    then, now, documents = outcomes(before), outcomes(after), before.subset.documents
    expected = dict(before.subset.relevance[::-1].tolist())  # the first of each query
    moved = [
        Change(text, documents[expected[row]], then[key], now[key])
        for row, text in enumerate(before.subset.queries)
        if then[key := fold(text)].is_hit != now[key].is_hit
    ]
    improved, fell = (
        _sorted(one for one in moved if one.after.is_hit),
        _sorted(one for one in moved if one.before.is_hit),
    )
    return Changes(*labels, improved, fell)


def _sorted(changes: Iterable[Change]) -> tuple[Change, ...]:
    """By the worse of both ranks, the worst first."""
    return tuple(sorted(changes, key=lambda change: (-max(change.before.rank, change.after.rank), change.query)))
