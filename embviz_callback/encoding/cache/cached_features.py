"""A frozen encoder's features, computed one time per text."""

import logging
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor

from embviz_callback.encoding.cache.feature_store import DEFAULT_MAX_BYTES, FeatureStore
from embviz_callback.encoding.cache.fingerprints import change_stamp, content_stamp, encoder_fingerprint
from embviz_callback.encoding.models.biencoder import SELF_POOLING, Backbone, BiEncoder, features_of
from embviz_callback.encoding.out_of_memory import is_out_of_memory, release_memory

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
        max_bytes: Cap on the cache folder.
    """

    def __init__(self, bi_encoder: BiEncoder, root: Path | None, *, max_bytes: int = DEFAULT_MAX_BYTES) -> None:
        self.bi_encoder, self.root, self.max_bytes = bi_encoder, root, max_bytes
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
        return store.get(texts).to(_device(self.bi_encoder), non_blocking=True)

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
            self._store, self._stamp = self._open(), stamp
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

    def _open(self) -> FeatureStore:
        model = self.bi_encoder
        skipped = f" without the first {model.skip} tokens" if model.skip else ""
        name = encoder_fingerprint(
            model.backbone,
            pooling=f"{model.pooling}{skipped}",
            max_length=model.max_length,
            precision=_precision(model),
        )
        return FeatureStore(None if self.root is None else self.root / name, max_bytes=self.max_bytes)


def encode_by_length(
    bi_encoder: BiEncoder, texts: Sequence[str], *, token_budget: int | None = None
) -> Iterator[tuple[list[str], Tensor]]:
    """Pooled features of texts, in batches of about equally long ones, the longest first.

    Texts are tokenised once. A batch that does not fit into memory is halved, and so is every
    later one.

    Args:
        bi_encoder: Encoder, tokenizer and pooling.
        texts: Any number of texts.
        token_budget: Tokens in one batch, padding included; by default what suits the device.

    Yields:
        Texts of one batch and their features, ``(n, dim_in)`` on the encoder's device.

    Raises:
        RuntimeError: If not even one text fits into the GPU's memory.
        MemoryError: If it does not fit into the machine's.
    """
    if not texts:
        return
    budget = token_budget or _TOKEN_BUDGET.get(_device(bi_encoder).type, _GPU_TOKEN_BUDGET)
    pending = _batches(bi_encoder, texts, budget)[::-1]
    limit = len(texts)
    while pending:
        chunk = pending.pop()
        if len(chunk) > limit:
            pending += [chunk[limit:], chunk[:limit]]
            continue
        try:
            features = _forward(bi_encoder, [tokens for _, tokens in chunk], [text for text, _ in chunk])
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error) or len(chunk) == 1:
                raise
            features = None
        if features is None:
            # Outside the except block, where the traceback no longer holds the batch's tensors.
            release_memory()
            limit = max(1, len(chunk) // 2)
            pending.append(chunk)
            continue
        yield [text for text, _ in chunk], features


_Tokens = dict[str, list[int]]


def _batches(bi_encoder: BiEncoder, texts: Sequence[str], budget: int) -> list[list[tuple[str, _Tokens]]]:
    tokens = _tokenise(bi_encoder.backbone, texts, bi_encoder.max_length)
    lengths = [len(entry.get("input_ids", text)) for entry, text in zip(tokens, texts, strict=True)]
    batches: list[list[tuple[str, _Tokens]]] = []
    longest = 0
    for index in sorted(range(len(texts)), key=lambda index: -lengths[index]):
        if not batches or (len(batches[-1]) + 1) * longest > budget:
            batches.append([])
            longest = max(1, lengths[index])
        batches[-1].append((texts[index], tokens[index]))
    return batches


def _tokenise(backbone: Backbone, texts: Sequence[str], max_length: int) -> list[_Tokens]:
    if isinstance(backbone.encoder, SELF_POOLING):
        return [{} for _ in texts]
    limit = min(max_length, backbone.max_length or max_length)
    columns = backbone.tokenizer(list(texts), truncation=True, max_length=limit)
    return [{name: column[row] for name, column in columns.items()} for row in range(len(texts))]


def _forward(bi_encoder: BiEncoder, tokens: list[_Tokens], texts: list[str]) -> Tensor:
    # no_grad, not inference mode: a head that is trained must be able to save these tensors for backward.
    with torch.no_grad():
        if isinstance(bi_encoder.encoder, SELF_POOLING):
            return bi_encoder.features(texts)
        device = _device(bi_encoder)
        padded = bi_encoder.backbone.tokenizer.pad(tokens, padding=True, return_tensors="pt")  # type: ignore[attr-defined]
        batch = {name: _move(part, device) for name, part in padded.items()}
        return features_of(bi_encoder.encoder, batch, bi_encoder.pooling, skip=bi_encoder.skip).float()


def _move(tensor: Tensor, device: torch.device) -> Tensor:
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)


def _device(bi_encoder: BiEncoder) -> torch.device:
    tensors = (*bi_encoder.encoder.parameters(), *bi_encoder.encoder.buffers())
    return next((tensor.device for tensor in tensors), torch.device("cpu"))


def _precision(bi_encoder: BiEncoder) -> str:
    kind = _device(bi_encoder).type
    weights = next((parameter.dtype for parameter in bi_encoder.encoder.parameters()), torch.float32)
    autocast = f" autocast {torch.get_autocast_dtype(kind)}" if torch.is_autocast_enabled(kind) else ""
    return f"{weights}{autocast}".replace("torch.", "")
