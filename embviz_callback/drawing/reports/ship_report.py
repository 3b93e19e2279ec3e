"""The ship sheet in words and as a table."""

import math
from collections.abc import Iterator
from typing import Any

from embviz_callback.analysis.metrics.catalogue import CATALOGUE
from embviz_callback.analysis.ship.codes import CANDIDATES, PRECISIONS, ranked_by
from embviz_callback.analysis.ship.sheet import CANNOT_TELL, NOT_ASKED, Line, Setting, Sheet
from embviz_callback.analysis.verdict.losses import DOUBT, Loss
from embviz_callback.drawing.reports.asides import Aside
from embviz_callback.drawing.wording import change, measured, number
from embviz_callback.files import without_nan
from embviz_callback.grammar import counted
from embviz_callback.measure import COSINE


def ship_aside(sheet: Sheet) -> Aside:
    """The sheet as a section."""
    titles = (text for name in sheet.allowed for text in (CATALOGUE[name].title, "change"))
    head = ("dimensions", "precision", "second look", "MB per million", *titles, "outcome")
    several = _is_of_several(sheet)
    return Aside(
        title="What to ship",
        sentence=ship_sentence(sheet),
        head=("model", *head) if several else head,
        rows=tuple((line.setting.model, *_cells(line)) if several else _cells(line) for line in sheet.lines),
        notes=tuple(_notes(sheet)),
    )


def ship_sentence(sheet: Sheet) -> str:
    """The smallest setting that is not worse by more than is allowed, or why none is named.

    Its test and how often it is wrong: `embviz_callback.analysis.ship.sheet.judged`.

    Returns:
        A sentence without a full stop.
    """
    wanted, smallest = f"not worse by more than {_allowed(sheet)}", sheet.smallest
    if smallest is not None:
        one, whole = smallest.setting, sheet.reference.setting
        kept = f" and {one.n_bytes_kept:,} MB beside them for the second look" if one.n_bytes_kept else ""
        found = ", ".join(f"{CATALOGUE[loss.metric].title} {changed(loss)}" for loss in smallest.losses)
        return (
            f"The smallest that is {wanted}: {_name(one, sheet)}, {one.n_bytes:,} MB per million documents{kept}"
            f" instead of {whole.n_bytes:,} MB; {found}"
        )
    if any(line.outcome in (CANNOT_TELL, NOT_ASKED) for line in sheet.lines):
        return f"Cannot tell at {_queries(sheet)} whether any smaller setting is {wanted}"
    return f"None: every smaller setting loses more than {_allowed(sheet)}"


def _allowed(sheet: Sheet) -> str:
    parts = (f"{change(least, name).lstrip('+')} of {CATALOGUE[name].title}" for name, least in sheet.allowed.items())
    return " and ".join(parts)


def _queries(sheet: Sheet) -> str:
    sampling = sheet.sampling
    queries, n_groups = counted(sampling.n_queries, "query"), sampling.n_groups
    if sampling.is_chained:
        return f"{queries} in {counted(n_groups, 'group')} by their most shared document"
    return queries if n_groups == sampling.n_queries else f"{queries} in {counted(n_groups, 'independent group')}"


def _name(setting: Setting, sheet: Sheet) -> str:
    model = f"{setting.model}, " if _is_of_several(sheet) else ""
    again = f", the first {CANDIDATES} looked at again in float32" if setting.is_rescored else ""
    return f"{model}{_dimensions(setting)} in {setting.precision}{again}"


def _dimensions(setting: Setting) -> str:
    if setting.dim == setting.own_dim:
        return f"{setting.dim} dimensions as trained"
    return f"{setting.dim} dimensions truncated from {setting.own_dim}"


def _is_of_several(sheet: Sheet) -> bool:
    return len({line.setting.model for line in sheet.lines}) > 1


def _cells(line: Line) -> tuple[str, ...]:
    one = line.setting
    kept = f"{one.n_bytes:,} + {one.n_bytes_kept:,}" if one.n_bytes_kept else f"{one.n_bytes:,}"
    look = f"float32, first {CANDIDATES}" if one.is_rescored else ""
    return _dimensions(one).replace(" dimensions", ""), one.precision, look, kept, *_numbers(line), line.outcome


def _numbers(line: Line) -> Iterator[str]:
    changes = {loss.metric: changed(loss) for loss in line.losses}
    for name, value in line.values.items():
        yield measured(value, name)
        yield changes.get(name, "")


def changed(loss: Loss) -> str:
    """A loss as the change that it is, with its interval."""
    value = change(-loss.value, loss.metric)
    if not math.isfinite(loss.low):
        return value
    low, high = (change(-end, loss.metric).removesuffix(" points") for end in (loss.high, loss.low))
    return f"{value} ({low} to {high})"


def _notes(sheet: Sheet) -> Iterator[str]:
    share = number(100 * (1 - 2 * sheet.doubt), 1).removesuffix(".0")
    yield (
        f"{_queries(sheet)} ranked among {counted(sheet.n_pool, 'document')}; changes are paired, against the first"
        f" line, with {share} % intervals: a one-sided 5 % is shared by {counted(round(DOUBT / sheet.doubt), 'path')}"
    )
    yield (
        "A path is what one model gives in float32 and float16, in int8, in binary, or in binary with a second look. It"
        " is asked about from the largest setting to the smallest and left at the first that is not shown to be good"
        " enough"
    )
    declared = list(dict.fromkeys((line.setting.model, line.setting.similarity) for line in sheet.lines))
    for similarity in dict.fromkeys(one for _, one in declared):
        of = f" of {', '.join(model for model, one in declared if one == similarity)}"
        said = of if len({one for _, one in declared}) > 1 else ""
        for name in PRECISIONS:
            yield f"{name}{said} ranks by {ranked_by(name, similarity)}"
        if similarity != COSINE:
            yield f"The first dimensions{said} keep their length, which this similarity looks at"
    yield (
        f"A second look puts the first {CANDIDATES} in the order of their float32 scores; its vectors are the larger"
        " number of MB, which may lie on a disk"
    )


def sheet_json(sheet: Sheet) -> dict[str, Any]:
    """The whole sheet as plain JSON; what cannot be judged is null."""
    return {
        "sentence": ship_sentence(sheet),
        "smallest": None if sheet.smallest is None else _setting_json(sheet.smallest.setting),
        "allowed": dict(sheet.allowed),
        "doubt": sheet.doubt,
        "n_queries": sheet.sampling.n_queries,
        "n_groups": sheet.sampling.n_groups,
        "n_pool": sheet.n_pool,
        "settings": [_line_json(line) for line in sheet.lines],
    }


def _setting_json(setting: Setting) -> dict[str, Any]:
    return {**vars(setting), "bytes": setting.n_bytes, "bytes_of_second_look": setting.n_bytes_kept}


def _line_json(line: Line) -> dict[str, Any]:
    losses = {loss.metric: without_nan(vars(loss)) for loss in line.losses}
    return {**_setting_json(line.setting), "values": dict(line.values), "losses": losses, "outcome": line.outcome}
