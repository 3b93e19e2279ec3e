"""What a data check says: findings with their places, and the report they make up."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from embviz_callback.pairs.check.collisions import Collisions
from embviz_callback.pairs.check.raw import Place

WRONG, SUSPECT, NOTE = "wrong", "suspect", "note"
LEVELS = (WRONG, SUSPECT, NOTE)


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
