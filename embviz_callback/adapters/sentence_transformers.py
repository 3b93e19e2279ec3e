"""Face 3: an evaluator for sentence-transformers, with the callback's numbers, files and figures."""

import os
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch.distributed as dist

from embviz_callback.adapters.encoders import subject_of
from embviz_callback.delivery.alerts.rule import MarginAlert
from embviz_callback.delivery.places import Places
from embviz_callback.delivery.process.worker import Limits
from embviz_callback.delivery.provenance import given_pairs
from embviz_callback.delivery.run.memory import Memory
from embviz_callback.encoding.subject import EncodeWith
from embviz_callback.evaluator import Evaluator, Moment
from embviz_callback.pairs.formats.reading import Reading
from embviz_callback.session import Plan, Session, begin
from embviz_callback.settings import Settings, merged, split_options

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
        raise ModuleNotFoundError(
            "EmbvizEvaluator needs sentence-transformers 5 or newer; "
            'install it with: pip install "embviz-callback[sentence-transformers]"',
            name=error.name,
        ) from None

_DEFAULT_ALERT = MarginAlert()


class EmbvizEvaluator(BaseEvaluator):
    """Evaluates a SentenceTransformer on a fixed subset; numbers are returned, figures drawn by another process.

    It encodes in eval mode without gradients and leaves random streams and modes as they were.
    A call without an epoch, as by ``model.evaluate``, waits for its figures; one of a training
    does not, `finish` or the end of the program does. The model's own default prompt is not used: `query_prompt`
    and `document_prompt` are what is put before them.

    Args:
        data: A file or folder of pairs in any form that docs/data.md lists, or a list, `Dataset` or DataFrame of them.
        reading: How they are read where that cannot be recognised, or should be otherwise.
        encode: Takes the model and ``n`` texts and gives ``(n, dim)``, or a pair of such functions for queries and
            documents; None for the model's own way.
        settings: Options of the evaluation as one value.
        limits: Those of the drawing process, likewise.
        corpus: Further documents that answer no query: path or list of texts, see docs/corpus.md.
        alert: Watches the margin; None for no alert.
        output_dir: Where files go; by default ``embviz`` in the output path of the first call.
        figures: False writes no figures and starts no process.
        on_error: "warn" lets no fault of ours end the training, "raise" lets every fault through.
        options: The fields of `Settings` and of `Limits`, each by itself.

    Raises:
        ValueError: If an option or the data cannot be used.
    """

    def __init__(
        self,
        data: Any,
        *,
        reading: Reading | None = None,
        encode: EncodeWith | tuple[EncodeWith, EncodeWith] | None = None,
        settings: Settings | None = None,
        limits: Limits | None = None,
        corpus: Any = None,
        alert: MarginAlert | None = _DEFAULT_ALERT,
        output_dir: str | os.PathLike[str] | None = None,
        figures: bool = True,
        on_error: str = "warn",
        **options: Any,
    ) -> None:
        super().__init__()
        self.greater_is_better = True
        self.primary_metric = "embviz_rank1"
        self.output_dir = None if output_dir is None else Path(output_dir)
        flat_settings, flat_limits = split_options(options, Settings, Limits)
        self._plan = Plan(
            merged("settings", settings, flat_settings, Settings()),
            alert,
            merged("limits", limits, flat_limits, Limits()),
            figures=figures,
            log_baseline=True,
            on_error=on_error,
        )
        self._encode = encode
        self._evaluator = Evaluator.on(given_pairs(data, reading=reading), self._plan.settings, corpus=corpus)
        self._session: Session | None = None
        self._is_finished = False

    @property
    def folder(self) -> Path | None:
        """With ``history.jsonl`` and a folder per evaluation; None before the first call or without files."""
        return None if self._session is None else self._session.places.folder

    def __call__(
        self, model: Any, output_path: str | None = None, epoch: float = -1, steps: int = -1
    ) -> dict[str, float]:
        """Measures, and has the figures drawn.

        Args:
            model: A SentenceTransformer.
            output_path: As the trainer gives it.
            epoch: Epochs trained, may be a fraction; -1 for an evaluation outside of training.
            steps: Training steps done; -1 if not known.

        Returns:
            Every metric as ``embviz_<name>``, and ``embviz_alert`` where there is an alert; NaN for each metric
            where the evaluation failed.
        """
        is_training = epoch != -1
        if self._session is None or self._is_finished:
            self._session = self._begin(output_path)
        # The number of the step in the folder's name keeps two evaluations of one epoch apart.
        moment = (
            Moment(int(epoch), max(0, steps), steps != -1)
            if is_training
            else Moment(None, max(0, steps), name="evaluation")
        )
        found: dict[str, float] = {}
        subject = subject_of(model, self._plan.settings, self._encode)
        self._session.evaluate(moment, subject, found.update)
        if not is_training:
            self.finish()
        # Not the last good values, by which the trainer could choose a model that nobody has looked at.
        return {f"embviz_{name}": value for name, value in (found or self._session.no_values()).items()}

    def finish(self) -> None:
        """Waits for the figures that are still being drawn and ends the drawing process; a later call opens another."""
        if self._session is not None:
            self._session.finish(is_hurried=False)
        self._is_finished = True

    def _begin(self, output_path: str | None) -> Session:
        folder = self.output_dir
        if folder is None and output_path is not None:
            folder = Path(output_path) / "embviz"
        rank = dist.get_rank() if dist.is_available() and dist.is_initialized() else 0
        folder = None if folder is None or rank else folder.absolute()
        memory = Memory() if self._session is None else self._session.memory
        places = Places(folder, folder, rank=rank)
        session = begin(self._plan, self._evaluator, places, memory, is_resumed=self._is_finished)
        self._is_finished = False
        # A training never says that it is over: the end of the evaluator or of the program does.
        weakref.finalize(self, session.finish, is_hurried=False)
        return session
