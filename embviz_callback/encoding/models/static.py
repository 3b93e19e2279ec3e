"""Static embeddings: one vector per token, and their mean for a text (sentence-transformers' ``StaticEmbedding``)."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from embviz_callback.encoding.models.ngrams import in_a_row


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
    """The mean of the vectors of a text's tokens.

    Args:
        weights: ``(n_tokens, dim)``.
    """

    def __init__(self, weights: Tensor) -> None:
        super().__init__()
        self.embedding = nn.EmbeddingBag.from_pretrained(weights.float())

    def forward(self, tokens: Tensor, offsets: Tensor) -> Tensor:
        """``(n_tokens,)`` and ``(n_texts,)`` to ``(n_texts, dim)``, 0 for a text without tokens."""
        return self.embedding(tokens, offsets)  # type: ignore[no-any-return]
