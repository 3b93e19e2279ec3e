"""The process that draws, killed, crashed, stopped and starved: the real one, every time."""

import io
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from embviz_callback.delivery.places import Places
from embviz_callback.delivery.process import drawing_process, starvation
from embviz_callback.delivery.process import training_side as worker_module
from embviz_callback.delivery.process.handovers import Job, write_job
from embviz_callback.delivery.process.jobs import Jobs
from embviz_callback.delivery.process.publishing import Published
from embviz_callback.delivery.process.starvation import run_and_wait_s
from embviz_callback.delivery.process.training_side import Limits, Worker
from embviz_callback.delivery.run.history import HistoryRow
from embviz_callback.delivery.run.memory import Memory
from embviz_callback.embeddings import Embeddings
from embviz_callback.evaluator import Evaluator, Moment
from embviz_callback.pairs.formats.reading import records_from
from embviz_callback.pairs.subset import choose_subset
from embviz_callback.session import Plan, begin
from embviz_callback.settings import Settings
from embviz_callback.snapshot import Snapshot, load_snapshot, take_snapshot
from tests.small_runs import a_run, a_subset
from tests.tiny_models import one_way
from tests.tiny_training import TinyBiEncoder, a_session, pairs

pytestmark = pytest.mark.slow


def snapshot(epoch: int | None, **options: Any) -> Snapshot:
    subset = choose_subset(records_from(pairs(12)), max_samples=12, seed=7)
    random = np.random.default_rng(1)
    base = random.normal(size=(12, 8))
    queries, documents = base + 0.1 * (epoch or 0), base + random.normal(size=(12, 8))
    hard = {
        "hard_negatives": random.normal(size=(len(subset.hard_negatives), 8)),
        "hard_pairs": subset.hard_pairs,
    }
    embeddings = Embeddings.from_raw(queries, documents, subset.relevance, records=subset.records, **hard)
    return take_snapshot(
        label="untrained" if epoch is None else f"epoch {epoch}",
        epoch=epoch,
        step=0 if epoch is None else 10 * epoch + 9,
        subset=subset,
        embeddings=embeddings,
        settings=Settings(bootstrap_draws=100, **options),
    )


class Told:
    """What a worker reported."""

    def __init__(self) -> None:
        self.kinds: list[str] = []
        self.messages: list[str] = []

    def __call__(self, kind: str, message: str) -> None:
        self.kinds.append(kind)
        self.messages.append(message)


def job(shown: Snapshot) -> Callable[[Path], None]:
    """What fills a job's folder."""
    return partial(write_job, shown, Job(place=f"epoch_{shown.epoch or 0:04d}"))


def bare(epoch: int) -> tuple[str, Callable[[Path], None]]:
    """A job without maps: half a second."""
    return f"{epoch:09d}_epoch", job(snapshot(epoch, skip_tsne=True, skip_umap=True))


def wait_until_drawing(worker: Worker, limit_s: float = 60) -> None:
    worker._niceness = 0  # other tests may need the whole machine
    until = time.monotonic() + limit_s
    while not worker.jobs.names("active"):
        assert time.monotonic() < until, "nothing was claimed"
        worker.poll()
        time.sleep(0.005)


def finish(worker: Worker, limit_s: float = 90) -> bool:
    try:
        return worker.finish(limit_s, lambda left: None)
    finally:
        worker.stop()


def drawn(folder: Path, place: str) -> set[str]:
    return {path.name for path in (folder / place).glob("*")}


@pytest.fixture(scope="module")
def threads_left() -> list[threading.Thread]:
    """Filled by `finished`; other tests of this process may have threads of their own."""
    return []


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, threads_left: list[threading.Thread]) -> tuple[Path, list[str]]:
    """A run of two evaluations with all five figures, handed over as the callback does it."""
    before = set(threading.enumerate())
    folder = tmp_path_factory.mktemp("run") / "embviz"
    settings = Settings(bootstrap_draws=100)
    subset = choose_subset(records_from(pairs(12)), max_samples=12, seed=7)
    places = Places(folder, folder)
    session = begin(
        Plan(settings, on_error="raise"), {"": Evaluator(subset, settings)}, places, Memory(), is_resumed=False
    )
    for moment in (Moment(None, 0), Moment(0, 9)):
        session.evaluate(moment, one_way(TinyBiEncoder().eval().encode), lambda values: None)
    session.finish(is_hurried=False)
    threads_left += set(threading.enumerate()) - before
    return folder, session.guard.faults


FIVE = {f"{name}.png" for name in ("tsne_projection", "umap_projection", "similarity_heatmap")} | {
    "similarity_distribution.png",
    "top_k_predictions.png",
}


def test_each_evaluation_gets_five_figures_and_a_report_in_its_folder(finished: tuple[Path, list[str]]) -> None:
    folder, faults = finished
    assert faults == []
    assert drawn(folder, "untrained") == drawn(folder, "epoch_0000") == FIVE | {"report.md"}
    assert not Jobs(folder / "jobs").names("pending")
    assert not (folder / "jobs" / "failed").exists()


def test_the_event_file_holds_them_under_the_step_of_the_evaluation(finished: tuple[Path, list[str]]) -> None:
    events = EventAccumulator(str(finished[0]), size_guidance={"images": 0, "tensors": 0})
    events.Reload()
    assert set(events.Tags()["images"]) >= {f"embviz/{name.removesuffix('.png')}" for name in FIVE}
    assert {image.step for tag in events.Tags()["images"] for image in events.Images(tag)} == {9}
    assert [text.step for text in events.Tensors("embviz/report/text_summary")] == [9]


def test_evaluations_are_kept_and_the_next_maps_started_from_the_ones_before(
    finished: tuple[Path, list[str]],
) -> None:
    kept = sorted((finished[0] / "snapshots").iterdir())
    assert [path.name for path in kept] == ["000000000_untrained", "000000010_epoch_0000"]
    assert all(getattr(made, "displacement", None) is not None for made in load_snapshot(kept[-1]).maps.values())


def test_no_process_and_no_thread_is_left(
    finished: tuple[Path, list[str]], threads_left: list[threading.Thread]
) -> None:
    listed = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    assert f"{finished[0]}" not in listed
    assert threads_left == []


def test_the_drawing_side_imports_no_torch() -> None:
    room = "embviz_callback.delivery.process.publishing"
    script = f"import sys, {room}; print({{'torch', 'pytorch_lightning'}} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def test_f40_a_job_that_raises_is_set_aside_and_the_others_are_drawn(tmp_path: Path) -> None:
    told = Told()
    worker = Worker(tmp_path, limits=Limits(), report=told)

    def broken(folder: Path) -> None:
        (folder / "snapshot.json").write_text("{")

    worker.submit("000000001_broken", broken)
    worker.submit(*bare(2))
    assert finish(worker)
    assert told.kinds == ["failed"]
    assert (tmp_path / "jobs" / "failed" / "000000001_broken" / "reason.txt").read_text().startswith("JSONDecodeError")
    assert "report.md" in drawn(tmp_path, "epoch_0002")


def test_f41_a_crash_costs_one_drawing_which_is_named_and_set_aside(tmp_path: Path) -> None:
    told = Told()
    worker = Worker(tmp_path, limits=Limits(), report=told)
    worker.submit(*bare(1))
    worker.submit(*bare(2))
    wait_until_drawing(worker)
    assert worker.pid is not None
    victim = worker.jobs.names("active")[0]
    os.kill(worker.pid, signal.SIGSEGV)
    assert finish(worker)
    assert told.messages == [
        f"the drawing process was killed by SIGSEGV while drawing {victim}, which is set aside in "
        f"{tmp_path / 'jobs' / 'failed' / victim}; training and all other drawings go on; see {tmp_path / 'worker.log'}"
    ]
    assert worker.jobs.names("failed") == [victim]
    assert len(list(tmp_path.glob("epoch_*"))) >= 1


def test_a_process_killed_from_outside_is_started_again_and_draws_everything(tmp_path: Path) -> None:
    told = Told()
    worker = Worker(tmp_path, limits=Limits(), report=told)
    worker.submit(*bare(1))
    wait_until_drawing(worker)
    assert worker.pid is not None
    os.kill(worker.pid, signal.SIGKILL)
    assert finish(worker)
    assert told.messages == []
    assert "report.md" in drawn(tmp_path, "epoch_0001")


def test_f42_a_drawing_that_takes_too_long_ends_itself_and_the_log_says_where(tmp_path: Path) -> None:
    told = Told()
    worker = Worker(tmp_path, limits=Limits(drawing_time_limit_s=0.5), report=told)
    worker.submit("000000001_epoch", lambda folder: os.mkfifo(folder / "snapshot.json"))  # nobody will ever write
    assert finish(worker)
    assert told.kinds == ["died"]
    assert "took longer than its time limit while drawing 000000001_epoch" in told.messages[0]
    log = (tmp_path / "worker.log").read_text()
    assert "File " in log
    assert log.count("embviz: begun 000000001_epoch") == 2  # what only met a bad moment gets another


def test_what_timed_out_once_is_drawn_at_the_second_try(tmp_path: Path) -> None:
    told = Told()
    worker = Worker(tmp_path, limits=Limits(drawing_time_limit_s=3.0), report=told)
    name, fill = bare(1)

    def stuck(folder: Path) -> None:
        fill(folder)
        (folder / "job.json").rename(folder / "whole.json")
        os.mkfifo(folder / "job.json")  # nobody writes

    worker.submit(name, stuck)
    until = time.monotonic() + 60
    while not worker.jobs.attempts(name):
        assert time.monotonic() < until
        worker.poll()
        for folder in worker.jobs.root.glob(f"*/{name}"):
            if (folder / "attempts").exists():
                (folder / "whole.json").replace(folder / "job.json")
                worker.limits = Limits()
                break
        else:
            time.sleep(0.01)
            continue
        break
    assert finish(worker)
    assert told.kinds == []
    assert "report.md" in drawn(tmp_path, "epoch_0001")


@pytest.mark.parametrize("flags", [[], ["--retry-failed"]])
def test_what_was_given_up_is_drawn_when_somebody_asks_for_it(flags: list[str], tmp_path: Path) -> None:
    jobs = Jobs(tmp_path / "jobs")
    jobs.put(*bare(1))
    assert jobs.claim() is not None
    jobs.requeue("000000001_epoch")
    assert jobs.claim() is not None
    jobs.fail("000000001_epoch", "took longer than its time limit")
    command = [sys.executable, "-m", "embviz_callback.delivery.process.drawing_process", f"{tmp_path}", *flags]
    done = subprocess.run(command, capture_output=True, text=True)
    if flags:
        assert (done.returncode, done.stderr) == (0, "embviz: 1 to draw\nembviz: everything is drawn\n")
        assert drawn(tmp_path, "epoch_0001") >= {"report.md"}
    else:
        assert (done.returncode, done.stderr) == (1, "embviz: 1 could not be drawn; --retry-failed tries again\n")


@pytest.mark.parametrize("state", ["active", "pending"])
def test_what_a_killed_training_was_drawing_is_drawn_by_the_one_that_goes_on(state: str, tmp_path: Path) -> None:
    told = Told()
    Jobs(tmp_path / "jobs").put(*bare(1))
    if state == "active":
        Jobs(tmp_path / "jobs").claim()
    worker = Worker(tmp_path, limits=Limits(), report=told)
    worker.start()
    assert finish(worker, limit_s=60)
    assert told.kinds == []
    assert "report.md" in drawn(tmp_path, "epoch_0001")


@pytest.mark.parametrize("waits", ["others", "nothing"])
def test_f42_what_a_drawing_waits_for_a_processor_does_not_count(waits: str) -> None:
    script = (
        "import sys, time\n"
        "from embviz_callback.delivery.process import drawing_process, starvation\n"
        "if sys.argv[1] == 'others':\n"
        "    starvation.run_and_wait_s = lambda pid: (0.0, 7 * time.monotonic())\n"  # seven threads in line
        "with drawing_process._time_limit(0.5):\n"
        "    time.sleep(1.5)\n"
        "time.sleep(1)\n"  # nothing may go off any more
        "print('survived')\n"
    )
    done = subprocess.run([sys.executable, "-c", script, waits], capture_output=True, text=True, check=False)
    assert done.stdout == ("survived\n" if waits == "others" else "")
    assert ("Timeout (" in done.stderr) == (waits == "nothing")
    assert ('File "<string>"' in done.stderr) == (waits == "nothing")


HANG = (
    "import ctypes, sys, threading, time\n"
    "from embviz_callback.delivery.process import drawing_process\n"
    "def spin():\n"
    "    while True: pass\n"
    "with drawing_process._time_limit(1.0):\n"
)


@pytest.mark.parametrize(
    "work",
    [
        "    for _ in range(7): threading.Thread(target=spin, daemon=True).start()\n    spin()\n",
        "    for _ in range(7): threading.Thread(target=spin, daemon=True).start()\n    time.sleep(60)\n",
        "    ctypes.PyDLL(None).sleep(60)\n",  # compiled code that lets no other thread in
    ],
)
def test_f42_a_drawing_that_hangs_is_ended_however_many_threads_it_has(work: str) -> None:
    begun = time.monotonic()
    done = subprocess.run([sys.executable, "-c", HANG + work], capture_output=True, text=True, timeout=55)
    assert done.returncode == 1
    assert "Timeout (" in done.stderr
    assert time.monotonic() - begun < 50


def test_f42_a_machine_that_slept_costs_no_drawing() -> None:
    script = (
        "import sys, time\n"
        "from embviz_callback.delivery.process import drawing_process\n"
        "with drawing_process._time_limit(4.0):\n"
        "    print('begun', flush=True)\n"
        "    sys.stdin.readline()\n"
        "print('survived')\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(signal.SIGSTOP)
    time.sleep(7)
    process.send_signal(signal.SIGCONT)
    said, log = process.communicate("\n", timeout=30)
    assert (said, log) == ("survived\n", "")


def test_cycles_of_a_drawn_job_are_freed_after_it_and_the_libraries_are_not_looked_through() -> None:
    script = (
        "import gc, weakref\n"
        "from embviz_callback.delivery.process import drawing_process\n"
        "class Node: pass\n"
        "def drawn():\n"
        "    node = Node()\n"
        "    node.itself = node\n"
        "    return weakref.ref(node)\n"
        "collect = drawing_process._collect_between_jobs()\n"
        "for _ in range(3):\n"
        "    node = drawn()\n"
        "    assert node() is not None\n"
        "    collect()\n"
        "    assert node() is None\n"
        "assert gc.get_freeze_count() > 10_000\n"
        "assert len(gc.get_objects()) < 1_000\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def test_cycles_are_freed_after_every_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []

    class Drawing:
        def __init__(self, folder: Path) -> None:
            pass

        def publish(self, job: Path) -> Published:
            seen.append(job.name)
            return Published([], [])

    monkeypatch.setattr("embviz_callback.delivery.process.publishing.Publisher", Drawing)
    monkeypatch.setattr(drawing_process, "_collect_between_jobs", lambda: partial(seen.append, "freed"))
    jobs = Jobs(tmp_path / "jobs")
    for name in ("1", "2"):
        jobs.put(name, lambda folder: None)
    bells: queue.SimpleQueue[str] = queue.SimpleQueue()
    bells.put("stop")
    drawing_process._serve(jobs, tmp_path, Limits(), bells, io.StringIO())
    assert seen == ["1", "freed", "2", "freed"]


def test_f42_a_process_that_gets_no_processor_is_not_killed_from_outside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = Told()
    worker = Worker(tmp_path, limits=Limits(), report=told)
    worker.submit("000000001_epoch", job(snapshot(1)))
    wait_until_drawing(worker)
    worker.poll()
    starved = worker.pid
    assert starved is not None
    os.kill(starved, signal.SIGSTOP)
    begun = time.monotonic()
    with monkeypatch.context() as patch:
        patch.setattr(worker_module, "_PATIENCE_S", -299.0)  # the limit of 300 s becomes 1 s for the one outside
        patch.setattr(starvation, "run_and_wait_s", lambda pid: (0.0, 3 * time.monotonic()))  # three threads in line
        while time.monotonic() - begun < 2.5:
            worker.poll()
            time.sleep(0.05)
    assert worker.pid == starved  # another one would draw it at the second try
    os.kill(starved, signal.SIGCONT)
    assert finish(worker)
    assert told.kinds == []


@pytest.mark.skipif(
    not Path("/proc/self/schedstat").exists(), reason="this system does not tell who waits for a processor"
)
def test_a_process_that_shares_its_core_is_known_to_wait_for_it() -> None:
    spin = (
        "import os, threading, time\n"
        "os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\n"
        "def work():\n"
        "    while True: pass\n"
    )
    # In the main thread, and in another one, where the maps are made.
    works = ("work()", "threading.Thread(target=work).start(); time.sleep(60)")
    both = [subprocess.Popen([sys.executable, "-c", spin + work], start_new_session=True) for work in works]
    try:
        time.sleep(2.5)
        assert all(0.3 < run_and_wait_s(process.pid)[1] < 3 for process in both)
    finally:
        for process in both:
            process.kill()
            process.wait()
    assert run_and_wait_s(both[0].pid) == (0, 0)


def test_the_drawing_process_yields_to_the_training_and_no_longer_when_it_is_over(tmp_path: Path) -> None:
    worker = Worker(tmp_path, limits=Limits(), report=Told())
    worker.start()
    assert worker.pid is not None
    assert os.getpriority(os.PRIO_PROCESS, worker.pid) == 19
    session = Path(f"/proc/{worker.pid}/autogroup")
    if session.exists():
        assert session.read_text().endswith("nice 19\n")
    worker.submit(*bare(1))
    worker.finish(0.0, lambda left: None)
    if session.exists():
        assert session.read_text().endswith("nice 0\n")
        session.write_text("19")  # as where the first word was not heard
        worker.poll()
        assert session.read_text().endswith("nice 0\n")
    assert finish(worker)


@pytest.mark.skipif(not Path("/proc/self/autogroup").exists(), reason="this system does not weigh sessions")
def test_a_process_that_is_waited_for_counts_in_full_also_when_it_had_to_be_started_again(tmp_path: Path) -> None:
    worker = Worker(tmp_path, limits=Limits(), report=Told())
    worker.submit(*bare(1))
    worker.finish(0.0, lambda left: None)
    first = worker.pid
    assert first is not None
    os.kill(first, signal.SIGKILL)
    while worker.pid in (None, first):
        worker.poll()
        time.sleep(0.01)
    for _ in range(2):  # a session is not always weighed at once
        time.sleep(0.15)
        worker.poll()
    assert Path(f"/proc/{worker.pid}/autogroup").read_text().endswith("nice 0\n")
    wait_until_drawing(worker)  # it has had its say on what it counts, if it has one
    assert Path(f"/proc/{worker.pid}/autogroup").read_text().endswith("nice 0\n")
    assert finish(worker)


@pytest.mark.skipif(not Path("/proc/self/autogroup").exists(), reason="this system does not weigh sessions")
def test_the_more_evaluations_wait_the_more_the_process_counts(tmp_path: Path) -> None:
    worker = Worker(tmp_path, limits=Limits(), report=Told())
    worker.start()
    assert worker.pid is not None
    os.kill(worker.pid, signal.SIGSTOP)  # before it has claimed anything
    found = []
    for number in range(1, 5):
        worker.jobs.put(f"{number:09d}", lambda folder: (folder / "job.json").touch())
        time.sleep(0.15)  # a session is weighed ten times a second at most
        worker.poll()
        found.append(int(Path(f"/proc/{worker.pid}/autogroup").read_text().rpartition(" ")[2]))
    os.kill(worker.pid, signal.SIGKILL)
    worker.stop()
    assert found == [19, 14, 9, 4]


def test_f42_a_process_that_does_not_move_at_all_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = Told()
    worker = Worker(tmp_path, limits=Limits(), report=told)
    worker.submit("000000001_epoch", job(snapshot(1)))  # with maps: long enough to be caught
    for _ in range(2):  # what took all its time gets a second try
        wait_until_drawing(worker)
        worker.poll()
        pid = worker.pid
        assert pid is not None
        os.kill(pid, signal.SIGSTOP)
        begun = time.monotonic()
        # Only while it stands still: a busy machine takes longer than that to start the next process.
        with monkeypatch.context() as impatient:
            impatient.setattr(worker_module, "_PATIENCE_S", -299.0)  # of the limit of 300 s 1 s is left from outside
            while worker.pid == pid and time.monotonic() - begun < 60:
                worker.poll()
                time.sleep(0.05)
    assert finish(worker)
    assert told.kinds == ["died"]
    assert "took longer than its time limit while drawing 000000001_epoch" in told.messages[0]


def test_f47_ctrl_c_while_the_last_figures_are_awaited_ends_the_drawing_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = a_session(Places(tmp_path / "run", None))
    run.open(is_resumed=False)
    assert run.worker is not None
    assert run.worker.pid is not None

    def interrupted(*_: Any) -> bool:
        raise KeyboardInterrupt

    monkeypatch.setattr(run.worker, "finish", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run.finish(is_hurried=True)
    assert run.worker.pid is None


def test_f43_evaluations_that_come_too_fast_put_off_the_oldest_and_never_the_last(tmp_path: Path) -> None:
    told = Told()
    worker = Worker(tmp_path, limits=Limits(queue_limit=1), report=told)
    begun = time.monotonic()
    for epoch in range(1, 6):
        worker.submit(*bare(epoch))
    assert time.monotonic() - begun < 5
    assert finish(worker)
    assert worker.n_deferred >= 3
    assert set(told.kinds) == {"put off"}
    assert "report.md" in drawn(tmp_path, "epoch_0005")
    assert len(worker.jobs.names("deferred")) == worker.n_deferred


def test_what_was_put_off_is_drawn_when_nothing_else_will_come(tmp_path: Path) -> None:
    worker = Worker(tmp_path, limits=Limits(queue_limit=1), report=Told())
    for epoch in range(1, 4):
        worker.submit(*bare(epoch))
    assert worker.n_deferred > 0

    worker.conclude("last", partial(write_job, None, Job()))
    assert finish(worker)
    assert worker.jobs.names("deferred") == []
    assert all("report.md" in drawn(tmp_path, f"epoch_000{epoch}") for epoch in range(1, 4))
    analysis = json.loads((tmp_path / "analysis.json").read_text(encoding="utf-8"))
    assert analysis["label"] == "epoch 3"


def test_f44_without_another_process_jobs_wait_on_disk_for_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = Told()
    worker = Worker(tmp_path, limits=Limits(), report=told)
    with monkeypatch.context() as missing:
        missing.setattr(sys, "executable", "/nowhere/python")
        worker.submit(*bare(1))
        assert not worker.finish(5, lambda left: None)
        worker.stop()
    assert told.messages == [
        "the drawing process cannot be started ([Errno 2] No such file or directory: '/nowhere/python'); scalars and "
        "alerts go on without figures, which can be drawn later with: "
        f"/nowhere/python -m embviz_callback.delivery.process.drawing_process {tmp_path}"
    ]
    command = [sys.executable, "-m", "embviz_callback.delivery.process.drawing_process", f"{tmp_path}"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "embviz: 1 to draw\nembviz: everything is drawn\n")
    assert "report.md" in drawn(tmp_path, "epoch_0001")


@pytest.mark.parametrize("program", [None, ""])
def test_f44_a_python_that_does_not_know_its_own_program_draws_nothing_and_says_so(
    program: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = Told()
    worker = Worker(tmp_path, limits=Limits(), report=told)
    monkeypatch.setattr(sys, "executable", program)
    worker.submit(*bare(1))
    assert told.messages == [
        "the drawing process cannot be started (this Python does not know its own program: sys.executable is empty); "
        "scalars and alerts go on without figures, which can be drawn later with: "
        f"python -m embviz_callback.delivery.process.drawing_process {tmp_path}"
    ]


def test_the_command_says_when_a_folder_is_not_that_of_a_run(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "embviz_callback.delivery.process.drawing_process", f"{tmp_path}"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr == f"embviz: {tmp_path} holds no jobs; give the folder in which the run wrote its figures\n"


ORPHAN = """
import os, signal, sys
from pathlib import Path
from embviz_callback.delivery.process.starvation import run_and_wait_s
from embviz_callback.delivery.process.training_side import Limits, Worker
worker = Worker(Path(sys.argv[1]), limits=Limits(), report=print)
worker.start()
print(worker.pid, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_f49_the_process_ends_with_a_training_that_was_killed(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", ORPHAN, f"{tmp_path}"], capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL
    until = time.monotonic() + 30
    while is_alive(int(done.stdout)):
        assert time.monotonic() < until, "the drawing process outlives the training"
        time.sleep(0.05)


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def test_a_process_that_cannot_even_start_is_given_up_after_some_tries(tmp_path: Path) -> None:
    told = Told()
    worker = Worker(tmp_path, limits=Limits(memory_limit_gb=0.15), report=told)
    worker.submit(*bare(1))
    assert not finish(worker, limit_s=500)
    assert told.kinds == ["given up"]
    assert worker.jobs.names("pending") + worker.jobs.names("active") == ["000000001_epoch"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"drawing_time_limit_s": 0.0}, "drawing_time_limit_s must be above 0, got 0.0"),
        ({"queue_limit": 0}, "queue_limit must be at least 1, got 0"),
        ({"memory_limit_gb": -1.0}, "memory_limit_gb must be at least 0, got -1.0"),
        ({"grace_s": float("nan")}, "grace_s must be at least 0, got nan"),
    ],
)
def test_limits_that_cannot_be_meant_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError) as error:
        Limits(**options)
    assert str(error.value) == message


def test_a_job_of_a_long_training_holds_no_more_than_its_report_tells(tmp_path: Path) -> None:
    session = a_session(Places(tmp_path, None))
    snapshot = a_run(a_subset(8), (1.0,), maps=False)[0]
    rows = [HistoryRow.of(replace(snapshot, epoch=at, step=at, label=f"epoch {at}"), alert=False) for at in range(50)]
    for row in rows:
        session.memory.history.add(row)
    drawings = session._courses[0].drawings
    job = drawings._job(replace(snapshot, epoch=50, step=50), session.memory, (), is_partial=False)
    assert [row.label for row in job.history] == [f"epoch {at}" for at in range(30, 50)]
