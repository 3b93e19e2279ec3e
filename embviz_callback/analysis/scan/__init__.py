"""Every cosine between queries and documents, seen once: `scan` gives a `Similarity`.

The rest of what other rooms may use stands here too; the modules behind it are nobody else's.
"""

from embviz_callback.analysis.scan.corpus_scan import CorpusScan, Ranking, pool_text, scan_with_corpus
from embviz_callback.analysis.scan.one_pass import one_thread_each
from embviz_callback.analysis.scan.pool import EQUAL, exact_scores
from embviz_callback.analysis.scan.similarity import Similarity, scan

__all__ = [
    "EQUAL",
    "CorpusScan",
    "Ranking",
    "Similarity",
    "exact_scores",
    "one_thread_each",
    "pool_text",
    "scan",
    "scan_with_corpus",
]
