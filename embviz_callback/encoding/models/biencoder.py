"""A bi-encoder: backbone, pooling, projection head, unit length."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from inspect import Parameter, signature
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from embviz_callback.encoding.devices import device_of
from embviz_callback.encoding.models.self_pooling import SELF_POOLING, CharNgrams, NgramTokenizer

# By the names of sentence-transformers; "pooler" is what the encoder itself makes of its first token (SimCSE, DPR).
TOKEN_POOLINGS = ("mean", "cls", "max", "lasttoken", "weightedmean", "mean_sqrt_len_tokens")
POOLINGS = (*TOKEN_POOLINGS, "pooler")
# What sentence-transformers takes for these: their decoders make no embeddings.
_ENCODER_CLASSES = {
    "t5": "T5EncoderModel",
    "mt5": "MT5EncoderModel",
    "umt5": "UMT5EncoderModel",
    "longt5": "LongT5EncoderModel",
    "switch_transformers": "SwitchTransformersEncoderModel",
}
NGRAM_PREFIX = "char-ngrams-"
_MOST_SPECIAL_TOKENS = 8


def pool(hidden: Tensor, mask: Tensor, pooling: str, *, skip: int = 0) -> Tensor:
    """One vector per text from one vector per token.

    Args:
        hidden: ``(n_texts, n_tokens, dim)``.
        mask: ``(n_texts, n_tokens)``, 1 for tokens, 0 for padding.
        pooling: "mean" over the tokens that are not padding; "cls" and "lasttoken", the first and the last
            of them; "max" of each feature; "weightedmean", in which the n-th token counts n times
            (Muennighoff 2022); "mean_sqrt_len_tokens", their sum over the root of their number; several joined
            by "+" stand one after the other.
        skip: First tokens of every text that are left out, those of a prompt.

    Returns:
        ``(n_texts, dim)``, or as many dims as there are poolings.

    Raises:
        ValueError: If the pooling is unknown.
    """
    if "+" in pooling:
        return torch.cat([pool(hidden, mask, part, skip=skip) for part in pooling.split("+")], dim=-1)
    places = mask.cumsum(dim=1)  # counted from the first real token, wherever the tokenizer puts its padding
    mask = mask * (places > skip) if skip else mask
    if pooling in ("cls", "lasttoken"):
        place = mask.argmax(dim=1) if pooling == "cls" else mask.shape[1] - 1 - mask.flip(1).argmax(dim=1)
        return hidden[torch.arange(len(hidden), device=hidden.device), place]
    if pooling not in TOKEN_POOLINGS:
        raise ValueError(f"pooling must be one of {', '.join(POOLINGS)}, got {pooling!r}")
    weights = mask.unsqueeze(-1).to(hidden.dtype)
    if pooling == "max":
        return hidden.masked_fill(weights == 0, -torch.inf).amax(dim=1)
    if pooling == "weightedmean":
        weights = weights * places.unsqueeze(-1)
    total, amount = (hidden * weights).sum(dim=1), weights.sum(dim=1).clamp(min=1e-9)
    return total / (amount.sqrt() if pooling == "mean_sqrt_len_tokens" else amount)


def tokens_of(
    tokenizer: Callable[..., Any], texts: Sequence[str], max_length: int, device: torch.device
) -> dict[str, Tensor]:
    """What a tokenizer makes of texts, padded, on a device.

    Args:
        tokenizer: Of Hugging Face.
        texts: ``n`` texts.
        max_length: Tokens that are read; more are cut off.
        device: Where the model lives.

    Returns:
        ``(n, n_tokens)`` by name, ``attention_mask`` among them.
    """
    batch = tokenizer(list(texts), padding=True, truncation=True, max_length=max_length, return_tensors="pt")
    return {name: part.to(device, non_blocking=True) for name, part in batch.items()}


def taken_of(batch: Mapping[str, Tensor], module: nn.Module) -> dict[str, Tensor]:
    """Those of a batch's parts that a module's forward pass takes by name."""
    # BERT's tokenizer brings segments, which DistilBERT refuses under transformers 4.
    parameters = signature(module.forward).parameters
    takes_any = any(each.kind is Parameter.VAR_KEYWORD for each in parameters.values())
    return {name: part for name, part in batch.items() if takes_any or name in parameters}


def features_of(encoder: nn.Module, batch: Mapping[str, Tensor], pooling: str, *, skip: int = 0) -> Tensor:
    """What an encoder makes of tokens, one vector per text.

    Args:
        encoder: Of transformers.
        batch: What its tokenizer made, padded, on the encoder's device.
        pooling: See `pool`; "pooler" for the encoder's own.
        skip: Likewise.

    Returns:
        ``(n_texts, dim)``.
    """
    outputs = encoder(**taken_of(batch, encoder))
    if pooling == "pooler":
        return outputs.pooler_output  # type: ignore[no-any-return]
    return pool(outputs.last_hidden_state, batch["attention_mask"], pooling, skip=skip)


class ProjectionHead(nn.Module):
    """Linear map to the size that is searched in, with an optional layer norm.

    Args:
        dim_in: Size of the backbone's pooled features.
        dim_out: Size of the embedding.
        layer_norm: False, True or "after" the linear map, or "before" it.
        bias: Whether the linear map has one.
    """

    def __init__(
        self, dim_in: int, dim_out: int, *, layer_norm: bool | Literal["before", "after"] = False, bias: bool = False
    ) -> None:
        super().__init__()
        self.norm_first = layer_norm == "before"
        self.linear = nn.Linear(dim_in, dim_out, bias=bias)
        self.ln = nn.LayerNorm(dim_in if self.norm_first else dim_out) if layer_norm else None

    def forward(self, features: Tensor) -> Tensor:
        """Maps ``(n, dim_in)`` to ``(n, dim_out)``."""
        if self.ln is None:
            return self.linear(features)  # type: ignore[no-any-return]
        return self.linear(self.ln(features)) if self.norm_first else self.ln(self.linear(features))  # type: ignore[no-any-return]


def first_linear(head: nn.Module) -> nn.Linear:
    """The linear map that a head begins with, which tells the size and type of its input."""
    return next(part for part in head.modules() if isinstance(part, nn.Linear))


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


def load_backbone(
    name: str,
    *,
    revision: str | None = None,
    pretrained: bool = True,
    tokenizer: str | None = None,
    dtype: torch.dtype = torch.float32,
) -> Backbone:
    """The encoder of that name.

    Args:
        name: A hub name ("BAAI/bge-m3"), a local directory, or "char-ngrams-<width>" for the
            built-in encoder that needs no download.
        revision: Branch, tag or commit on the hub.
        pretrained: False gives the same architecture with fresh weights, to be filled from a
            checkpoint; only configuration and tokenizer are then read.
        tokenizer: Where its tokenizer is, if not with it.
        dtype: Of its weights.

    Returns:
        The encoder in eval mode, on the CPU.
    """
    if name.startswith(NGRAM_PREFIX):
        return _ngram_backbone(name)
    from transformers import AutoConfig, AutoTokenizer  # takes seconds to import

    where, options = _where(name), {"revision": revision, "trust_remote_code": False}
    of_reader = options if tokenizer is None else options | {"revision": None}
    reader = AutoTokenizer.from_pretrained(_where(tokenizer or name), **of_reader)
    config: Any = AutoConfig.from_pretrained(where, **options)
    kind = _encoder_class(config)
    if pretrained:
        encoder = kind.from_pretrained(where, dtype=dtype, **options)
    else:
        encoder = (kind.from_config if hasattr(kind, "from_config") else kind._from_config)(config, dtype=dtype)
    return Backbone(encoder.eval(), reader, _width(encoder.config), _reach(encoder, reader), name)


def _where(name: str) -> str:
    return str(Path(name).expanduser()) if Path(name).expanduser().exists() else name


def _encoder_class(config: Any) -> Any:
    import transformers

    named = (config.architectures or [""])[0]
    if config.model_type == "dpr":
        return transformers.DPRContextEncoder if "Context" in named else transformers.DPRQuestionEncoder
    return getattr(transformers, _ENCODER_CLASSES.get(config.model_type, "AutoModel"))


def _width(config: Any) -> int:
    """Of the vectors; the projection of DPR stands in its pooler."""
    is_projected = config.model_type == "dpr" and config.projection_dim
    return int(config.projection_dim if is_projected else config.hidden_size)


def _ngram_backbone(name: str) -> Backbone:
    width = name.removeprefix(NGRAM_PREFIX)
    if not width.isdecimal() or int(width) < 1:
        raise ValueError(
            f"a built-in encoder is named {NGRAM_PREFIX}<width>, for instance char-ngrams-4096; got {name!r}"
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


def n_prompt_tokens(backbone: Backbone, prompt: str) -> int:
    """How many tokens a prompt has, what the tokenizer puts before it included, what it puts behind it not.

    Args:
        backbone: Whose tokenizer counts.
        prompt: The text; "" for none.

    Returns:
        0 without a prompt.
    """
    if not prompt:
        return 0
    tokens = backbone.tokenizer([prompt])["input_ids"][0]
    special = getattr(backbone.tokenizer, "all_special_ids", ())
    return len(tokens) - (1 if tokens and tokens[-1] in special else 0)


def count_longer(tokenizer: Callable[..., Any], texts: Sequence[str], limit: int) -> int:
    """How many texts have more tokens than a limit.

    Args:
        tokenizer: Of Hugging Face.
        texts: Prompts included.
        limit: In tokens.

    Returns:
        Their number.
    """
    # A token is at least a byte, so that most texts need not be cut into tokens to know.
    candidates = [text for text in texts if len(text.encode("utf-8", "replace")) + _MOST_SPECIAL_TOKENS > limit]
    if not candidates:
        return 0
    rows = tokenizer(candidates, truncation=False, verbose=False)["input_ids"]
    return sum(len(row) > limit for row in rows)


class BiEncoder(nn.Module):
    """Texts in, unit vectors out.

    Args:
        backbone: Encoder and tokenizer.
        head: From pooled features to what is scaled, such as a `ProjectionHead`; None keeps the features.
        pooling: See `pool`; encoders of `SELF_POOLING` pool by themselves.
        max_length: Tokens per text, more than the encoder reads for as many as it does.
        normalise: Scale embeddings to length 1.
        skip: See `pool`.
        dim: Of an embedding only so many numbers, the first (Matryoshka); None for all.

    Raises:
        ValueError: If the pooling is unknown or the head does not fit the backbone.
    """

    def __init__(
        self,
        backbone: Backbone,
        head: nn.Module | None = None,
        *,
        pooling: str = "mean",
        max_length: int = 256,
        normalise: bool = True,
        skip: int = 0,
        dim: int | None = None,
    ) -> None:
        super().__init__()
        modes = pooling.split("+")
        if not set(modes) <= set(POOLINGS if len(modes) == 1 else TOKEN_POOLINGS):
            raise ValueError(f"pooling must be one of {', '.join(POOLINGS)}, got {pooling!r}")
        width = backbone.dim * len(modes)
        if head is not None and (taken := first_linear(head).in_features) != width:
            raise ValueError(f"the head takes {taken} features, {backbone.name} gives {width}")
        self.backbone = backbone
        self.encoder = backbone.encoder
        self.head = head
        self.pooling, self.normalise, self.skip, self.dim = pooling, normalise, skip, dim
        self.max_length = min(max_length, backbone.max_length or max_length)

    def features(self, texts: Sequence[str]) -> Tensor:
        """Pooled features of texts, ``(n, dim_in)``."""
        device, tokenizer = device_of(self), self.backbone.tokenizer
        if isinstance(self.encoder, SELF_POOLING):
            return self.encoder(*(part.to(device) for part in tokenizer(texts)))  # type: ignore[no-any-return]
        batch = tokens_of(tokenizer, texts, self.max_length, device)
        return features_of(self.encoder, batch, self.pooling, skip=self.skip)

    def project(self, features: Tensor) -> Tensor:
        """Embeddings of pooled features, ``(n, dim_in)`` to ``(n, dim)``."""
        # An encoder may be kept in half precision, whose head is not.
        projected = features if self.head is None else self.head(features.to(first_linear(self.head).weight.dtype))
        rows = nn.functional.normalize(projected, dim=-1) if self.normalise else projected
        return rows[:, : self.dim] if self.dim is not None else rows

    def encode(self, texts: Sequence[str]) -> Tensor:
        """Embeddings of texts, ``(n, dim)``; the caller chooses mode and gradients."""
        return self.project(self.features(texts))

    def count_truncated(self, texts: Sequence[str]) -> int:
        """How many texts, prompts included, are longer than what is read of them; 0 without tokens in a sequence."""
        if isinstance(self.encoder, SELF_POOLING):
            return 0
        return count_longer(self.backbone.tokenizer, texts, self.max_length)
