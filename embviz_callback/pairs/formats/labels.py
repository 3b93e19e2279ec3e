"""Labels and scores of pairs: which of them say that a document answers a query."""

import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any

from embviz_callback.pairs.formats.form import Item, Reading
from embviz_callback.pairs.problems import DataError, show, show_name
from embviz_callback.pairs.texts import fold
from embviz_callback.pairs.weight_rule import is_number

# Where several are there, an assessor's comes before a search's or a model's score.
LABELS = ("label", "labels", "gold_label", "relevance", "rating", "click", "score", "scores", "similarity_score")
# Columns and words that say by themselves what they mean.
_TELLING = ("is_relevant", "relevant", "is_duplicate", "duplicate", "is_answer", "clicked", "is_positive", "is_match")
# In whatever name they stand, such as ``relatedness_score``, a column judges the pair beside it.
_LABEL_WORDS = frozenset({
    "label",
    "labels",
    "score",
    "scores",
    "relevance",
    "similarity",
    "grade",
    "rating",
    "judgment",
    "judgement",
})
_YES = frozenset(
    {"entailment", "entails", "relevant", "duplicate", "paraphrase", "equivalent", "similar", "positive", "match"}
    | {"yes", "true"}
)
_NO = frozenset({
    "neutral",
    "contradiction",
    "irrelevant",
    "negative",
    "mismatch",
    "no",
    "false",
    "different",
    "dissimilar",
})
_UNDECIDED = frozenset({"-", "-1", "", "?", "unknown", "undecided", "n/a", "none", "nan", "null"})  # as SNLI has them
_MOST_GRADES, _USUAL_GRADES = 10, 5
_FEWEST_RANKS = 4  # of a query
ALL_LABELS = (*LABELS, *_TELLING)


def label_column(names: frozenset[str], *, is_bare_pair: bool = False) -> str | None:
    """The column of a pair that says whether it is one, None without.

    Args:
        names: Of all columns.
        is_bare_pair: Whether nothing but such a column can tell, so that any name with a word for one counts.

    Returns:
        Its name.
    """
    named = column_called(sorted(names), ALL_LABELS)
    worded = (name for name in sorted(names) if is_bare_pair and judges(name))
    return named or next(worded, None)


def judges(name: str) -> bool:
    """Whether a word in the name of a column says that it judges: ``relatedness_score``, not ``scoreboard``."""
    return not _LABEL_WORDS.isdisjoint(re.findall(r"[^\W_]+", fold(name)))


def column_called(names: Iterable[str], wanted: Sequence[str]) -> str | None:
    """The column that has the first of some names, in whatever case; None without."""
    by_fold = {name.casefold(): name for name in names}
    return next((by_fold[name] for name in wanted if name in by_fold), None)


def is_label(column: str, values: Sequence[Any], reading: Reading, *, is_classified: bool = False) -> bool:
    """Whether the values of such a column are labels.

    Args:
        column: Its name.
        values: Of all rows that have one.
        reading: May say which label makes a pair relevant.
        is_classified: Whether the other columns are those of pairs that a label sorts.

    Returns:
        False for words of which nobody knows any: then it is a column of the user's own.
    """
    if reading.relevant_label or column.casefold() in _TELLING or is_classified:
        return True
    # One word that is known tells what the column is; the others are then for `says_relevant` to refuse.
    return any(not isinstance(value, str) or _word(value) is not None or _number(value) is not None for value in values)


def is_undecided(value: Any, reading: Reading) -> bool:
    """Whether a label says of a pair that nobody could agree on one."""
    if reading.relevant_label and _is_same(value, reading.relevant_label):
        return False
    return fold(str(value)) in _UNDECIDED


def _word(value: str) -> bool | None:
    """What a word says by itself, None for nothing: "not X" is a no whatever X is."""
    folded = fold(value).replace("_", " ").replace("-", " ")
    if folded.startswith(("not ", "non ", "no ")) or folded in _NO:
        return False
    return True if folded in _YES else None


def says_relevant(value: Any, column: str, reading: Reading) -> bool:
    """Whether a label or score says that the document answers the query.

    Args:
        value: The label.
        column: Where it stands.
        reading: May say which label, or from which score on.

    Returns:
        What the option, or the label by its own name, says.

    Raises:
        DataError: If neither says it: 1 is a duplicate in one data set and neutral in the next.
    """
    if reading.relevant_label:
        return _is_same(value, reading.relevant_label)
    number = _number(value)
    if reading.relevant_from is not None and number is not None:
        return number >= reading.relevant_from
    if (said := value if isinstance(value, bool) else _word(str(value))) is not None:
        return said
    if column.casefold() in _TELLING and number in (0, 1):
        return number == 1
    raise DataError(
        f"expected to know which {show_name(column)} makes a pair relevant, found {show(value)}. "
        f"Fix: say it: --relevant-from 0.8, or --relevant-label {_example(value)}; a column that says something else "
        f"is named by --fields query=...,pos=...,metadata={show_name(column)}"
    )


def _is_same(value: Any, label: str) -> bool:
    number = _number(value)
    return fold(str(value)) == fold(label) or (number is not None and number == _number(label))


def _example(value: Any) -> str:
    return show_name(value) if isinstance(value, str | int) else "1"


def _number(value: Any) -> float | None:
    if isinstance(value, bool):
        return float(value)
    if isinstance(value, str):
        try:
            number = float(value)
        except ValueError:
            return None
        return number if is_number(number) else None
    return float(value) if is_number(value) else None


def are_scores(judged: Iterable[Collection[Any]]) -> bool:
    """Whether whole numbers that stand beside documents, query by query, are scores or ranks of a search.

    Grades come in a few steps: no collection known to us has more than ten, nearly all have six at most, and most
    judge some documents as wrong (0). Scores differ within each query and go higher, or stop short of 0; ranks are 1
    to n in each.

    Args:
        judged: Per query what stands beside its documents; what is no number counts for nothing.

    Returns:
        True for what nobody would give as grades.
    """
    queries = [found for values in judged if (found := [one for one in values if is_number(one)])]
    highest = max((one for values in queries for one in values), default=0)
    if highest > _MOST_GRADES:
        return True
    if any(one <= 0 for values in queries for one in values):
        return False
    are_apart = all(len(set(values)) == len(values) for values in queries)
    are_ranks = all(set(values) == set(range(1, len(values) + 1)) for values in queries)
    return are_apart and (highest > _USUAL_GRADES or (are_ranks and max(map(len, queries), default=0) >= _FEWEST_RANKS))


def settled(entries: Sequence[tuple[int, Any]]) -> Iterator[tuple[int, Any]]:
    """Entries of which those that a label says are not relevant have become hard negatives of their query.

    Args:
        entries: In order, with their rows; what is no `Item` passes as it is.

    Yields:
        The relevant ones, each query's first with the hard negatives; one that has no relevant document at all is
        left out.
    """
    answered: set[str] = set()
    wrong: dict[str, list[Any]] = {}
    for _, item in entries:
        if isinstance(item, Item) and not item.is_relevant:
            pos = item.fields.get("pos")
            wrong.setdefault(_query(item), []).extend(pos if isinstance(pos, list) else [pos])
        elif isinstance(item, Item) and not item.left_out:
            answered.add(_query(item))
    for row, item in entries:
        if isinstance(item, Item) and not item.is_relevant:
            if _query(item) not in answered:
                yield row, Item({}, left_out="of a query without a relevant document")
        elif isinstance(item, Item) and not item.left_out and (negatives := wrong.pop(_query(item), [])):
            own = item.fields.get("hard_neg") or []
            fields = {**item.fields, "hard_neg": [*own, *negatives] if isinstance(own, list) else own}
            yield row, Item(fields, item.called)
        else:
            yield row, item


def _query(item: Item) -> str:
    query = item.fields.get("query")
    return fold(query) if isinstance(query, str) else ""
