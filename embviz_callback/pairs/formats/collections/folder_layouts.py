"""Where the parts of a collection lie in a folder, one layout for each form."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

_TABLE = r"\.(?:jsonl|ndjson|parquet|arrow|tsv|csv)"
_SHARD = r"(?:-\d+-of-\d+)?"
_SUBSET = r"(?:(?P<subset>[^/]+)-)?"


@dataclass(frozen=True)
class Layout:
    """Patterns of the paths of the three parts, relative to the folder and without ``.gz``.

    Attributes:
        name: For ``--format``.
        title: What it is, in a sentence behind "read as".
        corpus: Pattern of the files of documents; a group ``subset`` says of which subset.
        queries: Pattern of the files of queries; a group ``split`` may say of which part.
        judgements: Pattern of the files of judgements; the group ``split`` says of which part.
    """

    name: str
    title: str
    corpus: str
    queries: str
    judgements: str


LAYOUTS: tuple[Layout, ...] = (
    Layout(
        "beir",
        "a BEIR folder (corpus.jsonl, queries.jsonl, qrels)",
        r"corpus\.jsonl",
        r"queries\.jsonl",
        r"qrels/(?P<split>[^/]+)\.tsv",
    ),
    Layout(
        "flagembedding-evaluation",
        "a FlagEmbedding evaluation set (corpus, queries and qrels as JSON Lines)",
        r"corpus\.jsonl",
        r"(?P<split>[^/]+)_queries\.jsonl",
        r"(?P<split>[^/]+)_qrels\.jsonl",
    ),
    Layout(
        "mteb",
        "an MTEB retrieval set (corpus, queries, qrels)",
        rf"{_SUBSET}corpus(?:/[^/]+?{_SHARD})?{_TABLE}",
        rf"{_SUBSET}queries(?:/(?P<split>[^/]+?){_SHARD})?{_TABLE}",
        rf"(?:{_SUBSET}qrels|data|default)(?:/(?P<split>[^/]+?){_SHARD})?{_TABLE}",
    ),
    Layout(
        "msmarco",
        "an MS MARCO folder (collection.tsv, queries, qrels)",
        r"collection\.tsv",
        r"queries(?:\.(?P<split>[^/]+))?\.tsv",
        r"qrels(?:\.(?P<split>[^/]+))?\.tsv",
    ),
    Layout(
        "trec",
        "a TREC collection (topics, qrels, documents)",
        r"(?:collection|corpus|documents|docs)\.(?:tsv|jsonl|txt)",
        r"[^/]*(?:topics|queries)[^/]*\.(?:tsv|txt)",
        r"(?P<split>[^/]*qrels?[^/]*?)(?:\.(?:txt|tsv))?",
    ),
)


@dataclass(frozen=True)
class Parts:
    """Files of a collection, by their path in its folder.

    Attributes:
        layout: Which form it is.
        corpus: Per subset, the files of documents.
        queries: Per part, the files of queries; "" where one file serves all.
        judgements: Per part, the files of judgements.
    """

    layout: Layout
    corpus: dict[str, list[str]]
    queries: dict[str, list[str]]
    judgements: dict[str, list[str]]

    @property
    def lacking(self) -> tuple[str, ...]:
        """Which of the three parts are not there."""
        parts = {"documents": self.corpus, "queries": self.queries, "judgements": self.judgements}
        return tuple(name for name, files in parts.items() if not files)

    def queries_of(self, split: str) -> list[str]:
        """The queries that a part is judged by: its own, those of its subset, or the only ones."""
        own = self.queries.get(split) or self.queries.get(_subset(split)) or self.queries.get("")
        return own or (next(iter(self.queries.values())) if len(self.queries) == 1 else [])

    def corpus_of(self, split: str) -> list[str]:
        """The documents of a part: those of its subset, or the only ones."""
        return self.corpus.get(_subset(split)) or self.corpus.get("") or []


def _subset(split: str) -> str:
    return split.rpartition("-")[0]


def find_parts(paths: Sequence[str], only: str = "") -> Parts | None:
    """The parts of a collection among the files of a folder.

    Args:
        paths: Relative to the folder.
        only: Name of a layout; empty to try all.

    Returns:
        The first layout of which all three parts are there, None if there is none.
    """
    layouts = (layout for layout in LAYOUTS if only in ("", layout.name))
    return next((found for found in map(partial(_parts, paths), layouts) if not found.lacking), None)


def missing_parts(paths: Sequence[str]) -> str:
    """What a folder lacks that holds two of the three parts of a collection, in words; empty for any other."""
    for found in map(partial(_parts, paths), LAYOUTS):
        if len(found.lacking) == 1:
            return f"{found.layout.title}, in which there are no {found.lacking[0]}"
    return ""


def _parts(paths: Sequence[str], layout: Layout) -> Parts:
    """What of a layout there is among the files of a folder."""
    return Parts(layout, *(_matches(paths, one) for one in (layout.corpus, layout.queries, layout.judgements)))


def _matches(paths: Sequence[str], pattern: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for path in paths:
        match = re.fullmatch(pattern, path.removesuffix(".gz"))
        if match:
            groups = match.groupdict()
            # The hub keeps all queries in a file that is called like their folder.
            split = None if groups.get("split") == "queries" else groups.get("split")
            named = [part for part in (groups.get("subset"), split) if part]
            found.setdefault("-".join(named), []).append(path)
    return found
