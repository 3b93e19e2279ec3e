"""Trains a bi-encoder with the callback on; a LightningCLI, every option can be overridden.

python train_script.py fit --config configs/demo.yaml
python train_script.py fit --config configs/bge_m3.yaml --trainer.max_epochs 3
python train_script.py validate --config configs/demo.yaml --ckpt_path runs/demo/checkpoints/last.ckpt
python train_script.py fit --print_config
"""

import json
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pytorch_lightning.cli import LightningCLI

from embviz_callback import EmbeddingVisualizer
from model import RentalBiEncoder
from pair_dataset import PairDataModule

_COLUMNS = ("margin", "separation", "rank1", "mrr", "auc")


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command line; without arguments it says what it can do."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if not given:
        sys.stderr.write(f"{__doc__}\nEvery option: python train_script.py fit --help\n")
        raise SystemExit(2)
    # Both come from Lightning on every run, and nobody who trains a small model can act on them.
    warnings.filterwarnings("ignore", message=".*does not have many workers.*")
    warnings.filterwarnings("ignore", message=".*treespec, LeafSpec.*", category=FutureWarning)
    cli = LightningCLI(
        RentalBiEncoder,
        PairDataModule,
        args=None if arguments is None else given,
        seed_everything_default=7,
        auto_configure_optimizers=False,
        # A second run into the same folder is meant: it must not end on the first one's config.
        save_config_kwargs={"overwrite": True},
    )
    if cli.subcommand == "fit" and cli.trainer.is_global_zero:
        _say_results(cli.trainer.callbacks)  # type: ignore[attr-defined]


def _say_results(callbacks: Sequence[Any]) -> None:
    for callback in callbacks:
        if isinstance(callback, EmbeddingVisualizer) and callback.folder is not None:
            sys.stdout.write(epoch_table(callback.folder / "history.jsonl"))
            sys.stdout.write(f"\nFigures, report and history: {callback.folder}\n")


def epoch_table(history: Path) -> str:
    """The evaluations of a run as a table, one row for each.

    Args:
        history: ``history.jsonl`` of a run folder.

    Returns:
        Text with a header and one line per evaluation; empty if there were none.
    """
    if not history.exists():
        return ""
    rows = [json.loads(line) for line in history.read_text(encoding="utf-8").splitlines() if line]
    header = f"{'':<12}" + "".join(f"{name:>12}" for name in _COLUMNS)
    return "\n".join(["", header, *(_row(row) for row in rows)]) + "\n"


def _row(row: dict[str, Any]) -> str:
    values = (row["metrics"].get(name) for name in _COLUMNS)
    return f"{row['label']:<12}" + "".join(f"{'n/a':>12}" if value is None else f"{value:>12.4f}" for value in values)


if __name__ == "__main__":
    main()
