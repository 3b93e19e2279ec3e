"""Loops of the maps as machine code."""

import functools
from collections.abc import Callable
from contextlib import suppress
from typing import Any


@functools.cache
def compiled(loop: Callable[..., Any]) -> Callable[..., Any]:
    """A loop over numbers, compiled when it is first called and kept on disk for the next process.

    Args:
        loop: In terms that numba knows.

    Returns:
        It, to be called alike. It runs beside other threads of Python, and takes sums in any order, or they could not
        be taken eight at a time.
    """
    import numba  # half a second, for who draws maps only

    fast: Any = numba.njit(loop, nogil=True, fastmath={"reassoc", "contract", "nsz"}, error_model="numpy")
    with suppress(RuntimeError):  # no folder can be written to
        fast.enable_caching()
    made: Callable[..., Any] = fast
    return made
