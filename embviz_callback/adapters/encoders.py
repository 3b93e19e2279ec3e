"""How a trainer's model turns texts into vectors, and what a report says of it."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from embviz_callback.delivery.provenance import versions
from embviz_callback.encoding.distributed.shared_corpus import Ranks
from embviz_callback.encoding.models.biencoder import count_longer
from embviz_callback.encoding.subject import (
    Encode,
    GivenEncode,
    Side,
    Subject,
    late_sides_of,
    notes_on_towers,
    prompts_in,
    sides_of,
)
from embviz_callback.encoding.text_encoder import truncated_share_of
from embviz_callback.measure import COSINE
from embviz_callback.settings import SIMILARITIES, Settings

_PACKAGES = ("torch", "transformers", "sentence-transformers", "numpy")
# The columns of pairs by the names that sentence-transformers' documentation gives them.
_QUERY_COLUMNS = ("query", "anchor", "question", "sentence1", "premise")
_DOCUMENT_COLUMNS = ("pos", "positive", "answer", "document", "passage", "sentence2", "hypothesis", "response")
_LIBRARY = "sentence_transformers."
_WRAPPERS = ("DistributedDataParallel", "FullyShardedDataParallel", "DataParallel")


def subject_of(
    model: Any,
    settings: Settings,
    encode: GivenEncode = None,
    *,
    trained_with: "Prompts | None" = None,
    autocast: torch.dtype | None = None,
    can_halve: bool = True,
    is_late: bool = False,
    is_shared: bool = False,
    **facts: Any,
) -> Subject:
    """A model that a trainer holds; a TypeError says if there is no way to encode.

    Args:
        model: A SentenceTransformer, or any module, also wrapped for several ranks.
        settings: Of the evaluation; its prompts go before all others.
        encode: See `sides_of`; None for the model's own way.
        trained_with: The prompts that the trainer puts before texts, which go before the model's own.
        autocast: Of a training in mixed precision.
        can_halve: See `Subject`.
        is_late: What looking for the model's functions raises is left to their first call, which is guarded.
        is_shared: All ranks of torch.distributed look at it together, and share a corpus out.
        facts: What else the report says, plain JSON.

    Returns:
        The subject.
    """
    inner = inner_model(model)
    # What is no module, such as FlagEmbedding's models, has no mode and no weights to be kept as they are.
    module = inner if isinstance(inner, torch.nn.Module) else torch.nn.Module()

    def tell() -> dict[str, Any]:
        return {
            "model": type(inner).__name__,
            "device": f"{_device(model if module is inner else module)}",
            **facts,
            "versions": versions(*_PACKAGES),
        }

    prompts = Prompts(settings.query_prompt, settings.document_prompt).or_else(trained_with)
    is_served = encode is None and _is_sentence_transformer(inner)
    if is_served:
        queries, documents = _sides_of_sentence_transformer(inner, prompts)
        facts |= _served_prompts(inner, prompts)
    else:
        ways = late_sides_of if is_late else sides_of
        queries, documents = ways(inner, encode, query_prompt=prompts.query, document_prompt=prompts.document)
    subject = Subject(
        module,
        queries,
        documents,
        facts=tell,
        can_halve=can_halve,
        wrapper=model if module is inner else None,
        ranks=Ranks.of_launcher() if is_shared else None,
        notes=notes_on_towers(inner, queries, documents),
        similarity=_declared_similarity(inner),
        truncated_share=partial(_truncated_share, inner) if is_served else truncated_share_of(encode),
    )
    if autocast is None:
        return subject
    # Set by the trainer around the forward pass alone, where an encode of other ways than that never comes by.
    return subject.called_by(lambda way: partial(_encode_under, autocast, inner, way))


def inner_model(model: Any) -> Any:
    """The model inside what a trainer wraps around it for several ranks, or compiles."""
    while type(model).__name__ in _WRAPPERS:
        model = model.module
    return getattr(model, "_orig_mod", model)


def _encode_under(dtype: torch.dtype, model: Any, encode: Encode, texts: list[str]) -> Any:
    with torch.autocast(torch.device(_device(model)).type, dtype=dtype):
        return encode(texts)


@dataclass(frozen=True)
class Prompts:
    """What is put before texts; None leaves it to somebody else.

    Attributes:
        query: Before queries.
        document: Before documents.
    """

    query: str | None = None
    document: str | None = None

    def or_else(self, other: "Prompts | None") -> "Prompts":
        """These, and where they leave a side open that of another."""
        if other is None:
            return self
        return Prompts(
            other.query if self.query is None else self.query,
            other.document if self.document is None else self.document,
        )


def prompts_of(arguments: Any) -> Prompts | None:
    """The prompts that a SentenceTransformerTrainer trains with: one for all, or by column.

    Args:
        arguments: Of the trainer; those of transformers' own have none.

    Returns:
        What is put before queries and documents; None where nothing is, or where each data set has its own.
    """
    given = getattr(arguments, "prompts", None)
    if isinstance(given, str):
        return Prompts(given, given)
    if not isinstance(given, Mapping):
        return None
    if len(given) == 1 and isinstance(only := next(iter(given.values())), Mapping):
        given = only  # of the only data set
    by_column = {name: text for name, text in given.items() if isinstance(text, str)}
    query = next((by_column[name] for name in _QUERY_COLUMNS if name in by_column), None)
    document = next((by_column[name] for name in _DOCUMENT_COLUMNS if name in by_column), None)
    return None if query is None and document is None else Prompts(query or "", document or "")


def _sides_of_sentence_transformer(model: Any, prompts: Prompts) -> tuple[Side, Side]:
    """Its own serving functions: routes, prompts, truncated dimensions and pooling are the model's business.

    A prompt is handed over by name and not joined to the text, since some poolings leave its tokens out.

    Returns:
        The queries' side and the documents', one and the same function where that makes no difference.
    """
    for_queries = partial(_encode_served, model, "encode_query", prompts.query)
    own = _served_prompts(model, prompts)
    query_prompt, document_prompt = own.get("query_prompt", ""), own.get("document_prompt", "")
    for_documents = partial(_encode_served, model, "encode_document", prompts.document)
    if query_prompt == document_prompt and not _tells_sides_apart(model):
        for_documents = for_queries  # one function, so that a text of both sides is encoded once
    return Side(for_queries, own_prompt=query_prompt), Side(for_documents, own_prompt=document_prompt)


def _encode_served(model: Any, name: str, prompt: str | None, texts: list[str]) -> Any:
    with _ordinary_tensors(model):
        options = {"batch_size": len(texts), "convert_to_tensor": True, "show_progress_bar": False}
        return getattr(model, name)(texts, prompt=prompt, **options)


def _tells_sides_apart(model: Any) -> bool:
    """Whether equal prompts do not make both sides one: by routes, by modules or functions of somebody's own."""
    library = sys.modules["sentence_transformers"].SentenceTransformer
    ways = ("encode", "encode_query", "encode_document")
    if any(name in vars(model) or getattr(type(model), name) is not getattr(library, name) for name in ways):
        return True
    kinds = [type(part) for part in model.children()]
    # A module from elsewhere may ask which task it serves.
    return any(kind.__name__ in ("Router", "Asym") or not kind.__module__.startswith(_LIBRARY) for kind in kinds)


def _served_prompts(model: Any, given: Prompts) -> dict[str, str]:
    """What is put before texts, as the report names it; nothing of a side that has no prompt."""
    own = prompts_in(model.prompts or {}, model.default_prompt_name)
    said = {"query_prompt": given.query, "document_prompt": given.document}
    found = own | {name: text for name, text in said.items() if text is not None}
    return {name: text for name, text in found.items() if text}


def _declared_similarity(model: Any) -> str:
    """Asked of the field: the property would write "cosine" into a model that declares none."""
    named = str(getattr(model, "_similarity_fn_name", None))
    return named if named in SIMILARITIES else COSINE


def _truncated_share(model: Any, queries: Sequence[str], documents: Sequence[str]) -> float:
    """Of a SentenceTransformer; 0 where it does not say what it reads, as one of static embeddings."""
    try:
        tokenizer, limit = model.tokenizer, model.max_seq_length
    except AttributeError:
        return 0.0
    if not isinstance(limit, int) or not callable(tokenizer):
        return 0.0
    texts = [*queries, *documents]
    return count_longer(tokenizer, texts, limit) / max(1, len(texts))


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
