"""One training under watch: look, judge, record, hand over, log; and no fault of ours gets out."""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from embviz_callback.analysis.verdict.best import chosen_metric
from embviz_callback.delivery.alerts.alarms import Alarms, Event
from embviz_callback.delivery.alerts.rule import MarginAlert
from embviz_callback.delivery.guarding import Guard, say
from embviz_callback.delivery.loggers import Gallery
from embviz_callback.delivery.places import Places
from embviz_callback.delivery.process.drawings import Drawings
from embviz_callback.delivery.process.training_side import Worker
from embviz_callback.delivery.run.claim import Claim, claim_folder
from embviz_callback.delivery.run.history import HistoryRow, append_to_history
from embviz_callback.delivery.run.memory import Memory
from embviz_callback.delivery.run.mirror import Mirror, opened_mirror
from embviz_callback.delivery.run.training_loss import TrainingLoss
from embviz_callback.delivery.timing import Budget
from embviz_callback.encoding.subject import Subject
from embviz_callback.evaluator import Encoded, Evaluator, Listener, Moment, encode_each
from embviz_callback.files import append_row, to_json, write_atomically
from embviz_callback.session.course import Course, values_of
from embviz_callback.session.given import Plan
from embviz_callback.session.weights import Weights
from embviz_callback.snapshot import Snapshot

Log = Callable[[Mapping[str, float]], None]
Result = TypeVar("Result")


def begin(
    plan: Plan,
    evaluators: Mapping[str, Evaluator],
    places: Places,
    memory: Memory,
    *,
    is_resumed: bool,
    loggers: Sequence[Any] = (),
) -> "Session":
    """Opens a session and starts its clock and its drawing processes.

    Args:
        plan: How the training is watched.
        evaluators: What is looked at, by the name of the set; the only one may have none.
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
    session = Session(plan, evaluators, places, known, loggers=loggers, claim=claim)
    session.open(is_resumed=is_resumed)
    return session


class Session:
    """One training under watch, from one rank; `begin` makes one.

    A face says when to look, at which model, and takes the numbers; everything between is here. Every set has a
    history, files and drawings of its own; the model is looked at once for all.

    Args:
        plan: How the training is watched.
        evaluators: What is looked at, by the name of the set; the first is the training's own.
        places: Where this rank writes.
        memory: What is known from before.
        loggers: Of the trainer, as far as they are to get figures and alerts.
        claim: Of the folder, released at the end.
    """

    def __init__(
        self,
        plan: Plan,
        evaluators: Mapping[str, Evaluator],
        places: Places,
        memory: Memory,
        *,
        loggers: Sequence[Any] = (),
        claim: Claim | None = None,
    ) -> None:
        self._claim = claim
        self._mirror: Mirror | None = None
        self.plan = plan
        self.places = places
        self.memory = memory
        self.epoch_begun = time.monotonic()
        self.training_loss = TrainingLoss()
        self.guard = Guard(on_error=plan.on_error, note=self._note, rank=places.rank)
        speaks = places.rank == 0 and not places.is_trial
        self._courses = tuple(
            self._begun(name, one, is_first=not at, loggers=loggers if speaks else ())
            for at, (name, one) in enumerate(evaluators.items())
        )
        first = next(iter(evaluators))
        self.alarms = Alarms(
            plan.alerts,
            first,
            self.guard,
            self._attempt,
            self._note,
            self.gallery,
            run=_short(places.folder),
            speaks=speaks,
        )
        self._listener = Listener(warn=lambda stage, message: self.guard.warn(stage, "out of memory", message))
        self._budget = Budget(plan.overhead_limit)
        self._is_open = True
        self._has_noted = False
        self.weights = Weights()

    def _begun(self, name: str, evaluator: Evaluator, *, is_first: bool, loggers: Sequence[Any]) -> Course:
        plan = self.plan
        margin = next((one for one in plan.alerts if is_first and isinstance(one, MarginAlert)), None)
        drawings = Drawings(
            self.places if is_first else self.places.of_set(name),
            plan.limits,
            self.guard,
            self._attempt,
            loggers=loggers,
            is_drawn=plan.figures,
            log_baseline=plan.log_baseline,
            threshold=None if margin is None else margin.threshold,
        )
        return Course(name, "" if is_first else name, evaluator, drawings)

    @property
    def evaluator(self) -> Evaluator:
        """Of the first set."""
        return self._courses[0].evaluator

    @property
    def worker(self) -> Worker | None:
        """The drawing process of the first set."""
        return self._courses[0].drawings.worker

    @property
    def gallery(self) -> Gallery:
        """The loggers that take its pictures."""
        return self._courses[0].drawings.gallery

    def open(self, *, is_resumed: bool) -> None:
        """Starts the drawing processes and opens the histories, which may be those of a resumed training."""
        for course in self._courses:
            self._open(course, is_resumed=is_resumed)
        self.memory.way = self.plan.way
        self.alarms.check()
        if said := self._attempt("introduction", self.gallery.introduction, "a line on what loggers show"):
            say(said)
        if self.places.folder is not None and self.places.address is not None:
            self._mirror = opened_mirror(self.places.folder, self.places.address)
        if self.evaluator.corpus is not None and self.places.rank == 0:
            say(self.evaluator.corpus.sentence)
        self.epoch_begun = time.monotonic()
        self._budget.begin(self.epoch_begun)

    def _open(self, course: Course, *, is_resumed: bool) -> None:
        subset, folder = course.evaluator.subset, course.drawings.places.folder
        self._forget_what_is_other(course)
        memory = self.memory.of(course.at)
        course.drawings.start(memory, is_resumed=is_resumed)
        if folder is not None:
            if course.at:  # that of the first was claimed
                self._attempt("folder", partial(folder.mkdir, parents=True, exist_ok=True), "its files")
            act = partial(memory.history.open_file, folder / "history.jsonl", is_resumed=is_resumed)
            self._attempt("history file", act, "the rows of history.jsonl")
            # As a dataset: the runner on this file judges by exactly the same queries and documents.
            act = partial(write_atomically, folder / "validation_pairs.json", to_json(subset.as_file()))
            self._attempt("subset file", act, "validation_pairs.json")

    def poll(self) -> None:
        """Lets the other processes have their say, and loggers what was drawn; never waits for a drawing."""
        for course in self._courses:
            course.drawings.poll()
        self.alarms.poll()

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

    def evaluate(self, moment: Moment, subject: Subject, log: Log) -> bool:
        """Looks at a model and passes on what is found; each stage that fails costs one warning and itself.

        Args:
            moment: When.
            subject: The model.
            log: Takes every number under the names of docs/metrics.md, with ``merit``, ``blocked_s``,
                ``overhead`` and ``alert``, of several sets also as ``<set>/<name>``; not called where it failed.

        Returns:
            Whether an alert asks for the end of the training.
        """
        begun = time.monotonic()
        moment = replace(moment, training_loss=self.training_loss.taken())
        self.poll()
        attempt = partial(self.guard.attempt, where=f"{moment.label}, step {moment.step}")
        again = "the next evaluation tries again"
        missing = "metrics and figures of this evaluation"
        if not self._has_noted:
            self._has_noted = True
            for note in subject.notes:
                self.guard.warn("model", note, note)
        # By itself: on a rank where something else fails for good, weights are still gathered for the others.
        # And within an exchange: a rank that no longer tries still has to tell those that wait for its share.
        with self.evaluator.exchange(subject) as exchange:
            evaluators = [course.evaluator for course in self._courses]
            encode = partial(encode_each, evaluators, subject, exchange, self._listener)
            encoded = attempt("encoding", encode, skipped=missing, redo=again) or ()
        self.advise(partial(self.weights.see, subject.module, encoded))
        snapshots: dict[Course, Snapshot] = {}
        for course, vectors in zip(self._courses, encoded, strict=False):
            measure = partial(self._measure, course, vectors, moment, subject)
            if (snapshot := attempt("evaluation", measure, skipped=missing, redo=again)) is not None:
                snapshots[course] = snapshot
        judge = partial(self.alarms.judge, self.memory, {course.name: one for course, one in snapshots.items()})
        events = attempt("alert", judge, skipped="the alert") or ()
        for course, snapshot in snapshots.items():
            attempt("history", partial(self._record, course, snapshot), skipped="the history of this evaluation")
            hand_over = partial(self._hand_over, course, snapshot, events, is_partial=moment.is_partial)
            attempt("hand-over to drawing", hand_over, skipped="the figures of this evaluation", redo=again)
        if snapshots:
            attempt("logging", partial(log, self._values(snapshots, begun)), skipped="the scalars")
        self._copy()
        self._budget.spend(time.monotonic() - begun)  # one that failed has cost its time too
        return any(event.stops and alert.stop_training for alert, event in events)

    def say_end(self) -> None:
        """Says why a training ends before its time, which no trainer does."""
        if self.places.rank == 0:
            say("the training is asked to end, since an alert with stop_training=True fires")

    def notices_others(self, module: Any) -> bool:
        """Whether somebody has put other weights into a module since it was looked at, as far as can be told."""
        found = bool(self._attempt("weights", partial(self.weights.are_others, module), "a look at them"))
        if found and self.places.rank == 0:
            say("the weights were replaced when training ended, so they are evaluated too, as 'end of training'")
        return found

    def advise(self, look: Callable[[], Sequence[str]]) -> None:
        """Warns, once, of what `look` finds that keeps our numbers from being those of a checkpoint."""
        for said in self._attempt("advice", look, "advice") or ():
            self.guard.warn("advice", said, said)

    def last_values(self) -> dict[str, float]:
        """What a monitor may ask for between two evaluations: every metric's last known value, NaN before the first."""
        known: dict[str, float] = {}
        for course in self._courses:
            last = self.memory.of(course.at).history.last
            known |= {} if last is None else course.named(values_of(last.metrics, last.standing))
        return self.no_values() | known

    def no_values(self) -> dict[str, float]:
        """NaN under the name of every metric that an evaluation of these sets gives, and the alert as it stands."""
        values: dict[str, float] = {}
        for course in self._courses:
            values |= course.named(course.no_values() | self._alert_of(course))
        return values

    def to_json(self, where: str) -> dict[str, Any]:
        """What is known, in plain JSON types; empty if that fails, so that a checkpoint is saved all the same.

        Args:
            where: For the message.

        Returns:
            What `Memory.from_json` reads.
        """
        return self.guard.attempt("state", self.memory.to_json, where=where, skipped="the state") or {}

    def finish(self, *, is_hurried: bool) -> None:
        """Waits for the drawings, ends the processes and says what is left; only the first call does anything.

        Args:
            is_hurried: Others wait, or the user wants an end: no more than the grace.
        """
        if not self._is_open:
            return
        self._is_open = False
        if is_hurried:
            self.guard.on_error = "warn"  # an exception of the user's is pending, and must stay what they see
        limits = self.plan.limits
        end = time.monotonic() + (min(limits.grace_s, limits.finish_limit_s) if is_hurried else limits.finish_limit_s)
        with ExitStack() as ends:  # Ctrl-C while waiting for one set must end the process of every other
            for course in reversed(self._courses):
                ends.callback(course.drawings.finish, end)
                if not is_hurried:
                    course.drawings.conclude(self.memory.of(course.at), self.alarms.said((), course.name))
        self.alarms.finish()
        self._copy()
        if self._claim is not None:
            self._claim.release()

    def _copy(self) -> None:
        if self._mirror is not None:
            where = f"the copy in {self._mirror.address}; it all lies in {self._mirror.folder}"
            self._attempt("copying", self._mirror.copy, where)

    def _forget_what_is_other(self, course: Course) -> None:
        fingerprint, before = course.evaluator.subset.fingerprint, self.memory.of(course.at).history.fingerprint
        known = self.memory.way
        way = self.plan.way
        others = [
            f"{name} {way[name]!r}, was {known[name]!r}" for name in way if known.get(name, way[name]) != way[name]
        ]
        if before not in (None, fingerprint):
            what = f"the subset is not that of the checkpoint (fingerprint {fingerprint}, was {before})"
            same = "data, max_samples, seed and corpus"
        elif before is not None and others:
            what, same = f"texts are encoded or ranked in another way ({'; '.join(others)})", "prompts and similarity"
        else:
            return
        self.guard.warn(
            "resume",
            "other subset",
            f"{what}, so that metrics are not comparable: a new history begins, without a baseline; resume with the "
            f"same {same} to go on with the old one",
        )
        self.memory.forget(course.at, course.name)

    def _measure(self, course: Course, encoded: Encoded, moment: Moment, subject: Subject) -> Snapshot:
        provenance = course.evaluator.provenance(subject)
        run = self.memory.of(course.at).history.run(chosen_metric(encoded.embeddings, self.plan.settings.metric))
        return course.evaluator.measure(encoded, moment, provenance, run=run)

    def _record(self, course: Course, snapshot: Snapshot) -> None:
        row = HistoryRow.of(snapshot, alert=bool(self.alarms.state(self.memory, course.name)))
        self.memory.of(course.at).history.add(row)
        folder = course.drawings.places.folder
        if folder is not None:
            act = partial(append_to_history, folder / "history.jsonl", row)
            self._attempt("history file", act, "a row of history.jsonl")

    def _hand_over(self, course: Course, snapshot: Snapshot, events: Sequence[Event], *, is_partial: bool) -> None:
        """Gives an evaluation to the drawing process."""
        said = self.alarms.said(events, course.name)
        course.drawings.hand_over(snapshot, self.memory.of(course.at), said, is_partial=is_partial)

    def _values(self, snapshots: Mapping[Course, Snapshot], begun: float) -> dict[str, float]:
        values: dict[str, float] = {}
        for course, snapshot in snapshots.items():
            values |= course.named(values_of(snapshot.metrics, snapshot.standing) | self._alert_of(course))
        now = time.monotonic()
        return values | {"blocked_s": now - begun, "overhead": (now - begun) / max(now - self.epoch_begun, 1e-9)}

    def _alert_of(self, course: Course) -> dict[str, float]:
        state = self.alarms.state(self.memory, course.name)
        return {} if state is None else {"alert": float(state)}

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


def _short(folder: Path | None) -> str:
    """Enough of a run's folder to know it by, and not who keeps it where."""
    return "" if folder is None else "/".join(folder.parts[-3:-1])
