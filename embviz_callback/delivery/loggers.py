"""Figures and reports into the trainer's own loggers, from the training process, as soon as they are drawn."""

import html
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from embviz_callback.delivery.alerts.rule import AlertEvent
from embviz_callback.delivery.guarding import Guard

# Loggers that need nothing of us: figures reach TensorBoard in a sub-run of its folder.
_SERVED = ("TensorBoardLogger",)
_NUMBERS_ONLY = ("CSVLogger",)  # of which everybody knows it
_PAGE = '<!doctype html><meta charset="utf-8"><pre style="white-space: pre-wrap; font: 13px monospace">{}</pre>'


@dataclass(frozen=True)
class Showing:
    """What one evaluation shows, as files that are finished.

    Attributes:
        label: Of the evaluation.
        step: Under which its numbers are logged.
        figures: A PNG for each name.
        texts: A markdown page for each name.
    """

    label: str
    step: int
    figures: Mapping[str, Path]
    texts: Mapping[str, Path]


Way = Callable[[Any, Showing, str], None]


class Gallery:
    """Hands what the drawing process has finished to every logger that can show it; waits for nothing.

    A logger is known by the name of its class or of one it inherits from, so that both Lightnings'
    are, and none is imported. Each evaluation is handed over once. What a logger raises costs one
    warning, and after three times in a row that logger gets no more figures.

    Args:
        loggers: Of the trainer; none on ranks other than the main one.
        prefix: What stands before the slash in every tag.
        folder: Of the run; None where nothing is drawn.
        guard: Catches what a logger raises.
    """

    def __init__(self, loggers: Sequence[Any], *, prefix: str, folder: Path | None, guard: Guard) -> None:
        self.loggers = tuple(loggers)
        self.prefix = prefix
        self.folder = folder
        self._guard = guard
        self._expected: dict[str, tuple[str, int]] = {}
        self._finished: list[Showing] = []

    def introduction(self) -> str:
        """One line on what the loggers will not show, and where it is; empty if they show all."""
        if self.folder is None:
            return ""
        numbers = [logger for logger in self.loggers if way_to(logger) is None and not _is_a(logger, _SERVED)]
        pictures = [logger for logger in self.loggers if way_to(logger) is _by_log_image]
        if all(_is_a(logger, _NUMBERS_ONLY) for logger in numbers) and len(numbers) < len(self.loggers):
            numbers = []  # the figures stand in another logger
        said = [f"{_names(numbers)} can be given numbers only, no figures and no report"] if numbers else []
        said += [f"{_names(pictures)} can be given numbers and figures, but no report"] if pictures else []
        return f"{'; '.join(said)}: all of it is in {self.folder}" if said else ""

    def expect(self, job: str, label: str, step: int) -> None:
        """Notes what a job of the drawing process is about."""
        if any(map(way_to, self.loggers)):
            self._expected[job] = (label, step)

    def receive(self, job: str, files: Sequence[str]) -> None:
        """Takes the names of the files that a job has become, relative to the folder of the run.

        Args:
            job: One that is not expected, such as a resumed run's, or comes a second time is left out.
            files: PNG and markdown.
        """
        if job not in self._expected or self.folder is None:
            return
        label, step = self._expected.pop(job)
        paths = [self.folder / file for file in files]
        figures = {path.stem: path for path in paths if path.suffix == ".png"}
        texts = {path.stem: path for path in paths if path.suffix == ".md"}
        self._finished.append(Showing(label, step, figures, texts))

    def show(self) -> None:
        """Hands over what was received since."""
        finished, self._finished = self._finished, []
        for showing in finished:
            for logger in self.loggers:
                if (way := way_to(logger)) is not None:
                    name = type(logger).__name__
                    act = partial(way, logger, showing, self.prefix)
                    where = f"{showing.label}, step {showing.step}"
                    self._guard.attempt(f"figures in {name}", act, where=where, skipped=f"its figures in {name}")

    def alert(self, event: AlertEvent) -> None:
        """Raises an alert in Weights & Biases, which passes it on as its user has set there."""
        for logger in self.loggers:
            if _is_a(logger, ("WandbLogger",)):
                # A second is the shortest distance that is not taken for "not given" (a minute).
                options = {"level": "WARN" if event.kind == "firing" else "INFO", "wait_duration": 1}
                act = partial(_wandb_alert, logger, event.headline, event.message, options)
                self._guard.attempt("alert in WandbLogger", act, where=f"step {event.step}", skipped="W&B's alert")


def way_to(logger: Any) -> Way | None:
    """How a logger is given figures.

    Args:
        logger: Of either Lightning, or anybody's.

    Returns:
        A function that does it, or None where we know of no way or need none.
    """
    if _is_a(logger, (*_SERVED, *_NUMBERS_ONLY)):
        return None
    for name, way in _WAYS.items():
        if _is_a(logger, (name,)):
            return way
    return _by_log_image if callable(getattr(type(logger), "log_image", None)) else None


def _to_wandb(logger: Any, showing: Showing, prefix: str) -> None:
    # The logger has imported it; nobody else needs it.
    import wandb

    caption = f"{showing.label}, step {showing.step}"
    images = {name: wandb.Image(str(path), caption=caption) for name, path in showing.figures.items()}
    # Escaped, so that no text of the data can act, and without W&B's style sheet from the network.
    pages = {
        name: wandb.Html(_PAGE.format(html.escape(_text(path))), inject=False) for name, path in showing.texts.items()
    }
    # One row, of which the logger puts our step into trainer/global_step. Given as W&B's own step,
    # which may only rise, the row would be dropped: training has logged later steps by now.
    logger.log_metrics({f"{prefix}/{name}": value for name, value in (images | pages).items()}, showing.step)


def _to_mlflow(logger: Any, showing: Showing, prefix: str) -> None:
    # Pillow comes with matplotlib, and MLflow's client wants its images.
    from PIL import Image

    client, run_id = logger.experiment, logger.run_id
    options = getattr(logger, "_log_batch_kwargs", {})  # the user's choice of MLFlowLogger(synchronous=...)
    for name, path in showing.figures.items():
        with Image.open(path) as image:
            image.load()  # where MLflow writes later, the file must not be needed any more
            client.log_image(run_id, image, key=f"{prefix}/{name}", step=showing.step, **options)
    for name, path in showing.texts.items():
        client.log_text(run_id, _text(path), f"{prefix}/{name}/step_{showing.step:09d}.md")


def _to_comet(logger: Any, showing: Showing, prefix: str) -> None:
    experiment = logger.experiment
    for name, path in showing.figures.items():
        experiment.log_image(str(path), name=f"{prefix}/{name}", step=showing.step)
    for path in showing.texts.values():
        experiment.log_text(_text(path), step=showing.step)


def _by_log_image(logger: Any, showing: Showing, prefix: str) -> None:
    """By the method that Lightning's own loggers have where they have one."""
    for name, path in showing.figures.items():
        logger.log_image(key=f"{prefix}/{name}", images=[str(path)], step=showing.step)


_WAYS: Mapping[str, Way] = {"WandbLogger": _to_wandb, "MLFlowLogger": _to_mlflow, "CometLogger": _to_comet}


def _wandb_alert(logger: Any, title: str, text: str, options: Mapping[str, Any]) -> None:
    logger.experiment.alert(title=title, text=text, **options)


def _is_a(logger: Any, names: Sequence[str]) -> bool:
    return any(kind.__name__ in names for kind in type(logger).__mro__)


def _names(loggers: Sequence[Any]) -> str:
    return " and ".join(dict.fromkeys(type(logger).__name__ for logger in loggers))


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8")
