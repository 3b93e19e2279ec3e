"""`embviz compat` on saved embeddings."""

import json
from pathlib import Path

import pytest
from small_runs import a_run, a_subset

from embviz_callback.cli import main
from embviz_callback.delivery.results.result_files import embeddings_npz


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """Two models with the same documents, the queries of the second nearer to them."""
    folder = tmp_path_factory.mktemp("saved")
    for name, snapshot in zip(("old", "new"), a_run(a_subset(), (0.9, 0.3), maps=False), strict=True):
        (folder / f"{name}.npz").write_bytes(embeddings_npz(snapshot))
    return str(folder / "old.npz"), str(folder / "new.npz")


def test_saved_embeddings_of_the_same_texts_are_crossed(
    saved: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old, new = saved
    assert main(["compat", "--old", old, "--new", new, "--threshold", "0.7", "--output", str(tmp_path), "--json"]) == 0
    told = capsys.readouterr()
    plain = json.loads(told.out)
    assert plain["outcome"] == "compatible after a threshold shift"
    assert plain["reason"] == "same documents"
    assert plain["threshold"] == 0.7 < plain["becomes"]["value"]
    assert plain["sentence"] in told.err
    assert "| new | old |" in (tmp_path / "compat.md").read_text(encoding="utf-8")


def test_a_model_is_compatible_with_itself(
    saved: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["compat", "--old", saved[0], "--new", saved[0], "--output", str(tmp_path)]) == 0
    assert "Compatible: the documents have the same vectors under both" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("given", "why"),
    [
        (("--threshold", "1.5"), "a threshold of cosines must lie between -1 and 1, got 1.5"),
        (
            ("--allow-loss", "mrr=0.1", "--allow-loss", "rank1=0.1"),
            "--allow-loss: expected one metric that judges the index, found several. Fix: give one",
        ),
    ],
)
def test_what_means_nothing_is_refused(
    given: tuple[str, ...], why: str, saved: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["compat", "--old", saved[0], "--new", saved[1], "--output", str(tmp_path), *given]) == 2
    assert capsys.readouterr().err == f"embviz compat: {why}\n"
