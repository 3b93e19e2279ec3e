"""Our own form, and FlagEmbedding's training data, which differ from it in one name."""

from collections.abc import Iterator

from embviz_callback.pairs.field_names import RECORD_FIELDS
from embviz_callback.pairs.formats.form import Form, Item, Reading, Row, among, renaming
from embviz_callback.pairs.formats.rows.anchor_columns import is_negative


def _is_native(names: frozenset[str]) -> bool:
    return {"query", "pos"} <= names and ("hard_neg" in names or not any(map(is_negative, names)))


def _is_flagembedding(names: frozenset[str]) -> bool:
    return {"query", "pos", "neg"} <= names and "hard_neg" not in names


def _translate(row: Row, reading: Reading) -> Iterator[Item]:
    yield Item(row)


NATIVE = Form("native", "records of our own form", _is_native, among(*RECORD_FIELDS), _translate)
# pos_scores and neg_scores are a teacher's, not grades; type chooses a loss.
FLAGEMBEDDING = renaming(
    "flagembedding",
    "FlagEmbedding training data (query, pos, neg)",
    _is_flagembedding,
    **{name: name for name in ("query", "pos", "hard_neg", "prompt", "id", "metadata", "judged")} | {"hard_neg": "neg"},
)
