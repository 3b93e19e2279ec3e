"""How much of the processors a process gets, and what time it could have used."""

import os
import time
from contextlib import suppress
from pathlib import Path

_LONG_GAP_S = 5.0
_ASLEEP = 0.01  # share of a processor below which the one who looks has not lived through a gap
_GAP_COUNTS_S = 1.0


class FairClock:
    """Seconds in which a process could have worked, as far as the system tells.

    It stands still while the process waits for a processor that others have, and while the whole
    machine sleeps. It never runs backwards, and never faster than a wall clock.

    Args:
        pid: Of the process.
    """

    def __init__(self, pid: int | str = "self") -> None:
        self._pid = pid
        self._now = 0.0
        self._seen = time.monotonic()
        self._own = time.process_time()
        self._run, self._wait = run_and_wait_s(pid)

    def now(self) -> float:
        """The time since it was made; looks at what has become of the process since it was last asked."""
        seen, own, (run, wait) = time.monotonic(), time.process_time(), run_and_wait_s(self._pid)
        gap, ran, waited = seen - self._seen, max(0.0, run - self._run), max(0.0, wait - self._wait)
        slept = gap > _LONG_GAP_S and own - self._own < _ASLEEP * gap and ran + waited < _ASLEEP * gap
        self._now += min(gap, _GAP_COUNTS_S) if slept else usable_s(gap, ran, waited)
        self._seen, self._own, self._run, self._wait = seen, own, run, wait
        return self._now


def usable_s(wall_s: float, run_s: float, wait_s: float) -> float:
    """The part of a time in which a process did not stand in line for a processor.

    Waits of threads at one time are one wait: of threads that ran and waited all the time, the share that ran
    counts. Threads that did neither, and hang, wait for something else, which counts.

    Args:
        wall_s: The time.
        run_s: What all threads together ran in it.
        wait_s: What they waited for a processor.

    Returns:
        At least 0 and at most `wall_s`.

    Example:
        >>> usable_s(60.0, 30, wait_s=90), usable_s(60.0, 1, wait_s=2), usable_s(60.0, 0, wait_s=0)
        (15.0, 58.0, 60.0)
    """
    busy = run_s + wait_s
    return min(wall_s * run_s / busy, wall_s) if busy > wall_s else wall_s - wait_s  # rounding may add a step


def run_and_wait_s(pid: int | str = "self") -> tuple[float, float]:
    """Seconds that the living threads of a process have run, and have waited for a processor, each added up.

    Args:
        pid: Of the process.

    Returns:
        Both; 0 where the system does not tell (only Linux does) or the process has gone.
    """
    of_threads = [_run_and_wait_s(path) for path in Path(f"/proc/{pid}/task").glob("*/schedstat")]
    return sum(run for run, _ in of_threads), sum(wait for _, wait in of_threads)


def _run_and_wait_s(schedstat: Path) -> tuple[float, float]:
    try:
        run, wait, *_ = schedstat.read_text(encoding="ascii").split()
        return int(run) / 1e9, int(wait) / 1e9
    except (OSError, ValueError):  # it has ended meanwhile
        return 0.0, 0.0


def weigh(niceness: int, pid: int) -> None:
    """Sets how much a process with a session of its own counts against others; quick where it does already.

    Linux weighs sessions against each other before it looks at their processes (autogroup): one with a
    session of its own takes half of what a training needs, however nice it is. A session may be weighed anew
    ten times a second in all, so that a refusal is answered by the next call. Without that, where sessions
    are not weighed, threads are; only some users may give those back their weight.

    Args:
        niceness: From 0, as much as any, to 19.
        pid: Of the process.
    """
    session = Path(f"/proc/{pid}/autogroup")
    with suppress(OSError):
        if not session.read_text(encoding="ascii").endswith(f"nice {niceness}\n"):
            session.write_text(f"{niceness}", encoding="ascii")
    for thread in Path(f"/proc/{pid}/task").glob("[0-9]*"):
        with suppress(OSError):
            if os.getpriority(os.PRIO_PROCESS, int(thread.name)) != niceness:
                os.setpriority(os.PRIO_PROCESS, int(thread.name), niceness)
