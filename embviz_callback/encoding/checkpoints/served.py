"""A checkpoint as the subject of an evaluation."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from embviz_callback.encoding.cache.cached_features import CachedFeatures
from embviz_callback.encoding.cache.feature_store import default_cache_folder
from embviz_callback.encoding.checkpoints.loading import CheckpointError, LoadedModel, load_checkpoint
from embviz_callback.encoding.models.biencoder import BiEncoder, first_linear
from embviz_callback.encoding.models.self_pooling import SELF_POOLING
from embviz_callback.encoding.serving import Serving
from embviz_callback.encoding.subject import Encode, Side, Subject


def serve_checkpoint(path: str, serving: Serving, facts: Mapping[str, Any]) -> tuple[Subject, LoadedModel]:
    """Loads a checkpoint.

    Args:
        path: Of any form that `load_checkpoint` reads; a `CheckpointError` says what is wrong with it.
        serving: What the user says.
        facts: About device and versions, for the report, to which the precision comes.

    Returns:
        The model as it is served, and what it was read as.
    """
    loaded = load_checkpoint(path, **vars(serving))
    origin = _origin(path, loaded)
    if serving.document_encoder is not None:
        other = load_checkpoint(serving.document_encoder, **vars(serving))
        loaded = _paired(loaded, path, other, serving.document_encoder)
        origin |= {"document_encoder": serving.document_encoder, "document_encoder_sha256": other.origin.sha256}
    elif half := _half_of_dpr(loaded):
        loaded = replace(loaded, notes=(*loaded.notes, half))
    precision = _precision(loaded.model)
    caches: list[CachedFeatures] = []
    queries = documents = _encode_of(loaded.model, caches, wanted=serving.cache)
    modules: Any = loaded.model
    if loaded.document_model is not loaded.model:
        documents = _encode_of(loaded.document_model, caches, wanted=serving.cache)
        modules = nn.ModuleList([loaded.model, loaded.document_model])

    def after() -> None:
        for cached in caches:
            cached.flush()

    subject = Subject(
        modules,
        Side(queries, loaded.query_prompt),
        Side(documents, loaded.document_prompt),
        origin=origin | ({"notes": list(loaded.notes)} if loaded.notes else {}),
        facts=lambda: {**facts, "precision": precision},
        after=after,
        notes=loaded.notes,
        similarity=loaded.similarity,
    )
    return subject, loaded


def _paired(queries: LoadedModel, path: str, documents: LoadedModel, other: str) -> LoadedModel:
    """Two checkpoints as the towers of one model."""
    with torch.no_grad():
        dims = [queries.encode_query(["a"]).shape[1], documents.encode_document(["a"]).shape[1]]
    if dims[0] != dims[1]:
        raise CheckpointError(
            f"{path} makes vectors of {dims[0]} numbers, {other} of {dims[1]}: they are not two encoders of one model"
        )
    return replace(
        queries,
        document_model=documents.document_model,
        document_prompt=documents.document_prompt,
        notes=tuple(dict.fromkeys((*queries.notes, *(f"{other}: {note}" for note in documents.notes)))),
    )


def _half_of_dpr(loaded: LoadedModel) -> str:
    """What to say of one of DPR's two encoders that is alone; "" of all other models."""
    config = getattr(loaded.model.encoder, "config", None)
    if getattr(config, "model_type", None) != "dpr":
        return ""
    return "one of DPR's two encoders encodes queries and documents alike; name that of documents by --document-encoder"


def _precision(model: BiEncoder) -> str:
    """The type of the encoder's weights; a head may be kept in float32 beside it."""
    kinds = Counter(part.dtype for part in model.encoder.parameters() if part.is_floating_point())
    return str(kinds.most_common(1)[0][0] if kinds else torch.float32).removeprefix("torch.")


def _encode_of(model: BiEncoder, caches: list[CachedFeatures], *, wanted: bool) -> Encode:
    """The model's encode, with the features of its encoder looked up and kept where that pays."""
    if not wanted or isinstance(model.encoder, SELF_POOLING):
        return model.encode
    cached = CachedFeatures(model, default_cache_folder())
    caches.append(cached)
    return lambda texts: model.project(cached(texts))


def _origin(path: str, loaded: LoadedModel) -> dict[str, Any]:
    head = loaded.model.head
    is_as_long = loaded.document_model.max_length == loaded.model.max_length
    facts = {
        "checkpoint": path,
        "checkpoint_kind": loaded.origin.kind,
        "checkpoint_sha256": loaded.origin.sha256,
        "checkpoint_bytes": loaded.origin.size_bytes,
        "checkpoint_loss": loaded.origin.loss,
        "encoder": loaded.origin.encoder,
        "head_input": None if head is None else first_linear(head).in_features,
        "pooling": loaded.model.pooling,
        "similarity": loaded.similarity,
        "max_length": loaded.model.max_length,
        "document_max_length": None if is_as_long else loaded.document_model.max_length,
        "stripped_prefix": loaded.origin.stripped_prefix,
    }
    return {name: value for name, value in facts.items() if value not in (None, "", [])}
