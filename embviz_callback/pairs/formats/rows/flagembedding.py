"""FlagEmbedding's training data: query, pos, neg and a prompt for each query."""

from collections.abc import Iterator

from embviz_callback.pairs.formats.form import Form, Item, Reading, Row, among, filled, listed
from embviz_callback.pairs.records import text_id


def _is_known(names: frozenset[str]) -> bool:
    return {"query", "pos", "neg"} <= names and "hard_neg" not in names


def _translate(row: Row, reading: Reading) -> Iterator[Item]:
    fields = filled(
        query=row.get("query"),
        pos=row.get("pos"),
        hard_neg=listed(row.get("neg")),
        prompt=row.get("prompt"),
        id=text_id(row.get("id")),
        metadata=row.get("metadata"),
        judged=row.get("judged"),
    )
    yield Item(fields, {".hard_neg": ".neg"})


# pos_scores and neg_scores are a teacher's, not grades; type chooses a loss.
FLAGEMBEDDING = Form(
    "flagembedding",
    "FlagEmbedding training data (query, pos, neg)",
    _is_known,
    among("query", "pos", "neg", "prompt", "id", "metadata", "judged"),
    _translate,
)
