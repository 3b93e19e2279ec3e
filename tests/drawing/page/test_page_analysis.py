"""The analysis and the data check on the page: everything is there, small, inert and alive in a real browser."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import planted
import pytest
from browser import Tab, browser
from small_runs import HOSTILE, a_map, a_page

from embviz_callback.analysis.why.analysis import Analysis, Questions, analyse
from embviz_callback.cli import main
from embviz_callback.delivery.results.result_files import embeddings_npz
from embviz_callback.drawing.page.epoch_view import View, epoch_view
from embviz_callback.drawing.page.page import page
from embviz_callback.drawing.page.page_analysis import analysis_view
from embviz_callback.drawing.reports.asides import Context
from embviz_callback.drawing.reports.data_section import brief
from embviz_callback.pairs.check.checkup import check
from embviz_callback.pairs.check.raw import RawPairs
from embviz_callback.pairs.weight_rule import default_rule
from embviz_callback.settings import Settings
from embviz_callback.snapshot import Snapshot, take_snapshot

LONG = "Phòng trọ khép kín ở ngõ " + "nghiêng" * 60 + " Đống Đa " * 60


def _records() -> list[dict[str, Any]]:
    items = planted.records(60, 6)
    for at, item in enumerate(items):
        item["metadata"] = {"quận": ("Đống Đa", "Bình Thạnh", LONG)[at % 3], "giá <b>": at // 4}
        item["query"] += f" hỏi {HOSTILE[at % len(HOSTILE)]}"
        item["hard_neg"].append({"text": f"{LONG} {item['pos']}", "type": ["other"]})  # the same words
        item["pos"] += f" {LONG}"
    return items


def _evaluated(noise: float, label: str) -> Snapshot:
    encode = planted.LinearEncoder(planted.TRUE_WEIGHTS, noise=noise)
    one = planted.evaluate(_records(), lambda texts: encode([text.split(" hỏi ")[0] for text in texts]))
    made = take_snapshot(
        label=label, subset=one.subset, embeddings=one.embeddings, settings=Settings(bootstrap_draws=100)
    )
    return made.with_maps({"tsne": a_map(one.embeddings)})


@pytest.fixture(scope="module")
def run() -> list[Snapshot]:
    return [replace(_evaluated(noise, f"epoch {at}"), epoch=at) for at, noise in enumerate((2.0, 1.2, 0.8))]


@pytest.fixture(scope="module")
def analysis(run: list[Snapshot]) -> Analysis:
    return analyse(run, Questions(draws=100, rule=default_rule(), neighbours=[["Đống Đa", "Bình Thạnh"]], place="quận"))


@pytest.fixture(scope="module")
def written(run: list[Snapshot], analysis: Analysis, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "report.html"
    data = brief(check(RawPairs(f"{HOSTILE[0]}.json", (*_records(), _records()[0]))))
    made = a_page(run, data=data, analysis=analysis_view(analysis, "epoch 2", n_evaluations=3))
    path.write_text(made, encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def shared_tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tab]:
    with browser(tmp_path_factory.mktemp("profile")) as tab:
        yield tab


@pytest.fixture
def tab(shared_tab: Tab) -> Iterator[Tab]:
    """No complaint, and nothing was asked for."""
    shared_tab.events.clear()
    shared_tab.show()
    yield shared_tab
    assert shared_tab.complaints == []
    assert shared_tab.requests == []


def test_the_view_of_an_analysis_says_what_its_file_says_and_cuts_only_lists_and_texts(analysis: Analysis) -> None:
    view, whole = json.loads(json.dumps(analysis_view(analysis, "epoch 2"), allow_nan=False)), analysis.as_dict()
    assert [one["column"] for one in view["groups"]] == [one["column"] for one in whole["groups"]]
    for shown, told in zip(view["groups"], whole["groups"], strict=True):
        assert [one["metrics"]["rank1"] for one in shown["groups"]] == [
            pytest.approx(one["metrics"]["rank1"], abs=1e-4) for one in told["groups"]
        ]
    assert view["errors"]["confusions"] == whole["errors"]["confusions"]
    assert view["importance"]["spearman_with_weights"] == pytest.approx(
        whole["importance"]["spearman_with_weights"], abs=1e-4
    )
    assert view["n_suspects"] == len(whole["false_negative_suspects"])
    assert len(view["errors"]["misses"]) == min(30, whole["errors"]["n_misses"])
    assert len(view["thresholds"][0]["curve"]["cuts"]) == 100
    assert max(len(one["expected"]) for one in view["errors"]["misses"]) == 301
    assert view["columns"]["quận"] == [str(row["quận"])[:80] for row in analysis.columns.queries]


def test_a_page_with_an_analysis_of_long_texts_keeps_its_size(run: list[Snapshot], analysis: Analysis) -> None:
    views = [View(epoch_view(run[2]).to_json() | {"label": f"epoch {n}", "epoch": n}) for n in range(60)]
    analysis = analysis_view(analysis, "epoch 2")
    made = page(views, run[0].subset, Context(analysis=analysis), most_bytes=600_000)
    assert len(json.dumps(analysis, ensure_ascii=False).encode()) < 400_000
    assert len(made.encode()) < 600_000 + 100_000  # the script and the style come on top


@pytest.mark.slow
def test_groups_confusions_features_curves_thresholds_and_suspects_are_on_the_page(
    tab: Tab, written: Path, analysis: Analysis
) -> None:
    tab.open(written)
    text = tab.text("#analysis")
    worst = analysis.groupings[0].groups[0]
    assert f"{len(analysis.errors.misses)} of 60 queries" in text
    for column, count, total in analysis.errors.confusions:
        assert column in text
        assert f"{count} of {total}" in text
    assert tab.text("#analysis [aria-label^=Groups] tbody tr td")[:300] == worst.label[:300]
    assert f"{100 * worst.figures['rank1']:.1f}" in text
    for effect in analysis.importance.effects:
        assert effect.feature in text
        assert f"{effect.drop.value:.3f}" in text
    assert f"Spearman of drop and weight: {analysis.importance.spearman:.2f}" in text
    for curve in analysis.continuity:
        assert f"Cosine against the difference in {curve.column}" in text
        assert f"{curve.verdict[0].upper()}{curve.verdict[1:]}: by" in text
    best = next(one for one in analysis.thresholds[0].advice if one.kind == "F1")
    assert f"{best.threshold.value:.3f}" in text
    assert f"Candidates for false negatives ({len(analysis.suspects)})" in text
    assert "neighbours minus distant" in text


@pytest.mark.slow
def test_another_column_shows_its_groups_and_keeps_the_focus(tab: Tab, written: Path, analysis: Analysis) -> None:
    tab.open(written)
    tab.ask("document.querySelector('#group').focus()")
    tab.ask("(s => { s.value = '1'; s.dispatchEvent(new Event('change')); })(document.querySelector('#group'))")
    assert tab.ask("document.activeElement.id") == "group"
    assert tab.ask("document.querySelectorAll('#analysis [aria-label^=Groups] table')[0].rows.length - 1") == len(
        analysis.groupings[1].groups
    )


@pytest.mark.slow
def test_the_data_check_stands_at_the_top_and_in_a_section_and_its_texts_do_not_act(tab: Tab, written: Path) -> None:
    tab.open(written)
    assert tab.text("#dataline").startswith("The data: ")
    assert HOSTILE[0] in tab.text("#datacheck")
    assert "record repeats another one entirely" in tab.text("#datacheck")
    assert tab.ask("document.images.length") == 0
    assert tab.ask("document.title") != "hacked"
    tab.click("#dataline button")
    assert tab.ask("document.activeElement.id") == "h-data"


@pytest.mark.slow
def test_a_miss_of_the_analysis_can_be_chosen_and_columns_read_by_it_filter_the_map(tab: Tab, written: Path) -> None:
    tab.open(written)
    tab.click("#analysis [aria-label^=Misses] button.link")
    assert tab.text("#detail") != ""
    assert "query=" in tab.ask("location.hash")
    columns = tab.ask("[...document.querySelector('#column').options].map((one) => one.value)")
    assert {"quận", "giá <b>"} <= set(columns)


@pytest.mark.slow
def test_the_section_says_of_which_evaluation_it_speaks(tab: Tab, written: Path, run: list[Snapshot]) -> None:
    tab.open(written, "epoch=0")
    assert tab.text("#whynote").startswith("Of epoch 2, not of epoch 0, which the slider shows.")
    bare = written.with_name("bare.html")
    bare.write_text(a_page(run[:1]), encoding="utf-8")
    tab.open(bare)
    assert tab.text("#whynote") == "This page holds no analysis; embviz analyse makes one."
    assert tab.text("#datacheck") == "The data were not checked; embviz check does."


@pytest.mark.slow
@pytest.mark.parametrize(("width", "scheme"), [(1280, "dark"), (390, "light"), (320, "light")])
def test_a_page_with_long_words_in_its_analysis_fits_the_window(
    tab: Tab, written: Path, width: int, scheme: str
) -> None:
    tab.show(width=width, scheme=scheme)
    tab.open(written)
    assert tab.ask("document.documentElement.scrollWidth") <= width


@pytest.mark.slow
def test_heatmap_and_ledger_are_read_with_the_arrow_keys(tab: Tab, written: Path, run: list[Snapshot]) -> None:
    tab.open(written)
    before = tab.text("#heatnote")
    tab.ask("document.querySelector('#heat').focus()")
    tab.press("ArrowRight", 39)
    assert " → " in tab.text("#heatnote") != before
    tab.ask("document.querySelector('#carpet').focus()")
    tab.press("ArrowDown", 40)
    assert tab.text("#carpetnote").startswith("epoch 1, rank ")
    tab.press("Enter", 13)
    assert tab.text("#where") == "epoch 1"


@pytest.mark.slow
def test_the_command_writes_the_page_with_its_analysis(run: list[Snapshot], tab: Tab, tmp_path: Path) -> None:
    for at, snapshot in enumerate(run):
        (tmp_path / f"{at}.npz").write_bytes(embeddings_npz(snapshot))
    data = tmp_path / "val.json"
    data.write_text(json.dumps(_records()), encoding="utf-8")
    checkpoints = [str(tmp_path / f"{at}.npz") for at in range(3)]
    arguments = ["--skip-tsne", "--skip-umap", "--group-by", "quận", "--output", str(tmp_path / "out")]
    assert main(["analyse", "--checkpoint", *checkpoints, "--data", str(data), *arguments]) == 0
    tab.open(tmp_path / "out" / "report.html")
    assert tab.text("#whynote").startswith("Of 2.npz.")
    assert "over 3 evaluations" in tab.text("#analysis")
    assert "val.json (60 records)" in tab.text("#datacheck")
