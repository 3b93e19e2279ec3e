"""Files that are whole or not there, and a TensorBoard file that a server can read."""

import base64
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from embviz_callback.delivery.process.jobs import Jobs
from embviz_callback.delivery.sinks import FolderSink, Sink, TensorBoardSink
from embviz_callback.files import append_row, read_rows, require_space, safe_name, write_atomically

PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAIAAAABCAYAAAD0In+KAAAADklEQVR4nGP4z8DwHwQBEPgD/U6VwW8AAAAASUVORK5CYII="
)


def read_back(folder: Path) -> EventAccumulator:
    events = EventAccumulator(str(folder), size_guidance={"images": 0, "tensors": 0, "scalars": 0})
    events.Reload()
    return events


def test_an_event_file_gives_back_pictures_and_text_under_their_steps(tmp_path: Path) -> None:
    sink = TensorBoardSink(tmp_path)
    for step in (0, 25):
        sink.figure("tsne_projection", PIXEL, step)
        sink.text("report", f"# Report {step}\n\ntrọ Quận 10", step)
        sink.flush()
    events = read_back(tmp_path)
    images = events.Images("embviz/tsne_projection")
    assert [(image.step, image.width, image.height) for image in images] == [(0, 2, 1), (25, 2, 1)]
    assert images[1].encoded_image_string == PIXEL
    texts = events.Tensors("embviz/report/text_summary")
    assert [text.step for text in texts] == [0, 25]
    assert texts[1].tensor_proto.string_val[0].decode() == "# Report 25\n\ntrọ Quận 10"
    assert events.summary_metadata["embviz/report/text_summary"].plugin_data.plugin_name == "text"
    assert len(list(tmp_path.iterdir())) == 1


def test_after_a_failed_write_the_next_one_begins_a_file_that_can_be_read(tmp_path: Path) -> None:
    folder = tmp_path / "events"
    sink = TensorBoardSink(folder)
    sink.figure("a", PIXEL, 1)
    sink.flush()
    broken = next(folder.iterdir())
    broken.rename(tmp_path / "kept")
    broken.mkdir()  # writing to it fails now, even for the superuser
    sink.figure("a", PIXEL, 2)
    with pytest.raises(IsADirectoryError):
        sink.flush()
    sink.figure("a", PIXEL, 3)
    sink.flush()
    broken.rmdir()
    assert [image.step for image in read_back(folder).Images("embviz/a")] == [3]


def test_a_folder_gets_whole_files_whose_names_stay_inside(tmp_path: Path) -> None:
    sinks: list[Sink] = [FolderSink(tmp_path / "epoch_0001")]
    sinks[0].figure("top_k_predictions", PIXEL, 3)
    sinks[0].text("../../report", "text", 3)
    sinks[0].flush()
    assert (tmp_path / "epoch_0001" / "top_k_predictions.png").read_bytes() == PIXEL
    assert sorted(path.name for path in (tmp_path / "epoch_0001").iterdir()) == [
        f"{safe_name('../../report')}.md",
        "top_k_predictions.png",
    ]


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "report.md"
    write_atomically(path, "old")
    with pytest.raises(TypeError):
        write_atomically(path, 3)  # type: ignore[arg-type]
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_lone_surrogates_do_not_stop_a_report(tmp_path: Path) -> None:
    write_atomically(tmp_path / "report.md", "a\ud800b")
    assert (tmp_path / "report.md").read_text() == "a?b"


def test_rows_are_added_behind_a_line_that_a_killed_run_left_torn(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "history.jsonl"
    append_row(path, {"step": 1})
    path.write_text(path.read_text() + '{"step": 2, "lab')
    append_row(path, {"step": 3})
    assert [row["step"] for row in read_rows(path)] == [1, 3]
    assert json.loads(path.read_text().splitlines()[-1]) == {"step": 3}


@settings(deadline=None, max_examples=60)
@given(st.text(max_size=300))
def test_a_safe_name_never_leaves_its_folder(text: str) -> None:
    name = safe_name(text)
    assert 0 < len(name) <= 80
    assert set(name) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-")
    assert not name.startswith(".")
    assert safe_name(name) == name


def test_texts_that_differ_have_names_that_differ() -> None:
    assert len({safe_name(text) for text in ("a/b", "a b", "a_b", "../a_b", "a?b", "")}) == 6


def test_a_full_disk_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="MB free and 1000000000000000 MB are needed; free some space"):
        require_space(tmp_path, 10**21)


def filled(folder: Path) -> None:
    (folder / "job.json").write_text("{}")


def test_a_job_is_in_one_place_at_a_time_and_in_order(tmp_path: Path) -> None:
    jobs = Jobs(tmp_path / "jobs")
    for name in ("002", "001", "003"):
        jobs.put(name, filled)
    claimed = jobs.claim()
    assert claimed is not None
    assert claimed.name == "001"
    assert jobs.defer_oldest() == "002"
    assert {state: jobs.names(state) for state in ("pending", "active", "deferred")} == {
        "pending": ["003"],
        "active": ["001"],
        "deferred": ["002"],
    }
    jobs.fail("001", "because")
    assert (tmp_path / "jobs" / "failed" / "001" / "reason.txt").read_text() == "because"
    jobs.take_back("active", "deferred")
    assert jobs.names("pending") == ["002", "003"]


def test_a_job_that_could_not_be_filled_leaves_nothing(tmp_path: Path) -> None:
    def fails(folder: Path) -> None:
        filled(folder)
        raise OSError("disk full")

    jobs = Jobs(tmp_path / "jobs")
    with pytest.raises(OSError, match="disk full"):
        jobs.put("001", fails)
    assert list((tmp_path / "jobs").iterdir()) == []


def test_jobs_can_be_read_by_their_owner_only(tmp_path: Path) -> None:
    jobs = Jobs(tmp_path / "jobs")
    jobs.put("001", filled)
    assert (tmp_path / "jobs").stat().st_mode & 0o777 == 0o700


def test_a_job_remembers_how_often_it_was_requeued(tmp_path: Path) -> None:
    jobs = Jobs(tmp_path / "jobs")
    jobs.put("001", filled)
    for attempts in range(2):
        jobs.claim()
        assert jobs.attempts("001") == attempts
        jobs.requeue("001")


def test_no_more_than_twenty_jobs_are_kept_for_later(tmp_path: Path) -> None:
    jobs = Jobs(tmp_path / "jobs")
    for number in range(23):
        jobs.put(f"{number:03d}", filled)
        jobs.defer_oldest()
    assert jobs.names("deferred") == [f"{number:03d}" for number in range(3, 23)]
