"""A notebook's way to the same evaluation: its numbers are those of the commands, its pictures wait to be asked for."""

import json
import re
from dataclasses import replace
from html import unescape
from pathlib import Path
from typing import Any

import pytest
import torch

from embviz_callback import Comparison, Result, compare, evaluate
from embviz_callback.analysis.metrics.pictures import FIGURES
from embviz_callback.cli import main
from embviz_callback.encoding.checkpoints.loading import load_checkpoint
from tests.small_runs import a_run, a_subset

PAIRS = [
    {"query": f"tìm phòng quận {row}", "pos": f"phòng trọ quận {row} <b>giá</b> {row + 1} tr"} for row in range(24)
]
QUICK: dict[str, Any] = {"skip_tsne": True, "skip_umap": True, "bootstrap_draws": 100}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("place")
    (folder / "val.json").write_text(json.dumps(PAIRS), encoding="utf-8")
    for seed, name in enumerate("ab"):
        weight = torch.randn(16, 256, generator=torch.Generator().manual_seed(seed))
        config = {"encoder": "char-ngrams-256"}
        torch.save({"model_state_dict": {"head.linear.weight": weight}, "config": config}, folder / f"{name}.pt")
    return folder


@pytest.fixture(scope="module")
def result(place: Path) -> Result:
    return evaluate(place / "a.pt", place / "val.json", **QUICK)


@pytest.mark.slow
def test_a_result_is_what_the_command_finds_and_writes(
    result: Result, place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = [
        "--checkpoint",
        f"{place / 'a.pt'}",
        "--data",
        f"{place / 'val.json'}",
        "--output",
        f"{tmp_path}",
        "--json",
    ]
    assert main([*given, "--skip-tsne", "--skip-umap", "--bootstrap-draws", "100"]) == 0
    told = json.loads(capsys.readouterr().out)
    own = result.metrics.as_dict()
    assert {name: told[name] for name in own["metrics"]} == own["metrics"]
    assert told["intervals"] == own["intervals"]
    assert result.report == (tmp_path / "report.md").read_text(encoding="utf-8")
    assert result.page() == (tmp_path / "report.html").read_text(encoding="utf-8")
    assert result.figures["similarity_heatmap"].png == (tmp_path / "similarity_heatmap.png").read_bytes()


def test_a_model_in_memory_gives_the_numbers_of_its_checkpoint(result: Result, place: Path) -> None:
    held = evaluate(load_checkpoint(f"{place / 'a.pt'}").model, (pair for pair in PAIRS), **QUICK)
    assert held.metrics.as_dict() == result.metrics.as_dict()
    assert held.snapshot.label == "BiEncoder"


def test_numbers_are_shown_and_text_of_the_data_stays_text(result: Result) -> None:
    shown = result._repr_html_()
    cells = [unescape(cell) for cell in re.findall("<td>(.*?)</td>", shown)]
    assert cells[cells.index("rank-1") + 1] == f"{100 * result.metrics.rank1:.1f} %"
    assert result.snapshot.subset.fingerprint in shown
    snapshot = replace(a_run(a_subset(), (0.5,), maps=False)[0], label="<script>alert()</script>")
    assert "&lt;script&gt;" in Result(snapshot)._repr_html_()
    assert "<script>" not in Result(snapshot)._repr_html_()


def test_a_figure_is_drawn_when_it_is_asked_for_and_once(monkeypatch: pytest.MonkeyPatch) -> None:
    snapshot = a_run(a_subset(), (0.5,), maps=False)[0]
    result, asked = Result(snapshot), []

    def maps_of(given: Any, guard: Any) -> dict[str, Any]:
        asked.append((given.settings.skip_tsne, given.settings.skip_umap))
        return dict(a_run(a_subset(), (0.5,))[0].maps)

    monkeypatch.setattr("embviz_callback.notebook.evaluating.maps_of", maps_of)
    assert list(result.figures) == list(FIGURES)
    assert asked == []
    assert result.figures["tsne_projection"] is result.figures["tsne_projection"]
    assert result.figures["tsne_projection"]._repr_png_().startswith(b"\x89PNG")
    assert asked == [(False, True)]  # UMAP is not imported for it


def test_several_models_are_compared_under_names_that_tell_them_apart(result: Result, place: Path) -> None:
    found = compare([result, place / "b.pt"], place / "val.json", **QUICK)
    assert isinstance(found, Comparison)
    assert list(found.metrics) == ["a.pt", "b.pt"]
    assert found.best in found.metrics
    assert f"best: {found.best}" in found._repr_html_()
    assert found.report.startswith("# ")
    assert found.figures["comparison_metrics"].png.startswith(b"\x89PNG")
    named = compare({"old": result, "new": result})
    assert list(named.metrics) == ["old", "new"]
    assert list(compare([result, result]).metrics) == ["a.pt", "a.pt (2)"]


def test_what_cannot_be_used_is_named_by_the_argument(place: Path) -> None:
    for given, options, said in (
        (torch.nn.Identity(), {}, "data must be a path or a list of pairs, got None"),
        (torch.nn.Identity(), {"max_length": 8}, "max_length can be said of a checkpoint, not of a model in memory"),
        (place / "a.pt", {"encode": len}, "encode is for a model in memory, a checkpoint is served as it says"),
    ):
        with pytest.raises(ValueError) as error:
            evaluate(given, **options)
        assert str(error.value) == said
    with pytest.raises(ValueError) as error:
        compare([])
    assert str(error.value) == "a comparison needs at least two evaluations, got 0"
