"""The page of a run: small, inert whatever the texts hold, and alive in a real browser."""

import base64
import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browser import Tab, browser
from small_runs import HOSTILE, a_map, a_page, a_run, a_subset

from embviz_callback.analysis.compare.comparison import compare
from embviz_callback.analysis.metrics.catalogue import CATALOGUE, GROUPS, shown
from embviz_callback.analysis.verdict.checklist import Check, band, checklist
from embviz_callback.drawing.page.epoch_view import View, epoch_view
from embviz_callback.drawing.page.page import _view_text, page
from embviz_callback.drawing.reports.asides import Context
from embviz_callback.embeddings import Embeddings
from embviz_callback.pairs.formats.reading import records_from
from embviz_callback.pairs.subset import choose_subset
from embviz_callback.settings import Settings
from embviz_callback.snapshot import Snapshot, take_snapshot

ALERT = f"epoch 0: the margin is low {HOSTILE[0]}"
CHECKS = (
    Check("margin", 0.1, 0.25, "failed", False, "0.1000 is not above 0.25"),
    Check("clear_clusters_umap", float("nan"), 0.5, "described", None, f"UMAP not judged: {HOSTILE[0]}"),
)


@pytest.fixture(scope="module")
def run() -> list[Snapshot]:
    return a_run(a_subset())


@pytest.fixture(scope="module")
def written(run: list[Snapshot], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "report.html"
    views = [epoch_view(one, checks=CHECKS) for one in run]
    made = page(views, run[0].subset, Context(alerts=[ALERT]), title=f"Rental {HOSTILE[0]}")
    path.write_text(made, encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def shared_tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tab]:
    with browser(tmp_path_factory.mktemp("profile")) as tab:
        yield tab


@pytest.fixture
def tab(shared_tab: Tab) -> Iterator[Tab]:
    """Every test of the page also says: no complaint, and nothing was asked for."""
    shared_tab.events.clear()
    shared_tab.show()
    yield shared_tab
    assert shared_tab.complaints == []
    assert shared_tab.requests == []


def data_of(made: str) -> dict[str, object]:
    found = re.search('<script type="application/json" id="data">(.*?)</script>', made, re.DOTALL)
    assert found is not None
    content: dict[str, object] = json.loads(found[1])
    return content


def points_of(view: dict[str, object]) -> np.ndarray:
    made = view["maps"]["tsne"]  # type: ignore[index]
    packed = np.frombuffer(base64.b64decode(made["points"]), dtype="<i2").reshape(-1, 2).astype(np.float64)
    packed[packed == -32768] = np.nan
    return packed / 32767 * made["half"] + np.array(made["centre"])


def test_hostile_texts_stay_inside_their_data_and_the_page_has_only_its_own_elements(written: Path) -> None:
    class Elements(HTMLParser):
        def __init__(self) -> None:
            super().__init__()
            self.tags: list[str] = []

        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            self.tags.append(tag)
            assert not [name for name, _ in attrs if name.startswith("on") or name == "style"]

    made = written.read_text(encoding="utf-8")
    parser = Elements()
    parser.feed(made)
    assert parser.tags.count("script") == 2
    assert "img" not in parser.tags
    assert made.count("onerror") == made.count("\\u003cimg src=x onerror") + made.count("&lt;img src=x onerror")
    data = re.search('<script type="application/json" id="data">(.*?)</script>', made, re.DOTALL)
    assert data is not None
    assert not set("<>&\u2028\u2029") & set(data[1])


def test_the_page_may_load_nothing_and_runs_no_other_script(written: Path) -> None:
    made = written.read_text(encoding="utf-8")
    policy = re.search('Content-Security-Policy" content="([^"]*)"', made)
    assert policy is not None
    rules = dict(rule.split(" ", 1) for rule in policy[1].split("; "))
    assert rules["default-src"] == "'none'"
    assert rules["script-src"].startswith("'sha256-")
    assert rules["style-src"].startswith("'sha256-")
    assert "unsafe" not in policy[1]
    script = made.rsplit("<script>", 1)[1]
    for word in (
        "innerHTML",
        "outerHTML",
        "insertAdjacentHTML",
        "document.write",
        "eval(",
        "Function(",
        "fetch(",
        "XMLHttp",
    ):
        assert word not in script
    assert re.findall(r"https?://[^\s\"']+", made) == ["http://www.w3.org/2000/svg"]


def test_a_view_holds_ranks_texts_and_coordinates_of_its_snapshot(run: list[Snapshot]) -> None:
    view = json.loads(json.dumps(epoch_view(run[1]).to_json(), allow_nan=False))
    assert view["ranks"] == [round(rank, 2) for rank in run[1].similarity.rank.tolist()]
    assert view["firsts"] == run[1].similarity.top_documents[:, 0].tolist()
    top = np.frombuffer(base64.b64decode(view["top"]), dtype="<i2").reshape(-1, view["depth"])
    assert (top == run[1].similarity.top_documents).all()
    made = run[1].maps["tsne"]
    wanted = np.concatenate([made.queries, made.documents])  # type: ignore[union-attr]
    assert np.abs(points_of(view) - wanted).max() < 2 * view["maps"]["tsne"]["half"] / 32767
    assert view["maps"]["umap"] == {"reason": "UMAP failed (MemoryError: 2 GB)"}
    assert sum(view["histogram"]["positive"]) == len(run[1].subset.relevance)


def test_a_tie_for_the_first_place_never_becomes_a_hit(run: list[Snapshot]) -> None:
    rank = run[0].similarity.rank.copy()
    rank[:3] = [1 + 1 / 500, np.inf, 1.0]
    view = epoch_view(replace(run[0], similarity=replace(run[0].similarity, rank=rank))).to_json()
    assert view["ranks"][:3] == [1.01, None, 1]


def test_rows_without_direction_are_drawn_nowhere(run: list[Snapshot]) -> None:
    embeddings = run[0].embeddings
    queries = embeddings.queries.copy()
    queries[0] = np.nan
    broken = Embeddings.from_raw(queries, embeddings.documents, embeddings.relevance)
    placed = a_map(broken)
    placed.queries[0] = np.nan
    snapshot = take_snapshot(label="broken", subset=run[0].subset, embeddings=broken, settings=Settings())
    view = json.loads(json.dumps(epoch_view(snapshot.with_maps({"tsne": placed})).to_json(), allow_nan=False))
    assert np.isnan(points_of(view)[0]).all()
    assert (view["ranks"][0], view["firsts"][0], view["scores"][0]) == (None, -1, None)


def test_a_run_of_twenty_epochs_and_five_hundred_pairs_stays_under_two_megabytes() -> None:
    texts = [
        f"Phòng trọ số {row} có máy lạnh, wc riêng, ban công, giá {row / 7:.1f} triệu, gần chợ" for row in range(500)
    ]
    items = [{"query": f"tìm {text[:50]} {row}", "pos": text} for row, text in enumerate(texts)]
    subset = choose_subset(records_from(items), max_samples=500, seed=7)
    view = epoch_view(a_run(subset, (0.8,))[0]).to_json()
    both = view["maps"] | {"umap": view["maps"]["tsne"]}
    views = [View(view | {"maps": both, "label": f"epoch {epoch}", "epoch": epoch}) for epoch in range(20)]
    made = page(views, subset)
    assert len(made.encode()) < 2_000_000
    assert all("top" in one for one in data_of(made)["views"])  # type: ignore[union-attr]


def test_of_a_run_only_the_newest_evaluation_is_put_into_words_anew(run: list[Snapshot]) -> None:
    views = [View(epoch_view(run[1]).to_json() | {"label": f"epoch {n}", "epoch": n}) for n in range(51)]
    page(views[:50], run[0].subset)
    known = _view_text.cache_info().misses
    later = data_of(page(views[1:], run[0].subset))
    assert [one["label"] for one in later["views"]] == [f"epoch {n}" for n in range(1, 51)]  # type: ignore[union-attr]
    assert _view_text.cache_info().misses == known + 3  # whole, without its details, and as the last


def test_a_long_run_keeps_all_numbers_and_the_details_that_fit(run: list[Snapshot]) -> None:
    views = [View(epoch_view(run[1]).to_json() | {"label": f"epoch {n}", "epoch": n}) for n in range(60)]
    whole, small = page(views, run[0].subset), page(views, run[0].subset, most_bytes=300_000)
    kept = data_of(small)
    detailed = [one["epoch"] for one in kept["views"] if "top" in one]  # type: ignore[union-attr]
    assert len(small) < 300_000 + 100_000 < len(whole)  # the script and the style come on top
    assert detailed[0] == 0
    assert detailed[-1] == 59
    assert 5 < len(detailed) < 60
    assert all(one["ranks"] for one in kept["views"])  # type: ignore[union-attr]
    assert kept["notes"] == [f"details of {60 - len(detailed)} of 60 evaluations were left out to keep this file small"]


def test_evaluations_of_another_subset_and_empty_runs_are_refused(run: list[Snapshot]) -> None:
    other = a_subset(20)
    with pytest.raises(ValueError) as error:
        page([epoch_view(run[0])], other)
    expected = f"a page shows one subset: epoch 0 is of {run[0].subset.fingerprint}, not of {other.fingerprint}"
    assert str(error.value) == expected
    with pytest.raises(ValueError) as error:
        page([], other)
    assert str(error.value) == "a page needs at least one evaluation, got none"


@pytest.mark.parametrize("name", ["margin", "separation"])
def test_the_bands_of_the_page_are_those_of_the_verdict(run: list[Snapshot], name: str) -> None:
    data: Any = data_of(a_page(run))
    best, *edges = data["bands"][name]
    assert (band(name, best), band(name, best + 1e-9)) == ("good", "excellent")
    assert [band(name, edge) for edge in edges] == ["good", "fair", "poor"] == data["band_names"][1:4]
    assert [band(name, edge - 1e-9) for edge in edges] == ["fair", "poor", "bad"]


def test_the_thresholds_of_the_page_are_those_of_the_checklist(run: list[Snapshot]) -> None:
    data: Any = data_of(a_page(run))
    asked = {check.name: check.threshold for check in checklist(run[0].metrics, {}, (), None)}
    assert data["thresholds"] == {name: asked[name] for name in data["thresholds"]}
    assert len(data["thresholds"]) == 5


@pytest.mark.slow
def test_two_evaluations_are_held_against_each_other_query_by_query(
    tab: Tab, run: list[Snapshot], tmp_path: Path
) -> None:
    board = {"said": ["leads: a"], "heads": ["", "MRR"], "lines": [["<b>a", "0.5"]], "members": {}}
    path = tmp_path / "runs.html"
    path.write_text(a_page(run[:2], board=board), encoding="utf-8")
    tab.open(path, "from=0&to=1")
    assert tab.text("#boardtable tbody tr") == "<b>a\t0.5"
    before, after = (one.similarity.rank for one in run[:2])
    discs = tab.ask(
        "[...document.querySelectorAll('#scatter circle title')].map((one) => one.textContent.split('\\n')[0])"
    )
    assert len(discs) == len(set(zip(before.tolist(), after.tolist(), strict=True)))
    assert sum(int(disc.split(": ")[1].split(" ")[0]) for disc in discs) == len(before)
    row = int(np.argmax(after))
    tab.open(path, f"from=0&to=1&query={row}")
    lists = (
        "[...document.querySelectorAll('#beside ol')].map((list) => list.querySelector('li').firstChild.textContent)"
    )
    assert [text.strip() for text in tab.ask(lists)] == [
        " ".join(one.text(one.similarity.top_documents[row, 0]).split()) for one in run[:2]
    ]


@pytest.mark.slow
def test_the_page_opens_from_disk_and_nothing_in_a_text_acts(tab: Tab, written: Path) -> None:
    tab.open(written)
    assert tab.text("h1") == f"Rental {HOSTILE[0]}"
    assert tab.ask("document.title") == f"Rental {HOSTILE[0]}"
    assert tab.ask("document.images.length") == 0
    assert ALERT in tab.text("#alerts")
    assert HOSTILE[0] in tab.text("#checks")
    assert tab.text("#where") == "epoch 3 · step 40"


def _tile(tab: Tab, title: str) -> str:
    tiles = f"[...document.querySelectorAll('.tile')].find((one) => one.textContent.startsWith('{title}'))"
    return str(tab.ask(f"{tiles}.querySelector('b').textContent"))


@pytest.mark.slow
def test_a_share_is_written_in_one_form_in_tile_sentence_and_chart(tab: Tab, written: Path) -> None:
    tab.open(written)
    assert _tile(tab, "Rank-1").endswith(" %")
    said = f"rank-1 {_tile(tab, 'Rank-1')}"
    assert said in tab.text("#reason")
    assert said in tab.ask("[...document.querySelectorAll('#charts .key')].map((key) => key.textContent)")


@pytest.mark.slow
def test_what_cannot_be_computed_is_a_dash_in_its_tile(tab: Tab, run: list[Snapshot], tmp_path: Path) -> None:
    content = epoch_view(run[0]).to_json()
    unknown = View({**content, "metrics": {**content["metrics"], "margin": None, "rank1": None}})
    (tmp_path / "page.html").write_text(page([unknown], run[0].subset), encoding="utf-8")
    tab.open(tmp_path / "page.html")
    assert [_tile(tab, "Margin"), _tile(tab, "Rank-1")] == ["–", "–"]


@pytest.mark.slow
def test_the_arrow_keys_on_the_slider_change_the_epoch_and_move_the_points(tab: Tab, written: Path) -> None:
    tab.open(written, "epoch=3&query=5")
    tab.settle()
    place = "[Number(document.querySelector('#tip').dataset.x), Number(document.querySelector('#tip').dataset.y)]"
    before = tab.ask(place)
    tab.ask("document.querySelector('#epoch').focus()")
    tab.press("ArrowLeft", 37)
    assert tab.text("#where") == "epoch 2 · step 30"
    assert "epoch=2" in tab.ask("location.hash")
    after = tab.ask(place)
    assert np.hypot(*(np.array(after) - before)) > 3


@pytest.mark.slow
def test_every_epoch_paints_another_picture_and_the_same_one_when_one_returns(tab: Tab, written: Path) -> None:
    pictures = []
    for epoch in (0, 3, 0):
        tab.open(written, f"epoch={epoch}")
        tab.settle()
        pictures.append(tab.ask("document.querySelector('#map').toDataURL()"))
    assert pictures[0] != pictures[1]
    assert pictures[0] == pictures[2]


@pytest.mark.slow
@pytest.mark.parametrize("typed", ["trọ", "tro", "TRO", "phong tro binh thanh", "trọ Bình  Thạnh"])
def test_search_finds_with_and_without_diacritics(tab: Tab, written: Path, run: list[Snapshot], typed: str) -> None:
    tab.open(written)
    tab.ask("document.querySelector('#search').focus()")
    tab.type(typed)
    place = "Bình Thạnh" if "h" in typed else ""
    documents = dict(run[0].subset.relevance.tolist())
    wanted = [
        text
        for row, text in enumerate(run[0].subset.queries)
        if place in text
        and ("tr" in text or "trọ" in run[0].subset.documents[documents[row]])
        and ("h" not in typed or "ph" in text)
    ]
    assert 0 < len(wanted) < 40
    assert tab.text("#found") == f"{len(wanted)} of 40 queries shown"


@pytest.mark.slow
def test_filters_by_rank_band_and_by_column_count_what_they_show(tab: Tab, written: Path, run: list[Snapshot]) -> None:
    tab.open(written, "epoch=1&bands=1234")
    ranks = run[1].similarity.rank
    assert tab.text("#found") == f"{(ranks > 1).sum()} of 40 queries shown"
    assert len(re.findall(r"^\d", tab.text("#worst tbody"), re.MULTILINE)) >= min(20, (ranks > 1).sum())
    tab.open(written, "column=qu%E1%BA%ADn&value=%C4%90%E1%BB%91ng+%C4%90a")
    n = sum(columns["quận"] == "Đống Đa" for columns in run[0].subset.metadata)
    assert tab.text("#found") == f"{n} of 40 queries shown"


def test_the_page_names_the_best_by_the_rule_of_comparisons(run: list[Snapshot]) -> None:
    made = a_page(run)
    content = json.loads(made.split('<script type="application/json" id="data">')[1].split("</script>")[0])
    comparison = compare(run)
    assert (content["best"]["place"], content["best"]["metric"]) == (comparison.best.place, comparison.best.metric)
    assert content["groups"] == list(range(40))
    older = [View(epoch_view(one).content | {"decides": None}) for one in run]
    assert '"metric": "mrr"' in page(older, run[0].subset, title="") or '"metric":"mrr"' in page(
        older, run[0].subset, title=""
    )


@pytest.mark.slow
def test_the_difference_and_the_fates_agree_with_the_comparison(tab: Tab, written: Path, run: list[Snapshot]) -> None:
    comparison = compare(run, reference=compare(run).best.place)
    changes = comparison.changes[-1]
    tab.open(written)
    best = comparison.labels[comparison.best.place]
    counts = f"{len(changes.improved)} improved, {len(changes.fell)} fell"
    assert tab.text("#diffline").startswith(f"From {best} (the best) to epoch 3: {counts}; p = ")
    assert ", of this one pair alone." in tab.text("#diffline")
    p = float(tab.text("#diffline").split("p = ")[1].split(",")[0])
    assert p == pytest.approx(comparison.differences[-1]["rank1"].p_value, abs=0.02)
    assert changes.fell
    assert changes.fell[0].query in tab.text("#fell")
    assert changes.fell[0].after.first in tab.text("#fell")
    fates = Counter(_fate(hits) for hits in zip(*(one.similarity.is_hit.tolist() for one in run), strict=True))
    names = ("always", "learned", "wavering", "forgotten", "never")
    assert tab.text("#fates") == " · ".join(f"{name} {fates[name]}" for name in names)


def _fate(hits: Sequence[bool]) -> str:
    """What became of a query over a run: how often it was found anew, and whether it stayed."""
    found_anew = sum(now and not before for before, now in zip([False, *hits[:-1]], hits, strict=True))
    if found_anew != 1:
        return "wavering" if found_anew else "never"
    return ("always" if hits[0] else "learned") if hits[-1] else "forgotten"


@pytest.mark.slow
def test_the_tiles_are_the_catalogue_s_in_its_units(tab: Tab, written: Path, run: list[Snapshot]) -> None:
    tab.open(written)
    metrics, text = run[-1].metrics, tab.text("#tiles").lower()
    assert all(CATALOGUE[name].title.lower() in text for name in shown(GROUPS))
    assert f"{metrics.separation:.2f} σ" in text
    assert f"{100 * metrics.rank1:.1f} %" in text


@pytest.mark.slow
def test_a_map_that_was_not_made_says_why(tab: Tab, written: Path) -> None:
    tab.open(written, "map=umap")
    assert tab.text("#nomap") == "UMAP failed (MemoryError: 2 GB)"


@pytest.mark.slow
def test_choosing_a_query_shows_what_it_found(tab: Tab, written: Path, run: list[Snapshot]) -> None:
    tab.open(written)
    tab.click("#worst button.link")
    row = int(np.argmax(run[3].similarity.rank))
    detail = tab.text("#detail")
    assert run[3].subset.queries[row].split()[-1] in detail
    assert tab.ask("document.querySelectorAll('#detail li').length") == 10


@pytest.mark.slow
@pytest.mark.parametrize(
    ("width", "scheme"), [(1280, "light"), (1280, "dark"), (800, "light"), (800, "dark"), (390, "light")]
)
def test_the_page_fits_the_window(tab: Tab, written: Path, width: int, scheme: str) -> None:
    tab.show(width=width, scheme=scheme)
    tab.open(written)
    assert tab.ask("document.documentElement.scrollWidth") <= width
    dark = tab.ask("getComputedStyle(document.body).backgroundColor") == "rgb(15, 20, 26)"
    assert dark == (scheme == "dark")


@pytest.mark.slow
def test_a_page_of_one_evaluation_without_maps_shows_nothing_that_takes_several(
    tab: Tab, written: Path, run: list[Snapshot], tmp_path: Path
) -> None:
    heads = "[...document.querySelectorAll('main h2')].filter((one) => one.offsetParent).map((one) => one.textContent)"
    tab.open(written)
    of_several = tab.ask(heads)
    path = tmp_path / "one.html"
    path.write_text(a_page([run[0].with_maps({})]), encoding="utf-8")
    tab.open(path)
    assert tab.text("#nomap") == "No such map was made."
    assert tab.text("#facts").endswith("1 evaluation")
    asks_for_several = {"The run", "Every query at every evaluation", "Difference between two evaluations"}
    assert asks_for_several < set(of_several)
    assert tab.ask(heads) == [head for head in of_several if head not in asks_for_several]
    assert tab.ask("document.querySelector('nav').offsetParent") is None


@pytest.mark.slow
def test_a_thinned_page_shows_the_nearest_details_and_says_so(tab: Tab, run: list[Snapshot], tmp_path: Path) -> None:
    views = [View(epoch_view(run[1]).to_json() | {"label": f"epoch {n}", "epoch": n}) for n in range(60)]
    path = tmp_path / "long.html"
    path.write_text(page(views, run[0].subset, most_bytes=230_000), encoding="utf-8")
    tab.open(path, "epoch=1")
    assert tab.text("#mapnote").startswith("the map, lists, heatmap and distribution are of epoch 0")
