"""How much of the processors a process gets, and how long it has got none."""

from contextlib import suppress
from pathlib import Path


def starved_s(pid: int | str = "self") -> float:
    """Seconds that the living threads of a process have waited for a processor since they began, added up.

    Args:
        pid: Of the process.

    Returns:
        The seconds; 0 where the system does not tell (only Linux does) or the process has gone.
    """
    return sum(map(_thread_starved_s, Path(f"/proc/{pid}/task").glob("*/schedstat")))


def _thread_starved_s(schedstat: Path) -> float:
    try:
        return int(schedstat.read_text(encoding="ascii").split()[1]) / 1e9
    except (OSError, ValueError, IndexError):  # it has ended meanwhile
        return 0.0


def weigh_session(niceness: int, pid: int | str = "self") -> None:
    """Sets how much the session of a process counts against other sessions, where Linux weighs them.

    Linux weighs sessions against each other before it looks at their processes (autogroup). A
    process with a session of its own takes half of what a training needs, however nice it is.

    Args:
        niceness: From 0, as much as any, to 19.
        pid: Of a process in the session.
    """
    with suppress(OSError):
        Path(f"/proc/{pid}/autogroup").write_text(f"{niceness}", encoding="ascii")
