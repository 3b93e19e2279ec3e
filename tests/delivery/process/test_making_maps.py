"""Both maps of an evaluation: made at once, each as if it were alone."""

import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from embviz_callback.analysis.maps.projections import Projection, Skipped, project
from embviz_callback.delivery import showing
from embviz_callback.delivery.guarding import Guard
from embviz_callback.delivery.process.handovers import Job, write_job
from embviz_callback.delivery.process.jobs import Jobs
from embviz_callback.delivery.process.publishing import Publisher
from embviz_callback.delivery.run.run_folder import RunFolder
from embviz_callback.delivery.showing import make_maps
from embviz_callback.embeddings import Embeddings
from embviz_callback.pairs.formats.reading import records_from
from embviz_callback.pairs.subset import choose_subset
from embviz_callback.settings import Settings
from embviz_callback.snapshot import Snapshot, load_snapshot, take_snapshot
from tests.tiny_training import pairs

THREADS = ThreadPoolExecutor(2)
SUBSET = choose_subset(records_from(pairs(40)), max_samples=40, seed=7)


def snapshot(epoch: int, **options: bool) -> Snapshot:
    random = np.random.default_rng(1)
    documents = random.normal(size=(len(SUBSET.documents), 16))
    queries = documents[SUBSET.relevance[:, 1]] + 0.3 * random.normal(size=(len(SUBSET.queries), 16))
    moved = np.random.default_rng(2).normal(size=documents.shape)
    embeddings = Embeddings.from_raw(
        queries, documents + 0.05 * epoch * moved, SUBSET.relevance, records=SUBSET.records
    )
    return take_snapshot(
        label=f"epoch {epoch}",
        epoch=epoch,
        step=10 * epoch,
        subset=SUBSET,
        embeddings=embeddings,
        settings=Settings(bootstrap_draws=100, **options),
    )


def guard() -> Guard:
    return Guard()


@pytest.mark.slow
def test_maps_made_at_once_are_the_bytes_of_maps_made_alone() -> None:
    previous: Snapshot | None = None
    for epoch in range(3):
        shown, watching = snapshot(epoch), guard()
        maps = make_maps(shown, previous, watching, THREADS)
        assert watching.faults == []
        for method, found in maps.items():
            before = None if previous is None else previous.maps[method]
            assert before is None or isinstance(before, Projection)
            alone = project(shown.embeddings, method, seed=shown.settings.seed, previous=before)
            assert isinstance(found, Projection)
            assert isinstance(alone, Projection)
            assert found.queries.tobytes() == alone.queries.tobytes()
            assert found.documents.tobytes() == alone.documents.tobytes()
            assert (found.note, found.trustworthiness) == (alone.note, alone.trustworthiness)
        previous = shown.with_maps(maps)


def test_both_maps_are_in_the_making_at_the_same_time(monkeypatch: pytest.MonkeyPatch) -> None:
    meeting = threading.Barrier(2, timeout=30)

    def meet(_embeddings: Embeddings, method: str, **_: object) -> Skipped:
        meeting.wait()
        return Skipped(f"{method} was here")

    monkeypatch.setattr(showing, "project", meet)
    maps = make_maps(snapshot(0), None, guard(), THREADS)
    assert maps == {"tsne": Skipped("tsne was here"), "umap": Skipped("umap was here")}


@pytest.mark.parametrize("method", ["tsne", "umap"])
def test_f40_a_map_that_fails_takes_neither_the_other_nor_the_filters_of_warnings_along(
    method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_embeddings: Embeddings, asked: str, **_: object) -> Skipped:
        warnings.simplefilter("ignore")
        if asked == method:
            raise RuntimeError("no such luck")
        return Skipped("made")

    monkeypatch.setattr(showing, "project", fail)
    filters, watching = list(warnings.filters), guard()
    maps = make_maps(snapshot(0), None, watching, THREADS)
    (fault,) = watching.faults
    assert fault == f"{method} map failed (epoch 0, rank 0): RuntimeError: no such luck; skipped: this map"
    other = {"tsne": "umap", "umap": "tsne"}[method]
    assert maps == {method: Skipped(f"the map failed: {fault}"), other: Skipped("made")}
    assert list(warnings.filters) == filters


def test_a_map_that_is_left_out_imports_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    monkeypatch.setattr(showing, "open_layout", opened.append)
    maps = make_maps(snapshot(0, skip_tsne=True, skip_umap=True), None, guard(), THREADS)
    assert maps == {"tsne": Skipped("left out by skip_tsne"), "umap": Skipped("left out by skip_umap")}
    assert opened == []


def put(jobs: Jobs, shown: Snapshot) -> None:
    job = Job(place=f"epoch_{shown.epoch:04d}", run_id="a")
    jobs.put(f"{shown.step:09d}_{job.place}", partial(write_job, shown, job))


def draw(publisher: Publisher, jobs: Jobs) -> None:
    job = jobs.claim()
    assert job is not None
    assert publisher.publish(job).faults == []
    jobs.done(job.name)


@pytest.mark.slow
def test_maps_begun_beside_the_figures_before_them_are_those_made_in_turn(tmp_path: Path) -> None:
    kept = {}
    for name, n_at_once in (("in turn", 1), ("ahead", 3)):
        folder = tmp_path / name
        jobs, publisher = Jobs(folder / "jobs"), Publisher(folder)
        for start in range(0, 3, n_at_once):
            for epoch in range(start, start + n_at_once):
                put(jobs, snapshot(epoch))
            for _ in range(n_at_once):
                draw(publisher, jobs)
        kept[name] = [load_snapshot(path).maps for path in RunFolder(folder).kept]
    for alone, ahead in zip(kept["in turn"], kept["ahead"], strict=True):
        for method in ("tsne", "umap"):
            one, other = alone[method], ahead[method]
            assert isinstance(one, Projection)
            assert isinstance(other, Projection)
            assert one.note == other.note
            assert one.queries.tobytes() == other.queries.tobytes()


def test_maps_begun_for_an_evaluation_that_is_replaced_are_not_those_of_the_new_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Skipped] = []

    def made(embeddings: Embeddings, method: str, **_: object) -> Skipped:
        asked.append(Skipped(f"{method} of {embeddings.documents[0, 0]:.6f}"))
        return asked[-1]

    monkeypatch.setattr(showing, "project", made)
    jobs, publisher = Jobs(tmp_path / "jobs"), Publisher(tmp_path)
    for epoch in range(3):
        put(jobs, snapshot(epoch))
    draw(publisher, jobs)
    put(jobs, replace(snapshot(1), embeddings=snapshot(7).embeddings))
    for _ in range(2):
        draw(publisher, jobs)
    assert {*map(partial(made, snapshot(1).embeddings), ("tsne", "umap"))} <= {*asked[:-2]}
    _, replaced, last = (load_snapshot(path) for path in RunFolder(tmp_path).kept)
    assert replaced.maps == {method: made(snapshot(7).embeddings, method) for method in ("tsne", "umap")}
    assert last.maps == {method: made(snapshot(2).embeddings, method) for method in ("tsne", "umap")}
