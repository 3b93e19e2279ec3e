"""Texts to vectors: long ones first, equal ones once, smaller batches when memory runs out."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from embviz_callback.embeddings import Embeddings, Vectors
from embviz_callback.encoding.memory import is_out_of_memory, release_memory
from embviz_callback.pairs.subset import Subset
from embviz_callback.settings import Settings

Encode = Callable[[list[str]], Any]


class EncodingMemoryError(RuntimeError):
    """Memory ran out and smaller batches do not help."""


def encode_texts(
    encode: Encode,
    texts: Sequence[str],
    *,
    batch_size: int,
    halve: bool = True,
    progress: Callable[[int, int], None] | None = None,
    on_halved: Callable[[int], None] | None = None,
) -> Vectors:
    """One row per text, in the order of `texts`.

    Each distinct text is encoded once. Batches hold texts of similar length, so that little is
    computed on padding, and the longest come first, so that memory runs out at once or never.
    What is in a batch depends on the texts alone, not on their order.

    An `encode` that gives no floats, another number of rows than it got texts, or another dim from
    batch to batch is answered with a TypeError or ValueError that says what came; memory that runs
    out where the batch cannot be halved any more with an EncodingMemoryError.

    Args:
        encode: Takes a list of ``n`` texts and gives ``(n, dim)``, a tensor of any float type on
            any device, or an array. Gradients are off around it.
        texts: ``n_texts`` texts, prompts included.
        batch_size: Texts per call, at least 1.
        halve: Halve the batch when memory runs out, for the rest of this pass. Off where a lone
            retry would put ranks out of step.
        progress: Called with the number of distinct texts done and their total.
        on_halved: Called with the new batch size.

    Returns:
        ``(n_texts, dim)`` float32, as long as `encode` made them; ``(0, 0)`` without texts.

    Raises:
        ValueError: If `batch_size` is below 1.
    """
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, got {batch_size}")
    distinct = sorted(set(texts), key=lambda text: (-len(text), text))
    parts: list[Tensor] = []
    done, size = 0, batch_size
    while done < len(distinct):
        batch = distinct[done : done + size]
        rows = _attempt(encode, batch)
        if rows is None:
            size = _smaller(batch, halve=halve)
            if on_halved is not None:
                on_halved(size)
            continue
        parts.append(rows)
        done += len(batch)
        if progress is not None:
            progress(done, len(distinct))
    return _in_order(parts, distinct, texts)


def encode_subset(encode: Encode, subset: Subset, settings: Settings, **options: Any) -> Embeddings:
    """Vectors of a subset's queries, documents and hard negatives in one pass.

    A text that stands in several roles under equal prompts is encoded once.

    Args:
        encode: See `encode_texts`.
        subset: The texts.
        settings: Batch size and prompts.
        options: Passed on to `encode_texts`.

    Returns:
        The embeddings, row for row as in `subset`.
    """
    queries = [settings.query_prompt + text for text in subset.queries]
    documents = [settings.document_prompt + text for text in subset.documents]
    hard_negatives = [settings.document_prompt + text for text in subset.hard_negatives]
    rows = encode_texts(encode, [*queries, *documents, *hard_negatives], batch_size=settings.batch_size, **options)
    ends = np.cumsum([len(queries), len(documents)])
    query_rows, document_rows, hard_rows = np.split(rows, ends)
    return Embeddings.from_raw(
        query_rows,
        document_rows,
        subset.relevance,
        hard_negatives=hard_rows,
        hard_pairs=subset.hard_pairs,
        records=subset.records,
    )


def _attempt(encode: Encode, batch: list[str]) -> Tensor | None:
    """The rows of a batch, or None if memory ran out."""
    try:
        # no_grad and not inference_mode: a buffer that the model creates on its first call
        # must stay usable by the next training step.
        with torch.no_grad():
            return _checked(encode(batch), len(batch))
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
    # Only here, behind the handler, is the traceback gone, which held every tensor of the failed
    # pass: from inside it nothing would be freed.
    release_memory()
    return None


def _smaller(batch: Sequence[str], *, halve: bool) -> int:
    if len(batch) == 1:
        raise EncodingMemoryError(
            f"memory ran out on a single text of {len(batch[0])} characters; "
            "give fewer tokens per text, a smaller encoder, or a device with more memory"
        )
    if not halve:
        raise EncodingMemoryError(
            f"memory ran out on a batch of {len(batch)} texts, which is not halved here; give a smaller batch_size"
        )
    return len(batch) // 2


def _checked(rows: Any, n_texts: int) -> Tensor:
    if isinstance(rows, np.ndarray):
        rows = torch.from_numpy(np.array(rows))  # a copy: torch refuses views with negative strides
    if not isinstance(rows, Tensor):
        raise TypeError(f"encode must return a tensor of shape (n_texts, dim), got {type(rows).__name__}")
    if not rows.is_floating_point():
        raise TypeError(f"encode must return floats, got {rows.dtype}")
    if rows.ndim != 2 or len(rows) != n_texts or rows.shape[1] == 0:
        raise ValueError(
            f"encode must return one row per text, shape ({n_texts}, dim), got {tuple(rows.shape)} for {n_texts} texts"
        )
    return rows.detach()


def _in_order(parts: list[Tensor], distinct: Sequence[str], texts: Sequence[str]) -> Vectors:
    if not parts:
        return np.empty((0, 0), dtype=np.float32)
    dims = sorted({part.shape[1] for part in parts})
    if len(dims) > 1:
        raise ValueError(f"encode must return rows of one dim, got {' and '.join(map(str, dims))} in different batches")
    # One copy from the device for all batches, so that the device is waited for only once.
    rows: Vectors = torch.cat(parts).cpu().to(torch.float32).numpy()
    place = {text: row for row, text in enumerate(distinct)}
    return rows[[place[text] for text in texts]]
