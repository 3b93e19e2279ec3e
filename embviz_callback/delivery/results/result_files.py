"""What other programs read of a snapshot: arrays, numbers, errors; and back from the arrays."""

import csv
import io
import json
import unicodedata
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embviz_callback.analysis.metrics.catalogue import CATALOGUE
from embviz_callback.analysis.metrics.searches import missed
from embviz_callback.analysis.scan import CorpusScan
from embviz_callback.analysis.verdict.checklist import FAILED, PASSED, READY, Check, band, conclusion
from embviz_callback.analysis.why.analysis import Analysis
from embviz_callback.delivery.results.per_query import ByQuery
from embviz_callback.delivery.results.plain_vectors import subset_of_arrays
from embviz_callback.embeddings import Embeddings
from embviz_callback.files import with_leaves
from embviz_callback.measure import COSINE
from embviz_callback.pairs.check.findings import Checkup
from embviz_callback.pairs.subset import Subset
from embviz_callback.pairs.texts import beginning
from embviz_callback.snapshot import Snapshot

_ERROR_COLUMNS = ("query", "expected", "rank", "first", "score_expected", "score_first", "id")
_MAX_TEXT_BYTES = 1 << 28
_LONGEST_TEXT = 2_000  # characters in analysis.json
_LONGEST_CELL = 32_000
_DAMAGED = (OSError, AttributeError, KeyError, TypeError, ValueError, EOFError, zipfile.BadZipFile, zlib.error)
_FORMULA_SIGNS = ("=", "+", "-", "@", "\u2212")  # the last is the minus sign of typography


def metrics_json(snapshot: Snapshot, checks: Sequence[Check]) -> dict[str, Any]:
    """Every number of an evaluation and where it comes from, as plain JSON.

    Args:
        snapshot: With or without maps.
        checks: The checklist; empty before the figures are made, and then nothing is concluded.

    Returns:
        What ``metrics.json`` holds. NaN is null, an infinity the text "Infinity".
    """
    numbers = snapshot.metrics.as_dict()
    return {
        "label": snapshot.label,
        "epoch": snapshot.epoch,
        "fingerprint": snapshot.subset.fingerprint,
        **numbers,
        "per_query": None if (by_query := ByQuery.of(snapshot)) is None else by_query.to_json(),
        "bands": {name: band(name, snapshot.metrics[name]) for name, row in CATALOGUE.items() if row.bands},
        "checklist": [_plain_check(check) for check in checks],
        "ready": conclusion(checks) == READY if checks else None,
        "conclusion": conclusion(checks) if checks else None,
        "diagnosis": asdict(snapshot.diagnosis),
        "hub_documents": [beginning(snapshot.text(row), _LONGEST_TEXT) for row, _ in snapshot.metrics.hubs],
        "settings": asdict(snapshot.settings),
        "provenance": snapshot.provenance.to_json(),
    }


def _plain_check(check: Check) -> dict[str, Any]:
    # What pipelines of version 0.1 ask for; null where the data cannot tell, or nothing is judged.
    passed = {PASSED: True, FAILED: False}.get(check.outcome)
    return asdict(check) | {"value": None if np.isnan(check.value) else check.value, "passed": passed}


def analysis_json(snapshot: Snapshot, analysis: Analysis, checkup: Checkup | None = None) -> dict[str, Any]:
    """Everything an analysis found, with the texts, as plain JSON.

    Args:
        snapshot: The evaluation.
        analysis: Its analysis.
        checkup: What is wrong with the data.

    Returns:
        What ``analysis.json`` holds.
    """
    found = analysis.as_dict() | {"data": None if checkup is None else checkup.as_dict()}
    light = with_leaves(found, _cut)
    if light != found:
        light["notes"] = [*light["notes"], f"texts of more than {_LONGEST_TEXT:,} characters are cut here"]
    return {
        "label": snapshot.label,
        "metrics": snapshot.metrics.as_dict(),
        "provenance": snapshot.provenance.to_json(),
        **light,
    }


def _cut(value: Any) -> Any:
    """Without very long texts: a list of misses may name the same one a hundred times."""
    return beginning(value, _LONGEST_TEXT) if isinstance(value, str) else value


def errors_csv(snapshot: Snapshot) -> str:
    """Each query that a wrong document outscores or ties with, the worst first.

    Args:
        snapshot: What to list.

    Returns:
        A table with the query, its best-scored relevant document and that one's rank (a tie is its
        expectation, "inf" is a query or document without direction), the best wrong document (or text of
        the corpus), both scores, and the query's id; where the model declares another similarity than the
        cosine, a last column names it. A cell that a spreadsheet would calculate begins with an apostrophe;
        one that is longer than spreadsheets take is cut.
    """
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    # Only where it is not what everybody expects.
    said = () if snapshot.similarity.measure == COSINE else (snapshot.similarity.measure,)
    writer.writerow((*_ERROR_COLUMNS, *("similarity" for _ in said)))
    for one in missed(snapshot):
        cells = (one.query, one.expected, f"{one.rank:g}", one.first or "", _score(one.score), _score(one.first_score))
        writer.writerow([inert_cell(beginning(cell, _LONGEST_CELL)) for cell in (*cells, one.id or "", *said)])
    return file.getvalue()


def _score(value: float) -> str:
    return "" if np.isnan(value) else f"{value:.6f}"


def inert_cell(cell: str) -> str:
    """Text that no spreadsheet takes for a formula; a negative number stays one."""
    is_number = cell.lstrip("-").replace(".", "", 1).isdecimal()
    # Some programs pass over blanks and take full-width signs for plain ones.
    first = unicodedata.normalize("NFKC", cell.lstrip()[:1])
    is_formula = first.startswith(_FORMULA_SIGNS) or cell.startswith(("\t", "\r"))
    return f"'{cell}" if is_formula and not is_number else cell


def embeddings_npz(snapshot: Snapshot) -> bytes:
    """The vectors with their texts, readable without pickle.

    Of a corpus neither vectors nor all texts are in it, but what came of ranking among it: the
    same figures can be drawn again and compared, others need the model and the corpus again.

    Args:
        snapshot: What to save.

    Returns:
        A compressed ``.npz`` of `query` and `document` (float32, as served), `similarity` by which the model compares
        them, `query_text` and `document_text`,
        `relevance`, `records`, `hard_negative`, `hard_negative_text` and `hard_pairs` where there are
        some, `subset` (JSON, for `read_embeddings`), and with a corpus `corpus` (JSON) and ``scan_...``.
        Texts have a fixed width, so that very long ones among very many are cut.
    """
    embeddings, subset = snapshot.embeddings, snapshot.subset
    served = embeddings.as_served
    arrays = {
        "query": served.queries,
        "document": served.documents,
        "similarity": np.array(embeddings.similarity),
        "query_text": _text_array(subset.queries),
        "document_text": _text_array(subset.documents),
        "relevance": embeddings.relevance,
        "records": embeddings.records,
        "set_aside": np.array([embeddings.non_finite, embeddings.zero]),
        "subset": _json_array(subset.to_json()),
    }
    if subset.hard_negatives:
        arrays |= {
            "hard_negative": served.hard_negatives,
            "hard_negative_text": _text_array(subset.hard_negatives),
            "hard_pairs": embeddings.hard_pairs,
        }
    if snapshot.corpus_scan is not None:
        arrays |= {"corpus": _json_array(snapshot.corpus_scan.to_json())} | snapshot.corpus_scan.arrays()
    file = io.BytesIO()
    np.savez_compressed(file, allow_pickle=False, **arrays)
    return file.getvalue()


def _json_array(content: Mapping[str, Any]) -> NDArray[np.uint8]:
    return np.frombuffer(json.dumps(content, ensure_ascii=False).encode(), dtype=np.uint8)


def _text_array(texts: Sequence[str]) -> NDArray[np.str_]:
    widest = max(1, _MAX_TEXT_BYTES // (4 * max(1, len(texts))))
    return np.array([text[:widest] for text in texts], dtype=np.str_)


def read_embeddings(path: Path) -> tuple[Subset, Embeddings, CorpusScan | None]:
    """The subset, its vectors and the scan among its corpus from a file of `embeddings_npz`, or from plain arrays.

    Args:
        path: The file.

    Returns:
        All of it, equal to what was saved; no scan where there was no corpus.

    Raises:
        ValueError: If the file is damaged, or holds neither (see `subset_of_arrays`).
    """
    try:
        # Opened here: numpy leaves a file open that turns out to be none of its own.
        with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
            is_ours = "subset" in file.files
            arrays = {name: file[name] for name in file.files if not (is_ours and name.endswith("_text"))}
        if not is_ours:
            return *subset_of_arrays(arrays), None
        subset = Subset.from_json(json.loads(arrays["subset"].tobytes()))
        non_finite, zero = (int(count) for count in arrays["set_aside"])
        hard = {"hard_negatives": arrays["hard_negative"]} if "hard_negative" in arrays else {}
        embeddings = Embeddings.restored(
            similarity=str(arrays.get("similarity", COSINE)),
            queries=arrays["query"],
            documents=arrays["document"],
            relevance=subset.relevance,
            hard_pairs=subset.hard_pairs,
            records=subset.records,
            grades=subset.grades,
            non_finite=non_finite,
            zero=zero,
            **hard,
        )
        corpus_scan = None
        if subset.n_corpus:
            corpus_scan = CorpusScan.from_arrays(arrays, json.loads(arrays["corpus"].tobytes()))
    except _DAMAGED as error:
        raise ValueError(f"{path} is no embeddings.npz of this program ({error}); make it again") from None
    if (len(embeddings.queries), len(embeddings.documents)) != (len(subset.queries), len(subset.documents)):
        raise ValueError(
            f"{path} has {len(embeddings.queries)} query rows for {len(subset.queries)} queries; make it again"
        )
    return subset, embeddings, corpus_scan
