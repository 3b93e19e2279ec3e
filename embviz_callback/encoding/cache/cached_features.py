"""A frozen encoder's features, computed one time per text."""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from embviz_callback.encoding.cache.feature_store import FeatureStore
from embviz_callback.encoding.cache.fingerprints import change_stamp, content_stamp, encoder_fingerprint
from embviz_callback.encoding.devices import device_of
from embviz_callback.encoding.encode import batches
from embviz_callback.encoding.models.biencoder import BiEncoder, features_of
from embviz_callback.encoding.models.self_pooling import SELF_POOLING

_log = logging.getLogger("embviz_callback")
# Tokens in one batch: enough to fill the cores, small enough to stay in cache.
_TOKEN_BUDGET = {"cpu": 1536}
_GPU_TOKEN_BUDGET = 32768


class CachedFeatures:
    """Looks features up, and computes those that are missing.

    It steps aside, with one line that says so, as long as the encoder can change: when a
    parameter asks for gradients or the encoder is in training mode. After a change of weights it
    goes on under another key.

    Args:
        bi_encoder: Whose features are kept.
        root: Cache folder shared by runs; None keeps them in memory only.
    """

    def __init__(self, bi_encoder: BiEncoder, root: Path | None) -> None:
        self.bi_encoder, self.root = bi_encoder, root
        self._store: FeatureStore | None = None
        self._stamp: tuple[object, ...] = ()
        self._content: tuple[int, ...] = ()
        self._said = ""

    def __call__(self, texts: Sequence[str]) -> Tensor:
        """Pooled features of texts.

        Args:
            texts: ``n`` texts, prompts included.

        Returns:
            ``(n, dim_in)`` on the encoder's device, without gradients unless the encoder has some.
        """
        if self.why_not():
            return self.bi_encoder.features(texts)
        store = self.store()
        missing = store.missing(texts)
        if missing:
            self.compute(missing)
        return store.get(texts).to(device_of(self.bi_encoder.encoder), non_blocking=True)

    def why_not(self) -> str:
        """The reason why features may change and cannot be kept, said once; empty if they can."""
        encoder = self.bi_encoder.encoder
        reason = ""
        if any(parameter.requires_grad for parameter in encoder.parameters()):
            reason = "the encoder is being trained"
        elif encoder.training and not isinstance(encoder, SELF_POOLING):
            reason = "the encoder is in training mode, where dropout changes its features"
        if reason and reason != self._said:
            _log.info("the feature cache is bypassed: %s", reason)
        self._said = reason
        return reason

    def store(self) -> FeatureStore:
        """The store that belongs to the encoder as it is now."""
        stamp = (change_stamp(self.bi_encoder.encoder), _precision(self.bi_encoder))
        if self._store is None or stamp != self._stamp:
            name = _fingerprint(self.bi_encoder)
            self._store, self._stamp = FeatureStore(None if self.root is None else self.root / name), stamp
            self._content = content_stamp(self.bi_encoder.encoder)
        return self._store

    def verify(self) -> None:
        """Looks at every weight, for edits that leave no trace; once an epoch is enough."""
        if self._store is not None and content_stamp(self.bi_encoder.encoder) != self._content:
            self._store = None

    def compute(self, texts: Sequence[str], *, progress: Callable[[int, int], None] | None = None) -> None:
        """Encodes texts in length order; what is written meanwhile survives an interruption.

        Args:
            texts: Distinct texts without features.
            progress: Told how many of how many are done.
        """
        store, done = self.store(), 0
        for chunk, features in encode_by_length(self.bi_encoder, texts):
            store.add(chunk, features)
            done += len(chunk)
            if progress is not None:
                progress(done, len(texts))

    def flush(self) -> None:
        """Writes what is not on disk yet; for the end of a pass."""
        if self._store is not None:
            self._store.flush()


def _fingerprint(model: BiEncoder) -> str:
    skipped = f" without the first {model.skip} tokens" if model.skip else ""
    pooling, precision = f"{model.pooling}{skipped}", _precision(model)
    return encoder_fingerprint(model.backbone, pooling=pooling, max_length=model.max_length, precision=precision)


def encode_by_length(bi_encoder: BiEncoder, texts: Sequence[str]) -> Iterator[tuple[list[str], Tensor]]:
    """Pooled features of texts, in batches of about equally long ones, the longest first.

    Texts are tokenised once. A batch that does not fit into memory is halved, and so is every
    later one; a single text that does not is answered with an `EncodingMemoryError`.

    Args:
        bi_encoder: Encoder, tokenizer and pooling.
        texts: Any number of distinct texts.

    Yields:
        Texts of one batch and their features, ``(n, dim_in)`` on the encoder's device.
    """
    tokens = dict(zip(texts, _tokenise(bi_encoder, texts), strict=True)) if texts else {}
    sizes = [len(texts)]
    for chunk in _chunks(tokens, _TOKEN_BUDGET.get(device_of(bi_encoder.encoder).type, _GPU_TOKEN_BUDGET)):
        encode = partial(_forward, bi_encoder, tokens)
        for part, features in batches(encode, chunk, batch_size=min(sizes[-1], len(chunk)), on_halved=sizes.append):
            yield chunk[part], features


_Tokens = dict[str, list[int]]


def _chunks(tokens: Mapping[str, _Tokens], budget: int) -> list[list[str]]:
    lengths = {text: len(entry.get("input_ids", text)) for text, entry in tokens.items()}
    chunks: list[list[str]] = []
    longest = 0
    for text in sorted(tokens, key=lambda text: -lengths[text]):
        if not chunks or (len(chunks[-1]) + 1) * longest > budget:
            chunks.append([])
            longest = max(1, lengths[text])
        chunks[-1].append(text)
    return chunks


def _tokenise(bi_encoder: BiEncoder, texts: Sequence[str]) -> list[_Tokens]:
    if isinstance(bi_encoder.encoder, SELF_POOLING):
        return [{} for _ in texts]
    columns = bi_encoder.backbone.tokenizer(list(texts), truncation=True, max_length=bi_encoder.max_length)
    return [{name: column[row] for name, column in columns.items()} for row in range(len(texts))]


def _forward(bi_encoder: BiEncoder, tokens: Mapping[str, _Tokens], texts: list[str]) -> Tensor:
    if isinstance(bi_encoder.encoder, SELF_POOLING):
        return bi_encoder.features(texts)
    device, tokenizer = device_of(bi_encoder.encoder), bi_encoder.backbone.tokenizer
    padded = tokenizer.pad([tokens[text] for text in texts], padding=True, return_tensors="pt")  # type: ignore[attr-defined]
    batch = {name: _move(part, device) for name, part in padded.items()}
    return features_of(bi_encoder.encoder, batch, bi_encoder.pooling, skip=bi_encoder.skip).float()


def _move(tensor: Tensor, device: torch.device) -> Tensor:
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)


def _precision(bi_encoder: BiEncoder) -> str:
    kind = device_of(bi_encoder.encoder).type
    weights = next((parameter.dtype for parameter in bi_encoder.encoder.parameters()), torch.float32)
    autocast = f" autocast {torch.get_autocast_dtype(kind)}" if torch.is_autocast_enabled(kind) else ""
    return f"{weights}{autocast}".replace("torch.", "")
