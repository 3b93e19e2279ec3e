"""An evaluation as TREC knows it: a run and the judgements, for trec_eval and everything that reads its files."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np

from embviz_callback.analysis.scan import Ranking
from embviz_callback.embeddings import Floats, Rows
from embviz_callback.snapshot import Snapshot

DEPTH = 1000
_TAG = "embviz"


def trec_files(snapshot: Snapshot) -> Mapping[str, str]:
    """A run of the best 1,000 documents of every query, and the judgements.

    trec_eval orders by score and, among equals, by name, so that a tie would be decided by names: scores fall
    strictly here, also in its float32. Ties aside it gives our own figures; with grades and a cut above 1, all but
    nDCG want its option ``-l`` (the least relevant grade). Of a pool with a corpus it is as deep as the scan was asked
    to be, ten where an ``embeddings.npz`` was measured again.

    Args:
        snapshot: The evaluation.

    Returns:
        Text under the names ``run.trec`` and ``qrels.trec``.
    """
    subset, similarity = snapshot.subset, snapshot.similarity
    queries, documents = _names("q", subset.ids), _names("d", subset.document_ids or (None,) * len(subset.documents))
    deep = snapshot.deep or Ranking(similarity.top_documents, similarity.top_scores)
    named = zip(deep.documents, deep.scores.astype(np.float64), strict=True)
    ranked: Iterable[tuple[Rows, Floats]] = named if subset.n_corpus else _best(snapshot)
    lines = []
    for name, (rows, scores) in zip(queries, ranked, strict=True):
        kept = rows >= 0
        falling = _strictly(scores[kept])
        for rank, (row, score) in enumerate(zip(rows[kept].tolist(), falling, strict=True), start=1):
            document = documents[row] if row < len(documents) else f"corpus-{row - len(documents)}"
            lines.append(f"{name} Q0 {document} {rank} {score!s} {_TAG}\n")
    judged = subset.grades.tolist() or [[*pair, 1] for pair in subset.relevance.tolist()]
    qrels = (f"{queries[query]} 0 {documents[document]} {grade}\n" for query, document, grade in judged)
    return {"run.trec": "".join(lines), "qrels.trec": "".join(qrels)}


def _best(snapshot: Snapshot) -> Iterator[tuple[Rows, Floats]]:
    """Rows and scores of the best documents of each query, best first; none for a query without a direction."""
    embeddings, _ = snapshot.embeddings.compared()
    measure = embeddings.measure
    usable = np.flatnonzero(embeddings.usable_documents)
    documents = embeddings.documents[usable]
    for query, is_usable in zip(embeddings.queries, embeddings.usable_queries, strict=True):
        scores = measure.value(measure.table(documents, query[None])[:, 0]) if is_usable else np.empty(0)
        order = np.argsort(-scores, kind="stable")[:DEPTH]
        yield usable[order] if is_usable else np.empty(0, dtype=np.int64), scores[order]


def _strictly(scores: Floats) -> list[np.float32]:
    """The scores in float32, each below the one before it."""
    found: list[np.float32] = []
    for score in scores.astype(np.float32):
        found.append(score if not found or score < found[-1] else np.nextafter(found[-1], np.float32(-np.inf)))
    return found


def _names(letter: str, given: Sequence[str | None]) -> list[str]:
    """A name without white space for each row, no two alike."""
    names: dict[str, None] = {}
    for row, name in enumerate(given):
        wanted = "_".join(name.split()) if name else f"{letter}{row}"
        while wanted in names:
            wanted += "_"
        names[wanted] = None
    return list(names)
