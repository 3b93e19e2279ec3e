"""The training side of the process that draws: it asks, never waits, and survives its death."""

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import embviz_callback
from embviz_callback.delivery.process.jobs import Jobs
from embviz_callback.delivery.process.starvation import FairClock, weigh

_MOST_STARTS = 6
_POLL_S = 0.05
_PATIENCE_S = 30.0  # beyond the time limit, before the process is killed from outside
_MODEST = 19  # the training comes first
_URGENT = 5  # less of it for each evaluation that waits behind another: at the end it is the user who would wait
_ONE_THREAD = ("OMP", "OPENBLAS", "MKL", "NUMEXPR", "NUMBA")
_TOO_LONG = "took longer than its time limit"
_PROCESS = "embviz_callback.delivery.process.drawing_process"


@dataclass(frozen=True)
class Limits:
    """What drawing may use of the machine, and of the user's time.

    Attributes:
        drawing_time_limit_s: Seconds for one evaluation's maps and figures, above 0; time in which the
            process got no processor, or the machine slept, does not count. What takes longer is tried once more.
        memory_limit_gb: Address space of the process in GB (10^9 bytes), 0 for no limit.
        queue_limit: Evaluations that may wait, at least 1; beyond it the oldest is put off.
        finish_limit_s: Seconds that the end of a fit waits for figures, at least 0.
        grace_s: Seconds that an interrupted fit waits for them, at least 0.

    Raises:
        ValueError: If a value is out of its range.
    """

    drawing_time_limit_s: float = 300.0
    memory_limit_gb: float = 16.0
    queue_limit: int = 8
    finish_limit_s: float = 600.0
    grace_s: float = 20.0

    def __post_init__(self) -> None:
        if not self.drawing_time_limit_s > 0:
            raise ValueError(f"drawing_time_limit_s must be above 0, got {self.drawing_time_limit_s}")
        for name, least in (("memory_limit_gb", 0), ("queue_limit", 1), ("finish_limit_s", 0), ("grace_s", 0)):
            if not getattr(self, name) >= least:
                raise ValueError(f"{name} must be at least {least}, got {getattr(self, name)}")


Report = Callable[[str, str], None]
Drawn = Callable[[str, list[str]], None]


class Worker:
    """One process that draws what lies in a folder of jobs, started again when it dies.

    No thread is started, nothing is forked, and no method but `finish` and `stop` waits.

    Args:
        folder: Of the run; jobs lie in ``jobs``, the process writes into ``worker.log``.
        limits: What the process may use.
        report: Called with the kind and the sentence of what went wrong.
        drawn: Called with the name of a job that is done and the files it has become, relative to `folder`.

    Attributes:
        n_deferred: Evaluations that were put off.
        n_torn: Evaluations that were drawn in part.
    """

    def __init__(self, folder: Path, *, limits: Limits, report: Report, drawn: Drawn = lambda job, files: None) -> None:
        self.folder = folder
        self.jobs = Jobs(folder / "jobs")
        self.limits = limits
        self.n_deferred = 0
        self.n_torn = 0
        self._report = report
        self._drawn = drawn
        self._process: subprocess.Popen[bytes] | None = None
        self._starts = 0
        self._heard = b""
        self._heard_at = 0.0
        self._clock: FairClock | None = None
        self._niceness = _MODEST

    @property
    def pid(self) -> int | None:
        """Of the process, or None while there is none."""
        return None if self._process is None else self._process.pid

    @property
    def n_unfinished(self) -> int:
        """Evaluations that wait or are being drawn."""
        return len(self.jobs.names("pending")) + len(self.jobs.names("active"))

    @property
    def how_to_finish(self) -> str:
        """The command that draws what was left behind."""
        return shlex.join([sys.executable or "python", "-m", _PROCESS, f"{self.folder}"])

    def start(self) -> None:
        """Starts the process, so that its imports are done when the first job comes."""
        if self._process is not None or not self._can_go_on():
            return
        self._starts += 1
        try:
            self._process = self._launch()
        except OSError as error:
            self._starts = _MOST_STARTS
            self._report(
                "cannot start",
                f"the drawing process cannot be started ({error}); scalars and alerts go on without figures, "
                f"which can be drawn later with: {self.how_to_finish}",
            )

    def _launch(self) -> "subprocess.Popen[bytes]":
        this_python()  # refuses before a folder is made
        self.folder.mkdir(parents=True, exist_ok=True)
        time_limit = ("--time-limit", f"{self.limits.drawing_time_limit_s}")
        memory_limit = ("--memory-limit", f"{self.limits.memory_limit_gb}")
        with (self.folder / "worker.log").open("ab") as log:
            process = started(_PROCESS, "--serve", *time_limit, *memory_limit, f"{self.folder}", errors=log)
        assert process.stdout is not None
        weigh(self._niceness, process.pid)
        self._clock = FairClock(process.pid)
        self._heard_at = 0.0
        os.set_blocking(process.stdout.fileno(), False)
        return process

    def submit(self, name: str, fill: Callable[[Path], None]) -> None:
        """Hands a job over.

        Args:
            name: Sorts behind those of earlier jobs.
            fill: Writes the job into a folder.
        """
        if not self.n_unfinished:
            self._heard_at = self._fair_s()
        self.jobs.put(name, fill)
        while len(self.jobs.names("pending")) > self.limits.queue_limit and (oldest := self.jobs.defer_oldest()):
            self.n_deferred += 1
            why = "evaluations come faster than they can be drawn" if self._can_go_on() else "nothing can be drawn"
            self._report(
                "put off",
                f"{why}, so {oldest} is put off, and so will be others; "
                f"every scalar is logged, and they are drawn when training has ended, or with: {self.how_to_finish}",
            )
        self.poll()
        self._ring()

    def conclude(self, name: str, fill: Callable[[Path], None]) -> None:
        """Hands over what is to be done last, and takes back what was put off: nothing else will come.

        Args:
            name: Sorts behind those of all other jobs.
            fill: Writes the job into a folder.
        """
        self.jobs.take_back("deferred")
        self.jobs.put(name, fill)
        self.poll()
        self._ring()

    def poll(self) -> None:
        """Hears what the process has to say, and starts it again if it died with work left."""
        if self._process is not None:
            # Each time: a session is not weighed at once, and a new process may have taken the place of the old.
            waiting = len(self.jobs.names("pending"))
            weigh(max(self._niceness - _URGENT * max(waiting - 1, 0), 0), self._process.pid)
            self._listen()
            silent_s = self._fair_s() - self._heard_at
            overdue = silent_s > self.limits.drawing_time_limit_s + _PATIENCE_S and self.n_unfinished > 0
            if overdue:
                # Its own alarm should have ended it; a stopped process cannot hear that.
                _kill_group(self._process)
                self._process.wait()
            if self._process.poll() is not None:
                self._bury(_TOO_LONG if overdue else "")
        if self._process is None and self.jobs.names("pending"):
            self.start()

    def finish(self, limit_s: float, progress: Callable[[int], None]) -> bool:
        """Waits until everything is drawn; from now on it counts as much as any other process.

        Args:
            limit_s: Longest wait in seconds.
            progress: Called with the number of unfinished evaluations whenever it changes.

        Returns:
            Whether nothing is left.
        """
        until = time.monotonic() + limit_s
        said = 0
        self._niceness = 0  # it is what the user waits for
        while (left := self.n_unfinished) and time.monotonic() < until and self._can_go_on():
            if left != said:
                progress(left)
                said = left
            self.poll()
            time.sleep(_POLL_S)
        self.poll()
        return self.n_unfinished == 0

    def stop(self) -> None:
        """Ends the process; what it had not finished stays on disk."""
        process, self._process = self._process, None
        if process is None:
            return
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            # Said in words too: a data loader's worker that was forked meanwhile holds a copy of
            # the pipe, so that closing it here need not be its end.
            process.stdin.write(b"stop\n")
            process.stdin.close()
        except OSError:
            pass  # it has died already
        try:
            process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            _kill_group(process)
            process.wait()
        process.stdout.close()

    def _fair_s(self) -> float:
        return 0.0 if self._clock is None else self._clock.now()

    def _can_go_on(self) -> bool:
        return self._process is not None or self._starts < _MOST_STARTS

    def _ring(self) -> None:
        if self._process is None or self._process.stdin is None:
            return
        try:
            self._process.stdin.write(b"job\n")
            self._process.stdin.flush()
        except OSError:
            pass  # it has died; the next poll sees to it

    def _listen(self) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        while chunk := _read(self._process.stdout.fileno()):
            self._heard += chunk
        *lines, self._heard = self._heard.split(b"\n")
        for line in lines:
            self._hear(json.loads(line))

    def _hear(self, said: dict[str, Any]) -> None:
        self._heard_at = self._fair_s()
        if said["event"] != "begun":
            self._starts = 1
        if said["event"] == "done":
            self.n_torn += bool(said["faults"])
            self._drawn(said["job"], said["files"])
        for fault in said["faults"]:
            self._report(said["event"], f"drawing {said['job']}: {fault}")

    def _bury(self, cause: str) -> None:
        """Draws the consequences of a death."""
        assert self._process is not None
        cause = cause or _cause_of_death(self._process.returncode, self.folder / "worker.log")
        self.stop()
        self._heard = b""
        for name in self.jobs.names("active"):
            self._set_aside_or_requeue(name, cause)
        if not self._can_go_on():
            self._report(
                "given up",
                f"the drawing process died {_MOST_STARTS} times in a row and is not started again, "
                f"see {self.folder / 'worker.log'}; what is left can be drawn with: {self.how_to_finish}",
            )

    def _set_aside_or_requeue(self, name: str, cause: str) -> None:
        # What crashed the interpreter would do so again; a process that was killed from outside (the kernel's,
        # when memory runs out) or took all its time (others may have had the disk) deserves a second try.
        if ("SIGKILL" in cause or cause == _TOO_LONG) and self.jobs.attempts(name) == 0:
            self.jobs.requeue(name)
            return
        self.jobs.fail(name, cause)
        self._report(
            "died",
            f"the drawing process {cause} while drawing {name}, which is set aside in "
            f"{self.jobs.root / 'failed' / name}; training and all other drawings go on; "
            f"see {self.folder / 'worker.log'}",
        )


def this_python() -> str:
    """The program to start processes of our own with.

    Returns:
        Its path.

    Raises:
        OSError: If Python does not know it, as where it is embedded in another program.
    """
    if not sys.executable:
        raise OSError("this Python does not know its own program: sys.executable is empty")
    return sys.executable


def started(module: str, *arguments: str, errors: int | IO[bytes]) -> "subprocess.Popen[bytes]":
    """A process of ours that reads from us and answers.

    Popen with an argument list executes a new program at once. A forked child would hang in OpenMP, and
    multiprocessing would run the user's script a second time.

    Args:
        module: What it runs.
        arguments: Of its command line.
        errors: Where its standard error goes.

    Returns:
        The process; an OSError says that it cannot be started.
    """
    return subprocess.Popen(
        [this_python(), "-P", "-m", module, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=errors,
        env=process_environment(),
        # A group of its own: Ctrl-C in the terminal is for the training, which then decides.
        start_new_session=True,
    )


def process_environment() -> dict[str, str]:
    """For a process of ours: the user's, with one thread for every library that counts, and without a GPU."""
    environment = dict(os.environ)
    if sys.flags.ignore_environment:  # python -I and -E: what the training does not read is not for us either
        environment = {name: value for name, value in environment.items() if not name.startswith("PYTHON")}
    environment |= {f"{library}_NUM_THREADS": "1" for library in _ONE_THREAD}
    environment |= {"CUDA_VISIBLE_DEVICES": "", "MPLBACKEND": "Agg", "PYTHONFAULTHANDLER": "1"}
    environment.pop("PYTHONWARNINGS", None)  # warnings as errors are for the user's own code
    home = Path(embviz_callback.__file__).parent.parent
    if home.name not in ("site-packages", "dist-packages"):
        environment["PYTHONPATH"] = os.pathsep.join([f"{home}", *filter(None, [environment.get("PYTHONPATH")])])
    return environment


def _read(handle: int) -> bytes:
    try:
        return os.read(handle, 65536)
    except BlockingIOError:
        return b""


def _kill_group(process: "subprocess.Popen[bytes]") -> None:
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        process.kill()


def _cause_of_death(code: int, log: Path) -> str:
    if code < 0:
        return f"was killed by {signal.Signals(-code).name}"
    tail = log.read_bytes()[-20_000:] if log.exists() else b""
    if b"\nTimeout (" in tail.rsplit(b"embviz: begun", 1)[-1]:
        return _TOO_LONG
    return f"ended with exit code {code}"
