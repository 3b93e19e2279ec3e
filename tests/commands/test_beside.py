"""What stands beside an evaluation: the ship sheet and BM25, in report, page and comparison."""

from dataclasses import replace
from pathlib import Path

import pytest
from small_runs import a_run, a_subset

from embviz_callback.cli import main
from embviz_callback.commands.arguments import UsageError
from embviz_callback.commands.evaluate import asides_of, refuse_without_bm25s, words_beside
from embviz_callback.commands.looking import Look
from embviz_callback.commands.terminal import Terminal
from embviz_callback.delivery.results.result_files import embeddings_npz
from embviz_callback.snapshot import Snapshot

pytest.importorskip("bm25s")
LEFT_OUT = ("--skip-umap", "--skip-tsne", "--bootstrap-draws", "100")


@pytest.fixture(scope="module")
def snapshot() -> Snapshot:
    return a_run(a_subset(), (2.5,), maps=False)[0]


def test_a_ship_sheet_always_stands_beside_and_words_where_they_are_asked(snapshot: Snapshot) -> None:
    look = Look(snapshot)
    assert words_beside(look, None, Terminal()) is None
    assert [one.title for one in asides_of(look, None)] == ["What to ship"]
    words = words_beside(look, "folded", Terminal())
    assert words is not None
    sheet, against, only = asides_of(look, words)
    assert (against.title, only.title) == ("Against words alone", "What only words find")
    assert [row[0] for row in against.rows] == ["BM25", "epoch 0", "epoch 0 + BM25"]
    assert "of 40 queries BM25 alone finds" in against.sentence
    assert "diacritics left out (đ as d)" in against.notes[0]
    assert only.rows[0][0] in snapshot.subset.queries
    assert sheet.rows[0][-1] == "reference"


def test_a_corpus_without_its_vectors_has_nothing_beside_it(
    snapshot: Snapshot, capsys: pytest.CaptureFixture[str]
) -> None:
    look = Look(replace(snapshot, subset=replace(snapshot.subset, n_corpus=5, corpus_fingerprint="a"),
                        similarity=replace(snapshot.similarity, n_pool=45)))  # fmt: skip
    assert words_beside(look, "words", Terminal()) is None
    assert "keeps neither vectors nor texts of its corpus; no BM25 beside it" in capsys.readouterr().err
    assert asides_of(look, None) == []


def test_without_the_extra_its_installation_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("embviz_callback.analysis.ship.lexical.is_at_hand", lambda: False)
    with pytest.raises(UsageError) as error:
        refuse_without_bm25s()
    assert str(error.value) == (
        '--bm25: expected the package bm25s, found none. Fix: pip install "embviz-callback[bm25]"'
    )


@pytest.mark.slow
def test_report_page_and_comparison_have_bm25_in_a_row_of_its_own(tmp_path: Path) -> None:
    for name, one in zip("ab", a_run(a_subset(), (2.5, 0.5), maps=False), strict=True):
        (tmp_path / f"{name}.npz").write_bytes(embeddings_npz(one))
    paths = [str(tmp_path / f"{name}.npz") for name in "ab"]
    output = tmp_path / "out"
    assert main(["compare", "--checkpoint", *paths, "--bm25", "--output", str(output), *LEFT_OUT]) == 0
    compared = (output / "comparison.md").read_text(encoding="utf-8")
    rows = [line.split(" | ")[0] for line in compared[compared.index("## Against words alone") :].splitlines()]
    assert [row.removeprefix("| ") for row in rows if row.startswith("| ")][2:7] == [
        "BM25", "a.npz", "b.npz", "a.npz + BM25", "b.npz + BM25"
    ]  # fmt: skip
    report = (output / "a.npz" / "report.md").read_text(encoding="utf-8")
    assert "## What to ship" in report
    assert "| BM25 |" in report
    assert "## What only words find" in report
    for page in (output / "comparison.html", output / "a.npz" / "report.html"):
        assert "Against words alone" in page.read_text(encoding="utf-8")
    assert main(["compare", "--run", str(tmp_path), "--bm25"]) == 2
    assert main(["--checkpoint", paths[0], "--most-documents", "5"]) == 2
