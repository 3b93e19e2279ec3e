"""`embviz selfcheck` tells on a user's own training whether the callback changes it."""

import io
import json
import subprocess
import sys
import warnings
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import pytest

from embviz_callback.cli import main
from embviz_callback.commands import selfcheck_fit
from tests.tiny_training import pairs

pytestmark = pytest.mark.slow

FACTORIES = """
import os
import torch
from tests.tiny_training import TinyBiEncoder


class Changing(TinyBiEncoder):
    def encode(self, texts):
        with torch.no_grad():
            self.head.weight += 0.01
        return super().encode(texts)


class Forgetful(TinyBiEncoder):
    def encode(self, texts):
        torch.rand(3)
        self.eval()
        return super().encode(texts)


class Restless(TinyBiEncoder):
    def training_step(self, batch, batch_idx):
        return super().training_step(batch, batch_idx) * (1 + os.urandom(1)[0])


def changing():
    return Changing()


def forgetful():
    print("a factory may print")
    module = Forgetful(dropout=0.3)
    return module, module.train_dataloader()


def restless():
    return Restless()


def raising():
    raise KeyError("train.json")
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "mine.py").write_text(FACTORIES, encoding="utf-8")
    (tmp_path / "val.json").write_text(json.dumps(pairs()), encoding="utf-8")
    return tmp_path


def selfcheck(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    root = Path(__file__).parents[2]
    command = [sys.executable, "-m", "embviz_callback.cli", "selfcheck", *arguments, "--accelerator", "cpu"]
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(folder), "PYTHONPATH": str(root)}
    return subprocess.run(command, capture_output=True, text=True, cwd=folder, env=environment, check=False)


@pytest.fixture
def fits_here(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each fit in this process, which has imported Lightning already; for what needs no process of its own."""

    def run(command: Sequence[str], **_: Any) -> subprocess.CompletedProcess[str]:
        monkeypatch.setattr(sys, "argv", list(command[2:]))
        with warnings.catch_warnings(action="ignore"), redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            return subprocess.CompletedProcess(command, selfcheck_fit.main(), "", "")

    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.setenv("PL_GLOBAL_SEED", "7")
    monkeypatch.setenv("PL_SEED_WORKERS", "1")
    monkeypatch.delitem(sys.modules, "mine", raising=False)
    monkeypatch.chdir(folder)


def test_a_training_with_dropout_and_shuffling_is_the_same_although_encode_draws_and_switches_modes(
    folder: Path,
) -> None:
    done = selfcheck(folder, "mine:forgetful", "--data", "val.json", "--steps", "3")
    assert (done.returncode, done.stderr) == (0, "")
    header, *rows, blank, sentence = done.stdout.splitlines()
    assert header.split() == ["group", "with", "and", "without"]
    assert {row[:24].strip() for row in rows} >= {"weights", "optimiser", "random streams", "batches", "losses"}
    assert {row[24:] for row in rows} == {"same"}
    assert blank == ""
    assert sentence == "The callback changes nothing in 6 steps with 3 evaluations: every hash is the same."
    assert sorted(path.name for path in folder.iterdir() if path.suffix in (".py", ".json")) == ["mine.py", "val.json"]
    assert not (folder / "lightning_logs").exists()


@pytest.mark.usefixtures("fits_here")
def test_an_encode_that_changes_a_weight_is_found_and_the_weight_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["selfcheck", "mine.py:changing", "--data", "val.json", "--json", "--accelerator", "cpu"]) == 3
    said = capsys.readouterr()
    assert said.err == ""
    told = json.loads(said.out)
    assert "head.weight" in told["differing"]["weights"]
    assert told["differing"]["random streams"] == told["differing"]["batches"] == []
    assert told["sentence"].startswith("The training is not the same with the callback, in 8 steps with 3 evaluations")
    assert "weights" in told["sentence"]


@pytest.mark.usefixtures("fits_here")
def test_a_training_that_differs_from_itself_proves_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["selfcheck", "mine.py:restless", "--data", "val.json", "--accelerator", "cpu"]) == 1
    said = capsys.readouterr()
    assert said.err == ""
    assert "losses                  different: step 1, step 2, step 3 and 5 more\n" in said.out
    assert said.out.splitlines()[-1].startswith(
        "Two fits without the callback already differ: this training is not deterministic by itself, so nothing can be"
    )


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("mine.py", "--data", "val.json"), "FACTORY must be path/file.py:function or module:function, got 'mine.py'"),
        (("yours.py:forgetful", "--data", "val.json"), "yours.py: there is no such file. Fix: check the path"),
        (
            ("yours:build", "--data", "val.json"),
            "yours:build: importing yours failed: ModuleNotFoundError: No module named 'yours'. Fix: check the name",
        ),
        (("mine.py:raising", "--data", "val.json"), "mine.py:raising: the factory failed: KeyError: 'train.json'"),
        (
            ("mine.py:forgetful", "--data", "val.json", "--step", "3"),
            "unrecognised option --step; did you mean --steps?",
        ),
        (("mine.py:forgetful",), "required: --data"),
    ],
    ids=str,
)
@pytest.mark.usefixtures("fits_here")
def test_bad_arguments_are_answered_in_one_line(
    arguments: tuple[str, ...], expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["selfcheck", *arguments]) == 2
    assert capsys.readouterr() == ("", f"embviz selfcheck: {expected}\n")


def test_missing_data_is_answered_in_one_line(folder: Path) -> None:
    done = selfcheck(folder, "mine.py:forgetful", "--data", "none.json")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("embviz selfcheck: none.json")
    assert done.stderr.count("\n") == 1
