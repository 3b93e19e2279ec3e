"""The process that draws: maps, figures and report of one evaluation after the other.

    python -m embviz_callback.delivery.process.drawing_process RUN_FOLDER

draws what a run that has ended left behind; the folder is the one that holds ``jobs``, or its parent.
"""

import argparse
import faulthandler
import gc
import json
import logging
import os
import queue
import select
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from embviz_callback.delivery.process.jobs import Jobs
from embviz_callback.delivery.process.starvation import FairClock
from embviz_callback.delivery.process.training_side import Limits, Worker
from embviz_callback.delivery.redaction import redacted
from embviz_callback.pairs.texts import inert

if TYPE_CHECKING:
    from embviz_callback.delivery.process.publishing import Published

_logger = logging.getLogger("embviz_callback")
_STOP = "stop"
_START_LIMIT_S = 60.0  # the imports take two seconds, on a busy machine ten
_LOOK_S = 2.0  # from one look at whether the training still lives to the next


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line.

    Args:
        arguments: Without the program's name; None for those of this process.

    Returns:
        The exit status: 0 when everything is drawn, 1 when something is left, 2 for a wrong folder.
    """
    parser = argparse.ArgumentParser(prog="embviz_callback.delivery.process.drawing_process", description=__doc__)
    parser.add_argument("folder", type=Path, help="folder of the run")
    parser.add_argument(
        "--time-limit",
        type=float,
        default=Limits.drawing_time_limit_s,
        help="seconds for one evaluation, waiting for a processor not counted",
    )
    parser.add_argument(
        "--memory-limit", type=float, default=Limits.memory_limit_gb, help="GB of address space, 0 for none"
    )
    parser.add_argument("--retry-failed", action="store_true", help="try again what could not be drawn")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    limits = Limits(drawing_time_limit_s=given.time_limit, memory_limit_gb=given.memory_limit)
    if given.serve:
        serve(given.folder, limits)
        return 0
    return finish_left_over(given.folder, limits, retry_failed=given.retry_failed)


def finish_left_over(folder: Path, limits: Limits, *, retry_failed: bool = False) -> int:
    """Draws the jobs of a run that has ended, in a process that may die without taking this one along.

    Args:
        folder: Holds ``jobs``, or is the parent of one folder that does.
        limits: Of the process.
        retry_failed: Also those that were set aside because they could not be drawn.

    Returns:
        The exit status, see `main`.
    """
    runs = [run for run in (folder, *sorted(folder.glob("embviz*"))) if (run / "jobs").is_dir()]
    if not runs:
        _say(f"{folder} holds no jobs; give the folder in which the run wrote its figures")
        return 2
    n_left = n_failed = 0
    for run in runs:
        worker = Worker(run, limits=limits, report=lambda kind, message: _say(message))
        if worker.jobs.is_served():
            _say(f"{run} is being drawn by a run that is still going on")
            return 2
        worker.jobs.take_back("active", "deferred", *(["failed"] if retry_failed else []))
        worker.start()
        try:
            worker.finish(float("inf"), lambda count: _say(f"{count} to draw"))
        finally:
            worker.stop()
        n_left += worker.n_unfinished
        n_failed += len(worker.jobs.names("failed"))
    again = "; --retry-failed tries again" if n_failed else ""
    _say(f"{n_left + n_failed} could not be drawn{again}" if n_left or n_failed else "everything is drawn")
    return int(n_left + n_failed > 0)


def serve(folder: Path, limits: Limits) -> None:
    """Draws every job that comes, until the training process closes its end of the pipe.

    Args:
        folder: Of the run.
        limits: Time and memory.
    """
    # Whatever a library prints belongs in the log, not between the lines of the protocol.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8", buffering=1)
    os.dup2(2, 1)
    faulthandler.enable()
    _be_modest(limits)
    bells: queue.SimpleQueue[str] = queue.SimpleQueue()
    threading.Thread(target=_hear, args=(bells,), daemon=True).start()
    jobs = Jobs(folder / "jobs")
    with jobs.served():
        jobs.take_back("active")  # of a process that died with its training, or that this one has replaced
        _serve(jobs, folder, limits, bells, answers)


def _serve(jobs: Jobs, folder: Path, limits: Limits, bells: "queue.SimpleQueue[str]", answers: TextIO) -> None:
    # A process that cannot even start must not be waited for.
    with _time_limit(max(limits.drawing_time_limit_s, _START_LIMIT_S)):
        # Late, so that the pipe is watched while the libraries are imported.
        from embviz_callback.delivery.process.publishing import Publisher

        publisher = Publisher(folder)
    collect = _collect_between_jobs()
    asked = "job"
    while asked != _STOP:
        while (job := jobs.claim()) is not None:
            _answer(answers, event="begun", job=job.name, faults=[])
            _draw(jobs, job, publisher.publish, limits, answers)
            collect()
        asked = bells.get()


def _collect_between_jobs() -> Callable[[], None]:
    """Python's own collection of cycles would take a tenth of the time: it looks through the libraries again and again.

    Returns:
        Frees the cycles of a job (figures are full of them); to be called after each.
    """
    gc.disable()

    def collect() -> None:
        gc.collect()
        # What is left after the first job are the libraries.
        if not gc.get_freeze_count():
            gc.freeze()

    return collect


def _draw(jobs: Jobs, job: Path, publish: "Callable[[Path], Published]", limits: Limits, answers: TextIO) -> None:
    sys.stderr.write(f"embviz: begun {job.name}\n")
    sys.stderr.flush()
    try:
        with _time_limit(limits.drawing_time_limit_s):
            published = publish(job)
    except Exception as error:  # noqa: BLE001  # said, written down, and the next job is drawn
        _logger.error("embviz: %s failed\n%s", job.name, redacted(traceback.format_exc()))
        reason = redacted(f"{type(error).__name__}: {error}")
        jobs.fail(job.name, reason)
        _answer(answers, event="failed", job=job.name, faults=[f"{reason}; it is set aside"])
        return
    # Said before the job goes: who waits for its going finds the answer in the pipe.
    _answer(answers, event="done", job=job.name, faults=published.faults, files=published.files)
    jobs.done(job.name)


@contextmanager
def _time_limit(limit_s: float) -> Iterator[None]:
    """Ends this process when what is inside takes longer; the log then says where.

    What the process waits for a processor does not count, nor the sleep of the machine: beside a training
    that leaves no processor free, a drawing may take many times as long without being at fault.
    """
    clock, lock, over = FairClock(), threading.Lock(), threading.Event()

    def look() -> None:
        left = limit_s - clock.now()
        if left <= 0:
            sys.stderr.write(f"Timeout ({limit_s:g} s)!\n")
            faulthandler.dump_traceback()
            os._exit(1)
        # For compiled code that lets no other thread in: it goes off all the same, and prints every thread.
        # Later than this look, which would otherwise have no say after the machine has slept.
        faulthandler.dump_traceback_later(left + limit_s + _LOOK_S, exit=True)

    def watch() -> None:
        while not over.wait(min(1.0, limit_s / 2)):
            with lock:
                if not over.is_set():
                    look()

    look()
    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        with lock:
            over.set()
            faulthandler.cancel_dump_traceback_later()
        watcher.join()  # its own waiting must not vanish in the middle of the next job


def _answer(answers: TextIO, **said: Any) -> None:
    with suppress(BrokenPipeError):  # the end of the pipe is the other thread's business
        answers.write(json.dumps(said) + "\n")
        answers.flush()


def _hear(bells: "queue.SimpleQueue[str]") -> None:
    """Ends this process with the training process, whatever is being drawn: files are whole or not there."""
    training = os.getppid()
    while True:
        # A process that the training forked holds the pipe open after the training's death.
        if os.name == "posix" and not select.select([0], [], [], _LOOK_S)[0]:
            if os.getppid() == training:
                continue
            break
        # Read from the descriptor: a thread that waits in sys.stdin holds its lock, on which an
        # interpreter that shuts down meanwhile aborts.
        heard = os.read(0, 4096)
        if not heard:
            break
        for word in heard.decode().split():
            bells.put(word)
    os._exit(0)


def _be_modest(limits: Limits) -> None:
    """No more memory than allowed; how much it counts against others is the decision of who started it."""
    if not limits.memory_limit_gb:
        return
    with suppress(ImportError, ValueError, OSError):  # not on Windows; not above the user's own limit
        import resource

        n_bytes = int(limits.memory_limit_gb * 1e9)
        resource.setrlimit(resource.RLIMIT_AS, (n_bytes, n_bytes))


def _say(message: str) -> None:
    sys.stderr.write(f"embviz: {inert(message)}\n")


if __name__ == "__main__":
    sys.exit(main())
