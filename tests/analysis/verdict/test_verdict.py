"""Bands, the checklist and the bright diagonal."""

import math
from dataclasses import dataclass, replace

import numpy as np
import pytest

from embviz_callback.analysis.metrics.intervals import PerQuery, Sampling, point
from embviz_callback.analysis.metrics.numbers import Metrics
from embviz_callback.analysis.metrics.pictures import FIGURES
from embviz_callback.analysis.verdict.checklist import (
    CANNOT_TELL,
    DESCRIBED,
    FAILED,
    NOT_JUDGED,
    NOT_READY,
    PASSED,
    READY,
    READY_ON_VALUES,
    SCALE,
    Check,
    band,
    bright_cells,
    bright_diagonal,
    checklist,
    conclusion,
)
from embviz_callback.embeddings import Embeddings


@dataclass(frozen=True)
class Map:
    clear_share: float
    blind_share: float = 0.1


@dataclass(frozen=True)
class NoMap:
    reason: str


CLEAR = {"tsne": Map(0.6), "umap": Map(0.7)}


def evaluated(
    n: int = 400, *, positive: float = 0.80, negative: float = 0.30, spread: float = 0.15, rank1: float = 0.95,
    auc: float = 0.98,
) -> Metrics:  # fmt: skip
    """Of queries half of which lie above the means and half below, all alone in their groups."""
    side = np.where(np.arange(n) % 2, 1.0, -1.0)
    ones, cosines = np.ones(n), positive + spread * side
    statistics = PerQuery(
        sampling=Sampling(np.arange(n)),
        positive=np.stack([ones, cosines, cosines**2], axis=1),
        negative=9 * np.stack([ones, negative * ones, (negative**2 + 1e-4) * ones], axis=1),
        ranks={"rank1": (np.arange(n) < round(rank1 * n)).astype(float)},
        centre=0.0,
    )
    return Metrics({**point(statistics), "auc": auc}, n_queries=n, per_query=statistics)


BRIGHT = (np.arange(400) < 380).astype(float)


def checks_of(metrics: Metrics | None = None, **changed: object) -> dict[str, Check]:
    given = {"maps": CLEAR, "figures_made": FIGURES, "bright": BRIGHT} | changed
    found = checklist(metrics or evaluated(), given["maps"], given["figures_made"], given["bright"])  # type: ignore[arg-type]
    return {check.name: check for check in found}


def said(metrics: Metrics | None = None, **changed: object) -> dict[str, str]:
    """The lines that are not passed, and what comes of them."""
    found = checks_of(metrics, **changed)
    return {name: check.outcome for name, check in found.items() if check.outcome not in (PASSED, DESCRIBED)}


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


def test_a_good_model_passes_every_line_that_decides_beyond_doubt() -> None:
    found = checks_of()
    assert {name: check.outcome for name, check in found.items()} == {
        "figures": DESCRIBED, "positive_mean": PASSED, "negative_mean": PASSED, "margin": PASSED, "separation": PASSED,
        "rank1": PASSED, "clear_clusters_tsne": DESCRIBED, "clear_clusters_umap": DESCRIBED, "bright_diagonal": PASSED,
    }  # fmt: skip
    assert conclusion(list(found.values())) == READY
    assert found["negative_mean"].reason == "0.3000 < 0.55"


def test_what_is_made_and_what_a_map_shows_is_described_and_decides_nothing() -> None:
    found = checks_of(maps={"tsne": Map(0.5), "umap": NoMap("UMAP needs more points")}, figures_made=list(FIGURES)[1:])
    assert found["figures"].reason == "missing: tsne_projection, umap_projection"
    assert found["clear_clusters_tsne"].meets is False
    assert found["clear_clusters_umap"].reason == "UMAP not judged: UMAP needs more points"
    assert checks_of(maps={})["clear_clusters_tsne"].reason == "t-SNE not judged: no such map was made"
    assert conclusion(list(found.values())) == READY


def test_clusters_of_so_few_points_that_chance_makes_them_are_not_clear() -> None:
    few = checks_of(maps={"tsne": Map(0.9, blind_share=10 / 11)})["clear_clusters_tsne"]
    assert (few.meets, few.reason) == (False, "0.9000 is not above 0.9091, what chance can give among so few points")


def test_few_queries_cannot_tell_and_say_how_many_would() -> None:
    found = checks_of(evaluated(40, rank1=0.9), bright=BRIGHT[:40])
    line = found["rank1"]
    assert (line.outcome, line.meets) == (CANNOT_TELL, True)
    assert line.reason == "0.9000 > 0.85; beyond doubt it takes about 340 queries"
    assert conclusion(list(found.values())) == READY_ON_VALUES


def test_a_value_on_its_threshold_cannot_be_told_by_any_number() -> None:
    line = checks_of(evaluated(rank1=0.85))["rank1"]
    assert (line.outcome, line.meets) == (CANNOT_TELL, False)
    assert line.reason == "0.8500 is not above 0.85; too close to it for any number of queries to tell"


def test_a_miss_beyond_doubt_is_a_failure() -> None:
    found = checks_of(evaluated(rank1=0.5, auc=0.9))
    assert found["rank1"].outcome == FAILED
    assert found["rank1"].reason == "0.5000 is not above 0.85"
    assert conclusion(list(found.values())) == NOT_READY


def test_metrics_without_their_queries_cannot_tell() -> None:
    bare = Metrics(dict(evaluated()), n_queries=400)
    assert set(said(bare).values()) == {CANNOT_TELL}
    assert checks_of(bare)["margin"].reason == "0.5000 > 0.25, without an interval"


def test_nan_is_not_judged() -> None:
    bare = replace(evaluated(), figures=dict(evaluated()) | {"margin": math.nan})
    assert said(bare) == {"margin": NOT_JUDGED}
    assert said(bright=None) == {"bright_diagonal": NOT_JUDGED}


def test_on_a_squeezed_scale_the_separation_decides() -> None:
    squeezed = evaluated(positive=0.9, negative=0.7, spread=0.05)
    found = checks_of(squeezed)
    assert said(squeezed) == {"negative_mean": SCALE, "margin": SCALE}
    assert found["margin"].reason == (
        "0.2000 for 0.25: the scale of the scores, which costs no rank; separation decides"
    )
    assert conclusion(list(found.values())) == READY
    # Where ranking is not intact a small margin is what it says.
    assert said(evaluated(positive=0.9, negative=0.7, spread=0.05, auc=0.9))["margin"] == FAILED


def test_among_a_corpus_the_subset_s_own_documents_are_judged() -> None:
    among = replace(evaluated(rank1=0.3), own=evaluated())
    assert said(among) == {}


def test_every_query_has_a_cell_in_the_blocks_of_the_heatmap() -> None:
    rng = np.random.default_rng(0)
    documents = rng.standard_normal((170, 16))
    queries = documents[np.arange(200) % 170] + 0.9 * rng.standard_normal((200, 16))
    embeddings = Embeddings.from_raw(queries, documents, np.stack([np.arange(200), np.arange(200) % 170], axis=1))
    found = bright_cells(embeddings, seed=3)
    # By hand: the same deal of columns, looked at query by query.
    blocks = np.array_split(np.random.default_rng(3).permutation(170), 3)
    for query in range(200):
        block = next(one for one in blocks if query % 170 in one)
        scores = embeddings.queries[query] @ embeddings.documents[block].T
        assert found[query] == (block[scores.argmax()] == query % 170)


def test_bright_diagonal_counts_rows_whose_brightest_cell_is_relevant() -> None:
    documents = np.eye(3)
    embeddings = Embeddings.from_raw(documents[[0, 1, 0, 2]], documents, [(0, 0), (1, 1), (2, 2), (3, 2)])
    assert bright_diagonal(embeddings, [0, 1, 2, 3], [0, 1, 2, 2]) == 0.75
    assert bright_diagonal(embeddings, [2], [2]) == 1  # only its own column is in the picture
    assert bright_diagonal(embeddings, [2], [0, 2]) == 0
    assert math.isnan(bright_diagonal(embeddings, [], []))


def test_bright_diagonal_of_a_collapsed_model_is_chance() -> None:
    rows = np.random.default_rng(0).standard_normal((1, 33)).repeat(20, 0)
    embeddings = Embeddings.from_raw(rows, rows, np.stack([np.arange(20)] * 2, axis=1))
    assert bright_diagonal(embeddings, np.arange(20), np.arange(20)) == pytest.approx(1 / 20)


def test_a_query_without_direction_has_no_bright_cell() -> None:
    embeddings = Embeddings.from_raw([[np.nan, 0], [0, 1]], np.eye(2), [(0, 0), (1, 1)])
    assert bright_diagonal(embeddings, [0, 1], [0, 1]) == 0.5
