"""An ``encode`` for modules whose forward pass takes a tokenizer's output instead of texts."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from embviz_callback.encoding.devices import device_of
from embviz_callback.encoding.models.biencoder import POOLINGS, count_longer, pool, taken_of, tokens_of
from embviz_callback.encoding.subject import EncodeWith

_POOLER = "pooler"
_EMBEDDINGS = ("sentence_embedding", "embeddings", "embedding", "sentence_embeddings")  # of 2 axes, by many hands
_HIDDEN = ("last_hidden_state", "token_embeddings", "hidden_states")


def text_encoder(
    tokenizer: Any,
    *,
    pooling: str | None = None,
    max_length: int = 256,
    query_prompt: str = "",
    document_prompt: str = "",
) -> tuple[EncodeWith, EncodeWith]:
    """What `EmbeddingVisualizer` and the adapters take as ``encode=`` for a module that knows no texts.

    The module's ``forward`` takes ``input_ids`` and ``attention_mask`` by name, or one mapping of them. It gives
    embeddings ``(n, dim)``, hidden states ``(n, n_tokens, dim)``, or an object or mapping with ``last_hidden_state``,
    ``pooler_output`` or ``sentence_embedding``.

    Args:
        tokenizer: Of Hugging Face, or the name or path of one.
        pooling: "mean", "cls", "lasttoken", "max", "weightedmean" or "mean_sqrt_len_tokens" over the hidden states, or
            "pooler" for the model's own ``pooler_output``; None for a module that gives embeddings.
        max_length: Tokens that are read of a text.
        query_prompt: Put before each query.
        document_prompt: Put before each document.

    Returns:
        A function for queries and one for documents, each from the module and ``n`` texts to ``(n, dim)``.

    Raises:
        ValueError: If the pooling is unknown.

    Example:
        >>> from transformers import AutoTokenizer  # doctest: +SKIP
        >>> EmbeddingVisualizer("val.json", encode=text_encoder("BAAI/bge-m3", pooling="cls"))  # doctest: +SKIP
    """
    if pooling not in (None, *POOLINGS):
        raise ValueError(f"pooling must be one of {', '.join(POOLINGS)} or None, got {pooling!r}")
    if isinstance(tokenizer, str):
        from transformers import AutoTokenizer  # takes seconds to import

        tokenizer = AutoTokenizer.from_pretrained(tokenizer)
    return (
        _TextEncoder(tokenizer, pooling, max_length, query_prompt),
        _TextEncoder(tokenizer, pooling, max_length, document_prompt),
    )


@dataclass(frozen=True)
class _TextEncoder:
    """One side; equal for equal options, so that a text of both sides is encoded once."""

    tokenizer: Any
    pooling: str | None
    max_length: int
    prompt: str

    def count_truncated(self, texts: Sequence[str]) -> int:
        """How many texts are longer than what is read of them."""
        return count_longer(self.tokenizer, [self.prompt + text for text in texts], self.max_length)

    def __call__(self, module: nn.Module, texts: list[str]) -> Tensor:
        prompted = [self.prompt + text for text in texts]
        batch = tokens_of(self.tokenizer, prompted, self.max_length, device_of(module))
        taken = taken_of(batch, module)
        output = module(**taken) if "input_ids" in taken else module(batch)
        return _embeddings(output, batch["attention_mask"], self.pooling)


def truncated_share_of(encode: Any) -> Callable[[Sequence[str], Sequence[str]], float] | None:
    """What a `Subject` says of texts that are too long, where `text_encoder` made its functions; else None."""
    if not isinstance(encode, tuple) or not all(isinstance(side, _TextEncoder) for side in encode):
        return None
    return lambda *sides: (
        sum(way.count_truncated(texts) for way, texts in zip(encode, sides, strict=True)) / max(1, sum(map(len, sides)))
    )


def _embeddings(output: Any, mask: Tensor, pooling: str | None) -> Tensor:
    if isinstance(output, tuple | list):
        output = output[0]
    if isinstance(output, Tensor):
        found = output
    elif pooling == _POOLER:
        found = _member(output, ("pooler_output",))
    else:
        found = _member(output, (*_EMBEDDINGS, *_HIDDEN) if pooling is None else (*_HIDDEN, *_EMBEDDINGS))
    if found.ndim != 3:
        return found
    if pooling in (None, _POOLER):
        raise TypeError(
            f"the module gives one vector per token, shape {tuple(found.shape)}; give text_encoder a pooling, such as "
            '"mean" or "cls"'
        )
    return pool(found, mask, pooling)


def _member(output: Any, names: tuple[str, ...]) -> Tensor:
    for name in names:
        found = output.get(name) if isinstance(output, Mapping) else getattr(output, name, None)
        if isinstance(found, Tensor):
            return found
    there = sorted(output) if isinstance(output, Mapping) else [type(output).__name__]
    raise TypeError(
        f"the module's forward pass gives none of {', '.join(names)} but {', '.join(map(str, there))}; "
        "give encode= a function of your own"
    )
