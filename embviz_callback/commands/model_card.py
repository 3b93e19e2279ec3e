"""The README.md of an exported model."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from embviz_callback.drawing.reports.markdown import literal, table

if TYPE_CHECKING:
    from embviz_callback.encoding.checkpoints.loading import LoadedModel

_HEADLINES = ("margin", "separation", "rank1")
# What a reader compares models by comes first; whatever else was measured follows in the file's order.
_LEFT_OUT = ("_optimistic", "_pessimistic")
_TITLES = {"tsne_projection.png": "t-SNE", "umap_projection.png": "UMAP"}
_FRONT = ["library_name: sentence-transformers", "pipeline_tag: sentence-similarity"]


def model_card(
    loaded: "LoadedModel", name: str, metrics: Mapping[str, Any] | None, pictures: Sequence[str] = ()
) -> str:
    """What the model is, how to load it, and what it was measured at.

    Args:
        loaded: The model.
        name: Of the directory.
        metrics: Content of the runner's ``metrics.json``; None leaves the evaluation out.
        pictures: Names of the maps that stand beside the card.

    Returns:
        Markdown with a front matter for the hub.
    """
    lines = ["---", *_FRONT, "tags:", "- sentence-transformers", "- feature-extraction", "---", ""]
    lines += [f"# {literal(name)}", "", *table(("", ""), _facts(loaded)), *_usage(loaded, name)]
    if metrics is not None:
        lines += _evaluation(metrics)
    for picture in pictures:
        lines += [f"![Map of the evaluation's embeddings, {_TITLES.get(picture, picture)}]({picture})", ""]
    return "\n".join(lines).rstrip() + "\n"


def _facts(loaded: "LoadedModel") -> list[tuple[str, str]]:
    model = loaded.model
    head = model.head
    encoder = Path(loaded.encoder).name if Path(loaded.encoder).expanduser().exists() else loaded.encoder
    rows = [
        ("Base encoder", literal(encoder)),
        ("Features of the encoder", str(model.backbone.dim)),
        ("Dimensions", str(model.backbone.dim if head is None else head.linear.out_features)),
        ("Pooling", model.pooling),
        ("Head", "none" if head is None else "linear" if head.ln is None else "linear with layer norm"),
        ("Tokens per text", str(model.max_length)),
        ("Unit length", "yes" if model.normalise else "no"),
    ]
    if loaded.epoch is not None:
        rows.append(("Epoch", str(loaded.epoch)))
    return [*rows, ("SHA-256 of the checkpoint", loaded.sha256)]


def _usage(loaded: "LoadedModel", name: str) -> list[str]:
    from embviz_callback.encoding.checkpoints.export import prompts_of

    how = ("encode_query", "encode_document") if prompts_of(loaded.config) else ("encode", "encode")
    return [
        "## How to load it",
        "",
        "```python",
        "from sentence_transformers import SentenceTransformer",
        "",
        f"model = SentenceTransformer({name!r})",
        f'queries = model.{how[0]}(["..."])',
        f'documents = model.{how[1]}(["..."])',
        "scores = model.similarity(queries, documents)",
        "```",
        "",
    ]


def _evaluation(content: Mapping[str, Any]) -> list[str]:
    values, intervals = content["metrics"], content.get("intervals", {})
    others = [name for name in values if name not in _HEADLINES and not name.endswith(_LEFT_OUT)]
    shown = [name for name in (*_HEADLINES, *others) if isinstance(values.get(name), int | float)]
    rows = [(name, _number(values[name]), _interval(intervals.get(name))) for name in shown]
    corpus = f" + {content['n_corpus']:,} of a corpus" if content.get("n_corpus") else ""
    lines = [
        "## Evaluation",
        "",
        f"{content.get('n_queries', '?')} queries, {content.get('n_documents', '?')} documents"
        f"{corpus}, "
        f"subset {literal(str(content.get('fingerprint', '?')))}.",
        "",
        *table(("metric", "value", "95 % interval"), rows),
    ]
    checks = content.get("checklist") or []
    answers = {True: "passed", False: "failed", None: "not judged"}
    judged = [(literal(str(item["name"])), answers[item["passed"]], literal(str(item["reason"]))) for item in checks]
    return [*lines, *table(("check", "", "reason"), judged)] if judged else lines


def _number(value: Any) -> str:
    return f"{value:.4f}" if isinstance(value, int | float) else "-"


def _interval(ends: Any) -> str:
    return f"{_number(ends[0])} to {_number(ends[1])}" if isinstance(ends, list) and len(ends) == 2 else "-"
