"""A corpus over several ranks: each encodes and scores its share, and every rank gets the sums."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Self, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, distributed

from embviz_callback.embeddings import Floats, Rows

_Number = TypeVar("_Number", bound=np.generic)
_PIECE = 2**23  # numbers that arrive in one collective, over all ranks: 64 MiB


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

    @classmethod
    def of_launcher(cls) -> Self | None:
        """All that torch.distributed holds together, however it was started; None for a lone process."""
        if not (distributed.is_available() and distributed.is_initialized()) or distributed.get_world_size() < 2:
            return None
        on_gpus = "nccl" in distributed.get_backend()
        device = torch.device("cuda", torch.cuda.current_device()) if on_gpus else torch.device("cpu")
        return cls(distributed.get_rank(), distributed.get_world_size(), device, _all_gather)


def _all_gather(own: Tensor) -> Tensor:
    found = [torch.empty_like(own) for _ in range(distributed.get_world_size())]
    distributed.all_gather(found, own)
    return torch.stack(found)


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

    def settle(self, dim: int, mark: int) -> None:
        """Says that this rank is ready, and waits until all have said whether they are.

        Args:
            dim: Numbers in a row.
            mark: Must be the same on all ranks.

        Raises:
            RankError: On every rank, if one is not ready or holds something else.
        """
        said = self._say([1, dim, mark])
        failed = np.flatnonzero(said[:, 0] == 0).tolist()
        if failed:
            raise RankError(
                f"encoding failed on rank {', '.join(map(str, failed))}, whose own warning says why; "
                "all ranks leave this evaluation out"
            )
        if (said != said[0]).any():
            raise RankError(
                f"the ranks do not encode the same corpus into the same dim (dim and mark by rank: "
                f"{said[:, 1:].tolist()}); give every rank the same data, corpus and model"
            )

    def leave(self) -> None:
        """Says that this rank is not ready, if it has not said anything yet."""
        if not self._has_settled:
            self._say([0, 0, 0])

    def gather(self, own: NDArray[_Number]) -> list[NDArray[_Number]]:
        """The numbers of all ranks; only after `settle`.

        Args:
            own: ``(n,)``, of one shape and type on all ranks.

        Returns:
            An array of each rank, in their order.
        """
        found = np.empty((self.ranks.n_ranks, len(own)), dtype=own.dtype)
        step = max(1, _PIECE // self.ranks.n_ranks)
        for start in range(0, len(own), step):
            piece = torch.from_numpy(own[start : start + step].copy()).to(self.ranks.device)
            found[:, start : start + step] = self.ranks.all_gather(piece).cpu().numpy()
        return list(found)

    def gather_all(self, own: Sequence[tuple[Rows, Floats]]) -> list[list[tuple[Rows, Floats]]]:
        """Pairs of arrays of all ranks; only after `settle`.

        Args:
            own: Of one number and one shape on all ranks.

        Returns:
            As many of each rank, in their order.
        """
        pairs = [zip(self.gather(ints), self.gather(floats), strict=True) for ints, floats in own]
        return [list(of_rank) for of_rank in zip(*pairs, strict=True)]

    def gather_texts(self, own: Mapping[int, str]) -> dict[int, str]:
        """The texts of all ranks by their rows; only after `settle`."""
        content = np.frombuffer(json.dumps(list(own.items())).encode(), dtype=np.uint8)
        sizes = [int(one[0]) for one in self.gather(np.array([len(content)]))]
        parts = self.gather(np.pad(content, (0, max(sizes) - len(content))))
        given = (json.loads(part[:size].tobytes()) for part, size in zip(parts, sizes, strict=True))
        return {row: text for part in given for row, text in part}

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
