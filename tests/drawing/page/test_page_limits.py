"""Pages and analyses of texts, columns and numbers that are out of all proportion."""

import json
from typing import Any

import numpy as np
import pytest
from small_runs import a_page

from embviz_callback.analysis.why.analysis import Questions, analyse
from embviz_callback.analysis.why.columns import columns_of
from embviz_callback.delivery.results.result_files import analysis_json, errors_csv
from embviz_callback.drawing.page.epoch_view import epoch_view
from embviz_callback.drawing.page.page import MOST_BYTES, page
from embviz_callback.embeddings import Embeddings
from embviz_callback.files import to_json
from embviz_callback.pairs.formats.reading import records_from
from embviz_callback.pairs.subset import choose_subset
from embviz_callback.settings import Settings
from embviz_callback.snapshot import Snapshot, take_snapshot

N = 24


def looked_at(**fields: Any) -> Snapshot:
    """An evaluation that goes wrong for nearly every query, so that every text is listed."""
    pairs = [
        {"query": f"q {row}{fields.get('text', '')}", "pos": f"p {row}{fields.get('text', '')}"}
        | {"id": f"{row}{'i' * 900}", "metadata": fields["metadata"](row) if "metadata" in fields else {}}
        for row in range(N)
    ]
    subset = choose_subset(records_from(pairs), max_samples=N, seed=1)
    rng = np.random.default_rng(0)
    shape = (N, 8)
    embeddings = Embeddings.from_raw(rng.normal(size=shape), rng.normal(size=shape), subset.relevance)
    return take_snapshot(label="x", subset=subset, embeddings=embeddings, settings=Settings(bootstrap_draws=100))


def data_of(html: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(html.split('type="application/json"')[1].split(">", 1)[1].split("</script>")[0])
    return found


def test_texts_of_thirty_thousand_characters_are_cut_wherever_they_are_shown_and_said() -> None:
    snapshot = looked_at(text=" chữ" * 9_000)
    html = a_page([snapshot])
    assert len(html.encode()) < MOST_BYTES
    assert "texts are cut at 2,000 characters" in data_of(html)["notes"]
    assert max(map(len, data_of(html)["queries"])) == 2_000
    found = analysis_json(snapshot, analyse([snapshot], Questions(draws=100)))
    assert len(to_json(found)) < 300_000
    assert "texts of more than 2,000 characters are cut here" in found["notes"]
    assert max(map(len, errors_csv(snapshot).split(","))) < 33_000


def test_texts_that_do_not_fit_a_page_are_cut_shorter() -> None:
    snapshot = looked_at(text=" chữ" * 9_000)
    html = page([epoch_view(snapshot)], snapshot.subset, most_bytes=40_000)
    assert "texts are cut at 200 characters" in data_of(html)["notes"]


def test_of_a_hundred_columns_the_first_are_shown_and_grouped_by_and_it_is_said() -> None:
    snapshot = looked_at(metadata=lambda row: {f"c{at:02}": f"v{row % 3}" for at in range(100)})
    shown = data_of(a_page([snapshot]))
    assert len(shown["columns"]) == 40
    assert "40 of 100 columns are shown" in shown["notes"]
    found = analyse([snapshot], Questions(draws=100))
    assert len(found.groupings) == 30
    assert "100 columns: at most 30 are grouped by unless named, and as many have a curve" in found.notes


@pytest.mark.parametrize("value", [1e308, -1e308, float("nan"), float("inf"), 10**200])
def test_what_no_mean_can_be_taken_of_costs_its_column_a_value_and_not_the_analysis(value: float) -> None:
    snapshot = looked_at(metadata=lambda row: {"price": float(row)})

    def extract(text: str) -> dict[str, Any]:
        return {"area": value if text.endswith("0") else float(len(text) * int(text[-1]))}

    columns = columns_of(snapshot.subset, extract)
    spoilt = [row for row, text in zip(columns.documents, snapshot.subset.documents, strict=True) if text[-1] == "0"]
    assert spoilt
    assert all("area" not in row for row in spoilt)
    found = analyse([snapshot], Questions(extract=extract, draws=100))
    assert json.loads(to_json(analysis_json(snapshot, found)))["groups"]
