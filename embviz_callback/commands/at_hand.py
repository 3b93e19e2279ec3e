"""Models whose vectors stay at hand, row for row of the same texts: what `embviz ship` and `embviz compat` look at."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from embviz_callback.commands.looking import Look, Request, look_at
from embviz_callback.commands.terminal import Terminal
from embviz_callback.pairs.texts import fold

if TYPE_CHECKING:
    from embviz_callback.analysis.ship.sheet import Shipped
    from embviz_callback.embeddings import Embeddings, Rows
    from embviz_callback.pairs.subset import Subset


def models_at_hand(request: Request, terminal: Terminal) -> "list[Shipped]":
    """The vectors of every checkpoint.

    Args:
        request: What is wanted.
        terminal: Hears what is going on, and what the vectors are not.

    Returns:
        One for each checkpoint, their rows in the order of the first one's texts; a UsageError says what cannot be
        used.
    """
    looks = list(look_at(request, terminal))
    first = looks[0].snapshot.subset
    return [_shipped(look, first, terminal) for look in looks]


def _shipped(look: Look, first: "Subset", terminal: Terminal) -> "Shipped":
    from embviz_callback.analysis.ship.sheet import Shipped

    label, subset, embeddings = look.snapshot.label, look.snapshot.subset, look.snapshot.embeddings
    if subset.n_corpus and look.corpus is None:
        terminal.say(f"{label}: its file keeps no vectors of its corpus; ranked among its own documents alone")
    return Shipped(label, _in_order_of(first, subset, embeddings), look.corpus)


def _in_order_of(first: "Subset", own: "Subset", embeddings: "Embeddings") -> "Embeddings":
    """The rows of equal texts in the first subset's order: files of other seeds have them in another."""
    if own.queries == first.queries and own.documents == first.documents:
        return embeddings
    queries, documents = _places(first.queries, own.queries), _places(first.documents, own.documents)
    served = embeddings.served
    return replace(
        embeddings,
        queries=embeddings.queries[queries],
        documents=embeddings.documents[documents],
        relevance=first.relevance,
        records=first.records,
        grades=first.grades,
        hard_negatives=embeddings.hard_negatives[:0],
        hard_pairs=embeddings.hard_pairs[:0],
        served=served
        and replace(
            served,
            queries=served.queries[queries],
            documents=served.documents[documents],
            hard_negatives=served.hard_negatives[:0],
        ),
    )


def _places(wanted: Sequence[str], there: Sequence[str]) -> "Rows":
    row = {fold(text): place for place, text in enumerate(there)}
    return np.array([row[fold(text)] for text in wanted], dtype=np.int64)
