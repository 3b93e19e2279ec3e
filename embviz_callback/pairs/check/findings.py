"""What a data check says: findings with their places, false negatives in a batch, and the report they make up."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from math import lgamma
from typing import Any

import numpy as np

from embviz_callback.pairs.check.raw import Place, RawRecord, answers_of
from embviz_callback.pairs.texts import fold

WRONG, SUSPECT, NOTE = "wrong", "suspect", "note"
LEVELS = (WRONG, SUSPECT, NOTE)


@dataclass(frozen=True)
class Collisions:
    """False negatives to expect in a batch that is drawn at random from a file.

    A loss that takes every other document of the batch for a negative pushes a query away from
    documents that answer it. This package's own `collate` masks them; a plain
    ``CrossEntropyLoss`` over the batch does not.

    Attributes:
        batch_size: Pairs in a batch, at most `n_pairs`.
        n_pairs: (query, positive) pairs in the file.
        expected: Mean number of (query, other pair's positive) in a batch that are right answers.
        expected_hard: The same for other pairs' hard negatives.
        anchors: Mean number of queries of a batch with at least one such false negative.
        share: That as a share of the batch.
    """

    batch_size: int
    n_pairs: int
    expected: float
    expected_hard: float
    anchors: float
    share: float


def expected_collisions(raws: Sequence[RawRecord], *, batch_size: int) -> Collisions:
    """The expectation over batches of distinct pairs, each equally likely, in closed form.

    Of n pairs, let k(i) be the number of others whose positive answers the query of pair i. Two
    given pairs meet in a batch of B with probability B(B-1) / n(n-1), so that the mean number of
    false negatives is the sum of k(i) times that. Pair i, once in the batch, has none with the
    hypergeometric probability C(n-1-k, B-1) / C(n-1, B-1).

    Args:
        raws: The records.
        batch_size: B, at least 1; of a smaller file all pairs are one batch.

    Returns:
        Zeros for a file without pairs.

    Raises:
        ValueError: If `batch_size` is below 1.
    """
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, got {batch_size}")
    answers = answers_of(raws)
    pairs = [(raw, fold(raw.query), fold(text)) for raw in raws if raw.query for _, text in raw.positives]
    n, size = len(pairs), min(batch_size, len(pairs))
    count = Counter(document for _, _, document in pairs)
    others = np.array([sum(count[text] for text in answers[query]) - 1 for _, query, _ in pairs], dtype=np.int64)
    hard = _others_hard(pairs, answers)
    meet = size * (size - 1) / (n * (n - 1)) if n > 1 else 0.0
    anchors = float(sum(size / n * (1 - _none(n - 1, int(k), size - 1)) for k in others))
    return Collisions(size, n, float(others.sum() * meet), hard * meet, anchors, anchors / size if size else 0.0)


def _others_hard(pairs: Sequence[tuple[RawRecord, str, str]], answers: Mapping[str, set[str]]) -> int:
    """Over all ordered pairs of pairs: hard negatives of the one that answer the query of the other."""
    own = [Counter(fold(negative.text) for negative in raw.negatives) for raw, _, _ in pairs]
    everywhere: Counter[str] = Counter()
    for texts in own:
        everywhere.update(texts)
    found = (
        everywhere[text] - texts[text]
        for (_, query, _), texts in zip(pairs, own, strict=True)
        for text in answers[query]
    )
    return sum(found)


def _none(others: int, bad: int, drawn: int) -> float:
    """Probability that `drawn` of `others` pairs contain none of the `bad` ones."""
    if bad == 0 or drawn == 0:
        return 1.0
    if others - bad < drawn:
        return 0.0
    # The ratio of two binomials, by logarithms: either of them alone overflows.
    return float(np.exp(_log_choose(others - bad, drawn) - _log_choose(others, drawn)))


def _log_choose(n: int, k: int) -> float:
    return lgamma(n + 1) - lgamma(k + 1) - lgamma(n - k + 1)


@dataclass(frozen=True)
class Finding:
    """One kind of thing that was found.

    Attributes:
        kind: A short name for programs, such as ``contradiction``.
        level: ``wrong`` harms training or falsifies figures; ``suspect`` probably does; ``note``
            is handled by this package and said for whoever wonders.
        title: What it is, after its count: "hard negatives equal a positive of their query".
        fix: How to mend it.
        places: All of them, in file order.

    Raises:
        ValueError: If the level is unknown or there is no place.
    """

    kind: str
    level: str
    title: str
    fix: str
    places: tuple[Place, ...]

    def __post_init__(self) -> None:
        if self.level not in LEVELS:
            raise ValueError(f"level must be one of {', '.join(LEVELS)}, got {self.level!r}")
        if not self.places:
            raise ValueError(f"a finding needs a place, {self.kind!r} has none")

    @property
    def is_fixable(self) -> bool:
        """Whether the mended file is free of it: then its remedy names the option."""
        return "--fix" in self.fix

    @property
    def records(self) -> int:
        """Distinct records concerned."""
        return len({(place.file, place.record) for place in self.places})


@dataclass(frozen=True)
class FileFacts:
    """Sizes of one file.

    Attributes:
        name: Its path.
        sha256: Of its bytes.
        records: Items in it.
        queries: Distinct queries.
        documents: Distinct positives.
        hard_negatives: Distinct hard negatives.
        usable: Items that the reader takes.
    """

    name: str
    sha256: str
    records: int
    queries: int
    documents: int
    hard_negatives: int
    usable: int = 0


@dataclass(frozen=True)
class Checkup:
    """Everything the check has found in one file, or in a training file and its validation file.

    Attributes:
        files: Training file first.
        findings: Worst level first, then by how many records they concern.
        collisions: What to expect of a training batch.
        notes: What was assumed when reading, in words.
    """

    files: tuple[FileFacts, ...]
    findings: tuple[Finding, ...]
    collisions: Collisions
    notes: tuple[str, ...] = ()

    @property
    def is_usable(self) -> bool:
        """Whether every file holds a record that can be used."""
        return all(one.usable for one in self.files)

    @property
    def is_clean(self) -> bool:
        """Whether nothing is wrong or suspect."""
        return all(finding.level == NOTE for finding in self.findings)

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON, every place included."""
        return {
            "clean": self.is_clean,
            "files": [asdict(one) for one in self.files],
            "findings": [_plain(finding) for finding in self.findings],
            "false_negatives_per_batch": asdict(self.collisions),
            "notes": list(self.notes),
        }


def _plain(finding: Finding) -> Mapping[str, Any]:
    return {
        "kind": finding.kind,
        "level": finding.level,
        "title": finding.title,
        "count": len(finding.places),
        "records": finding.records,
        "fix": finding.fix,
        "fixable": finding.is_fixable,
        "places": [asdict(place) for place in finding.places],
    }
