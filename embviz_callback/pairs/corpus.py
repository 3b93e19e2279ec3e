"""Distractors: further documents that answer no query, so that ranks are asked of a larger pool."""

import hashlib
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from embviz_callback.pairs.intake.opening import Opened, open_text
from embviz_callback.pairs.intake.parsing import Broken, parse_items, refuse_odd
from embviz_callback.pairs.problems import DataError, Problems, Spot, show
from embviz_callback.pairs.records import Record, to_positives, to_text
from embviz_callback.pairs.subset import Subset
from embviz_callback.pairs.texts import fold, is_blank

_PLAIN_TEXT = re.compile(r"\.txt(\.gz)?$", re.IGNORECASE)
_FORM = 'give a list of texts or of {"text": "..."}, or a .txt file with one document a line'


@dataclass(frozen=True)
class Candidate:
    """A text of a corpus, before it is known what is evaluated.

    Attributes:
        text: Not blank.
        query: What it answers in its own record, empty for a document alone.
        id: Of that record.
    """

    text: str
    query: str = ""
    id: str | None = None


@dataclass(frozen=True)
class CorpusFile:
    """The texts of one file or list, as they were given.

    Attributes:
        candidates: At least one, in the order given, equal ones included.
        name: The path as the user gave it, or "corpus" for a list.
        sha256: Of the file as it is on disk, empty for a list.
        skipped: Records left out because something was wrong with them.
        notes: What was assumed or replaced, one sentence each.
    """

    candidates: tuple[Candidate, ...]
    name: str = "corpus"
    sha256: str = ""
    skipped: int = 0
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Corpus:
    """What stands beside the documents of a subset in the ranked pool.

    Attributes:
        texts: Distinct, at least one, in the order of their folds; none answers a query of the subset.
        n_equal: Distinct texts left out because they equal a document of the subset.
        n_answering: Distinct texts left out because their own records give them as an answer to a query of it.
        n_merged: Copies of texts that were there already.
        name: Where the texts come from.
        sha256: Of the file, empty for a list.
    """

    texts: tuple[str, ...]
    n_equal: int = 0
    n_answering: int = 0
    n_merged: int = 0
    name: str = "corpus"
    sha256: str = ""

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
        }
        return {name: value for name, value in found.items() if value not in ("", 0)}

    @property
    def sentence(self) -> str:
        """What became of the texts that were given."""
        return (
            f"{self.name}: {len(self.texts):,} distinct texts are ranked beside the documents; "
            f"{self.n_equal:,} equal a document and {self.n_answering:,} answer a query by their own record, "
            f"and are left out; {self.n_merged:,} copies were merged"
        )

    def beside(self, subset: Subset) -> Subset:
        """The subset whose fingerprint says that it is ranked among these texts."""
        return replace(subset, n_corpus=len(self.texts), corpus_fingerprint=self.fingerprint)

    def first(self, n: int | None) -> "Corpus":
        """The same with no more than `n` texts, for a trial; all of them for None."""
        return replace(self, texts=self.texts[:n])


def read_corpus(
    given: str | os.PathLike[str] | Iterable[str | Mapping[str, Any] | Record], *, skip_bad: bool = False
) -> CorpusFile:
    """The texts of a corpus.

    A file is a JSON array or JSON Lines of texts, of objects with ``text``, or of records of a
    dataset, whose ``pos`` are taken; or, named ``.txt``, holds one document a line. All may be
    compressed by gzip.

    Args:
        given: A path, or the same texts and records handed over in Python.
        skip_bad: Leave items out that have a problem, and count them, instead of refusing the corpus.

    Returns:
        At least one text. A `DataError` says what cannot be read or is no text, in which file,
        record and field.
    """
    if not isinstance(given, str | os.PathLike):
        return _from_list(given, skip_bad=skip_bad)
    name = os.fsdecode(given)
    opened = open_text(given, is_json=not _PLAIN_TEXT.search(name))
    if _PLAIN_TEXT.search(name):
        return _from_lines(opened)
    parsed = parse_items(opened.text, opened.path, form=_FORM)
    found = _candidates(parsed.items, parsed.name, has_odd=parsed.has_odd, skip_bad=skip_bad)
    notes = (*opened.notes, *parsed.notes, *found.notes)
    return replace(found, name=opened.path, sha256=opened.sha256, notes=notes)


def corpus_for(subset: Subset, source: CorpusFile) -> Corpus:
    """The texts of a source that are distractors for a subset.

    A text that equals a document of the subset, or that its own record names as the answer to one
    of the subset's queries (by the query's text or by a common id), is no distractor: ranking it
    first is not wrong.

    Args:
        subset: What is evaluated.
        source: The texts.

    Returns:
        Each distinct text once, the least of its spellings, in an order that the source's has no part in.

    Raises:
        DataError: If no text is left.
    """
    documents = {fold(text) for text in subset.documents}
    queries, ids = {fold(text) for text in subset.queries}, set(subset.ids) - {None}
    spelling: dict[str, str] = {}
    answering: set[str] = set()
    for one in source.candidates:
        folded = fold(one.text)
        spelling[folded] = min(one.text, spelling.get(folded, one.text))
        if (one.query and fold(one.query) in queries) or one.id in ids:
            answering.add(folded)
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


def _from_list(given: Any, *, skip_bad: bool) -> CorpusFile:
    if isinstance(given, bytes | Mapping) or not isinstance(given, Iterable):
        raise DataError(f"corpus: expected a path or a list of texts, found {show(given)}. Fix: {_FORM}")
    return _candidates(list(given), "corpus", has_odd=False, skip_bad=skip_bad)


def _from_lines(opened: Opened) -> CorpusFile:
    lines = [line.rstrip("\r") for line in opened.text.split("\n")]
    full = [line for line in lines if not is_blank(line)]
    found = _candidates(full, opened.path, has_odd=False, skip_bad=False)
    return replace(found, sha256=opened.sha256, notes=(*opened.notes, *found.notes))


def _candidates(items: Sequence[Any], name: str, *, has_odd: bool, skip_bad: bool) -> CorpusFile:
    if not items:
        raise DataError(f"{name}: expected at least one text, found an empty list. Fix: add documents")
    problems = Problems(name, n_records=len(items))
    found = [_of_item(item, Spot(problems, index), has_odd=has_odd) for index, item in enumerate(items)]
    whole = tuple(candidate for part in found for candidate in part)
    if problems.total and not (skip_bad and whole):
        raise problems.error()
    skipped = sum(not part for part in found)
    return CorpusFile(whole, name, skipped=skipped, notes=tuple(_notes(problems, skipped)))


def _of_item(item: Any, spot: Spot, *, has_odd: bool) -> list[Candidate]:
    """What one item holds, nothing if it has a problem."""
    if isinstance(item, Broken):
        spot.refuse(expected="a text or a JSON object", found=item.found, fix=item.fix)
        return []
    if isinstance(item, Record):
        return [Candidate(text, item.query, item.id) for text in item.positives]
    if has_odd and refuse_odd(item, spot):
        return []
    n_before = spot.problems.total
    found = _of_object(item, spot) if isinstance(item, Mapping) else [Candidate(to_text(item, spot))]
    return found if spot.problems.total == n_before else []


def _of_object(item: Mapping[Any, Any], spot: Spot) -> list[Candidate]:
    if "pos" in item:
        query = "" if item.get("query") is None else to_text(item["query"], spot.at("query"))
        name = None if item.get("id") is None else to_text(item["id"], spot.at("id"))
        return [Candidate(text, query, name) for text in to_positives(item["pos"], spot.at("pos"))]
    if "text" not in item:
        fix = "rename the field that holds the document to text"
        spot.refuse(expected="the field text, or pos of a dataset", found=show(item), fix=fix)
        return []
    return [Candidate(to_text(item["text"], spot.at("text")))]


def _notes(problems: Problems, skipped: int) -> Iterator[str]:
    if skipped:
        yield f"{skipped:,} of {problems.n_records:,} items left out, the first because of {problems.lines[0]}"
    if problems.replaced:
        yield f"{problems.replaced:,} characters that cannot be shown were replaced by U+FFFD"
