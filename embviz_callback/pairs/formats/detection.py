"""The forms whose rows are records, in the order in which they are tried, and which of them some rows have."""

from collections.abc import Callable, Mapping, Sequence
from shlex import quote
from typing import Any

from embviz_callback.pairs.field_names import is_likely, meant_fields
from embviz_callback.pairs.formats.collections.parts import HEADERS, as_document
from embviz_callback.pairs.formats.form import OURS, Form, Reading, cell, renaming
from embviz_callback.pairs.formats.labels import ALL_LABELS
from embviz_callback.pairs.formats.rows.anchor_columns import ANSWERS, COLUMNS, QUERIES, columns_of
from embviz_callback.pairs.formats.rows.labelled_lists import (
    LABELLED_LISTS,
    MSMARCO_RECORDS,
    hold_labels,
    judged_by_scores,
    labelled_lists_of,
)
from embviz_callback.pairs.formats.rows.lists import EXAMPLES, LISTS, SETS, lists_of
from embviz_callback.pairs.formats.rows.native import FLAGEMBEDDING, NATIVE
from embviz_callback.pairs.formats.rows.passages import DPR, TEVATRON
from embviz_callback.pairs.formats.rows.squad import SQUAD, SQUAD_ROWS
from embviz_callback.pairs.formats.rows.swift import MESSAGES, RESPONSES
from embviz_callback.pairs.intake.opening import TABLES, suffix_of
from embviz_callback.pairs.intake.tables import NAMES_ABOVE
from embviz_callback.pairs.problems import DataError, show_names
from embviz_callback.pairs.records import Record

# The more particular first: nearly all of them have a query.
ROW_FORMS: tuple[Form, ...] = (
    *(TEVATRON, DPR, SQUAD, SQUAD_ROWS, MESSAGES, LABELLED_LISTS, FLAGEMBEDDING, NATIVE, RESPONSES, COLUMNS),
    *(MSMARCO_RECORDS, SETS, LISTS, EXAMPLES),
)
# Names by which the first line of a table is known for one of names.
KNOWN_NAMES = frozenset({*QUERIES, *ANSWERS, *HEADERS, *ALL_LABELS, "neg", "negative", "hard_neg"})


def names_of(rows: Sequence[Any]) -> frozenset[str]:
    """All field names of some rows."""
    names: set[str] = set()
    for row in rows:
        if isinstance(row, Mapping):
            names.update(name for name in row if isinstance(name, str))
    return frozenset(names)


def _names_within(rows: Sequence[Any]) -> frozenset[str]:
    """All field names of some rows, those of objects in them that are no documents behind a dot."""
    inner = {f"{name}.{one}" for row in rows if isinstance(row, Mapping) for name in row for one in _keys(row[name])}
    return names_of(rows) | inner


def _keys(value: Any) -> Sequence[str]:
    return list(value) if isinstance(value, Mapping) and as_document(value) is value else ()


def _form_named(name: str) -> Form:
    by_name = {form.name: form for form in ROW_FORMS}
    if name not in by_name:
        raise DataError(f"--format: there is no form {name!r}. Fix: give one of {', '.join(sorted(by_name))}")
    return by_name[name]


def form_of(rows: Sequence[Any], reading: Reading, name: str) -> Form:
    """Which form some rows have.

    Args:
        rows: JSON values.
        reading: May name the form, or the columns.
        name: Of the source, for errors.

    Returns:
        The form; our own where a record looks like a misspelt one of ours. A `DataError` says if no field can be
        taken for a query or a document.
    """
    names = names_of(rows)
    if reading.fields:
        return _by_fields(rows, reading, name)
    if reading.format:
        found = _form_named(reading.format)
    elif sum(isinstance(row, list | tuple) for row in rows) * 2 > len(rows):
        found = LISTS
    elif (known := known_form(names)) is not None:
        found = known
    elif hold_labels(rows):
        found = LABELLED_LISTS
    else:
        _check_hope(rows, names, name)
        found = NATIVE
    # Under many names, or under none, the values themselves say what each of them holds.
    if found is LABELLED_LISTS:
        return _said_of(name, lambda: labelled_lists_of(rows, reading))
    return columns_of(rows) if found is COLUMNS else lists_of(rows) if found is LISTS else found


def known_form(names: frozenset[str]) -> Form | None:
    """The first form that has such names, None for none."""
    return next((form for form in ROW_FORMS if form.is_known_by(names)), None)


def _check_hope(rows: Sequence[Any], names: frozenset[str], name: str) -> None:
    """Whether a correction of single names would make records of the rows."""
    if any(isinstance(row, Record) for row in rows) or not names:
        return
    is_part = "text" in names and names & {"_id", "id", "docid"} and not names & {"query", "pos"}
    are_judged = names & {"corpus-id", "docid", "doc_id", "corpus_id"} and not names & {"query", "question"}
    if is_part or are_judged:
        found = "texts with identifiers (a corpus, or queries)" if is_part else "judgements without texts"
        fix = "give the folder in which queries, corpus and qrels lie"
        raise DataError(f"{name}: expected pairs, found {found}. Fix: {fix}")
    missing = [field for field in ("query", "pos") if field not in names and field not in meant_fields(names)]
    names = _names_within(rows)
    free = [column for column in sorted(names - set(OURS)) if any(_may_hold_texts(row, column) for row in rows)]
    # One that is there needs the other, which another column may hold.
    if len(missing) == 2 or (missing and free):
        raise DataError(
            f"{name}: expected fields of a known form, found {show_names(sorted(names))}. Fix: say which is which: "
            f"--fields {quote(_likely_fields(names, free))}"
            f"{f'; {NAMES_ABOVE}' if len(missing) == 2 and suffix_of(name) in TABLES else ''}"
        )


def _may_hold_texts(row: Any, column: str) -> bool:
    is_typable = column.isprintable() and "," not in column  # as a value of --fields
    return is_typable and isinstance(row, Mapping) and isinstance(cell(row, column), str | list | Mapping)


def _likely_fields(names: frozenset[str], free: list[str]) -> str:
    """What to give as --fields, with COLUMN where nobody can tell."""
    found = {ours: ours for ours in OURS if ours in names}
    # Last the query, for which pos_text would do as well.
    for ours in ("pos", "hard_neg", "query"):
        likely = [column for column in free if is_likely(ours, column)] if ours not in found else []
        if len(likely) == 1:
            found[ours] = likely[0]
            free = [column for column in free if column != likely[0]]
    missing = [ours for ours in ("query", "pos") if ours not in found]
    if len(missing) == len(free) == 1 and names & {"query", "pos"}:
        found[missing[0]] = free[0]
    found = {"query": "COLUMN", "pos": "COLUMN", **found}
    return ",".join(f"{ours}={theirs}" for ours, theirs in found.items())


def _by_fields(rows: Sequence[Any], reading: Reading, name: str) -> Form:
    fields, names = reading.fields, _names_within(rows)
    held = {theirs for theirs in fields.values() if any(isinstance(row, Mapping) and cell(row, theirs) for row in rows)}
    missing = [f"{ours}={theirs}" for ours, theirs in fields.items() if theirs not in names | held]
    if missing:
        there = show_names(sorted(names))
        raise DataError(f"--fields: there is no column for {', '.join(missing)} in {name}. Fix: choose of {there}")
    shown = ", ".join(f"{ours}={theirs}" for ours, theirs in fields.items())
    form = renaming("fields", f"the columns named by --fields ({shown})", lambda names: True, **fields)
    if is_likely("pos", fields["pos"]):
        return form
    return _said_of(name, lambda: judged_by_scores(form, fields["pos"], rows, reading))


def _said_of(name: str, make: Callable[[], Form]) -> Form:
    """The form, or the error that says of which source it is."""
    try:
        return make()
    except DataError as error:
        raise DataError(f"{name}: {error}") from None


def is_whole(value: Mapping[str, Any]) -> bool:
    """Whether an object is a record of a known form by itself, which our own reader would take for none."""
    if "query" in value or any(isinstance(one, Mapping) for one in value.values()):
        return False
    names = frozenset(map(str, value))
    has_text = any(isinstance(one, str) for one in value.values())
    return has_text and known_form(names) is not None
