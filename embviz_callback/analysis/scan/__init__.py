"""Every score of queries and documents, seen once: `scan` gives a `Similarity`, `Scan` takes a corpus in blocks.

The rest of what other rooms may use stands here too; the modules behind it are nobody else's.
"""

from embviz_callback.analysis.scan.corpus_scan import CorpusScan, Ranking, Scan, pool_text, scan
from embviz_callback.analysis.scan.passes import one_thread_each
from embviz_callback.analysis.scan.pool import EQUAL, exact_scores
from embviz_callback.analysis.scan.similarity import TOP, Similarity

__all__ = [
    "EQUAL",
    "TOP",
    "CorpusScan",
    "Ranking",
    "Scan",
    "Similarity",
    "exact_scores",
    "one_thread_each",
    "pool_text",
    "scan",
]
