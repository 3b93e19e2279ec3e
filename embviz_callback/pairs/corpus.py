"""Distractors: further documents that answer no query, so that ranks are asked of a larger pool."""

import hashlib
import json
import random
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from embviz_callback.grammar import counted
from embviz_callback.pairs.formats.corpora import Candidate, CorpusFile, read_corpus
from embviz_callback.pairs.formats.reading import PairFile
from embviz_callback.pairs.problems import DataError
from embviz_callback.pairs.subset import Subset
from embviz_callback.pairs.texts import fold

__all__ = ["Candidate", "Corpus", "CorpusFile", "corpus_for", "own_corpus", "read_corpus"]


@dataclass(frozen=True, eq=False)
class Corpus:
    """What stands beside the documents of a subset in the ranked pool.

    Attributes:
        texts: Distinct, at least one, in the order of their folds; none answers a query of the subset.
        n_equal: Distinct texts left out because they equal a document of the subset, or bear its identifier.
        n_answering: Distinct texts left out because their own records give them as an answer to a query of it.
        n_merged: Copies of texts that were there already.
        name: Where the texts come from.
        sha256: Of the file, empty for a list.
        n_before: Texts that these were drawn from; 0 where these are all.
    """

    texts: tuple[str, ...]
    n_equal: int = 0
    n_answering: int = 0
    n_merged: int = 0
    name: str = "corpus"
    sha256: str = ""
    n_before: int = 0

    @cached_property
    def fingerprint(self) -> str:
        """Twelve hexadecimal digits of the folded texts; no order and no spelling enters."""
        folded = [fold(text) for text in self.texts]
        return hashlib.sha256(json.dumps(folded).encode()).hexdigest()[:12]

    @property
    def facts(self) -> dict[str, Any]:
        """Plain JSON for the provenance of an evaluation."""
        found = {
            "source": self.name,
            "sha256": self.sha256,
            "fingerprint": self.fingerprint,
            "texts": len(self.texts),
            "left_out_as_documents": self.n_equal,
            "left_out_as_answers": self.n_answering,
            "merged": self.n_merged,
            "sampled_from": self.n_before,
        }
        return {name: value for name, value in found.items() if value not in ("", 0)}

    @property
    def sentence(self) -> str:
        """What became of the texts that were given."""
        drawn = f" (a sample of {self.n_before:,})" if self.n_before else ""
        return (
            f"{self.name}: {counted(len(self.texts), 'distinct text[s] [are|is] ranked')} beside the documents{drawn}; "
            f"{self.n_equal:,} equal a document and {self.n_answering:,} answer a query by their own record, "
            f"and are left out; {counted(self.n_merged, '[copies were|copy was] merged')}"
        )

    def beside(self, subset: Subset) -> Subset:
        """The subset whose fingerprint says that it is ranked among these texts."""
        return replace(subset, n_corpus=len(self.texts), corpus_fingerprint=self.fingerprint)

    def first(self, n: int | None) -> "Corpus":
        """The same with no more than `n` texts, for a trial; all of them for None."""
        return replace(self, texts=self.texts[:n])

    def sampled(self, most: int, *, seed: int) -> "Corpus":
        """The same with no more than `most` texts, drawn at random."""
        if len(self.texts) <= most:
            return self
        drawn = sorted(random.Random(seed).sample(range(len(self.texts)), most))
        return replace(self, texts=tuple(self.texts[row] for row in drawn), n_before=len(self.texts))


def own_corpus(pairs: PairFile) -> str:
    """Where all documents of some pairs lie, for ``--corpus auto``.

    Args:
        pairs: As they were read.

    Returns:
        What `read_corpus` takes.

    Raises:
        DataError: If the pairs bring no corpus.
    """
    if not pairs.corpus:
        raise DataError(
            f"--corpus auto: expected data that bring their corpus, such as a BEIR folder, found {pairs.path} "
            f"({pairs.form}). Fix: name the file of the corpus"
        )
    return pairs.corpus


def corpus_for(subset: Subset, source: CorpusFile) -> Corpus:
    """The texts of a source that are distractors for a subset.

    A text that equals a document of the subset or bears its identifier, or that its own record names
    as the answer to one of the subset's queries (by the query's text or by a common id), is no
    distractor: ranking it first is not wrong.

    Args:
        subset: What is evaluated.
        source: The texts.

    Returns:
        Each distinct text once, the least of its spellings, in an order that the source's has no part in.

    Raises:
        DataError: If no text is left.
    """
    documents = {fold(text) for text in subset.documents}
    names = set(subset.document_ids) - {None}
    queries, ids = {fold(text) for text in subset.queries}, set(subset.ids) - {None}
    spelling: dict[str, str] = {}
    answering: set[str] = set()
    for one in source.candidates:
        folded = fold(one.text)
        spelling[folded] = min(one.text, spelling.get(folded, one.text))
        if (one.query and fold(one.query) in queries) or one.id in ids:
            answering.add(folded)
        if one.document_id in names:
            documents.add(folded)
    answering -= documents
    left = sorted(spelling.keys() - documents - answering)
    if not left:
        raise DataError(
            f"{source.name}: none of its {len(spelling):,} texts is a distractor, all are documents of the "
            "evaluated subset or answer its queries. Fix: give other documents"
        )
    return Corpus(
        texts=tuple(spelling[folded] for folded in left),
        n_equal=len(spelling.keys() & documents),
        n_answering=len(answering),
        n_merged=len(source.candidates) - len(spelling),
        name=source.name,
        sha256=source.sha256,
    )
