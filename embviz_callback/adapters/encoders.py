"""How a trainer's model turns texts into vectors, and what a report says of it."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch

from embviz_callback.delivery.provenance import versions
from embviz_callback.encoding.subject import Encode, EncodeWith, Subject, sides_of
from embviz_callback.settings import Settings

_PACKAGES = ("torch", "transformers", "sentence-transformers", "numpy")
_WRAPPERS = ("DistributedDataParallel", "FullyShardedDataParallel")


def subject_of(
    model: Any,
    settings: Settings,
    encode: EncodeWith | tuple[EncodeWith, EncodeWith] | None = None,
    *,
    autocast: torch.dtype | None = None,
    can_halve: bool = True,
    **facts: Any,
) -> Subject:
    """A model that a trainer other than Lightning's holds; a TypeError says if there is no way to encode.

    Args:
        model: A SentenceTransformer, or any module, also wrapped for several ranks.
        settings: Of the evaluation; its prompts.
        encode: See `sides_of`; None for the model's own way.
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

    if encode is None and _is_sentence_transformer(inner):
        encode = _encode_plainly
    prompts = {"query_prompt": settings.query_prompt, "document_prompt": settings.document_prompt}
    queries, documents = sides_of(inner, encode, **prompts)
    subject = Subject(inner, queries, documents, facts=tell, can_halve=can_halve, wrapper=model)
    if autocast is None:
        return subject
    # Set by the trainer around the forward pass alone, where an encode of other ways than that never comes by.
    return subject.called_by(lambda way: partial(_encode_under, autocast, inner, way))


def _encode_under(dtype: torch.dtype, model: Any, encode: Encode, texts: list[str]) -> Any:
    with torch.autocast(torch.device(_device(model)).type, dtype=dtype):
        return encode(texts)


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
