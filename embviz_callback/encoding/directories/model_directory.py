"""What a model directory says of its model: towers, prompts, similarity; every key that changes vectors counts."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from embviz_callback.encoding.directories.backbone import Folder, adapt, is_adapter, on_base, read_transformer
from embviz_callback.encoding.directories.diagnoses import what_instead
from embviz_callback.encoding.directories.modules import Tower, read_modules, tower_of
from embviz_callback.encoding.models.biencoder import Backbone
from embviz_callback.encoding.serving import Serving
from embviz_callback.encoding.subject import prompts_in
from embviz_callback.encoding.weights.complaints import CheckpointError, short

SIMILARITY_WORDS = {
    **dict.fromkeys(("cosine", "cos", "cos_sim", "cosine_similarity"), "cosine"),
    **dict.fromkeys(("dot", "dot_score", "dot_product", "inner_product", "ip"), "dot"),
    **dict.fromkeys(("euclidean", "l2"), "euclidean"),
    "manhattan": "manhattan",
}
_OTHER_HEADS = ("sparse_linear.pt", "colbert_linear.pt")


@dataclass(frozen=True)
class Origin:
    """Where a model was read from.

    Attributes:
        kind: "Lightning checkpoint", "training checkpoint", "state dict", "head", "sentence-transformers"
            or "transformers".
        sha256: Of the file, or of names and contents of the files used of a directory.
        size_bytes: Of the same.
        encoder: Name or path of the encoder.
        epoch: As noted in the checkpoint, or None.
        loss: Likewise.
        stripped_prefix: What stood before the names of the weights.
    """

    kind: str
    sha256: str
    size_bytes: int
    encoder: str
    epoch: int | None = None
    loss: float | None = None
    stripped_prefix: str = ""


@dataclass(frozen=True, eq=False)
class ReadModel:
    """What a file or directory holds, and what it says about it.

    Attributes:
        origin: Where it was read from.
        queries: What turns queries into vectors.
        documents: The same value, but for models of two towers.
        config: Its settings under our names: `similarity`, `query_prompt`, `document_prompt`, `truncate_dim` and so
            on where it has some; those that a tower has of its own stand there.
        notes: What the reader should know, one sentence each.
    """

    origin: Origin
    queries: Tower
    documents: Tower
    config: Mapping[str, Any]
    notes: tuple[str, ...]


def read_directory(path: Path, serving: Serving) -> ReadModel:
    """The model in a directory, weights checked like those of any file.

    Args:
        path: Holds ``modules.json`` (sentence-transformers), ``config.json`` (transformers) or
            ``adapter_config.json`` (peft).
        serving: What the user says of it.

    Returns:
        The model's parts.

    Raises:
        CheckpointError: If it holds none of them; the text says what it holds.
    """
    if (path / "modules.json").is_file():
        return _sentence_transformers(path, serving)
    if is_adapter(path):
        return _adapter(path, serving)
    if (path / "config.json").is_file():
        return _transformers(path, serving)
    raise CheckpointError(f"{path} is a directory, but no model: {what_instead(path)}")


def read_encoder(path: Path, serving: Serving) -> Backbone:
    """The encoder alone of a directory, for a head that is kept elsewhere.

    Args:
        path: As for `read_directory`.
        serving: Likewise; how it pools is said elsewhere.

    Returns:
        Encoder and tokenizer.
    """
    return read_directory(path, replace(serving, encoder=None, pooling="mean")).queries.backbone


def _transformers(path: Path, serving: Serving) -> ReadModel:
    folder = Folder(path)
    config = folder.json(path / "config.json")
    if _is_causal(config) and serving.pooling is None:
        raise CheckpointError(
            f"{path} is a language model, which does not say how its tokens become one vector; "
            "say it with --pooling (lasttoken for most embedding models made of one)"
        )
    backbone, notes = read_transformer(path, folder, serving)
    # DPR's encoders are made to be read off their pooler and compared by products; for all others the folder says
    # nothing.
    is_dpr = config.get("model_type") == "dpr"
    tower = Tower(backbone, None, {"pooling": "pooler"} if is_dpr else {})
    similarity = {"similarity": "dot"} if is_dpr else {}
    origin = Origin("transformers", *folder.facts(), str(path))
    return ReadModel(origin, tower, tower, similarity, (*notes, *_other_heads(path)))


def _is_causal(config: Mapping[str, Any]) -> bool:
    """Whether a configuration is that of a language model that reads from left to right."""
    from transformers.models.auto.modeling_auto import (
        MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
        MODEL_FOR_MASKED_LM_MAPPING_NAMES,
    )

    kind = config.get("model_type")
    if not isinstance(kind, str):  # refused when it is built
        return False
    is_both_ways = kind in MODEL_FOR_MASKED_LM_MAPPING_NAMES or config.get("is_encoder_decoder") is True
    return kind in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES and not is_both_ways


def _other_heads(path: Path) -> tuple[str, ...]:
    found = [name for name in _OTHER_HEADS if (path / name).is_file()]
    return (f"not evaluated: {', '.join(found)}, which make other vectors than the dense ones",) if found else ()


def _adapter(path: Path, serving: Serving) -> ReadModel:
    folder = Folder(path)
    facts, place, of_base = on_base(path, folder, serving)
    found = read_directory(place, of_base)
    more = adapt(found.queries.backbone, facts, path, folder)
    sha256, size = folder.facts()
    notes = (f"a LoRA adapter, merged into {place}", *found.notes, *more)
    together = hashlib.sha256(f"{sha256} {found.origin.sha256}".encode()).hexdigest()
    size_bytes = size + found.origin.size_bytes
    origin = replace(found.origin, sha256=together, size_bytes=size_bytes, encoder=str(path))
    return replace(found, origin=origin, notes=notes)


def _sentence_transformers(path: Path, serving: Serving) -> ReadModel:
    folder = Folder(path)
    modules = read_modules(path, folder)
    queries, notes = tower_of(modules, "query", folder, serving)
    is_one = modules["query"] == modules["document"]
    documents, more = (queries, notes) if is_one else tower_of(modules, "document", folder, serving)
    place = path / "config_sentence_transformers.json"
    facts = folder.json(place) if place.is_file() else {}
    notes = (*notes, *more, *_unknown_similarity(facts), *_other_heads(path))
    origin = Origin("sentence-transformers", *folder.facts(), str(path))
    return ReadModel(origin, queries, documents, _settings(facts), tuple(dict.fromkeys(notes)))


def _settings(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Prompts, truncated dims and similarity of ``config_sentence_transformers.json``."""
    listed = facts.get("prompts")
    prompts = prompts_in(listed if isinstance(listed, dict) else {}, facts.get("default_prompt_name"))
    found: dict[str, Any] = {name: text for name, text in prompts.items() if text}
    dim = facts.get("truncate_dim")
    if isinstance(dim, int) and not isinstance(dim, bool) and dim > 0:
        found["truncate_dim"] = dim
    similarity = SIMILARITY_WORDS.get(str(facts.get("similarity_fn_name")), "cosine")
    return found | ({"similarity": similarity} if similarity != "cosine" else {})


def _unknown_similarity(facts: Mapping[str, Any]) -> tuple[str, ...]:
    named = facts.get("similarity_fn_name")
    if named is None or str(named) in SIMILARITY_WORDS:
        return ()
    return (f"its similarity {short(str(named))} is not known here, so that cosine is used",)
