"""A model against a baseline in a pipeline, and how many queries it takes."""

import argparse
import json
from pathlib import Path

import pytest
from small_runs import a_run, a_subset

from embviz_callback.cli import main
from embviz_callback.commands.arguments import UsageError
from embviz_callback.commands.gate import baseline_of, gate_status, refuse_gate_without_baseline
from embviz_callback.commands.request import Request
from embviz_callback.commands.terminal import Terminal
from embviz_callback.delivery.results.per_query import ByQuery, read_by_query
from embviz_callback.delivery.results.result_files import embeddings_npz, metrics_json
from embviz_callback.settings import Settings
from embviz_callback.snapshot import Snapshot


@pytest.fixture(scope="module")
def run() -> list[Snapshot]:
    return a_run(a_subset(), (0.3, 1.6))


def options(**given: object) -> argparse.Namespace:
    return argparse.Namespace(**{
        "baseline": "metrics.json",
        "allow_loss": None,
        "undecided": None,
        "metric": "",
        **given,
    })


def written(snapshot: Snapshot, folder: Path) -> ByQuery:
    path = folder / "metrics.json"
    path.write_text(json.dumps(metrics_json(snapshot, ()), allow_nan=False), encoding="utf-8")
    return read_by_query(path)


def test_what_each_query_contributes_survives_the_file(run: list[Snapshot], tmp_path: Path) -> None:
    found, statistics = written(run[1], tmp_path), run[1].metrics.per_query
    assert statistics is not None
    assert found.fingerprint == run[1].subset.fingerprint
    assert found.statistics.ranks["mrr"] == pytest.approx(statistics.ranks["mrr"], abs=1e-8)
    assert found.statistics.positive == pytest.approx(statistics.positive, abs=1e-7)
    assert (found.statistics.sampling.groups == statistics.sampling.groups).all()
    turned = ByQuery(found.fingerprint, found.keys[::-1], found.statistics)
    ours = turned.in_order_of(found).ranks["mrr"]
    assert ours == pytest.approx(statistics.ranks["mrr"][::-1], abs=1e-8)


def test_a_loss_ends_with_3_none_with_0_and_what_cannot_be_told_with_4(
    run: list[Snapshot], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good, bad = run
    better, worse = (ByQuery.of(one) for one in run)
    assert better is not None
    assert worse is not None
    assert gate_status([bad], written(good, tmp_path), options(), Terminal()) == 3
    assert "against the baseline, 0.000 allowed: the loss is shown" in capsys.readouterr().err
    assert gate_status([good], worse, options(), Terminal()) == 0
    assert gate_status([bad], better, options(allow_loss=[("rank1", 0.99)]), Terminal()) == 0
    assert gate_status([good], better, options(), Terminal()) == 4  # nothing has changed, which proves little
    assert gate_status([good], better, options(undecided="fail"), Terminal()) == 3
    assert gate_status([good], better, options(undecided="pass"), Terminal()) == 0
    capsys.readouterr()
    assert gate_status([good, bad], better, options(metric="rank1"), Terminal()) == 3
    same, lost = capsys.readouterr().err.splitlines()
    assert same.startswith(f"embviz: {good.label}: rank1 0.0 points (")
    assert same.endswith("the data cannot tell")
    assert lost.startswith(f"embviz: {bad.label}: rank1 -")
    assert lost.endswith("the loss is shown")


def test_vectors_from_elsewhere_are_not_held_against_themselves(run: list[Snapshot], tmp_path: Path) -> None:
    (tmp_path / "embeddings.npz").write_bytes(embeddings_npz(run[0]))
    ours = Request((), None, Settings(), vectors=("q.npy", "d.npy"))
    found = baseline_of(options(baseline=f"{tmp_path / 'embeddings.npz'}"), ours, Terminal())
    assert found is not None
    assert found.statistics.ranks["mrr"].tolist() == run[0].metrics.per_query.ranks["mrr"].tolist()  # type: ignore[union-attr]


def test_another_subset_and_a_missing_baseline_are_refused(run: list[Snapshot]) -> None:
    other = ByQuery.of(a_run(a_subset(20), (1.0,))[0])
    assert other is not None
    with pytest.raises(UsageError) as error:
        gate_status([run[0]], other, options(), Terminal())
    assert str(error.value) == (
        f"--baseline: expected an evaluation of subset {run[0].subset.fingerprint}, found one of {other.fingerprint}."
        " Fix: evaluate both on the same data, --max-samples, --seed and --corpus"
    )
    with pytest.raises(UsageError) as error:
        refuse_gate_without_baseline(options(baseline=None, undecided="pass"))
    assert str(error.value) == "--undecided needs --baseline, the evaluation that the model is held against"


def test_a_metrics_file_without_queries_says_how_to_mend_it(tmp_path: Path) -> None:
    path = tmp_path / "metrics.json"
    path.write_text("{}")
    with pytest.raises(ValueError) as error:
        read_by_query(path)
    assert str(error.value) == (
        f"{path}: expected the metrics.json of an evaluation with its queries, found none ('fingerprint')."
        " Fix: evaluate that model again, or give its checkpoint or embeddings.npz"
    )


def test_power_prints_a_table_or_the_number_at_a_discordance(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["power", "--difference", "0.05"]) == 0
    assert capsys.readouterr().out == (
        "5 points of rank-1 are found in 80 % of comparisons with so many queries, each on its own:\n"
        "  discordance  queries\n"
        "  5 %          195\n"
        "  10 %         352\n"
        "  20 %         666\n"
    )
    assert main(["power", "--difference", "0.05", "--discordance", "0.1"]) == 0
    assert capsys.readouterr().out == "5 points of rank-1 at a discordance of 10.0 %: 352 queries, each on its own\n"
    assert main(["power", "--difference", "0.05", "--discordance", "0.01"]) == 0
    assert "cannot differ by 5 points of rank-1" in capsys.readouterr().out
    assert main(["power", "--difference", "2"]) == 2
    capsys.readouterr()
    for beyond in ("1.5", "-0.1"):
        assert main(["power", "--discordance", beyond]) == 2
        assert capsys.readouterr().err == f"embviz power: --discordance must lie from 0 to 1, got {beyond}\n"
