"""One folder, one training at a time."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from embviz_callback.delivery.places import Places
from embviz_callback.delivery.run.claim import claim_folder

HOLD = """
import pathlib, sys, time
from embviz_callback.delivery.run.claim import claim_folder
print(claim_folder(pathlib.Path(sys.argv[1])).folder.name, flush=True)
time.sleep(100)
"""


@contextmanager
def another(wanted: Path) -> Iterator[str]:
    """A process that has claimed a folder; killed at the end."""
    process = subprocess.Popen([sys.executable, "-c", HOLD, f"{wanted}"], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield process.stdout.readline().strip()
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        process.stdout.close()


def test_a_training_gets_the_folder_it_asks_for_and_gives_it_back(tmp_path: Path) -> None:
    claim = claim_folder(tmp_path / "embviz")
    assert claim.folder == tmp_path / "embviz"
    with another(tmp_path / "embviz") as second, another(tmp_path / "embviz") as third:
        assert (second, third) == ("embviz-2", "embviz-3")
    claim.release()
    claim.release()
    with another(tmp_path / "embviz") as name:
        assert name == "embviz"
        claim = claim_folder(tmp_path / "embviz")
        assert claim.folder.name == "embviz-2"
        claim.release()
    claim = claim_folder(tmp_path / "embviz")  # the other was killed
    assert claim.folder.name == "embviz"
    claim.release()


def test_a_training_that_goes_on_gets_back_the_folder_it_had(tmp_path: Path) -> None:
    for name, run_id in (("embviz", "one"), ("embviz-2", "two"), ("embviz-3", "three")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "run.json").write_text(f'{{"run_id": "{run_id}"}}')
    for run_id, name in (("two", "embviz-2"), ("one", "embviz"), ("moved", "embviz")):
        claim = claim_folder(tmp_path / "embviz", run_id)
        assert claim.folder.name == name
        claim.release()


def test_trainings_of_one_process_may_share_a_folder(tmp_path: Path) -> None:
    first, second = claim_folder(tmp_path / "embviz"), claim_folder(tmp_path / "embviz")
    assert first.folder == second.folder
    first.release()
    with another(tmp_path / "embviz") as name:
        assert name == "embviz-2"
    second.release()
    with another(tmp_path / "embviz") as name:
        assert name == "embviz"


def test_a_place_that_cannot_be_written_to_is_no_reason_to_refuse(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert claim_folder(tmp_path / "file" / "embviz").folder == tmp_path / "file" / "embviz"
    long = tmp_path / ("x" * 300)
    assert claim_folder(long).folder == long


@pytest.mark.parametrize(("events", "moved"), [("embviz", "embviz-2"), ("logs", "logs"), (None, None)])
def test_events_that_lay_in_the_folder_go_along(events: str | None, moved: str | None) -> None:
    places = Places(Path("embviz"), None if events is None else Path(events), "embviz_x", 0)
    expected = Places(Path("embviz-2"), None if moved is None else Path(moved), "embviz_x", 0)
    assert places.moved_to(Path("embviz-2")) == expected
