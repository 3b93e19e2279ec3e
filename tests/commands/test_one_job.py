"""Several checkpoints are one job, whichever command is given it; what ends one command ends the others."""

import json
import platform
from pathlib import Path

import pytest

import embviz_callback
from embviz_callback.cli import main
from tests.commands.test_cli import _pairs, _save_head

QUICK = ("--skip-umap", "--skip-tsne", "--bootstrap-draws", "100")
CHECKPOINTS = ("--checkpoint", "a/model.pt", "b/model.pt", "--data", "val.json", *QUICK)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "val.json").write_text(json.dumps(_pairs(), ensure_ascii=False), encoding="utf-8")
    for name, dim in (("a", 2), ("b", 200)):
        (tmp_path / name).mkdir()
        _save_head(tmp_path / name / "model.pt", dim=dim)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def files(folder: Path) -> dict[str, bytes]:
    return {f"{path.relative_to(folder)}": path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_two_commands_give_several_checkpoints_the_same_output_and_files(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*CHECKPOINTS, "--output", "out"]) == 0
    first, written = capsys.readouterr().out, files(place / "out")
    (place / "out").rename(place / "before")
    assert main(["compare", *CHECKPOINTS, "--output", "out"]) == 0
    assert capsys.readouterr().out == first
    assert files(place / "out") == written
    assert {"comparison.md", "comparison.html", "comparison.json"} <= {*written}
    for each in ("report.md", "metrics.json", "embeddings.npz", "errors.csv", "report.html"):
        assert len([name for name in written if name.endswith(f"/{each}")]) == 2


@pytest.mark.parametrize("command", [[], ["compare"]])
def test_a_margin_below_the_threshold_ends_both_with_3(
    place: Path, capsys: pytest.CaptureFixture[str], command: list[str]
) -> None:
    arguments = [*command, *CHECKPOINTS, "--output", "out"]
    assert main([*arguments, "--fail-below-margin", "0.99", "--json"]) == 3
    captured = capsys.readouterr()
    margins = {label: one["margin"] for label, one in json.loads(captured.out)["checkpoints"].items()}
    named = ", ".join(f"{margin:.4f} ({label})" for label, margin in margins.items())
    assert captured.err.splitlines()[-1] == f"embviz: margin {named} is below --fail-below-margin 0.99"
    assert main([*arguments, "--fail-below-margin", "-2"]) == 0


def test_the_provenance_of_an_analysis_has_versions_and_the_checkpoints_hash(place: Path) -> None:
    arguments = ["--checkpoint", "b/model.pt", "--data", "val.json", *QUICK, "--output", "why"]
    assert main(["analyse", *arguments]) == 0
    assert main([*arguments[:-1], "what"]) == 0
    why = json.loads((place / "why" / "analysis.json").read_text(encoding="utf-8"))["provenance"]
    what = json.loads((place / "what" / "metrics.json").read_text(encoding="utf-8"))["provenance"]
    assert why == what
    assert why["versions"]["embviz_callback"] == embviz_callback.__version__
    assert why["versions"]["python"] == platform.python_version()
    assert {"torch", "numpy"} <= set(why["versions"])


def test_a_mistyped_path_leaves_no_folder_behind(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--checkpoint", "c/model.pt", "--data", "val.json", "--output", "never"]) == 2
    assert capsys.readouterr().out == ""
    assert not (place / "never").exists()


def test_flags_reach_the_settings(place: Path) -> None:
    given = ("--heatmap-pairs", "7", "--bootstrap-draws", "123", "--skip-umap", "--skip-tsne")
    assert main(["--checkpoint", "b/model.pt", "--data", "val.json", *given, "--output", "out"]) == 0
    settings = json.loads((place / "out" / "metrics.json").read_text(encoding="utf-8"))["settings"]
    assert (settings["heatmap_pairs"], settings["bootstrap_draws"]) == (7, 123)
