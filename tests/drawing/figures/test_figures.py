import gc
import subprocess
import sys
import threading
import unicodedata
from dataclasses import replace
from io import BytesIO
from types import ModuleType
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.collections import LineCollection, PathCollection, PolyCollection
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image

from embviz_callback.analysis.maps.projections import Projection, Skipped
from embviz_callback.analysis.metrics.pictures import FIGURES, FigureRow
from embviz_callback.drawing import style
from embviz_callback.drawing.figures.png import draw, to_png
from embviz_callback.drawing.figures.top_k import bars, shared_features, telling_queries
from embviz_callback.embeddings import Embeddings
from embviz_callback.pairs.records import Record
from embviz_callback.pairs.subset import Subset, choose_subset
from embviz_callback.settings import Settings
from embviz_callback.snapshot import Snapshot, take_snapshot

HOSTILE = (
    r"$\frac{$ giá 5$ ",
    "😀🏠👨‍👩‍👧 phòng đẹp",
    "出租房 近地铁 ห้องเช่า",
    "a" * 20_000,
    "W" * 300,
    "x\x00y\ud800z\tq\nnew line",
    unicodedata.normalize("NFD", "Phòng trọ quận Thủ Đức giá rẻ ở ngõ hẻm"),
    "z" + "\u0301" * 500,
    "\u202eevil\u202c شقة",
    "| a | <script>alert(1)</script> ![x](http://e)",
)


def record(query: str, *positives: str, **columns: Any) -> Record:
    return Record(query=query, positives=positives, hard_negatives=(), id=None, metadata=columns)


def subset_of(*texts: str) -> Subset:
    return choose_subset(
        [record(f"{text} q{i}", f"{text} d{i}") for i, text in enumerate(texts)], max_samples=500, seed=7
    )


def snapshot_of(
    subset: Subset, *, noise: float = 0.8, unusable: tuple[int, ...] = (), label: str = "epoch 3"
) -> Snapshot:
    """Queries near their documents; the map places them likewise, so that no library is needed."""
    random = np.random.default_rng(0)
    documents = random.normal(size=(len(subset.documents), 8))
    queries = np.zeros((len(subset.queries), 8))
    for query, document in subset.relevance:
        queries[query] = documents[document] + noise * random.normal(size=8)
    queries[list(unusable)] = np.nan
    negatives = random.normal(size=(len(subset.hard_negatives), 8))
    embeddings = Embeddings.from_raw(
        queries, documents, subset.relevance, negatives, subset.hard_pairs, records=subset.records
    )
    made = take_snapshot(
        label=label, subset=subset, embeddings=embeddings, settings=Settings(bootstrap_draws=100), epoch=3
    )
    return made.with_maps({"tsne": flat_map(made, "tsne"), "umap": flat_map(made, "umap")})


def flat_map(snapshot: Snapshot, method: str) -> Projection:
    queries, documents = snapshot.embeddings.queries[:, :2].copy(), snapshot.embeddings.documents[:, :2].copy()
    queries[~snapshot.embeddings.usable_queries] = np.nan
    return Projection(
        method,
        queries,
        documents,
        0.951,
        0.912,
        0.07,
        {"tsne": "perplexity 7.33", "umap": "15 neighbours"}[method],
        7,
        note="continued from the last map",
        clear_share=0.75,
    )


def rooms(n: int = 16) -> Snapshot:
    districts = ("Quận 10", "Thủ Đức", "Cầu Giấy", "Long Biên")
    return snapshot_of(subset_of(*(f"Phòng trọ {districts[i % 4]} {15 + i}m², giá {i}tr" for i in range(n))))


def texts(figure: Figure) -> str:
    return "\n".join(text.get_text() for text in figure.findobj(Text))


def picture(figure: Figure) -> Image.Image:
    return Image.open(BytesIO(to_png(figure)))


# --- all of them -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_states_label_n_and_fingerprint(name: str) -> None:
    snapshot = rooms()
    said = texts(draw(name, snapshot))
    assert "· epoch 3" in said
    assert f"16 queries, 16 documents · subset {snapshot.subset.fingerprint}" in said


@pytest.mark.parametrize("name", FIGURES)
def test_the_epoch_is_named_when_the_label_does_not(name: str) -> None:
    assert "· last.ckpt, epoch 3" in texts(draw(name, replace(rooms(), label="last.ckpt")))


@pytest.mark.parametrize("name", FIGURES)
def test_the_same_snapshot_gives_the_same_bytes(name: str) -> None:
    assert to_png(draw(name, rooms())) == to_png(draw(name, rooms()))


@pytest.mark.parametrize("name", FIGURES)
def test_a_picture_is_about_800_pixels_wide_and_says_no_date(name: str) -> None:
    image = picture(draw(name, rooms()))
    assert 800 <= image.width <= 900
    assert set(image.info) <= {"dpi"}


@pytest.mark.parametrize("name", FIGURES)
def test_hostile_texts_are_drawn_without_a_warning(name: str) -> None:
    subset = subset_of(*HOSTILE)
    snapshot = snapshot_of(subset, unusable=(0,), label=r"$\frac{$ 出 😀 " + "x" * 5000)
    figure = draw(name, replace(snapshot, epoch=None))
    assert picture(figure).height > 300
    assert all(len(line) < 140 for line in texts(figure).splitlines())


@pytest.mark.parametrize("name", FIGURES)
@pytest.mark.parametrize("n", [1, 2, 3, 5])
def test_few_pairs_are_drawn(name: str, n: int) -> None:
    assert picture(draw(name, rooms(n))).width >= 800


@pytest.mark.parametrize("name", FIGURES)
def test_embeddings_without_any_direction_are_drawn(name: str) -> None:
    snapshot = snapshot_of(subset_of("a", "b", "c"), unusable=(0, 1, 2))
    nothing = Skipped("t-SNE needs at least 5 usable points, there are 3; evaluate more pairs")
    assert picture(draw(name, snapshot.with_maps({"tsne": nothing, "umap": nothing}))).width >= 800


@pytest.mark.parametrize("name", FIGURES)
def test_no_text_leaves_the_picture(name: str) -> None:
    figure = draw(name, snapshot_of(subset_of(*HOSTILE)))
    to_png(figure)
    frame = figure.bbox
    for text in figure.findobj(Text):
        box = text.get_window_extent()
        if text.get_visible() and text.get_text() and box.width:
            assert box.x0 >= -1, text
            assert box.x1 <= frame.width + 1, text
            assert box.y0 >= -1, text
            assert box.y1 <= frame.height + 1, text


def test_drawing_leaves_no_figure_no_thread_and_no_setting_behind() -> None:
    snapshot = rooms()
    to_png(draw("top_k_predictions", snapshot))
    before, threads = dict(mpl.rcParams), threading.active_count()
    for name in FIGURES:
        to_png(draw(name, snapshot))
    gc.collect()
    assert dict(mpl.rcParams) == before
    assert threading.active_count() == threads
    assert not [kept for kept in gc.get_objects() if type(kept) is Figure]


def test_a_users_own_style_changes_no_picture() -> None:
    plain = to_png(draw("similarity_distribution", rooms()))
    with mpl.rc_context({"font.size": 30, "axes.facecolor": "red", "text.parse_math": True, "savefig.dpi": 30}):
        assert to_png(draw("similarity_distribution", rooms())) == plain


def test_pyplot_is_never_imported() -> None:
    room = "embviz_callback.drawing.figures.png"
    code = f"import sys, {room}; print('matplotlib.pyplot' in sys.modules, 'torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False False\n"


def test_an_unknown_figure_is_refused() -> None:
    with pytest.raises(ValueError) as error:
        draw("pca", rooms())
    assert str(error.value) == f"there is no figure 'pca'; there are {', '.join(FIGURES)}"


def test_a_sixth_figure_is_a_row_and_a_module(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("bars_module")
    module.draw_bars = lambda snapshot: style.text_panel("Bars", snapshot, "an example")  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "bars_module", module)
    monkeypatch.setitem(FIGURES, "bars", FigureRow("bars", "bars of something", "bars_module:draw_bars"))
    assert "Bars · epoch 3" in texts(draw("bars", rooms()))


# --- text --------------------------------------------------------------------------------------


def test_text_in_nfd_is_shown_composed() -> None:
    assert style.shown(unicodedata.normalize("NFD", "Đống Đa, giá rẻ")) == "Đống Đa, giá rẻ"


def test_what_the_font_lacks_becomes_a_box_and_what_is_invisible_goes() -> None:
    assert style.shown("出租 5tr") == "□□ 5tr"
    assert style.shown("\u202ea\u200bb\ufe0f\x00\ud800") == "ab\ufffd\ufffd"
    assert style.shown("z" + "\u0301" * 9) == "ź\u0301\u0301"


def test_a_long_text_ends_in_an_ellipsis_within_its_room() -> None:
    clipped = style.fitted("Phòng trọ " * 3000, 300, 12)
    assert clipped.endswith("…")
    assert 0.85 * 300 < style.width_in_ems(clipped) * 12 * 100 / 72 <= 300
    assert style.fitted("Phòng trọ", 300, 12) == "Phòng trọ"
    first, second = (style.fitted_to_both_ends(f"checkpoints/epoch={at}.ckpt", 220, 12) for at in range(2))
    assert (first[:5], first[-6:-5], second[-6:-5]) == ("check", "0", "1")
    assert style.width_in_ems(first) <= 220 / (12 * style.DPI / 72)
    assert style.fitted_to_both_ends("Phòng trọ", 300, 12) == "Phòng trọ"


def test_a_long_sentence_is_broken_between_words() -> None:
    lines = style.wrapped("one two three " + "W" * 500, 90, 12)
    assert lines[:2] == ["one two", "three"]
    assert lines[2].endswith("W…")


# --- maps --------------------------------------------------------------------------------------


def test_a_map_shows_every_pair_joined_and_counts_hits_and_misses() -> None:
    snapshot = rooms()
    n_hits = int((snapshot.similarity.rank == 1).sum())
    assert 0 < n_hits < 16
    axes = draw("tsne_projection", snapshot).axes[0]
    legend = axes.get_legend()
    assert legend is not None
    labels = [text.get_text() for text in legend.get_texts()]
    assert labels == ["document (16)", f"query, hit ({n_hits})", f"query, miss ({16 - n_hits})"]
    lines = [found for found in axes.collections if isinstance(found, LineCollection)]
    assert [len(found.get_segments()) for found in lines] == [n_hits, 16 - n_hits]
    markers = [found for found in axes.collections if isinstance(found, PathCollection)]
    assert [len(np.asarray(found.get_offsets())) for found in markers] == [16, n_hits, 16 - n_hits]


def test_a_maps_corner_says_how_far_it_can_be_trusted() -> None:
    said = texts(draw("umap_projection", rooms()))
    assert "trustworthiness 0.951 · continuity 0.912 · moved 0.07 radii since the last map" in said
    assert "positive among the 10 nearest points: 75.0 % of queries" in said
    assert "15 neighbours · seed 7 · continued from the last map" in said


def test_two_epochs_have_the_same_axes_in_radii_of_the_map() -> None:
    small, large = rooms(), rooms()
    grown = {
        method: replace(made, queries=40 * made.queries, documents=40 * made.documents)
        for method, made in large.maps.items()
        if isinstance(made, Projection)
    }
    views = [draw("tsne_projection", one).axes[0] for one in (small, large.with_maps(grown))]
    assert views[0].get_xlim() == views[0].get_ylim() == views[1].get_xlim() == (-2.2, 2.2)
    assert views[0].get_position().bounds == views[1].get_position().bounds


def test_an_outlier_widens_the_axes_instead_of_being_lost() -> None:
    snapshot = rooms()
    made = snapshot.maps["tsne"]
    assert isinstance(made, Projection)
    queries = made.queries.copy()
    queries[0] = 50
    axes = draw("tsne_projection", snapshot.with_maps({"tsne": replace(made, queries=queries)})).axes[0]
    assert axes.get_xlim() == (-5, 5)


def test_an_unusable_row_is_not_drawn_and_said_so() -> None:
    figure = draw("tsne_projection", snapshot_of(subset_of(*"abcdefgh"), unusable=(2,)))
    assert "1 unusable row not drawn" in texts(figure)
    legend = figure.axes[0].get_legend()
    assert legend is not None
    assert sum(int(text.get_text().split("(")[1][:-1]) for text in legend.get_texts()) == 15


def test_a_skipped_map_is_a_panel_with_the_reason() -> None:
    skipped = rooms().with_maps({"umap": Skipped("UMAP failed (MemoryError: 2 GB)")})
    assert "Not drawn: UMAP failed (MemoryError: 2 GB)" in texts(draw("umap_projection", skipped))
    assert "Not drawn: it was not asked for" in texts(draw("tsne_projection", skipped))


# --- heatmap -----------------------------------------------------------------------------------


def test_the_heatmap_shows_own_documents_on_the_diagonal_on_a_fixed_scale() -> None:
    snapshot = snapshot_of(subset_of(*(f"text {i}" for i in range(16))), noise=0.0)
    axes = draw("similarity_heatmap", snapshot).axes[0]
    cells = np.asarray(axes.images[0].get_array())
    assert cells.shape == (16, 16)
    assert np.diag(cells) == pytest.approx(1.0)
    assert axes.images[0].get_clim() == (-0.5, 1.0)
    assert axes.images[0].get_cmap().name == "cividis"
    assert "bright diagonal: in 100.0 % of the rows the brightest cell is a relevant one" in texts(axes.figure)


def test_the_heatmap_has_as_many_pairs_as_asked_for() -> None:
    snapshot = rooms(40)
    few = replace(snapshot, settings=Settings(heatmap_pairs=12))
    assert draw("similarity_heatmap", few).axes[0].images[0].get_array().shape == (12, 12)
    assert "12 pairs with distinct documents, sampled with seed 7" in texts(draw("similarity_heatmap", few))


def test_the_heatmap_rings_other_right_answers() -> None:
    shared = choose_subset([record("q1", "d1", "d2"), record("q2", "d1", "d2")], max_samples=9, seed=7)
    legend = draw("similarity_heatmap", snapshot_of(shared)).axes[0].get_legend()
    assert legend is not None
    assert legend.get_texts()[0].get_text() == "also relevant (2)"


def test_a_wrong_brightest_cell_is_crossed() -> None:
    snapshot = snapshot_of(subset_of("a", "b"), noise=0.0)
    swapped = replace(snapshot.embeddings, queries=snapshot.embeddings.queries[::-1].copy())
    figure = draw("similarity_heatmap", replace(snapshot, embeddings=swapped))
    legend = figure.axes[0].get_legend()
    assert legend is not None
    assert legend.get_texts()[1].get_text() == "brightest of its row, but wrong (2)"
    assert "bright diagonal: in 0.0 % of the rows" in texts(figure)


# --- distribution ------------------------------------------------------------------------------


def test_the_distribution_shows_all_cosines_and_names_its_numbers() -> None:
    snapshot = rooms()
    figure = draw("similarity_distribution", snapshot)
    above, below = figure.axes
    assert above.get_xlim() == below.get_xlim() == (-1, 1)
    assert below.get_xlabel() == "cosine similarity"
    metrics = snapshot.metrics
    said = texts(figure)
    median = np.median(snapshot.similarity.positive_scores)
    assert f"positive: mean {metrics.positive_mean:.3f}, median {median:.3f}, n = 16" in said
    assert f"negative: mean {metrics.negative_mean:.3f}, median " in said
    assert "n = 240" in said
    assert f"margin {metrics.margin:.3f}" in said
    assert f"separation {metrics.separation:.2f}σ" in said


def test_the_densities_are_shares_per_unit_of_cosine() -> None:
    above = draw("similarity_distribution", rooms()).axes[0]
    areas = [np.sum(steps.get_data().values) * 2 / 64 for steps in above.patches]
    assert areas == pytest.approx([1.0] * len(areas))


def test_the_boxes_are_the_quartiles() -> None:
    snapshot = rooms()
    below = draw("similarity_distribution", snapshot).axes[1]
    box = below.patches[-1].get_bbox()
    quartiles = np.quantile(snapshot.similarity.positive_scores, [0.25, 0.75])
    assert (box.x0, box.x1) == pytest.approx(tuple(quartiles))
    assert [text.get_text() for text in below.get_yticklabels()] == ["negative", "positive"]


def test_hard_negatives_are_a_distribution_of_their_own() -> None:
    from embviz_callback.pairs.formats.reading import HardNegative

    hard = tuple(HardNegative(f"wrong {i}", ("price",), 2.0) for i in range(3))
    records = [replace(record(f"q{i}", f"d{i}"), hard_negatives=hard) for i in range(6)]
    figure = draw("similarity_distribution", snapshot_of(choose_subset(records, max_samples=9, seed=7)))
    labels = [text.get_text() for text in figure.axes[1].get_yticklabels()]
    assert labels == ["negative", "hard negative", "positive"]
    assert "n = 18" in texts(figure)


# --- top-10 ------------------------------------------------------------------------------------


def test_five_queries_tell_hits_the_closest_call_and_misses() -> None:
    snapshot = rooms(60)
    chosen = telling_queries(snapshot)
    assert [one.why for one in chosen] == ["clearest hit", "typical hit", "closest call", "typical miss", "worst miss"]
    rank = snapshot.similarity.rank
    assert [rank[one.row] == 1 for one in chosen] == [True, True, True, False, False]
    assert rank[chosen[-1].row] == rank.max()


def test_without_misses_five_hits_are_shown() -> None:
    snapshot = snapshot_of(subset_of(*(f"text {i}" for i in range(12))), noise=0.0)
    chosen = telling_queries(snapshot)
    assert [one.why for one in chosen] == ["clearest hit", "typical hit", "hit", "hit", "closest call"]
    assert len({one.row for one in chosen}) == 5


def test_an_own_document_beyond_the_ten_stands_below_with_its_rank() -> None:
    snapshot = rooms(60)
    worst = telling_queries(snapshot)[-1].row
    rank = snapshot.similarity.rank[worst]
    assert rank > 10
    found = bars(snapshot, worst)
    assert [bar.kind for bar in found] == ["wrong"] * 10 + ["own"]
    assert found[-1].rank == rank
    own = snapshot.embeddings.relevance[snapshot.embeddings.relevance[:, 0] == worst, 1][0]
    assert found[-1].text == snapshot.subset.documents[own]
    assert f"{rank:.0f}. Phòng trọ" in texts(draw("top_k_predictions", snapshot))


def test_an_equivalent_document_is_marked_as_such() -> None:
    subset = choose_subset([record("q1", "d1", "d2"), record("q2", "d3")], max_samples=9, seed=7)
    snapshot = snapshot_of(subset)
    row = subset.queries.index("q1")
    assert sorted(bar.kind for bar in bars(snapshot, row)) == ["also relevant", "own", "wrong"]
    said = texts(draw("top_k_predictions", snapshot))
    assert "≡" in said
    assert "✓" in said
    assert "✗" in said


def test_equal_columns_are_what_query_and_document_share() -> None:
    records = [record("q1", "d1", district="Quận 10", price=5.0), record("q2", "d2", district="Quận 10", price=7.0)]
    snapshot = snapshot_of(choose_subset(records, max_samples=9, seed=7))
    row, column = snapshot.subset.queries.index("q1"), snapshot.subset.documents.index("d2")
    assert shared_features(snapshot, row, column) == ("district Quận 10",)


def test_without_columns_shared_phrases_are_found_whatever_the_accents() -> None:
    pairs = [record("phong tro quan 10, 25m2, co may lanh", "Phòng trọ Quận 10, 25m², giá 5tr, có máy lạnh")]
    pairs += [record(f"nhà {i}", f"Phòng trọ Quận {i}, có máy giặt") for i in range(20, 40)]
    snapshot = snapshot_of(choose_subset(pairs, max_samples=99, seed=7))
    row = snapshot.subset.queries.index(pairs[0].query)
    column = snapshot.subset.documents.index(pairs[0].positives[0])
    assert shared_features(snapshot, row, column) == ("Phòng trọ Quận 10 25m²", "có máy lạnh")


def test_accents_that_both_texts_have_tell_words_apart() -> None:
    snapshot = snapshot_of(choose_subset([record("có sẵn giường", "gần sân bay")], max_samples=9, seed=7))
    assert shared_features(snapshot, 0, 0) == ()


def test_without_a_usable_query_the_top_10_says_so() -> None:
    snapshot = snapshot_of(subset_of("a", "b"), unusable=(0, 1))
    assert "Not drawn: no query has a usable embedding" in texts(draw("top_k_predictions", snapshot))


def test_negative_cosines_have_bars_of_their_own_length() -> None:
    axes = draw("top_k_predictions", rooms()).axes[0]
    low, high = axes.get_xlim()
    assert low < 0
    assert high == 1
    (bars_of_query,) = (found for found in axes.collections if isinstance(found, PolyCollection))
    ends = [path.vertices[:, 0] for path in bars_of_query.get_paths()]
    assert len(ends) >= 10
    assert all(end.min() == low for end in ends)
