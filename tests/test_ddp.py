"""Two and three real gloo processes with a short timeout: nobody waits, nobody is alone, only rank 0 writes."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from embviz_callback.cli import main
from tests.commands.test_cli import _pairs, _save_head

pytestmark = [pytest.mark.slow, pytest.mark.ddp]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture(scope="module")
def all_ranks(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[dict[str, Any]], Path]:
    """What three processes found: all of them first, then two without the third, which saves importing twice."""
    folder = tmp_path_factory.mktemp("ddp")
    first_port, *other_ports = (f"{free_port()}" for _ in range(3))
    common = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": first_port, "NODE_RANK": "0"}
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.ddp_training", f"{folder}", *other_ports],
            env=os.environ | common | {"LOCAL_RANK": f"{rank}", "OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in range(3)
    ]
    said = [process.communicate(timeout=300)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0], "\n".join(text[-3000:] for text in said)
    for rank, text in enumerate(said):
        (folder / f"said{rank}.txt").write_text(text)
    return [json.loads((folder / f"rank{rank}.json").read_text()) for rank in range(3)], folder


@pytest.fixture
def ranks(all_ranks: tuple[list[dict[str, Any]], Path]) -> tuple[list[dict[str, Any]], Path]:
    found, folder = all_ranks
    return found[:2], folder


@pytest.fixture
def three(all_ranks: tuple[list[dict[str, Any]], Path]) -> list[dict[str, Any]]:
    return [rank["three"] for rank in all_ranks[0]]


def test_training_on_two_ranks_is_the_same_to_the_bit(ranks: tuple[list[dict[str, Any]], Path]) -> None:
    found, _ = ranks
    for rank in found:  # each has batch statistics of its own
        names = ("plain", "monitored", "fault_on_one_rank", "folder_that_cannot_be_made")
        assert len({rank[name]["trained"] for name in names}) == 1


def test_f39_the_values_stand_on_every_rank_for_every_monitor(ranks: tuple[list[dict[str, Any]], Path]) -> None:
    one, other = (rank["monitored"] for rank in ranks[0])
    timed = {"embviz/blocked_s", "embviz/overhead"}
    assert {k: v for k, v in one["values"].items() if k not in timed} == {
        k: v for k, v in other["values"].items() if k not in timed
    }
    assert one["best"] == other["best"] > -1


def test_the_values_are_those_that_one_process_finds(ranks: tuple[list[dict[str, Any]], Path]) -> None:
    for rank in ranks[0]:
        for name, value in rank["monitored"]["alone"].items():
            assert rank["monitored"]["values"][f"embviz/{name}"] == pytest.approx(value, abs=1e-6)


def test_f38_every_rank_encodes_the_same_batches(ranks: tuple[list[dict[str, Any]], Path]) -> None:
    one, other = (rank["monitored"]["batches"] for rank in ranks[0])
    assert one == other != []


def test_only_the_main_rank_writes_and_speaks(ranks: tuple[list[dict[str, Any]], Path]) -> None:
    found, folder = ranks
    assert found[0]["monitored"]["folder"] == f"{folder / 'monitored' / 'run' / 'embviz'}"
    assert found[1]["monitored"]["folder"] == "None"
    assert "margin alert at epoch 1" in (folder / "said0.txt").read_text()
    assert "margin alert" not in (folder / "said1.txt").read_text()


def test_f36_a_fault_on_one_rank_hurts_no_other(ranks: tuple[list[dict[str, Any]], Path]) -> None:
    assert [rank["fault_on_one_rank"]["evaluations"] for rank in ranks[0]] == [3, 0]


def test_a_folder_that_cannot_be_made_costs_the_main_rank_its_files_and_no_rank_a_value(
    ranks: tuple[list[dict[str, Any]], Path],
) -> None:
    found, folder = ranks
    assert [rank["folder_that_cannot_be_made"]["evaluations"] for rank in found] == [3, 3]
    expected = found[0]["monitored"]["values"]["embviz/margin"]
    assert [rank["folder_that_cannot_be_made"]["margin"] for rank in found] == [expected, expected]
    assert "hand-over to drawing failed (untrained, step 0, rank 0)" in (folder / "said0.txt").read_text()
    assert "hand-over to drawing" not in (folder / "said1.txt").read_text()


def test_ranks_agree_on_which_epochs_a_budget_leaves_out(ranks: tuple[list[dict[str, Any]], Path]) -> None:
    for rank in ranks[0]:
        assert rank["within_a_budget"] == {"both dear": [None, 2], "one dear": [None, 0, 1, 2]}


def test_f25_a_run_on_two_ranks_is_resumed_with_one_history_on_both(ranks: tuple[list[dict[str, Any]], Path]) -> None:
    one, other = (rank["resumed"]["rows"] for rank in ranks[0])
    assert one == other
    assert [row[:2] for row in one] == [
        ["untrained", 0],
        ["epoch 0", 1],
        ["epoch 1", 3],
        ["epoch 2", 5],
        ["epoch 3", 7],
    ]


def test_f38_sharded_weights_are_gathered_on_every_rank_and_trained_as_without_us(
    ranks: tuple[list[dict[str, Any]], Path],
) -> None:
    one, other = (rank["sharded"] for rank in ranks[0])
    for name, way in one.items():
        assert way["with"] == way["without"], name
        assert way["margins"] == other[name]["margins"], name
        expected = [] if "broken" in name else [pytest.approx(way["alone"], abs=1e-6)]
        assert way["margins"][2:] == expected, name


def test_three_ranks_find_the_same_and_a_fault_on_the_second_hurts_no_other(three: list[dict[str, Any]]) -> None:
    for rank in three:
        assert len({rank[name]["trained"] for name in ("plain", "monitored", "fault_on_one_rank")}) == 1
        assert rank["monitored"]["batches"] == three[0]["monitored"]["batches"] != []
        assert rank["monitored"]["best"] == three[0]["monitored"]["best"]
        for name, value in three[0]["monitored"]["alone"].items():
            assert rank["monitored"]["values"][f"embviz/{name}"] == pytest.approx(value, abs=1e-6)
    assert [rank["fault_on_one_rank"]["evaluations"] for rank in three] == [3, 0, 3]
    assert [rank["monitored"]["folder"] == "None" for rank in three] == [False, True, True]


@pytest.mark.parametrize("n_ranks", [2, 3])
def test_a_corpus_that_is_shared_out_gives_the_values_of_one_process_on_every_rank(
    all_ranks: tuple[list[dict[str, Any]], Path], n_ranks: int
) -> None:
    ranks = [rank["three"] if n_ranks == 3 else rank for rank in all_ranks[0][:n_ranks]]
    subset_batches = -(-3 * 16 // 4)  # queries, documents and hard negatives, on every rank
    n_batches = -(-45 // 4)
    for rank in ranks:
        found = rank["corpus_shared"]
        assert found["values"] == ranks[0]["corpus_shared"]["values"]
        for name, value in found["values"].items():
            assert value == pytest.approx(found["alone"][name], abs=1e-6), name
        assert found["trained"] == rank["plain"]["trained"]
        # Three evaluations, and on every rank as many batches.
        assert len(found["batches"]) == 3 * (subset_batches + -(-n_batches // n_ranks))


@pytest.mark.parametrize("n_ranks", [2, 3])
def test_f36_a_fault_in_one_share_of_a_corpus_makes_all_ranks_skip_together(
    all_ranks: tuple[list[dict[str, Any]], Path], n_ranks: int
) -> None:
    ranks = [rank["three"] if n_ranks == 3 else rank for rank in all_ranks[0][:n_ranks]]
    for place, rank in enumerate(ranks):
        # Those that no longer try still tell the second, which does, that it need not wait.
        given_up = [] if place == 1 else ["encoding"]
        assert rank["corpus_with_a_fault"] == {"epochs": 5, "evaluations": 0, "given_up": given_up}
    said = [(all_ranks[1] / f"said{rank}.txt").read_text() for rank in range(n_ranks)]
    assert "encoding failed on rank 1, whose own warning says why" in said[0]
    assert "encoding failed (untrained, step 0, rank 1): KeyError: 'only here'" in said[1]


def test_two_machines_find_the_same_and_only_the_first_writes(ranks: tuple[list[dict[str, Any]], Path]) -> None:
    found, folder = ranks
    one, other = (rank["two_machines"] for rank in found)
    assert one["margin"] == other["margin"]
    assert [one["n_ranks"], one["local"], other["local"]] == [2, 0, 0]
    assert [one["folder"], other["folder"]] == [f"{folder / 'two_machines' / '0' / 'run' / 'embviz'}", "None"]


def test_f37_the_alert_stops_all_ranks_in_the_same_epoch(ranks: tuple[list[dict[str, Any]], Path]) -> None:
    assert [rank["stopped_by_the_alert"]["epochs"] for rank in ranks[0]] == [2, 2]


def test_f34_nobody_waits_for_drawing(ranks: tuple[list[dict[str, Any]], Path]) -> None:
    found, folder = ranks
    assert [rank["drawing_that_hangs"]["rows"] for rank in found] == [3, 3]
    assert " not drawn; draw " in (folder / "said0.txt").read_text()


def test_the_runner_shares_a_corpus_out_under_torchrun_and_the_first_rank_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _save_head(tmp_path / "a.pt")
    (tmp_path / "val.json").write_text(json.dumps(_pairs(), ensure_ascii=False), encoding="utf-8")
    texts = [f"Phòng trọ {pair['pos'][10:]} {row}" for row in range(8) for pair in _pairs()]
    (tmp_path / "listings.txt").write_text("\n".join(texts), encoding="utf-8")
    given = ["--checkpoint", "a.pt", "--data", "val.json", "--corpus", "listings.txt", "--skip-tsne", "--skip-umap"]
    launch = [sys.executable, "-m", "torch.distributed.run", "--master-port", f"{free_port()}", "--nproc-per-node"]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    command = [*launch, "2", "-m", "embviz_callback", *given, "--output", "by_two"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.count("Rank-1:") == done.stderr.count("distinct texts are ranked") == 1
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert main([*given, "--output", "by_one"]) == 0
    alone, shared = (json.loads((tmp_path / name / "metrics.json").read_text()) for name in ("by_one", "by_two"))
    assert alone["n_corpus"] == 192
    for name, value in alone["metrics"].items():
        assert shared["metrics"][name] == (value if value is None else pytest.approx(value, abs=1e-6)), name


def test_f35_there_is_no_collective_but_the_one_to_stop_and_those_that_share_a_corpus_out() -> None:
    package = Path(__file__).parent.parent / "embviz_callback"
    words = ("barrier(", "all_gather", "broadcast(", "all_reduce", "reduce_boolean_decision", "trainer.log_dir")
    rooms = [package / "callback.py", *(package / "delivery").rglob("*.py"), *(package / "encoding").rglob("*.py")]
    files = [*rooms, *(package / "session").glob("*.py"), *(package / "evaluator").glob("*.py")]
    found = [
        (path.name, word)
        for path in files
        for word in words
        if word in path.read_text().replace("`trainer.log_dir`", "")
    ]
    assert found == [("callback.py", "reduce_boolean_decision"), ("shared_corpus.py", "all_gather")]
