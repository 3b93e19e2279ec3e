"""Why the last evaluation of a run fails: made once, when its training has ended, from what the run keeps.

    python -m embviz_callback.delivery.process.run_analysis RUN_FOLDER

is how the process that draws has it made beside its last drawings.
"""

import os
import sys
import threading
from contextlib import suppress
from pathlib import Path

from embviz_callback.analysis.why.analysis import Questions, analyse
from embviz_callback.delivery.process.jobs import Jobs
from embviz_callback.delivery.results.analysis_folder import write_analysis
from embviz_callback.delivery.run.data_check import checkup_of
from embviz_callback.delivery.run.run_folder import RunFolder
from embviz_callback.drawing.page.page_analysis import analysis_view
from embviz_callback.pairs.check.importing import load_function
from embviz_callback.pairs.weight_rule import default_rule
from embviz_callback.snapshot import Snapshot, load_snapshot

_MOST_QUERIES = 40_000  # of all evaluations together: about a minute, and 2 GB at 1,024 dimensions


def analyse_run(run: RunFolder) -> None:
    """Writes ``analysis.json`` and ``analysis.md`` of the last evaluation, and notes what the page shows of them.

    Earlier evaluations say which negatives keep outranking their positive; of a subset so large that
    all would take too long, only the latest are asked.

    Args:
        run: Nothing is written where it has no evaluation.
    """
    history = _history(run)
    if not history:
        return
    last = history[-1]
    settings = last.settings
    extract = load_function(settings.features) if settings.features else None
    questions = Questions(extract=extract, rule=default_rule(), draws=settings.bootstrap_draws, seed=settings.seed)
    analysis, checkup = analyse(history, questions), checkup_of(last)
    write_analysis(run.path, last, analysis, checkup)
    view = {"fingerprint": last.subset.fingerprint, "step": last.step}
    run.add_analysis(view | analysis_view(analysis, last.label, n_evaluations=len(history)))


def _history(run: RunFolder) -> list[Snapshot]:
    """The last evaluation and as many before it, of the same subset, as may be looked at; oldest first."""
    found: list[Snapshot] = []
    waiting = Jobs(run.path / "jobs").evaluations("pending", "active")
    for name in sorted({*waiting, *(path.name for path in run.kept)}, reverse=True):
        snapshot = _evaluation(run, name)
        n = len(snapshot.subset.queries)
        if n > _MOST_QUERIES:
            raise ValueError(f"{n:,} queries are too many to analyse here; embviz analyse --run {run.path} does it")
        is_other = bool(found) and snapshot.subset.fingerprint != found[0].subset.fingerprint
        if is_other or n * (len(found) + 1) > _MOST_QUERIES:
            break
        found.append(snapshot)
    return found[::-1]


def _evaluation(run: RunFolder, name: str) -> Snapshot:
    """One that waits, is being drawn or is kept; it may go from one to the next while this looks for it."""
    for state in ("pending", "active"):
        with suppress(FileNotFoundError):
            return load_snapshot(run.path / "jobs" / state / name)
    return load_snapshot({path.name: path for path in run.kept}[name])


def _end_with_the_other() -> None:
    """Whoever started this process holds its input open, and may be killed."""
    os.read(0, 1)
    os._exit(1)


if __name__ == "__main__":
    threading.Thread(target=_end_with_the_other, daemon=True).start()
    analyse_run(RunFolder(Path(sys.argv[1])))
