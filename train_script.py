"""Trains a bi-encoder with the callback on; a LightningCLI, every option can be overridden.

python train_script.py fit --config configs/demo.yaml
python train_script.py fit --config configs/bge_m3.yaml --trainer.max_epochs 3
python train_script.py validate --config configs/demo.yaml --ckpt_path runs/demo/checkpoints/last.ckpt
python train_script.py fit --print_config
"""

import sys
import warnings
from collections.abc import Sequence
from typing import Any

from pytorch_lightning.cli import LightningCLI

from embviz_callback import EmbeddingVisualizer
from embviz_callback.delivery.run.history import epoch_table, read_history
from model import RentalBiEncoder
from pair_dataset import PairDataModule


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command line; without arguments it says what it can do."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if not given:
        sys.stderr.write(f"{__doc__ or ''}\nEvery option: python train_script.py fit --help\n")
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
            sys.stdout.write(epoch_table(read_history(callback.folder / "history.jsonl")))
            sys.stdout.write(f"\nFigures, report and history: {callback.folder}\n")


if __name__ == "__main__":
    main()
