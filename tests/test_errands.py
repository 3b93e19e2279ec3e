"""What there is more than one of is added by a row and a function or a file: done here to a copy of the package."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import embviz_callback

PACKAGE = Path(embviz_callback.__file__).parent
ROOT = PACKAGE.parent
MOST_FILES = 3

METRIC_ROW = """    mrr_at_3 = Metric(
        "MRR@3",
        "MRR with 0 beyond rank 3",
        has_interval=True,
        shown=(HEADLINE, COURSE, FINAL, GROUPS, PAGE),
        chart=_RANK_CHART,
    )
    mrr_at_3_optimistic, mrr_at_3_pessimistic = mrr_at_3.bounds()
    recall_at_1 = """
FORMULA = """    parts |= {"mrr_at_3": (groups.reciprocal(3), ones)}
    return {"""
METRIC_IS_SHOWN = """
from embviz_callback.analysis.compare.comparison import compare
from embviz_callback.analysis.verdict.checklist import checklist
from embviz_callback.analysis.why.groups import SHOWN
from embviz_callback.delivery.run.history import HistoryRow, epoch_table
from embviz_callback.delivery.tags import scalar_tag
from embviz_callback.delivery.tensorboard.dashboards import layout_value
from embviz_callback.delivery.tensorboard.hparams import session_values
from embviz_callback.drawing.page.epoch_view import epoch_view
from embviz_callback.drawing.page.page import page
from embviz_callback.drawing.reports.comparisons.comparison_report import comparison_report
from embviz_callback.drawing.reports.evaluation_report import report
from embviz_callback.drawing.reports.model_card import model_card
from tests.small_runs import a_run, a_subset

run = a_run(a_subset())
metrics = run[-1].metrics
assert 0 < metrics.mrr_at_3 <= metrics.mrr
assert metrics.intervals["mrr_at_3"][0] < metrics.mrr_at_3
stored = metrics.as_dict() | {"label": "epoch 3"}
assert "mrr_at_3" in epoch_table([HistoryRow.of(run[-1], alert=False)])
assert "| mrr\\_at\\_3 |" in report(run[-1], checks=checklist(metrics, {}, (), None))
assert comparison_report(compare(run)).count("| mrr_at_3 |") == 2
assert "| mrr_at_3 |" in model_card("a", {}, stored)
assert "MRR@3" in page([epoch_view(one) for one in run], run[0].subset)
assert b"embviz/mrr_at_3$" in layout_value().tensor.string_val[0]
assert "embviz_final/mrr_at_3" in [value.tag for value in session_values({}, metrics)]
assert scalar_tag("embviz", "mrr_at_3") == "embviz/mrr_at_3"
assert "mrr_at_3" in SHOWN
"""

FIGURE_ROW = """        FigureRow("spectrum", "singular values", f"{_DRAWING}.spectrum:draw_spectrum"),
        FigureRow("top_k_predictions","""
FIGURE = """
import numpy as np
from matplotlib.figure import Figure

from embviz_callback.drawing import style
from embviz_callback.snapshot import Snapshot


@style.styled
def draw_spectrum(snapshot: Snapshot) -> Figure:
    figure = style.new_figure(400)
    figure.add_subplot().plot(np.linalg.svd(snapshot.embeddings.documents, compute_uv=False))
    return figure
"""
FIGURE_IS_SHOWN = """
from embviz_callback.analysis.metrics.pictures import FIGURES, wanted_figures
from embviz_callback.analysis.verdict.checklist import checklist
from embviz_callback.drawing.figures.png import draw, to_png
from embviz_callback.drawing.reports.evaluation_report import report
from embviz_callback.settings import Settings
from tests.small_runs import a_run, a_subset

snapshot = a_run(a_subset())[-1]
assert to_png(draw("spectrum", snapshot)).startswith(b"\\x89PNG")
assert "spectrum" in wanted_figures(Settings())
checks = checklist(snapshot.metrics, snapshot.maps, set(FIGURES) - {"spectrum"}, None)
assert checks[0].reason == "missing: umap_projection, spectrum"
assert "![spectrum](spectrum.png)" in report(snapshot, checks=checks)
"""

MAP_ROW = """    MapMethod("plane", "Plane", "embviz_callback.analysis.maps.plane:plane_layout"),
)
MAPS:"""
MAP = """
import numpy as np

from embviz_callback.analysis.maps.layouts import Layout, Progress
from embviz_callback.analysis.maps.map_quality import Points, Space


def plane_layout() -> Layout:
    return Layout(_fit, None, lambda n: "two directions")


def _fit(space: Space, seed: int, progress: Progress) -> Points:
    centred = space.points - space.points.mean(axis=0)
    return centred @ np.linalg.svd(centred, full_matrices=False)[2][:2].T
"""
MAP_IS_SHOWN = """
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from embviz_callback.analysis.maps.projections import project
from embviz_callback.analysis.metrics.pictures import wanted_figures, wanted_maps
from embviz_callback.analysis.verdict.checklist import checklist
from embviz_callback.drawing.figures.png import draw, to_png
from embviz_callback.drawing.figures.filmstrip import draw_filmstrip
from embviz_callback.drawing.page.epoch_view import epoch_view
from embviz_callback.drawing.page.page import page
from embviz_callback.drawing.reports.evaluation_report import report
from embviz_callback.settings import Settings
from tests.small_runs import a_run, a_subset

settings = Settings(skip_tsne=True, skip_umap=True)
assert wanted_maps(settings) == ("plane",)
assert "plane_projection" in wanted_figures(settings)
snapshot = a_run(a_subset())[-1]
made = project(snapshot.embeddings, "plane", seed=0)
assert made.trustworthiness > 0.6
snapshot = snapshot.with_maps({"plane": made})
assert to_png(draw("plane_projection", snapshot)).startswith(b"\\x89PNG")
assert to_png(draw_filmstrip([epoch_view(snapshot)], "plane")).startswith(b"\\x89PNG")
checks = checklist(snapshot.metrics, snapshot.maps, ("plane_projection",), None)
assert [check.meets is None for check in checks if check.name == "clear_clusters_plane"] == [False]
assert "Plane: clusters are" in report(snapshot, checks=checks, figures=("plane_projection",))
assert '"plane":"Plane"' in page([epoch_view(snapshot)], snapshot.subset)
"""


FORM = """
from embviz_callback.pairs.formats.form import Form, Item, among, having


def _of_talk(row, reading):
    yield Item({"query": row["ask"], "pos": row["reply"]}, {".query": ".ask", ".pos": ".reply"})


TALK = Form("talk", "talk (ask, reply)", having("ask", "reply"), among("ask", "reply"), _of_talk)
"""
FORM_IS_READ = """
import json, sys
from pathlib import Path

from embviz_callback.pairs.formats.reading import read_pairs

path = Path(sys.argv[1]) / "talk.jsonl"
path.write_text(json.dumps({"ask": "a room?", "reply": "a room in the old town"}))
read = read_pairs(path)
assert read.form == "talk"
assert [(one.query, one.positives) for one in read.records] == [("a room?", ("a room in the old town",))]
"""

WAY = """def _to_notes(logger: Any, showing: Showing, prefix: str) -> None:
    logger.notes += [f"{prefix}/{name}" for name in (*showing.figures, *showing.texts)]


_WAYS: Mapping[str, Way] = {
    "NoteLogger": _to_notes, """
LOGGER_IS_SHOWN = """
import sys
from pathlib import Path

from embviz_callback.delivery.guarding import Guard
from embviz_callback.delivery.loggers import Gallery


class NoteLogger:
    notes = []


gallery = Gallery([NoteLogger()], prefix="embviz", folder=Path(sys.argv[1]), guard=Guard(on_error="raise", note=print))
assert gallery.introduction() == ""
gallery.expect("job", "epoch 1", 7)
gallery.receive("job", ["epoch_0001/tsne_projection.png", "epoch_0001/report.md"])
gallery.show()
assert NoteLogger.notes == ["embviz/tsne_projection", "embviz/report"]
"""

RULE_FIELD = """    notify: str | None = None
    least_rank1: float = 0.0

    def __post_init__"""
CAUSE = """    if reading.rank1 < alert.least_rank1:
        return "low rank-1"
    limit = alert.recovers_at"""
RULE_FIRES = """
from embviz_callback import MarginAlert
from embviz_callback.delivery.alerts.rule import AlertState, Reading, judge

reading = Reading(epoch=1, step=9, margin=0.5, separation=3.0, rank1=0.4)
state, event = judge(MarginAlert(least_rank1=0.5), AlertState(), reading)
assert state.firing and event.cause == "low rank-1"
assert "rank-1 is below 0.5" in event.message
assert judge(MarginAlert(), AlertState(), reading) == (AlertState(), None)
"""


class Errand:
    """A copy of the package, and which of its files were touched."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.touched: set[str] = set()
        shutil.copytree(PACKAGE, folder / "embviz_callback", ignore=shutil.ignore_patterns("__pycache__"))

    def replace(self, name: str, old: str, new: str) -> None:
        path = self.folder / "embviz_callback" / name
        text = path.read_text(encoding="utf-8")
        assert text.count(old) == 1, f"{name}: {old!r} stands there {text.count(old)} times"
        path.write_text(text.replace(old, new), encoding="utf-8")
        self.touched.add(name)

    def add(self, name: str, text: str) -> None:
        (self.folder / "embviz_callback" / name).write_text(text, encoding="utf-8")
        self.touched.add(name)

    def run(self, program: str) -> None:
        # The working directory comes first on the path of a program given by -c, before the package under test.
        command = [sys.executable, "-W", "ignore", "-c", program, f"{self.folder}"]
        where = os.environ | {"PYTHONPATH": f"{ROOT}"}
        done = subprocess.run(command, cwd=self.folder, env=where, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[-2000:]
        assert len(self.touched) <= MOST_FILES, self.touched
        told = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
        assert all(f"`{name}`" in told or f"`{Path(name).parent}/`" in told for name in self.touched), self.touched


@pytest.fixture
def errand(tmp_path: Path) -> Errand:
    return Errand(tmp_path)


pytestmark = pytest.mark.slow


def test_another_metric_is_a_row_and_a_formula_and_stands_in_every_table(errand: Errand) -> None:
    errand.replace("analysis/metrics/catalogue.py", "    recall_at_1 = ", METRIC_ROW)
    errand.replace("analysis/metrics/ranks.py", "    return {\n        name + end:", FORMULA + "\n        name + end:")
    errand.run(METRIC_IS_SHOWN)


def test_another_figure_is_a_row_and_a_file(errand: Errand) -> None:
    errand.replace("analysis/metrics/pictures.py", '        FigureRow("top_k_predictions",', FIGURE_ROW)
    errand.add("drawing/figures/spectrum.py", FIGURE)
    errand.run(FIGURE_IS_SHOWN)


def test_another_map_is_a_row_and_a_file(errand: Errand) -> None:
    errand.replace("analysis/metrics/pictures.py", ")\nMAPS:", MAP_ROW)
    errand.add("analysis/maps/plane.py", MAP)
    errand.run(MAP_IS_SHOWN)


def test_another_form_of_data_is_a_file_and_a_place_in_the_order(errand: Errand) -> None:
    order = "\n# The more particular first"
    taken = "from embviz_callback.pairs.formats.rows.talk import TALK\n"
    errand.replace("pairs/formats/detection.py", order, taken + order)
    errand.replace("pairs/formats/detection.py", "*(TEVATRON,", "*(TALK, TEVATRON,")
    errand.add("pairs/formats/rows/talk.py", FORM)
    errand.run(FORM_IS_READ)


def test_another_logger_is_a_function_and_its_name(errand: Errand) -> None:
    errand.replace("delivery/loggers.py", "_WAYS: Mapping[str, Way] = {", WAY)
    errand.run(LOGGER_IS_SHOWN)


def test_another_rule_of_the_alert_is_a_field_and_a_cause(errand: Errand) -> None:
    errand.replace("delivery/alerts/rule.py", "    notify: str | None = None\n\n    def __post_init__", RULE_FIELD)
    errand.replace("delivery/alerts/rule.py", "    limit = alert.recovers_at", CAUSE)
    sentence = '        "low rank-1": f"rank-1 is below {alert.least_rank1:g}",\n'
    errand.replace("delivery/alerts/rule.py", '        "collapse": f"', sentence + '        "collapse": f"')
    errand.run(RULE_FIRES)


def test_the_copy_is_what_runs(errand: Errand) -> None:
    errand.run("import embviz_callback, sys; assert embviz_callback.__file__.startswith(sys.argv[1])")
