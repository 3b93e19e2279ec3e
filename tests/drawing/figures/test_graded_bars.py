"""The list of the ten best says how each document was judged, where grades tell more than relevant or not."""

import numpy as np
import pytest

from embviz_callback.drawing.figures.top_k import bars, draw_top_k
from embviz_callback.embeddings import Embeddings
from embviz_callback.evaluator import Evaluator, Moment
from embviz_callback.pairs.records import Judged, Record
from embviz_callback.pairs.subset import choose_subset
from embviz_callback.settings import Settings
from embviz_callback.snapshot import Provenance, Snapshot


def _snapshot(*, is_graded: bool) -> Snapshot:
    judged = (Judged("Phòng A", 3), Judged("Phòng B", 1), Judged("Phòng C", 0)) if is_graded else ()
    records = [Record("tìm phòng", ("Phòng A", "Phòng B"), judged=judged), Record("tìm nhà", ("Nhà D",))]
    subset = choose_subset(records, max_samples=10, seed=7)
    documents = np.eye(len(subset.documents)) + 0.1
    queries = documents[[subset.relevance[subset.relevance[:, 0] == row, 1][0] for row in range(2)]]
    made = Embeddings.from_raw(queries, documents, subset.relevance, grades=subset.grades)
    return Evaluator(subset, Settings()).recall(made, None, Moment(name="v"), Provenance())


def test_every_judged_bar_has_its_grade_and_the_others_none() -> None:
    snapshot = _snapshot(is_graded=True)
    row = snapshot.subset.queries.index("tìm phòng")
    found = {bar.text: (bar.kind, bar.grade) for bar in bars(snapshot, row)}
    assert found == {
        "Phòng A": ("own", 3),
        "Phòng B": ("also relevant", 1),
        "Phòng C": ("wrong", 0),
        "Nhà D": ("wrong", None),
    }


@pytest.mark.parametrize("is_graded", [True, False])
def test_the_foot_speaks_of_grades_where_there_are_some(*, is_graded: bool) -> None:
    figure = draw_top_k(_snapshot(is_graded=is_graded))
    shown = " ".join(text.get_text() for text in [*figure.texts, *(one for axes in figure.axes for one in axes.texts)])
    assert ("with the grade of what was judged" in shown) == is_graded
    assert ("✓ 3" in shown) == is_graded
