"""Hand-over 2: everything known about one subset under one set of weights."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Self

import numpy as np

from embviz_callback.analysis.maps.projections import Projection, Skipped
from embviz_callback.analysis.metrics.intervals import per_query
from embviz_callback.analysis.metrics.numbers import Metrics, compute_metrics
from embviz_callback.analysis.scan import CorpusScan, Ranking, Similarity, pool_text, scan
from embviz_callback.analysis.verdict.best import Candidate, candidate, chosen_metric, merit
from embviz_callback.analysis.verdict.diagnosis import Diagnosis, diagnose
from embviz_callback.embeddings import Embeddings
from embviz_callback.files import read_json
from embviz_callback.measure import COSINE
from embviz_callback.pairs.subset import Subset
from embviz_callback.settings import Settings

SNAPSHOT = "snapshot.json"  # beside arrays.npz
_ROWS = ("queries", "documents", "hard_negatives")
_PAIRS = ("relevance", "hard_pairs", "records", "grades")
_MAP_ARRAYS = ("queries", "documents")


@dataclass(frozen=True)
class Provenance:
    """Where an evaluation came from: checkpoint, data, device, versions.

    Attributes:
        facts: Name to plain JSON, in the order in which reports list them.
    """

    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def data(self) -> str | None:
        """Path of the data file, or what else the pairs came from; None where nobody said."""
        return self.facts.get("data")

    @property
    def data_sha256(self) -> str | None:
        """Of the data file; None where the pairs came from no file."""
        return self.facts.get("data_sha256")

    @property
    def hparams(self) -> Mapping[str, Any]:
        """Plain hyperparameters of the training; empty where there are none."""
        return self.facts.get("hparams") or {}

    @property
    def corpus(self) -> Mapping[str, Any]:
        """About the corpus; empty without one."""
        return self.facts.get("corpus") or {}

    def to_json(self) -> dict[str, Any]:
        """The facts."""
        return dict(self.facts)


@dataclass(frozen=True, eq=False)
class Snapshot:
    """One evaluation; every figure and every page is a function of one or several of these.

    Attributes:
        label: What it shows, for titles: "epoch 3", "untrained", "best_model.pt".
        epoch: Training epoch from 0; None outside training and for the untrained model.
        step: The trainer's step under which the evaluation is logged; None outside training.
        subset: The texts.
        embeddings: Their vectors, row for row.
        similarity: Ranks, top documents and distributions of the cosines, in the pool of documents and corpus.
        metrics: The numbers with their intervals.
        diagnosis: What the numbers say together.
        settings: The options under which it was made.
        maps: By key of MAPS; a map that was not made says why.
        provenance: Where it came from.
        deep: More of each query's best documents than `similarity` names, where they were asked for; not saved.
        corpus_texts: Row of the pool to text, for the rows of a corpus that `similarity` names.
        standing: As a candidate for the best of its run; None where an older version saved it.

    Raises:
        ValueError: If the pool is not that of the subset's documents and corpus.
    """

    label: str
    epoch: int | None
    step: int | None
    subset: Subset
    embeddings: Embeddings
    similarity: Similarity
    metrics: Metrics
    diagnosis: Diagnosis
    settings: Settings
    maps: Mapping[str, Projection | Skipped] = field(default_factory=dict)
    provenance: Provenance = field(default_factory=Provenance)
    corpus_texts: Mapping[int, str] = field(default_factory=dict)
    deep: Ranking | None = None
    standing: Candidate | None = None

    def __post_init__(self) -> None:
        expected = len(self.subset.documents) + self.subset.n_corpus
        if self.similarity.n_pool != expected:
            raise ValueError(
                f"the pool must hold the subset's {len(self.subset.documents)} documents and {self.subset.n_corpus} "
                f"texts of its corpus, it holds {self.similarity.n_pool}"
            )

    @property
    def corpus_scan(self) -> CorpusScan | None:
        """What cannot be measured again from the embeddings: the scan among a corpus; None without one."""
        if not self.subset.n_corpus:
            return None
        return CorpusScan(self.similarity, self.corpus_texts, self.provenance.corpus)

    def text(self, row: int) -> str:
        """The text of a row of the pool: a document, or one of the corpus."""
        return pool_text(self.subset, self.corpus_texts, row)

    def map_of(self, method: str) -> Projection | Skipped:
        """The map by a method, or why there is none."""
        return self.maps.get(method, Skipped("it was not asked for"))

    def with_maps(self, maps: Mapping[str, Projection | Skipped]) -> Self:
        """The same evaluation with its maps."""
        return replace(self, maps=dict(maps))


_NOWHERE = Provenance()


def take_snapshot(
    *,
    label: str,
    subset: Subset,
    embeddings: Embeddings,
    settings: Settings,
    epoch: int | None = None,
    step: int | None = None,
    provenance: Provenance = _NOWHERE,
    run: Sequence[Candidate] = (),
    training_loss: float = math.nan,
    corpus_scan: CorpusScan | None = None,
) -> Snapshot:
    """Measures embeddings; maps are left to whoever has the time.

    Args:
        label: For titles.
        subset: The texts, row for row as in `embeddings`.
        embeddings: Their vectors.
        settings: Number of bootstrap draws and the seed.
        epoch: Training epoch.
        step: Logged step.
        provenance: Where it came from.
        run: Earlier evaluations of the same run, oldest first, for the diagnosis.
        training_loss: Mean since the last of them; NaN where nobody knows it.
        corpus_scan: Of the pool, where the subset has a corpus.

    Returns:
        A snapshot without maps.
    """
    similarity = scan(embeddings) if corpus_scan is None else corpus_scan.similarity
    metrics = compute_metrics(similarity, embeddings, draws=settings.bootstrap_draws, seed=settings.seed)
    if corpus_scan is not None:
        metrics = replace(metrics, own=_among_own(embeddings))
        provenance = Provenance({**provenance.facts, "corpus": dict(corpus_scan.facts)})
    standing = None
    if metrics.per_query is not None:
        metric = chosen_metric(embeddings, settings.metric)
        made = candidate(metrics.per_query, metric, label=label, training_loss=training_loss)
        standing = replace(made, merit=merit([*run, made], metric))
    return Snapshot(
        label=label,
        epoch=epoch,
        step=step,
        subset=subset,
        embeddings=embeddings,
        similarity=similarity,
        metrics=metrics,
        diagnosis=diagnose(metrics, run=() if standing is None else [*run, standing]),
        settings=settings,
        provenance=provenance,
        corpus_texts={} if corpus_scan is None else corpus_scan.texts,
        deep=None if corpus_scan is None else corpus_scan.deep,
        standing=standing,
    )


def _among_own(embeddings: Embeddings) -> Metrics:
    """The metrics among the subset's own documents, by which it is judged: a larger pool makes no model worse."""
    return compute_metrics(scan(embeddings), embeddings, draws=0)


def save_snapshot(snapshot: Snapshot, folder: Path) -> None:
    """Writes ``arrays.npz`` and ``snapshot.json`` into an existing folder, without pickle.

    Args:
        snapshot: What to save; its similarity is left out where it follows from the embeddings, which it
            does without a corpus.
        folder: Not read by anybody else until this returns.
    """
    arrays = {name: getattr(snapshot.embeddings.as_served, name) for name in _ROWS}
    arrays |= {name: getattr(snapshot.embeddings, name) for name in _PAIRS}
    arrays |= {} if snapshot.corpus_scan is None else snapshot.corpus_scan.arrays()
    for method, made in snapshot.maps.items():
        if isinstance(made, Projection):
            arrays |= {f"{method}_{name}": getattr(made, name) for name in _MAP_ARRAYS}
    with (folder / "arrays.npz").open("wb") as file:
        np.savez(file, allow_pickle=False, **arrays)
    (folder / SNAPSHOT).write_text(json.dumps(_facts(snapshot), ensure_ascii=False), encoding="utf-8")


def load_snapshot(folder: Path) -> Snapshot:
    """Reads what `save_snapshot` wrote.

    Args:
        folder: Holds ``arrays.npz`` and ``snapshot.json``.

    Returns:
        The snapshot, equal in everything that is shown.
    """
    facts = read_json(folder / SNAPSHOT)
    with np.load(folder / "arrays.npz", allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    # Evaluations that were kept before there were grades lack them, and older ones the similarity.
    kept_arrays = {name: arrays[name] for name in (*_ROWS, *_PAIRS) if name in arrays}
    embeddings = Embeddings.restored(**kept_arrays, **facts["set_aside"], similarity=facts.get("similarity", COSINE))
    corpus = facts.get("corpus")  # evaluations that were kept before there were corpora lack it
    kept = None if corpus is None else CorpusScan.from_arrays(arrays, corpus)
    subset = Subset.from_json(facts["subset"])
    similarity = scan(embeddings) if kept is None else kept.similarity
    metrics = replace(
        Metrics.from_dict(facts["metrics"]),
        per_query=per_query(similarity, embeddings),
        own=None if kept is None else _among_own(embeddings),
    )
    return Snapshot(
        label=facts["label"],
        epoch=facts["epoch"],
        step=facts["step"],
        subset=subset,
        embeddings=embeddings,
        similarity=similarity,
        metrics=metrics,
        diagnosis=Diagnosis(**facts["diagnosis"]),
        settings=Settings(**facts["settings"]),
        maps={method: _load_map(method, entry, arrays) for method, entry in facts["maps"].items()},
        provenance=Provenance(facts["provenance"]),
        corpus_texts={} if kept is None else kept.texts,
        standing=None if facts.get("standing") is None else Candidate.from_json(facts["standing"]),
    )


def _facts(snapshot: Snapshot) -> dict[str, Any]:
    return {
        "label": snapshot.label,
        "epoch": snapshot.epoch,
        "step": snapshot.step,
        "subset": snapshot.subset.to_json(),
        "similarity": snapshot.embeddings.similarity,
        "set_aside": {"non_finite": snapshot.embeddings.non_finite, "zero": snapshot.embeddings.zero},
        "metrics": snapshot.metrics.as_dict(),
        "diagnosis": asdict(snapshot.diagnosis),
        "standing": None if snapshot.standing is None else snapshot.standing.to_json(),
        "settings": asdict(snapshot.settings),
        "maps": {method: _map_facts(made) for method, made in snapshot.maps.items()},
        "provenance": snapshot.provenance.to_json(),
        "corpus": None if snapshot.corpus_scan is None else snapshot.corpus_scan.to_json(),
    }


def _map_facts(made: Projection | Skipped) -> dict[str, Any]:
    """The fields of a map but for its arrays."""
    return {name: value for name, value in vars(made).items() if not isinstance(value, np.ndarray)}


def _load_map(method: str, entry: dict[str, Any], arrays: Mapping[str, Any]) -> Projection | Skipped:
    if "reason" in entry:
        return Skipped(**entry)
    return Projection(**entry, **{name: arrays[f"{method}_{name}"] for name in _MAP_ARRAYS})
