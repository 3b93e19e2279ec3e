"""The evaluator that every face asks, and the moment at which it looks."""

import math
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Self

from embviz_callback.evaluator.encoded import Encoded, encode_each
from embviz_callback.evaluator.listener import SILENCE, Listener
from embviz_callback.measure import COSINE
from embviz_callback.pairs.corpus import Corpus, corpus_for, own_corpus, read_corpus
from embviz_callback.pairs.formats.form import Reading
from embviz_callback.pairs.formats.reading import PairFile
from embviz_callback.pairs.subset import Subset, choose_subset
from embviz_callback.settings import Settings
from embviz_callback.snapshot import Provenance, Snapshot, take_snapshot

if TYPE_CHECKING:
    from embviz_callback.analysis.verdict.best import Candidate
    from embviz_callback.encoding.distributed.shared_corpus import Exchange
    from embviz_callback.encoding.subject import Subject


@dataclass(frozen=True)
class Moment:
    """When a model is looked at.

    Attributes:
        epoch: As the trainer counts it; None where nothing has been trained, or nobody knows.
        step: Under which everything of this evaluation is logged; None outside training.
        is_partial: The epoch has not been trained to its end, so that the step tells its evaluations apart.
        name: What the moment is called instead of by its epoch: "untrained", or a checkpoint's own name.
        training_loss: Mean since the evaluation before; NaN where nobody knows it.
    """

    epoch: int | None = None
    step: int | None = None
    is_partial: bool = False
    name: str = ""
    training_loss: float = math.nan

    @property
    def label(self) -> str:
        """Its name in history, figures and report."""
        if self.name or self.epoch is None:
            return self.name or "untrained"
        return f"epoch {self.epoch}, step {self.step}" if self.is_partial else f"epoch {self.epoch}"


@dataclass(frozen=True, eq=False)
class Evaluator:
    """Looks at any number of models in one and the same way.

    Attributes:
        subset: The queries that are judged, and their documents.
        settings: Of every evaluation.
        corpus: What the documents are ranked among; None for nothing else.
        source: Where the pairs come from, plain JSON.
        depth: Documents of a pool with a corpus that are ranked by name, beyond the ten that are kept.
        notes: What was assumed, replaced or left out while data and corpus were read, one sentence each.
        keeps_vectors: Whether the vectors of the corpus are kept.
    """

    subset: Subset
    settings: Settings
    corpus: Corpus | None = None
    source: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    depth: int = 0
    keeps_vectors: bool = False

    @classmethod
    def on(
        cls,
        pairs: PairFile,
        settings: Settings,
        *,
        corpus: Any = None,
        max_corpus: int | None = None,
        reading: Reading | None = None,
    ) -> Self:
        """An evaluator on the subset that the settings choose from pairs.

        Args:
            pairs: As they were read.
            settings: Options of the evaluation.
            corpus: Path or texts of further documents, as `read_corpus` takes them, "auto" for those that the pairs
                were judged among; None for none.
            max_corpus: Most texts of it; None for all.
            reading: How the corpus is read; None to recognise its form.

        Returns:
            The evaluator; a `DataError` says what is wrong with the corpus.
        """
        subset = choose_subset(pairs.records, max_samples=settings.max_samples, seed=settings.seed)
        made = cls(subset, settings, source=pairs.facts, notes=tuple(f"{pairs.path}: {note}" for note in pairs.notes))
        if corpus is None:
            return made
        if isinstance(corpus, str) and corpus == "auto":
            corpus, reading = own_corpus(pairs), replace(reading or Reading(), split=pairs.split)
        read = read_corpus(corpus, reading)
        beside = corpus_for(subset, read)
        beside = beside if max_corpus is None else beside.sampled(max_corpus)
        notes = (*made.notes, *(f"{read.name}: {note}" for note in read.notes), beside.sentence)
        return replace(made, subset=beside.beside(subset), corpus=beside, notes=notes)

    def look(
        self,
        subject: "Subject",
        moment: Moment,
        *,
        run: "Sequence[Candidate]" = (),
        listener: Listener = SILENCE,
    ) -> Snapshot:
        """Encodes and measures.

        Args:
            subject: The model.
            moment: When.
            run: Earlier evaluations of the same training, oldest first.
            listener: Hears what happens.

        Returns:
            A snapshot without maps.
        """
        with self.exchange(subject) as exchange:
            encoded = self.encode(subject, exchange, listener)
        return self.measure(encoded, moment, self.provenance(subject), run=run)

    def try_out(self, subject: "Subject") -> list[str]:
        """Refuses, before any training, a model that can never be looked at; see `probe`. It is left as it was."""
        from embviz_callback.encoding.encode import probe
        from embviz_callback.encoding.isolation import observe

        with observe(subject.module, subject.trainer):
            return probe(subject, self.subset.queries[:2])

    def provenance(self, subject: "Subject") -> Provenance:
        """Where an evaluation of a model comes from."""
        wanted = self.settings.similarity or subject.similarity
        # Said where it is not what everybody expects; a checkpoint's own facts say it always.
        ranked = {} if wanted == subject.similarity == COSINE else {"similarity": wanted}
        declared = {} if subject.similarity in (wanted, COSINE) else {"declared_similarity": subject.similarity}
        return Provenance({
            **subject.origin,
            **self.source,
            **subject.facts(),
            **ranked,
            **declared,
            **self._truncated(subject),
            **self._noted(subject),
        })

    def _noted(self, subject: "Subject") -> Mapping[str, Any]:
        """What the texts say of the model beside what it says of itself."""
        from embviz_callback.encoding.subject import notes_on_prompts

        found = notes_on_prompts(subject, self.subset.queries, self.subset.documents)
        return {"notes": list(dict.fromkeys((*subject.origin.get("notes", ()), *found)))} if found else {}

    def _truncated(self, subject: "Subject") -> Mapping[str, Any]:
        """The share of texts that are longer than what is read of them, where there are any."""
        if subject.truncated_share is None and not subject.origin:
            return {"truncated": "not known, since the module's own function cuts texts"}
        offered = (*self.subset.documents, *self.subset.hard_negatives)
        share = 0.0 if subject.truncated_share is None else subject.truncated_share(self.subset.queries, offered)
        return {"truncated_share": share} if share else {}

    def exchange(self, subject: "Subject") -> "AbstractContextManager[Exchange | None]":
        """Keeps this rank from leaving others in wait for its share of the corpus; see `together`."""
        if self.corpus is None or subject.ranks is None:
            return nullcontext()
        from embviz_callback.encoding.distributed.shared_corpus import together

        return together(subject.ranks)

    def encode(self, subject: "Subject", exchange: "Exchange | None" = None, listener: Listener = SILENCE) -> Encoded:
        """The vectors of all that is judged, and the ranks among a corpus, without a trace in the model.

        Args:
            subject: The model.
            exchange: With the other ranks, where a corpus is shared out.
            listener: Hears of smaller batches and of progress.

        Returns:
            What `measure` takes.
        """
        return encode_each([self], subject, exchange, listener)[0]

    def measure(
        self,
        encoded: Encoded,
        moment: Moment,
        provenance: Provenance,
        *,
        run: "Sequence[Candidate]" = (),
    ) -> Snapshot:
        """The numbers of what was encoded, now or before.

        Args:
            encoded: From `encode`, or embeddings that were saved, row for row as in the subset, with what was kept of
                ranking among the corpus, which stays as it is; ranked by the similarity that the settings name, if
                they do.
            moment: When.
            provenance: Of the evaluation.
            run: As for `look`.

        Returns:
            A snapshot without maps.
        """
        embeddings, corpus_scan = encoded.embeddings, encoded.corpus_scan
        wanted = self.settings.similarity
        if wanted is not None and wanted != embeddings.similarity and corpus_scan is None:
            embeddings = embeddings.ranked_by(wanted)
        return take_snapshot(
            label=moment.label,
            subset=self.subset,
            embeddings=embeddings,
            settings=self.settings,
            epoch=moment.epoch,
            step=moment.step,
            provenance=provenance,
            run=run,
            training_loss=moment.training_loss,
            corpus_scan=corpus_scan,
        )
