"""Face 1: the Lightning callback. When to look at the model, on which rank, and what to log."""

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from functools import partial
from pathlib import Path
from typing import Any

from torch.nn.parameter import is_lazy

from embviz_callback.adapters.either_lightning import Callback, join_loaded, pl
from embviz_callback.adapters.encoders import subject_of
from embviz_callback.adapters.lightning_neighbours import misleading
from embviz_callback.adapters.lightning_scalars import carry_on, log_scalars
from embviz_callback.analysis.verdict.best import Best
from embviz_callback.delivery.alerts.alarms import Alert
from embviz_callback.delivery.alerts.rule import MarginAlert
from embviz_callback.delivery.guarding import Guard
from embviz_callback.delivery.places import Places, find_places
from embviz_callback.delivery.process.training_side import Limits
from embviz_callback.delivery.provenance import circumstances
from embviz_callback.delivery.run.memory import Memory
from embviz_callback.delivery.timing import (
    is_due,
    is_last,
    is_untrained,
    is_whole_epoch,
    step_of_epoch,
    step_of_validation,
)
from embviz_callback.encoding.distributed.sharded_weights import is_sharding
from embviz_callback.encoding.distributed.shared_corpus import Ranks
from embviz_callback.encoding.subject import GivenEncode, Subject, sides_of
from embviz_callback.evaluator import Evaluator, Moment
from embviz_callback.pairs.formats.reading import Reading
from embviz_callback.session import Session, begin
from embviz_callback.session.given import Given
from embviz_callback.settings import Settings, nearest

_WEIGHTS = {
    "train_epoch_end": "live, not averaged",
    "validation_end": "as the callbacks before this one left them",  # averaging callbacks swap around validation
}
_END = "end of training"
_DEFAULT_ALERT = MarginAlert()
_DEFAULT_LIMITS = Limits()


class EmbeddingVisualizer(Callback):
    """Evaluates the model on a fixed subset after every epoch, logs the numbers, draws the figures.

    Needs a module with ``encode(texts: list[str]) -> Tensor [B, dim]``, or with ``encode_query`` and
    ``encode_document``, or the argument `encode`; it is called in eval mode,
    without gradients, under the trainer's precision, and leaves no trace in the training. All but
    encoding and the numbers happens in another process. `trainer.validate` and `trainer.test`
    alone, sanity checking and ``Trainer(barebones=True)`` are left in peace; ``fast_dev_run``
    gets one pass over 5 queries (and 50 texts of a corpus) that writes no file.

    Puts into `trainer.callback_metrics` on every rank, before ModelCheckpoint and EarlyStopping look:

    - ``embviz/positive_mean``, ``positive_std``, ``negative_mean``, ``negative_std``, ``margin``: cosines;
    - ``embviz/separation``: in sigma;
    - ``embviz/rank1``, ``mrr``, ``recall_at_1`` ... ``recall_at_50``, ``ndcg_at_10``, ``map``, ``auc``,
      ``naive_rank1``, ``naive_rank1_ceiling``: shares, 0 to 1;
    - ``embviz/hard_margin`` (a cosine), ``hard_accuracy`` (a share): absent without hard negatives;
    - ``embviz/alignment``, ``uniformity`` and the other metrics of docs/metrics.md;
    - ``embviz/merit``: highest for the best evaluation so far by the rule of `embviz compare`, for whoever keeps the
      highest: the metric that decides, moved by a hair where the rule says otherwise;
    - ``embviz/alert``: 1 while the alert fires, else 0; absent with ``alert=None``;
    - ``embviz/blocked_s``: seconds that training waited for this evaluation;
    - ``embviz/overhead``: these as a share of the epoch's time so far, 0 to 1;
    - the figures ``embviz/tsne_projection``, ``umap_projection``, ``similarity_heatmap``,
      ``similarity_distribution``, ``top_k_predictions`` and the text ``embviz/report``, in the sub-run
      ``embviz`` of the logger's folder, and in W&B, MLflow and Comet at the next hook after they were
      drawn (docs/loggers.md); absent for an epoch that was put off.

    Logs the same under the step of the epoch's last training batch: what is looked at first (margin, separation, rank1,
    mrr, recall_at_10, ndcg_at_10, auc, the means, hard_margin, hard_accuracy, alert) under the same names, all else
    under ``embviz_detail/<name>``.

    A metric that cannot be computed is NaN. After an evaluation that failed the names keep their
    last good value in `callback_metrics`, or NaN if there was none; ``EarlyStopping(check_finite=True)``
    stops at a NaN. With `name`, ``embviz`` becomes ``embviz_<name>`` everywhere, ``embviz_detail`` becomes
    ``embviz_<name>_detail``.

    Args:
        data: A file or folder of pairs in any form that docs/data.md lists, a list, `Dataset` or DataFrame of them,
            or None for what the data module's ``validation_pairs()`` returns.
        sets: Several such, by name, instead of `data`: all are evaluated at one look at the model, the tags are
            ``embviz/<set>/margin``, those of the first also plain; see docs/sets.md.
        reading: How they are read where that cannot be recognised, or should be otherwise.
        encode: Takes the module and ``n`` texts and gives ``(n, dim)``, for a module without ``encode``; a pair of
            such functions where queries and documents are encoded in two ways.
        settings: Options of the evaluation as one value, instead of the single ones below.
        limits: Those of the drawing process, likewise.
        corpus: Further documents of the first set that answer no query, for ranks against 100,000 and not 500: path of
            a file or folder, a list of texts, or "auto" for those the data were judged among; see docs/corpus.md.
        shard_corpus: With several ranks, each encodes its share of the corpus; otherwise each encodes all of it.
        alert: A `MarginAlert` on the first set, a `RegressionAlert` on any, or a list of them; None for no alert.
        output_dir: Where figures, report and history go; by default ``embviz`` in the logger's folder. Files for an
            address such as ``s3://bucket/run`` are written here and copied there.
        when: "train_epoch_end", or "validation_end" for every validation in a fit.
        log_baseline: Log the untrained model too, at step 0; otherwise it is kept for the report.
        overhead_limit: Evaluations' share of the training time, 0 to 1, above which epochs are left out
            (never the last, and with one warning); 0 for no limit.
        figures: False logs numbers and alerts only, and starts no process.
        on_error: "warn" lets no fault of ours end the training, "raise" lets every fault through.
        name: Tells several of these callbacks apart; "detail" is reserved.
        drawing_time_limit_s: Seconds for one evaluation's figures, above 0.
        memory_limit_gb: Address space of the drawing process in GB, 0 for no limit.
        queue_limit: Evaluations that may wait to be drawn, at least 1; the oldest is put off.
        finish_limit_s: Seconds that the end of a fit waits for figures, at least 0.
        grace_s: The same after Ctrl-C, SIGTERM or an exception, and with several ranks, whose
            others would wait in vain.
        max_samples: See `Settings`, as for all that follow.
        seed: See `Settings`.
        every_n_epochs: See `Settings`; the last epoch is always evaluated.
        batch_size: See `Settings`.
        query_prompt: See `Settings`.
        document_prompt: See `Settings`.
        similarity: See `Settings`.
        skip_tsne: See `Settings`.
        skip_umap: See `Settings`.
        heatmap_pairs: See `Settings`.
        bootstrap_draws: See `Settings`.
        projector: See `Settings`.
        metric: See `Settings`.
        features: See `Settings`.
        unknown: There are no others.

    Raises:
        TypeError: If an option does not exist or is of a wrong type.
        ValueError: If an option is out of its range, or given by itself and in `settings` or `limits`.
    """

    def __init__(
        self,
        data: Any = None,
        *,
        sets: Mapping[str, Any] | None = None,
        reading: Reading | None = None,
        encode: GivenEncode = None,
        settings: Settings | None = None,
        limits: Limits | None = None,
        corpus: Any = None,
        shard_corpus: bool = False,
        alert: Alert | Sequence[Alert] | None = _DEFAULT_ALERT,
        output_dir: str | os.PathLike[str] | None = None,
        when: str = "train_epoch_end",
        log_baseline: bool = False,
        overhead_limit: float = 0.0,
        figures: bool = True,
        on_error: str = "warn",
        name: str = "",
        drawing_time_limit_s: float = _DEFAULT_LIMITS.drawing_time_limit_s,
        memory_limit_gb: float = _DEFAULT_LIMITS.memory_limit_gb,
        queue_limit: int = _DEFAULT_LIMITS.queue_limit,
        finish_limit_s: float = _DEFAULT_LIMITS.finish_limit_s,
        grace_s: float = _DEFAULT_LIMITS.grace_s,
        max_samples: int = Settings.max_samples,
        seed: int = Settings.seed,
        every_n_epochs: int = Settings.every_n_epochs,
        batch_size: int = Settings.batch_size,
        query_prompt: str | None = Settings.query_prompt,
        document_prompt: str | None = Settings.document_prompt,
        similarity: str | None = Settings.similarity,
        skip_tsne: bool = Settings.skip_tsne,
        skip_umap: bool = Settings.skip_umap,
        heatmap_pairs: int = Settings.heatmap_pairs,
        bootstrap_draws: int = Settings.bootstrap_draws,
        projector: bool = Settings.projector,
        metric: str = Settings.metric,
        features: str = Settings.features,
        **unknown: Any,
    ) -> None:
        given = {key: value for key, value in locals().items() if key not in ("self", "unknown", "__class__")}
        for key in unknown:
            raise TypeError(f"EmbeddingVisualizer has no option {key!r}{nearest(key, list(given))}")
        if when not in _WEIGHTS:
            raise ValueError(f"when must be {' or '.join(map(repr, _WEIGHTS))}, got {when!r}")
        join_loaded()
        flat = {option.name: given[option.name] for kind in (Settings, Limits) for option in fields(kind)}
        self.given = Given.of(given, flat)
        self.plan, self.prefix = self.given.plan, self.given.prefix
        self.settings, self.limits = self.plan.settings, self.plan.limits
        self.encode, self.alert, self.when, self.name = encode, alert, when, name
        self._evaluators: dict[str, Evaluator] = {}
        self._session: Session | None = None
        self._known = Memory()
        self._is_resumed = False
        self._epoch = 0
        self._has_looked = False  # since the last batch

    @property
    def _evaluator(self) -> Evaluator | None:
        """Of the first set; None before there is one."""
        return next(iter(self._evaluators.values()), None)

    @property
    def folder(self) -> Path | None:
        """Of the last fit on the main rank, with ``history.jsonl`` and a folder per evaluation; None for no files."""
        return None if self._session is None else self._session.places.folder

    @property
    def memory(self) -> Memory:
        """What is known of the training: its evaluations and the state of the alert."""
        return self._known if self._session is None else self._session.memory

    @property
    def best(self) -> Best | None:
        """The best evaluation so far by the rule of `embviz compare`, with an interval for one that was chosen."""
        return self.memory.history.best

    @property
    def state_key(self) -> str:
        """Tells the state of several of these callbacks apart in a checkpoint."""
        return self._generate_state_key(name=self.name)

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Reads the data and checks what can be checked, before anything is trained."""
        self._known, self._session, self._is_resumed = self.memory, None, False
        if is_untrained(trainer):
            self._known = Memory()  # that of an earlier fit with another trainer is nobody's business
        if stage != "fit" or getattr(trainer, "barebones", False):
            return
        self._guard(trainer).attempt(
            "a look at encode",
            partial(sides_of, pl_module, self.encode),  # refuses here rather than after an epoch
            where="before training",
            skipped="nothing yet",
            passing=(TypeError,),
        )
        datamodule: Any = trainer.datamodule  # type: ignore[attr-defined]
        self._evaluators = self.given.evaluators(datamodule, is_trial=bool(getattr(trainer, "fast_dev_run", False)))

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Tries the module on two texts: what can never work is refused before anything is trained."""
        # With several ranks a call on one alone could put them out of step; the first look tells.
        if self._evaluator is None or trainer.world_size > 1 or any(map(is_lazy, pl_module.parameters())):
            return
        for said in self._evaluator.try_out(self._subject(trainer, pl_module)):
            self._guard(trainer).warn("model", said, said)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Opens the session and, before the first step of a new training, evaluates the untrained model."""
        if self._evaluator is None or getattr(trainer, "barebones", False):
            return
        is_fresh = is_untrained(trainer) and not self._is_resumed
        self._is_resumed, self._has_looked = False, False
        self._epoch = trainer.current_epoch  # an epoch that is resumed in its middle does not start
        places = self._find_places(trainer)
        session = begin(
            self.plan, self._evaluators, places, self._known, is_resumed=not is_fresh, loggers=trainer.loggers
        )
        self._session = session
        if trainer.is_global_zero:
            session.advise(partial(misleading, trainer, self))
        carry_on(trainer, pl_module, self.prefix, session.last_values())
        # A lazy layer takes its weights from the random stream at its first call, which must be the training's.
        if is_fresh and not getattr(trainer, "fast_dev_run", False) and not any(map(is_lazy, pl_module.parameters())):
            self._evaluate(session, trainer, pl_module, Moment(None, 0))

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Notes the time, and whether anybody has changed the weights after they were evaluated."""
        self._epoch = trainer.current_epoch
        if (session := self._session) is not None:
            if self._has_looked and self.when == "train_epoch_end":
                session.advise(partial(session.weights.changed_afterwards, pl_module))
            session.epoch_begun = time.monotonic()
            session.poll()

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Notes the loss of a step, if `training_step` gave one."""
        self._has_looked = False
        if self._session is not None:
            self._session.training_loss.see(outputs)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Evaluates, if this epoch's turn has come."""
        session = self._session
        if session is None:
            return
        if self.when == "train_epoch_end" and self._is_due(session, trainer):
            self._take_turn(session, trainer, pl_module, step_of_epoch(trainer))
        else:
            session.poll()

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Evaluates with ``when="validation_end"``."""
        session = self._session
        is_ours = self.when == "validation_end" and trainer.state.fn == "fit" and not trainer.sanity_checking
        if session is not None and is_ours and self._is_due(session, trainer):
            self._take_turn(session, trainer, pl_module, step_of_validation(trainer))

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Evaluates what the training ends with, if that was not an epoch's turn."""
        if self._session is not None and not (self._has_looked or is_untrained(trainer)):
            self._evaluate(self._session, trainer, pl_module, self._moment(trainer, step_of_epoch(trainer)))

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Evaluates the weights that other callbacks put in place at the end; waits for the last figures."""
        session = self._session
        # Of its own share of the weights, or of a corpus, a rank must not look alone; of equal ones all see the same.
        can_tell = not (is_sharding(trainer.strategy) or self.given.shard_corpus)
        if session is not None and can_tell and session.notices_others(pl_module):
            moment = self._moment(trainer, step_of_epoch(trainer) + 1, _END)
            self._evaluate(session, trainer, pl_module, moment)
        self._finish(is_hurried=trainer.world_size > 1)

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Waits a little, then leaves what is not drawn on disk."""
        self._finish(is_hurried=True)

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Leaves no process behind."""
        self._finish(is_hurried=True)

    def state_dict(self) -> dict[str, Any]:
        """History, baseline and alert in plain JSON types; empty if that fails, so that the checkpoint is saved."""
        if self._session is None:
            return {} if self._evaluator is None else self._known.to_json()
        return self._session.to_json(f"epoch {self._epoch}")

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes over what `state_dict` gave; a state that cannot be read is left aside."""
        memory = Memory.from_json(state_dict)
        self._known = memory
        if self._session is not None:
            self._session.memory = memory
        # Lightning's finders of learning rate and batch size put back a state from before anything was evaluated.
        self._is_resumed = memory.history.last is not None

    def __getstate__(self) -> dict[str, Any]:
        """Everything but what lives and what the trainer hung on us."""
        kept = {key: value for key, value in self.__dict__.items() if key not in ("log", "log_dict")}
        return kept | {"_known": self.memory, "_session": None}

    def _finish(self, *, is_hurried: bool) -> None:
        if self._session is not None:
            self._session.finish(is_hurried=is_hurried)

    def _is_due(self, session: Session, trainer: pl.Trainer) -> bool:
        if not is_due(trainer, self._epoch, self.settings.every_n_epochs):
            return False
        # The ranks' clocks differ, and one that looks alone would hang where weights are gathered.
        agree = partial(trainer.strategy.reduce_boolean_decision, all=False) if trainer.world_size > 1 else bool
        return session.affords(self._epoch, is_last=is_last(trainer, self._epoch), agree=agree)

    def _guard(self, trainer: pl.Trainer) -> Guard:
        """For what happens before there is a session."""
        return Guard(on_error=self.plan.on_error, rank=trainer.global_rank)

    def _find_places(self, trainer: pl.Trainer) -> Places:
        # A logger may be anybody's; what it does when asked for its folder must not end the fit.
        ask = partial(find_places, trainer, self.given.output_dir, self.prefix)
        found = self._guard(trainer).attempt(
            "finding a folder", ask, where="before training", skipped="figures and history"
        )
        return found or Places(None, None, self.prefix, trainer.global_rank)

    def _moment(self, trainer: pl.Trainer, step: int, name: str = "") -> Moment:
        is_partial = bool(name) or self.when != "train_epoch_end" or not is_whole_epoch(trainer)
        return Moment(self._epoch, step, is_partial, name)

    def _evaluate(self, session: Session, trainer: pl.Trainer, pl_module: pl.LightningModule, moment: Moment) -> bool:
        # Noted whether it succeeds or not, so that every rank agrees on what has been looked at.
        self._has_looked = True
        logged_at = moment.step if moment.epoch is not None or self.plan.log_baseline else None
        log = partial(log_scalars, trainer, pl_module, self.prefix, step=logged_at, guard=session.guard)
        return session.evaluate(moment, self._subject(trainer, pl_module, moment.name), log)

    def _subject(self, trainer: pl.Trainer, pl_module: pl.LightningModule, name: str = "") -> Subject:
        # A retry on one rank alone would put the others' gathering of weights out of step.
        can_halve = not is_sharding(trainer.strategy)
        weights = "as other callbacks left them when training ended" if name == _END else _WEIGHTS[self.when]
        return replace(
            subject_of(pl_module, self.settings, self.encode, can_halve=can_halve, is_late=True),
            facts=lambda: circumstances(trainer, pl_module) | {"weights": weights},
            trainer=trainer,
            wrapper=trainer.strategy.model,
            ranks=Ranks.of(trainer) if self.given.shard_corpus else None,
        )

    def _take_turn(self, session: Session, trainer: pl.Trainer, pl_module: pl.LightningModule, step: int) -> None:
        stop = self._evaluate(session, trainer, pl_module, self._moment(trainer, step))
        if not self.plan.may_stop:
            return
        if trainer.world_size > 1:
            # The only collective, at a point that every rank reaches, whatever failed on it: two
            # GPUs may differ in the last bit of a margin, and a rank that stops alone hangs all.
            stop = trainer.strategy.reduce_boolean_decision(stop, all=False)
        if stop:
            session.say_end()
            trainer.should_stop = True
