"""One record of a dataset, and how a JSON object becomes one."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from numbers import Integral
from typing import Any, TypeVar

from embviz_callback.pairs.field_names import CHECKED_FIELDS, RECORD_FIELDS, nearest
from embviz_callback.pairs.problems import LONGEST_NAME, Spot, show, show_name
from embviz_callback.pairs.texts import REPLACEMENT, clean, fold, is_blank, without_unprintable
from embviz_callback.pairs.weight_rule import MAX_WEIGHT, MIN_WEIGHT, OTHER, WeightRule, is_number, is_weight

Made = TypeVar("Made")

_HARD_FIELDS = {"text": True, "type": False, "weight": False}
_MOST_TYPES = 100
_LARGEST_GRADE = 2**31 - 1
_LARGEST_NUMBER = 1e100  # with larger ones no mean and no difference can be computed


@dataclass(frozen=True)
class HardNegative:
    """A document that looks like the positive and is not.

    Attributes:
        text: Not blank.
        types: What differs, such as ``("price", "amenity")``; ``("other",)`` where nobody said.
        weight: Factor of its exponential in the loss, above 0.

    Raises:
        ValueError: If the text is blank or the weight out of range.
    """

    text: str
    types: tuple[str, ...] = (OTHER,)
    weight: float = 1.0

    def __post_init__(self) -> None:
        _check_text("text", self.text)
        if not is_weight(self.weight):
            raise ValueError(f"weight must be a number from {MIN_WEIGHT:g} to {MAX_WEIGHT:,.0f}, got {self.weight!r}")


@dataclass(frozen=True)
class Judged:
    """What an assessor said of a document for a query.

    Attributes:
        text: Of the document, not blank.
        grade: 0 or less says that it does not answer; a higher grade answers better.
        id: Of the document in the user's data, if any.

    Raises:
        ValueError: If the text is blank or the grade no whole number.
    """

    text: str
    grade: int = 1
    id: str | None = None

    def __post_init__(self) -> None:
        _check_text("text", self.text)
        if isinstance(self.grade, bool) or not isinstance(self.grade, int) or abs(self.grade) > _LARGEST_GRADE:
            raise ValueError(f"grade must be a whole number, got {self.grade!r}")

    def as_json(self) -> dict[str, Any]:
        """As it stands in a file."""
        return {"text": self.text, "grade": self.grade} | ({} if self.id is None else {"id": self.id})


@dataclass(frozen=True)
class Record:
    """A query, the documents that answer it, and some that nearly do.

    Attributes:
        query: What a person types, not blank.
        positives: The matching documents, at least one.
        hard_negatives: Documents that nearly match.
        id: Name of the record in the user's data, if any; records of one id share their positives.
        metadata: The record's columns for colouring and for groups.
        prompt: What this query is to be encoded behind, in place of the query prompt of the settings; empty for that.
        judged: Grades of documents: of the positives, and of further documents that are ranked and answer nothing.

    Raises:
        ValueError: If a text is blank or there is no positive.
    """

    query: str
    positives: tuple[str, ...]
    hard_negatives: tuple[HardNegative, ...] = ()
    id: str | None = None
    metadata: Mapping[str, str | float] = field(default_factory=dict, hash=False)
    prompt: str = ""
    judged: tuple[Judged, ...] = ()

    def __post_init__(self) -> None:
        _check_text("query", self.query)
        if not isinstance(self.positives, tuple) or not self.positives:
            raise ValueError(f"positives must be a tuple of at least one text, got {self.positives!r}")
        for at, positive in enumerate(self.positives):
            _check_text(f"positives[{at}]", positive)

    @property
    def texts(self) -> tuple[str, ...]:
        """The query and its positives: what a model must not have seen before it is judged on them."""
        return (self.query, *self.positives)

    def as_json(self) -> dict[str, Any]:
        """The record as it stands in a file; what it does not have is left out."""
        plain: dict[str, Any] = {} if self.id is None else {"id": self.id}
        plain |= {"query": self.query, "pos": self.positives[0] if len(self.positives) == 1 else list(self.positives)}
        if self.hard_negatives:
            plain["hard_neg"] = [
                {"text": negative.text, "type": list(negative.types), "weight": negative.weight}
                for negative in self.hard_negatives
            ]
        plain |= {"metadata": dict(self.metadata)} if self.metadata else {}
        plain |= {"prompt": self.prompt} if self.prompt else {}
        return plain | ({"judged": [one.as_json() for one in self.judged]} if self.judged else {})


def _check_text(name: str, text: object) -> None:
    if not isinstance(text, str) or is_blank(text):
        raise ValueError(f"{name} must be a text that is not blank, got {text!r}")


def to_record(item: object, spot: Spot, rule: WeightRule) -> Record | None:
    """The record that a JSON object describes.

    Args:
        item: The object, or a record that passes as it is.
        spot: Where it stands; takes every problem.
        rule: Weighs hard negatives without a weight.

    Returns:
        The record, or None if there was any problem.
    """
    if isinstance(item, Record):
        return item
    if not isinstance(item, Mapping):
        spot.refuse(expected="an object", found=show(item), fix='write {"query": "...", "pos": "..."}')
        return None
    n_before = spot.problems.total
    _check_names(item, spot, CHECKED_FIELDS)
    query = to_text(item["query"], spot.at("query")) if "query" in item else ""
    positives = to_positives(item["pos"], spot.at("pos")) if "pos" in item else ()
    make, fix = partial(_hard_negative, rule=rule), "put the hard negatives into [ ]"
    hard_negatives = _each(item.get("hard_neg"), spot.at("hard_neg"), make, fix)
    name = to_name(item.get("id"), spot.at("id"))
    metadata = _metadata(item.get("metadata"), spot.at("metadata"))
    prompt = _prompt(item.get("prompt"), spot.at("prompt"))
    fix = 'write [{"text": "...", "grade": 1}]'
    judged = _each(item.get("judged"), spot.at("judged"), _judgement, fix)
    if spot.problems.total > n_before:
        return None
    return Record(query, positives, hard_negatives, name, metadata, prompt, judged)


def _check_names(item: Mapping[Any, Any], spot: Spot, fields: Mapping[str, bool]) -> None:
    """A needed field must be there; one that need not be must not be there under another name."""
    for name, is_needed in fields.items():
        if name in item:
            continue
        meant = nearest(name, (key for key in item if key not in fields and key not in RECORD_FIELDS))
        if meant is not None:
            fix = f"rename {show_name(meant)} to {name}"
            spot.at(name).refuse(expected=f"the field {name}", found=f"{show_name(meant)} instead", fix=fix)
        elif is_needed:
            fix = f"add {spot.at(name).name or name}, or drop the record"
            spot.at(name).refuse(expected="non-empty text", found="no such field", fix=fix)


def to_text(value: object, spot: Spot) -> str:
    """A value as a text that can be shown; what is no text or blank is taken down, and the text is then of no use."""
    if not isinstance(value, str):
        spot.refuse(expected="non-empty text", found=show(value), fix="write a text, or drop the record")
        return ""
    value = spot.problems.cut(value)
    cleaned = clean(value)
    if is_blank(cleaned):
        found = "blank text" if not value.strip() else f"nothing visible ({show(value)})"
        spot.refuse(expected="non-empty text", found=found, fix="write a text, or drop the record")
    # clean() hands the very same string back where there was nothing to do.
    spot.problems.replaced += 0 if cleaned is value else cleaned.count(REPLACEMENT) - value.count(REPLACEMENT)
    return cleaned


def text_id(value: Any) -> Any:
    """An identifier as a text: many files write numbers, and pandas makes 7.0 of a 7 where others are missing."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def to_name(value: object, spot: Spot) -> str | None:
    """A value as an identifier, None for none; what is no text, blank or too long for a name is taken down."""
    value = text_id(value)
    if isinstance(value, str) and len(value) > LONGEST_NAME:
        expected, found = f"at most {LONGEST_NAME:,} characters", f"{len(value):,}"
        spot.refuse(expected=expected, found=found, fix="give it a shorter identifier, or leave it out")
        return None
    return None if value is None else to_text(value, spot)


def _is_too_long(value: Sequence[object], spot: Spot) -> bool:
    """Whether a list of documents is longer than it may be, which is taken down."""
    limits = spot.problems.limits
    if len(value) <= limits.documents:
        return False
    expected = f"at most {limits.documents:,} documents"
    fix = f"keep the best of them; {limits.more('documents')}"
    spot.refuse(expected=expected, found=f"{len(value):,}", fix=fix)
    return True


def to_positives(value: object, spot: Spot) -> tuple[str, ...]:
    """The distinct texts of a field that is one text or a list of them."""
    if not isinstance(value, list | tuple):
        return (to_text(value, spot),)
    if not value:
        spot.refuse(expected="at least one text", found="an empty list", fix="add the document, or drop the record")
    if _is_too_long(value, spot):
        return ()
    distinct: dict[str, str] = {}
    for at, one in enumerate(value):
        text = to_text(one, spot.at(at))
        distinct.setdefault(fold(text), text)
    return tuple(distinct.values())


def _each(value: object, spot: Spot, make: Callable[[object, Spot], Made | None], fix: str) -> tuple[Made, ...]:
    """What is made of the items of a list; nothing of those that are refused."""
    if value is None:
        return ()
    if not isinstance(value, list | tuple):
        spot.refuse(expected="a list", found=show(value), fix=fix)
        return ()
    if _is_too_long(value, spot):
        return ()
    return tuple(found for at, one in enumerate(value) if (found := make(one, spot.at(at))) is not None)


def _hard_negative(value: object, spot: Spot, rule: WeightRule) -> HardNegative | None:
    n_before = spot.problems.total
    if not isinstance(value, Mapping):
        text, types = to_text(value, spot), _types(None, spot)
        weight = rule.weight(types)
    else:
        _check_names(value, spot, _HARD_FIELDS)
        text = to_text(value["text"], spot.at("text")) if "text" in value else ""
        types = _types(value.get("type"), spot.at("type"))
        weight = _weight(value.get("weight"), spot.at("weight")) or rule.weight(types)
    return HardNegative(text, types, weight) if spot.problems.total == n_before else None


def _types(value: object, spot: Spot) -> tuple[str, ...]:
    names = [value] if isinstance(value, str) else value
    if names is None:
        return (OTHER,)
    if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
        spot.refuse(expected="a text or a list of texts", found=show(value), fix='write ["price"], or leave type out')
        return (OTHER,)
    distinct = dict.fromkeys(clean(name) for name in names if not is_blank(clean(name)))
    if len(distinct) > _MOST_TYPES or any(len(name) > LONGEST_NAME for name in distinct):
        expected = f"at most {_MOST_TYPES} types of at most {LONGEST_NAME:,} characters"
        spot.refuse(expected=expected, found=show(value), fix="name what differs, or leave type out")
        return (OTHER,)
    return tuple(distinct) or (OTHER,)


def _weight(value: object, spot: Spot) -> float:
    """The weight as given, 0 where the rule is to give it."""
    if value is None or (is_number(value) and value == 0):
        return 0.0
    if not is_weight(value):
        expected = f"a number from {MIN_WEIGHT:g} to {MAX_WEIGHT:,.0f}, or 0 for the weight rule"
        spot.refuse(expected=expected, found=show(value), fix="correct it, or leave weight out")
        return 0.0
    return float(value)  # type: ignore[arg-type]  # is_weight lets numbers pass only


def _prompt(value: object, spot: Spot) -> str:
    if value is None or isinstance(value, str):
        # A prompt ends as its model wants it: line breaks and spaces stay.
        return "" if value is None or is_blank(value) else without_unprintable(spot.problems.cut(value))
    spot.refuse(expected="text", found=show(value), fix="write what stands before the query, or leave it out")
    return ""


def _judgement(value: object, spot: Spot) -> Judged | None:
    n_before = spot.problems.total
    if not isinstance(value, Mapping):
        spot.refuse(expected="an object", found=show(value), fix='write {"text": "...", "grade": 1}')
        return None
    text = to_text(value.get("text"), spot.at("text"))
    grade = to_grade(value.get("grade", 1), spot.at("grade"))
    name = to_name(value.get("id"), spot.at("id"))
    return Judged(text, grade, name) if spot.problems.total == n_before else None


def to_grade(value: object, spot: Spot) -> int:
    """A value as a grade; what is no whole number is taken down, and the grade is then of no use."""
    if not is_number(value) or value != round(value) or abs(value) > _LARGEST_GRADE:  # type: ignore[call-overload,arg-type]
        spot.refuse(expected="a whole number", found=show(value), fix="correct the grade, or drop the judgement")
        return 0
    return int(value)  # type: ignore[call-overload,no-any-return]


def _metadata(value: object, spot: Spot) -> Mapping[str, str | float]:
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        spot.refuse(expected="an object", found=show(value), fix='write {"district": "...", "price": 5.5}')
        return {}
    takes = spot.problems.takes_column
    plain = _flat(value)
    return {clean(name): _column(one, spot.at(name)) for name, one in plain.items() if one is not None and takes(name)}


def _flat(value: Mapping[Any, Any]) -> dict[str, Any]:
    """Columns of columns under names with dots; those nested deeper than that as they are."""
    found: dict[str, Any] = {}
    for name, one in value.items():
        inner = {f"{name}.{key}": part for key, part in one.items()} if isinstance(one, Mapping) else {str(name): one}
        found |= inner
    return found


def _column(value: object, spot: Spot) -> str | float:
    if isinstance(value, bool | list | Mapping):
        value = json.dumps(value, ensure_ascii=False, default=str)  # a name to group by
    if isinstance(value, str):
        return clean(spot.problems.cut(value))
    if is_number(value) and abs(value) > _LARGEST_NUMBER:  # type: ignore[arg-type]
        return f"{float(value):g}"  # type: ignore[arg-type]  # a name to group by
    if is_number(value):
        return int(value) if isinstance(value, Integral) else float(value)  # type: ignore[arg-type]
    spot.refuse(expected="text or a finite number", found=show(value), fix="write a text or a number, or leave it out")
    return ""
