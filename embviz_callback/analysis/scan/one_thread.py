"""Matrix products of one thread each, while ours stand side by side."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

from threadpoolctl import ThreadpoolController


@contextmanager
def one_thread_each() -> Iterator[None]:
    """Lets BLAS use one thread for a product meanwhile, in the whole process.

    Idle threads of OpenBLAS go on asking for work for some 20 ms, on cores that the next step of
    a scan, or of the training, needs.
    """
    with _libraries().limit(limits=1, user_api="blas"):
        yield


@cache
def _libraries() -> ThreadpoolController:
    """Looking for them takes milliseconds, and numpy's is there before this module."""
    return ThreadpoolController()
