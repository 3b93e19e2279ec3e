"""Figures and reports in the trainer's own loggers: real ones, read back from what they wrote."""

import base64
import csv
import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from embviz_callback.delivery.alerts.rule import AlertEvent
from embviz_callback.delivery.guarding import Guard
from embviz_callback.delivery.loggers import Gallery
from embviz_callback.delivery.places import Places, find_places
from tests.tiny_training import a_session

PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAIAAAABCAYAAAD0In+KAAAADklEQVR4nGP4z8DwHwQBEPgD/U6VwW8AAAAASUVORK5CYII="
)
FIGURES = ("similarity_distribution", "similarity_heatmap", "top_k_predictions")  # the maps are left out
STEPS = [0, 3, 7, 11]  # untrained, and the last batch of three epochs
needs_loggers = pytest.mark.skipif(
    not (find_spec("wandb") and find_spec("mlflow")), reason="wandb or mlflow-skinny is not installed"
)

PROGRAM = """
import json, logging, sys, time, warnings
warnings.simplefilter("ignore")
from pathlib import Path
import pytorch_lightning as pl
from pytorch_lightning.loggers import CSVLogger, Logger, MLFlowLogger, WandbLogger
from embviz_callback import EmbeddingVisualizer, MarginAlert
from tests.tiny_training import *
from tests.wandb_file import read_wandb

folder = Path(sys.argv[1])

class Unknown(Logger):
    name, version = "unknown", "0"
    def __init__(self): self.steps = []
    def log_hyperparams(self, *given, **named): pass
    def log_metrics(self, metrics, step): self.steps += [step] if "embviz/margin" in metrics else []

class Broken(Unknown):
    calls = 0
    def log_image(self, key, images, step): self.calls += 1; raise ConnectionError("no server")

class Patient(pl.Callback):
    # Gives the figures of epochs 0 and 1 the time to be drawn, so that they are shown in mid-training.
    def on_train_epoch_start(self, trainer, module):
        jobs = folder / "wb" / "tests" / loggers[0].version / "embviz" / "jobs"
        while trainer.current_epoch == 2 and (list(jobs.glob("pending/*")) + list(jobs.glob("active/*"))):
            time.sleep(0.01)

loggers = [
    WandbLogger(save_dir=folder / "wb", project="tests", offline=True),
    MLFlowLogger("tests", tracking_uri=f"file:{folder / 'ml'}"),
    CSVLogger(folder, name="table", version=""),
    Unknown(),
    Broken(),
]
notices = []
class Keep(logging.Handler):
    def emit(self, record): notices.append((record.levelname, record.getMessage()))
logging.getLogger("embviz_callback").setLevel(logging.INFO)
logging.getLogger("embviz_callback").addHandler(Keep())
callback = EmbeddingVisualizer(
    pairs(), alert=MarginAlert(threshold=2.0), skip_tsne=True, skip_umap=True, log_baseline=True
)
trainer(folder, Patient(), callback, logger=loggers, max_epochs=3).fit(TinyBiEncoder())

import mlflow, wandb
wandb.finish()
rows, alerts = read_wandb(folder / "wb")
client, run_id = mlflow.MlflowClient(f"file:{folder / 'ml'}"), loggers[1].run_id
print(json.dumps({
    "folder": str(callback.folder),
    "notices": notices,
    "rows": rows,
    "alerts": alerts,
    "margins": [(one.step, one.value) for one in client.get_metric_history(run_id, "embviz/margin")],
    "images": [file.path for file in client.list_artifacts(run_id, "images")],
    "reports": [file.path for file in client.list_artifacts(run_id, "embviz/report")],
    "report": Path(client.download_artifacts(run_id, "embviz/report/step_000000007.md")).read_text(encoding="utf-8"),
    "unknown": loggers[3].steps,
    "broken": (loggers[4].steps, loggers[4].calls),
    "drawing libraries": [name for name in ("sklearn", "numba", "umap", "openTSNE") if name in sys.modules],
}))
"""


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What five loggers at once hold after a fit, in a process whose home is a folder of the test."""
    folder = tmp_path_factory.mktemp("loggers")
    surroundings = {
        "HOME": f"{folder / 'home'}",
        "PYTHONPATH": ".",
        "WANDB_SILENT": "true",
        "MLFLOW_ALLOW_FILE_STORE": "true",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "OMP_NUM_THREADS": "1",
    }
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, f"{folder}"], capture_output=True, text=True, env=os.environ | surroundings
    )
    assert done.returncode == 0, done.stderr[-3000:]
    answers: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answers | {"root": folder}


def pictures(found: dict[str, Any]) -> list[dict[str, Any]]:
    return [row for row in found["rows"] if "embviz/report" in row]


@pytest.mark.slow
@needs_loggers
def test_wandb_gets_each_evaluation_once_under_the_step_of_its_numbers(found: dict[str, Any]) -> None:
    assert [row["trainer/global_step"] for row in pictures(found)] == STEPS
    assert [row["trainer/global_step"] for row in found["rows"] if "embviz/margin" in row] == STEPS
    for row in pictures(found):
        assert {f"embviz/{name}" for name in (*FIGURES, "report")} <= set(row)
        assert "embviz/margin" not in row
    last = pictures(found)[-1]["embviz/similarity_heatmap"]
    assert last["caption"] == "epoch 2, step 11"
    (media,) = found["root"].glob("wb/wandb/offline-*/files")
    epoch = Path(found["folder"]) / "epoch_0002"
    assert (media / last["path"]).read_bytes() == (epoch / "similarity_heatmap.png").read_bytes()


@pytest.mark.slow
@needs_loggers
def test_wandb_keeps_pictures_of_a_step_that_training_has_left_behind(found: dict[str, Any]) -> None:
    own_steps = [row["_step"] for row in found["rows"]]
    assert own_steps == sorted(own_steps)  # W&B drops a row that falls behind
    where = found["rows"].index(pictures(found)[1])  # those of epoch 0, shown when epoch 2 begins
    before, after = found["rows"][:where], found["rows"][where:]
    assert max(row["trainer/global_step"] for row in before) == 7
    assert any("train_loss" in row for row in after)


@pytest.mark.slow
@needs_loggers
def test_the_report_in_wandb_is_inert_and_asks_no_network(found: dict[str, Any]) -> None:
    (media,) = found["root"].glob("wb/wandb/offline-*/files")
    page = (media / pictures(found)[2]["embviz/report"]["path"]).read_text(encoding="utf-8")
    assert page.startswith('<!doctype html><meta charset="utf-8"><pre')
    assert "http" not in page.partition(">")[0] + page.split("<pre")[0]
    assert page.count("<") == 4  # of the page itself: everything else is escaped
    assert "epoch 1" in page


@pytest.mark.slow
@needs_loggers
def test_mlflow_gets_numbers_pictures_and_reports_under_their_steps(found: dict[str, Any]) -> None:
    assert [step for step, _ in found["margins"]] == STEPS
    pngs = sorted(name.split("+timestamp+")[0] for name in found["images"] if name.endswith(".png"))
    assert pngs == sorted(f"images/embviz~{name}+step+{step}" for name in FIGURES for step in STEPS)
    assert found["reports"] == [f"embviz/report/step_{step:09d}.md" for step in STEPS]
    assert found["report"] == (Path(found["folder"]) / "epoch_0001" / "report.md").read_text(encoding="utf-8")


@pytest.mark.slow
@needs_loggers
def test_a_table_and_an_unknown_logger_get_the_numbers_and_one_line_says_what_they_cannot_show(
    found: dict[str, Any],
) -> None:
    with (found["root"] / "table" / "metrics.csv").open() as file:
        assert [int(row["step"]) for row in csv.DictReader(file) if row["embviz/margin"]] == STEPS
    assert found["unknown"] == STEPS
    said = [message for level, message in found["notices"] if level == "INFO"]
    assert said == [
        "embviz: CSVLogger and Unknown can be given numbers only, no figures and no report; Broken can be given "
        f"numbers and figures, but no report: all of it is in {found['folder']}"
    ]


@pytest.mark.slow
@needs_loggers
def test_f53_a_logger_that_raises_on_a_figure_costs_one_warning_and_the_others_nothing(found: dict[str, Any]) -> None:
    steps, calls = found["broken"]
    assert steps == STEPS
    assert calls == 3
    said = [message for level, message in found["notices"] if level == "WARNING" and "Broken" in message]
    assert said == [
        "embviz: figures in Broken failed (untrained, step 0, rank 0): ConnectionError: no server; "
        "skipped: its figures in Broken",
        "embviz: figures in Broken failed 3 times in a row and is not tried again in this run",
    ]


@pytest.mark.slow
@needs_loggers
def test_wandbs_own_alert_is_raised_when_the_alert_begins_and_not_again(found: dict[str, Any]) -> None:
    ((title, text, level),) = found["alerts"]
    assert title.startswith("embviz: margin alert (")
    assert text.startswith("margin alert at epoch 0: ")
    assert level == "WARN"


@pytest.mark.slow
@needs_loggers
def test_no_drawing_library_comes_into_the_training_process_with_the_pictures(found: dict[str, Any]) -> None:
    assert found["drawing libraries"] == []


class Anybodys:
    """A logger with Lightning's method for pictures."""

    def __init__(self) -> None:
        self.shown: list[tuple[str, list[str], int]] = []

    def log_image(self, key: str, images: list[str], step: int) -> None:
        self.shown.append((key, images, step))


class TensorBoardLogger(Anybodys):
    """Another package's class of that name, as ``lightning.pytorch`` has one."""


class CSVLogger:
    """Numbers only."""


class ChildOfCSVLogger(CSVLogger):
    """A user's own."""


class Experiment:
    """What Comet's does, as far as it is asked."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []

    def log_image(self, image_data: str, name: str, step: int) -> None:
        self.calls.append((Path(image_data).name, name, step))

    def log_text(self, text: str, step: int) -> None:
        self.calls.append((text, step))


class CometLogger:
    """Comet's, known by its name."""

    def __init__(self) -> None:
        self.experiment = Experiment()


def gallery(folder: Path | None, *loggers: Any) -> Gallery:
    guard = Guard(on_error="raise", note=lambda row: None)
    return Gallery(loggers, prefix="embviz", folder=folder, guard=guard)


def drawn(folder: Path) -> list[str]:
    (folder / "epoch_0003").mkdir(exist_ok=True)
    (folder / "epoch_0003" / "tsne_projection.png").write_bytes(PIXEL)
    (folder / "epoch_0003" / "report.md").write_text("# trọ", encoding="utf-8")
    return ["epoch_0003/tsne_projection.png", "epoch_0003/report.md"]


@pytest.mark.slow
@pytest.mark.skipif(find_spec("lightning") is None, reason="lightning is not installed")
def test_the_loggers_of_either_lightning_are_known() -> None:
    program = (
        "import lightning.pytorch.loggers as these, pytorch_lightning.loggers as those\n"
        "from embviz_callback.delivery.loggers import way_to\n"
        "for name in ('WandbLogger', 'MLFlowLogger', 'CometLogger', 'TensorBoardLogger', 'CSVLogger'):\n"
        "    ways = [way_to(kind.__new__(kind)) for kind in (getattr(these, name), getattr(those, name))]\n"
        "    print(name, *(way and way.__name__ for way in ways))"
    )
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [
        "WandbLogger _to_wandb _to_wandb",
        "MLFlowLogger _to_mlflow _to_mlflow",
        "CometLogger _to_comet _to_comet",
        "TensorBoardLogger None None",
        "CSVLogger None None",
    ]


def test_an_evaluation_is_shown_once_at_the_hook_after_it_was_drawn(tmp_path: Path) -> None:
    logger = Anybodys()
    room = gallery(tmp_path, logger)
    room.expect("000000026_epoch_0003", "epoch 3", 25)
    room.show()
    assert logger.shown == []
    room.receive("000000026_epoch_0003", drawn(tmp_path))
    room.receive("000000026_epoch_0003", drawn(tmp_path))
    room.show()
    room.show()
    assert logger.shown == [("embviz/tsne_projection", [f"{tmp_path / 'epoch_0003' / 'tsne_projection.png'}"], 25)]


def test_what_another_run_left_to_be_drawn_is_not_shown_in_this_one(tmp_path: Path) -> None:
    logger = Anybodys()
    room = gallery(tmp_path, logger)
    room.receive("000000026_epoch_0003", drawn(tmp_path))
    room.show()
    assert logger.shown == []


def test_comet_gets_pictures_and_text_under_their_step(tmp_path: Path) -> None:
    logger = CometLogger()
    room = gallery(tmp_path, logger)
    room.expect("job", "epoch 3", 25)
    room.receive("job", drawn(tmp_path))
    room.show()
    assert logger.experiment.calls == [("tsne_projection.png", "embviz/tsne_projection", 25), ("# trọ", 25)]


def test_a_logger_is_known_by_the_names_of_its_classes(tmp_path: Path) -> None:
    board = TensorBoardLogger()
    room = gallery(tmp_path, board)
    room.expect("job", "epoch 3", 25)
    room.receive("job", drawn(tmp_path))
    room.show()
    assert board.shown == []  # its figures stand in the sub-run


@pytest.mark.parametrize(
    ("loggers", "said"),
    [
        ((), ""),
        ((TensorBoardLogger(),), ""),
        ((TensorBoardLogger(), ChildOfCSVLogger()), ""),
        ((CometLogger(), CSVLogger()), ""),
        ((ChildOfCSVLogger(),), "ChildOfCSVLogger can be given numbers only, no figures and no report"),
        ((TensorBoardLogger(), Experiment), "type can be given numbers only, no figures and no report"),
        ((Anybodys(), Anybodys()), "Anybodys can be given numbers and figures, but no report"),
    ],
)
def test_a_line_says_where_figures_are_only_where_a_logger_does_not_show_them(
    tmp_path: Path, loggers: tuple[Any, ...], said: str
) -> None:
    assert gallery(tmp_path, *loggers).introduction() == (said and f"{said}: all of it is in {tmp_path}")
    assert gallery(None, *loggers).introduction() == ""


class WandbLogger:
    """Keeps the alerts that W&B's run is given."""

    def __init__(self) -> None:
        self.alerts: list[dict[str, Any]] = []
        self.experiment = SimpleNamespace(alert=lambda **given: self.alerts.append(given))


def test_wandbs_alert_tells_a_recovery_from_an_alarm(tmp_path: Path) -> None:
    logger = WandbLogger()
    numbers = {"epoch": 3, "step": 25, "margin": 0.3, "threshold": 0.25, "separation": 2.0, "rank1": 0.9}
    for kind, cause in (("firing", "low margin"), ("recovered", "")):
        gallery(tmp_path, logger).alert(AlertEvent(kind=kind, cause=cause, is_first=True, message=kind, **numbers))
    assert [(one["title"], one["text"], one["level"]) for one in logger.alerts] == [
        ("embviz: margin alert (low margin)", "firing", "WARN"),
        ("embviz: margin recovered", "recovered", "INFO"),
    ]


def lone_trainer(**logger: Any) -> Any:
    loggers = [SimpleNamespace(**logger)] if logger else []
    return SimpleNamespace(
        is_global_zero=True, fast_dev_run=False, default_root_dir="/runs/here", loggers=loggers, global_rank=0
    )


def test_a_run_on_a_tracking_server_has_a_folder_of_its_own_here() -> None:
    on_server = {"save_dir": None, "name": "17", "version": "d34db33f"}
    assert find_places(lone_trainer(**on_server), None, "embviz").folder == Path("/runs/here/17/d34db33f/embviz")
    unnamed = {"save_dir": None, "name": None, "version": None}
    assert find_places(lone_trainer(**unnamed), None, "embviz").folder == Path("/runs/here/embviz")
    assert find_places(lone_trainer(), None, "embviz").folder == Path("/runs/here/embviz")


def test_a_rank_that_writes_nothing_and_a_trial_show_nothing(tmp_path: Path) -> None:
    for places in (Places(None, None, rank=1), Places(None, None, is_trial=True)):
        assert a_session(places, loggers=[Anybodys()]).gallery.loggers == ()
