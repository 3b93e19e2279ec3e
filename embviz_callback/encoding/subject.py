"""A model as somebody holds it, with one way to turn query texts and document texts into vectors."""

import inspect
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Self

from torch import nn

from embviz_callback.measure import COSINE

if TYPE_CHECKING:
    from embviz_callback.encoding.distributed.shared_corpus import Ranks

Encode = Callable[[list[str]], Any]
# As sentence-transformers calls them, and as FlagEmbedding, BEIR and MTEB do.
_QUERY_WAYS = ("encode_query", "encode_queries", "encode_question", "encode_questions")
_DOCUMENT_WAYS = (
    *("encode_document", "encode_documents", "encode_corpus", "encode_passage", "encode_passages"),
    *("encode_doc", "encode_docs", "encode_context"),
)
# By these an `encode` is told which side it encodes.
_SIDE_ARGUMENTS = ("is_query", "is_queries", "prompt_type", "prompt_name", "input_type", "task", "task_type", "side")
EncodeWith = Callable[[Any, list[str]], Any]
GivenEncode = EncodeWith | tuple[EncodeWith, EncodeWith] | None  # one for both sides, one for each, the model's own


@dataclass(frozen=True)
class Side:
    """How the texts of one side, queries or documents, become vectors.

    Attributes:
        encode: Takes a list of ``n`` texts and gives ``(n, dim)``, a tensor of any float type on any device, or
            an array.
        prompt: Put before each text; "" for none, or where `encode` adds its own.
        own_prompt: What `encode` is known to add itself.
    """

    encode: Encode
    prompt: str = ""
    own_prompt: str = ""


@dataclass(frozen=True, eq=False)
class Subject:
    """The model to look at.

    Attributes:
        module: Is put into eval mode meanwhile.
        queries: How queries are encoded.
        documents: How documents, hard negatives and the texts of a corpus are.
        origin: Where the model was read from, plain JSON; empty for one in training.
        facts: Gives what the report says of model, device and versions, plain JSON.
        trainer: A Lightning trainer, whose precision applies; None for the module's own.
        can_halve: Smaller batches may be tried when memory runs out.
        wrapper: What the trainer calls instead of the module, which may shard its weights; None for the module.
        ranks: Among which a corpus is shared out; None for all of it on every rank.
        after: Called when all texts are encoded, or when that has failed.
        notes: Sentences on what the model does not say of itself and was assumed, or was left aside.
        similarity: By which it compares queries with documents, one of `embviz_callback.measure.SIMILARITIES`.
        truncated_share: Of queries and documents, prompts left out, the share that is longer than what is read of
            them; None where nobody knows.
    """

    module: nn.Module
    queries: Side
    documents: Side
    origin: Mapping[str, Any] = field(default_factory=dict)
    facts: Callable[[], Mapping[str, Any]] = dict
    trainer: Any = None
    can_halve: bool = True
    wrapper: Any = None
    ranks: "Ranks | None" = None
    after: Callable[[], None] = lambda: None
    notes: tuple[str, ...] = ()
    similarity: str = COSINE
    truncated_share: Callable[[Sequence[str], Sequence[str]], float] | None = None

    @property
    def is_one_way(self) -> bool:
        """Whether one function encodes both sides, so that a text of both needs to be encoded only once."""
        return bool(self.queries.encode == self.documents.encode)

    def called_by(self, call: Callable[[Encode], Encode]) -> Self:
        """The same model, each of its functions called in another way."""
        queries = replace(self.queries, encode=call(self.queries.encode))
        encode = queries.encode if self.is_one_way else call(self.documents.encode)
        return replace(self, queries=queries, documents=replace(self.documents, encode=encode))


def sides_of(
    model: Any,
    encode: GivenEncode = None,
    *,
    query_prompt: str | None = None,
    document_prompt: str | None = None,
) -> tuple[Side, Side]:
    """How a model encodes queries and documents.

    Args:
        model: With ``encode_query(texts)`` and ``encode_document(texts)``, or what FlagEmbedding and BEIR call these,
            or ``encode(texts)``; anything where `encode` is given.
        encode: Takes the model and ``n`` texts and gives ``(n, dim)``, one for both sides or a pair of them.
        query_prompt: Put before each query, also where the function adds one of its own; None for nothing.
        document_prompt: Put before each document, likewise.

    Returns:
        The queries' side and the documents'; a TypeError says if there is no way to encode.
    """
    for_queries, for_documents = _ways(model, encode)
    return Side(for_queries, query_prompt or ""), Side(for_documents, document_prompt or "")


def late_sides_of(model: Any, encode: GivenEncode = None, **prompts: str | None) -> tuple[Side, Side]:
    """As `sides_of`, of a model that may have lost its way to encode since it was last asked.

    What the look-up raises (a property may raise anything) is raised by the first call instead: inside the guard, and
    where every rank expects it.

    Args:
        model: As for `sides_of`.
        encode: Likewise.
        prompts: Likewise.

    Returns:
        The queries' side and the documents'.
    """
    try:
        return sides_of(model, encode, **prompts)
    except BaseException as error:  # noqa: BLE001
        failing = partial(_raise, error)
        return Side(failing), Side(failing)


def _raise(error: BaseException, texts: list[str]) -> Any:
    raise error


def _ways(model: Any, encode: GivenEncode) -> tuple[Encode, Encode]:
    if isinstance(encode, tuple | list):  # a list is what YAML knows
        if len(encode) != 2 or not all(map(callable, encode)):
            raise TypeError("encode must be a function or a pair of them, one for queries and one for documents")
        for_queries = partial(encode[0], model)
        return for_queries, for_queries if encode[0] == encode[1] else partial(encode[1], model)
    if encode is not None:
        given = partial(encode, model)
        return given, given
    own = [_method(model, (*names, "encode")) for names in (_QUERY_WAYS, _DOCUMENT_WAYS)]
    if own[0] is not None and own[1] is not None:
        return own[0], own[1]
    raise TypeError(
        f"{type(model).__name__} has no method encode(texts); give encode=, a function that takes the model and a list "
        "of texts and returns a tensor of shape (len(texts), dim), or what embviz_callback.text_encoder makes of a "
        "tokenizer"
    )


def _method(model: Any, names: Sequence[str]) -> Encode | None:
    return next((found for name in names if callable(found := getattr(model, name, None))), None)


def prompts_in(prompts: Mapping[str, Any], default: object) -> dict[str, str]:
    """What sentence-transformers puts before queries and documents.

    Args:
        prompts: Name to text, as a model has them; what is no text counts as none.
        default: Name of the one for whatever has no own.

    Returns:
        ``query_prompt`` and ``document_prompt``, "" for none.
    """
    known = {name: text for name, text in prompts.items() if isinstance(text, str)}
    fallback = known.get(str(default), "")
    # It looks for the prompt of a document under these names, in this order.
    document = next((known[name] for name in ("document", "passage", "corpus") if name in known), fallback)
    return {"query_prompt": known.get("query", fallback), "document_prompt": document}


_OFTEN = 0.5  # of texts that begin like a prompt, from which on it is no chance


def notes_on_prompts(subject: Subject, queries: Sequence[str], documents: Sequence[str]) -> tuple[str, ...]:
    """What to say of texts that bring the prompt which the model puts before them once more.

    Args:
        subject: The model.
        queries: Without prompts.
        documents: Likewise.

    Returns:
        A sentence for each side that has such texts.
    """
    sides = (("queries", subject.queries, queries), ("documents", subject.documents, documents))
    return tuple(
        f"{n_doubled:,} of {len(texts):,} {name} begin with {prompt!r} already, which is put before them once more"
        for name, side, texts in sides
        if (prompt := (side.prompt or side.own_prompt).strip())
        and (n_doubled := sum(text.lstrip().startswith(prompt) for text in texts)) > _OFTEN * len(texts)
    )


def _arguments(encode: Encode) -> Collection[str]:
    try:
        return inspect.signature(encode).parameters
    except (TypeError, ValueError):  # of functions that are no Python
        return ()


_QUERY_TOWERS = ("query", "question")
_DOCUMENT_TOWERS = ("document", "doc", "passage", "context", "ctx", "item")


def notes_on_towers(module: Any, queries: Side, documents: Side) -> tuple[str, ...]:
    """What to say of a module that seems to tell the sides apart while one function encodes both.

    Args:
        module: The model.
        queries: How its queries are encoded.
        documents: How its documents are.

    Returns:
        One sentence, or none.
    """
    if queries.encode != documents.encode:
        return ()
    if asked := [name for name in _SIDE_ARGUMENTS if name in _arguments(queries.encode)]:
        return (
            f"encode of {type(module).__name__} takes {asked[0]}, which is not given; if queries and documents are "
            "told apart by it, give encode_query and encode_document, or encode= a pair of functions",
        )
    names = [name for name, _ in getattr(module, "named_children", tuple)()]
    of_queries = next((name for name in names if name.lower().startswith(_QUERY_TOWERS)), None)
    of_documents = next((name for name in names if name.lower().startswith(_DOCUMENT_TOWERS)), None)
    if of_queries is None or of_documents is None:
        return ()
    return (
        f"{type(module).__name__} holds {of_queries} and {of_documents}, but one function encodes queries and "
        "documents alike; if they are served by two, give it encode_query and encode_document, or encode= a pair of "
        "functions",
    )
