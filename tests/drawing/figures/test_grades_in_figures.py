"""Figures say how each document was judged, where grades tell more than relevant or not."""

import numpy as np
import pytest
from matplotlib.text import Text

from embviz_callback.drawing.figures.distribution import draw_distribution
from embviz_callback.drawing.figures.heatmap import draw_heatmap
from embviz_callback.drawing.figures.top_k import bars, draw_top_k
from embviz_callback.embeddings import Embeddings
from embviz_callback.evaluator import Encoded, Evaluator, Moment
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
    return Evaluator(subset, Settings()).measure(Encoded(made), Moment(name="v"), Provenance())


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


def _words(snapshot: Snapshot) -> str:
    return " ".join(text.get_text() for text in draw_distribution(snapshot).findobj(Text))  # type: ignore[attr-defined]


def test_the_distribution_gives_the_mean_of_every_grade() -> None:
    snapshot = _snapshot(is_graded=True)
    made, row, texts = snapshot.embeddings, snapshot.subset.queries.index("tìm phòng"), snapshot.subset.documents
    cosine = {
        (at, text): float(made.documents[texts.index(text)] @ made.queries[at]) for at in (0, 1) for text in texts
    }
    of_one = (cosine[row, "Phòng B"] + cosine[1 - row, "Nhà D"]) / 2
    means = {3: cosine[row, "Phòng A"], 1: of_one, 0: cosine[row, "Phòng C"]}
    line = f"diamond: mean (grade {', '.join(f'{grade} {mean:.3f}' for grade, mean in means.items())})"
    assert line in _words(snapshot)
    assert "grade" not in _words(_snapshot(is_graded=False))


@pytest.mark.parametrize("is_graded", [True, False])
def test_the_heatmap_rings_other_relevant_documents_by_their_grade(*, is_graded: bool) -> None:
    grades = (("Phòng A", 3), ("Phòng B", 2), ("Phòng C", 1)) if is_graded else ()
    judged = tuple(Judged(text, grade) for text, grade in grades)
    texts = ("Phòng A", "Phòng B", "Phòng C")
    records = [Record(f"tìm {text}", (text, *texts), judged=judged) for text in texts]
    subset = choose_subset(records, max_samples=10, seed=7)
    made = Embeddings.from_raw(np.eye(3), np.eye(3), subset.relevance, grades=subset.grades, records=subset.records)
    figure = draw_heatmap(Evaluator(subset, Settings()).measure(Encoded(made), Moment(name="v"), Provenance()))
    labels = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    shown = ["also grade 3 (2)", "grade 2 (2)", "grade 1 (2)"] if is_graded else ["also relevant (6)"]
    assert labels[:-1] == shown
