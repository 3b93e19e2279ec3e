"""Why the last evaluation of a run fails: made once, when its training has ended, from what the run keeps."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from embviz_callback.analysis.why.answers import Questions, analyse
from embviz_callback.delivery.exports import analysis_json, to_json
from embviz_callback.delivery.run.data_check import checkup_of, data_check_once
from embviz_callback.delivery.run.keeping import kept_folders
from embviz_callback.delivery.run.run_page import ANALYSIS, write_page
from embviz_callback.drawing.page.page_analysis import answers_view
from embviz_callback.drawing.reports.analysis_report import analysis_report
from embviz_callback.files import write_atomically
from embviz_callback.pairs.importing import load_function
from embviz_callback.pairs.weights import default_rule
from embviz_callback.snapshot import Snapshot, load_snapshot

_MOST_QUERIES = 40_000  # of all evaluations together: about a minute, and 2 GB at 1,024 dimensions


def publish_analysis(folder: Path, facts: Mapping[str, Any]) -> None:
    """Writes ``analysis.json`` and ``analysis.md`` of the last kept evaluation, and puts it on the page.

    Earlier evaluations say which negatives keep outranking their positive; of a subset so large that
    all would take too long, only the latest are asked.

    Args:
        folder: Of the run; nothing is written where it keeps no evaluation.
        facts: Of the job: alerts and faults for the page.
    """
    history = _history(folder)
    if not history:
        return
    last = history[-1]
    settings = last.settings
    extract = load_function(settings.features) if settings.features else None
    questions = Questions(extract=extract, rule=default_rule(), draws=settings.bootstrap_draws, seed=settings.seed)
    answers, checkup = analyse(history, questions), checkup_of(last)
    write_atomically(folder / "analysis.json", to_json(analysis_json(last, answers, checkup)))
    write_atomically(folder / "analysis.md", analysis_report(last, answers, checkup=checkup))
    view = {"fingerprint": last.subset.fingerprint, "step": last.step}
    view |= answers_view(answers, last.label, n_evaluations=len(history))
    write_atomically(folder / ANALYSIS, json.dumps(view, ensure_ascii=False, allow_nan=False))
    write_page(
        folder,
        last.subset,
        alerts=facts["said"],
        notes=facts["faults"],
        title=f"Run {folder.resolve().parent.name}",
        data=data_check_once(folder, last),
    )


def _history(folder: Path) -> list[Snapshot]:
    """The last evaluation and as many before it, of the same subset, as may be looked at; oldest first."""
    found: list[Snapshot] = []
    for path in reversed(kept_folders(folder)):
        snapshot = load_snapshot(path)
        n = len(snapshot.subset.queries)
        if n > _MOST_QUERIES:
            raise ValueError(f"{n:,} queries are too many to analyse here; embviz analyse --run {folder} does it")
        is_other = bool(found) and snapshot.subset.fingerprint != found[0].subset.fingerprint
        if is_other or n * (len(found) + 1) > _MOST_QUERIES:
            break
        found.append(snapshot)
    return found[::-1]
