"""What a model makes of a subset, and of a corpus that is read, encoded, scored and forgotten block by block."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from embviz_callback.analysis.scan import TOP, CorpusScan, Scan, scan
from embviz_callback.analysis.verdict.whole_corpus import whole_corpus
from embviz_callback.embeddings import Embeddings
from embviz_callback.evaluator.listener import SILENCE, Listener
from embviz_callback.pairs.corpus import Corpus

if TYPE_CHECKING:
    from embviz_callback.encoding.distributed.shared_corpus import Exchange
    from embviz_callback.encoding.encode import Block
    from embviz_callback.encoding.subject import Subject
    from embviz_callback.evaluator.evaluator import Evaluator


@dataclass(frozen=True, eq=False)
class Encoded:
    """What a model makes of a subset and its corpus.

    Attributes:
        embeddings: Of the subset.
        corpus_scan: What came of ranking among the corpus, whose vectors are gone; None where there is none.
        kept: All of the corpus, where it was to be kept.
    """

    embeddings: Embeddings
    corpus_scan: CorpusScan | None = None
    kept: "Block | None" = None


def encode_each(
    evaluators: "Sequence[Evaluator]",
    subject: "Subject",
    exchange: "Exchange | None" = None,
    listener: Listener = SILENCE,
) -> tuple[Encoded, ...]:
    """The vectors of several sets from one look at a model.

    Args:
        evaluators: At least one; a batch is as large as the first says.
        subject: The model.
        exchange: With the other ranks, where a corpus is shared out.
        listener: Hears of smaller batches and of progress.

    Returns:
        What `Evaluator.measure` takes, for each.
    """
    # torch, seconds that saved embeddings must not wait for
    from embviz_callback.encoding.distributed.sharded_weights import gathered
    from embviz_callback.encoding.isolation import observe, woken

    options: dict[str, Any] = {
        "batch_size": evaluators[0].settings.batch_size,
        "halve": subject.can_halve,
        "on_halved": listener.say_halved,
    }
    subject = replace(subject, similarity=evaluators[0].settings.similarity or subject.similarity)
    try:
        with observe(subject.module, subject.trainer), gathered(subject) as ready:
            found = tuple(_encoded(one, ready, exchange, listener, options) for one in evaluators)
            listener.say_woken(woken(subject.module))
    finally:
        subject.after()
    return found


def _encoded(
    evaluator: "Evaluator",
    subject: "Subject",
    exchange: "Exchange | None",
    listener: Listener,
    options: Mapping[str, Any],
) -> Encoded:
    from embviz_callback.encoding.encode import Block, encode_subset
    from embviz_callback.encoding.product import device_for, product_on

    embeddings = encode_subset(subject, evaluator.subset, progress=listener.progress("encoding"), **options)
    corpus = evaluator.corpus
    if corpus is None:
        return Encoded(embeddings)
    device = device_for(subject.module, len(embeddings.documents) + len(corpus))
    product = product_on(device, on_fallback=listener.say_fallback)
    scanned = Scan(embeddings, n_corpus=len(corpus), top_k=max(evaluator.depth, TOP), product=product)
    share = {} if exchange is None else {"rank": exchange.ranks.rank, "n_ranks": exchange.ranks.n_ranks}
    kept: list[Block] | None = [] if evaluator.keeps_vectors else None
    texts: Mapping[int, str] = _gone_through(scanned, subject, corpus, listener, kept, {**options, **share})
    if exchange is not None:
        texts = _with_other_shares(scanned, exchange, corpus, texts)
    corpus_scan = _summed_up(scanned, corpus, texts, depth=evaluator.depth)
    return Encoded(embeddings, corpus_scan, Block.together(kept) if kept else None)


def _gone_through(
    scanned: Scan,
    subject: "Subject",
    corpus: Corpus,
    listener: Listener,
    kept: "list[Block] | None",
    options: Mapping[str, Any],
) -> dict[int, str]:
    """Encodes this rank's share, scores each block at once and forgets it; gives the texts among the best by row."""
    from embviz_callback.encoding.encode import encode_blocks

    progress = listener.progress("ranking among the corpus")
    options = {**options, "progress": progress, "similarity": subject.similarity}
    texts: dict[int, str] = {}
    for block in encode_blocks(subject.documents, corpus, **options):
        scanned.add(block.rows, block.vectors)
        listener.known(f"rank-1 at most {scanned.unbeaten:.1%}")
        best = scanned.best_rows
        texts = {row: texts[row] for row in best.tolist() if row in texts}
        texts |= {int(block.rows[at]): block.texts[at] for at in np.flatnonzero(np.isin(block.rows, best))}
        if kept is not None:
            kept.append(block)
    return texts


def _with_other_shares(
    scanned: Scan, exchange: "Exchange", corpus: Corpus, texts: Mapping[int, str]
) -> Mapping[int, str]:
    """Puts what all ranks have found in the place of this one's share; gives their texts by row."""
    exchange.settle(scanned.embeddings.queries.shape[1], mark=int(corpus.fingerprint, 16))
    scanned.join(exchange.gather_all(scanned.sums()))
    return exchange.gather_texts({row: texts[row] for row in scanned.best_rows.tolist() if row in texts})


def _summed_up(scanned: Scan, corpus: Corpus, texts: Mapping[int, str], *, depth: int) -> CorpusScan:
    """What is kept of the corpus, when all of it has been seen."""
    unusable = len(corpus) - scanned.n_scored
    facts = corpus.facts | ({"without_direction": unusable} if unusable else {})
    similarity = scanned.finish()
    if corpus.n_before:
        bounds = whole_corpus(similarity, scan(scanned.embeddings), n_texts=corpus.n_before)
        facts["of_the_whole"] = bounds.to_json()
    return CorpusScan.of(similarity, texts, facts, depth=depth)
