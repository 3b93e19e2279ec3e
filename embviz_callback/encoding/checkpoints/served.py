"""A checkpoint as the subject of an evaluation."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from embviz_callback.encoding.cache.cached_features import CachedFeatures
from embviz_callback.encoding.cache.feature_store import default_cache_folder
from embviz_callback.encoding.checkpoints.loading import LoadedModel, load_checkpoint
from embviz_callback.encoding.models.biencoder import SELF_POOLING, BiEncoder
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
        tokenizer: Name or path of another tokenizer than the encoder's own.
        dtype: Of the encoder's weights, "auto" for that of the checkpoint.
        prefix: Where several encoders fit a file, what stands before the names of the one that is meant.
        head_activation: What stands between the layers of a head.
        lora_alpha: Of LoRA weights in a file that does not say it.
        cache: Keep the encoder's features, and take those that an earlier run kept.
    """

    encoder: str | None = None
    device: str = "cpu"
    pooling: str | None = None
    max_length: int | None = None
    query_prompt: str | None = None
    document_prompt: str | None = None
    tokenizer: str | None = None
    dtype: str = "float32"
    prefix: str | None = None
    head_activation: str | None = None
    lora_alpha: float | None = None
    cache: bool = True


@dataclass(frozen=True, eq=False)
class Served:
    """A checkpoint, ready to be looked at.

    Attributes:
        subject: The model.
        epoch: In which it was saved; None where it does not say.
        truncated_share: Of queries and documents, the share that is longer than what is read of them.
    """

    subject: Subject
    epoch: int | None
    truncated_share: Callable[[Sequence[str], Sequence[str]], float]


def serve_checkpoint(path: str, serving: Serving, facts: Callable[[], Mapping[str, Any]]) -> Served:
    """Loads a checkpoint.

    Args:
        path: Of any form that `load_checkpoint` reads; a `CheckpointError` says what is wrong with it.
        serving: What the user says.
        facts: About device and versions, for the report.

    Returns:
        The model as it is served.
    """
    options = {name: value for name, value in vars(serving).items() if name != "cache"}
    loaded = load_checkpoint(path, **options)
    queries, after_queries = _encode_of(loaded.model, wanted=serving.cache)
    documents, after_documents = queries, _nothing
    modules: Any = loaded.model
    if loaded.document_model is not loaded.model:
        documents, after_documents = _encode_of(loaded.document_model, wanted=serving.cache)
        modules = nn.ModuleList([loaded.model, loaded.document_model])

    def after() -> None:
        after_queries()
        after_documents()

    subject = Subject(
        modules,
        Side(queries, loaded.query_prompt),
        Side(documents, loaded.document_prompt),
        origin=_origin(path, loaded),
        facts=facts,
        after=after,
        notes=loaded.notes,
        similarity=loaded.similarity,
    )
    return Served(subject, loaded.epoch, loaded.truncated_share)


def _encode_of(model: BiEncoder, *, wanted: bool) -> tuple[Encode, Callable[[], None]]:
    """The model's encode, with the features of its encoder looked up and kept where that pays, and what ends it."""
    if not wanted or isinstance(model.encoder, SELF_POOLING):
        return model.encode, _nothing
    cached = CachedFeatures(model, default_cache_folder())
    return (lambda texts: model.project(cached(texts))), cached.flush


def _nothing() -> None:
    return


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
        "similarity": loaded.similarity,
        "max_length": loaded.model.max_length,
        "stripped_prefix": loaded.stripped_prefix,
        "notes": list(loaded.notes),
    }
    return {name: value for name, value in facts.items() if value not in (None, "", [])}
