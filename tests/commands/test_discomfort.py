"""Commands where something that is always there is not: streams, a path that a disk can hold, docstrings."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from embviz_callback.cli import main

LONG = "x" * 300
DEEP = "/".join(["a"] * 2_500)
PAIRS = '[{"query": "a room", "pos": "a quiet room"}]'


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "pairs.json").write_text(PAIRS)
    (tmp_path / "head.pt").write_bytes(b"")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_command_without_standard_output_says_so_and_does_its_work(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    assert main(["convert", "pairs.json", "out.jsonl", "--to", "native"]) == 0
    sys.stdout.close()
    assert (place / "out.jsonl").exists()
    assert capsys.readouterr().err.splitlines() == [
        "embviz: standard output is closed, so that what belongs there is lost",
        "pairs.json: only 1 record: too few for maps and intervals",
    ]


def test_a_command_without_any_stream_does_its_work(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("stdin", "stdout", "stderr"):
        monkeypatch.setattr(sys, name, None)
    assert main(["convert", "pairs.json", "out.jsonl", "--to", "native"]) == 0
    assert main(["check", "--data", "nowhere.json"]) == 2
    for name in ("stdin", "stdout", "stderr"):
        getattr(sys, name).close()
    assert (place / "out.jsonl").exists()


@pytest.mark.parametrize("arguments", [["--help"], [], ["check", "--data", "pairs.json"]])
def test_a_reader_that_has_left_gets_no_complaint(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    reads, writes = os.pipe()
    os.close(reads)
    # As Python opens it: what is written waits for a flush, which is where it fails.
    with os.fdopen(writes, "w", encoding="utf-8") as pipe:
        monkeypatch.setattr(sys, "stdout", pipe)
        assert main(arguments) == 1
        assert sys.stdout is None
        os.dup2(os.open(os.devnull, os.O_WRONLY), writes)  # what waits yet has to go somewhere
    assert capsys.readouterr().err == ""


CUT = f"{LONG[:99]}…"
DEEP_CUT = f"{DEEP[:99]}…"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ["--checkpoint", "head.pt", "--data", "pairs.json", "--output", LONG],
            f"embviz: --output {CUT} cannot be written to (File name too long); give another directory\n",
        ),
        (
            ["--checkpoint", "head.pt", "--data", "pairs.json", "--output", DEEP],
            f"embviz: --output {DEEP_CUT} cannot be written to (File name too long); give another directory\n",
        ),
        (
            ["--checkpoint", LONG, "--data", "pairs.json"],
            f"embviz: {CUT}: File name too long. Fix: check the path and the disk\n",
        ),
        (
            ["check", "--data", LONG],
            f"embviz check: {LONG}: cannot be read (File name too long). Fix: check the path\n",
        ),
        (
            ["check", "--data", "pairs.json", "--ignore", "\x1b[2J"],
            "embviz check: --ignore: there is no finding '\\x1b[2J'; there are ",
        ),
        (["check", "--\x1b[2J"], "embviz check: unrecognised option --\\x1b[2J; --help lists the options\n"),
        (["check", "--data", "a", "--batch-size", "\x1b[2J"], "embviz check: argument --batch-size: must be "),
        (["\x1b[2J"], "embviz: there is no command '\\x1b[2J'; there are "),
    ],
)
def test_what_a_command_line_holds_is_answered_in_one_line_that_no_terminal_obeys(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith(said)
    assert error.endswith("\n")
    assert error[:-1].isprintable()


def test_a_python_that_does_not_know_its_own_program_is_told_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "executable", None)
    assert main(["selfcheck", "model:factory", "--data", "pairs.json"]) == 2
    assert capsys.readouterr().err.splitlines()[-1] == (
        "embviz selfcheck: a fit needs a process of its own, and this Python does not know its own program: "
        "sys.executable is empty"
    )


@pytest.mark.slow
def test_without_docstrings_and_assertions_a_command_does_its_work(place: Path) -> None:
    root = Path(__file__).parents[2]
    command = [sys.executable, "-OO", "-m", "embviz_callback.cli", "check", "--data", "pairs.json", "--fix", "out.json"]
    done = subprocess.run(
        command, check=False, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": f"{root}"}
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert (place / "out.json").exists()
    help_text = subprocess.run(
        [*command[:4], "--help"],
        check=False,
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": f"{root}"},
    )
    assert (help_text.returncode, help_text.stderr) == (0, "")
    assert "--checkpoint" in help_text.stdout
