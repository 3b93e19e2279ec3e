"""Labels and scores of pairs: which of them say that a document answers a query."""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

from embviz_callback.pairs.formats.form import Item, Reading
from embviz_callback.pairs.problems import DataError, show, show_name
from embviz_callback.pairs.texts import fold, without_diacritics
from embviz_callback.pairs.weight_rule import is_number

# Where several are there, an assessor's comes before a search's or a model's score.
LABELS = ("label", "labels", "gold_label", "relevance", "rating", "click", "score", "scores", "similarity_score")
# Columns and words that say by themselves what they mean.
_TELLING = (
    *("is_relevant", "relevant", "is_duplicate", "duplicate", "is_answer", "clicked", "is_positive", "is_match"),
    *("is_similar", "is_paraphrase", "is_correct", "correct", "answerable"),
)
# In whatever name they stand, such as ``relatedness_score``, a column judges the pair beside it.
_LABEL_WORDS = frozenset(
    {"label", "labels", "score", "scores", "relevance", "relevant", "similarity", "grade", "rating", "judgment"}
    | {
        "judgement",
        "verdict",
        "correct",
        "answerable",
        "duplicate",
        "paraphrase",
        "click",
        "clicks",
        "ctr",
        "purchases",
        "nhan",
        "diem",
    }
    | {"lien quan", "phu hop"}
)
# These are what others call their own columns: they judge pairs of sentences, or where one query has several of them.
_PERHAPS = frozenset({
    "rel",
    "y",
    "target",
    "class",
    "gold",
    "quality",
    "match",
    "votes",
    "upvotes",
    "purchase",
    "orders",
})
_YES = frozenset(
    {"entailment", "entails", "relevant", "duplicate", "paraphrase", "equivalent", "similar", "positive", "match"}
    | {"yes", "true", "co", "dung", "giong", "lien quan", "phu hop"}
)
_NO = frozenset(
    {"neutral", "contradiction", "irrelevant", "negative", "mismatch", "no", "false", "different", "dissimilar"}
    | {"khong", "sai", "khac"}
)
# Of these any column consists that judges, whatever its name; the other words above are said of much else.
_VERDICTS = frozenset(
    {
        "entailment",
        "neutral",
        "contradiction",
        "relevant",
        "irrelevant",
        "duplicate",
        "paraphrase",
        "lien quan",
        "exact",
    }
    | {"substitute", "complement", "partial", "partially relevant", "highly relevant", "somewhat relevant"}
)
_NOT = ("not ", "non ", "no ", "khong ", "chua ")
_UNDECIDED = frozenset({"-", "-1", "", "?", "unknown", "undecided", "n/a", "none", "nan", "null"})  # as SNLI has them
_COMMA = re.compile(r"\s*-?\d+,\d+\s*")  # as spreadsheets write 0.9 in most of Europe and in Vietnam
_MOST_WORDS = 10  # different ones of a column that judges
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
    return next(iter(label_columns(names, is_bare_pair=is_bare_pair)), None)


def label_columns(names: frozenset[str], *, is_bare_pair: bool) -> list[str]:
    """All of which the names say that they may judge a pair, the likeliest first."""
    named = column_called(sorted(names), ALL_LABELS)
    return ([named] if named else []) + [name for name in sorted(names) if is_bare_pair and judges(name)]


def judges(name: str) -> bool:
    """Whether a word in the name of a column says that it judges: ``relatedness_score``, not ``scoreboard``."""
    return _has_word(name, _LABEL_WORDS)


def _has_word(name: str, words: Collection[str]) -> bool:
    said = " ".join(re.findall(r"[^\W_]+", _plain(name)))
    return any(f" {word} " in f" {said} " for word in words)


def _plain(text: str) -> str:
    """A word as it is looked up: Vietnamese is written with and without its accents."""
    return without_diacritics(fold(text)).replace("_", " ").replace("-", " ")


def hidden_label(columns: Mapping[str, Sequence[tuple[str, Any]]], *, is_classified: bool) -> str | None:
    """A column of pairs that judges them though its name does not say so.

    Args:
        columns: Per column query and value of each row that has one.
        is_classified: Whether the other columns are those of pairs that a label sorts.

    Returns:
        One of verdicts, such as "irrelevant"; or one of a name that may mean it, whose values tell documents of
        one query apart; None without.
    """
    for name in sorted(columns):
        values = columns[name]
        if values and all(_has_verdict(value) for _, value in values):
            return name
        if values and _has_word(name, _PERHAPS) and (is_classified or tells_apart(values)):
            return name
    return None


def _has_verdict(value: Any) -> bool:
    """Whether a value is a verdict, or what an annotation tool writes around one."""
    if isinstance(value, Mapping | list):
        return any(map(_has_verdict, value.values() if isinstance(value, Mapping) else value))
    return isinstance(value, str) and is_verdict(value)


def is_verdict(value: str) -> bool:
    """Whether a word says nothing but whether a document is relevant, such as "not relevant"."""
    word = _plain(value)
    return next((word.removeprefix(no) for no in _NOT if word.startswith(no)), word) in _VERDICTS


def tells_apart(values: Iterable[tuple[str, Any]]) -> bool:
    """Whether few different values tell rows of one query apart."""
    of_query: dict[str, set[str]] = {}
    for query, value in values:
        of_query.setdefault(query, set()).add(str(value))
    several = any(len(one) > 1 for one in of_query.values())
    return several and len(set().union(*of_query.values())) <= _MOST_WORDS


def column_called(names: Iterable[str], wanted: Sequence[str]) -> str | None:
    """The column that has the first of some names, in whatever case; None without."""
    by_fold = {name.casefold(): name for name in names}
    return next((by_fold[name] for name in wanted if name in by_fold), None)


def is_label(column: str, values: Sequence[tuple[str, Any]], reading: Reading, *, is_classified: bool = False) -> bool:
    """Whether the values of such a column are labels.

    Args:
        column: Its name.
        values: Query and value of all rows that have one.
        reading: May say which label makes a pair relevant.
        is_classified: Whether the other columns are those of pairs that a label sorts.

    Returns:
        False for words of which nobody knows any, unless they tell documents of one query apart: then it is a column
        of the user's own.
    """
    if reading.relevant_label or column.casefold() in _TELLING or is_classified:
        return True
    # One word that is known tells what the column is; the others are then for `says_relevant` to refuse.
    known = (value for _, value in values if not isinstance(value, str) or _is_known(value))
    return any(True for _ in known) or tells_apart(values)


def is_undecided(value: Any, reading: Reading) -> bool:
    """Whether a label says of a pair that nobody could agree on one."""
    if reading.relevant_label and _is_same(value, reading.relevant_label):
        return False
    return fold(str(value)) in _UNDECIDED


def _is_known(value: str) -> bool:
    return _word(value) is not None or _number(value) is not None


def _word(value: str) -> bool | None:
    """What a word says by itself, None for nothing: "not X" is a no whatever X is."""
    word = _plain(value)
    if word.startswith(_NOT) or word in _NO:
        return False
    return True if word in _YES else None


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
    if isinstance(value, list | Mapping):
        raise DataError(
            f"expected one label in {show_name(column)}, found {show(value)}. Fix: say where it stands in it: "
            f"--fields query=...,pos=...,label={show_name(column)}.NAME, or metadata={show_name(column)} if it is none"
        )
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
            number = float(value.replace(",", ".") if _COMMA.fullmatch(value) else value)
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
