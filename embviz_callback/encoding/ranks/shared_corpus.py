"""A corpus over several ranks: each encodes its share, and every rank gets the whole."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from embviz_callback.embeddings import Rows, Vectors
from embviz_callback.encoding.encode import encode_ranked, longest_first_rows
from embviz_callback.encoding.subject import Side
from embviz_callback.pairs.corpus import Corpus

_PIECE = 2**24  # numbers that arrive in one collective, over all ranks: 64 MiB


class RankError(RuntimeError):
    """Another rank could not do its share, or holds another corpus."""


@dataclass(frozen=True, eq=False)
class Ranks:
    """The processes of one training, as their trainer holds them.

    Attributes:
        rank: Of this process, from 0.
        n_ranks: How many there are.
        device: Where tensors must be to be gathered.
        all_gather: Takes a tensor of one shape on all ranks and gives ``(n_ranks, *shape)``.
    """

    rank: int
    n_ranks: int
    device: torch.device
    all_gather: Callable[[Tensor], Tensor]

    @classmethod
    def of(cls, trainer: Any) -> Self | None:
        """Those of a Lightning trainer, in whose process group they talk; None for a lone process."""
        if trainer.world_size < 2:
            return None
        strategy = trainer.strategy
        return cls(trainer.global_rank, trainer.world_size, strategy.root_device, strategy.all_gather)


def share_of(n_texts: int, *, rank: int, n_ranks: int, batch_size: int) -> Rows:
    """Which texts a rank encodes: every n-th batch, as many full batches as any other rank.

    Where weights are gathered for each pass, a rank with a batch less would leave the others waiting.

    Args:
        n_texts: In all.
        rank: Whose share.
        n_ranks: Ranks.
        batch_size: Texts per batch.

    Returns:
        ``(n_batches * batch_size,)`` rows of the texts, -1 for padding.

    Example:
        >>> [share_of(5, rank=rank, n_ranks=2, batch_size=2).tolist() for rank in (0, 1)]
        [[0, 1, 4, -1], [2, 3, -1, -1]]
    """
    n_batches = -(-n_texts // batch_size)
    own = np.arange(-(-n_batches // n_ranks)) * n_ranks + rank
    rows = (own[:, None] * batch_size + np.arange(batch_size)).ravel()
    rows[rows >= n_texts] = -1
    return rows.astype(np.int64)


class Exchange:
    """What the ranks tell each other in one evaluation.

    Whatever fails on a rank, it makes the same collectives as the others: one in which each says
    whether it is ready, and only if all are, those that bring the shares. Use it by `together`.

    Args:
        ranks: Who takes part.
    """

    def __init__(self, ranks: Ranks) -> None:
        self.ranks = ranks
        self._has_settled = False

    def settle(self, n_rows: int, dim: int, mark: int) -> None:
        """Says that this rank is ready, and waits until all have said whether they are.

        Args:
            n_rows: Of this rank's share.
            dim: Numbers in a row.
            mark: Must be the same on all ranks.

        Raises:
            RankError: On every rank, if one is not ready or holds something else.
        """
        said = self._say([1, n_rows, dim, mark])
        failed = np.flatnonzero(said[:, 0] == 0).tolist()
        if failed:
            raise RankError(
                f"encoding failed on rank {', '.join(map(str, failed))}, whose own warning says why; "
                "all ranks leave this evaluation out"
            )
        if (said != said[0]).any():
            raise RankError(
                f"the ranks do not encode the same corpus into the same dim (rows, dim and mark by rank: "
                f"{said[:, 1:].tolist()}); give every rank the same data, corpus and model"
            )

    def leave(self) -> None:
        """Says that this rank is not ready, if it has not said anything yet."""
        if not self._has_settled:
            self._say([0, 0, 0, 0])

    def gather(self, own: Vectors) -> Iterator[tuple[int, slice, Vectors]]:
        """Brings the shares of all ranks, in pieces of bounded size; only after `settle`.

        Args:
            own: ``(n_rows, dim)``, of one shape on all ranks.

        Yields:
            A rank, which rows of its share, and these.
        """
        step = max(1, _PIECE // (self.ranks.n_ranks * own.shape[1]))
        for start in range(0, len(own), step):
            piece = torch.from_numpy(own[start : start + step]).to(self.ranks.device)
            for rank, rows in enumerate(self.ranks.all_gather(piece).cpu().numpy()):
                yield rank, slice(start, start + len(rows)), rows

    def _say(self, status: list[int]) -> Rows:
        # Noted first: a collective that dies must not be made a second time by this rank alone.
        self._has_settled = True
        said: Rows = self.ranks.all_gather(torch.tensor(status, device=self.ranks.device)).cpu().numpy()
        return said


@contextmanager
def together(ranks: Ranks) -> Iterator[Exchange]:
    """An exchange in which this rank has its say, whatever happens inside.

    Args:
        ranks: Who takes part.

    Yields:
        The exchange. What is raised inside passes after the others have been told; Ctrl-C is not held up.
    """
    exchange = Exchange(ranks)
    try:
        yield exchange
    except Exception:
        exchange.leave()
        raise
    exchange.leave()


def encode_shared(side: Side, corpus: Corpus, exchange: Exchange, *, batch_size: int, **options: Any) -> Vectors:
    """Rows of a corpus as they are ranked, of which every rank encodes a share.

    Batches are those of a lone process, so that the vectors are too.

    Args:
        side: The documents'.
        corpus: The same on every rank.
        exchange: With the other ranks; a `RankError` is raised on every rank if one fails.
        batch_size: Texts per call.
        options: As for `embviz_callback.encoding.encode.encode_corpus`.

    Returns:
        ``(n_texts, dim)`` in the corpus's order, on every rank.
    """
    ranks, n_texts = exchange.ranks, len(corpus.texts)
    order = longest_first_rows(corpus.texts)
    shares = [
        share_of(n_texts, rank=rank, n_ranks=ranks.n_ranks, batch_size=batch_size) for rank in range(ranks.n_ranks)
    ]
    # Row -1 is the shortest text: padding costs as little as can be.
    prompted = [side.prompt + corpus.texts[order[row]] for row in shares[ranks.rank]]
    own = encode_ranked(side.encode, prompted, batch_size=batch_size, **options)
    vectors = np.empty((n_texts, own.shape[1]), dtype=np.float32)
    exchange.settle(len(own), own.shape[1], mark=int(corpus.fingerprint, 16))
    for rank, rows, piece in exchange.gather(own):
        places = shares[rank][rows]
        vectors[order[places[places >= 0]]] = piece[places >= 0]
    return vectors
