"""Texts to vectors: long ones first, equal ones once, smaller batches when memory runs out."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from embviz_callback.embeddings import Embeddings, Rows, Vectors, ranked_rows
from embviz_callback.encoding.devices import is_out_of_memory, release_memory
from embviz_callback.encoding.isolation import woken
from embviz_callback.encoding.subject import Encode, Side, Subject
from embviz_callback.measure import COSINE
from embviz_callback.pairs.corpus import WINDOW, Corpus
from embviz_callback.pairs.subset import Subset

_STEADY = 1e-2  # of the largest number: what devices add in another order differs by far less


class EncodingMemoryError(RuntimeError):
    """Memory ran out and smaller batches do not help."""


def encode_texts(encode: Encode, texts: Sequence[str], **options: Any) -> Vectors:
    """One row per text, in the order of `texts`.

    Each distinct text is encoded once. Batches hold texts of similar length, so that little is
    computed on padding, and the longest come first, so that memory runs out at once or never.
    What is in a batch depends on the texts alone, not on their order.

    An `encode` that gives no floats, another number of rows than it got texts, or another dim from
    batch to batch is answered with a TypeError or ValueError that says what came, as is a `batch_size`
    below 1; memory that runs out where the batch cannot be halved any more with an EncodingMemoryError.

    Args:
        encode: Takes a list of ``n`` texts and gives ``(n, dim)``, a tensor of any float type on
            any device, or an array. Gradients are off around it.
        texts: ``n_texts`` texts, prompts included.
        options: Those of `batches`.

    Returns:
        ``(n_texts, dim)`` float32, as long as `encode` made them; ``(0, 0)`` without texts.

    Raises:
        ValueError: If the dim changes from batch to batch.
    """
    # An order that theirs has no part in.
    distinct = sorted(set(texts), key=lambda text: (-len(text), text))
    parts = [rows for _, rows in batches(encode, distinct, **options)]
    if not parts:
        return np.empty((0, 0), dtype=np.float32)
    dims = sorted({part.shape[1] for part in parts})
    if len(dims) > 1:
        found = " and ".join(map(str, dims))
        raise ValueError(f"encode must return rows of one dim, got {found} in different batches")
    # One copy from the device for all batches, so that the device is waited for only once.
    rows: Vectors = torch.cat(parts).cpu().to(torch.float32).numpy()
    parts.clear()  # a block of a corpus is large enough to be held twice
    place = {text: row for row, text in enumerate(distinct)}
    return rows[[place[text] for text in texts]]


def probe(subject: Subject, texts: Sequence[str]) -> list[str]:
    """Tries a model on a few texts before any training, and refuses what can never work.

    What fails in another way, such as for want of memory or of a device that is not there yet, is left to the
    first evaluation, which is guarded.

    Args:
        subject: The model; it is left as it was.
        texts: One or two.

    Returns:
        What to say, if the same texts get other vectors each time.

    Raises:
        TypeError: If a function takes no list of texts, or gives no dense rows of floats.
        ValueError: If it gives another number of rows, or vectors of another shape.
        KeyboardInterrupt: Ctrl-C passes.
    """
    if any(tensor.is_meta for tensor in (*subject.module.parameters(), *subject.module.buffers())):
        raise ValueError(
            f"{type(subject.module).__name__} has weights on the meta device, so that nothing can be encoded; "
            "give it weights before the training"
        )
    unsteady = []
    for side in dict.fromkeys((subject.queries, subject.documents)):
        prompted = [side.prompt + text for text in texts]
        try:
            with torch.no_grad():
                rows, again = side.encode(list(prompted)), side.encode(list(prompted))
        except (TypeError, AttributeError, NotImplementedError) as error:
            raise TypeError(
                f"encoding two texts failed with {type(error).__name__}: {' '.join(str(error).split())[:200]}; "
                f"{_name_of(side.encode)} must take a list of texts and give a tensor of shape (len(texts), dim); give "
                "encode= a function that does"
            ) from error
        except KeyboardInterrupt:
            raise
        # Whatever else, also a panic in Rust: guarded and told at the first evaluation.
        except BaseException:  # noqa: BLE001
            continue
        first, second = (_checked(one, len(texts)).to("cpu", torch.float32) for one in (rows, again))
        # What has woken itself is told of by its name.
        if not (_is_steady(first, second) or woken(subject.module)):
            unsteady.append(
                f"{_name_of(side.encode)} gives the same texts other vectors each time, although the module is in eval "
                "mode: dropout or noise is on in it, as in a second model or by functional.dropout, and every number "
                "is random with it; turn it off there"
            )
    return unsteady


def _is_steady(first: Tensor, second: Tensor) -> bool:
    largest = float(first.nan_to_num().abs().max())
    return first.shape == second.shape and torch.allclose(first, second, 0.0, _STEADY * largest, equal_nan=True)


def _name_of(encode: Encode) -> str:
    inner = getattr(encode, "func", encode)
    return str(getattr(inner, "__qualname__", type(inner).__name__))


def batches(
    encode: Encode,
    texts: Sequence[str],
    *,
    batch_size: int,
    halve: bool = True,
    progress: Callable[[int, int], None] | None = None,
    on_halved: Callable[[int], None] = lambda size: None,
) -> Iterator[tuple[slice, Tensor]]:
    """Encodes texts batch by batch as they stand; see `encode_texts` for errors.

    Args:
        encode: Likewise.
        texts: In the order in which they are cut into batches.
        batch_size: Texts per call, at least 1.
        halve: Halve the batch when memory runs out, for the rest of this pass. Off where a lone
            retry would put ranks out of step.
        progress: Called with the number of texts done and their total.
        on_halved: Called with the new batch size.

    Yields:
        Which texts, and their rows ``(n, dim)`` on the device of `encode`.

    Raises:
        ValueError: If `batch_size` is below 1.
    """
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, got {batch_size}")
    done, size = 0, batch_size
    while done < len(texts):
        batch = list(texts[done : done + size])
        rows = _attempt(encode, batch)
        if rows is None:
            size = _smaller(batch, halve=halve)
            on_halved(size)
            continue
        yield slice(done, done + len(batch)), rows
        done += len(batch)
        if progress is not None:
            progress(done, len(texts))


@dataclass(frozen=True, eq=False)
class Block:
    """Some texts of a corpus, encoded.

    Attributes:
        rows: ``(n,)`` of the corpus, ascending.
        texts: ``n`` of them.
        vectors: ``(n, dim)``, see `ranked_rows`.
    """

    rows: Rows
    texts: list[str]
    vectors: Vectors

    @classmethod
    def together(cls, blocks: "Sequence[Block]") -> Self:
        """All of some blocks, by their rows."""
        rows = np.concatenate([block.rows for block in blocks])
        texts = [text for block in blocks for text in block.texts]
        order = np.argsort(rows)
        vectors = np.concatenate([block.vectors for block in blocks])[order]
        return cls(rows[order], [texts[at] for at in order], vectors)


def encode_blocks(
    side: Side,
    corpus: Corpus,
    *,
    batch_size: int,
    similarity: str = COSINE,
    rank: int = 0,
    n_ranks: int = 1,
    progress: Callable[[int, int], None] | None = None,
    on_halved: Callable[[int], None] = lambda size: None,
    **options: Any,
) -> Iterator[Block]:
    """A corpus, a few thousand texts at a time; each block is the caller's, to be scored and forgotten.

    Every rank calls `encode` as often as any other: where weights are gathered for each call, one with a batch less
    would leave the others waiting.

    Args:
        side: The documents'.
        corpus: The texts.
        batch_size: Texts per call.
        similarity: Of the model.
        rank: Of this process.
        n_ranks: Processes that share the corpus out.
        progress: Told of texts done and of all of this rank.
        on_halved: Called with the new batch size.
        options: Passed on to `encode_texts`.

    Yields:
        Blocks in the order of the source; within each the longest texts are encoded first.
    """
    sizes = [batch_size]

    def halved(size: int) -> None:
        sizes.append(size)  # for the rest of the corpus too
        on_halved(size)

    window = max(WINDOW // batch_size, 1) * batch_size
    done, n_own, n_most = 0, len(range(rank, len(corpus), n_ranks)), len(range(0, len(corpus), n_ranks))
    for rows, texts in corpus.windows(window, rank=rank, n_ranks=n_ranks):
        ascending = np.argsort(rows)
        rows, texts = rows[ascending], [texts[at] for at in ascending.tolist()]
        told = None if progress is None else partial(_told, progress, done, n_own)
        prompted = [side.prompt + text for text in texts] if side.prompt else texts
        raw = encode_texts(side.encode, prompted, batch_size=sizes[-1], progress=told, on_halved=halved, **options)
        yield Block(rows, texts, ranked_rows("corpus", raw, similarity))
        done += len(texts)
    if -(-n_own // batch_size) < -(-n_most // batch_size):
        _attempt(side.encode, [side.prompt])


def _told(progress: Callable[[int, int], None], before: int, total: int, done: int, _: int) -> None:
    progress(before + done, total)


def encode_subset(subject: Subject, subset: Subset, **options: Any) -> Embeddings:
    """Vectors of a subset's queries, documents and hard negatives.

    A text that stands in several roles is encoded once where one function under equal prompts serves them.

    Args:
        subject: The model.
        subset: The texts.
        options: Passed on to `encode_texts`.

    Returns:
        The embeddings, row for row as in `subset`.
    """
    queries, documents = subject.queries, subject.documents
    own = subset.prompts or ("",) * len(subset.queries)
    asked = [(prompt or queries.prompt) + text for prompt, text in zip(own, subset.queries, strict=True)]
    offered = [documents.prompt + text for text in (*subset.documents, *subset.hard_negatives)]
    if subject.is_one_way:
        rows = encode_texts(queries.encode, [*asked, *offered], **options)
        query_rows, offered_rows = rows[: len(asked)], rows[len(asked) :]
    else:
        query_rows = encode_texts(queries.encode, asked, **options)
        offered_rows = encode_texts(documents.encode, offered, **options)
    n_documents = len(subset.documents)
    return Embeddings.from_raw(
        query_rows,
        offered_rows[:n_documents],
        subset.relevance,
        hard_negatives=offered_rows[n_documents:],
        hard_pairs=subset.hard_pairs,
        records=subset.records,
        grades=subset.grades,
        similarity=subject.similarity,
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
        raise TypeError(f"encode must return a tensor or an array of shape (n_texts, dim), got {type(rows).__name__}")
    if rows.layout is not torch.strided:
        raise TypeError("encode must return dense rows, got a sparse tensor; sparse embeddings are not evaluated")
    if not rows.is_floating_point():
        raise TypeError(f"encode must return floats, got {rows.dtype}")
    if rows.ndim == 3:
        raise ValueError(
            f"encode must return one row per text, shape ({n_texts}, dim), got {tuple(rows.shape)}: one vector per "
            "token is late interaction, which is not evaluated; pool them into one"
        )
    if rows.ndim != 2 or len(rows) != n_texts or rows.shape[1] == 0:
        raise ValueError(
            f"encode must return one row per text, shape ({n_texts}, dim), got {tuple(rows.shape)} for {n_texts} texts"
        )
    return rows.detach()
