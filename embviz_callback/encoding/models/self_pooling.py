"""Encoders without tokens in a sequence, which pool by themselves: hashed character n-grams, and static embeddings.

The n-grams need no download and know nothing of any language, but a linear head on top of them learns real
similarity from a few thousand pairs within seconds on a CPU, which is what a demonstration and tests need.
"""

import unicodedata
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

_SIZES = (2, 3, 4)


def in_a_row(rows: Sequence[list[int]]) -> tuple[Tensor, Tensor]:
    """The numbers of all texts, one text after the other, and where each text begins; both int64."""
    lengths = torch.tensor([0, *map(len, rows)], dtype=torch.int64)
    return torch.tensor([number for row in rows for number in row], dtype=torch.int64), lengths.cumsum(0)[:-1]


class NgramTokenizer:
    """Turns a text into the bucket numbers of its character n-grams.

    Args:
        n_buckets: Size of the hash table, which is the width of the features.
    """

    def __init__(self, n_buckets: int) -> None:
        self.n_buckets = n_buckets

    def __call__(self, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Buckets of all texts, one after the other, and where each text begins.

        Returns:
            ``(n_ngrams,)`` int64 bucket numbers and ``(len(texts),)`` int64 offsets.
        """
        return in_a_row([self._buckets(text) for text in texts])

    def _buckets(self, text: str) -> list[int]:
        words = unicodedata.normalize("NFC", text).casefold().split()
        grams = [gram for word in words for gram in _ngrams(f" {word} ")]
        # crc32, since Python's own hash differs from process to process.
        return [zlib.crc32(gram.encode("utf-8", "replace")) % self.n_buckets for gram in grams]


def _ngrams(word: str) -> list[str]:
    return [word[start : start + size] for size in _SIZES for start in range(len(word) - size + 1)]


class CharNgrams(nn.Module):
    """Features of a text: square roots of its n-gram counts, scaled to length 1.

    Args:
        n_buckets: Width of the features.
    """

    def __init__(self, n_buckets: int) -> None:
        super().__init__()
        self.n_buckets = n_buckets
        # A state dict without any tensor could not tell this encoder from a missing one.
        self.register_buffer("size", torch.tensor(n_buckets))

    def forward(self, buckets: Tensor, offsets: Tensor) -> Tensor:
        """Counts the n-grams of each text.

        Args:
            buckets: ``(n_ngrams,)``.
            offsets: ``(n_texts,)``.

        Returns:
            ``(n_texts, n_buckets)``, rows of length 1, or 0 for a text without letters.
        """
        ends = torch.cat([offsets[1:], offsets.new_tensor([len(buckets)])])
        owner = torch.repeat_interleave(torch.arange(len(offsets), device=offsets.device), ends - offsets)
        counts = torch.zeros(len(offsets), self.n_buckets, device=buckets.device)
        counts.index_put_((owner, buckets), torch.ones_like(buckets, dtype=counts.dtype), accumulate=True)
        return nn.functional.normalize(counts.sqrt(), dim=-1)


class StaticTokenizer:
    """Turns texts into token numbers, all in a row.

    Args:
        path: A ``tokenizer.json``.
    """

    def __init__(self, path: Path) -> None:
        from tokenizers import Tokenizer

        self._tokenizer: Any = Tokenizer.from_file(str(path))
        self._tokenizer.no_padding()

    def __call__(self, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Numbers of all tokens, one text after the other, and where each text begins.

        Returns:
            ``(n_tokens,)`` int64 and ``(len(texts),)`` int64 offsets.
        """
        return in_a_row([each.ids for each in self._tokenizer.encode_batch(list(texts), add_special_tokens=False)])


class StaticTable(nn.Module):
    """The mean of the vectors of a text's tokens (sentence-transformers' ``StaticEmbedding``).

    Args:
        weights: ``(n_tokens, dim)``.
    """

    def __init__(self, weights: Tensor) -> None:
        super().__init__()
        self.embedding = nn.EmbeddingBag.from_pretrained(weights.float())

    def forward(self, tokens: Tensor, offsets: Tensor) -> Tensor:
        """``(n_tokens,)`` and ``(n_texts,)`` to ``(n_texts, dim)``, 0 for a text without tokens."""
        return self.embedding(tokens, offsets)  # type: ignore[no-any-return]


# Cheap to run.
SELF_POOLING = (CharNgrams, StaticTable)
