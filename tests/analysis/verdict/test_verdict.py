"""Bands, the checklist and the bright diagonal."""

import math
from dataclasses import dataclass

import numpy as np
import pytest

from embviz_callback.analysis.metrics.numbers import Metrics
from embviz_callback.analysis.metrics.pictures import FIGURES
from embviz_callback.analysis.verdict.checklist import band, bright_diagonal, checklist, is_ready
from embviz_callback.embeddings import Embeddings

GOOD = {"positive_mean": 0.80, "negative_mean": 0.30, "margin": 0.50, "separation": 3.0, "rank1": 0.9}


@dataclass(frozen=True)
class Map:
    clear_share: float


@dataclass(frozen=True)
class NoMap:
    reason: str


CLEAR = {"tsne": Map(0.6), "umap": Map(0.7)}


def names_failed(**changed: object) -> list[str]:
    given = {"metrics": Metrics(GOOD), "maps": CLEAR, "figures_made": FIGURES, "heatmap_rows": 0.9} | changed
    checks = checklist(given["metrics"], given["maps"], given["figures_made"], given["heatmap_rows"])
    assert is_ready(checks) == all(check.passed for check in checks)
    return [check.name for check in checks if check.passed is not True]


@pytest.mark.parametrize(
    ("value", "margin"),
    [(0.41, "excellent"), (0.40, "good"), (0.30, "good"), (0.29, "fair"), (0.20, "fair"), (0.19, "poor"),
     (0.10, "poor"), (0.0999, "bad"), (-1.0, "bad"), (math.nan, "not judged")],
)  # fmt: skip
def test_a_margin_band_holds_its_lower_edge(value: float, margin: str) -> None:
    assert band("margin", value) == margin


@pytest.mark.parametrize(
    ("value", "separation"),
    [(math.inf, "excellent"), (3.01, "excellent"), (3.0, "good"), (2.0, "good"), (1.99, "fair"), (1.5, "fair"),
     (1.49, "poor"), (1.0, "poor"), (0.99, "bad"), (-math.inf, "bad")],
)  # fmt: skip
def test_a_separation_band_holds_its_lower_edge(value: float, separation: str) -> None:
    assert band("separation", value) == separation


def test_other_figures_have_no_bands() -> None:
    with pytest.raises(ValueError) as error:
        band("rank1", 0.5)
    assert str(error.value) == "there are bands for margin and separation, not for 'rank1'"


def test_a_panel_instead_of_a_map_is_not_a_figure_that_was_made() -> None:
    without = {"tsne": Map(0.6), "umap": NoMap("UMAP is not installed")}
    assert names_failed(maps=without) == ["figures", "clear_clusters_umap"]


def test_a_good_model_passes_all_nine_checks() -> None:
    assert names_failed() == []
    checks = checklist(Metrics(GOOD), CLEAR, FIGURES, 0.9)
    assert [check.name for check in checks] == [
        "figures", "positive_mean", "negative_mean", "margin", "separation", "rank1",
        "clear_clusters_tsne", "clear_clusters_umap", "bright_diagonal",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "edge"),
    [("positive_mean", 0.75), ("negative_mean", 0.55), ("margin", 0.25), ("separation", 2.0), ("rank1", 0.85)],
)
def test_a_number_on_its_threshold_does_not_pass(name: str, edge: float) -> None:
    assert names_failed(metrics=Metrics(GOOD | {name: edge})) == [name]
    assert names_failed(metrics=Metrics(GOOD | {name: math.nan})) == [name]


def test_maps_and_diagonal_must_exceed_their_thresholds() -> None:
    assert names_failed(maps={"tsne": Map(0.5), "umap": Map(0.51)}) == ["clear_clusters_tsne"]
    assert names_failed(heatmap_rows=0.85) == ["bright_diagonal"]
    assert names_failed(heatmap_rows=None) == ["bright_diagonal"]


def test_a_skipped_map_is_not_judged_and_says_why() -> None:
    checks = checklist(Metrics(GOOD), {"tsne": CLEAR["tsne"], "umap": NoMap("UMAP is not installed")}, FIGURES, 0.9)
    skipped = next(check for check in checks if check.name == "clear_clusters_umap")
    assert skipped.passed is None
    assert skipped.reason == "UMAP not judged: UMAP is not installed"
    assert not is_ready(checks)
    absent = checklist(Metrics(GOOD), {}, FIGURES, 0.9)[6]
    assert absent.reason == "t-SNE not judged: no such map was made"


def test_a_missing_figure_is_named() -> None:
    first = checklist(Metrics(GOOD), CLEAR, [name for name in FIGURES if name != "tsne_projection"], 0.9)[0]
    assert (first.passed, first.value, first.threshold) == (False, 4.0, 5.0)
    assert first.reason == "missing: tsne_projection"


def test_reasons_compare_in_words() -> None:
    checks = {check.name: check.reason for check in checklist(Metrics(GOOD | {"rank1": 0.5}), CLEAR, FIGURES, 0.9)}
    assert checks["rank1"] == "0.5000 is not above 0.85"
    assert checks["negative_mean"] == "0.3000 < 0.55"


def test_bright_diagonal_counts_rows_whose_brightest_cell_is_relevant() -> None:
    documents = np.eye(3)
    embeddings = Embeddings.from_raw(documents[[0, 1, 0, 2]], documents, [(0, 0), (1, 1), (2, 2), (3, 2)])
    assert bright_diagonal(embeddings, [0, 1, 2, 3]) == 0.75
    assert bright_diagonal(embeddings, [2]) == 1  # only its own column is in the picture
    assert bright_diagonal(embeddings, [2], columns=[0, 2]) == 0
    assert math.isnan(bright_diagonal(embeddings, []))


def test_bright_diagonal_of_a_collapsed_model_is_chance() -> None:
    rows = np.random.default_rng(0).standard_normal((1, 33)).repeat(20, 0)
    embeddings = Embeddings.from_raw(rows, rows, np.stack([np.arange(20)] * 2, axis=1))
    assert bright_diagonal(embeddings, np.arange(20)) == pytest.approx(1 / 20)


def test_a_query_without_direction_has_no_bright_cell() -> None:
    embeddings = Embeddings.from_raw([[np.nan, 0], [0, 1]], np.eye(2), [(0, 0), (1, 1)])
    assert bright_diagonal(embeddings, [0, 1]) == 0.5
