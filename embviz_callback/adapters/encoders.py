"""How a trainer's model turns texts into vectors, and what a report says of it."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch

from embviz_callback.delivery.provenance import versions
from embviz_callback.encoding.encode import Encode
from embviz_callback.session import Subject

_PACKAGES = ("torch", "transformers", "sentence-transformers", "numpy")
_WRAPPERS = ("DistributedDataParallel", "FullyShardedDataParallel")


def subject_of(
    model: Any,
    encode: Callable[[Any, list[str]], Any] | None = None,
    *,
    autocast: torch.dtype | None = None,
    can_halve: bool = True,
    **facts: Any,
) -> Subject:
    """A model that a trainer other than Lightning's holds; a TypeError says if there is no way to encode.

    Args:
        model: A SentenceTransformer, or any module, also wrapped for several ranks.
        encode: Takes the model and ``n`` texts and gives ``(n, dim)``; None for the model's own ``encode(texts)``.
        autocast: Of a training in mixed precision.
        can_halve: See `Subject`.
        facts: What else the report says, plain JSON.

    Returns:
        The subject.
    """
    inner = model.module if type(model).__name__ in _WRAPPERS else model

    def tell() -> dict[str, Any]:
        return {
            "model": type(inner).__name__,
            "device": f"{_device(model)}",
            **facts,
            "versions": versions(*_PACKAGES),
        }

    act = _encode_of(inner, encode)
    if autocast is not None:
        # Set by the trainer around the forward pass alone, where an encode of other ways than that never comes by.
        act = partial(_encode_under, autocast, inner, act)
    return Subject(inner, act, tell, can_halve=can_halve, wrapper=model)


def _encode_under(dtype: torch.dtype, model: Any, encode: Encode, texts: list[str]) -> Any:
    with torch.autocast(torch.device(_device(model)).type, dtype=dtype):
        return encode(texts)


def _encode_of(model: Any, encode: Callable[[Any, list[str]], Any] | None) -> Encode:
    if encode is not None:
        return partial(encode, model)
    own = getattr(model, "encode", None)
    if not callable(own):
        raise TypeError(
            f"{type(model).__name__} has no method encode(texts); give encode=, a function that takes the model and "
            "a list of texts and returns a tensor of shape (len(texts), dim)"
        )
    return partial(_encode_plainly, model) if _is_sentence_transformer(model) else own


def _encode_plainly(model: Any, texts: list[str]) -> Any:
    with _ordinary_tensors(model):
        # The empty prompt keeps a default prompt of the model's own from being added.
        return model.encode(texts, prompt="", batch_size=len(texts), convert_to_tensor=True, show_progress_bar=False)


@contextmanager
def _ordinary_tensors(model: Any) -> Iterator[None]:
    """Keeps the inference mode that sentence-transformers encodes under out of the model's forward pass.

    A tensor that a model makes on its first call and keeps would crash the training otherwise ("Inference
    tensors cannot be saved for backward"), and our look at the untrained model is that first call.
    """
    forward, own = model.forward, model.__dict__.get("forward")  # the trainer may have put its own in the way

    def ordinary(*features: Any, **options: Any) -> Any:
        with torch.inference_mode(False), torch.no_grad():
            return forward(*features, **options)

    model.forward = ordinary
    try:
        yield
    finally:
        del model.forward
        if own is not None:
            model.forward = own


def _is_sentence_transformer(model: Any) -> bool:
    # Who has such a model has imported the library.
    library = sys.modules.get("sentence_transformers")
    return library is not None and isinstance(model, library.SentenceTransformer)


def _device(model: Any) -> Any:
    return getattr(model, "device", None) or next((part.device for part in model.parameters()), "cpu")
