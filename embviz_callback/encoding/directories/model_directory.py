"""What a model directory says of its model: towers, prompts, similarity; every key that changes vectors counts."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from embviz_callback.encoding.directories.backbone import Folder, Wanted, has_tokenizer, is_causal, read_transformer
from embviz_callback.encoding.directories.diagnoses import what_instead
from embviz_callback.encoding.directories.lora_folders import ADAPTER_SETTINGS, adapt, base_folder, is_adapter
from embviz_callback.encoding.directories.modules import Tower, read_modules, tower_of
from embviz_callback.encoding.models.biencoder import Backbone
from embviz_callback.encoding.weights.complaints import CheckpointError, short

# sentence-transformers looks for the prompt of a document under these names, in this order.
_DOCUMENT_PROMPTS = ("document", "passage", "corpus")
SIMILARITY_WORDS = {
    **dict.fromkeys(("cosine", "cos", "cos_sim", "cosine_similarity"), "cosine"),
    **dict.fromkeys(("dot", "dot_score", "dot_product", "inner_product", "ip"), "dot"),
    **dict.fromkeys(("euclidean", "l2"), "euclidean"),
    "manhattan": "manhattan",
}
_OTHER_HEADS = ("sparse_linear.pt", "colbert_linear.pt")


@dataclass(frozen=True, eq=False)
class ModelDirectory:
    """What a directory says about its model.

    Attributes:
        kind: "sentence-transformers" or "transformers".
        queries: What turns queries into vectors.
        documents: The same value, but for models of two towers.
        config: `similarity`, and `query_prompt`, `document_prompt` and `truncate_dim` where it has some.
        sha256: Over names and contents of all files that were used.
        size_bytes: Of those files.
        notes: What the reader should know.
    """

    kind: str
    queries: Tower
    documents: Tower
    config: Mapping[str, Any]
    sha256: str
    size_bytes: int
    notes: tuple[str, ...]


def read_directory(path: Path, wanted: Wanted | None = None) -> ModelDirectory:
    """The model in a directory, weights checked like those of any file.

    Args:
        path: Holds ``modules.json`` (sentence-transformers), ``config.json`` (transformers) or
            ``adapter_config.json`` (peft).
        wanted: What the user says of it.

    Returns:
        The model's parts.

    Raises:
        CheckpointError: If it holds none of them; the text says what it holds.
    """
    wanted = wanted or Wanted()
    if (path / "modules.json").is_file():
        return _sentence_transformers(path, wanted)
    if is_adapter(path):
        return _adapter(path, wanted)
    if (path / "config.json").is_file():
        return _transformers(path, wanted)
    raise CheckpointError(f"{path} is a directory, but no model: {what_instead(path)}")


def read_encoder(path: Path, wanted: Wanted) -> Backbone:
    """The encoder alone of a directory, for a head that is kept elsewhere.

    Args:
        path: As for `read_directory`.
        wanted: Likewise.

    Returns:
        Encoder and tokenizer.
    """
    return read_directory(path, replace(wanted, is_pooled=True)).queries.backbone


def _transformers(path: Path, wanted: Wanted) -> ModelDirectory:
    folder = Folder(path)
    config = folder.json(path / "config.json")
    if is_causal(config) and not wanted.is_pooled:
        raise CheckpointError(
            f"{path} is a language model, which does not say how its tokens become one vector; "
            "say it with --pooling (lasttoken for most embedding models made of one)"
        )
    backbone, notes = read_transformer(path, folder, wanted)
    # DPR's encoders are made to be read off their pooler and compared by products; for all others the folder says
    # nothing.
    is_dpr = config.get("model_type") == "dpr"
    tower = Tower(backbone, None, {"pooling": "pooler"} if is_dpr else {})
    similarity = {"similarity": "dot"} if is_dpr else {}
    return ModelDirectory("transformers", tower, tower, similarity, *folder.facts(), (*notes, *_other_heads(path)))


def _other_heads(path: Path) -> tuple[str, ...]:
    found = [name for name in _OTHER_HEADS if (path / name).is_file()]
    return (f"not evaluated: {', '.join(found)}, which make other vectors than the dense ones",) if found else ()


def _adapter(path: Path, wanted: Wanted) -> ModelDirectory:
    folder = Folder(path)
    facts = folder.json(path / ADAPTER_SETTINGS)
    place = base_folder(facts, path, wanted.base)
    tokenizer = str(path) if wanted.tokenizer is None and has_tokenizer(path, folder) else wanted.tokenizer
    found = read_directory(place, replace(wanted, base=None, tokenizer=tokenizer))
    unused = adapt(found.queries.backbone, facts, path, folder.weights)
    sha256, size = folder.facts()
    notes = [f"a LoRA adapter, merged into {place}", *found.notes]
    notes += [f"not used: {short(', '.join(unused))}"] if unused else []
    together = hashlib.sha256(f"{sha256} {found.sha256}".encode()).hexdigest()
    return replace(found, sha256=together, size_bytes=size + found.size_bytes, notes=tuple(notes))


def _sentence_transformers(path: Path, wanted: Wanted) -> ModelDirectory:
    folder = Folder(path)
    modules = read_modules(path, folder)
    queries, notes = tower_of(modules, "query", folder, wanted)
    is_one = modules["query"] == modules["document"]
    documents, more = (queries, notes) if is_one else tower_of(modules, "document", folder, wanted)
    config = _settings(path, folder)
    found = (*notes, *more, *config.pop("notes"), *_other_heads(path))
    return ModelDirectory(
        "sentence-transformers", queries, documents, config, *folder.facts(), tuple(dict.fromkeys(found))
    )


def _settings(path: Path, folder: Folder) -> dict[str, Any]:
    """Prompts, truncated dims and similarity of ``config_sentence_transformers.json``."""
    place = path / "config_sentence_transformers.json"
    facts = folder.json(place) if place.is_file() else {}
    found: dict[str, Any] = {**_prompts(facts), "notes": []}
    dim = facts.get("truncate_dim")
    if isinstance(dim, int) and not isinstance(dim, bool) and dim > 0:
        found["truncate_dim"] = dim
    named = facts.get("similarity_fn_name")
    if named is not None and str(named) not in SIMILARITY_WORDS:
        found["notes"].append(f"its similarity {short(str(named))} is not known here, so that cosine is used")
    similarity = SIMILARITY_WORDS.get(str(named), "cosine")
    if similarity != "cosine":
        found["similarity"] = similarity
    return found


def _prompts(facts: Mapping[str, Any]) -> dict[str, str]:
    listed = facts.get("prompts")
    prompts = {name: text for name, text in listed.items() if isinstance(text, str)} if isinstance(listed, dict) else {}
    default = prompts.get(str(facts.get("default_prompt_name")), "")
    documents = next((prompts[name] for name in _DOCUMENT_PROMPTS if name in prompts), default)
    found = {"query_prompt": prompts.get("query", default), "document_prompt": documents}
    return {name: text for name, text in found.items() if text}
