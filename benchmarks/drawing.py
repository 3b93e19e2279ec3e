"""What drawing costs: seconds of the processor, part by part, as a training grows, before and now.

    OMP_NUM_THREADS=1 python -m benchmarks.drawing --before FOLDER

FOLDER is a checkout of an earlier version (commit 7adfa40 is known here), which draws the same evaluations with its own
code. A head of 128 dimensions on hashed n-grams is trained for 99 epochs on invented pairs and looked at before
and after each, with 500 other pairs. Evaluations 1 to 12, 97 to 100 and 997 to 1,000 (the last four epochs again) are
drawn; in the place of those between them stand copies of evaluation 12. "A training of six evaluations" is the drawing
process itself, from its start to its end with imports and the analysis at the end, one evaluation handed over when the
one before it is drawn: first with an empty folder for what numba compiles, then with that folder again.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial, wraps
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

SHOWN = (1, 2, 10, 100, 1000)
SIX = 6
_STRETCHES = ((1, 12), (97, 100), (997, 1000))
_KEPT, _VIEWED = 20, 50  # evaluations that a run keeps, and that its page shows now
_FIGURES = "figures"
_PARTS = (
    "reading",
    "maps: t-SNE",
    "maps: UMAP",
    _FIGURES,
    "of these the top-10",
    "report",
    "page",
    "film strips",
    "keeping",
)


def main() -> None:
    """Prints two tables of markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--before", type=Path, help="checkout of an earlier version")
    parser.add_argument("--pairs", type=int, default=500)
    parser.add_argument("--most", type=int, default=1000, help="the last evaluation")
    parser.add_argument("--draw", type=Path, nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--whole", type=Path, nargs=2, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.draw:
        print(json.dumps(parts_drawn(*given.draw, most=given.most)))
    elif given.whole:
        print(json.dumps(whole_training(*given.whole, most=given.most)))
    else:
        report(given.before, given.pairs, given.most)


def report(before: Path | None, n_pairs: int, most: int) -> None:
    """Measures both versions in turn, each in processes of its own."""
    versions = {"now": Path(__file__).resolve().parents[1]} | ({} if before is None else {"before": before.resolve()})
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_sequence(folder / "sequence", n_pairs, min(most, 100))
        rounds = ("cold", "--whole"), ("warm", "--whole"), ("parts", "--draw")
        found: dict[str, dict[str, Any]] = {version: {} for version in versions}
        for what, flag in rounds:
            for version, code in versions.items():
                found[version][what] = _in_process(code, flag, folder / "sequence", folder / f"{version}-{what}", most)
    print_whole(found)
    print_parts(found, [number for number in SHOWN if number <= most])


def _in_process(code: Path, flag: str, sequence: Path, out: Path, most: int) -> Any:
    compiled = out.parent / f"numba-{out.name.partition('-')[0]}"
    known = {"PYTHONPATH": f"{code}", "NUMBA_CACHE_DIR": f"{compiled}", "PYTHONWARNINGS": "ignore"}
    one_thread = {f"{library}_NUM_THREADS": "1" for library in ("OMP", "OPENBLAS", "MKL", "NUMBA")}
    command = [sys.executable, "-P", __file__, flag, f"{sequence}", f"{out}", "--most", f"{most}"]
    environment = os.environ | known | one_thread
    done = subprocess.run(command, cwd=code, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def write_sequence(folder: Path, n_pairs: int, n_evaluations: int) -> None:
    """Trains, and writes the pairs and the vectors of each evaluation."""
    import torch
    from torch.nn.functional import cross_entropy, normalize

    from embviz_callback.demo.rental_pairs import generate_pairs
    from embviz_callback.encoding.models.biencoder import BiEncoder, load_backbone

    folder.mkdir()
    items = generate_pairs(5 * n_pairs, seed=3, hard_negatives=2)
    (folder / "pairs.json").write_text(json.dumps(items[:n_pairs], ensure_ascii=False), encoding="utf-8")
    subset = subset_of(folder)
    encoder = BiEncoder(load_backbone("char-ngrams-4096"), None, normalise=False).eval()
    torch.manual_seed(7)
    with torch.no_grad():
        train = [encoder.features([text_of(item) for item in items[n_pairs:]]) for text_of in (_query, _positive)]
        judged = [encoder.features(list(texts)) for texts in (subset.queries, subset.documents, subset.hard_negatives)]
    head = torch.nn.Linear(train[0].shape[1], 128, bias=False)
    optimiser = torch.optim.AdamW(head.parameters(), lr=3e-3, weight_decay=0.01)
    for number in range(n_evaluations):
        with torch.no_grad():
            np.savez(folder / f"{number + 1}.npz", *(head(part).numpy() for part in judged))
        for batch in torch.randperm(len(train[0])).split(64):
            scores = normalize(head(train[0][batch])) @ normalize(head(train[1][batch])).T / 0.07
            own = torch.arange(len(batch))
            optimiser.zero_grad()
            (cross_entropy(scores, own) + cross_entropy(scores.T, own)).backward()
            optimiser.step()


def _query(item: dict[str, Any]) -> str:
    return str(item["query"])


def _positive(item: dict[str, Any]) -> str:
    return str(item["pos"] if isinstance(item["pos"], str) else item["pos"][0])


def known(*places: str) -> Any:
    """The first of these, "module:name" in the package, that this version has."""
    for place in places:
        module, _, name = place.partition(":")
        try:
            return getattr(import_module(f"embviz_callback.{module}"), name)
        except ModuleNotFoundError:
            continue
    raise LookupError(f"this version has none of {', '.join(places)}")


def subset_of(folder: Path) -> Any:
    """The subset that is looked at."""
    read_pairs = known("pairs.formats.reading:read_pairs", "pairs.reading:read_pairs")
    records = read_pairs(folder / "pairs.json").records
    return known("pairs.subset:choose_subset")(records, max_samples=len(records), seed=7)


class Handover:
    """The training's side: evaluations as jobs of this version, with the history that a training would have.

    Args:
        sequence: Folder of `write_sequence`.
        run: Folder of the run.
    """

    def __init__(self, sequence: Path, run: Path) -> None:
        self.sequence, self.run = sequence, run
        self.subset = subset_of(sequence)
        self.jobs = known("delivery.process.jobs:Jobs", "delivery.jobs:Jobs")(run / "jobs")
        self.history: list[Any] = []
        self._n = len(list(sequence.glob("*.npz")))

    def put(self, number: int) -> Any:
        """Hands over one evaluation, and gives its snapshot."""
        snapshot = self._snapshot(number)
        self.jobs.put(f"{number:09d}_{place(number)}", partial(self._write, snapshot))
        self.history.append(self._row(snapshot))
        return snapshot

    def conclude(self) -> None:
        """Hands over the end of the training."""
        content = {"prefix": "embviz", "events": f"{self.run / 'events'}", "said": [], "faults": []}
        name = known("delivery.process.jobs:CONCLUSION", "delivery.jobs:CONCLUSION")
        self.jobs.put("last", lambda folder: _write_json(folder / name, content))

    def _snapshot(self, number: int) -> Any:
        last = self._n - number % 4 if number > self._n else number
        queries, documents, hard = np.load(self.sequence / f"{last}.npz").values()
        rows = queries, documents, self.subset.relevance, hard, self.subset.hard_pairs
        embeddings = known("embeddings:Embeddings").from_raw(*rows)
        return known("snapshot:take_snapshot")(
            label=label(number),
            subset=self.subset,
            embeddings=embeddings,
            settings=known("settings:Settings")(),
            epoch=number - 2 if number > 1 else None,
            step=number - 1,
        )

    def _write(self, snapshot: Any, folder: Path) -> None:
        events = f"{self.run / 'events'}"
        facts: dict[str, Any] = {"place": place(snapshot.step + 1), "events": events, "threshold": 0.25}
        try:
            handovers = import_module("embviz_callback.delivery.process.handovers")
        except ModuleNotFoundError:  # 7adfa40 and its like
            known("snapshot:save_snapshot")(snapshot, folder)
            nothing = {"prefix": "embviz", "alerts": [], "said": [], "faults": [], "resumed_after": None}
            baseline = snapshot.metrics.as_dict()
            _write_json(folder / "job.json", nothing | facts | {"baseline": baseline, "history": self.history})
            return
        past = tuple(replace(row, standing=None) for row in self.history[-handovers.MOST_PAST :])
        handovers.write_job(snapshot, handovers.Job(**facts, baseline=snapshot.metrics, history=past), folder)

    def _row(self, snapshot: Any) -> Any:
        try:
            of: Callable[..., Any] = known("delivery.run.history:HistoryRow").of
        except LookupError:
            names = ("label", "epoch", "step")
            row = {name: getattr(snapshot, name) for name in names} | snapshot.metrics.as_dict()
            return row | {"fingerprint": self.subset.fingerprint, "verdict": "", "reason": "", "alert": False}
        return of(snapshot, alert=False)


def label(number: int) -> str:
    """Of an evaluation; the first is that of the untrained model."""
    return f"epoch {number - 2}" if number > 1 else "untrained"


def place(number: int) -> str:
    """Its folder in that of the run."""
    return f"epoch_{number - 2:04d}" if number > 1 else "baseline"


def _write_json(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content), encoding="utf-8")


def whole_training(sequence: Path, run: Path, most: int) -> float:
    """Seconds of the processor that the drawing process takes for a training of six evaluations."""
    handover = Handover(sequence, run)
    process = _serving(run)
    assert process.stdin is not None
    for number in range(1, min(SIX, most) + 1):
        handover.put(number)
        _ring(process, handover)
    handover.conclude()
    _ring(process, handover)
    process.stdin.write(b"stop\n")
    process.stdin.close()
    _, status, usage = os.wait4(process.pid, 0)
    assert process.stdout is not None
    faults = [fault for line in process.stdout for fault in json.loads(line).get("faults", ())]
    if status or faults or handover.jobs.names("failed"):
        raise SystemExit(f"the drawing process failed: {faults}; see {run}")
    return usage.ru_utime + usage.ru_stime


def _serving(run: Path) -> "subprocess.Popen[bytes]":
    process = known_module("delivery.process.drawing_process", "delivery.drawing_process")
    command = [sys.executable, "-P", "-m", process, "--serve", f"{run}"]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True)


def _ring(process: "subprocess.Popen[bytes]", handover: Handover) -> None:
    """Tells the process that a job waits, and waits until it is done."""
    assert process.stdin is not None
    process.stdin.write(b"job\n")
    process.stdin.flush()
    while handover.jobs.names("pending") or handover.jobs.names("active"):
        # An earlier version yields to all others by itself, and a busy machine would never let it end.
        with suppress(OSError):
            Path(f"/proc/{process.pid}/autogroup").write_text("0", encoding="ascii")
        if process.poll() is not None:
            raise SystemExit(f"the drawing process ended with {process.returncode}")
        time.sleep(0.05)


class Parts:
    """Seconds of the processor by part; what runs within another part counts to that one."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self._within = threading.local()

    def take(self, owner: Any, name: str, part: str | Callable[..., str]) -> None:
        """Measures a function from now on."""
        function = getattr(owner, name)

        @wraps(function)
        def measured(*args: Any, **kwargs: Any) -> Any:
            with self._counted(part if isinstance(part, str) else part(*args)):
                return function(*args, **kwargs)

        setattr(owner, name, measured)

    @contextmanager
    def _counted(self, part: str) -> Iterator[None]:
        if getattr(self._within, "part", ""):
            yield
            return
        self._within.part, started = part, time.thread_time()
        try:
            yield
        finally:
            self.seconds[part] += time.thread_time() - started
            self._within.part = ""


def parts_drawn(sequence: Path, run: Path, most: int) -> dict[str, dict[str, float]]:
    """Seconds of the processor by number of the evaluation and part; kB of the page stand under "page, kB"."""
    handover, started = Handover(sequence, run), time.process_time()
    publishing = import_module(known_module("delivery.process.publishing", "delivery.publishing"))
    publisher = publishing.Publisher(run)
    parts, found = Parts(), {"imports": {"all": time.process_time() - started}}
    _watch(parts, publishing)
    for number in (number for first, last in _STRETCHES for number in range(first, last + 1) if number <= most):
        if number in {first for first, _ in _STRETCHES[1:]}:
            _fill(handover, number)
        handover.put(number)
        parts.seconds.clear()
        started = time.process_time()
        job = handover.jobs.claim()
        faults = publisher.publish(job).faults
        if faults:
            raise SystemExit(f"{label(number)}: {faults}")
        seconds = {"all": time.process_time() - started, **parts.seconds}
        seconds["page, kB"] = (run / "report.html").stat().st_size / 1000
        handover.jobs.done(job.name)
        found[f"{number}"] = seconds
    return found


def known_module(*names: str) -> str:
    """The first of these modules of the package that this version has."""
    root = Path(import_module("embviz_callback").__path__[0])
    return next(f"embviz_callback.{name}" for name in names if (root / f"{name.replace('.', '/')}.py").exists())


def _watch(parts: Parts, publishing: Any) -> None:
    showing = publishing if hasattr(publishing, "project") else import_module("embviz_callback.delivery.showing")
    parts.take(showing, "project", lambda _embeddings, method: f"maps: {'t-SNE' if method == 'tsne' else 'UMAP'}")
    parts.take(showing, "_png", lambda name, _snapshot: name)
    parts.take(showing, "_report" if hasattr(showing, "_report") else "report", "report")
    parts.take(publishing, "load_snapshot", "reading")
    parts.take(publishing, "draw_filmstrip", "film strips")
    parts.take(publishing, "to_png", "film strips")
    if hasattr(publishing, "RunFolder"):
        for name, part in (("add_view", "page"), ("write_page", "page"), ("keep", "keeping")):
            parts.take(publishing.RunFolder, name, part)
        return
    parts.take(publishing, "publish_page", "page")
    parts.take(publishing, "keep", "keeping")


def _fill(handover: Handover, until: int) -> None:
    """Puts copies of the last evaluation where those before `until` would stand, and the history of all."""
    run, last = handover.run, handover.history[-1]
    first = len(handover.history) + 1
    between = range(first, until)
    handover.history += [_renamed(last, number) for number in between]
    snapshots = sorted((run / "snapshots").iterdir())
    for number in _spread(between, _KEPT - len(snapshots) if len(snapshots) < _KEPT else 0):
        _copy_snapshot(snapshots[-1], run / "snapshots" / f"{number:09d}_{place(number)}", number)
    is_now = hasattr(import_module("embviz_callback.snapshot"), "Provenance")
    views = sorted((run / "page-data").glob("*.json"))
    view = json.loads(views[-1].read_text(encoding="utf-8"))
    for number in _spread(between, _VIEWED - len(views) if is_now else len(between)):
        named = view | {"label": label(number), "epoch": number - 2, "step": number - 1}
        _write_json(run / "page-data" / f"{number - 2:+07d}_{number - 1:+010d}_{label(number)}.json", named)
    if is_now:
        left_out = run / "page-data" / "left-out" / "count.json"
        left_out.parent.mkdir(exist_ok=True)
        _write_json(left_out, {"step": 1, "count": until - 1 - _VIEWED})
    else:
        _fill_ledger(run, between)


def _renamed(row: Any, number: int) -> Any:
    names = {"label": label(number), "epoch": number - 2, "step": number - 1}
    return row | names if isinstance(row, dict) else replace(row, **names)


def _spread(numbers: range, n: int) -> Sequence[int]:
    """So many of them, evenly, with the last one."""
    return [numbers[place] for place in np.linspace(0, len(numbers) - 1, n).round().astype(int)] if n > 0 else []


def _copy_snapshot(source: Path, target: Path, number: int) -> None:
    shutil.copytree(source, target)
    facts = json.loads((target / "snapshot.json").read_text(encoding="utf-8"))
    _write_json(target / "snapshot.json", facts | {"label": label(number), "epoch": number - 2, "step": number - 1})


def _fill_ledger(run: Path, between: range) -> None:
    """An earlier version wrote down where each query stood at every evaluation."""
    run_page = import_module("embviz_callback.delivery.run_page")
    snapshot = known("snapshot:load_snapshot")(sorted((run / "snapshots").iterdir())[-1])
    ledger = run_page.read_ledger(run)
    for number in between:
        ledger = ledger.record(replace(snapshot, label=label(number), epoch=number - 2, step=number - 1))
    _write_json(run / run_page.LEDGER, ledger.to_json())


def print_whole(found: dict[str, dict[str, Any]]) -> None:
    """The processor time of the whole drawing process."""
    print("| a training of six evaluations | CPU s | numba's cold compile beside it, s |\n|---|---|---|")
    for version, times in found.items():
        print(f"| {version} | {times['warm']:.1f} | {times['cold'] - times['warm']:.1f} |")
    print()


def print_parts(found: dict[str, dict[str, Any]], numbers: Sequence[int]) -> None:
    """A column for each evaluation and version, a row for each part."""
    columns = [(version, f"{number}") for number in numbers for version in reversed(found)]
    print(f"| CPU s at evaluation | {' | '.join(f'{number}, {version}' for version, number in columns)} |")
    print("|---|" + "---|" * len(columns))
    rows = [*_PARTS, "the rest", "all", "page, kB"]
    seconds = {column: _rows(found[column[0]]["parts"][column[1]]) for column in columns}
    for row in rows:
        print(f"| {row} | {' | '.join(_cell(row, seconds[column].get(row, 0.0)) for column in columns)} |")
    for version, times in found.items():
        print(f"\nimports, {version}: {times['parts']['imports']['all']:.1f} s before the first evaluation")


def _rows(seconds: dict[str, float]) -> dict[str, float]:
    """What is printed of one evaluation: figures together."""
    figures = {name: value for name, value in seconds.items() if name.endswith(("projection", "predictions"))}
    figures |= {name: value for name, value in seconds.items() if name.startswith("similarity_")}
    kept = {name: value for name, value in seconds.items() if name not in figures}
    rows = kept | {_FIGURES: sum(figures.values()), "of these the top-10": figures.get("top_k_predictions", 0.0)}
    told = sum(rows.get(part, 0.0) for part in _PARTS if part != "of these the top-10")
    return rows | {"the rest": rows["all"] - told}


def _cell(row: str, value: float) -> str:
    return f"{value:.0f}" if row == "page, kB" else f"{value:.2f}"


if __name__ == "__main__":
    main()
