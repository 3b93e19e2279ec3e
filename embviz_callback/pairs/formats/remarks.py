"""What is odd about data that can be read: said, never changed."""

import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator, Sequence

from embviz_callback.grammar import agreeing, counted
from embviz_callback.pairs.flaws import is_placeholder
from embviz_callback.pairs.records import Record
from embviz_callback.pairs.texts import fold

_FEW_RECORDS = 5


def quality_notes(records: Sequence[Record]) -> tuple[str, ...]:
    """What a reader of the figures should know about the pairs behind them, one sentence each.

    Returns:
        Counts, each with the first record concerned, counted from 1.
    """
    notes = [
        *_counted(records, _is_its_own_answer, "a query that equals its own positive"),
        *_counted(records, _has_positive_as_negative, "a hard negative that equals a positive; it is left out"),
        *_counted(records, _has_placeholder, "a text that is a placeholder nobody filled in, such as {pos}"),
        *_counted(records, _is_decomposed, "text in decomposed Unicode (NFD), equal to its composed form here"),
        *_repeated(records),
        *_mixed_columns(records),
    ]
    if len(records) < _FEW_RECORDS:
        notes.append(f"only {counted(len(records), 'record')}: too few for maps and intervals")
    return tuple(notes)


def _counted(records: Sequence[Record], holds: Callable[[Record], bool], what: str) -> Iterator[str]:
    rows = [row for row, record in enumerate(records) if holds(record)]
    if rows:
        held = f"{counted(len(records), 'record')} {agreeing(len(rows), '[have|has]')} {what}"
        yield f"{len(rows):,} of {held} (first: record {rows[0] + 1:,})"


def _is_its_own_answer(record: Record) -> bool:
    return fold(record.query) in map(fold, record.positives)


def _has_positive_as_negative(record: Record) -> bool:
    if not record.hard_negatives:
        return False
    positives = {fold(text) for text in record.positives}
    return any(fold(negative.text) in positives for negative in record.hard_negatives)


def _has_placeholder(record: Record) -> bool:
    return any(map(is_placeholder, (*record.texts, *(negative.text for negative in record.hard_negatives))))


def _is_decomposed(record: Record) -> bool:
    return not all(unicodedata.is_normalized("NFC", text) for text in record.texts)


def _repeated(records: Sequence[Record]) -> Iterator[str]:
    pairs = Counter((fold(record.query), *sorted(map(fold, record.positives))) for record in records)
    n_repeated = sum(pairs.values()) - len(pairs)
    if n_repeated:
        repeat = agreeing(n_repeated, "repeat[|s]")
        yield f"{n_repeated:,} of {len(records):,} records {repeat} the query and positives of another"
    ids = Counter(record.id for record in records if record.id is not None)
    shared = [count for count in ids.values() if count > 1]
    if shared:
        yield f"{sum(shared):,} records share {counted(len(shared), 'id')}: records of one id share their positives"


def _mixed_columns(records: Sequence[Record]) -> Iterator[str]:
    """Columns that hold a number here and a text there ("5tr"): neither sorted nor averaged rightly."""
    texts: dict[str, list[int]] = {}
    numbers: Counter[str] = Counter()
    for row, record in enumerate(records):
        for name, value in record.metadata.items():
            if isinstance(value, str):
                texts.setdefault(name, []).append(row)
            else:
                numbers[name] += 1
    for name in sorted(texts.keys() & numbers.keys()):
        rows = texts[name]
        yield (
            f"metadata {name!r} is a number in {counted(numbers[name], 'record')} and text in {len(rows):,} "
            f"(first: record {rows[0] + 1:,})"
        )
