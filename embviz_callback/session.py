"""One training under watch: look, judge, record, hand over, log; and no fault of ours gets out."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from embviz_callback.analysis.metrics.catalogue import CATALOGUE
from embviz_callback.analysis.metrics.numbers import Metrics, evaluate_pairs
from embviz_callback.delivery.alerts.announcing import announce, reading_of
from embviz_callback.delivery.alerts.people import LIMIT_S, Notifier
from embviz_callback.delivery.alerts.rule import AlertEvent, MarginAlert, judge
from embviz_callback.delivery.guarding import Guard, say
from embviz_callback.delivery.loggers import Gallery
from embviz_callback.delivery.places import Places
from embviz_callback.delivery.process.handovers import MOST_PAST, Conclusion, Job, write_conclusion, write_job
from embviz_callback.delivery.process.waiting import set_aside_earlier, wait_for_drawings
from embviz_callback.delivery.process.worker import Limits, Worker
from embviz_callback.delivery.run.claim import Claim, claim_folder
from embviz_callback.delivery.run.history import HistoryRow, append_to_history
from embviz_callback.delivery.run.memory import Memory
from embviz_callback.delivery.run.mirror import Mirror, has_fsspec
from embviz_callback.delivery.timing import Budget
from embviz_callback.encoding.subject import Subject
from embviz_callback.evaluator import Encoded, Evaluator, Listener, Moment
from embviz_callback.files import append_row, require_space, safe_name, to_json, write_atomically
from embviz_callback.pairs.importing import load_function
from embviz_callback.settings import Settings
from embviz_callback.snapshot import Snapshot

_LAST = "last"  # sorts behind the jobs of evaluations, which begin with a number
_SPARE_BYTES = 50_000_000  # left free on the disk for the checkpoints of the training

Log = Callable[[Mapping[str, float]], None]
Result = TypeVar("Result")


@dataclass(frozen=True)
class Plan:
    """How a training is watched.

    Attributes:
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

    settings: Settings
    alert: MarginAlert | None = None
    limits: Limits = field(default_factory=Limits)
    figures: bool = True
    log_baseline: bool = False
    on_error: str = "warn"
    overhead_limit: float = 0.0

    def __post_init__(self) -> None:
        if self.on_error not in ("warn", "raise"):
            raise ValueError(f"on_error must be 'warn' or 'raise', got {self.on_error!r}")
        if not isinstance(self.alert, MarginAlert | None):
            raise TypeError(f"alert must be a MarginAlert or None, got {type(self.alert).__name__}")
        if self.settings.features:
            load_function(self.settings.features)  # a wrong name must not be found at the end of the training
        Budget(self.overhead_limit)


def begin(
    plan: Plan,
    evaluator: Evaluator,
    places: Places,
    memory: Memory,
    *,
    is_resumed: bool,
    loggers: Sequence[Any] = (),
) -> "Session":
    """Opens a session and starts its clock and its drawing process.

    Args:
        plan: How the training is watched.
        evaluator: What is looked at.
        places: Where this rank writes.
        memory: What is known from before; that of another subset is left aside.
        is_resumed: Whether what is known goes on; otherwise the history begins anew.
        loggers: Of the trainer, for figures and alerts; their numbers are the face's business.

    Returns:
        The session.
    """
    known = memory if is_resumed else Memory()
    claim = None if places.folder is None else claim_folder(places.folder, known.run_id)
    if claim is not None and claim.folder != places.folder:
        say(f"another training is writing into {places.folder}; this one writes into {claim.folder}")
        places = places.moved_to(claim.folder)
    session = Session(plan, evaluator, places, known, loggers=loggers, claim=claim)
    session.open(is_resumed=is_resumed)
    return session


class Session:
    """One training under watch, from one rank; `begin` makes one.

    A face says when to look, at which model, and takes the numbers; everything between is here.

    Args:
        plan: How the training is watched.
        evaluator: What is looked at.
        places: Where this rank writes.
        memory: What is known from before.
        loggers: Of the trainer, as far as they are to get figures and alerts.
        claim: Of the folder, released at the end.
    """

    def __init__(
        self,
        plan: Plan,
        evaluator: Evaluator,
        places: Places,
        memory: Memory,
        *,
        loggers: Sequence[Any] = (),
        claim: Claim | None = None,
    ) -> None:
        self._claim = claim
        self._mirror: Mirror | None = None
        self.plan = plan
        self.evaluator = evaluator
        self.places = places
        self.memory = memory
        self.epoch_begun = time.monotonic()
        self.guard = Guard(on_error=plan.on_error, note=self._note, rank=places.rank)
        speaks = places.rank == 0 and not places.is_trial
        drawn_in = places.folder if plan.figures else None
        self.gallery = Gallery(loggers if speaks else (), prefix=places.prefix, folder=drawn_in, guard=self.guard)
        self.worker: Worker | None = None
        if drawn_in is not None:
            report = partial(self.guard.warn, "drawing")
            self.worker = Worker(drawn_in, limits=plan.limits, report=report, drawn=self.gallery.receive)
        self.notifier: Notifier | None = None
        if plan.alert is not None and plan.alert.notify is not None and speaks:
            report = partial(self.guard.warn, "notification")
            self.notifier = Notifier(plan.alert.notify, run=_short(places.folder), report=report)
        self._listener = Listener(warn=self._warn_of_memory)
        self._budget = Budget(plan.overhead_limit)
        self._is_open = True
        self._has_noted = False
        self._resumed_after: int | None = None

    def open(self, *, is_resumed: bool) -> None:
        """Starts the drawing process and opens the history, which may be that of a resumed training."""
        subset, folder = self.evaluator.subset, self.places.folder
        self._forget_other_subset(subset.fingerprint)
        last = self.memory.history.last
        self._resumed_after = last.step if is_resumed and last is not None else None
        if self.worker is not None:
            if not is_resumed:
                self._attempt(
                    "jobs of an earlier run", partial(set_aside_earlier, self.worker.jobs), "leaving them undrawn"
                )
            self._attempt("drawing process", self.worker.start, "the figures")
        if self.notifier is not None:
            self._attempt("notification", self.notifier.check, "a look at the addresses")
        if said := self._attempt("introduction", self.gallery.introduction, "a line on what loggers show"):
            say(said)
        if folder is not None:
            act = partial(self.memory.history.open_file, folder / "history.jsonl", is_resumed=is_resumed)
            self._attempt("history file", act, "the rows of history.jsonl")
            # As a dataset: the runner on this file judges by exactly the same queries and documents.
            act = partial(write_atomically, folder / "validation_pairs.json", to_json(subset.as_file()))
            self._attempt("subset file", act, "validation_pairs.json")
        if folder is not None and self.places.address is not None:
            self._mirror = self._opened_mirror(folder, self.places.address)
        if self.evaluator.corpus is not None and self.places.rank == 0:
            say(self.evaluator.corpus.sentence)
        self.epoch_begun = time.monotonic()
        self._budget.begin(self.epoch_begun)

    def poll(self) -> None:
        """Lets the other processes have their say, and loggers what was drawn; never waits for a drawing."""
        if self.worker is not None:
            self._attempt("drawing process", self.worker.poll, "the figures")
        if self.notifier is not None:
            self._attempt("notification", self.notifier.poll, "what became of a message")
        self.gallery.show()

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
        begun = time.monotonic()
        self.poll()
        attempt = partial(self.guard.attempt, where=f"{moment.label}, step {moment.step}")
        again = "the next evaluation tries again"
        missing = "metrics and figures of this evaluation"
        # By itself: on a rank where something else fails for good, weights are still gathered for the others.
        # And within an exchange: a rank that no longer tries still has to tell those that wait for its share.
        if not self._has_noted:
            self._has_noted = True
            for note in subject.notes:
                self.guard.warn("model", note, note)
        with self.evaluator.exchange(subject) as exchange:
            encode = partial(self.evaluator.encode, subject, exchange, self._listener)
            encoded = attempt("encoding", encode, skipped=missing, redo=again)
        snapshot = event = None
        if encoded is not None:
            measure = partial(self._measure, encoded, moment, subject)
            snapshot = attempt("evaluation", measure, skipped=missing, redo=again)
        if snapshot is not None:
            event = attempt("alert", partial(self._judge, snapshot), skipped="the alert")
            attempt("history", partial(self._record, snapshot), skipped="the history of this evaluation")
            hand_over = partial(self._hand_over, snapshot, event, is_partial=moment.is_partial)
            attempt("hand-over to drawing", hand_over, skipped="the figures of this evaluation", redo=again)
            attempt("logging", partial(log, self._values(snapshot, begun)), skipped="the scalars")
        self._copy()
        self._budget.spend(time.monotonic() - begun)  # one that failed has cost its time too
        return event

    def last_values(self) -> dict[str, float]:
        """What a monitor may ask for between two evaluations: every metric's last known value, NaN before the first."""
        last = self.memory.history.last
        return self.no_values() | ({} if last is None else _shown(last.metrics))

    def no_values(self) -> dict[str, float]:
        """NaN under every name that an evaluation of this subset gives."""
        # The names are those of a very small evaluation.
        rows = np.eye(2, dtype=np.float32)
        has_hard = len(self.evaluator.subset.hard_pairs) > 0
        hard: Any = {"hard_negatives": rows, "hard_pairs": [[0, 1]]} if has_hard else {}
        return dict.fromkeys(_shown(evaluate_pairs(rows, rows, [0, 1], draws=0, **hard)), math.nan)

    def to_json(self, where: str) -> dict[str, Any]:
        """What is known, in plain JSON types; empty if that fails, so that a checkpoint is saved all the same.

        Args:
            where: For the message.

        Returns:
            What `Memory.from_json` reads.
        """
        return self.guard.attempt("state", self.memory.to_json, where=where, skipped="the state") or {}

    def finish(self, *, is_hurried: bool) -> None:
        """Waits for the drawings, ends the process and says what is left; only the first call does anything.

        Args:
            is_hurried: Others wait, or the user wants an end: no more than the grace.
        """
        if not self._is_open:
            return
        self._is_open = False
        if is_hurried:
            self.guard.on_error = "warn"  # an exception of the user's is pending, and must stay what they see
        if self.worker is not None:
            self._finish_drawing(self.worker, is_hurried=is_hurried)
        self.gallery.show()
        if self.notifier is not None:
            self._attempt("notification", partial(self.notifier.finish, LIMIT_S), "the last message")
        self._copy()
        if self._claim is not None:
            self._claim.release()

    def _opened_mirror(self, folder: Path, address: str) -> Mirror | None:
        """Says where the files of a run are whose logger writes elsewhere."""
        if not has_fsspec():
            say(f"{address} is not on this machine; files are written into {folder} and stay there, without fsspec")
            return None
        say(f"{address} is not on this machine; files are written into {folder} and copied there")
        return Mirror(folder, address)

    def _copy(self) -> None:
        if self._mirror is not None:
            where = f"the copy in {self._mirror.address}; it all lies in {self._mirror.folder}"
            self._attempt("copying", self._mirror.copy, where)

    def _forget_other_subset(self, fingerprint: str) -> None:
        before = self.memory.history.fingerprint
        if before not in (None, fingerprint):
            self.guard.warn(
                "resume",
                "other subset",
                f"the subset is not that of the checkpoint (fingerprint {fingerprint}, was {before}), so that metrics "
                "are not comparable: a new history begins, without a baseline; resume with the same data, "
                "max_samples, seed and corpus to go on with the old one",
            )
            self.memory = Memory()

    def _measure(self, encoded: Encoded, moment: Moment, subject: Subject) -> Snapshot:
        provenance = self.evaluator.provenance(subject)
        history = self.memory.history.metrics()
        return self.evaluator.measure(encoded, moment, provenance, history=history)

    def _judge(self, snapshot: Snapshot) -> AlertEvent | None:
        """Shows an evaluation to the alert, and says on the main rank what it finds."""
        alert = self.plan.alert
        if alert is None or snapshot.epoch is None:
            return None
        self.memory.alert, event = judge(alert, self.memory.alert, reading_of(snapshot))
        if event is not None and self.places.rank == 0:
            announce(
                event,
                alert,
                attempt=self._attempt,
                note=self._note,
                gallery=self.gallery,
                notifier=self.notifier,
            )
        return event

    def _record(self, snapshot: Snapshot) -> None:
        row = HistoryRow.of(snapshot, alert=self.memory.alert.firing)
        self.memory.history.add(row)
        if self.places.folder is not None:
            act = partial(append_to_history, self.places.folder / "history.jsonl", row)
            self._attempt("history file", act, "a row of history.jsonl")

    def _hand_over(self, snapshot: Snapshot, event: AlertEvent | None, *, is_partial: bool) -> None:
        """Gives an evaluation to the drawing process."""
        folder = self.places.folder
        if self.worker is None or folder is None:
            return
        n_bytes = 2 * sum(part.nbytes for part in (snapshot.embeddings.queries, snapshot.embeddings.documents))
        folder.mkdir(parents=True, exist_ok=True)
        require_space(folder, _SPARE_BYTES + n_bytes)
        job = self._job(snapshot, event, is_partial=is_partial)
        self._resumed_after = None
        order = 0 if snapshot.epoch is None else (snapshot.step or 0) + 1
        name = f"{order:09d}_{job.place}"
        if job.events is not None:
            self.gallery.expect(name, snapshot.label, snapshot.step or 0)
        self.worker.submit(name, partial(write_job, snapshot, job))

    def _job(self, snapshot: Snapshot, event: AlertEvent | None, *, is_partial: bool) -> Job:
        history, plan = self.memory.history, self.plan
        earlier = history.before(HistoryRow.of(snapshot, alert=False))
        is_logged = self.places.events is not None and (snapshot.epoch is not None or plan.log_baseline)
        said = () if event is None else (event.message,)
        return Job(
            place=_place_name(snapshot, is_partial=is_partial),
            run_id=self.memory.run_id,
            prefix=self.places.prefix,
            events=f"{self.places.events}" if is_logged else None,
            baseline=history.baseline,
            history=tuple(earlier)[-MOST_PAST:],
            alerts=said,
            said=(*_said_by(earlier), *said),
            faults=tuple(self.guard.faults),
            threshold=None if plan.alert is None else plan.alert.threshold,
            resumed_after=self._resumed_after,
        )

    def _finish_drawing(self, worker: Worker, *, is_hurried: bool) -> None:
        if not is_hurried and self.memory.history.last is not None:
            conclusion = Conclusion(
                prefix=self.places.prefix,
                events=None if self.places.events is None else f"{self.places.events}",
                said=tuple(_said_by(self.memory.history.rows)),
                faults=tuple(self.guard.faults),
            )
            conclude = partial(worker.conclude, _LAST, partial(write_conclusion, conclusion))
            self._attempt("drawing process", conclude, "the analysis of the run")
        limits = worker.limits
        limit_s = min(limits.grace_s, limits.finish_limit_s) if is_hurried else limits.finish_limit_s
        try:
            self._attempt("drawing process", partial(wait_for_drawings, worker, limit_s), "the last figures")
        finally:  # Ctrl-C while waiting
            # A stage of its own: one that is no longer tried after three faults must not keep the process alive.
            self._attempt("end of the drawing process", worker.stop, "nothing")

    def _values(self, snapshot: Snapshot, begun: float) -> dict[str, float]:
        now = time.monotonic()
        values = _shown(snapshot.metrics)
        values |= {"blocked_s": now - begun, "overhead": (now - begun) / max(now - self.epoch_begun, 1e-9)}
        return values if self.plan.alert is None else values | {"alert": float(self.memory.alert.firing)}

    def _warn_of_memory(self, stage: str, message: str) -> None:
        self.guard.warn(stage, "out of memory", message)

    def _say_left_out(self, epoch: int, share: float) -> None:
        message = (
            f"evaluating every epoch would take {share:.0%} of the training time, above overhead_limit="
            f"{self._budget.limit:g}, so that epochs are left out (first: epoch {epoch}); "
            "a smaller max_samples makes an evaluation cheaper"
        )
        self.guard.warn("evaluation", "over budget", message)

    def _attempt(self, stage: str, act: Callable[[], Result], skipped: str) -> Result | None:
        last = self.memory.history.last
        where = "no evaluation yet" if last is None else f"last evaluation: {last.label}"
        return self.guard.attempt(stage, act, where=where, skipped=skipped)

    def _note(self, row: Mapping[str, Any]) -> None:
        if self.places.folder is not None:
            append_row(self.places.folder / "events.jsonl", {"time": time.time(), **row})


def _place_name(snapshot: Snapshot, *, is_partial: bool) -> str:
    if snapshot.epoch is None:
        return safe_name(snapshot.label)
    return f"epoch_{snapshot.epoch:04d}" + (f"_step_{snapshot.step}" if is_partial else "")


def _said_by(rows: Sequence[HistoryRow]) -> list[str]:
    return [f"{row.label}: the alert was firing; {row.reason}" for row in rows if row.alert]


def _short(folder: Path | None) -> str:
    """Enough of a run's folder to know it by, and not who keeps it where."""
    return "" if folder is None else "/".join(folder.parts[-3:-1])


def _shown(metrics: Metrics) -> dict[str, float]:
    # Bounds of ties stand in the history and the report; they would double the tags.
    known = (name for name in metrics if name in CATALOGUE and not CATALOGUE[name].is_bound)
    return {name: metrics[name] for name in known}
