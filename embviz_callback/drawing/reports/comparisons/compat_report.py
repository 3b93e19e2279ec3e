"""Whether a new model may search an old one's index, in words and as a table."""

import math
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from embviz_callback.analysis.metrics.catalogue import CATALOGUE
from embviz_callback.analysis.ship.codes import FLOAT32, ranked_by
from embviz_callback.analysis.ship.compatibility import (
    CANNOT_TELL,
    INCOMPATIBLE,
    SAME,
    SIZES,
    UNRELATED,
    UNTOLD,
    Cell,
    Compatibility,
    Kinship,
)
from embviz_callback.drawing.reports.asides import Aside
from embviz_callback.drawing.reports.ship_report import changed
from embviz_callback.drawing.wording import change, measured, number, percent
from embviz_callback.files import without_nan
from embviz_callback.grammar import counted

_AGAIN = "index every document again"


def compat_aside(found: Compatibility) -> Aside:
    """The crossing as a section."""
    title = CATALOGUE[found.metric].title
    return Aside(
        title="Must everything be indexed again?",
        sentence=compat_sentence(found),
        head=("queries by", "documents by", title, "change"),
        rows=tuple(_row(cell, found.metric) for cell in found.cells),
        notes=tuple(_notes(found)),
    )


def compat_sentence(found: Compatibility) -> str:
    """What can be said of the index, and why.

    Its tests and their errors: `Compatibility.outcome`.

    Returns:
        A sentence without a full stop.
    """
    if found.reason == SIZES:
        old, new = found.sizes
        return f"Incompatible, {_AGAIN}: the old model gives {old} numbers a text, the new one {new}"
    assert found.kinship is not None
    if found.reason == UNRELATED:
        return f"Incompatible, {_AGAIN}: the spaces are unrelated. {_known(found.kinship)}; {_upgrade(found)}"
    if found.outcome == INCOMPATIBLE:
        related = f"; {UNTOLD}" if found.reason == UNTOLD else ", although the spaces are related"
        return f"Incompatible, {_AGAIN}: {_upgrade(found)}{related}. {_known(found.kinship)}"
    if found.outcome == CANNOT_TELL:
        return f"Cannot tell at {counted(found.n_queries, 'query')}: {_upgrade(found)}"
    why = "the documents have the same vectors under both, nothing need be indexed again; " * (found.reason == SAME)
    return f"{found.outcome.capitalize()}: {why}{_upgrade(found)}; {_threshold(found)}"


def _upgrade(found: Compatibility) -> str:
    loss, title = found.upgrade.loss, CATALOGUE[found.metric].title
    assert loss is not None
    allowed = change(loss.allowed, loss.metric).lstrip("+")
    moved = f"new queries in the old index change {title} by {changed(loss)}"
    return f"{moved} against the old model, a loss of {allowed} is allowed"


def _known(kinship: Kinship) -> str:
    """How related the spaces are, and how that is known."""
    told = (
        f"Of {counted(kinship.n, 'document')} the new vector of {kinship.found:,} has its own old one nearest, by"
        " chance 1 would"
    )
    if kinship.kind == UNRELATED and kinship.turned > 0.5:
        share = percent(kinship.turned)
        told += f"; turned to fit half of the documents, {share} of the others do: the spaces are alike but for a turn"
    return told


def _threshold(found: Compatibility) -> str:
    old, new = number(found.threshold, 2), found.becomes
    if math.isnan(found.threshold):
        return "no threshold was given to be translated"
    if math.isnan(new.value):
        return f"no threshold can be translated, all documents lie on one side of {old}"
    if not found.is_shifted:
        return f"threshold {old} stays"
    ends = "" if math.isnan(new.low) else f" ({number(new.low, 2)} to {number(new.high, 2)})"
    return f"threshold {old} becomes {number(new.value, 2)}{ends}, from which as many documents are shown"


def _row(cell: Cell, metric: str) -> tuple[str, ...]:
    return cell.queries, cell.documents, measured(cell.value, metric), "" if cell.loss is None else changed(cell.loss)


def _notes(found: Compatibility) -> Iterator[str]:
    yield (
        f"{counted(found.n_queries, 'query')} ranked among {counted(found.n_pool, 'document')} by"
        f" {ranked_by(FLOAT32, found.similarity)}; changes are paired, against the first line, with 95 % intervals"
    )
    kinship = found.kinship
    if kinship is not None:
        yield (
            f"the two vectors of one text have a mean cosine of {number(kinship.same)}, those of two texts"
            f" {number(kinship.other)}. {_known(kinship)}"
        )
        if not math.isnan(found.becomes.value):
            ends = f"{number(found.becomes.low)} to {number(found.becomes.high)}"
            yield (
                f"of old documents as many are shown to new queries from {number(found.becomes.value)} ({ends}) as to"
                f" old queries from {number(found.threshold, 2)}"
            )


def compat_json(found: Compatibility) -> dict[str, Any]:
    """All of it as plain JSON; what cannot be judged is null."""
    plain = asdict(found) | {"becomes": found.becomes.as_dict()}
    said = {"outcome": found.outcome, "reason": found.reason, "sentence": compat_sentence(found)}
    return without_nan(plain | said)
