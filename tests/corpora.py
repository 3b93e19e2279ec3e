"""Corpora from lists of texts, and what came of ranking among them."""

from collections.abc import Callable, Iterable
from typing import Any

from embviz_callback.analysis.scan import TOP, CorpusScan, Scan
from embviz_callback.embeddings import Embeddings
from embviz_callback.pairs.corpus import Corpus, corpus_for, read_corpus
from embviz_callback.pairs.formats.reading import records_from
from embviz_callback.pairs.subset import choose_subset


def corpus_of(texts: Iterable[str]) -> Corpus:
    """A corpus beside a subset that has nothing in common with it."""
    subset = choose_subset(records_from([{"query": "no query", "pos": "no document"}]), max_samples=1, seed=0)
    return corpus_for(subset, read_corpus(list(texts)))


def texts_of(corpus: Corpus) -> tuple[str, ...]:
    """All its texts by their rows."""
    found = {row: text for rows, texts in corpus.windows() for row, text in zip(rows.tolist(), texts, strict=True)}
    return tuple(found[row] for row in range(len(corpus)))


def ranked_among(
    embeddings: Embeddings, corpus: Corpus, vectors_of: Callable[[list[str]], Any], *, depth: int = TOP
) -> CorpusScan:
    """A subset among a corpus whose vectors a function makes."""
    scanned = Scan(embeddings, n_corpus=len(corpus), top_k=max(depth, TOP))
    texts: dict[int, str] = {}
    for rows, found in corpus.windows(7):
        scanned.add(rows, vectors_of(found))
        texts |= zip(rows.tolist(), found, strict=True)
    return CorpusScan.of(scanned.finish(), texts, corpus.facts, depth=depth)
