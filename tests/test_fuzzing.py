"""Hostile files by the hundred: each is read or refused with one clear error, and none runs code or hangs.

``python -m benchmarks.fuzzing`` does the same with 10,000 of each kind.
"""

import shutil
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings

from tests.hostile_checkpoints import checkpoint_files, model_folders, read_or_refuse_checkpoint
from tests.hostile_pairs import form_folders, pair_files, read_or_refuse_form, read_or_refuse_pairs

pytestmark = pytest.mark.slow

QUICKLY = settings(
    max_examples=100,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),  # bombs are large, and the folder is one for all
)


@QUICKLY
@given(file=pair_files())
def test_hostile_pairs_are_read_or_refused_with_one_clear_error(tmp_path: Path, file: tuple[str, bytes]) -> None:
    name, content = file
    (tmp_path / name).write_bytes(content)
    read_or_refuse_pairs(tmp_path / name)
    read_or_refuse_pairs(tmp_path / name, skip_bad=True)


@QUICKLY
@given(folder=form_folders())
def test_hostile_data_of_every_form_are_read_or_refused_with_one_clear_error(
    tmp_path: Path, folder: tuple[str, dict[str, bytes]]
) -> None:
    name, files = folder
    shutil.rmtree(tmp_path / name, ignore_errors=True)
    for path, content in files.items():
        (tmp_path / name / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name / path).write_bytes(content)
    read_or_refuse_form(tmp_path / name)


@QUICKLY
@given(file=checkpoint_files())
def test_hostile_checkpoints_are_read_or_refused_with_one_clear_error_and_run_no_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: tuple[str, bytes]
) -> None:
    monkeypatch.chdir(tmp_path)  # where the canary would appear
    name, content = file
    (tmp_path / name).write_bytes(content)
    read_or_refuse_checkpoint(tmp_path / name)


@QUICKLY
@given(file=model_folders())
def test_hostile_model_directories_are_read_or_refused_with_one_clear_error_and_run_no_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: tuple[str, dict[str, bytes | str]]
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / file[0]
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for name, content in file[1].items():
        place = folder / name
        place.write_bytes(content) if isinstance(content, bytes) else place.symlink_to(content)
    read_or_refuse_checkpoint(folder)
