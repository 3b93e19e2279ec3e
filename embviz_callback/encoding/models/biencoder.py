"""A bi-encoder: backbone, pooling, projection head, unit length."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from inspect import Parameter, signature
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from embviz_callback.encoding.models.ngrams import CharNgrams, NgramTokenizer
from embviz_callback.encoding.models.static import StaticTable

# By the names of sentence-transformers.
POOLINGS = ("mean", "cls", "max", "lasttoken", "weightedmean", "mean_sqrt_len_tokens")
# Encoders without tokens in a sequence: cheap to run, and pooled by themselves.
SELF_POOLING = (CharNgrams, StaticTable)
_NGRAM_PREFIX = "char-ngrams-"


def pool(hidden: Tensor, mask: Tensor, pooling: str) -> Tensor:
    """One vector per text from one vector per token.

    Args:
        hidden: ``(n_texts, n_tokens, dim)``.
        mask: ``(n_texts, n_tokens)``, 1 for tokens, 0 for padding.
        pooling: "mean" over the tokens that are not padding; "cls" and "lasttoken", the first and the last
            of them; "max" of each feature; "weightedmean", in which the n-th token counts n times
            (Muennighoff 2022); "mean_sqrt_len_tokens", their sum over the root of their number.

    Returns:
        ``(n_texts, dim)``.

    Raises:
        ValueError: If the pooling is unknown.
    """
    if pooling in ("cls", "lasttoken"):
        # The first or last real token, wherever the tokenizer puts its padding.
        place = mask.argmax(dim=1) if pooling == "cls" else mask.shape[1] - 1 - mask.flip(1).argmax(dim=1)
        return hidden[torch.arange(len(hidden), device=hidden.device), place]
    if pooling not in POOLINGS:
        raise ValueError(f"pooling must be one of {', '.join(POOLINGS)}, got {pooling!r}")
    weights = mask.unsqueeze(-1).to(hidden.dtype)
    if pooling == "max":
        return hidden.masked_fill(weights == 0, -torch.inf).amax(dim=1)
    if pooling == "weightedmean":
        weights = weights * mask.cumsum(dim=1).unsqueeze(-1)  # counted from the first real token
    total, amount = (hidden * weights).sum(dim=1), weights.sum(dim=1).clamp(min=1e-9)
    return total / (amount.sqrt() if pooling == "mean_sqrt_len_tokens" else amount)


class ProjectionHead(nn.Module):
    """Linear map to the size that is searched in, with an optional layer norm.

    Args:
        dim_in: Size of the backbone's pooled features.
        dim_out: Size of the embedding.
        layer_norm: False, True or "after" the linear map, or "before" it.
    """

    def __init__(self, dim_in: int, dim_out: int, *, layer_norm: bool | Literal["before", "after"] = False) -> None:
        super().__init__()
        self.norm_first = layer_norm == "before"
        self.linear = nn.Linear(dim_in, dim_out, bias=False)
        self.ln = nn.LayerNorm(dim_in if self.norm_first else dim_out) if layer_norm else None

    def forward(self, features: Tensor) -> Tensor:
        """Maps ``(n, dim_in)`` to ``(n, dim_out)``."""
        if self.ln is None:
            return self.linear(features)  # type: ignore[no-any-return]
        return self.linear(self.ln(features)) if self.norm_first else self.ln(self.linear(features))  # type: ignore[no-any-return]


@dataclass(frozen=True)
class Backbone:
    """An encoder with what belongs to it.

    Attributes:
        encoder: The module; its parameters are ``encoder.*`` of every checkpoint.
        tokenizer: A Hugging Face tokenizer, or one that gives numbers and offsets, for `SELF_POOLING`.
        dim: Width of the pooled features.
        max_length: Longest input in tokens that the encoder reads, None without a limit.
        name: By which name or path it was loaded.
    """

    encoder: nn.Module
    tokenizer: Callable[..., Any]
    dim: int
    max_length: int | None
    name: str


def load_backbone(name: str, *, revision: str | None = None, pretrained: bool = True) -> Backbone:
    """The encoder of that name.

    Args:
        name: A hub name ("BAAI/bge-m3"), a local directory, or "char-ngrams-<width>" for the
            built-in encoder that needs no download.
        revision: Branch, tag or commit on the hub.
        pretrained: False gives the same architecture with fresh weights, to be filled from a
            checkpoint; only configuration and tokenizer are then read.

    Returns:
        The encoder in eval mode, on the CPU, in float32.
    """
    if name.startswith(_NGRAM_PREFIX):
        return _ngram_backbone(name)
    from transformers import AutoConfig, AutoModel, AutoTokenizer  # takes seconds to import

    where = str(Path(name).expanduser()) if Path(name).expanduser().exists() else name
    tokenizer = AutoTokenizer.from_pretrained(where, revision=revision, trust_remote_code=False)
    if pretrained:
        encoder = AutoModel.from_pretrained(where, revision=revision, dtype=torch.float32, trust_remote_code=False)
    else:
        config: Any = AutoConfig.from_pretrained(where, revision=revision, trust_remote_code=False)
        encoder = AutoModel.from_config(config, dtype=torch.float32)  # type: ignore[no-untyped-call]
    return Backbone(encoder.eval(), tokenizer, int(encoder.config.hidden_size), _reach(encoder, tokenizer), name)


def _ngram_backbone(name: str) -> Backbone:
    width = name.removeprefix(_NGRAM_PREFIX)
    if not width.isdecimal() or int(width) < 1:
        raise ValueError(
            f"a built-in encoder is named {_NGRAM_PREFIX}<width>, for instance char-ngrams-4096; got {name!r}"
        )
    return Backbone(CharNgrams(int(width)), NgramTokenizer(int(width)), int(width), None, name)


def _reach(encoder: Any, tokenizer: Any) -> int | None:
    """Longest input that both tokenizer and position table allow."""
    limits = [int(tokenizer.model_max_length)]
    positions = getattr(encoder.config, "max_position_embeddings", None)
    if positions:
        # RoBERTa's table begins behind the padding index, so that its last rows cannot be reached.
        padding = getattr(encoder.config, "pad_token_id", None) or 0
        roberta = "roberta" in getattr(encoder.config, "model_type", "")
        limits.append(int(positions) - (padding + 1 if roberta else 0))
    # A tokenizer without a limit says 10^30.
    known = [limit for limit in limits if 0 < limit < 10**9]
    return min(known) if known else None


def pooled_features(
    backbone: Backbone, texts: Sequence[str], *, pooling: str, max_length: int, device: torch.device
) -> Tensor:
    """What the backbone makes of texts, before any head.

    Args:
        backbone: Encoder and tokenizer.
        texts: ``n`` texts.
        pooling: See `pool`; those of `SELF_POOLING` pool by themselves.
        max_length: Tokens that are read; more are cut off.
        device: Where the encoder lives.

    Returns:
        ``(n, backbone.dim)`` on `device`.
    """
    if isinstance(backbone.encoder, SELF_POOLING):
        return backbone.encoder(*(part.to(device) for part in backbone.tokenizer(texts)))  # type: ignore[no-any-return]
    limit = min(max_length, backbone.max_length or max_length)
    batch = backbone.tokenizer(list(texts), padding=True, truncation=True, max_length=limit, return_tensors="pt")
    taken = _inputs(backbone.encoder)
    batch = {name: part.to(device, non_blocking=True) for name, part in batch.items() if not taken or name in taken}
    return pool(backbone.encoder(**batch).last_hidden_state, batch["attention_mask"], pooling)


def _inputs(encoder: nn.Module) -> frozenset[str]:
    """The inputs that an encoder takes; none where it takes any."""
    # BERT's tokenizer brings segments, which DistilBERT refuses under transformers 4.
    parameters = signature(encoder.forward).parameters
    takes_any = any(each.kind is Parameter.VAR_KEYWORD for each in parameters.values())
    return frozenset(() if takes_any else parameters)


class BiEncoder(nn.Module):
    """Texts in, unit vectors out.

    Args:
        backbone: Encoder and tokenizer.
        head: Projection head; None keeps the pooled features.
        pooling: See `pool`.
        max_length: Tokens per text.
        normalise: Scale embeddings to length 1.

    Raises:
        ValueError: If the pooling is unknown or the head does not fit the backbone.
    """

    def __init__(
        self,
        backbone: Backbone,
        head: ProjectionHead | None = None,
        *,
        pooling: str = "mean",
        max_length: int = 256,
        normalise: bool = True,
    ) -> None:
        super().__init__()
        if pooling not in POOLINGS:
            raise ValueError(f"pooling must be one of {', '.join(POOLINGS)}, got {pooling!r}")
        if head is not None and head.linear.in_features != backbone.dim:
            raise ValueError(f"the head takes {head.linear.in_features} features, {backbone.name} gives {backbone.dim}")
        self.backbone = backbone
        self.encoder = backbone.encoder
        self.head = head
        self.pooling, self.max_length, self.normalise = pooling, max_length, normalise

    def features(self, texts: Sequence[str]) -> Tensor:
        """Pooled features of texts, ``(n, dim_in)``."""
        device = next((part.device for part in (*self.parameters(), *self.buffers())), torch.device("cpu"))
        return pooled_features(self.backbone, texts, pooling=self.pooling, max_length=self.max_length, device=device)

    def project(self, features: Tensor) -> Tensor:
        """Embeddings of pooled features, ``(n, dim_in)`` to ``(n, dim)``."""
        projected = features if self.head is None else self.head(features)
        return nn.functional.normalize(projected, dim=-1) if self.normalise else projected

    def encode(self, texts: Sequence[str]) -> Tensor:
        """Embeddings of texts, ``(n, dim)``; the caller chooses mode and gradients."""
        return self.project(self.features(texts))
