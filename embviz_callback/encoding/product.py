"""The matrix product of the similarity scan on a GPU."""

from collections.abc import Callable

import torch

from embviz_callback.embeddings import Vectors


def gpu_product(device: str | torch.device = "cuda") -> Callable[[Vectors, Vectors], Vectors]:
    """A `product` for `embviz_callback.analysis.similarity.scan` that multiplies on a device.

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
        before = torch.backends.cuda.matmul.allow_tf32
        torch.backends.cuda.matmul.allow_tf32 = False
        try:
            with torch.no_grad():
                scores: Vectors = (sides[0] @ sides[1].T).cpu().numpy()
                return scores
        finally:
            torch.backends.cuda.matmul.allow_tf32 = before

    return product
