"""What a command takes from elsewhere at the user's request: a tokenizer."""

from collections.abc import Sequence
from pathlib import Path

from embviz_callback.pairs.problems import DataError


class TokenReach:
    """How far into a text an encoder reads, told by its tokenizer.

    Args:
        name: Hub name or local directory.
        max_length: Most tokens that are read; None for what the tokenizer says.

    Raises:
        DataError: If the tokenizer cannot be loaded or cannot tell which characters a token covers.
    """

    def __init__(self, name: str, max_length: int | None = None) -> None:
        from transformers import AutoTokenizer  # takes seconds to import

        where = str(Path(name).expanduser()) if Path(name).expanduser().exists() else name
        try:
            self._tokenizer = AutoTokenizer.from_pretrained(where)
        except (OSError, ValueError) as error:
            reason = str(error).splitlines()[0][:200]
            raise DataError(
                f"encoder {name!r}: its tokenizer cannot be loaded ({reason}). Fix: check the name"
            ) from None
        if not self._tokenizer.is_fast:
            raise DataError(f"encoder {name!r}: its tokenizer keeps no offsets. Fix: check without --encoder")
        own = int(self._tokenizer.model_max_length)
        self.max_length = min(max_length or own, own)

    def __call__(self, texts: Sequence[str]) -> Sequence[tuple[int, int]]:
        """Per text its length in tokens and how many of its characters are read."""
        rows = self._tokenizer(list(texts), return_offsets_mapping=True, add_special_tokens=True, verbose=False)
        return [
            (len(ids), self._read(text, offsets))
            for text, ids, offsets in zip(texts, rows["input_ids"], rows["offset_mapping"], strict=True)
        ]

    def _read(self, text: str, offsets: Sequence[tuple[int, int]]) -> int:
        if len(offsets) <= self.max_length:
            return len(text)
        # Special tokens have the offsets (0, 0) and take places of their own.
        n_special = sum(1 for start, end in offsets if start == end)
        words = [end for start, end in offsets if end > start]
        return words[max(self.max_length - n_special, 0) - 1] if self.max_length > n_special else 0
