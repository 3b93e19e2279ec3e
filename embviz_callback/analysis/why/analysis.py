"""Everything there is to say about why it fails, from one evaluation and the columns of its texts."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from numpy.typing import ArrayLike

from embviz_callback.analysis.metrics.intervals import Sampling
from embviz_callback.analysis.metrics.numbers import Evaluated
from embviz_callback.analysis.metrics.resampling import told
from embviz_callback.analysis.why.columns import Columns, Extract, columns_of
from embviz_callback.analysis.why.continuity import Continuity, Neighbourhood, continuity, neighbourhood
from embviz_callback.analysis.why.errors import Errors, errors_of
from embviz_callback.analysis.why.groups import Grouping, grouped_by
from embviz_callback.analysis.why.sensitivity import Importance, importance_of_edits, importance_of_types
from embviz_callback.analysis.why.suspects import Suspect, suspects
from embviz_callback.analysis.why.thresholds import Thresholds, thresholds
from embviz_callback.grammar import counted
from embviz_callback.pairs.subset import Subset
from embviz_callback.pairs.weight_rule import WeightRule

_MOST_LABELS = 60
_MOST_GROUPED = 30  # columns


@dataclass(frozen=True)
class Questions:
    """What to look at beyond the embeddings.

    Attributes:
        extract: Reads columns from a text.
        group_by: Columns to group by; None for every one with 2 to 60 values or numbers, at most thirty.
        rule: Weights that the effects are compared with.
        edits: (text, edited text, feature) for controlled edits.
        encode: Encodes the edits.
        neighbours: Sets of neighbouring places.
        place: The column of places.
        draws: Resamples behind intervals.
        seed: Of the resamples.
    """

    extract: Extract | None = None
    group_by: Sequence[str] | None = None
    rule: WeightRule | None = None
    edits: Sequence[tuple[str, str, str]] = ()
    encode: Callable[[list[str]], ArrayLike] | None = None
    neighbours: Collection[Collection[str]] = ()
    place: str = "district"
    draws: int = 1000
    seed: int = 7


@dataclass(frozen=True, eq=False)
class Analysis:
    """The whole analysis of one subset.

    Attributes:
        subset: The texts that rows stand for.
        columns: What is known of them.
        groupings: One per column grouped by.
        errors: Misses and confusions.
        suspects: Candidates for false negatives.
        importance: Effects of the hard negatives' types.
        edits: Effects of controlled edits; None where none were made.
        continuity: One per numeric column that allows a curve.
        neighbourhood: None without named neighbours.
        thresholds: Against the documents, and with hard negatives where there are any.
    """

    subset: Subset
    columns: Columns
    groupings: tuple[Grouping, ...]
    errors: Errors
    suspects: tuple[Suspect, ...]
    importance: Importance
    edits: Importance | None
    continuity: tuple[Continuity, ...]
    neighbourhood: Neighbourhood | None
    thresholds: tuple[Thresholds, ...]
    notes: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON with texts in place of rows."""
        findings = ("groups=groupings", "errors", "false_negative_suspects=suspects", "importance")
        further = ("controlled_edits=edits", "continuity", "neighbourhood", "thresholds", "notes")
        return {"subset": self.subset.fingerprint, **told(self, *findings, *further)}


def analyse(history: Sequence[Evaluated], questions: Questions | None = None) -> Analysis:
    """All analyses of the last evaluation; earlier ones only say which hard negatives keep winning.

    Args:
        history: Evaluations of one subset, oldest first, at least one; a Snapshot is one.
        questions: What to look at.

    Returns:
        The analysis.

    Raises:
        ValueError: If there is no evaluation, or a column to group by does not exist.
    """
    if not history:
        raise ValueError("analyse needs at least one evaluation")
    ask, last = questions or Questions(), history[-1]
    embeddings, similarity, subset = last.embeddings, last.similarity, last.subset
    columns = columns_of(subset, ask.extract)
    clusters = Sampling.of(embeddings.relevance, len(embeddings.queries)).groups
    drawn: Mapping[str, Any] = {"seed": ask.seed, "clusters": clusters}
    names = tuple(ask.group_by) if ask.group_by is not None else worth_grouping(columns)
    numeric = columns.numeric()[:_MOST_GROUPED]
    found = (
        continuity(embeddings.documents, subset.documents, columns.documents, name, seed=ask.seed) for name in numeric
    )
    return Analysis(
        subset=subset,
        columns=columns,
        groupings=tuple(grouped_by(embeddings, similarity, columns, name, draws=ask.draws, **drawn) for name in names),
        errors=errors_of(last, columns),
        suspects=suspects(history, columns),
        importance=importance_of_types(
            embeddings, similarity, subset.hard_types, rule=ask.rule, draws=ask.draws, **drawn
        ),
        edits=_edits(ask),
        continuity=tuple(one for one in found if one is not None),
        neighbourhood=neighbourhood(embeddings.documents, columns.documents, ask.place, ask.neighbours, seed=ask.seed),
        thresholds=tuple(
            thresholds(embeddings, with_hard_negatives=hard, **drawn) for hard in (False, True)[: 1 + _has_hard(last)]
        ),
        notes=_notes(columns, last),
    )


def _has_hard(last: Evaluated) -> bool:
    return len(last.embeddings.hard_pairs) > 0


def _edits(ask: Questions) -> Importance | None:
    if not ask.edits or ask.encode is None:
        return None
    return importance_of_edits(ask.encode, ask.edits, rule=ask.rule, draws=ask.draws, seed=ask.seed)


def worth_grouping(columns: Columns) -> tuple[str, ...]:
    """Columns that make groups: numbers, or 2 to 60 values that do not single out each query; the first thirty."""
    numeric = set(columns.numeric())
    found = []
    for name in columns.names:
        values = [row[name] for row in columns.queries if name in row]
        distinct = {label for value in values for label in (value if isinstance(value, tuple) else (value,))}
        few = 2 <= len(distinct) <= _MOST_LABELS and len(distinct) <= max(len(values) // 2, 2)
        if few or (name in numeric and len(distinct) > 1):
            found.append(name)
    return tuple(found[:_MOST_GROUPED])


def _notes(columns: Columns, last: Evaluated) -> tuple[str, ...]:
    notes = []
    if not columns.names:
        notes.append("no columns: groups, confusions and continuity need metadata or --features")
    if len(columns.names) > _MOST_GROUPED:
        known = counted(len(columns.names), "column")
        notes.append(f"{known}: at most {_MOST_GROUPED} are grouped by unless named, and as many have a curve")
    if not _has_hard(last):
        notes.append("no hard negatives: feature importance needs them, or controlled edits")
    unusable = last.embeddings.non_finite + last.embeddings.zero
    if unusable:
        notes.append(counted(unusable, "embedding[s] [have|has] no direction and count[|s] as [misses|a miss]"))
    return tuple(notes)
