"""The page and the ledger of one run on disk, renewed with every evaluation."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from embviz_callback.analysis.compare.ledger import Ledger
from embviz_callback.analysis.verdict.checklist import Check
from embviz_callback.delivery.run.keeping import forget_kept_after, forget_kept_before
from embviz_callback.drawing.page.epoch_view import View, epoch_view
from embviz_callback.drawing.page.page import page_from_views
from embviz_callback.files import free_name, safe_name, write_atomically
from embviz_callback.pairs.subset import Subset
from embviz_callback.snapshot import Snapshot

PAGE = "report.html"
LEDGER = "ledger.json"
VIEWS = "page-data"
ANALYSIS = f"{VIEWS}/analysis/last.json"  # one folder deeper than the views


def publish_page(
    folder: Path,
    snapshot: Snapshot,
    *,
    checks: Sequence[Check] = (),
    alerts: Sequence[str] = (),
    notes: Sequence[str] = (),
    title: str = "",
    data: Mapping[str, Any] | None = None,
) -> tuple[View, ...]:
    """Adds an evaluation to the ledger and to the page, and writes both.

    Args:
        folder: Of the run; holds ``report.html``, ``ledger.json`` and ``page-data/`` afterwards.
        snapshot: With its maps.
        checks: The checklist for it.
        alerts: Sentences said so far.
        notes: For the foot of the page.
        title: Heading; by default the folder's name.
        data: What the data check found.

    Returns:
        The views of the same subset in the order of training, for a film strip.
    """
    ledger = read_ledger(folder).record(snapshot)
    write_atomically(folder / LEDGER, json.dumps(ledger.to_json(), ensure_ascii=False, allow_nan=False))
    view = epoch_view(snapshot, checks=checks)
    name = f"{_place(snapshot.epoch, snapshot.step)}_{safe_name(snapshot.label)}.json"
    write_atomically(folder / VIEWS / name, json.dumps(view, ensure_ascii=False, allow_nan=False))
    return write_page(folder, snapshot.subset, alerts=alerts, notes=notes, title=title, data=data)


def write_page(
    folder: Path,
    subset: Subset,
    *,
    alerts: Sequence[str] = (),
    notes: Sequence[str] = (),
    title: str = "",
    data: Mapping[str, Any] | None = None,
) -> tuple[View, ...]:
    """Writes the page from what lies in a run's folder: its evaluations, and the analysis if there is one.

    Args:
        folder: Of the run; holds at least one evaluation of the subset.
        subset: Whose evaluations are shown.
        alerts: Sentences said so far.
        notes: For the foot of the page.
        title: Heading; by default the folder's name.
        data: What the data check found.

    Returns:
        The views that the page shows.
    """
    views = read_views(folder, subset.fingerprint)
    heading = title or f"Run {folder.resolve().name}"
    analysis = _read_analysis(folder, subset.fingerprint)
    page = page_from_views(views, subset, title=heading, alerts=alerts, notes=notes, data=data, analysis=analysis)
    write_atomically(folder / PAGE, page)
    return views


def _read_analysis(folder: Path, fingerprint: str) -> View | None:
    try:
        found: dict[str, Any] = json.loads((folder / ANALYSIS).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if found.get("fingerprint") == fingerprint else None


def read_ledger(folder: Path) -> Ledger:
    """The ledger of a run; an empty one where there is none or the file is torn."""
    try:
        return Ledger.from_json(json.loads((folder / LEDGER).read_text(encoding="utf-8")))
    except (FileNotFoundError, json.JSONDecodeError):
        return Ledger()


def read_views(folder: Path, fingerprint: str) -> tuple[View, ...]:
    """Views of one subset that were written into a run's folder, in the order of training."""
    found = []
    for path in sorted((folder / VIEWS).glob("*.json")):
        view = json.loads(path.read_text(encoding="utf-8"))
        if view["fingerprint"] == fingerprint:
            found.append(view)
    return tuple(found)


def forget_after(folder: Path, step: int) -> None:
    """Removes what came after a step: a run that is resumed from there will say it anew.

    The ledger, the page and the kept evaluations lose it; the figures in epoch folders stay until they are drawn anew.

    Args:
        folder: Of the run; may hold nothing yet.
        step: Of the checkpoint.
    """
    if (folder / LEDGER).exists():
        text = json.dumps(read_ledger(folder).until(step).to_json(), ensure_ascii=False, allow_nan=False)
        write_atomically(folder / LEDGER, text)
    for path in (folder / VIEWS).glob("*.json"):
        written = _step(path)
        if written is not None and written > step:
            path.unlink()
    analysed = _step(folder / ANALYSIS)
    if analysed is not None and analysed > step:
        (folder / ANALYSIS).unlink()
    forget_kept_after(folder, step)


def _step(path: Path) -> int | None:
    try:
        step: int | None = json.loads(path.read_text(encoding="utf-8"))["step"]
    except FileNotFoundError:
        return None
    return step


def forget_before(folder: Path, job: Path) -> None:
    """Sets aside what an earlier run in the same folder has said: all that is older than the first job of this one.

    Its ledger is kept under another name, as its history is; its page is replaced.

    Args:
        folder: Of the run.
        job: The first one's folder.
    """
    begun = (job / "job.json").stat().st_mtime_ns
    for path in (folder / VIEWS).rglob("*.json"):
        if path.stat().st_mtime_ns < begun:
            path.unlink()
    ledger = folder / LEDGER
    if ledger.exists() and ledger.stat().st_mtime_ns < begun:
        ledger.rename(free_name(ledger))
    forget_kept_before(folder, job)


def _place(epoch: int | None, step: int | None) -> str:
    """Sorts as the ledger does, what lies outside training first; repeated evaluations share a name."""
    return f"{-1 if epoch is None else epoch:+07d}_{-1 if step is None else step:+010d}".replace("-", "!")
