"""Models whose vectors stay at hand, row for row of the same texts: what `embviz ship` and `embviz compat` look at."""

import argparse
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, TypeVar

from embviz_callback.analysis.ship.sheet import Shipped
from embviz_callback.commands.ending import answer
from embviz_callback.commands.looking import Look, as_usage_error, look_at, prepared_outputs
from embviz_callback.commands.request import Request, output_of, request_from
from embviz_callback.commands.terminal import Terminal, quietly
from embviz_callback.drawing.reports.asides import Aside, asides_report
from embviz_callback.embeddings import Embeddings
from embviz_callback.files import to_json, write_atomically
from embviz_callback.pairs.subset import Subset
from embviz_callback.pairs.texts import places_of

Result = TypeVar("Result")


def look_at_hand(options: argparse.Namespace, terminal: Terminal, find: Callable[[list[Shipped]], Result]) -> Result:
    """What is found of the checkpoints that the options name.

    Args:
        options: Of a command.
        terminal: Hears what is going on.
        find: Takes their models; a ValueError of its is the user's to read.

    Returns:
        What it gave.
    """
    with quietly(), prepared_outputs([output_of(options)]):
        models = models_at_hand(request_from(options), terminal)
        with as_usage_error(ValueError):
            return find(models)


def models_at_hand(request: Request, terminal: Terminal) -> list[Shipped]:
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


def _shipped(look: Look, first: Subset, terminal: Terminal) -> Shipped:
    if not look.is_whole:
        terminal.say(
            f"{look.snapshot.label}: its file keeps no vectors of its corpus; ranked among its own documents alone"
        )
    own = look.snapshot.subset
    return replace(look.shipped, embeddings=_in_order_of(first, own, look.snapshot.embeddings))


def _in_order_of(first: Subset, own: Subset, embeddings: Embeddings) -> Embeddings:
    """The rows of equal texts in the first subset's order: files of other seeds have them in another."""
    if own.queries == first.queries and own.documents == first.documents:
        return embeddings
    queries, documents = places_of(first.queries, own.queries), places_of(first.documents, own.documents)
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


def tell(
    name: str, what: str, aside: Aside, plain: Mapping[str, Any], options: argparse.Namespace, terminal: Terminal
) -> None:
    """Writes what a command has found, as markdown and as JSON, and says it.

    Args:
        name: Of the command and its files.
        what: Was looked at.
        aside: What was found.
        plain: The same as plain JSON.
        options: Where it goes, and whether JSON is wanted.
        terminal: Hears it where JSON is.
    """
    folder = output_of(options)
    write_atomically(folder / f"{name}.json", to_json(plain))
    write_atomically(folder / f"{name}.md", asides_report(what, [aside]))
    text = "\n".join([*aside.lines(), "", f"{aside.sentence}.", f"   {folder / f'{name}.md'}", ""])
    answer(text, plain, options, terminal)
