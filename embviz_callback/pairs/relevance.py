"""What belongs together: which texts answer a query, and which records share a text."""

from collections.abc import Hashable, Iterable
from itertools import chain

from embviz_callback.pairs.records import Record
from embviz_callback.pairs.texts import fold


def components(groups: Iterable[Iterable[Hashable]]) -> list[int]:
    """Which of some groups of names hang together because they share a name.

    Args:
        groups: The names of each group; a group without names stands alone.

    Returns:
        A number per group, equal for groups that share a name directly or by way of others.

    Example:
        >>> components([["a", "b"], ["c"], ["b", "d"]])
        [0, 1, 0]
    """
    import numpy as np  # slow to import like scipy, and reading needs neither
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    members = [list(names) for names in groups]
    place = {name: at for at, name in enumerate(dict.fromkeys(chain.from_iterable(members)), len(members))}
    edges = [(at, place[name]) for at, names in enumerate(members) for name in names]
    size, ends = len(members) + len(place), np.array(edges, dtype=np.int64).reshape(-1, 2)
    _, label = connected_components(coo_array((np.ones(len(ends)), ends.T), shape=(size, size)), directed=False)
    number = {one: at for at, one in enumerate(dict.fromkeys(label[: len(members)].tolist()))}
    return [number[one] for one in label[: len(members)].tolist()]


def positives_by_query(records: Iterable[Record]) -> dict[str, set[str]]:
    """What answers each query, over all its records and over all records of the same ids.

    Returns:
        The positives as they are written, per folded query.
    """
    return pooled((fold(record.query), record.id, record.positives) for record in records)


def pooled(rows: Iterable[tuple[str, str | None, Iterable[str]]]) -> dict[str, set[str]]:
    """The same of rows of a folded query, an id and what answers it; a blank query asks nothing."""
    rows = list(rows)
    by_id: dict[str | None, set[str]] = {}
    for _, name, texts in rows:
        by_id.setdefault(name, set()).update(texts)
    answers: dict[str, set[str]] = {}
    for query, name, texts in rows:
        if query:
            answers.setdefault(query, set()).update(texts if name is None else by_id[name])
    return answers
