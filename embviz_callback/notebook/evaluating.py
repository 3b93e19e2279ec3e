"""`evaluate`: one model looked at, as the callback and `embviz` look at it."""

import os
from dataclasses import dataclass, field, fields, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from embviz_callback.adapters.encoders import inner_model, subject_of
from embviz_callback.analysis.maps.projections import Projection, Skipped
from embviz_callback.analysis.metrics.numbers import Metrics
from embviz_callback.analysis.metrics.pictures import FIGURES, MAPS, wanted_figures
from embviz_callback.commands.evaluate import asides_of
from embviz_callback.commands.looking import Look, look_at
from embviz_callback.commands.request import Request
from embviz_callback.commands.terminal import Terminal
from embviz_callback.delivery.guarding import Guard
from embviz_callback.delivery.results.result_folder import maps_of, result_page, write_results
from embviz_callback.delivery.run.data_check import data_check
from embviz_callback.delivery.showing import show
from embviz_callback.drawing.figures.png import draw
from embviz_callback.drawing.reports.asides import Context
from embviz_callback.encoding.serving import Serving
from embviz_callback.encoding.subject import GivenEncode
from embviz_callback.evaluator import Evaluator, Listener, Moment
from embviz_callback.notebook.shown import Page, Pictures, numbers_html
from embviz_callback.pairs.formats.form import Reading
from embviz_callback.pairs.formats.reading import read_pairs
from embviz_callback.settings import Settings, merged, split_options
from embviz_callback.snapshot import Snapshot

_RECOGNISED = Reading()


def evaluate(
    model: Any,
    data: Any = None,
    *,
    corpus: Any = None,
    reading: Reading = _RECOGNISED,
    encode: GivenEncode = None,
    settings: Settings | None = None,
    device: str = "auto",
    **options: Any,
) -> "Result":
    """Looks at one model, in the same way as the callback and `embviz` do.

    Args:
        model: Path of a checkpoint, a model directory or an ``embeddings.npz``, a name on the hub, or a model in
            memory: a SentenceTransformer, or any module with ``encode(texts)``.
        data: A file or folder of pairs, or a list, `Dataset` or DataFrame of them; None for an ``embeddings.npz``.
        corpus: Further documents that answer no query: path or list of texts, see docs/corpus.md.
        reading: How data and corpus are read where that cannot be recognised.
        encode: Of a model in memory, as for `EmbeddingVisualizer`.
        settings: Options of the evaluation as one value.
        device: Of a checkpoint; "auto" for CUDA where there is one.
        options: The fields of `Settings`, each by itself, and for a checkpoint what `embviz` is told of it: `encoder`,
            `pooling`, `max_length`, `tokenizer`, `dtype`, `prefix`, `head_activation`, `lora_alpha`,
            `document_encoder`, `cache`.

    Returns:
        The result; a ValueError says what cannot be used.

    Raises:
        ValueError: If there are no data, or an option is of no use to this model.
    """
    flat, serving = split_options(options, Settings, Serving)
    chosen = merged("settings", settings, flat, Settings())
    if is_path(model):
        if encode is not None:
            raise ValueError("encode is for a model in memory, a checkpoint is served as it says")
        request = Request((os.fspath(model),), data, chosen, serving, device, reading, corpus)
        return Result(next(look_at(request, Terminal())).snapshot)
    of_checkpoints = [name for name in options if name not in {option.name for option in fields(Settings)}]
    if of_checkpoints:
        raise ValueError(f"{', '.join(of_checkpoints)} can be said of a checkpoint, not of a model in memory")
    if data is None:
        raise ValueError("data must be a path or a list of pairs, got None")
    return Result(
        _looked_at(model, Evaluator.on(read_pairs(data, reading), chosen, corpus=corpus, reading=reading), encode)
    )


def is_path(model: Any) -> bool:
    """Whether a model is named, and not held."""
    return isinstance(model, str | os.PathLike)


def called(model: Any) -> str:
    """What a model in memory is called."""
    return type(inner_model(model)).__name__


def _looked_at(model: Any, evaluator: Evaluator, encode: GivenEncode) -> Snapshot:
    """A model in memory."""
    terminal = Terminal()
    subject = subject_of(model, evaluator.settings, encode)
    for note in (*evaluator.notes, *subject.notes):
        terminal.say(note)
    progress = partial(terminal.bar, unit=" texts")
    listener = Listener(lambda stage, message: terminal.say(message), progress, terminal.known)
    return evaluator.look(subject, Moment(name=called(model)), listener=listener)


@dataclass(frozen=True, eq=False)
class Result:
    """One evaluation.

    Attributes:
        snapshot: All that was measured; its maps are made with the first figure that shows them.
    """

    snapshot: Snapshot
    _maps: dict[str, Projection | Skipped] = field(default_factory=dict, init=False)

    @property
    def metrics(self) -> Metrics:
        """The numbers with their intervals: ``metrics.mrr``, ``metrics.intervals["mrr"]``."""
        return self.snapshot.metrics

    @cached_property
    def figures(self) -> Pictures:
        """By name: ``figures["tsne_projection"]``."""
        return Pictures({name: partial(self._draw, name) for name in wanted_figures(self.snapshot.settings)})

    @property
    def report(self) -> str:
        """What ``report.md`` of `embviz` says, markdown."""
        return self._all[0]

    def page(self) -> Page:
        """What ``report.html`` of `embviz` shows."""
        return self._all[1]

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Writes all that `embviz` would write."""
        write_results(self.snapshot, Path(folder), self._context)

    def _repr_html_(self) -> str:
        return numbers_html(self.snapshot)

    def __repr__(self) -> str:
        numbers = f"margin {self.metrics.margin:.4f}, rank-1 {self.metrics.rank1:.1%}"
        return f"Result({self.snapshot.label}: {numbers})"

    def _draw(self, name: str) -> Figure:
        needed = FIGURES[name].needs
        return draw(name, self.snapshot.with_maps({needed: self._map(needed)} if needed else {}))

    @cached_property
    def _context(self) -> Context:
        return Context(data=data_check(self.snapshot), asides=asides_of(Look(self.snapshot), None))

    def _map(self, method: str) -> Projection | Skipped:
        """One map alone; the other may take half a minute to import."""
        if method not in self._maps:
            others: dict[str, Any] = {f"skip_{other}": True for other in MAPS if other != method}
            alone = replace(self.snapshot, settings=replace(self.snapshot.settings, **others))
            self._maps[method] = maps_of(alone, Guard())[method]
        return self._maps[method]

    @cached_property
    def _all(self) -> tuple[str, Page]:
        maps = {method: self._map(method) for method in MAPS}
        snapshot, guard = self.snapshot.with_maps(maps), Guard()
        checks, report = show(snapshot, (), guard, self._context)
        return report, Page(result_page(snapshot, checks, guard, self._context))
