"""The real run with and without the feature cache: seconds per epoch and in all, same losses.

Run: ``python benchmarks/training.py [--epochs 10]``; without the cache every epoch encodes all texts
again, so that a run of 10 epochs takes more than half an hour on 2 cores.
"""

import argparse
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

from real_run import HERE, minilm_folder

_PROGRAM = """
import json, sys, time
from pathlib import Path
import pytorch_lightning as pl, torch
from model import RentalBiEncoder
from pair_dataset import PairDataModule
encoder, files, validation, cache, epochs, n_run, folder = json.loads(sys.argv[1])
pl.seed_everything(7, verbose=False)
class Clock(pl.Callback):
    def __init__(self): self.marks, self.losses = [], []
    def on_train_epoch_start(self, trainer, module): self.marks.append(time.perf_counter())
    def on_train_batch_end(self, trainer, module, outputs, batch, index): self.losses.append(float(outputs["loss"]))
    def on_train_epoch_end(self, trainer, module):
        self.marks.append(time.perf_counter())
        # Stopped and not shortened: the learning rate follows the number of epochs that were planned.
        trainer.should_stop = trainer.current_epoch + 1 >= n_run
clock, started = Clock(), time.perf_counter()
model = RentalBiEncoder(encoder, dim=256, learning_rate=1e-3, feature_cache=cache, cache_dir=folder)
data = PairDataModule(train_path=files, val_path=validation, batch_size=128)
trainer = pl.Trainer(max_epochs=epochs, accelerator="cpu", logger=False, enable_checkpointing=False,
                     enable_progress_bar=False, enable_model_summary=False, callbacks=[clock], gradient_clip_val=1.0,
                     limit_val_batches=0)
trainer.fit(model, datamodule=data)
print(json.dumps({"whole": time.perf_counter() - started, "losses": clock.losses,
                  "epochs": [end - start for start, end in zip(clock.marks[::2], clock.marks[1::2])]}))
"""


def main() -> None:
    """Runs both in turn and prints the ratios."""
    import json

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=HERE.parent / "shared" / "data" / "rental")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--live-epochs", type=int, help="epochs without the cache; the rest is extrapolated")
    options = parser.parse_args()
    files = [str(options.data / f"new-data-set-{n}.json") for n in (1, 2, 3)]
    validation = str(options.data / "test-data-set-1.json")
    settings = [str(minilm_folder()), files, validation]
    with tempfile.TemporaryDirectory() as folder:
        cached = _run(json.dumps([*settings, True, options.epochs, options.epochs, folder]))
    n_live = options.live_epochs or options.epochs
    live = _run(json.dumps([*settings, False, options.epochs, n_live, ""]))
    per_live = sorted(live["epochs"])[len(live["epochs"]) // 2]
    per_cached = sorted(cached["epochs"][1:])[len(cached["epochs"][1:]) // 2]
    whole_live = live["whole"] + per_live * (options.epochs - n_live)
    worst = max(abs(a - b) for a, b in zip(cached["losses"], live["losses"], strict=False))
    print(f"epoch   cached {per_cached:.2f} s, live {per_live:.1f} s: {per_live / per_cached:.0f}x")
    print(f"run     cached {cached['whole']:.1f} s, live {whole_live:.1f} s: {whole_live / cached['whole']:.1f}x")
    print(f"        ({options.epochs} epochs; live measured over {n_live}, the rest extrapolated)")
    print(f"losses  largest difference over {len(live['losses'])} steps: {worst:.1e}")
    print(f"peak memory of either run: {resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20:.2f} GiB")


def _run(arguments: str) -> "dict[str, list[float] | float]":
    import json

    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM, arguments], cwd=HERE, stdout=subprocess.PIPE, text=True, check=True
    )
    return json.loads(done.stdout.splitlines()[-1])


if __name__ == "__main__":
    main()
