"""Queries that share documents in chains too long for groups: how much wider figures spread than groups say."""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from embviz_callback.embeddings import Floats, Rows


@dataclass(frozen=True, eq=False)
class Sharing:
    """Which queries share a relevant document.

    Attributes:
        pairs: A sparse ``(n_queries, n_queries)``: 1 where two do, and on the diagonal.
        worth: So many independent queries would hang together as much.
    """

    pairs: Any
    worth: float

    @classmethod
    def of(cls, relevance: Rows, n_queries: int) -> Self:
        """Of ``(n, 2)`` pairs (query row, document row)."""
        from scipy.sparse import coo_array, eye_array  # slow to import, and few data need it

        shape = (n_queries, int(relevance[:, 1].max(initial=0)) + 1)
        links = coo_array((np.ones(len(relevance)), tuple(relevance.T)), shape=shape).tocsr()
        pairs = (links @ links.T + eye_array(n_queries)).tocsr()
        pairs.data[:] = 1.0
        return cls(pairs, n_queries * n_queries / pairs.nnz)

    def spread(self, alone: Floats, grouped: Floats) -> "Spread":
        """How much wider a mean spreads than its groups say.

        The variance counts every pair of queries that share a document, in whatever group: that of two-way clustering
        (Cameron, Gelbach and Miller 2011) for queries that have several documents each. It is at least that of groups.

        Args:
            alone: ``(n_queries,)`` pseudo-values, each query by itself.
            grouped: ``(n_groups,)`` pseudo-values.

        Returns:
            What intervals and tests allow for.
        """
        own, groups = alone - alone.mean(), grouped - grouped.mean()
        by_both = float(own @ (self.pairs @ own)) / len(own) ** 2 * self.worth / max(self.worth - 1, 1e-9)
        by_groups = float(np.square(groups).sum()) / len(groups) ** 2
        with np.errstate(divide="ignore", invalid="ignore"):
            factor = float(np.sqrt(np.fmax(np.float64(by_both) / by_groups, 1.0)))
        return Spread(factor, max(int(self.worth), 1))


@dataclass(frozen=True)
class Spread:
    """How much wider a figure spreads than its groups say.

    Attributes:
        factor: What a standard error is multiplied by.
        freedom: Degrees of freedom that the variance has at most; None for those of the groups.
    """

    factor: float = 1.0
    freedom: int | None = None

    def freedom_of(self, n_groups: int) -> int:
        """Degrees of freedom of a variance over so many groups."""
        return max(n_groups - 1 if self.freedom is None else min(self.freedom, n_groups - 1), 1)


PLAIN = Spread()
