"""Face 3: an evaluator for sentence-transformers and for loops of one's own: the callback's numbers, files, figures."""

import os
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch.distributed as dist

from embviz_callback.adapters.encoders import inner_model, subject_of
from embviz_callback.delivery.alerts.alarms import Alert
from embviz_callback.delivery.alerts.rule import MarginAlert
from embviz_callback.delivery.places import Places, landing
from embviz_callback.delivery.process.training_side import Limits
from embviz_callback.delivery.run.memory import Memory
from embviz_callback.encoding.subject import GivenEncode
from embviz_callback.evaluator import Moment
from embviz_callback.pairs.formats.reading import Reading
from embviz_callback.session import Session, begin
from embviz_callback.session.given import Given
from embviz_callback.settings import Settings

if TYPE_CHECKING:

    class BaseEvaluator:
        """What the evaluator takes from sentence-transformers."""

        primary_metric: str | None
        greater_is_better: bool

else:
    try:
        try:
            from sentence_transformers.sentence_transformer.evaluation import SentenceEvaluator as BaseEvaluator
        except ModuleNotFoundError:
            # Where version 5 keeps it; version 6 would warn.
            from sentence_transformers.evaluation import SentenceEvaluator as BaseEvaluator
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "sentence_transformers":
            raise
        BaseEvaluator = object  # a loop of the user's own asks for nothing of it

_DEFAULT_ALERT = MarginAlert()


class EmbvizEvaluator(BaseEvaluator):
    """Evaluates a model on a fixed subset; numbers are returned, figures drawn by another process.

    For whatever takes an evaluator of sentence-transformers, and for a training loop of your own, which needs no
    other library: call it with the model after every epoch, and `finish` at the end. It encodes in eval mode
    without gradients and leaves random streams and modes as they were. A call without an epoch, as by
    ``model.evaluate``, waits for its figures; one of a training does not, `finish` or the end of the program does.

    A SentenceTransformer is encoded as it is served: by ``encode_query`` and ``encode_document``, with its routes,
    prompts and truncated dimensions. Any other module needs these two, ``encode(texts)``, or the argument `encode`.

    Args:
        data: A file or folder of pairs in any form that docs/data.md lists, or a list, `Dataset` or DataFrame of them.
        sets: Several such, by name, instead of `data`; keys are ``embviz_<set>_margin``, those of the first also plain.
        reading: How they are read where that cannot be recognised, or should be otherwise.
        encode: Takes the model and ``n`` texts and gives ``(n, dim)``, or a pair of such functions for queries and
            documents; None for the model's own way.
        settings: Options of the evaluation as one value.
        limits: Those of the drawing process, likewise.
        corpus: Further documents that answer no query: path or list of texts, see docs/corpus.md.
        shard_corpus: With several ranks, all of which call it, each encodes its share of the corpus.
        alert: As for `EmbeddingVisualizer`, without ``stop_training``; None for no alert.
        output_dir: Where files go; by default ``embviz`` in the output path of the first call.
        figures: False writes no figures and starts no process.
        on_error: "warn" lets no fault of ours end the training, "raise" lets every fault through.
        name: Tells several evaluators of one training apart, in keys and folders: ``embviz_<name>_margin``.
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
        figures: bool = True,
        on_error: str = "warn",
        name: str = "",
        **options: Any,
    ) -> None:
        super().__init__()
        self._given = Given.of(locals() | {"log_baseline": True}, options)
        self._plan, self.prefix = self._given.plan, self._given.prefix
        if self._plan.may_stop:
            raise ValueError(
                "alert must not ask for stop_training here, an evaluator ends no training; leave it out, and end yours "
                f"where {self.prefix}_alert is 1"
            )
        self.name = self.prefix
        self.greater_is_better = True
        self.primary_metric = f"{self.prefix}_merit"
        self._encode = encode
        self._evaluators = self._given.evaluators()
        self._session: Session | None = None
        self._model: weakref.ref[Any] | None = None
        self._n_models = 0
        self._is_finished = False

    @property
    def folder(self) -> Path | None:
        """With ``history.jsonl`` and a folder per evaluation; None before the first call or without files."""
        return None if self._session is None else self._session.places.folder

    def __call__(
        self,
        model: Any,
        output_path: str | None = None,
        epoch: float | None = -1,
        steps: int = -1,
        *,
        training_loss: float | None = None,
    ) -> dict[str, float]:
        """Measures, and has the figures drawn.

        Args:
            model: The model; another than the last one begins a history of its own.
            output_path: As the trainer gives it.
            epoch: Epochs trained, may be a fraction; None for the untrained model of a training that follows; -1 for
                an evaluation outside of training.
            steps: Training steps done; -1 if not known.
            training_loss: Mean since the call before, by which a fall is told from overfitting; None if not known.

        Returns:
            Every metric as ``embviz_<name>``, and ``embviz_alert`` where there is an alert; where the evaluation
            failed NaN for each metric, and the alert as it stood.
        """
        session = self._session_of(model, output_path)
        found: dict[str, float] = {}
        subject = subject_of(model, self._plan.settings, self._encode, is_shared=self._given.shard_corpus)
        session.training_loss.see(training_loss)
        session.evaluate(_moment(epoch, steps), subject, found.update)
        if epoch == -1:
            self.finish()
        # Not the last good values, by which the trainer could choose a model that nobody has looked at.
        named = found or session.no_values()
        return {f"{self.prefix}_{name.replace('/', '_')}": value for name, value in named.items()}

    def finish(self) -> None:
        """Waits for the figures that are still being drawn and ends the drawing process; a later call opens another."""
        if self._session is not None:
            self._session.finish(is_hurried=False)
        self._is_finished = True

    def _session_of(self, model: Any, output_path: str | None) -> Session:
        """The open session of this model; that of another model is finished, and stays what it is."""
        inner = inner_model(model)
        is_same = self._model is not None and self._model() is inner
        if self._session is not None and is_same and not self._is_finished:
            return self._session
        if not is_same:
            if self._session is not None:
                self.finish()
            self._n_models += 1
            self._model = weakref.ref(inner)
        memory = self._session.memory if self._session is not None and is_same else Memory()
        session = begin(self._plan, self._evaluators, self._places(output_path), memory, is_resumed=is_same)
        self._session, self._is_finished = session, False
        # A training never says that it is over: the end of the evaluator or of the program does.
        weakref.finalize(self, session.finish, is_hurried=False)
        return session

    def _places(self, output_path: str | None) -> Places:
        rank = dist.get_rank() if dist.is_available() and dist.is_initialized() else 0
        wanted = self._given.output_dir or (output_path and f"{output_path}/{self.prefix}")
        if not wanted or rank:
            return Places(None, None, self.prefix, rank)
        folder, address = landing(wanted)
        own = folder.absolute()
        places = Places(own, own, self.prefix, address=address)
        return places if self._n_models < 2 else places.moved_to(own.with_name(f"{own.name}-{self._n_models}"))


def _moment(epoch: float | None, steps: int) -> Moment:
    if epoch is None or epoch == -1:
        return Moment(None, max(0, steps), name="" if epoch is None else "evaluation")
    # The number of the step in the folder's name keeps two evaluations of one epoch apart.
    return Moment(int(epoch), max(0, steps), steps != -1)
