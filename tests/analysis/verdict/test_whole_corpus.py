"""What a sample tells of a corpus: its bounds hold for the whole, and a whole that is a sample of itself has none."""

import numpy as np

from embviz_callback.analysis.scan import scan
from embviz_callback.analysis.verdict.whole_corpus import whole_corpus
from embviz_callback.embeddings import Embeddings, unit_rows


def test_bounds_hold_for_the_whole_corpus_and_no_rank_is_scaled() -> None:
    rng = np.random.default_rng(0)
    documents = rng.standard_normal((40, 8))
    queries = documents + 0.7 * rng.standard_normal((40, 8))
    embeddings = Embeddings.from_raw(queries, documents, np.stack([np.arange(40)] * 2, axis=1))
    rows = unit_rows("corpus", rng.standard_normal((6000, 8)))[0]
    alone, whole = scan(embeddings), scan(embeddings, corpus=rows)
    truth = float((whole.above - alone.above).mean() / len(rows))
    n_outside = 0
    for start in range(0, 6000, 300):
        found = whole_corpus(scan(embeddings, corpus=rows[start : start + 300]), alone, n_texts=6000)
        share, low, high = found.share_above
        assert low <= share <= high
        n_outside += not low <= truth <= high
        for depth, (least, most) in found.hits.items():
            assert least <= np.mean(whole.rank <= depth) <= most
        assert found.hits[1][0] == 0  # of 5,700 unseen documents one may always stand first
        assert found.hits[1][1] > np.mean(whole.rank <= 1)
    assert n_outside <= 1
    every = whole_corpus(whole, alone, n_texts=6000)
    assert every.hits[10] == (np.mean(whole.rank <= 10),) * 2
    assert every.to_json()["positives_within_10"] == list(every.hits[10])
