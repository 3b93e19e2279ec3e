"""Hashes that say whether two encoders turn the same text into the same features."""

import hashlib
import json
from typing import Any

import torch
from torch import Tensor, nn

from embviz_callback.encoding.models.biencoder import Backbone

# They tell where a model was found and with what it was saved, not what it computes.
_VOLATILE = ("_name_or_path", "transformers_version", "torch_dtype", "dtype", "_commit_hash")


def state_sha256(module: nn.Module) -> str:
    """Hash over names, shapes, types and bytes of a module's parameters and buffers.

    Args:
        module: On any device; buffers that are not saved count as well.

    Returns:
        64 hexadecimal characters.
    """
    digest = hashlib.sha256()
    for name, tensor in sorted(_tensors(module).items()):
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def encoder_fingerprint(backbone: Backbone, *, pooling: str, max_length: int, precision: str) -> str:
    """Hash of everything but the text that a pooled feature depends on.

    Args:
        backbone: Encoder and tokenizer.
        pooling: See `biencoder.pool`.
        max_length: Tokens per text that the encoder reads.
        precision: In which the encoder runs, for instance "float32" or "bfloat16 autocast".

    Returns:
        32 hexadecimal characters.
    """
    parts = {
        "weights": state_sha256(backbone.encoder),
        "config": _config(backbone.encoder),
        "tokenizer": _tokenizer(backbone.tokenizer),
        "pooling": pooling,
        "max_length": max_length,
        "precision": precision,
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:32]


def change_stamp(module: nn.Module) -> tuple[object, ...]:
    """Something cheap that differs after weights were replaced or changed in place.

    An edit through ``tensor.data`` goes unseen; `content_stamp` sees it.

    Args:
        module: Looked at every time its features are asked for.

    Returns:
        Storage address and version of every parameter and buffer.
    """
    return tuple((tensor.data_ptr(), _version(tensor)) for tensor in _tensors(module).values())


def content_stamp(module: nn.Module) -> tuple[int, ...]:
    """The sum of each tensor's bytes as numbers: any single change shows, at memory speed.

    Args:
        module: Looked at once in a while; about 0.1 s for a gigabyte.

    Returns:
        One number per parameter and buffer.
    """
    # Bytes are summed per tensor in int64, which cannot overflow below 2^55 bytes.
    sums = [_as_integers(tensor.detach()).sum(dtype=torch.int64) for tensor in _tensors(module).values()]
    return tuple(int(value) for value in torch.stack([value.cpu() for value in sums])) if sums else ()


def _tensors(module: nn.Module) -> dict[str, Tensor]:
    return dict(module.named_parameters()) | dict(module.named_buffers())


def _version(tensor: Tensor) -> int:
    # A tensor made in inference mode has no version and cannot be changed in place outside of it.
    return 0 if tensor.is_inference() else tensor._version


def _as_integers(tensor: Tensor) -> Tensor:
    widths = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
    return tensor.contiguous().view(widths[tensor.element_size()]) if tensor.dtype != torch.bool else tensor


def _config(encoder: nn.Module) -> dict[str, Any]:
    config = getattr(encoder, "config", None)
    if config is None:
        return {"class": type(encoder).__name__}
    facts = json.loads(config.to_json_string(use_diff=False))
    return {name: value for name, value in facts.items() if name not in _VOLATILE}


def _tokenizer(tokenizer: Any) -> str:
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is not None:
        # Padding and truncation are set by every call and would make the hash depend on the last one.
        facts = json.loads(backend.to_str()) | {"truncation": None, "padding": None}
        text = json.dumps(facts, sort_keys=True) + str(tokenizer.padding_side)
    elif hasattr(tokenizer, "get_vocab"):
        text = json.dumps([type(tokenizer).__name__, tokenizer.get_vocab(), str(tokenizer.init_kwargs)], sort_keys=True)
    else:
        text = json.dumps([type(tokenizer).__name__, vars(tokenizer)], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()
