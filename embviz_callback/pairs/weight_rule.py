"""How much a hard negative counts: from the kinds of difference between it and the positive."""

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from numbers import Real
from typing import Any

from embviz_callback.pairs.intake.opening import open_text
from embviz_callback.pairs.intake.parsing import parse_document
from embviz_callback.pairs.problems import DataError, show, show_names
from embviz_callback.pairs.texts import fold

OTHER = "other"
MIN_WEIGHT, MAX_WEIGHT = 1e-6, 1e6  # beyond these, exp(similarity) x weight leaves float32

# The same numbers as configs/weight-config.json, which an installed package does not carry.
_BASE = {
    "location": 2.5,
    "price": 2.0,
    "area": 1.5,
    "amenity": 1.0,
    "furniture": 0.8,
    "floor": 0.5,
    OTHER: 0.5,
}
_FIELDS = ("base_weights", "increment_ratio", "cap")


@dataclass(frozen=True)
class WeightRule:
    """The weight of a hard negative that brings none of its own.

    Attributes:
        base: Weight of each type of difference; must hold ``other``, which stands for unknown types.
        increment_ratio: Share of the base weight that every further type adds, at least 0.
        cap: The largest weight the rule gives.

    Raises:
        ValueError: If ``other`` is missing or a number is out of its range.

    Example:
        >>> default_rule().weight(["price", "amenity"])
        2.3
    """

    base: Mapping[str, float] = field(default_factory=lambda: dict(_BASE))
    increment_ratio: float = 0.3
    cap: float = 4.0

    def __post_init__(self) -> None:
        if OTHER not in self.base:
            raise ValueError(f"base must have a weight for {OTHER!r}, it has {show_names(self.base)}")
        for name, weight in {**{f"base[{kind!r}]": self.base[kind] for kind in self.base}, "cap": self.cap}.items():
            if not is_weight(weight):
                raise ValueError(f"{name} must be a number from {MIN_WEIGHT:g} to {MAX_WEIGHT:,.0f}, got {weight!r}")
        if not is_number(self.increment_ratio) or not 0 <= self.increment_ratio <= 1:
            raise ValueError(f"increment_ratio must be between 0 and 1, got {self.increment_ratio!r}")

    def weight(self, types: Sequence[str]) -> float:
        """The largest base weight, plus `increment_ratio` times each remaining one, up to `cap`.

        Args:
            types: Kinds of difference; equal names count once, unknown names and none count as ``other``.

        Returns:
            The weight, rounded to nine decimals so that 2.0 + 0.3 is 2.3 and nothing near it.
        """
        distinct = dict.fromkeys(map(fold, types)) or {OTHER: None}
        weights = sorted((self.base.get(kind, self.base[OTHER]) for kind in distinct), reverse=True)
        return min(round(weights[0] + self.increment_ratio * sum(weights[1:]), 9), self.cap)


def is_weight(value: Any) -> bool:
    """Whether a value can multiply an exponential in float32: no bool, finite, not tiny, not huge."""
    return is_number(value) and bool(MIN_WEIGHT <= value <= MAX_WEIGHT)


def is_number(value: Any) -> bool:
    """Whether a value is a finite real number and no bool; numpy's scalars are.

    Returns:
        Never an error, whatever the value.

    Example:
        >>> is_number(5), is_number(True), is_number(float("nan")), is_number(10**400)
        (True, False, False, False)
    """
    if isinstance(value, bool) or not isinstance(value, float | int | Real):  # Real alone is slow to ask
        return False
    number: Any = value  # Real promises no comparison
    # Comparing is exact for integers of any length, where math.isfinite overflows; NaN compares false.
    return bool(abs(number) <= sys.float_info.max)


def default_rule() -> WeightRule:
    """The rule of the data format, as configs/weight-config.json writes it."""
    return WeightRule()


def read_rule(path: str | os.PathLike[str]) -> WeightRule:
    """A rule from a JSON file with ``base_weights``, ``increment_ratio`` and ``cap``.

    Args:
        path: The file; a field it leaves out has its default.

    Returns:
        The rule.

    Raises:
        DataError: If the file cannot be read, has an unknown field or a number out of range.
    """
    opened = open_text(path)
    content = parse_document(opened.text, opened.path)
    if not isinstance(content, dict):
        raise DataError(f"{opened.path}: expected an object with {', '.join(_FIELDS)}, found {show(content)}")
    for name in content:
        if name not in _FIELDS:
            raise DataError(f"{opened.path}: there is no field {name!r}; there are {', '.join(_FIELDS)}")
    base = content.get("base_weights", _BASE)
    if not isinstance(base, dict):
        raise DataError(f"{opened.path}.base_weights: expected an object of numbers, found {show(base)}")
    try:
        rest = {name: content[name] for name in _FIELDS[1:] if name in content}
        return WeightRule(base={fold(kind): weight for kind, weight in base.items()}, **rest)
    except ValueError as error:
        raise DataError(f"{opened.path}: {error}") from None
