"""Checkpoints side by side: the same queries, paired intervals, one rule for the best."""

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from small_runs import HOSTILE, a_run, a_subset

from embviz_callback.analysis.compare.comparison import common_maps, compare
from embviz_callback.analysis.maps.map_quality import Points, mean_displacement
from embviz_callback.analysis.maps.projections import Projection, Skipped, project
from embviz_callback.analysis.metrics.catalogue import CATALOGUE
from embviz_callback.analysis.metrics.contrasts import compared
from embviz_callback.analysis.metrics.intervals import per_query
from embviz_callback.cli import main
from embviz_callback.commands.parsers import COMMANDS
from embviz_callback.delivery.results.comparison_folder import comparison_json
from embviz_callback.delivery.run.run_folder import RunFolder
from embviz_callback.delivery.tensorboard.dashboards import layout_value, threshold_value
from embviz_callback.drawing.figures.png import to_png
from embviz_callback.drawing.figures.side_by_side import (
    draw_comparison_distributions,
    draw_comparison_maps,
    draw_comparison_metrics,
)
from embviz_callback.drawing.reports.asides import Context
from embviz_callback.drawing.reports.comparisons.comparison_report import comparison_report, sentences
from embviz_callback.embeddings import Embeddings
from embviz_callback.snapshot import Snapshot, save_snapshot, take_snapshot


@pytest.fixture(scope="module")
def run() -> list[Snapshot]:
    return a_run(a_subset(), (3.0, 1.2, 0.5, 1.6))


def texts_of(figure: Figure) -> str:
    figure.draw_without_rendering()
    return "\n".join(text.get_text() for text in figure.findobj(match=lambda one: hasattr(one, "get_text")))


def _points(made: Projection) -> Points:
    return np.concatenate([made.queries, made.documents]).astype(np.float64)


def turned(snapshot: Snapshot) -> Snapshot:
    """The same evaluation with its queries in reverse order."""
    subset, embeddings, n = snapshot.subset, snapshot.embeddings, len(snapshot.subset.queries)
    relevance = np.array(sorted([n - 1 - query, document] for query, document in subset.relevance.tolist()))
    other = replace(
        subset,
        queries=subset.queries[::-1],
        ids=subset.ids[::-1],
        metadata=subset.metadata[::-1],
        relevance=relevance,
        records=relevance,
    )
    reversed_embeddings = Embeddings(embeddings.queries[::-1].copy(), embeddings.documents, relevance)
    return take_snapshot(
        label="turned", subset=other, embeddings=reversed_embeddings, settings=snapshot.settings, epoch=9, step=99
    )


def test_differences_are_paired_and_corrected_for_all_that_are_compared(run: list[Snapshot]) -> None:
    comparison = compare(run, seed=5)
    first, *others = (per_query(one.similarity, one.embeddings) for one in run)
    assert comparison.differences[2]["rank1"] == compared(first, others, seed=5)["rank1"][1]
    found = comparison.differences[2]["rank1"]
    assert found.value == pytest.approx(run[2].metrics.rank1 - run[0].metrics.rank1)
    assert found.is_beyond_chance
    assert comparison.differences[0] == {}


def test_gained_and_lost_queries_add_up_to_the_difference_of_hits(run: list[Snapshot]) -> None:
    comparison = compare(run)
    changes = comparison.changes[2]
    hits = [(one.similarity.rank == 1).sum() for one in run]
    assert len(changes.improved) - len(changes.fell) == hits[2] - hits[0]
    assert (changes.before, changes.after) == ("epoch 0", "epoch 2")


def test_the_best_has_the_highest_mrr_and_a_later_fall_from_it_is_said(run: list[Snapshot]) -> None:
    comparison = compare(run)
    assert comparison.best.metric == "mrr"
    assert comparison.labels[comparison.best.place] == "epoch 2"
    best, about, fall = sentences(comparison)
    assert best == "best: epoch 2"
    assert about == "its MRR is 1.000, 95 % interval 0.929 to 1.000 for the best of 4 chosen on these queries"
    before, after = (run[place].metrics.mrr for place in (2, 3))
    assert fall == f"fallen from its best (epoch 2): MRR of epoch 3 is {after:.3f} against {before:.3f}"


def test_another_metric_may_decide_and_must_be_one(run: list[Snapshot]) -> None:
    assert compare(run, metric="separation").best.metric == "separation"
    with pytest.raises(ValueError) as error:
        compare(run, metric="mmr")
    assert str(error.value) == (
        "metric must be one of positive_mean, negative_mean, margin, separation, rank1, mrr, mrr_at_10, recall_at_1,"
        " recall_at_5, recall_at_10, recall_at_50, ndcg_at_10, map, got 'mmr'"
    )


def test_of_two_that_cannot_be_told_apart_the_higher_is_the_best_and_the_other_is_named() -> None:
    # Of 40 queries one more hit is chance, and the second puts more room between right and wrong.
    perfect, second = a_run(a_subset(), (0.5, 0.1))
    documents, queries = second.embeddings.documents, second.embeddings.queries.copy()
    own = dict(second.subset.relevance.tolist())[0]
    between = documents[own] + 1.05 * documents[(own + 1) % len(documents)]
    queries[0] = between / np.linalg.norm(between)
    narrowly = replace(second.embeddings, queries=queries)
    perfect = replace(perfect, label="a", epoch=None, step=None)
    worse = take_snapshot(label="b", subset=second.subset, embeddings=narrowly, settings=second.settings)
    assert worse.metrics.rank1 < perfect.metrics.rank1
    assert worse.metrics.separation > perfect.metrics.separation
    comparison = compare([perfect, worse])
    assert not comparison.differences[1]["rank1"].is_beyond_chance
    assert (comparison.best.place, comparison.best.undecided) == (0, (1,))
    assert sentences(comparison)[-1] == "cannot be told from it: b"
    assert comparison.fall is None


def test_the_report_counts_the_groups_that_a_chain_was_cut_into(run: list[Snapshot]) -> None:
    own = run[0].subset.relevance
    beside = np.stack([own[:, 0], own[:, 0] // 4], axis=1)  # a document that four queries share, and a chain of all
    relevance = np.unique(np.concatenate([own, beside]), axis=0)
    subset = replace(run[0].subset, relevance=relevance)
    chained = [
        take_snapshot(
            label=one.label,
            subset=subset,
            embeddings=replace(one.embeddings, relevance=relevance),
            settings=one.settings,
        )
        for one in run[:2]
    ]
    report = comparison_report(compare(chained))
    assert "over 10 groups of queries by their most shared document" in report
    assert "on these 10 groups of queries" in report


def test_queries_in_another_order_are_compared_text_by_text(run: list[Snapshot]) -> None:
    comparison = compare([run[1], turned(run[1])])
    difference = comparison.differences[1]["margin"]
    assert (difference.value, difference.low, difference.high) == pytest.approx((0, 0, 0), abs=1e-12)
    assert comparison.changes[1].improved == comparison.changes[1].fell == ()


def test_other_subsets_and_lone_evaluations_are_refused_in_one_sentence(run: list[Snapshot]) -> None:
    other = a_run(a_subset(20), (1.0,))[0]
    with pytest.raises(ValueError) as error:
        compare([run[0], other])
    prints = run[0].subset.fingerprint, other.subset.fingerprint
    assert str(error.value) == (
        f"only evaluations of one subset can be compared: epoch 0 is of {prints[0]}, epoch 0 of {prints[1]};"
        " use the same data, max_samples, seed and corpus"
    )
    with pytest.raises(ValueError) as error:
        compare(run[:1])
    assert str(error.value) == "a comparison needs at least two evaluations, got 1"
    with pytest.raises(ValueError) as error:
        compare(run, reference=4)
    assert str(error.value) == "reference must be an index below 4, got 4"


def test_of_a_few_that_are_shown_everything_is_said_as_among_all(run: list[Snapshot]) -> None:
    narrow = [replace(run[2], label=f"near {at}", epoch=4 + at) for at in range(2)]
    whole = compare([*run, *narrow], reference=1)
    few = whole.of([1, 2, 5])
    assert few.labels == ("epoch 1", "epoch 2", "near 1")
    assert few.best.interval == whole.best.interval
    assert few.differences[1] == whole.differences[2]
    best, about, same, unshown = sentences(few)
    assert best == "best: epoch 2"
    assert about.endswith(" for the best of 6 chosen on these queries")
    assert (same, unshown) == ("cannot be told from it: near 1", "not shown, and may as well be the best: near 0")
    text = comparison_report(few)
    assert "3 evaluations of the 6 that the best was chosen from, of 40 queries, subset" in text
    assert "corrected for all 5 that are compared" in text


def test_equal_labels_are_told_apart(run: list[Snapshot]) -> None:
    same = [replace(one, label="best.pt") for one in run[:2]]
    assert compare(same).labels == ("best.pt (1)", "best.pt (2)")


def test_a_collapsed_checkpoint_is_compared_too_and_is_never_the_best(run: list[Snapshot]) -> None:
    embeddings = run[0].embeddings
    one = np.zeros((1, 16), dtype=np.float32)
    one[0, 0] = 1
    flat = Embeddings(
        np.repeat(one, 40, axis=0), np.repeat(one, len(embeddings.documents), axis=0), embeddings.relevance
    )
    collapsed = take_snapshot(label="flat", subset=run[0].subset, embeddings=flat, settings=run[0].settings)
    comparison = compare([collapsed, run[2]])
    assert comparison.best.place == 1
    json.dumps(comparison_json(comparison), allow_nan=False)
    assert "flat" in comparison_report(comparison)
    to_png(draw_comparison_metrics(comparison))
    to_png(draw_comparison_distributions([collapsed, run[2]], comparison.labels))
    to_png(draw_comparison_maps(common_maps([collapsed], "tsne", seed=0), [collapsed], ["flat"]))


def test_the_report_names_the_rule_the_tables_and_the_queries(run: list[Snapshot]) -> None:
    text = comparison_report(compare(run), figures=["comparison_metrics"])
    assert "**Best: epoch 2.** Rule: highest MRR;" in text
    assert "| rank1 |" in text
    assert "## Differences from epoch 0" in text
    assert "![comparison metrics](comparison_metrics.png)" in text or "comparison_metrics.png" in text
    assert "<img" not in text
    assert HOSTILE[0] not in text


def test_the_figures_show_every_label_and_common_axes(run: list[Snapshot]) -> None:
    comparison = compare(run)
    assert all(label in texts_of(draw_comparison_metrics(comparison)) for label in comparison.labels)
    by_ndcg = texts_of(draw_comparison_metrics(replace(comparison, best=replace(comparison.best, metric="ndcg_at_10"))))
    assert "nDCG@10" in by_ndcg
    assert f"filled: the best by nDCG@10, {comparison.labels[comparison.best.place]} ·" in by_ndcg
    figure = draw_comparison_distributions(run, comparison.labels)
    assert len({axes.get_xlim() for axes in figure.axes}) == 1
    maps = [one.maps["tsne"] for one in run]
    drawn = draw_comparison_maps([*maps[:3], Skipped("no room $\\frac{$")], run, comparison.labels)
    assert len({axes.get_xlim() for axes in drawn.axes[:3]}) == 1
    assert "no room" in texts_of(drawn)
    assert to_png(drawn)


@pytest.mark.slow
def test_each_common_map_is_continued_from_the_last_one_that_was_made(run: list[Snapshot]) -> None:
    first, second, other, third = common_maps([run[1], run[2], turned(run[2]), run[3]], "tsne", seed=1)
    assert other == Skipped("its texts stand in another order; evaluate it with the same seed")
    made = [one for one in (first, second, third) if isinstance(one, Projection)]
    assert len(made) == 3
    before = None
    for found, snapshot in zip(made, (run[1], run[2], run[3]), strict=True):
        expected = project(snapshot.embeddings, "tsne", seed=1, previous=before)
        assert isinstance(expected, Projection)
        assert (_points(found) == _points(expected)).all()
        before = found
    # A map that starts from nothing, or from the first, lies elsewhere.
    for start in (None, made[0]):
        elsewhere = project(run[3].embeddings, "tsne", seed=1, previous=start)
        assert isinstance(elsewhere, Projection)
        assert mean_displacement(_points(elsewhere), _points(made[2])) > 0.01


def test_the_layout_is_one_that_tensorboard_reads() -> None:
    from tensorboard.plugins.custom_scalar import layout_pb2, metadata

    value = layout_value("my.run")
    assert value.tag == metadata.CONFIG_SUMMARY_TAG
    assert value.metadata.plugin_data.plugin_name == metadata.PLUGIN_NAME
    layout = layout_pb2.Layout.FromString(value.tensor.string_val[0])
    charts = {chart.title: list(chart.multiline.tag) for category in layout.category for chart in category.chart}
    assert charts["Margin"] == ["^my\\.run/margin$", "^my\\.run_detail/margin_threshold$"]
    assert charts["Mean cosine"] == ["^my\\.run/positive_mean$", "^my\\.run/negative_mean$"]
    assert charts["Effective rank"] == ["^my\\.run_detail/effective_rank$"]
    assert charts["Alert (1 while firing)"] == ["^my\\.run/alert$"]
    drawn = {name for name, row in CATALOGUE.items() if row.chart is not None}
    found = {tag.rpartition("/")[2].rstrip("$") for tags in charts.values() for tag in tags}
    assert found == {*drawn, "margin_threshold", "alert"}
    threshold = threshold_value(0.25, "my.run")
    assert (threshold.tag, threshold.simple_value) == ("my.run_detail/margin_threshold", 0.25)


def shown_labels(folder: RunFolder, snapshot: Snapshot) -> list[str]:
    """What the page shows when an evaluation is added to it."""
    folder.add_view(snapshot, ())
    return [view.label for view in folder.write_page(snapshot, Context())]


def test_the_page_of_a_run_grows_with_it_and_survives_a_resume(run: list[Snapshot], tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    for snapshot in (run[0], run[2], run[1], run[2]):
        labels = shown_labels(folder, snapshot)
    assert labels == ["epoch 0", "epoch 1", "epoch 2"]
    assert (tmp_path / "report.html").stat().st_size > 50_000
    assert not (tmp_path / "ledger.json").exists()
    folder.forget_after(20)
    assert [view.label for view in folder.views(run[0].subset.fingerprint)] == ["epoch 0", "epoch 1"]
    assert shown_labels(folder, run[3]) == ["epoch 0", "epoch 1", "epoch 3"]
    RunFolder(tmp_path / "nothing").forget_after(3)


def test_an_untrained_model_comes_first_and_another_subset_keeps_its_own_page(
    run: list[Snapshot], tmp_path: Path
) -> None:
    folder = RunFolder(tmp_path)
    shown_labels(folder, run[0])
    shown_labels(folder, replace(run[1], epoch=None, step=0, label="untrained"))
    assert shown_labels(folder, run[2]) == ["untrained", "epoch 0", "epoch 2"]
    other = a_run(a_subset(20), (1.0,))[0]
    assert shown_labels(folder, other) == ["epoch 0"]


def kept(run: list[Snapshot], folder: Path) -> Path:
    for place, snapshot in enumerate(run):
        (folder / "snapshots" / f"{place:04d}").mkdir(parents=True)
        save_snapshot(snapshot, folder / "snapshots" / f"{place:04d}")
    return folder


def test_the_command_compares_kept_epochs(
    run: list[Snapshot], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, output = kept(run, tmp_path / "run"), tmp_path / "out"
    status = main([
        "compare",
        "--run",
        f"{folder}",
        "--epochs",
        "0",
        "2",
        "3",
        "--output",
        f"{output}",
        "--skip-umap",
        "--skip-tsne",
        "--json",
    ])
    assert status == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed == json.loads((output / "comparison.json").read_text(encoding="utf-8"))
    assert (printed["best"], list(printed["evaluations"])) == ("epoch 2", ["epoch 0", "epoch 2", "epoch 3"])
    assert {path.name for path in output.iterdir()} == {
        "comparison.html",
        "comparison.json",
        "comparison.md",
        "comparison_distributions.png",
        "comparison_metrics.png",
    }


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give either --checkpoint with two or more paths, or --run"),
        (["--checkpoint", "a.pt"], "--checkpoint needs two or more paths to compare"),
        (["--run", "RUN", "--epochs", "0", "7"], "--epochs: RUN keeps no snapshot of epoch 7; there are: 0, 1, 2, 3"),
        (["--run", "RUN", "--epochs", "0"], "--run: RUN keeps 1 of these snapshots; two or more are needed to compare"),
        (["--run", "RUN", "--reference", "4"], "--reference must be at most 3, got 4"),
        (
            ["--run", "RUN", "--epochs", "untrained"],
            "--epochs: RUN keeps no snapshot of the untrained model; there are: 0, 1, 2, 3",
        ),
        (
            ["--run", "RUN", "--data", "d.json"],
            "--data has no use with --run, whose evaluations hold their pairs; leave it out",
        ),
        (["--checkpoint", "a", "b", "--epochs", "1"], "--epochs picks epochs of a run; give its folder with --run"),
    ],
)
def test_mistakes_are_answered_in_one_line(
    run: list[Snapshot], tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    folder = f"{kept(run, tmp_path / 'run')}"
    assert main(["compare", *(folder if argument == "RUN" else argument for argument in arguments)]) == 2
    assert capsys.readouterr().err == f"embviz compare: {message.replace('RUN', folder)}\n"


def test_the_command_knows_the_options_of_an_evaluation() -> None:
    arguments = ["--checkpoint", "a", "b", "--data", "d.json", "--max-samples", "20"]
    options = COMMANDS["compare"].parser().parse_args(arguments)
    assert (options.max_samples, options.reference, options.run) == (20, 1, None)
    assert not math.isnan(options.seed)
