"""Statements that contradict each other: what a query asks for and what its positive offers."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

from embviz_callback.pairs.check.raw import Hit, RawRecord
from embviz_callback.pairs.texts import fold
from embviz_callback.pairs.weight_rule import is_number

Value = str | float | tuple[str, ...] | list[str]
Extract = Callable[[str], Mapping[str, Value]]

# Which column a type of hard negative is about, where their names differ.
_COLUMN_OF_TYPE = {"location": "district", "amenity": "amenities"}


def disagreements(
    raws: Sequence[RawRecord], extract: Extract, compare: Collection[str] | None, tolerance: float
) -> Iterator[Hit]:
    """Queries that state a value which their positive contradicts.

    Args:
        raws: The records.
        extract: Reads columns from a text; a column it leaves out is not stated.
        compare: Columns to look at; None for all with a single value.
        tolerance: Relative difference of two numbers that still agree.

    Yields:
        Each query once, with the first positive that contradicts it, and which columns say what.
    """
    for raw in raws:
        stated = extract(raw.query) if raw.query else {}
        looked_at = sorted(stated.keys() if compare is None else stated.keys() & set(compare))
        for place, text in raw.positives:
            offered = extract(text)
            others = [
                f"{column}: {show_value(stated[column])} asked, {show_value(offered[column])} in {place}"
                for column in looked_at
                if column in offered and not agree(stated[column], offered[column], tolerance)
            ]
            if others:
                yield raw.hit("disagreement", ".query", f"{raw.query} -> {text}", "; ".join(others))
                break


def idle_types(raws: Sequence[RawRecord], extract: Extract) -> Iterator[Hit]:
    """Hard negatives of one type whose column has the same value as in the positive.

    Args:
        raws: The records.
        extract: Reads columns from a text.

    Yields:
        The hard negative, and what is the same.
    """
    for raw in raws:
        offered = [extract(text) for _, text in raw.positives]
        for negative in raw.negatives:
            if len(negative.types) != 1 or not offered:
                continue
            column = column_of_type(negative.types[0])
            # Amenities are too many for an extractor to know all of them: no difference is no proof.
            value = extract(negative.text).get(column)
            if value is None or isinstance(value, tuple | list):
                continue
            if any(agree(value, one[column], 0.0) for one in offered if column in one):
                yield raw.hit("idle_type", negative.place, negative.text, f"{column}: {show_value(value)} in both")


def column_of_type(name: str) -> str:
    """The column that a type of hard negative is about.

    Returns:
        Mostly its own name.

    Example:
        >>> column_of_type("location"), column_of_type("Price")
        ('district', 'price')
    """
    return _COLUMN_OF_TYPE.get(fold(name), fold(name))


def agree(one: Value, other: Value, tolerance: float) -> bool:
    """Whether two values of a column mean the same.

    Numbers agree within a share of the larger, texts if they are equal when folded, lists if
    neither names what the other leaves out.

    Returns:
        False for values of different kinds.

    Example:
        >>> agree(5.0, 5.5, 0.25), agree(5.0, 8.0, 0.25), agree("Quận 1", "quận 1", 0.0)
        (True, False, True)
    """
    if is_number(one) and is_number(other):
        larger = max(abs(float(one)), abs(float(other)))  # type: ignore[arg-type]
        return abs(float(one) - float(other)) <= tolerance * larger + 1e-9  # type: ignore[arg-type]
    if isinstance(one, str) and isinstance(other, str):
        return fold(one) == fold(other)
    if isinstance(one, tuple | list) and isinstance(other, tuple | list):
        return {fold(name) for name in one} == {fold(name) for name in other}
    return False


def show_value(value: Value) -> str:
    """A value of a column in words.

    Returns:
        A text; lists separated by commas, numbers as short as they are.

    Example:
        >>> show_value(5.0), show_value(("wc", "gym"))
        ('5', 'wc, gym')
    """
    if isinstance(value, tuple | list):
        return ", ".join(value)
    return value if isinstance(value, str) else f"{value:g}"
