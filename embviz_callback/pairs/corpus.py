"""Distractors: further documents that answer no query, so that ranks are asked of a larger pool."""

import hashlib
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from hashlib import blake2b
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embviz_callback.grammar import counted
from embviz_callback.pairs.formats.corpora import Candidate, CorpusFile, Documents, read_corpus
from embviz_callback.pairs.formats.reading import PairFile
from embviz_callback.pairs.problems import DataError
from embviz_callback.pairs.subset import Subset
from embviz_callback.pairs.texts import fold, fold_once

__all__ = ["Candidate", "Corpus", "CorpusFile", "corpus_for", "own_corpus", "read_corpus"]


_FOLD = 16  # bytes of the hash of a text's fold; those of the text itself and of its place in the source follow
_KEY = np.dtype(f"S{_FOLD + 8}")
_WHERE = struct.Struct(">II")
_PART = 2**16  # keys looked at in one step
WINDOW = 8192  # texts that are held together

Keys = NDArray[np.bytes_]
Rows = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Corpus:
    """What stands beside the documents of a subset in the ranked pool.

    Its texts are not held: 28 bytes of each are, by which it is known again. A hash decides its row, so that the order
    of the source has no part in anything.

    Attributes:
        documents: Gives the texts with others among them, each time anew in the same order.
        keys: ``(n,)`` of distinct texts, at least one, ascending: a hash of the fold, a checksum of the text and its
            place in the source, of copies the first; none answers a query of the subset.
        places: ``(n_given,)`` the row of every text of the source, -1 for one that is left out or a copy.
        n_equal: Distinct texts left out because they equal a document of the subset, or bear its identifier.
        n_answering: Distinct texts left out because their own records give them as an answer to a query of it.
        n_merged: Copies of texts that were there already.
        name: Where the texts come from.
        sha256: Of the file, empty for a list.
        n_before: Texts that these were drawn from; 0 where these are all.
    """

    documents: Documents
    keys: Keys
    places: NDArray[np.int32]
    n_equal: int = 0
    n_answering: int = 0
    n_merged: int = 0
    name: str = "corpus"
    sha256: str = ""
    n_before: int = 0

    def __len__(self) -> int:
        return len(self.keys)

    @cached_property
    def fingerprint(self) -> str:
        """Twelve hexadecimal digits of the folded texts; no order and no spelling enters."""
        digest = hashlib.sha256()
        for start in range(0, len(self), _PART):
            digest.update(_folds(self.keys[start : start + _PART]).tobytes())
        return digest.hexdigest()[:12]

    @property
    def facts(self) -> dict[str, Any]:
        """Plain JSON for the provenance of an evaluation."""
        found = {
            "source": self.name,
            "sha256": self.sha256,
            "fingerprint": self.fingerprint,
            "texts": len(self),
            "sampled_from": self.n_before,
            "left_out_as_documents": self.n_equal,
            "left_out_as_answers": self.n_answering,
            "merged": self.n_merged,
        }
        return {name: value for name, value in found.items() if value not in ("", 0)}

    @property
    def sentence(self) -> str:
        """What became of the texts that were given."""
        drawn = f" (a sample of {self.n_before:,})" if self.n_before else ""
        return (
            f"{self.name}: {counted(len(self), 'distinct text[s] [are|is] ranked')} beside the documents{drawn}; "
            f"{self.n_equal:,} equal a document and {self.n_answering:,} answer a query by their own record, "
            f"and are left out; {counted(self.n_merged, '[copies were|copy was] merged')}"
        )

    def beside(self, subset: Subset) -> Subset:
        """The subset whose fingerprint says that it is ranked among these texts."""
        return replace(subset, n_corpus=len(self), corpus_fingerprint=self.fingerprint)

    def sampled(self, most: int) -> "Corpus":
        """The same with no more than `most` texts, drawn by their hashes: of two samples one is part of the other."""
        if len(self) <= most:
            return self
        return replace(self, keys=self.keys[:most], n_before=self.n_before or len(self))

    def windows(self, size: int = WINDOW, *, rank: int = 0, n_ranks: int = 1) -> Iterator[tuple[Rows, list[str]]]:
        """The texts, so many at a time, in the order in which they come.

        Args:
            size: Texts of a window; of the last one fewer.
            rank: Of this process.
            n_ranks: Processes; each gets every n-th row, so that copies of a text meet on one.

        Yields:
            Rows of the corpus and their texts. A source that no longer holds a text is a `DataError` at the end.
        """
        rows: list[Rows] = []
        texts: list[str] = []
        for found, given in self._found():
            own = np.flatnonzero(found % n_ranks == rank)
            rows.append(found[own])
            texts += [given[at] for at in own]
            while len(texts) >= size:
                whole = np.concatenate(rows)
                yield whole[:size], texts[:size]
                rows, texts = [whole[size:]], texts[size:]
        if texts:
            yield np.concatenate(rows), texts

    def _found(self) -> Iterator[tuple[Rows, list[str]]]:
        """Rows and texts of every part of the source, each row once."""
        texts, start, n_found = (one.text for one in self.documents), 0, 0
        while given := list(islice(texts, WINDOW)):
            row = self.places[start : start + WINDOW].astype(np.int64)
            at = np.flatnonzero((row >= 0) & (row < len(self)))
            sums = np.array([_checksum(given[place]) for place in at.tolist()], dtype=np.int64)
            at = at[_tails(self.keys[row[at]])[:, 0] == sums]
            yield row[at], [given[place] for place in at.tolist()]
            start, n_found = start + len(given), n_found + len(at)
        if n_found < len(self):
            raise DataError(
                f"{self.name}: expected the {len(self):,} texts where they stood at first, found "
                f"{len(self) - n_found:,} of them there no more. Fix: leave the file as it is while it is used"
            )


def _checksum(text: str) -> int:
    return zlib.crc32(text.encode(errors="surrogatepass"))


def _fold_hash(folded: str) -> bytes:
    return blake2b(folded.encode(errors="surrogatepass"), digest_size=_FOLD).digest()


def _folds(keys: Keys) -> Keys:
    """``(n, 16)`` bytes of the keys that are of folds."""
    return np.ascontiguousarray(keys.view("u1").reshape(-1, _KEY.itemsize)[:, :_FOLD]).view(f"V{_FOLD}")[:, 0]


def _tails(keys: Keys) -> NDArray[Any]:
    """``(n, 2)``: the checksums of the texts of keys, and their places in the source."""
    return np.ascontiguousarray(keys.view("u1").reshape(-1, _KEY.itemsize)[:, _FOLD:]).view(">u4").reshape(-1, 2)


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
        Each distinct text once, the same of its spellings in whatever order they stand.

    Raises:
        DataError: If no text is left.
    """
    documents = {fold(text) for text in subset.documents}
    names = set(subset.document_ids) - {None}
    queries, ids = {fold(text) for text in subset.queries}, set(subset.ids) - {None}
    answering: set[str] = set()
    found = bytearray()  # grows in place
    for place, one in enumerate(source.candidates):
        found += _fold_hash(fold_once(one.text)) + _WHERE.pack(_checksum(one.text), place)
        if (one.query and fold(one.query) in queries) or one.id in ids:
            answering.add(fold(one.text))
        if one.document_id in names:
            documents.add(fold(one.text))
    keys = np.frombuffer(found, dtype=_KEY)
    n_given = len(keys)
    keys.sort()
    keys = _first_spellings(keys)
    n_distinct = len(keys)
    keys, n_equal = _without(keys, documents)
    keys, n_answering = _without(keys, answering - documents)
    if not len(keys):
        raise DataError(
            f"{source.name}: none of its {n_distinct:,} texts is a distractor, all are documents of the "
            "evaluated subset or answer its queries. Fix: give other documents"
        )
    return Corpus(
        documents=source.candidates,
        keys=keys,
        places=_places(keys, n_given),
        n_equal=n_equal,
        n_answering=n_answering,
        n_merged=n_given - n_distinct,
        name=source.name,
        sha256=source.sha256,
    )


def _first_spellings(keys: Keys) -> Keys:
    """The first key of every fold."""
    kept, last = np.empty(len(keys), dtype=bool), b""
    for start in range(0, len(keys), _PART):
        folds = _folds(keys[start : start + _PART])
        kept[start] = folds[0].tobytes() != last
        kept[start + 1 : start + len(folds)] = folds[1:] != folds[:-1]
        last = folds[-1].tobytes()
    return _packed(keys, kept)


def _places(keys: Keys, n_given: int) -> NDArray[np.int32]:
    """``(n_given,)``: the row of every text of the source, -1 for one without."""
    rows = np.full(n_given, -1, dtype=np.int32)
    for start in range(0, len(keys), _PART):
        part = _tails(keys[start : start + _PART])
        rows[part[:, 1]] = np.arange(start, start + len(part))
    return rows


def _without(keys: Keys, folded: set[str]) -> tuple[Keys, int]:
    """The keys without those of some folds, and how many these were."""
    wanted = np.frombuffer(b"".join(_fold_hash(text) + bytes(_WHERE.size) for text in folded), dtype=_KEY)
    if not len(keys):
        return keys, 0
    at = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    at = at[_folds(keys[at]) == _folds(wanted)]
    kept = np.ones(len(keys), dtype=bool)
    kept[at] = False
    return _packed(keys, kept), len(at)


def _packed(keys: Keys, kept: NDArray[np.bool_]) -> Keys:
    """The keys to keep, moved to the front of the same memory."""
    end = 0
    for start in range(0, len(keys), _PART):
        part = keys[start : start + _PART][kept[start : start + _PART]]
        keys[end : end + len(part)] = part
        end += len(part)
    return keys[:end]
