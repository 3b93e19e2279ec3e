"""`embviz ship`, from saved embeddings and from a checkpoint among a corpus."""

import json
from pathlib import Path

import pytest
from small_runs import a_run, a_subset

from embviz_callback.cli import main
from embviz_callback.delivery.results.result_files import embeddings_npz


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("saved") / "embeddings.npz"
    path.write_bytes(embeddings_npz(a_run(a_subset(), (0.3,), maps=False)[0]))
    return path


def test_saved_embeddings_are_enough(saved: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ship", "--checkpoint", str(saved), "--output", str(tmp_path), "--json"]) == 0
    told = capsys.readouterr()
    plain = json.loads(told.out)
    assert plain == json.loads((tmp_path / "ship.json").read_text(encoding="utf-8"))
    assert (
        plain["sentence"]
        == "Cannot tell at 40 queries whether any smaller setting is not worse by more than 0.010 of MRR"
    )
    assert [one["precision"] for one in plain["settings"]] == ["float32", "float16", *["int8"] * 2, *["binary"] * 2]
    assert f"{plain['sentence']}." in told.err
    assert f"**{plain['sentence']}.**" in (tmp_path / "ship.md").read_text(encoding="utf-8")


def test_what_may_be_lost_is_said_as_for_the_gate(
    saved: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["--checkpoint", str(saved), "--output", str(tmp_path), "--allow-loss"]
    assert main(["ship", *asked, "rank1=0.3"]) == 0
    assert "The smallest that is not worse by more than 30.0 points of rank-1: 16 dimensions as trained in" in (
        capsys.readouterr().out
    )
    assert main(["ship", *asked, "margin=0.1"]) == 2
    assert capsys.readouterr().err == (
        "embviz ship: argument --allow-loss: expected a loss of one of rank1, mrr, mrr_at_10, recall_at_1, recall_at_5,"
        " recall_at_10, recall_at_50, ndcg_at_10, map, found 'margin'\n"
    )
    for amount in ("-0.1", "nan", "much"):
        assert main(["ship", *asked, f"rank1={amount}"]) == 2
        assert capsys.readouterr().err == (
            "embviz ship: argument --allow-loss: expected METRIC=SHARE of at least 0, such as rank1=0.01,"
            f" found 'rank1={amount}'\n"
        )
