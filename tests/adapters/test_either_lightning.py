"""The callback under `pytorch_lightning` and `lightning.pytorch`, also where only one of them is installed."""

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

ROOT = Path(__file__).parents[2]
OTHER = {"pytorch_lightning": "lightning", "lightning.pytorch": "pytorch_lightning"}
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(find_spec("lightning") is None, reason="lightning is not installed"),
]

# A module in ten lines, so that nothing but the Lightning under test is imported.
MODULE = """
import warnings; warnings.simplefilter("ignore")
import sys, torch
import {lightning} as L

class Tiny(L.LightningModule):
    def __init__(self):
        super().__init__()
        self.table = torch.nn.EmbeddingBag(64, 8)
    def encode(self, texts):
        rows = [[ord(letter) % 64 for letter in (text * 20)[:20]] for text in texts]
        return self.table(torch.tensor(rows, device=self.device))
    def training_step(self, batch, index):
        return -torch.nn.functional.cosine_similarity(self.encode(batch["query"]), self.encode(batch["pos"])).mean()
    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.1)
    def train_dataloader(self):
        return torch.utils.data.DataLoader(PAIRS, batch_size=4)

PAIRS = [{{"query": f"room {{row}}", "pos": f"a room with number {{row}}"}} for row in range(8)]
QUIET = dict(accelerator="cpu", max_epochs=2, enable_progress_bar=False, enable_model_summary=False)
"""
FIT = """
import importlib.util
from {lightning}.loggers import TensorBoardLogger
from embviz_callback import EmbeddingVisualizer
from embviz_callback.delivery.provenance import versions
assert importlib.util.find_spec("{other}") is None
callback = EmbeddingVisualizer(PAIRS, skip_tsne=True, skip_umap=True, on_error="raise", alert=None)
checkpoint = L.callbacks.ModelCheckpoint(sys.argv[1], monitor="embviz/margin", mode="max")
logger = TensorBoardLogger(sys.argv[1], name="", version="")
trainer = L.Trainer(logger=logger, callbacks=[callback, checkpoint], log_every_n_steps=1, **QUIET)
trainer.fit(Tiny())
print(isinstance(callback, L.Callback), float(checkpoint.best_model_score) == float(checkpoint.best_model_score))
"""


def _site_without(distribution: str, folder: Path) -> Path:
    """A site directory of links to everything that is installed here but one distribution."""
    folder.mkdir()
    left_out = (distribution, f"{distribution}-")
    for place in [Path(entry) for entry in sys.path if entry.endswith("site-packages")]:
        for path in place.iterdir():
            is_linked = (folder / path.name).is_symlink() or path.suffix == ".pth" or path.name == "__pycache__"
            if not is_linked and path.name != left_out[0] and not path.name.startswith(left_out[1]):
                (folder / path.name).symlink_to(path)
    return folder


def _python(program: str, *arguments: str, path: Path | None = None) -> subprocess.CompletedProcess[str]:
    # -S: of all that is installed, only what stands in `path` can be found.
    command = [sys.executable, *([] if path is None else ["-S"]), "-c", program, *arguments]
    search = os.pathsep.join(map(str, [ROOT] if path is None else [path, ROOT]))
    environment = os.environ | {"PYTHONPATH": search, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return done


@pytest.mark.parametrize("lightning", OTHER)
def test_one_lightning_is_enough(tmp_path: Path, lightning: str) -> None:
    place = _site_without(OTHER[lightning], tmp_path / "site")
    program = (MODULE + FIT).format(lightning=lightning, other=OTHER[lightning])
    done = _python(program, f"{tmp_path / 'run'}", path=place)
    assert done.stdout.splitlines()[-1] == "True True"
    events = EventAccumulator(f"{tmp_path / 'run'}")
    events.Reload()
    assert [scalar.step for scalar in events.Scalars("embviz/margin")] == [1, 3]
    folder = tmp_path / "run" / "embviz"
    assert (folder / "epoch_0001" / "similarity_heatmap.png").read_bytes().startswith(b"\x89PNG")
    installed = lightning.partition(".")[0].replace("_", "-")
    assert f"| versions {installed} | " in (folder / "epoch_0001" / "report.md").read_text(encoding="utf-8")


def test_without_any_lightning_one_sentence_says_what_to_install(tmp_path: Path) -> None:
    program = (
        "import sys; sys.modules['pytorch_lightning'] = sys.modules['lightning'] = None\n"
        "try:\n    from embviz_callback import EmbeddingVisualizer\n"
        "except ModuleNotFoundError as error:\n    print(error)"
    )
    assert _python(program).stdout == (
        "EmbeddingVisualizer needs Lightning; install it with: pip install pytorch-lightning\n"
    )


def test_the_command_line_of_lightning_takes_a_callback_that_was_imported_before_it(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(
        "trainer:\n  logger: false\n  callbacks:\n  - class_path: embviz_callback.EmbeddingVisualizer\n"
        "    init_args: {data: pairs.json, max_samples: 5, alert: {threshold: 0.1}}\n",
        encoding="utf-8",
    )
    program = (
        "from embviz_callback import EmbeddingVisualizer\n"
        f"{MODULE.format(lightning='lightning.pytorch')}"
        "from lightning.pytorch.cli import LightningCLI\n"
        "cli = LightningCLI(Tiny, run=False, args=['--config', sys.argv[1]])\n"
        "found = cli.trainer.callbacks[0]\n"
        "print(found.settings.max_samples, found.alert.threshold, isinstance(found, L.Callback))\n"
    )
    assert _python(program, f"{tmp_path / 'config.yaml'}").stdout == "5 0.1 True\n"


def test_selfcheck_fits_a_module_of_lightning_with_its_own_trainer(tmp_path: Path) -> None:
    factory = MODULE.format(lightning="lightning.pytorch") + "def build():\n    return Tiny(), None\n"
    (tmp_path / "mine.py").write_text(factory, encoding="utf-8")
    pairs = [{"query": f"room {row}", "pos": f"a room with number {row}"} for row in range(8)]
    (tmp_path / "val.json").write_text(json.dumps(pairs), encoding="utf-8")
    request = {
        **{"name": "with the callback", "is_with": True, "factory": f"{tmp_path / 'mine.py'}:build"},
        **{"data": f"{tmp_path / 'val.json'}", "steps": 2, "epochs": 1, "seed": 7, "accelerator": "cpu"},
        **{"precision": "32-true", "deterministic": False},
        **{"folder": f"{tmp_path}", "result": f"{tmp_path / 'result.json'}"},
    }
    _python("from embviz_callback.commands.selfcheck_fit import main; main()", json.dumps(request))
    told = json.loads((tmp_path / "result.json").read_text(encoding="utf-8"))
    assert (told.get("error"), told["steps"], told["evaluations"]) == (None, 2, 2)
    assert told["groups"]["weights"].keys() == {"table.weight"}
