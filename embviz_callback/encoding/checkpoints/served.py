"""A checkpoint as the subject of an evaluation."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from embviz_callback.encoding.cache.cached_features import CachedFeatures
from embviz_callback.encoding.cache.feature_store import default_cache_folder
from embviz_callback.encoding.checkpoints.loading import LoadedModel, load_checkpoint
from embviz_callback.encoding.models.biencoder import SELF_POOLING
from embviz_callback.encoding.subject import Encode, Side, Subject


@dataclass(frozen=True)
class Serving:
    """What a user says of a checkpoint that it does not say of itself, or says otherwise.

    Attributes:
        encoder: Where the checkpoint does not name one, or another than it names.
        device: As torch calls it.
        pooling: None for what the checkpoint says.
        max_length: Likewise, in tokens.
        query_prompt: Likewise; "" for none.
        document_prompt: Likewise.
        cache: Keep the encoder's features, and take those that an earlier run kept.
    """

    encoder: str | None = None
    device: str = "cpu"
    pooling: str | None = None
    max_length: int | None = None
    query_prompt: str | None = None
    document_prompt: str | None = None
    cache: bool = True


@dataclass(frozen=True, eq=False)
class Served:
    """A checkpoint, ready to be looked at.

    Attributes:
        subject: The model.
        epoch: In which it was saved; None where it does not say.
    """

    subject: Subject
    epoch: int | None


def serve_checkpoint(path: str, serving: Serving, facts: Callable[[], Mapping[str, Any]]) -> Served:
    """Loads a checkpoint.

    Args:
        path: Of any form that `load_checkpoint` reads; a `CheckpointError` says what is wrong with it.
        serving: What the user says.
        facts: About device and versions, for the report.

    Returns:
        The model as it is served.
    """
    loaded = load_checkpoint(
        path,
        encoder=serving.encoder,
        device=serving.device,
        pooling=serving.pooling,
        max_length=serving.max_length,
    )
    encode, after = _encode_of(loaded, wanted=serving.cache)
    subject = Subject(
        loaded.model,
        Side(encode, _prompt(serving.query_prompt, loaded.config.get("query_prompt"))),
        Side(encode, _prompt(serving.document_prompt, loaded.config.get("document_prompt"))),
        origin=_origin(path, loaded),
        facts=facts,
        after=after,
        notes=tuple(loaded.notes),
    )
    return Served(subject, loaded.epoch)


def _encode_of(loaded: LoadedModel, *, wanted: bool) -> tuple[Encode, Callable[[], None]]:
    """The model's encode, with the features of its encoder looked up and kept where that pays, and what ends it."""
    model = loaded.model
    if not wanted or isinstance(model.encoder, SELF_POOLING):
        return model.encode, _nothing
    cached = CachedFeatures(model, default_cache_folder())
    return (lambda texts: model.project(cached(texts))), cached.flush


def _nothing() -> None:
    return


def _prompt(given: str | None, noted: object) -> str:
    if given is not None:
        return given
    return noted if isinstance(noted, str) else ""


def _origin(path: str, loaded: LoadedModel) -> dict[str, Any]:
    head = loaded.model.head
    facts = {
        "checkpoint": path,
        "checkpoint_kind": loaded.kind,
        "checkpoint_sha256": loaded.sha256,
        "checkpoint_bytes": loaded.size_bytes,
        "checkpoint_loss": loaded.loss,
        "encoder": loaded.encoder,
        "head_input": None if head is None else head.linear.in_features,
        "pooling": loaded.model.pooling,
        "max_length": loaded.model.max_length,
        "stripped_prefix": loaded.stripped_prefix,
        "notes": list(loaded.notes),
    }
    return {name: value for name, value in facts.items() if value not in (None, "", [])}
