"""Which dimensions, which precision: what each smaller setting loses, and the smallest that is not worse."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from embviz_callback.analysis.metrics.intervals import Sampling
from embviz_callback.analysis.metrics.ranks import rank_values
from embviz_callback.analysis.ship.codes import BINARY, FLOAT16, FLOAT32, INT8, PRECISIONS, code_scores, rescored
from embviz_callback.analysis.ship.ranking import count
from embviz_callback.analysis.verdict.best import chosen_metric
from embviz_callback.analysis.verdict.losses import DOUBT, KEPT, LOST, Loss, check_allowed, lost
from embviz_callback.embeddings import Embeddings, Floats, Served, Vectors, unit_rows
from embviz_callback.measure import COSINE, Measure

TRUNCATIONS = (512, 256, 128, 64, 32)
ALLOWED = 0.01
REFERENCE, NOT_WORSE, WORSE = "reference", "not worse", "worse"
CANNOT_TELL, NOT_ASKED = "cannot tell", "not asked"
# Precision and whether candidates are looked at again, the larger first. A float32 look at what float32 or float16 has
# found would find nothing new.
_KINDS = ((FLOAT32, False), (FLOAT16, False), (INT8, True), (INT8, False), (BINARY, True), (BINARY, False))

Values = Mapping[str, Floats]  # metric to ``(n_queries,)``


@dataclass(frozen=True)
class Setting:
    """How the vectors of a model are kept and searched.

    Attributes:
        model: Its label.
        own_dim: Numbers that the model gives.
        dim: The first of them that are kept, brought to length 1 again.
        precision: Key of PRECISIONS.
        is_rescored: Whether the first candidates are put in the order of their float32 scores.
        similarity: By which the model compares its vectors.
    """

    model: str
    own_dim: int
    dim: int
    precision: str
    is_rescored: bool = False
    similarity: str = COSINE

    @property
    def n_bytes(self) -> int:
        """Of one document, in what is searched."""
        return -(-self.dim * PRECISIONS[self.precision].bits // 8)

    @property
    def n_bytes_kept(self) -> int:
        """Of one document, kept beside that for looking at candidates again."""
        return 4 * self.dim if self.is_rescored else 0

    @property
    def path(self) -> tuple[str, str, bool]:
        """What settings share that are asked about one after the other, from the largest to the smallest."""
        family = "float" if self.precision in (FLOAT32, FLOAT16) else self.precision
        return self.model, family, self.is_rescored and self.precision == BINARY


@dataclass(frozen=True)
class Line:
    """One setting on the sheet.

    Attributes:
        setting: Which.
        values: Metric to its value.
        losses: Against the reference, one for each metric; none of the reference itself.
        outcome: REFERENCE, NOT_WORSE, WORSE, CANNOT_TELL, or NOT_ASKED: it looks good enough, but a larger setting
            of its path does not, so that it was not asked about.
    """

    setting: Setting
    values: Mapping[str, float]
    losses: tuple[Loss, ...]
    outcome: str


@dataclass(frozen=True)
class Sheet:
    """All settings, the reference first.

    Attributes:
        lines: In the order in which they were measured.
        allowed: Metric to the loss that is accepted.
        doubt: Chance of one bound being passed by the truth: 5 % shared by the paths.
        sampling: The queries, and which of them are drawn together.
        n_pool: Documents that were searched.
    """

    lines: tuple[Line, ...]
    allowed: Mapping[str, float]
    doubt: float
    sampling: Sampling
    n_pool: int

    @property
    def reference(self) -> Line:
        """The first model as it is."""
        return self.lines[0]

    @property
    def smallest(self) -> Line | None:
        """The smallest setting that is not worse; None where none that is smaller is shown not to be."""
        metric, whole = next(iter(self.allowed)), self.reference.setting.n_bytes
        shown = [line for line in self.lines if line.outcome == NOT_WORSE and line.setting.n_bytes < whole]
        return min(
            shown,
            key=lambda line: (line.setting.n_bytes, line.setting.n_bytes_kept, -line.values[metric]),
            default=None,
        )


@dataclass(frozen=True, eq=False)
class Shipped:
    """A model's vectors.

    Attributes:
        label: The model's name.
        embeddings: Of the subset.
        corpus: ``(n_corpus, dim)`` rows of further documents, unit rows for the cosine, else as served; None for none.
    """

    label: str
    embeddings: Embeddings
    corpus: Vectors | None = None

    @property
    def dim(self) -> int:
        """Numbers of a vector."""
        return int(self.embeddings.queries.shape[1])

    @property
    def n_pool(self) -> int:
        """Documents that are searched."""
        return len(self.embeddings.documents) + (0 if self.corpus is None else len(self.corpus))

    @property
    def pool(self) -> Vectors:
        """``(n_pool, dim)`` documents and after them the corpus, unit rows for the cosine, else as served."""
        own = self.embeddings
        documents = own.documents if own.similarity == COSINE else own.as_served.documents
        return documents if self.corpus is None else np.concatenate([documents, self.corpus])

    def asked_by(self, other: "Shipped") -> tuple[Vectors, Vectors, Measure]:
        """The rows of another model's queries, or its own, and of the pool, on the scale of the measure it declares."""
        own, asks = self.embeddings, other.embeddings.as_served
        if own.similarity == COSINE:
            served = None
        else:
            served = Served(asks.queries, own.as_served.documents, own.as_served.hard_negatives, own.similarity)
        crossed, corpus = replace(own, queries=other.embeddings.queries, served=served).compared(self.corpus)
        pool = crossed.documents if corpus is None else np.concatenate([crossed.documents, corpus])
        return crossed.queries, pool, crossed.measure


def ship_sheet(models: Sequence[Shipped], *, allowed: Mapping[str, float] | None = None) -> Sheet:
    """Every setting of every model, held against the first model as it is.

    Args:
        models: At least one; all of one subset, its queries in the same order.
        allowed: Metric to the loss that is accepted, at least 0; 0.01 of the metric that decides by default.

    Returns:
        The sheet; a ValueError says if a loss is below 0 or there is no such metric.
    """
    first = models[0].embeddings
    allowed = allowed or {chosen_metric(first): ALLOWED}
    measured = [found for model in models for found in measure(model)]
    check_allowed(allowed, measured[0][1])
    sampling = Sampling.of(first.relevance, len(first.queries))
    return judged(measured, allowed, sampling, n_pool=models[0].n_pool)


def measure(model: Shipped) -> Iterator[tuple[Setting, dict[str, Floats]]]:
    """What every query contributes to every rank metric in every setting, the model as it is first.

    Args:
        model: Its vectors.

    Yields:
        Setting and values.
    """
    *whole, by = model.asked_by(model)
    for dim in (model.dim, *(dim for dim in TRUNCATIONS if dim < model.dim)):
        queries, documents = whole
        if dim < model.dim:
            queries, documents = (_truncated(rows, dim, by) for rows in whole)
        for precision, is_rescored in _KINDS:
            scores = code_scores(precision, queries, documents, by)
            scores = rescored(scores, queries, documents, by) if is_rescored else scores
            setting = Setting(model.label, model.dim, dim, precision, is_rescored, by.name)
            yield setting, rank_values(count(model.embeddings, scores, len(documents)), model.embeddings)


def _truncated(rows: Vectors, dim: int, by: Measure) -> Vectors:
    """Of length 1 again where only directions are compared; where lengths count they stay as they are."""
    return unit_rows("rows", rows[:, :dim])[0] if by.name == COSINE else rows[:, :dim]


def judged(
    measured: Sequence[tuple[Setting, Values]], allowed: Mapping[str, float], sampling: Sampling, *, n_pool: int
) -> Sheet:
    """Holds settings against the first.

    A path (`Setting.path`) is asked about from the largest setting to the smallest and left at the first that is not
    shown to be good enough; the paths share 5 %. So "not worse" is said of any setting that
    loses more than is allowed in at most 5 % of the cases (benchmarks/ship.py). Of several metrics all must hold, which
    asks no more of each.

    Args:
        measured: The reference first, then settings from the largest to the smallest within each path.
        allowed: Metric to the loss that is accepted.
        sampling: Which queries stand and fall together.
        n_pool: Documents that were searched.

    Returns:
        The sheet.
    """
    (reference, best), others = measured[0], measured[1:]
    doubt = DOUBT / max(len({setting.path for setting, _ in others}), 1)
    lines = [Line(reference, _means(best, allowed), (), REFERENCE)]
    left: set[tuple[str, str, bool]] = set()
    for setting, values in others:
        losses = tuple(lost(name, least, best[name] - values[name], sampling, doubt) for name, least in allowed.items())
        outcome = _outcome(losses)
        if outcome != NOT_WORSE:
            left.add(setting.path)
        elif setting.path in left:
            outcome = NOT_ASKED
        lines.append(Line(setting, _means(values, allowed), losses, outcome))
    return Sheet(tuple(lines), dict(allowed), doubt, sampling, n_pool)


def _means(values: Values, names: Mapping[str, float]) -> dict[str, float]:
    return {name: float(values[name].mean()) for name in names}


def _outcome(losses: Sequence[Loss]) -> str:
    if all(loss.outcome == KEPT for loss in losses):
        return NOT_WORSE
    return WORSE if any(loss.outcome == LOST for loss in losses) else CANNOT_TELL
