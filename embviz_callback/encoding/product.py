"""The matrix product of the similarity scan on a GPU."""

from collections.abc import Callable

import numpy as np
import torch
from torch import nn

from embviz_callback.embeddings import Vectors
from embviz_callback.encoding.devices import device_of, is_out_of_memory, release_memory
from embviz_callback.measure import Product

LARGE_POOL = 10_000  # documents from which the way to the device and back is worth it


def device_for(module: nn.Module, n_pool: int) -> torch.device | None:
    """Where the cosines of a pool are computed.

    Args:
        module: The model that made the vectors.
        n_pool: Documents, with the corpus.

    Returns:
        The model's device where that is CUDA and the pool has at least 10,000 documents; None for the CPU.
    """
    device = device_of(module)
    return device if device.type == "cuda" and n_pool >= LARGE_POOL else None


def product_on(device: torch.device | None, *, on_fallback: Callable[[], None]) -> Product | None:
    """The product of a scan on a device, and from where memory runs out there, on the CPU.

    What two kernels may differ by is settled in float64, so that a scan may change from one to the other.

    Args:
        device: Where; None for the CPU.
        on_fallback: Called when memory runs out.

    Returns:
        The product; None for the scan's own.
    """
    if device is None:
        return None
    multiply: list[Product] = [gpu_product(device)]

    def product(a: Vectors, b: Vectors) -> Vectors:
        if multiply:
            try:
                return multiply[0](a, b)
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
            # Behind the handler, where the traceback no longer holds the tensors of the failed product.
            multiply.clear()
            release_memory()
            on_fallback()
        return np.asarray(a @ b.T)

    return product


def gpu_product(device: str | torch.device = "cuda") -> Product:
    """A `product` for `embviz_callback.analysis.scan.scan` that multiplies on a device.

    Both sides travel to the device and the scores back, in full float32: TF32 would tie or swap
    documents whose cosines differ in the fourth digit. Worth it from about ten thousand
    documents on, with tiles of several thousand rows and columns.

    Args:
        device: Any torch device.

    Returns:
        ``(a, b) -> a @ b.T``.

    Example:
        >>> import numpy as np
        >>> gpu_product("cpu")(np.eye(2, dtype=np.float32), np.ones((1, 2), dtype=np.float32)).tolist()
        [[1.0], [1.0]]
    """

    def product(queries: Vectors, documents: Vectors) -> Vectors:
        sides = [torch.from_numpy(rows).to(device) for rows in (queries, documents)]
        # Not allow_tf32: where the user has chosen a precision by the newer names, reading that one raises,
        # and setting it leaves torch.get_float32_matmul_precision() broken for the rest of the process.
        matmul = torch.backends.cuda.matmul
        before, matmul.fp32_precision = matmul.fp32_precision, "ieee"
        try:
            with torch.no_grad():
                scores: Vectors = (sides[0] @ sides[1].T).cpu().numpy()
                return scores
        finally:
            matmul.fp32_precision = before

    return product
