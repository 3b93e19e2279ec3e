"""`embviz compare --run A --run B`: whole trainings, from what they keep."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from embviz_callback.cli import main
from embviz_callback.delivery.run.run_folder import RunFolder
from embviz_callback.snapshot import Provenance
from tests.small_runs import a_run, a_subset


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The first learns, the second and third learn nothing; a fourth is of other data."""
    folder, found = tmp_path_factory.mktemp("runs"), []
    for name, lr, noises, n in (
        ("good", 0.1, (3.0, 0.3), 40),
        ("bad", 0.2, (3.0, 6.0), 40),
        ("worse", 0.2, (4.0, 9.0), 40),
        ("other", 0.1, (1.0,), 30),
    ):
        for one in a_run(a_subset(n), noises):
            facts = Provenance({"hparams": {"lr": lr, "dim": 16, "name": name}})
            RunFolder(folder / name / "embviz").keep(replace(one, provenance=facts), f"{one.step:09d}")
        found += ["--run", str(folder / name)]
    return found


def test_the_best_run_leads_and_all_is_written(
    runs: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["compare", *runs[:6], "--output", f"{tmp_path}"]) == 0
    told = capsys.readouterr().out.splitlines()
    assert told[0].split("  ")[0] == ""
    assert [line.split()[0] for line in told[1:4]] == ["good", "bad", "worse"]
    assert [line.split()[-3:] for line in told[1:4]] == [
        ["leads", "0.1", "good"],
        ["behind", "0.2", "bad"],
        ["behind", "0.2", "worse"],
    ]
    assert "behind it beyond chance, corrected for all pairs: bad, worse" in told
    facts = json.loads((tmp_path / "runs.json").read_text(encoding="utf-8"))
    assert facts["leader"] == "good"
    assert facts["hparams"] == {
        "lr": {"good": 0.1, "bad": 0.2, "worse": 0.2},
        "name": {"good": "good", "bad": "bad", "worse": "worse"},
    }
    first = facts["entries"][0]
    assert first["value"] == facts["evaluations"]["good"]["metrics"]["mrr"]
    assert facts["evaluations"]["good"]["label"] == "good, epoch 1"  # its last is its best
    report = (tmp_path / "runs.md").read_text(encoding="utf-8")
    assert f"| good | epoch 1 | {first['value']:.3f} |" in report
    page = (tmp_path / "runs.html").read_text(encoding="utf-8")
    assert '"heads":["","stands by","MRR"' in page


def test_the_gate_of_one_run_asks_its_best_unless_epochs_are_named(
    runs: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = [
        "compare",
        *runs[:2],
        "--output",
        f"{tmp_path}",
        "--skip-tsne",
        "--skip-umap",
        "--fail-below-margin",
        "0.5",
    ]
    assert main(given) == 0
    assert main([*given, "--epochs", "0", "1"]) == 3
    assert "(epoch 0) is below --fail-below-margin 0.5\n" in capsys.readouterr().err


def test_power_looks_at_the_last_two_evaluations_of_a_run(runs: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["power", *runs[2:4], "--difference", "0.05"]) == 0
    assert capsys.readouterr().out.startswith("5 points of rank-1 at a discordance of ")
    assert main(["power", *runs[6:], "--difference", "0.05"]) == 2  # it keeps but one
    assert capsys.readouterr().err == (
        f"embviz power: --run: expected two evaluations of one subset in {runs[7]}, found 1\n"
    )


def test_runs_of_one_value_are_one_setting_and_a_value_picks_runs(
    runs: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["compare", *runs[:6], "--group", "lr", "--output", f"{tmp_path}", "--json"]) == 0
    entries = json.loads(capsys.readouterr().out)["entries"]
    assert [(one["label"], one["runs"]) for one in entries] == [("lr=0.1", ["good"]), ("lr=0.2", ["bad", "worse"])]
    assert main(["compare", *runs[:6], "--group", "name=bad,worse", "--output", f"{tmp_path}", "--json"]) == 0
    entries = json.loads(capsys.readouterr().out)["entries"]
    assert {one["label"] for one in entries} == {"name=bad", "name=worse"}


def test_mistakes_are_answered_in_one_line(runs: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    for given, said in (
        ([*runs[:2], "--group", "lr"], "--group puts runs together; give several --run"),
        ([*runs[:2], *runs[:2]], f"--run: {runs[1]} is given twice"),
        (
            [*runs[:4], "--epochs", "1"],
            "--epochs has no use with several --run, each stands by its best evaluation; leave it out",
        ),
        ([*runs[:4], "--metric", "margn"], "argument --metric: invalid choice: 'margn'"),
        (
            [*runs[:4], "--group", "lrr"],
            "--group: expected a hyperparameter of these runs, found 'lrr'. Fix: there are dim, lr, name",
        ),
        (
            [*runs[:4], "--group", "dim"],
            "--group: expected two settings or more, found dim=16. Fix: name more values, or give more --run",
        ),
        ([*runs[:4], "--data", "x"], "--data has no use with --run, whose evaluations hold their pairs; leave it out"),
        ([*runs[:2], *runs[6:]], "only runs on one subset can be compared: good is of "),
    ):
        assert main(["compare", *given]) == 2
        heard = capsys.readouterr()
        assert heard.out == ""
        assert heard.err.startswith(f"embviz compare: {said}")
        assert heard.err.count("\n") == 1
