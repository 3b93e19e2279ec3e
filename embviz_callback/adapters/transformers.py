"""Face 4: a callback for the trainers of transformers and sentence-transformers."""

import math
import os
import time
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Self

import torch
import torch.distributed as dist
from transformers import TrainerCallback

from embviz_callback.adapters.encoders import prompts_of, subject_of
from embviz_callback.adapters.trackers import TRACKERS, loggers_of, report
from embviz_callback.delivery.alerts.alarms import Alert
from embviz_callback.delivery.alerts.rule import MarginAlert
from embviz_callback.delivery.guarding import Guard
from embviz_callback.delivery.places import Places, places_in
from embviz_callback.delivery.process.training_side import Limits
from embviz_callback.delivery.run.memory import Memory
from embviz_callback.delivery.tags import scalar_tag
from embviz_callback.encoding.subject import GivenEncode
from embviz_callback.evaluator import Moment
from embviz_callback.pairs.formats.reading import Reading
from embviz_callback.session import Session, begin
from embviz_callback.session.given import Given
from embviz_callback.settings import Settings

_WHEN = ("epoch_end", "evaluate")
_AUTOCAST = {"bf16": torch.bfloat16, "fp16": torch.float16}
_DEFAULT_ALERT = MarginAlert()


@dataclass(frozen=True, eq=False)
class _Told:
    """What a trainer tells its callbacks at each event."""

    args: Any
    state: Any
    control: Any
    model: Any

    @property
    def epochs(self) -> float:
        """Epochs trained; rounded, since the trainer adds up shares."""
        return round(self.state.epoch or 0.0, 6)

    @property
    def is_last(self) -> bool:
        """Whether training ends here, as far as it is known."""
        return bool(self.control.should_training_stop or 0 < self.state.max_steps <= self.state.global_step)

    @property
    def is_sharded(self) -> bool:
        """Whether weights are spread over the ranks."""
        return bool(getattr(self.args, "fsdp", None) or getattr(self.args, "deepspeed", None))

    def any_rank(self, says: bool) -> bool:
        """Whether any rank says yes: a collective."""
        if self.args.world_size < 2 or not dist.is_initialized():
            return says
        votes = torch.tensor(float(says), device=self.args.device)
        dist.all_reduce(votes, op=dist.ReduceOp.MAX)
        return bool(votes.item())


class EmbvizTrainerCallback(TrainerCallback):
    """Evaluates a Trainer's model on a fixed subset after every epoch: the numbers, files and figures of the callback.

    For `SentenceTransformerTrainer`, and for any `transformers.Trainer` whose model has ``encode(texts)``
    or that is given an `encode`. It encodes in eval mode without gradients, leaves random streams and modes
    as they were, and has the figures drawn by another process. Call `attach` with the trainer: a callback in
    ``Trainer(callbacks=[...])`` works too, but cannot reach the trainer's trackers.

    Logs, under the trainer's global step, into TensorBoard and every other tracker of ``report_to`` the tags of
    `EmbeddingVisualizer`: ``embviz/margin`` and so on, ``embviz_detail/map`` and so on for what is looked at second.
    ``trainer.state.log_history`` has all of them under ``embviz/``, and so they stand among the metrics of each
    evaluation in training, as ``eval_embviz/merit`` and so on, so that ``metric_for_best_model="embviz/merit"`` and
    `EarlyStoppingCallback` find them; before the first, and where one failed, they keep the last good value, or NaN.

    Epochs are counted as the trainer counts them: "epoch 1" is the model after one epoch.

    Args:
        data: A file or folder of pairs in any form that docs/data.md lists, or a list, `Dataset` or DataFrame of them.
        sets: Several such, by name, instead of `data`, as for `EmbeddingVisualizer`.
        reading: How they are read where that cannot be recognised, or should be otherwise.
        encode: Takes the trainer's model and ``n`` texts and gives ``(n, dim)``, or a pair of such functions for
            queries and documents; None for the model's own way.
        settings: Options of the evaluation as one value.
        limits: Those of the drawing process, likewise.
        corpus: Further documents that answer no query, see docs/corpus.md.
        shard_corpus: With several ranks, each encodes its share of the corpus; otherwise each encodes all of it.
        alert: As for `EmbeddingVisualizer`; None for no alert.
        output_dir: Where figures, report and history go; by default ``embviz`` in the trainer's ``output_dir``.
        when: "epoch_end", or "evaluate" for every evaluation of the trainer and the end of the training.
        log_baseline: Log the untrained model too, at step 0; otherwise it is kept for the report.
        overhead_limit: Evaluations' share of the training time, 0 to 1, above which evaluations are left out
            (never the last, and with one warning); 0 for no limit.
        figures: False logs numbers and alerts only, and starts no process.
        on_error: "warn" lets no fault of ours end the training, "raise" lets every fault through.
        name: Tells several of these callbacks apart; "detail" is reserved.
        options: The fields of `Settings` and of `Limits`, each by itself.

    Raises:
        ValueError: If an option or the data cannot be used.
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
        when: str = "epoch_end",
        log_baseline: bool = False,
        overhead_limit: float = 0.0,
        figures: bool = True,
        on_error: str = "warn",
        name: str = "",
        **options: Any,
    ) -> None:
        if when not in _WHEN:
            raise ValueError(f"when must be {' or '.join(map(repr, _WHEN))}, got {when!r}")
        self._given = Given.of(locals(), options)
        self._plan, self.prefix = self._given.plan, self._given.prefix
        self.encode, self.when = encode, when
        self._evaluators = self._given.evaluators()
        self._session: Session | None = None
        self._handler: Any = None
        self._is_training = False
        self._looked_at = -1

    @property
    def folder(self) -> Path | None:
        """Of the last training, with ``history.jsonl`` and a folder per evaluation; None for no files."""
        return None if self._session is None else self._session.places.folder

    def attach(self, trainer: Any) -> Self:
        """Joins a trainer: behind its trackers, which must be open, and before what looks at the metrics.

        Args:
            trainer: A `SentenceTransformerTrainer` or `transformers.Trainer`.

        Returns:
            This callback.
        """
        # Refuses here rather than when training begins.
        autocast = _AUTOCAST.get(_precision(trainer.args))
        subject = subject_of(trainer.model, self._plan.settings, self.encode, autocast=autocast)
        if trainer.args.world_size < 2:
            for said in next(iter(self._evaluators.values())).try_out(subject):
                Guard().warn("model", said, said)
        self._handler = trainer.callback_handler
        callbacks = self._handler.callbacks
        callbacks[:] = [one for one in callbacks if one is not self]
        trackers = [place for place, one in enumerate(callbacks) if isinstance(one, TRACKERS)]
        callbacks.insert(max(trackers, default=0) + 1, self)
        return self

    def on_train_begin(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:
        """Opens the run, or goes on with the one of the checkpoint; evaluates the untrained model."""
        self._finish(is_hurried=True)
        is_resumed = state.global_step > 0
        memory = Memory.from_json((state.stateful_callbacks or {}).get(self.prefix) if is_resumed else None)
        loggers = loggers_of(self._trackers())
        session = begin(
            self._plan, self._evaluators, self._places(args), memory, is_resumed=is_resumed, loggers=loggers
        )
        self._session = session
        # A training that ends by an exception says nothing to its callbacks; the end of the program does.
        weakref.finalize(self, session.finish, is_hurried=True)
        self._is_training, self._looked_at = True, state.global_step
        self._say_what_to_know(session, args)
        if not is_resumed:
            self._evaluate(session, _Told(args, state, control, model), Moment(None, 0))

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Notes the time."""
        if self._session is not None:
            self._session.epoch_begun = time.monotonic()
            self._session.poll()

    def on_epoch_end(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:
        """Evaluates, if this epoch's turn has come; the trainer's own evaluation, which takes the numbers, follows."""
        told, session = _Told(args, state, control, model), self._session
        if session is not None and (self.when == "epoch_end" or told.is_last) and self._is_due(session, told):
            self._evaluate(session, told, self._moment(told))

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
        """Notes the training's loss, the mean since the trainer logged it last."""
        if self._session is not None and self._is_training and logs:
            self._session.training_loss.see(logs.get("loss"))

    def on_evaluate(
        self, args: Any, state: Any, control: Any, model: Any = None, metrics: Any = None, **_: Any
    ) -> None:
        """Puts the numbers among the metrics, from where best-model selection and early stopping take them."""
        session = self._session
        if not self._is_training or session is None:
            return
        told = _Told(args, state, control, model)
        if self.when == "evaluate" and self._is_due(session, told):
            self._evaluate(session, told, self._moment(told))
        # A search for hyperparameters adds up whatever stands among the metrics, unless told otherwise.
        is_summed = state.is_hyper_param_search and self.prefix not in (args.metric_for_best_model or "")
        if metrics is not None and not is_summed:
            metrics.update({f"eval_{self.prefix}/{name}": value for name, value in session.last_values().items()})

    def on_train_end(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:
        """Evaluates what the training was stopped with, if that was not an epoch's turn, and waits for the figures."""
        is_best = args.load_best_model_at_end and state.best_model_checkpoint is not None  # not the last weights
        is_behind = self._is_training and self._looked_at < state.global_step
        if self._session is not None and is_behind and not is_best:
            told = _Told(args, state, control, model)
            self._evaluate(self._session, told, self._moment(told))
        self._is_training = False
        self._finish(is_hurried=args.world_size > 1)

    def _finish(self, *, is_hurried: bool) -> None:
        if self._session is not None:
            self._session.finish(is_hurried=is_hurried)

    def _is_due(self, session: Session, told: _Told) -> bool:
        if self._looked_at == told.state.global_step:
            return False
        epoch = math.ceil(told.epochs)
        is_turn = told.is_last or epoch % self._plan.settings.every_n_epochs == 0
        return is_turn and session.affords(epoch, is_last=told.is_last, agree=told.any_rank)

    def _moment(self, told: _Told) -> Moment:
        epochs = told.epochs
        return Moment(int(epochs), told.state.global_step, self.when == "evaluate" or epochs != int(epochs))

    def _evaluate(self, session: Session, told: _Told, moment: Moment) -> None:
        # Noted whether it succeeds or not, so that every rank agrees on what has been looked at.
        self._looked_at = moment.step or 0
        precision = _precision(told.args)
        subject = subject_of(
            told.model,
            self._plan.settings,
            self.encode,
            trained_with=prompts_of(told.args),
            is_late=True,
            autocast=_AUTOCAST.get(precision),
            # A retry on one rank alone would put the others' gathering of weights out of step.
            can_halve=not told.is_sharded,
            precision=precision,
            is_shared=self._given.shard_corpus,
            ranks=told.args.world_size,
            weights="live, not averaged",
        )
        stop = session.evaluate(moment, subject, partial(self._log_values, session, told, moment))
        # Part of every checkpoint from here on, and given back by a resumed training on every rank. Not as an
        # ExportableState: with one, the trainer dies of saving where a checkpoint without it was resumed.
        if told.state.stateful_callbacks is not None:
            told.state.stateful_callbacks[self.prefix] = session.to_json(moment.label)
        # At a point that every rank reaches, whatever failed on it: one that stops alone hangs all.
        if self._plan.may_stop and told.any_rank(stop):
            session.say_end()
            told.control.should_training_stop = True

    def _log_values(self, session: Session, told: _Told, moment: Moment, values: Mapping[str, float]) -> None:
        if moment.epoch is None and not self._plan.log_baseline:
            return
        named = {f"{self.prefix}/{name}": value for name, value in values.items()}
        told.state.log_history.append({**named, "epoch": told.state.epoch, "step": moment.step})
        tags = {scalar_tag(self.prefix, name): value for name, value in values.items()}
        for tracker in self._trackers() if told.state.is_world_process_zero else ():
            act, kind = partial(report, tracker, tags, moment.step or 0, told), type(tracker).__name__
            attempt = partial(session.guard.attempt, f"logging to {kind}", where=f"step {moment.step}")
            attempt(act, skipped="the scalars")

    def _trackers(self) -> list[Any]:
        return [] if self._handler is None else [one for one in self._handler.callbacks if isinstance(one, TRACKERS)]

    def _places(self, args: Any) -> Places:
        rank = args.process_index
        if rank != 0:
            return Places(None, None, self.prefix, rank)
        writers = [getattr(one, "tb_writer", None) for one in self._trackers()]
        logged = next(filter(None, (getattr(writer, "log_dir", None) for writer in writers)), None)
        events = None if logged is None else Path(logged)
        return places_in(self._given.output_dir, args.output_dir, events, self.prefix)

    def _say_what_to_know(self, session: Session, args: Any) -> None:
        warn, folder = session.guard.warn, session.places.folder
        chosen = f"{args.metric_for_best_model}".removeprefix("eval_")
        if chosen.startswith(f"{self.prefix}/") and (found := self._late(args)):
            looks, mend = found
            message = f"the trainer looks at {chosen} {looks}, when it is still that of earlier weights"
            warn("trainer", "late", f"{message}; give EmbvizTrainerCallback {mend}")
        if folder is None:
            return
        if self._handler is None and [name for name in args.report_to if name != "none"]:
            message = "scalars reach the log history only; EmbvizTrainerCallback(...).attach(trainer) sends them to "
            warn("trackers", "not attached", f"{message}{', '.join(args.report_to)} too")
        if args.push_to_hub and folder.is_relative_to(Path(args.output_dir).absolute()):
            message = "push_to_hub uploads output_dir, and with it figures and texts of your validation data"
            warn("folder", "uploaded", f"{message}; give EmbvizTrainerCallback an output_dir elsewhere")

    def _late(self, args: Any) -> tuple[str, str] | None:
        """When the trainer chooses its best model by what is no longer true, and what mends it."""
        if args.eval_strategy == "steps" and self.when == "epoch_end":
            return f"every {args.eval_steps:g} steps", 'when="evaluate"'
        if self._plan.settings.every_n_epochs > 1:
            return "in epochs that are left out", "every_n_epochs=1"
        return None


def _precision(arguments: Any) -> str:
    return "bf16" if arguments.bf16 else "fp16" if arguments.fp16 else "32"
