import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embviz_callback.analysis.maps import map_quality, tsne, umap
from embviz_callback.analysis.maps.layouts import open_layout
from embviz_callback.analysis.maps.machine_code import compiled
from embviz_callback.analysis.maps.map_quality import (
    Space,
    clear_share,
    mean_displacement,
    nearest,
    radius,
    registered,
    trustworthiness,
)
from embviz_callback.analysis.maps.projections import Projection, Skipped, _is_comparison_due, heatmap_rows, project
from embviz_callback.embeddings import Embeddings

METHODS = ["tsne", "umap"]


def clustered(n_queries: int = 30, *, seed: int = 0, shift: float = 0.0) -> Embeddings:
    """Queries near their documents in five clusters; `shift` moves every row a little."""
    random = np.random.default_rng(seed)
    centres = 3 * random.normal(size=(5, 16))
    documents = centres[np.arange(n_queries) % 5] + random.normal(size=(n_queries, 16))
    queries = documents + 0.3 * random.normal(size=documents.shape)
    moved = np.random.default_rng(99)
    queries, documents = (rows + shift * moved.normal(size=rows.shape) for rows in (queries, documents))
    return Embeddings.from_raw(queries, documents, np.repeat(np.arange(n_queries), 2).reshape(-1, 2))


def made(embeddings: Embeddings, method: str = "tsne", previous: Projection | None = None) -> Projection:
    found = project(embeddings, method, seed=7, previous=previous)
    assert isinstance(found, Projection), found
    return found


# --- how faithful a map is ---------------------------------------------------------------------


def test_nearest_neighbours_are_exact_and_ties_go_to_the_first_row() -> None:
    line = np.array([[0.0], [1.0], [2.0], [4.0]])
    rows, lengths = nearest(line, 2)
    assert rows.tolist() == [[1, 2], [0, 2], [1, 0], [2, 1]]
    assert lengths.tolist() == [[1, 2], [1, 1], [1, 2], [2, 3]]


def test_distances_taken_block_by_block_are_those_of_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(3)
    points, placed = random.normal(size=(41, 6)), random.normal(size=(41, 2))
    (rows, lengths), quality = nearest(points, 5), trustworthiness(points, placed)
    monkeypatch.setattr(map_quality, "_BLOCK_CELLS", 41 * 7)
    assert len(list(Space(points).squared_distances())) == 6
    in_blocks = nearest(points, 5)
    assert in_blocks[0].tolist() == rows.tolist()
    assert in_blocks[1] == pytest.approx(lengths)
    assert trustworthiness(points, placed) == quality


def test_the_distances_of_a_space_are_computed_once_and_left_alone() -> None:
    random = np.random.default_rng(4)
    space, placed = Space(random.normal(size=(30, 6))), random.normal(size=(30, 2))
    ((_, squares),) = space.squared_distances()
    before = squares.tobytes()
    assert trustworthiness(space, placed) == trustworthiness(space.points, placed)
    assert trustworthiness(placed, space) == trustworthiness(placed, space.points)
    assert nearest(space, 4)[0].tolist() == nearest(space.points, 4)[0].tolist()
    ((_, again),) = space.squared_distances()
    assert again is squares
    assert again.tobytes() == before


def test_trustworthiness_and_continuity_equal_scikit_learns() -> None:
    from sklearn.manifold import trustworthiness as reference

    random = np.random.default_rng(3)
    space, placed = random.normal(size=(60, 8)), random.normal(size=(60, 2))
    assert trustworthiness(space, placed) == pytest.approx(reference(space, placed, n_neighbors=10))
    assert trustworthiness(placed, space) == pytest.approx(reference(placed, space, n_neighbors=10))


def test_a_map_of_a_plane_onto_itself_is_wholly_trustworthy() -> None:
    plane = np.random.default_rng(1).normal(size=(40, 2))
    assert trustworthiness(plane, 5 * plane) == 1.0


def test_equally_distant_points_are_not_held_against_each_other() -> None:
    # Twelve copies of each of three points: a map may choose any of the copies as neighbours.
    space = np.repeat(np.eye(3), 12, axis=0)
    placed = np.repeat(np.eye(3)[:, :2] * 100, 12, axis=0) + np.random.default_rng(0).normal(size=(36, 2))
    assert trustworthiness(space, placed) == 1.0


@settings(deadline=None, max_examples=30)
@given(angle=st.floats(0, 6.3), mirror=st.booleans(), shift=st.tuples(st.floats(-50, 50), st.floats(-50, 50)))
def test_registration_undoes_any_rigid_motion(angle: float, mirror: bool, shift: tuple[float, float]) -> None:
    anchor = np.random.default_rng(5).normal(size=(12, 2))
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    moved = anchor @ turn * ([-1, 1] if mirror else [1, 1]) + shift
    assert registered(moved, anchor) == pytest.approx(anchor, abs=1e-9)


def test_registration_keeps_every_distance() -> None:
    random = np.random.default_rng(6)
    moved, anchor = 7 * random.normal(size=(2, 12, 2))
    laid = registered(moved, anchor)
    assert nearest(laid, 11)[1] == pytest.approx(nearest(moved, 11)[1])


def test_displacement_counts_radii_of_the_old_map() -> None:
    before = np.array([[2.0, 0], [-2, 0], [0, 2], [0, -2]])
    assert radius(before) == 2
    assert mean_displacement(before + np.array([3, 4]), before) == 2.5  # 5 units are 2.5 radii


@pytest.mark.parametrize("n", [5, 7, 10, 14, 20])
def test_few_random_maps_are_clear_however_few_points_they_show(n: int) -> None:
    rng, n_maps = np.random.default_rng(n), 400
    own = np.column_stack([np.arange(n), np.arange(n)])
    drawn = rng.normal(size=(n_maps, 2, n, 2)).astype(np.float32)
    queries, documents = drawn[0]
    least = Projection("tsne", queries, documents, 0.9, 0.9, None, "perplexity 30", 7).blind_share
    n_clear = sum(clear_share(queries, documents, own) > max(0.5, least) for queries, documents in drawn)
    assert n_clear / n_maps <= 0.08  # 46 % of ten pairs stood above the mean of chance


def test_clear_share_asks_for_a_relevant_document_among_the_ten_nearest_points() -> None:
    # Query 0 has its document beside it; between query 1 and its own lie eleven others.
    line = np.arange(14, dtype=np.float32)
    queries = np.array([[0, 0], [13, 0]], dtype=np.float32)
    documents = np.column_stack([line[1:13], np.zeros(12)]).astype(np.float32)
    far = np.array([[0, 0], [1, 0]])
    assert clear_share(queries, documents, far) == 0.5
    both = np.array([[0, 0], [1, 0], [1, 11]])
    assert clear_share(queries, documents, both) == 1.0
    queries[0] = np.nan
    assert clear_share(queries, documents, both) == 0.5  # an unusable query is a miss


# --- which pairs the heatmap shows -------------------------------------------------------------


def test_heatmap_rows_take_no_query_and_no_document_twice() -> None:
    random = np.random.default_rng(2)
    relevance = np.column_stack([np.arange(80), random.integers(0, 30, size=80)])
    embeddings = Embeddings.from_raw(random.normal(size=(80, 4)), random.normal(size=(30, 4)), relevance)
    pairs = heatmap_rows(embeddings, 20, seed=7)
    assert pairs.shape == (20, 2)
    assert len(set(pairs[:, 0])) == len(set(pairs[:, 1])) == 20
    known = {tuple(pair) for pair in relevance.tolist()}
    assert all(tuple(pair) in known for pair in pairs.tolist())


def test_heatmap_rows_stay_the_same_whatever_the_vectors() -> None:
    early, late = clustered(seed=1), clustered(seed=2)
    assert heatmap_rows(early, 10, seed=7).tolist() == heatmap_rows(late, 10, seed=7).tolist()
    assert heatmap_rows(early, 10, seed=7).tolist() != heatmap_rows(early, 10, seed=8).tolist()


def test_heatmap_rows_end_where_the_documents_do() -> None:
    embeddings = Embeddings.from_raw(np.eye(3), np.eye(3)[:1], [[0, 0], [1, 0], [2, 0]])
    assert len(heatmap_rows(embeddings, 50, seed=0)) == 1


# --- maps --------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
def test_same_input_and_seed_give_the_same_bytes(method: str) -> None:
    embeddings, later = clustered(), clustered(shift=0.05)
    state = np.random.get_state()[1].tobytes()  # noqa: NPY002  # the global state that must not move
    first, second = made(embeddings, method), made(embeddings, method)
    assert first.queries.tobytes() == second.queries.tobytes()
    assert first.documents.tobytes() == second.documents.tobytes()
    next_first, next_second = (made(later, method, previous) for previous in (first, second))
    assert next_first.queries.tobytes() == next_second.queries.tobytes()
    assert np.random.get_state()[1].tobytes() == state  # noqa: NPY002


@pytest.mark.parametrize("method", METHODS)
def test_a_map_of_clusters_is_faithful_and_says_how_it_was_made(method: str) -> None:
    found = made(clustered(60), method)
    assert found.queries.shape == found.documents.shape == (60, 2)
    assert found.queries.dtype == np.float32
    assert found.trustworthiness > 0.9
    assert found.continuity > 0.9
    assert found.clear_share > 0.9
    assert found.displacement is None
    assert found.parameter == {"tsne": "perplexity 30", "umap": "15 neighbours"}[method]
    assert (found.seed, found.note, found.is_fresh) == (7, "fitted afresh", True)


@pytest.mark.parametrize("method", METHODS)
def test_what_hardly_changed_hardly_moves(method: str) -> None:
    first = made(clustered(60), method)
    later = clustered(60, shift=0.05)
    second = made(later, method, first)
    fresh = made(later, method)
    assert second.note == f"continued from the last map (a fresh fit 1 evaluation ago: {first.trustworthiness:.3f})"
    assert second.displacement is not None
    assert second.displacement < 0.2
    assert second.trustworthiness >= fresh.trustworthiness - 0.01
    assert not second.is_fresh


@pytest.mark.parametrize("method", METHODS)
def test_a_large_change_is_refitted_and_laid_onto_the_last_map(method: str) -> None:
    first = made(clustered(60), method)
    shuffled = np.random.default_rng(1).permutation(60)
    other = Embeddings.from_raw(
        clustered(60).queries[shuffled], clustered(60).documents[shuffled], clustered(60).relevance
    )
    second, fresh = made(other, method, first), made(other, method)
    assert second.note == "refitted and laid rigidly onto the last map: the space changed a lot"
    assert second.is_fresh
    assert second.trustworthiness == pytest.approx(fresh.trustworthiness)
    # Rigidly: the fresh fit's distances, in another place.
    distances = [nearest(np.concatenate([one.queries, one.documents]).astype(float), 20)[1] for one in (second, fresh)]
    assert distances[0] == pytest.approx(distances[1], rel=1e-3, abs=1e-3)


def test_a_continued_map_that_falls_behind_a_fresh_fit_is_refitted() -> None:
    embeddings = clustered(100)
    random = np.random.default_rng(0)
    # A map of noise that claims no trust: nothing in the new space makes it worse.
    queries, documents = (3000 * random.normal(size=(2, 100, 2))).astype(np.float32)
    stale = Projection("tsne", queries, documents, 0.5, 0.5, None, "perplexity 30", 7)
    found = made(embeddings, "tsne", stale)
    assert found.note.startswith("refitted and laid rigidly onto the last map: continuing reached 0.")
    assert found.is_fresh
    assert found.trustworthiness == pytest.approx(made(embeddings).trustworthiness)


def test_a_continued_map_is_compared_with_a_fresh_fit_after_10_20_and_40_evaluations() -> None:
    embeddings, last = clustered(), None
    course = []
    for _ in range(45):
        last = made(embeddings, "tsne", last)
        course.append((last.since_fitted, last.since_compared))
    assert [fitted for fitted, _ in course] == list(range(45))
    assert [fitted for fitted, since in course if since == 0] == [0, 10, 20, 40]
    assert last is not None
    assert not last.is_fresh
    assert last.note.startswith("continued from the last map (a fresh fit 4 evaluations ago: ")


@pytest.mark.parametrize(
    ("compared", "fresh", "reached", "is_due"),
    [
        (0.950, 0.950, 0.943, False),
        (0.950, 0.950, 0.942, True),  # three quarters of what it may lose
        (0.950, 0.945, 0.940, False),  # it was better by so much
        (0.950, 0.945, 0.938, True),
        (0.950, 0.958, 0.948, True),  # it has lost most of it already
        (0.950, 0.950, 0.964, False),
        (0.950, 0.950, 0.966, True),  # much has changed, if for the better
    ],
)
def test_a_comparison_is_due_when_a_map_may_have_lost_what_it_may_lose(
    compared: float, fresh: float, reached: float, is_due: bool
) -> None:
    flat = np.zeros((3, 2), dtype=np.float32)
    last = Projection("tsne", flat, flat, 0.95, 0.9, None, "perplexity 1", 7)
    last = replace(last, compared_trustworthiness=compared, fresh_trustworthiness=fresh, since_fitted=3)
    assert _is_comparison_due(last, reached) is is_due


def test_a_previous_map_of_other_rows_or_another_method_is_ignored() -> None:
    first = made(clustered(30))
    assert made(clustered(31), "tsne", first).displacement is None
    assert made(clustered(30), "tsne", made(clustered(31))).note == "fitted afresh"


def test_rows_without_direction_are_not_placed_and_nobodys_neighbour() -> None:
    whole = clustered()
    queries = whole.queries.copy()
    queries[3] = np.nan
    embeddings = Embeddings.from_raw(queries, whole.documents, whole.relevance)
    found = made(embeddings)
    assert np.isnan(found.queries[3]).all()
    assert np.isfinite(np.delete(found.queries, 3, axis=0)).all()
    assert np.isfinite(found.documents).all()
    recovered = made(whole, "tsne", found)
    assert recovered.note == ("refitted and laid rigidly onto the last map: it has points that the last one lacked")
    assert recovered.displacement is not None


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("n_queries", "n_documents"), [(3, 2), (3, 3), (8, 8)])
def test_few_points_lower_the_parameter_and_print_it(method: str, n_queries: int, n_documents: int) -> None:
    random = np.random.default_rng(4)
    relevance = np.column_stack([np.arange(n_queries), np.arange(n_queries) % n_documents])
    embeddings = Embeddings.from_raw(
        random.normal(size=(n_queries, 8)), random.normal(size=(n_documents, 8)), relevance
    )
    found, n = made(embeddings, method), n_queries + n_documents
    wanted = {"tsne": f"perplexity {(n - 1) / 3:.3g}", "umap": f"{min(15, n - 1)} neighbours"}
    assert found.parameter == wanted[method]
    assert np.isfinite(found.queries).all()
    assert 0 <= found.trustworthiness <= 1


@pytest.mark.parametrize("method", METHODS)
def test_many_equal_points_are_mapped(method: str) -> None:
    few = np.eye(6)
    embeddings = Embeddings.from_raw(
        np.repeat(few, 20, axis=0), few, np.column_stack([np.arange(120), np.repeat(np.arange(6), 20)])
    )
    assert np.isfinite(made(embeddings, method).queries).all()


# --- no map ------------------------------------------------------------------------------------


def without_libraries(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("numba", "sklearn", "umap"):
        monkeypatch.setitem(sys.modules, name, None)


@pytest.mark.parametrize("method", ["tsne", "umap"])
def test_collapse_is_noticed_before_any_library_is_called(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    without_libraries(monkeypatch)
    relevance = np.repeat(np.arange(20), 2).reshape(-1, 2)
    constant = np.ones((20, 4))
    nearly = constant + 1e-5 * np.random.default_rng(0).normal(size=constant.shape)
    for rows in (constant, nearly):
        assert project(Embeddings.from_raw(rows, rows, relevance), method, seed=7) == Skipped(
            "the embeddings have collapsed: all 40 points are nearly the same, so there is nothing to map"
        )
    two_places = Embeddings.from_raw(constant, -constant, relevance)
    assert project(two_places, method, seed=7) == Skipped(
        "the embeddings have collapsed: 40 points lie on 2 places, so there is nothing to map"
    )


@pytest.mark.parametrize(("method", "name"), [("tsne", "t-SNE"), ("umap", "UMAP")])
@pytest.mark.parametrize("n", [1, 2])
def test_below_five_points_there_is_no_map(method: str, name: str, n: int, monkeypatch: pytest.MonkeyPatch) -> None:
    without_libraries(monkeypatch)
    embeddings = Embeddings.from_raw(np.eye(4)[:n], np.eye(4)[:n], np.repeat(np.arange(n), 2).reshape(-1, 2))
    assert project(embeddings, method, seed=7) == Skipped(
        f"{name} needs at least 5 usable points, there are {2 * n}; evaluate more pairs"
    )


def test_embeddings_that_are_all_unusable_give_no_map() -> None:
    embeddings = Embeddings.from_raw(
        np.zeros((9, 4)), np.full((9, 4), np.nan), np.zeros((9, 2)) + np.arange(9)[:, None]
    )
    assert project(embeddings, "tsne", seed=7) == Skipped(
        "t-SNE needs at least 5 usable points, there are 0; evaluate more pairs"
    )


@pytest.mark.parametrize(("method", "title"), [("tsne", "t-SNE"), ("umap", "UMAP")])
def test_a_missing_numba_costs_the_maps_and_is_named(method: str, title: str, monkeypatch: pytest.MonkeyPatch) -> None:
    without_libraries(monkeypatch)
    assert project(clustered(), method, seed=7) == Skipped(
        f"{title} cannot be imported (import of numba halted; None in sys.modules); pip install numba"
    )


def test_a_numba_that_fails_to_import_is_skipped_with_the_cause(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "numba.py").write_text("raise RuntimeError('numba needs another NumPy')")
    monkeypatch.delitem(sys.modules, "numba", raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    assert project(clustered(), "umap", seed=7) == Skipped("UMAP failed (RuntimeError: numba needs another NumPy)")


@pytest.mark.parametrize("method", METHODS)
def test_maps_need_neither_umap_learn_nor_scikit_learn(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = made(clustered(), method)
    for name in ("umap", "sklearn", "openTSNE"):
        monkeypatch.setitem(sys.modules, name, None)
    assert made(clustered(), method).queries.tobytes() == wanted.queries.tobytes()


def test_another_method_is_refused() -> None:
    for call in (lambda: project(clustered(), "pca", seed=7), lambda: open_layout("pca")):
        with pytest.raises(ValueError) as error:
            call()
        assert str(error.value) == "method must be 'tsne' or 'umap', got 'pca'"


def test_coordinates_of_another_shape_are_refused() -> None:
    flat = np.zeros((3, 2), dtype=np.float32)
    with pytest.raises(ValueError) as error:
        Projection("tsne", flat, np.zeros((3, 3)), 1.0, 1.0, None, "perplexity 1", 7)
    assert str(error.value) == "documents must be float32 of shape (n, 2), got float64 (3, 3)"


def test_progress_counts_up_to_the_end() -> None:
    seen: list[tuple[int, int]] = []
    project(clustered(), "tsne", seed=7, progress=lambda done, total: seen.append((done, total)))
    assert seen[-1] == (500, 500)
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)


def test_training_does_not_pay_for_the_maps_libraries() -> None:
    code = (
        "import sys, embviz_callback.analysis.maps.projections;"
        "print([n for n in ('sklearn', 'scipy', 'umap', 'numba', 'openTSNE', 'matplotlib') if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.parametrize("method", METHODS)
def test_what_numba_compiles_is_kept_for_the_next_process(method: str) -> None:
    project(clustered(), method, seed=7)
    stats = compiled({"tsne": tsne, "umap": umap}[method]._descend).stats
    assert sum(stats.cache_hits.values()) + sum(stats.cache_misses.values()) >= 1
    assert list(Path(stats.cache_path).glob(f"{method}._descend*.nbc"))


@pytest.mark.parametrize("loop", [tsne._descend, umap._descend])
def test_the_loops_are_compiled_to_run_beside_other_threads(loop: Callable[..., None]) -> None:
    assert compiled(loop).targetoptions["nogil"] is True
