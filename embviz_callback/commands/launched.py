"""A command that torchrun has started in several processes: a corpus is shared out, and the first one writes."""

import atexit
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from embviz_callback.encoding.distributed.shared_corpus import Ranks


class OtherRankDone(Exception):  # noqa: N818
    """This process has done its share; all that is left to do is the first one's."""


def n_processes() -> int:
    """How many processes a launcher has started; 1 without one."""
    return int(os.environ["WORLD_SIZE"]) if "RANK" in os.environ and "WORLD_SIZE" in os.environ else 1


def is_first() -> bool:
    """Whether this process writes and speaks."""
    return n_processes() == 1 or os.environ["RANK"] == "0"


def own_device(device: str) -> str:
    """The device of this process: of several GPUs the one whose turn it is."""
    return f"cuda:{os.environ.get('LOCAL_RANK', '0')}" if device == "cuda" and n_processes() > 1 else device


def joined(device: str) -> "Ranks | None":
    """The processes that share a corpus out; None for a lone one.

    Args:
        device: Of this process; on GPUs they talk by NCCL, else by gloo.

    Returns:
        The ranks, which are told apart at the end of the process.
    """
    if n_processes() == 1:
        return None
    import torch
    from torch import distributed

    from embviz_callback.encoding.distributed.shared_corpus import Ranks

    if not distributed.is_initialized():
        is_cuda = device.startswith("cuda")
        if is_cuda:
            torch.cuda.set_device(device)
        distributed.init_process_group("nccl" if is_cuda else "gloo")
        atexit.register(distributed.destroy_process_group)
    return Ranks.of_launcher()
