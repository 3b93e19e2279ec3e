"""What every face does with a model in training: look, judge, record, hand over, log; and no fault of ours gets out."""

import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from torch import nn

from embviz_callback.analysis.metrics.numbers import Metrics, evaluate_pairs
from embviz_callback.analysis.scan import CorpusScan, scan_with_corpus
from embviz_callback.delivery.alerts.rule import AlertEvent, MarginAlert
from embviz_callback.delivery.moments import Budget
from embviz_callback.delivery.places import Places
from embviz_callback.delivery.process.worker import Limits
from embviz_callback.delivery.provenance import read_source
from embviz_callback.delivery.run.live import Memory, Run, say
from embviz_callback.embeddings import Embeddings, Vectors
from embviz_callback.encoding.encode import Encode, encode_corpus, encode_subset
from embviz_callback.encoding.isolation import observe
from embviz_callback.encoding.product import device_for, with_product
from embviz_callback.encoding.ranks.shared_corpus import Exchange, Ranks, encode_shared, together
from embviz_callback.encoding.ranks.spread_weights import gathered
from embviz_callback.pairs.corpus import Corpus, corpus_for, read_corpus
from embviz_callback.pairs.importing import load_function
from embviz_callback.pairs.subset import Subset, choose_subset
from embviz_callback.settings import Settings
from embviz_callback.snapshot import Snapshot, take_snapshot

_BOUNDS = ("_optimistic", "_pessimistic")  # of ties: in the history and the report, they would double the tags
_DEFAULT_LIMITS = Limits()
_log = logging.getLogger("embviz_callback")

Log = Callable[[Mapping[str, float]], None]


@dataclass(frozen=True)
class Moment:
    """When a model is looked at.

    Attributes:
        epoch: As the trainer counts it; None where nothing has been trained.
        step: Under which everything of this evaluation is logged.
        is_partial: The epoch has not been trained to its end, so that the step tells its evaluations apart.
        untrained: What a moment without an epoch is called.
    """

    epoch: int | None
    step: int
    is_partial: bool = False
    untrained: str = "untrained"

    @property
    def label(self) -> str:
        """Its name in history, figures and report."""
        if self.epoch is None:
            return self.untrained
        return f"epoch {self.epoch}, step {self.step}" if self.is_partial else f"epoch {self.epoch}"


@dataclass(frozen=True, eq=False)
class Subject:
    """The model to look at, as its trainer holds it.

    Attributes:
        module: Is put into eval mode meanwhile.
        encode: Takes ``n`` texts and gives ``(n, dim)``.
        facts: Gives what the report says of model, device and versions, plain JSON.
        trainer: A Lightning trainer, whose precision applies; None for the module's own.
        can_halve: Smaller batches may be tried when memory runs out.
        wrapper: What the trainer calls instead of the module, which may shard its weights; None for the module.
        ranks: Among which a corpus is shared out; None for all of it on every rank.
    """

    module: nn.Module
    encode: Encode
    facts: Callable[[], Mapping[str, Any]]
    trainer: Any = None
    can_halve: bool = True
    wrapper: Any = None
    ranks: Ranks | None = None


class Watch:
    """One training under watch, from one rank: what to look at, what is known, and where it goes.

    A face says when to look, at which model, and takes the numbers; everything between is here.
    The drawing process does not travel when a watch is copied or pickled.

    Args:
        settings: Of every evaluation.
        alert: The rule, or None.
        limits: Of the drawing process.
        figures: Whether anything is drawn.
        log_baseline: Whether the figures of the untrained model go into TensorBoard too.
        on_error: "warn" or "raise".
        overhead_limit: Evaluations' share of the training time, 0 to 1; 0 for no limit.

    Raises:
        ValueError: If an option is out of its range.
        TypeError: If the alert is none.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        alert: MarginAlert | None,
        limits: Limits = _DEFAULT_LIMITS,
        figures: bool = True,
        log_baseline: bool = False,
        on_error: str = "warn",
        overhead_limit: float = 0.0,
    ) -> None:
        if on_error not in ("warn", "raise"):
            raise ValueError(f"on_error must be 'warn' or 'raise', got {on_error!r}")
        if not isinstance(alert, MarginAlert | None):
            raise TypeError(f"alert must be a MarginAlert or None, got {type(alert).__name__}")
        self.settings = settings
        self.alert = alert
        self.limits = limits
        self.figures = figures
        self.log_baseline = log_baseline
        self.on_error = on_error
        self.memory = Memory()
        self.run: Run | None = None
        self.subset: Subset | None = None
        self.corpus: Corpus | None = None
        self.source: Mapping[str, Any] = {}
        self.epoch_begun = 0.0
        self._budget = Budget(overhead_limit)

    def __getstate__(self) -> dict[str, Any]:
        """Everything but what lives."""
        return self.__dict__ | {"run": None}

    def read(
        self,
        data: Any,
        datamodule: Any = None,
        *,
        corpus: Any = None,
        max_samples: int | None = None,
        max_corpus: int | None = None,
    ) -> None:
        """Reads the data and the corpus, and chooses the subset.

        Args:
            data: Path, list of pairs, or None for the data module's.
            datamodule: See `read_source`.
            corpus: As `read_corpus` takes it; None for none.
            max_samples: Instead of the setting.
            max_corpus: Most texts of the corpus; None for all.
        """
        if self.settings.features:
            load_function(self.settings.features)  # a wrong name must not be found at the end of the training
        records, self.source = read_source(data, datamodule)
        size = self.settings.max_samples if max_samples is None else max_samples
        self.subset, self.corpus = choose_subset(records, max_samples=size, seed=self.settings.seed), None
        if corpus is not None:
            self.corpus = corpus_for(self.subset, read_corpus(corpus)).first(max_corpus)
            self.subset = self.corpus.beside(self.subset)

    def begin(self, places: Places, *, is_resumed: bool, loggers: Sequence[Any] = ()) -> None:
        """Opens a run and starts its clock.

        Args:
            places: Where it writes.
            is_resumed: Whether what is known goes on; otherwise the history begins anew.
            loggers: Of the trainer, for figures and alerts; their numbers are the face's business.
        """
        assert self.subset is not None
        if not is_resumed:
            self.memory = Memory()
        self.run = Run(
            places,
            self.memory,
            alert=self.alert,
            limits=self.limits,
            figures=self.figures,
            log_baseline=self.log_baseline,
            on_error=self.on_error,
            loggers=loggers,
        )
        self.run.begin(self.subset, is_resumed=is_resumed)
        self.memory = self.run.memory
        if self.corpus is not None and places.rank == 0:
            say(self.corpus.sentence)
        self.epoch_begun = time.monotonic()
        self._budget.begin(self.epoch_begun)

    def affords(self, epoch: int, *, is_last: bool, agree: Callable[[bool], bool] = bool) -> bool:
        """Whether `overhead_limit` lets an epoch be evaluated; the first that is left out costs one warning.

        Args:
            epoch: For the warning.
            is_last: The last epoch is never left out.
            agree: With several ranks, whether any of them says yes: their clocks differ, and one that looks
                alone would hang where weights are gathered.

        Returns:
            Yes or no.
        """
        if not self._budget.limit:
            return True
        now = time.monotonic()
        is_wanted = agree(is_last or self._budget.affords(now))
        if not is_wanted:
            self._say_left_out(epoch, self._budget.share(now))
        return is_wanted

    def evaluate(self, moment: Moment, subject: Subject, log: Log) -> AlertEvent | None:
        """Looks at a model and passes on what is found; each stage that fails costs one warning and itself.

        Args:
            moment: When.
            subject: The model.
            log: Takes every number under the names of docs/metrics.md, with ``blocked_s``, ``overhead`` and
                ``alert``; not called where the evaluation failed.

        Returns:
            What the alert says, if it says anything.
        """
        assert self.run is not None
        run, begun = self.run, time.monotonic()
        run.poll()
        attempt = partial(run.guard.attempt, where=f"{moment.label}, step {moment.step}")
        again = "the next evaluation tries again"
        missing = "metrics and figures of this evaluation"
        # By itself: on a rank where something else fails for good, weights are still gathered for the others.
        # And within an exchange: a rank that no longer tries still has to tell those that wait for its share.
        with self._exchange(subject) as exchange:
            encoded = attempt("encoding", partial(self._encode, subject, exchange), skipped=missing, redo=again)
        snapshot = event = None
        if encoded is not None:
            look = partial(self._look, moment, subject, *encoded)
            snapshot = attempt("evaluation", look, skipped=missing, redo=again)
        if snapshot is not None:
            event = attempt("alert", partial(run.judge, snapshot), skipped="the alert")
            attempt("history", partial(run.record, snapshot), skipped="the history of this evaluation")
            hand_over = partial(run.hand_over, snapshot, event, is_partial=moment.is_partial)
            attempt("hand-over to drawing", hand_over, skipped="the figures of this evaluation", redo=again)
            attempt("logging", partial(log, self._values(snapshot, begun)), skipped="the scalars")
        self._budget.spend(time.monotonic() - begun)  # one that failed has cost its time too
        return event

    def last_values(self) -> dict[str, float]:
        """What a monitor may ask for between two evaluations: every metric's last known value, NaN before the first."""
        last = self.memory.history.last
        known = {} if last is None else _shown(Metrics.from_dict(last))
        return self.no_values() | known

    def no_values(self) -> dict[str, float]:
        """NaN under every name that an evaluation of this subset gives."""
        assert self.subset is not None
        # The names are those of a very small evaluation.
        rows = np.eye(2, dtype=np.float32)
        hard: Any = {"hard_negatives": rows, "hard_pairs": [[0, 1]]} if len(self.subset.hard_pairs) else {}
        return dict.fromkeys(_shown(evaluate_pairs(rows, rows, [0, 1], draws=0, **hard)), math.nan)

    def remember(self, state: Any) -> None:
        """Takes over what `to_json` gave; a state that cannot be read is left aside.

        Args:
            state: None where a checkpoint has none.
        """
        self.memory = Memory()
        if state is None:
            return
        try:
            self.memory = Memory.from_json(state)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            _log.warning("embviz: the state in the checkpoint cannot be read (%r) and is left aside", error)

    def finish(self, *, is_hurried: bool) -> None:
        """Waits for what is still being drawn and ends the drawing process; see `Run.finish`."""
        if self.run is not None:
            self.run.finish(is_hurried=is_hurried)

    def to_json(self, where: str) -> dict[str, Any]:
        """What is known, in plain JSON types; empty if that fails, so that a checkpoint is saved all the same.

        Args:
            where: For the message.

        Returns:
            What `Memory.from_json` reads.
        """
        if self.run is None:
            return {} if self.subset is None else self.memory.to_json()
        return self.run.guard.attempt("state", self.memory.to_json, where=where, skipped="the state") or {}

    def _exchange(self, subject: Subject) -> AbstractContextManager[Exchange | None]:
        return nullcontext() if self.corpus is None or subject.ranks is None else together(subject.ranks)

    def _encode(self, subject: Subject, exchange: Exchange | None) -> tuple[Embeddings, Vectors | None]:
        assert self.subset is not None
        options: dict[str, Any] = {"halve": subject.can_halve, "on_halved": self._say_halved}
        with (
            observe(subject.module, subject.trainer),
            gathered(subject.module, subject.encode, subject.wrapper) as encode,
        ):
            embeddings = encode_subset(encode, self.subset, self.settings, **options)
            return embeddings, self._encode_corpus(encode, exchange, options)

    def _look(self, moment: Moment, subject: Subject, embeddings: Embeddings, vectors: Vectors | None) -> Snapshot:
        assert self.subset is not None
        corpus_scan = None if vectors is None else self._scan(embeddings, vectors, subject)
        return take_snapshot(
            label=moment.label,
            subset=self.subset,
            embeddings=embeddings,
            settings=self.settings,
            epoch=moment.epoch,
            step=moment.step,
            provenance={**self.source, **subject.facts()},
            history=self.memory.history.metrics(),
            corpus_scan=corpus_scan,
        )

    def _encode_corpus(self, encode: Encode, exchange: Exchange | None, options: Mapping[str, Any]) -> Vectors | None:
        if self.corpus is None:
            return None
        if exchange is None:
            return encode_corpus(encode, self.corpus, self.settings, **options)
        return encode_shared(encode, self.corpus, self.settings, exchange, **options)

    def _scan(self, embeddings: Embeddings, vectors: Vectors, subject: Subject) -> CorpusScan:
        assert self.corpus is not None
        corpus, device = self.corpus, device_for(subject.module, len(embeddings.documents) + len(vectors))
        return with_product(
            lambda product: scan_with_corpus(embeddings, corpus, vectors, product=product),
            device,
            on_fallback=self._say_fallback,
        )

    def _say_fallback(self) -> None:
        assert self.run is not None
        message = "memory ran out on the device, the corpus is ranked on the CPU; it costs time and nothing else"
        self.run.guard.warn("ranking", "out of memory", message)

    def _values(self, snapshot: Snapshot, begun: float) -> dict[str, float]:
        now = time.monotonic()
        values = _shown(snapshot.metrics)
        values |= {"blocked_s": now - begun, "overhead": (now - begun) / max(now - self.epoch_begun, 1e-9)}
        return values if self.alert is None else values | {"alert": float(self.memory.alert.firing)}

    def _say_halved(self, size: int) -> None:
        assert self.run is not None
        message = f"memory ran out, encoding went on with {size} texts at a time; a smaller batch_size avoids the retry"
        self.run.guard.warn("encoding", "out of memory", message)

    def _say_left_out(self, epoch: int, share: float) -> None:
        assert self.run is not None
        message = (
            f"evaluating every epoch would take {share:.0%} of the training time, above overhead_limit="
            f"{self._budget.limit:g}, so that epochs are left out (first: epoch {epoch}); "
            "a smaller max_samples makes an evaluation cheaper"
        )
        self.run.guard.warn("evaluation", "over budget", message)


def _shown(metrics: Metrics) -> dict[str, float]:
    return {name: float(value) for name, value in metrics.items() if not name.endswith(_BOUNDS)}
