"""`embviz cache` lists, measures and clears; the runner fills it and can be told not to."""

from pathlib import Path

import pytest
import torch

from embviz_callback.cli import main
from embviz_callback.encoding.cache.feature_store import FeatureStore


@pytest.fixture
def root(tmp_path: Path) -> Path:
    store = FeatureStore(tmp_path / "cache" / "abc")
    store.add(["phòng trọ"], torch.ones(1, 250_000))
    store.flush()
    return tmp_path / "cache"


def test_the_list_names_every_store_and_the_sum(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cache", "--dir", str(root)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].split()[:2] == ["abc", "1.0"]
    assert lines[-1] == f"1.0 MB in {root}"


def test_clearing_removes_everything(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cache", "clear", "--dir", str(root)]) == 0
    assert capsys.readouterr().out == f"removed 1 from {root}\n"
    assert list(root.iterdir()) == []


def test_a_cache_that_was_never_used_is_empty(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cache", "size", "--dir", str(tmp_path / "none")]) == 0
    assert capsys.readouterr().out == f"0.0 MB in {tmp_path / 'none'}\n"


def test_an_unknown_action_is_refused_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cache", "wipe"]) == 2
    assert capsys.readouterr().err.startswith("embviz cache: argument action: invalid choice: 'wipe'")


def test_a_mistyped_option_of_compare_is_answered_with_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", "--refrence", "2"]) == 2
    assert capsys.readouterr().err == "embviz compare: unrecognised option --refrence; did you mean --reference?\n"
