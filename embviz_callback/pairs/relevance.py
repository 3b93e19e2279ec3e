"""What belongs together: which texts answer a query, and which records share a text."""

from collections.abc import Collection, Hashable, Iterable, Sequence

from embviz_callback.pairs.records import Record
from embviz_callback.pairs.texts import fold


class _Components:
    """Connected components of numbered things that are joined pair by pair."""

    def __init__(self, n: int) -> None:
        self._parent = list(range(n))

    def root(self, at: int) -> int:
        while self._parent[at] != at:
            # Halving the way up keeps every later walk short.
            self._parent[at] = at = self._parent[self._parent[at]]
        return at

    def join(self, one: int, other: int) -> None:
        self._parent[self.root(one)] = self.root(other)


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
    members = [list(names) for names in groups]
    joined = _Components(len(members))
    first: dict[Hashable, int] = {}
    for at, names in enumerate(members):
        for name in names:
            joined.join(at, first.setdefault(name, at))
    roots = [joined.root(at) for at in range(len(members))]
    number = {root: at for at, root in enumerate(dict.fromkeys(roots))}
    return [number[root] for root in roots]


def positives_by_query(records: Sequence[Record], only: Collection[str] | None = None) -> dict[str, set[str]]:
    """What answers each query, over all its records and over all records of the same ids.

    Args:
        records: The whole source.
        only: Folded queries to restrict the answer to.

    Returns:
        The positives as they are written, per folded query.
    """
    by_id: dict[str, set[str]] = {}
    for record in records:
        if record.id is not None:
            by_id.setdefault(record.id, set()).update(record.positives)
    positives: dict[str, set[str]] = {}
    for record in records:
        query = fold(record.query)
        if only is None or query in only:
            own = record.positives if record.id is None else by_id[record.id]
            positives.setdefault(query, set()).update(own)
    return positives
