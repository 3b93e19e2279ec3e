"""`embviz analyse` as a user meets it, and what its page and figures show."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import planted
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from embviz_callback.analysis.why.analysis import Analysis, Questions, analyse
from embviz_callback.cli import main
from embviz_callback.delivery.results.result_files import embeddings_npz, read_embeddings
from embviz_callback.drawing.figures.png import to_png
from embviz_callback.drawing.figures.why.analysis_figures import analysis_figures
from embviz_callback.drawing.figures.why.group_figures import draw_groups, draw_map_by
from embviz_callback.drawing.reports.analysis_report import analysis_report
from embviz_callback.pairs.check.checkup import check
from embviz_callback.pairs.check.raw import RawPairs
from embviz_callback.pairs.formats.reading import read_pairs
from embviz_callback.pairs.subset import choose_subset
from embviz_callback.pairs.weight_rule import default_rule
from embviz_callback.settings import Settings
from embviz_callback.snapshot import Snapshot, take_snapshot


def _snapshot(n: int = 60, noise: float = 0.5) -> Snapshot:
    one = planted.evaluate(planted.records(n, 6), planted.LinearEncoder(planted.TRUE_WEIGHTS, noise=noise))
    return take_snapshot(
        label="planted", subset=one.subset, embeddings=one.embeddings, settings=Settings(bootstrap_draws=100)
    )


@pytest.fixture(scope="module")
def evaluated() -> tuple[Snapshot, Analysis]:
    snapshot = _snapshot()
    return snapshot, analyse([snapshot], Questions(draws=100, rule=default_rule()))


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("saved") / "embeddings.npz"
    path.write_bytes(embeddings_npz(_snapshot(noise=0.05)))
    return path


def test_saved_embeddings_are_enough(saved: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["analyse", "--checkpoint", str(saved), "--skip-tsne", "--skip-umap", "--output", str(tmp_path)]) == 0
    names = {path.name for path in tmp_path.iterdir()}
    assert {"analysis.json", "analysis.md", "groups_price.png", "importance.png", "thresholds.png"} <= names
    assert not [name for name in names if name.startswith(("tsne", "umap", "."))]
    plain = json.loads((tmp_path / "analysis.json").read_text(encoding="utf-8"))
    assert plain["importance"]["spearman_with_weights"] == pytest.approx(1.0)
    out = capsys.readouterr().out.splitlines()
    assert f"moves the similarity most: {', '.join(planted.FEATURES)}" in out
    assert out[-1].endswith(f"see {tmp_path / 'analysis.md'}")


def test_every_picture_of_the_page_is_there(saved: Path, tmp_path: Path) -> None:
    given = ["--checkpoint", str(saved), "--skip-umap", "--group-by", "price", "--output", str(tmp_path)]
    assert main(["analyse", *given]) == 0
    page = (tmp_path / "analysis.md").read_text(encoding="utf-8")
    pictures = {part.partition(")")[0] for part in page.split("](")[1:]}
    assert "tsne_by_price.png" in pictures
    assert pictures == {path.name for path in tmp_path.glob("*.png")}


def test_the_figures_are_images_in_tensorboard(saved: Path, tmp_path: Path) -> None:
    output, events = tmp_path / "out", tmp_path / "events"
    arguments = ["--checkpoint", str(saved), "--skip-tsne", "--skip-umap", "--output", str(output)]
    assert main(["analyse", *arguments, "--tensorboard", str(events)]) == 0
    read = EventAccumulator(str(events), size_guidance={"images": 0})
    read.Reload()
    pictures = {path.stem: path.read_bytes() for path in output.glob("*.png")}
    assert set(read.Tags()["images"]) == {f"embviz/analysis_{name}" for name in pictures}
    for name, picture in pictures.items():
        (image,) = read.Images(f"embviz/analysis_{name}")
        assert (image.step, image.encoded_image_string) == (0, picture)


def test_a_tensorboard_folder_that_cannot_be_is_refused_before_the_work(
    saved: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("x")
    arguments = ["--checkpoint", str(saved), "--output", str(tmp_path / "out")]
    assert main(["analyse", *arguments, "--tensorboard", str(tmp_path / "file")]) == 2
    assert capsys.readouterr().err == (
        f"embviz analyse: --tensorboard {tmp_path / 'file'} is a file; give a directory\n"
    )
    assert not (tmp_path / "out").exists()


def test_json_goes_to_standard_output_alone(saved: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--checkpoint", str(saved), "--skip-tsne", "--skip-umap", "--output", str(tmp_path), "--json"]
    assert main(["analyse", *arguments, "--group-by", "area", "--fail-below-margin", "0.99"]) == 3
    plain = json.loads(capsys.readouterr().out)
    assert [one["column"] for one in plain["groups"]] == ["area"]


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        (["--group-by", "colour"], "no query has a column 'colour'; there are location, price, area, amenity, "
         "furniture, floor, euro"),
        (["--edits", "json:loads"], "--edits needs a model to encode with; give a checkpoint instead of saved "
         "embeddings"),
        (["--features", "x"], "expected module:function, such as pair_dataset:extract_features, got 'x'"),
    ],
)  # fmt: skip
def test_bad_input_ends_with_2_and_one_line(
    extra: list[str], message: str, saved: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--checkpoint", str(saved), "--skip-tsne", "--skip-umap", "--output", str(tmp_path)]
    assert main(["analyse", *arguments, *extra]) == 2
    assert capsys.readouterr().err == f"embviz analyse: {message}\n"


def test_a_checkpoint_needs_data(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save({}, tmp_path / "best_model.pt")
    assert main(["analyse", "--checkpoint", str(tmp_path / "best_model.pt"), "--output", str(tmp_path)]) == 2
    assert capsys.readouterr().err == "embviz analyse: required: --data\n"


def test_saved_embeddings_of_other_data_are_refused(
    saved: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = tmp_path / "val.json"
    data.write_text(json.dumps(planted.records(20, 9)), encoding="utf-8")
    assert main(["analyse", "--checkpoint", str(saved), "--data", str(data), "--output", str(tmp_path)]) == 2
    was = read_embeddings(saved)[0].fingerprint
    given = choose_subset(read_pairs(data).records, max_samples=500, seed=7).fingerprint
    assert capsys.readouterr().err.splitlines()[-1] == (
        f"embviz analyse: {saved} was made on subset {was}, --data gives {given}: give the same --data, --max-samples, "
        "--seed and --corpus, or leave --data out"
    )


def test_a_device_that_is_not_there_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = tmp_path / "val.json"
    data.write_text(json.dumps(planted.records(40, 3)), encoding="utf-8")
    torch.save({"head.linear.weight": torch.eye(32, 512)}, tmp_path / "head.pt")
    arguments = ["--checkpoint", f"{tmp_path / 'head.pt'}", "--data", f"{data}", "--encoder", "char-ngrams-512"]
    assert main(["analyse", *arguments, "--device", "nowhere", "--output", f"{tmp_path / 'out'}"]) == 2
    said = capsys.readouterr().err.splitlines()
    assert said[-1].startswith("embviz analyse: --device nowhere cannot be used here (")


@pytest.mark.slow
def test_a_checkpoint_is_encoded_and_its_edits_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my_edits.py").write_text(
        "def change(text):\n    return [(text.replace('price=1', 'price=4'), 'price')] if 'price=1' in text else []\n",
        encoding="utf-8",
    )
    data = tmp_path / "val.json"
    data.write_text(json.dumps(planted.records(40, 3)), encoding="utf-8")
    torch.save({"head.linear.weight": torch.eye(32, 512)}, tmp_path / "head.pt")
    arguments = ["--checkpoint", "head.pt", "--data", str(data), "--encoder", "char-ngrams-512", "--device", "cpu"]
    arguments += ["--edits", "my_edits:change", "--train", str(data), "--skip-tsne", "--skip-umap", "--output", "out"]
    assert main(["analyse", *arguments]) == 0
    plain = json.loads((tmp_path / "out" / "analysis.json").read_text(encoding="utf-8"))
    assert [effect["feature"] for effect in plain["controlled_edits"]["effects"]] == ["price"]
    assert {finding["kind"] for finding in plain["data"]["findings"]} >= {"leaked_pair", "no_weight"}
    assert "## The data" in (tmp_path / "out" / "analysis.md").read_text(encoding="utf-8")


def test_every_figure_can_be_drawn(evaluated: tuple[Snapshot, Analysis]) -> None:
    figures = analysis_figures(*evaluated)
    names = ("groups_price", "affinity_price", "confusions", "importance", "continuity_euro", "thresholds")
    for name in names:
        assert to_png(figures[name]()).startswith(b"\x89PNG"), name


def test_columns_of_any_name_give_names_for_files(evaluated: tuple[Snapshot, Analysis]) -> None:
    snapshot, analysis = evaluated
    rows = tuple({"../quận": str(at % 2), "quận/..": str(at % 3)} for at in range(60))
    columns = type(analysis.columns)(rows, rows, ())
    from embviz_callback.analysis.why.groups import grouped_by

    both = tuple(
        grouped_by(snapshot.embeddings, snapshot.similarity, columns, name, draws=100)
        for name in ("../quận", "quận/..")
    )
    names = list(
        analysis_figures(snapshot, type(analysis)(**{**vars(analysis), "groupings": both, "columns": columns}))
    )
    groups = [name for name in names if name.startswith("groups_")]
    assert len(set(groups)) == 2
    assert all(name.replace("_", "").replace("-", "").isalnum() and name.isascii() for name in groups)


def test_groups_stand_worst_first_with_the_overall_line(evaluated: tuple[Snapshot, Analysis]) -> None:
    snapshot, analysis = evaluated
    grouping = analysis.groupings[0]
    figure = draw_groups(snapshot, grouping)
    left = figure.axes[0]
    assert [label.get_text().split(" ")[0] for label in left.get_yticklabels()] == [g.label for g in grouping.groups]
    assert left.yaxis_inverted()
    assert left.get_xlabel() == "rank-1"


def test_a_map_that_is_not_there_says_why(evaluated: tuple[Snapshot, Analysis]) -> None:
    snapshot, analysis = evaluated
    figure = draw_map_by(snapshot, "tsne", analysis.columns, "price")
    assert "it was not asked for" in " ".join(text.get_text() for axes in figure.axes for text in axes.texts)


def test_hostile_text_is_inert_on_the_page() -> None:
    items: list[dict[str, Any]] = [
        {
            "query": f"tìm <b>{at}</b> | ![x](http://e/{at})",
            "pos": f"phòng `{at}` $\\frac{{$",
            "metadata": {"a|b<i>": "<script>" if at % 2 else "{pos}"},
        }
        for at in range(24)
    ]
    one = planted.evaluate(items, lambda texts: np.random.default_rng(0).normal(size=(len(texts), 4)))
    snapshot = take_snapshot(
        label="<h1>", subset=one.subset, embeddings=one.embeddings, settings=Settings(bootstrap_draws=100)
    )
    analysis = analyse([snapshot], Questions(draws=100))
    page = analysis_report(snapshot, analysis, checkup=check(RawPairs("<data>.json", tuple(items))))
    for raw in ("<b>", "<h1>", "<script>", "<i>", "<data>", "![x]", "http://e"):
        assert raw not in page, raw
    for draw in analysis_figures(snapshot, analysis).values():
        to_png(draw())


def test_the_page_says_of_clean_data_that_they_are(evaluated: tuple[Snapshot, Analysis]) -> None:
    clean = check(RawPairs("a.json", ({"query": "tìm phòng", "pos": "phòng trọ"},)))
    lines = analysis_report(*evaluated, checkup=clean).splitlines()
    assert lines[lines.index("## The data") + 2] == "- a.json: 1 record, 1 query, 1 document, 0 hard negatives"
    assert "Nothing wrong was found." in lines
