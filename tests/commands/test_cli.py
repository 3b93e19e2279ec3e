import contextlib
import csv
import json
import os
import pty
import re
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from embviz_callback import Settings, evaluate_pairs
from embviz_callback.cli import greeting, main
from embviz_callback.commands.arguments import UsageError
from embviz_callback.commands.looking import tell_apart
from embviz_callback.drawing.figures import heatmap
from embviz_callback.drawing.wording import measured
from embviz_callback.encoding.checkpoints.loading import load_checkpoint
from embviz_callback.encoding.encode import encode_subset
from embviz_callback.evaluator import evaluator
from embviz_callback.pairs.formats.reading import read_pairs
from embviz_callback.pairs.subset import choose_subset
from embviz_callback.snapshot import take_snapshot
from tests.tiny_models import one_way

ROOT = Path(__file__).parents[2]
FIGURES = (
    "tsne_projection",
    "umap_projection",
    "similarity_heatmap",
    "similarity_distribution",
    "top_k_predictions",
)
TEXTS = {"metrics.json", "embeddings.npz", "errors.csv", "report.md", "report.html"}
FILES = {f"{name}.png" for name in FIGURES} | TEXTS
DISTRICTS = ("Gò Vấp", "Thủ Đức", "Bình Thạnh", "Quận 1", "Quận 10", "Cầu Giấy", "Đống Đa", "Tân Bình")
PNG = b"\x89PNG"


def _pairs() -> list[dict[str, Any]]:
    return [
        {
            "query": f"tim phong {district} {price}tr",
            "pos": f"Phòng trọ {district}, giá {price} triệu/tháng, gần chợ",
            "hard_neg": [{"text": f"Phòng trọ {district}, giá {price + 4} triệu/tháng, gần chợ", "type": "price"}],
            "id": f"{district}-{price}",
        }
        for district in DISTRICTS
        for price in (3, 5, 7)
    ]


def _save_head(path: Path, *, seed: int = 0, dim: int = 32, **config: Any) -> Path:
    weight = torch.randn(dim, 256, generator=torch.Generator().manual_seed(seed))
    content = {"model_state_dict": {"head.linear.weight": weight}, "epoch": 3, "loss": 0.5}
    torch.save(content | {"config": {"encoder": "char-ngrams-256"} | config}, path)
    return path


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("place")
    (folder / "val.json").write_text(json.dumps(_pairs(), ensure_ascii=False), encoding="utf-8")
    _save_head(folder / "best_model.pt")
    return folder


def _embviz(place: Path, *arguments: str, before: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    """A real process, in the folder of the pairs; `before` runs in it first."""
    program = f"import sys\n{before}\nfrom embviz_callback.cli import main\nsys.exit(main(sys.argv[1:]))"
    quiet = {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "PYTHONIOENCODING": "utf-8"}
    return subprocess.run(
        [sys.executable, "-c", program, *arguments],
        cwd=place,
        env=os.environ | quiet | environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def _here(place: Path, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    """In this process, which has torch already; for what needs no process of its own."""
    monkeypatch.chdir(place)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    return main(arguments)


BASIC = ("--checkpoint", "best_model.pt", "--data", "val.json")


@pytest.fixture(scope="module")
def finished(place: Path) -> subprocess.CompletedProcess[str]:
    (place / "full").mkdir()
    return _embviz(place, *BASIC, "--output", "full")


# Without a model: mistakes are answered at once, on one line


def _refused(capsys: pytest.CaptureFixture[str], arguments: Sequence[str]) -> str:
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    return captured.err


@pytest.mark.parametrize(
    ("arguments", "answer"),
    [
        (["--skip-umpa"], "unrecognised option --skip-umpa; did you mean --skip-umap?"),
        (["-checkpoint", "x"], "unrecognised option -checkpoint; did you mean --checkpoint?"),
        (["--max-sample=3"], "unrecognised option --max-sample; did you mean --max-samples?"),
        (["--zzz"], "unrecognised option --zzz; --help lists the options"),
        (["--data", "x"], "required: --checkpoint"),
        (["--checkpoint"], "argument --checkpoint: expected at least one argument"),
        (
            ["--checkpoint", "x", "--max-samples", "0"],
            "argument --max-samples: must be a whole number from 1 to 1000000, got '0'",
        ),
        (
            ["--checkpoint", "x", "--batch-size", "many"],
            "argument --batch-size: must be a whole number from 1 to 1000000, got 'many'",
        ),
        (
            ["--checkpoint", "x", "--fail-below-margin", "nan"],
            "argument --fail-below-margin: must be a number, got 'nan'",
        ),
        (
            ["--checkpoint", "x", "--pooling", "median"],
            "argument --pooling: invalid choice: 'median' (choose from "
            "mean, cls, max, lasttoken, weightedmean, mean_sqrt_len_tokens, pooler)",
        ),
        (["--checkpoint", "x", "x", "--data", "y"], "--checkpoint: x is given twice"),
    ],
)
def test_a_mistake_in_the_arguments_is_one_line(
    capsys: pytest.CaptureFixture[str], arguments: list[str], answer: str
) -> None:
    found = _refused(capsys, arguments)
    # Python 3.12 no longer quotes the choices.
    found = re.sub(r"(?<=[ (])'(\w+)'(?=[,)])", r"\1", found)
    assert found == f"embviz: {answer}\n"


def test_a_mistyped_command_is_answered_with_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert _refused(capsys, ["chekc"]) == "embviz: there is no command 'chekc'; did you mean 'check'?\n"


def test_without_arguments_it_says_what_it_can_do(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    assert capsys.readouterr().out == greeting()
    assert "embviz --checkpoint best_model.pt --data val.json" in greeting()


def test_help_and_mistakes_wait_for_nothing_that_they_do_not_need() -> None:
    program = (
        "import sys\nfrom embviz_callback.cli import COMMANDS, main\n"
        "for asked in (['--help'], ['--version'], *([name, '--help'] for name in COMMANDS)):\n"
        "    try: main(asked)\n    except SystemExit as done: assert done.code == 0\n"
        "assert main(['--fail-below-margin', 'nan']) == 2\n"
        "heavy = {'torch', 'transformers', 'matplotlib', 'sklearn'}\n"
        "print(*sorted({*heavy, 'numpy', 'scipy', 'jinja2', 'shtab'} & set(sys.modules)), file=sys.stderr)\n"
        "assert main(['--checkpoint', 'nowhere.pt', '--data', 'x']) == 2\n"
        "print(*sorted(heavy & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (
        0,
        "embviz: argument --fail-below-margin: must be a number, got 'nan'\n\n"
        f"embviz: nowhere.pt does not exist (working directory {Path.cwd()})\n\n",
    )
    assert "--fail-below-margin X" in done.stdout


def test_a_missing_checkpoint_is_answered_with_its_neighbours(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wrong = place / "bset_model.pt"
    assert _refused(capsys, ["--checkpoint", str(wrong), "--data", "x"]) == (
        f"embviz: {wrong} does not exist; in {place} there is best_model.pt\n"
    )


def test_data_are_required_for_a_model(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _refused(capsys, ["--checkpoint", str(place / "best_model.pt")]) == "embviz: required: --data\n"


def test_bad_data_are_told_by_record(place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "bad.json"
    path.write_text('[{"query": "a", "pos": null}]')
    found = _refused(capsys, ["--checkpoint", str(place / "best_model.pt"), "--data", str(path)])
    assert found.startswith(f"embviz: {path}[0].pos: expected")
    assert found.count("\n") == 1


def test_an_output_that_cannot_be_is_refused_before_the_work(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "taken"
    file.touch()
    arguments = ["--checkpoint", str(place / "best_model.pt"), "--data", str(place / "val.json"), "--output"]
    assert _refused(capsys, [*arguments, str(file)]) == f"embviz: --output {file} is a file; give a directory\n"
    assert _refused(capsys, [*arguments, str(file / "inside")]) == (
        f"embviz: --output {file / 'inside'} cannot be written to (Not a directory); give another directory\n"
    )


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device here")
def test_a_device_that_is_not_there_is_told_before_the_work(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--checkpoint", str(place / "best_model.pt"), "--data", str(place / "val.json"), "--output"]
    found = _refused(capsys, [*arguments, str(tmp_path / "out"), "--device", "cuda"])
    assert found == (
        f"embviz: --device cuda cannot be used here (torch {torch.__version__} finds no CUDA device); "
        "leave --device out to take what there is\n"
    )
    assert _refused(capsys, [*arguments, str(tmp_path / "out"), "--device", "gpu"]).startswith(
        "embviz: --device gpu cannot be used here ("
    )


def test_labels_are_the_shortest_ends_that_differ() -> None:
    assert tell_apart(["a.pt", "b.pt"]) == ["a.pt", "b.pt"]
    assert tell_apart(["runs/1/best.pt"]) == ["best.pt"]
    with pytest.raises(UsageError) as error:
        tell_apart(["a.pt", "./a.pt"])
    assert str(error.value) == "--checkpoint: ./a.pt is given twice"


# With a model


@pytest.mark.slow
def test_standard_output_ends_with_the_statistics(place: Path, finished: subprocess.CompletedProcess[str]) -> None:
    assert finished.returncode == 0, finished.stderr
    numbers = json.loads((place / "full" / "metrics.json").read_text(encoding="utf-8"))["metrics"]
    block = (
        "Similarity Statistics:\n"
        f"   Positive:   {numbers['positive_mean']:.4f} ± {numbers['positive_std']:.4f}\n"
        f"   Negative:   {numbers['negative_mean']:.4f} ± {numbers['negative_std']:.4f}\n"
        f"   Margin:     {numbers['margin']:.4f}\n"
        f"   Separation: {numbers['separation']:.2f}σ\n"
        f"   Rank-1:     {100 * numbers['rank1']:.1f}%\n"
    )
    assert finished.stdout.endswith("\n\n" + block)


@pytest.mark.slow
def test_a_pipe_sees_neither_bars_nor_warnings(finished: subprocess.CompletedProcess[str]) -> None:
    assert finished.stderr == "best_model.pt: loading\nbest_model.pt: encoding 64 texts on cpu\n"


@pytest.mark.slow
def test_every_promised_file_is_there_and_nothing_half_written(
    place: Path, finished: subprocess.CompletedProcess[str]
) -> None:
    assert {path.name for path in (place / "full").iterdir()} == FILES
    for name in FIGURES:
        assert (place / "full" / f"{name}.png").read_bytes().startswith(PNG)


@pytest.mark.slow
def test_metrics_json_says_where_the_figures_come_from(place: Path, finished: subprocess.CompletedProcess[str]) -> None:
    def refuse(name: str) -> None:
        raise AssertionError(name)

    content = json.loads((place / "full" / "metrics.json").read_text(encoding="utf-8"), parse_constant=refuse)
    pairs = read_pairs(place / "val.json")
    assert content["fingerprint"] == choose_subset(pairs.records, max_samples=500, seed=7).fingerprint
    assert set(content["bands"]) == {"margin", "separation"}
    assert {"margin", "separation", "rank1"} <= set(content["intervals"])
    assert content["checklist"][0]["name"] == "figures"
    assert content["ready"] is False
    origin = content["provenance"]
    assert origin["checkpoint_sha256"] == load_checkpoint(place / "best_model.pt").origin.sha256
    assert origin["data_sha256"] == pairs.sha256
    expected = {
        "checkpoint": "best_model.pt",
        "checkpoint_kind": "training checkpoint",
        "checkpoint_bytes": (place / "best_model.pt").stat().st_size,
        "checkpoint_loss": 0.5,
        "encoder": "char-ngrams-256",
        "device": "cpu",
        "precision": "float32",
    }
    assert {name: origin[name] for name in expected} == expected
    assert {"torch", "numpy", "embviz_callback"} <= set(origin["versions"])


@pytest.mark.slow
def test_embeddings_are_read_without_pickle_and_give_the_same_metrics(
    place: Path, finished: subprocess.CompletedProcess[str]
) -> None:
    with np.load(place / "full" / "embeddings.npz", allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    assert arrays["query"].dtype == arrays["document"].dtype == np.float32
    assert arrays["query"].shape == (24, 32)
    assert sorted(arrays["query_text"]) == sorted(pair["query"] for pair in _pairs())
    assert sorted(arrays["document_text"]) == sorted(pair["pos"] for pair in _pairs())
    metrics = evaluate_pairs(arrays["query"], arrays["document"], arrays["relevance"], draws=0)
    numbers = json.loads((place / "full" / "metrics.json").read_text(encoding="utf-8"))["metrics"]
    assert metrics.margin == pytest.approx(numbers["margin"], abs=1e-7)
    assert metrics.rank1 == numbers["rank1"]


@pytest.mark.slow
def test_the_runner_agrees_with_the_same_calls_in_python(
    place: Path, finished: subprocess.CompletedProcess[str]
) -> None:
    subset = choose_subset(read_pairs(place / "val.json").records, max_samples=500, seed=7)
    model = load_checkpoint(place / "best_model.pt").model
    embeddings = encode_subset(one_way(model.encode, module=model), subset, batch_size=Settings.batch_size)
    metrics = take_snapshot(label="x", subset=subset, embeddings=embeddings, settings=Settings()).metrics
    numbers = json.loads((place / "full" / "metrics.json").read_text(encoding="utf-8"))["metrics"]
    assert {name: numbers[name] for name in metrics} == pytest.approx(dict(metrics), abs=1e-6, nan_ok=True)


@pytest.mark.slow
def test_each_miss_stands_in_errors_csv(place: Path, finished: subprocess.CompletedProcess[str]) -> None:
    with (place / "full" / "errors.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    numbers = json.loads((place / "full" / "metrics.json").read_text(encoding="utf-8"))["metrics"]
    assert len(rows) == round(24 * (1 - numbers["rank1"]))
    assert list(rows[0]) == ["query", "expected", "rank", "first", "score_expected", "score_first", "id"]
    expected = {pair["query"]: pair["pos"] for pair in _pairs()}
    for row in rows:
        assert row["expected"] == expected[row["query"]]
        assert row["first"] != row["expected"]
        assert float(row["rank"]) > 1
        assert float(row["score_first"]) >= float(row["score_expected"])


@pytest.mark.slow
def test_json_has_standard_output_for_itself(
    place: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    assert _here(place, monkeypatch, *BASIC, "--json", "--skip-umap", "--skip-tsne", "--output", "json") == 0
    said = capfd.readouterr()
    assert said.out.count("\n") == 1
    content = json.loads(said.out)
    assert content["margin"] == json.loads((place / "json" / "metrics.json").read_text())["metrics"]["margin"]
    assert "Similarity Statistics:" in said.err
    assert {path.name for path in (place / "json").iterdir()} == FILES - {"tsne_projection.png", "umap_projection.png"}


@pytest.mark.slow
def test_a_margin_below_the_threshold_is_status_3_even_where_the_terminal_knows_no_sigma(place: Path) -> None:
    done = _embviz(
        place,
        *(*BASIC, "--skip-umap", "--skip-tsne", "--output", "strict", "--fail-below-margin", "0.99"),
        PYTHONIOENCODING="ascii",
    )
    margin = json.loads((place / "strict" / "metrics.json").read_text())["metrics"]["margin"]
    assert done.returncode == 3
    assert done.stderr.splitlines()[-1] == (
        f"embviz: margin {margin:.4f} (best_model.pt) is below --fail-below-margin 0.99"
    )
    assert "Positive:" in done.stdout


@pytest.mark.slow
def test_a_model_that_gives_no_direction_fails_the_threshold_too(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.save(
        {"model_state_dict": {"head.linear.weight": torch.zeros(4, 256)}, "config": {"encoder": "char-ngrams-256"}},
        place / "zero.pt",
    )
    given = ("--checkpoint", "zero.pt", "--data", "val.json", "--output", "zero")
    assert _here(place, monkeypatch, *given, "--fail-below-margin", "-1", "--json") == 3
    said = capsys.readouterr()
    assert json.loads(said.out)["margin"] is None
    assert said.err.splitlines()[-1] == "embviz: margin nan (zero.pt) is below --fail-below-margin -1"
    assert {path.name for path in (place / "zero").iterdir()} == FILES


@pytest.mark.slow
def test_several_checkpoints_are_compared_on_the_same_subset(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, dim in (("a", 2), ("b", 200)):
        (place / name).mkdir()
        _save_head(place / name / "model.pt", dim=dim)
    paths = ("--checkpoint", "a/model.pt", "b/model.pt", "--data", "val.json", "--output", "both")
    assert _here(place, monkeypatch, *paths, "--skip-umap", "--skip-tsne", "--json") == 0
    said = capsys.readouterr()
    content = json.loads(said.out)
    assert content["best"] == "b/model.pt"
    assert set(content["checkpoints"]) == {"a/model.pt", "b/model.pt"}
    assert content["checkpoints"]["a/model.pt"]["fingerprint"] == content["checkpoints"]["b/model.pt"]["fingerprint"]
    table = [line.split() for line in said.err.splitlines()]
    assert ["a/model.pt", "b/model.pt"] in table
    found = [measured(content["checkpoints"][label]["margin"], "margin") for label in ("a/model.pt", "b/model.pt")]
    assert any(row[:1] == ["margin"] and {*found} <= {*row} for row in table)
    page = (place / "both" / "comparison.md").read_text(encoding="utf-8")
    assert "**Best: b/model.pt.** Rule: highest MRR;" in page
    facts = json.loads((place / "both" / "comparison.json").read_text(encoding="utf-8"))
    assert facts["best"] == content["best"]
    assert {"comparison_metrics.png", "comparison.html"} <= {path.name for path in (place / "both").iterdir()}
    assert said.err.rstrip().endswith(f"Rank-1:     {100 * content['checkpoints']['b/model.pt']['rank1']:.1f}%")
    assert len([path for path in (place / "both").iterdir() if path.is_dir()]) == 2


@pytest.mark.slow
def test_saved_embeddings_are_drawn_again_without_model_or_data(
    place: Path, finished: subprocess.CompletedProcess[str]
) -> None:
    done = _embviz(
        place,
        *("--checkpoint", "full/embeddings.npz", "--output", "again", "--skip-umap"),
        before="sys.modules['torch'] = sys.modules['transformers'] = None",
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.rpartition("\n\n")[2] == finished.stdout.rpartition("\n\n")[2]


@pytest.mark.slow
def test_without_numba_three_figures_are_made_and_both_maps_say_why(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "numba", None)
    assert _here(place, monkeypatch, *BASIC, "--output", "no_numba") == 0
    assert {path.name for path in (place / "no_numba").iterdir()} == FILES
    assert "Traceback" not in capsys.readouterr().err
    checks = json.loads((place / "no_numba" / "metrics.json").read_text(encoding="utf-8"))["checklist"]
    reasons = [check["reason"] for check in checks if check["name"].startswith("clear_clusters_")]
    assert len(reasons) == 2
    assert all("pip install numba" in reason for reason in reasons)


@pytest.mark.slow
def test_what_is_computed_survives_the_death_of_a_map(place: Path) -> None:
    (place / "dead").mkdir()
    (place / "dead" / "umap_projection.png").write_bytes(b"of another model")
    kill = "import os, embviz_callback.delivery.showing as showing\nshowing.project = lambda *_, **__: os._exit(139)"
    done = _embviz(place, *BASIC, "--output", "dead", before=kill)
    assert done.returncode == 139
    assert {path.name for path in (place / "dead").iterdir()} == {"metrics.json", "embeddings.npz", "errors.csv"}
    assert json.loads((place / "dead" / "metrics.json").read_text(encoding="utf-8"))["ready"] is None


def test_a_figure_that_fails_costs_neither_the_others_nor_the_report(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(heatmap, "draw_heatmap", lambda snapshot: 1 / 0)
    assert _here(place, monkeypatch, *BASIC, "--output", "broken", "--skip-umap", "--skip-tsne") == 1
    captured = capsys.readouterr()
    assert captured.err.splitlines()[-1] == (
        "best_model.pt: similarity_heatmap failed (best_model.pt, rank 0): ZeroDivisionError: division by zero; "
        "skipped: this figure"
    )
    assert "Similarity Statistics:" in captured.out
    assert "ZeroDivisionError" in (place / "broken" / "report.md").read_text(encoding="utf-8")
    assert "Nothing is wrong in val.json (24 records);" in (place / "broken" / "report.md").read_text(encoding="utf-8")


def test_the_report_begins_with_what_is_wrong_with_the_data(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pairs = _pairs()
    pairs[1]["hard_neg"][0]["text"] = pairs[1]["pos"]
    (place / "odd.json").write_text(json.dumps(pairs, ensure_ascii=False), encoding="utf-8")
    data = ("--checkpoint", "best_model.pt", "--data", "odd.json")
    assert _here(place, monkeypatch, *data, "--output", "odd", "--skip-umap", "--skip-tsne") == 0
    report = (place / "odd" / "report.md").read_text(encoding="utf-8")
    row = "| **wrong** | 1 | hard negative equals a positive of its query | record 2: Phòng trọ Gò Vấp, giá 5 triệu"
    assert row in report[: report.index("## Model and data")]


def test_an_unexpected_error_is_one_line_and_a_traceback_on_request(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(evaluator, "take_snapshot", lambda **_: 1 / 0)
    assert _here(place, monkeypatch, *BASIC, "--output", "unexpected") == 1
    said = capsys.readouterr().err
    assert said.splitlines()[-1] == "embviz: ZeroDivisionError: division by zero (EMBVIZ_DEBUG=1 shows where)"
    assert "Traceback" not in said
    monkeypatch.setenv("EMBVIZ_DEBUG", "1")
    assert _here(place, monkeypatch, *BASIC, "--output", "unexpected") == 1
    assert "Traceback" in capsys.readouterr().err


def test_the_prompts_of_the_checkpoint_are_used_unless_the_user_gives_others(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _save_head(place / "prompted.pt", query_prompt="query: ", document_prompt="passage: ")
    arguments = ("--checkpoint", "prompted.pt", "--data", "val.json", "--output", "prompted")
    options = ("--skip-umap", "--skip-tsne", "--document-prompt", "")
    assert _here(place, monkeypatch, *arguments, *options) == 0
    settings = json.loads((place / "prompted" / "metrics.json").read_text(encoding="utf-8"))["settings"]
    assert (settings["query_prompt"], settings["document_prompt"]) == ("query: ", "")


def test_records_with_a_problem_are_left_out_on_request_and_counted(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (place / "odd.json").write_text(json.dumps([*_pairs(), {"query": "", "pos": "x"}]), encoding="utf-8")
    arguments = ("--checkpoint", "best_model.pt", "--data", "odd.json", "--output", "odd", "--skip-umap", "--skip-tsne")
    assert _here(place, monkeypatch, *arguments) == 2
    assert _here(place, monkeypatch, *arguments, "--skip-bad-records") == 0
    origin = json.loads((place / "odd" / "metrics.json").read_text(encoding="utf-8"))["provenance"]
    assert origin["skipped_records"] == 1


def test_a_broken_checkpoint_and_an_unknown_encoder_are_one_line_each(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (place / "empty.pt").touch()
    assert _here(place, monkeypatch, "--checkpoint", "empty.pt", "--data", "val.json", "--output", "never") == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.splitlines()[-1] == "embviz: empty.pt is empty (0 bytes); copy or download it again"
    torch.save({"head.linear.weight": torch.ones(8, 16)}, place / "head.pt")
    assert _here(place, monkeypatch, "--checkpoint", "head.pt", "--data", "val.json", "--output", "never") == 2
    said = capsys.readouterr().err
    assert said.splitlines()[-1].startswith(
        "embviz: head.pt names no encoder, so that it is read with the default encoder 'BAAI/bge-m3', which cannot be "
        "loaded ("
    )
    assert said.endswith("give a model directory, or a name that can be reached, with --encoder PATH\n")


@pytest.mark.slow
def test_a_person_at_a_terminal_sees_bars(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = pty.openpty()
    with ThreadPoolExecutor(1) as reader:
        seen = reader.submit(_all_of, ours)
        with os.fdopen(theirs, "w", encoding="utf-8") as terminal:
            monkeypatch.setattr(sys, "stderr", terminal)
            assert _here(place, monkeypatch, *BASIC, "--output", "watched", "--skip-umap") == 0
    assert b"\rencoding: " in seen.result()
    assert b"| 64/64 [" in seen.result()
    assert b"\rt-SNE: " in seen.result()


def _all_of(terminal: int) -> bytes:
    """What is written to the other end until that is closed."""
    seen = b""
    with contextlib.suppress(OSError):  # Linux's way of saying so
        while chunk := os.read(terminal, 4096):
            seen += chunk
    os.close(terminal)
    return seen
