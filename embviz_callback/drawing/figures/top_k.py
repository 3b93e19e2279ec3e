"""The top-10: what five telling queries find first, and why."""

import unicodedata
from collections import Counter
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure
from numpy.typing import NDArray

from embviz_callback.drawing import style
from embviz_callback.drawing.wording import number, rank_word
from embviz_callback.measure import COSINE, TITLES
from embviz_callback.pairs.texts import fold, without_diacritics
from embviz_callback.snapshot import Snapshot

_TITLE = "Top-10 predictions"
_WIDTH = 900
# px: a bar with its gap, the two lines above a list, the title above all, the corner below.
_ROW, _ABOVE, _TOP, _BOTTOM = 24, 60, 32, 72
_N_BARS, _THICKNESS = 10, 0.86  # of a row
_MOST_SHARED = 4
_COMMON = 0.2  # share of the documents from which on a word alone is not telling
_SHARED_COLOUR = "#383838"  # darker than other notes: it also lies over the blue of a long bar
_TEXT_SIZE, _SHARED_SIZE = 10, 9
# The right edge of the axes holds sign and score, the middle what is shared.
_TEXT_ROOM, _SHARED_ROOM = 500, 250
_OWN, _ALSO, _WRONG = "#8CC4E8", "#BFE3D5", "#E4E4E4"  # pale, since text stands in the bars


@dataclass(frozen=True)
class Telling:
    """A query worth showing.

    Attributes:
        row: Of the query.
        why: In words.
    """

    row: int
    why: str


@dataclass(frozen=True)
class Bar:
    """One document in a query's list.

    Attributes:
        rank: Its place, from 1.
        text: Of the document.
        score: Similarity with the query.
        kind: "own" for the best relevant document, "also relevant" or "wrong".
        shared: What it has in common with the query.
        grade: What was judged of it; None where nobody judged it, or grades tell no more than the kind.
    """

    rank: float
    text: str
    score: float
    kind: str
    shared: tuple[str, ...]
    grade: int | None = None


def telling_queries(snapshot: Snapshot) -> tuple[Telling, ...]:
    """Two hits, the closest call and two misses; where one kind is rare, more of the others.

    Args:
        snapshot: Ranks and scores are read.

    Returns:
        At most five, each query once.
    """
    similarity = snapshot.similarity
    lead = _leads(snapshot)
    rank = similarity.rank
    hit = np.flatnonzero(similarity.is_hit & np.isfinite(lead))
    miss = np.flatnonzero(~similarity.is_hit & (similarity.came_first >= 0))
    hit = hit[np.argsort(-lead[hit], kind="stable")]
    miss = miss[np.argsort(-rank[miss], kind="stable")]
    wanted = [
        *(
            (hit[i], why)
            for i, why in ((0, "clearest hit"), (len(hit) // 2, "typical hit"), (-1, "closest call"))
            if len(hit)
        ),
        *((miss[i], why) for i, why in ((0, "worst miss"), (len(miss) // 2, "typical miss")) if len(miss)),
        *((row, "hit") for row in hit[1:]),
        *((row, "miss") for row in miss[1:]),
        *((row, "hit") for row in np.flatnonzero(similarity.is_hit)),
    ]
    chosen: dict[int, str] = {}
    for row, why in wanted:
        if len(chosen) < 5:
            chosen.setdefault(int(row), why)
    order = ("clearest hit", "typical hit", "hit", "closest call", "typical miss", "miss", "worst miss")
    return tuple(Telling(row, why) for row, why in sorted(chosen.items(), key=lambda item: order.index(item[1])))


def bars(snapshot: Snapshot, row: int) -> tuple[Bar, ...]:
    """The ten best documents of a query, and its own after them if it is not among them.

    Args:
        snapshot: What to read.
        row: Of the query.

    Returns:
        Bars, best first.
    """
    similarity, own = snapshot.similarity, int(snapshot.similarity.best_positive_row[row])
    top = zip(similarity.top_documents[row, :_N_BARS].tolist(), similarity.top_scores[row, :_N_BARS], strict=True)
    found = [(place, document, score) for place, (document, score) in enumerate(top, start=1) if document >= 0]
    if own >= 0 and own not in {document for _, document, _ in found}:
        found.append((similarity.rank[row], own, similarity.best_positive[row]))
    return tuple(_bar(snapshot, row, document, float(rank), float(score)) for rank, document, score in found)


def shared_features(snapshot: Snapshot, query: int, document: int) -> tuple[str, ...]:
    """Columns of equal value, or without columns the phrases that both texts have.

    Args:
        snapshot: Its texts are read.
        query: Row.
        document: Row of the pool; a text of a corpus has no columns.

    Returns:
        At most four: columns by name, or phrases as the document spells them, those that fewest
        documents have first; case never tells words apart, accents only where both have them.
    """
    subset = snapshot.subset
    is_document = document < len(subset.documents)
    asked, offered = subset.metadata[query], subset.document_metadata[document] if is_document else {}
    columns = [name for name in asked if name in offered]
    if columns:
        return tuple(f"{name} {asked[name]}" for name in columns if asked[name] == offered[name])[:_MOST_SHARED]
    phrases = _shared_phrases(subset.queries[query], snapshot.text(document))
    counts = _document_counts(subset.documents)
    rarity = {bare: min(counts[word] for word in bare) for bare in phrases}
    # "phòng" alone tells nothing where every document is a room.
    telling = [bare for bare in phrases if len(bare) > 1 or rarity[bare] <= max(_COMMON * len(subset.documents), 1)]
    return tuple(phrases[bare] for bare in sorted(telling, key=lambda bare: rarity[bare])[:_MOST_SHARED])


@style.styled
def draw_top_k(snapshot: Snapshot) -> Figure:
    """Bars of the ten best documents for each of five telling queries.

    Args:
        snapshot: What to show.

    Returns:
        A tall figure, or a panel that says why there is none.
    """
    chosen = telling_queries(snapshot)
    if not chosen:
        return style.text_panel(_TITLE, snapshot, "no query has a usable embedding")
    lists = [bars(snapshot, telling.row) for telling in chosen]
    # Placed by hand: two hundred texts would have to be measured to find a layout.
    figure, panels = _stacked([_ROW * (_places(found)[-1] + 1.2) for found in lists])
    style.head(figure, _TITLE, snapshot)
    graded = ", with the grade of what was judged" if len(snapshot.embeddings.grades) else ""
    low, high = _ends([bar.score for found in lists for bar in found], snapshot.similarity.measure)
    for axes, telling, found in zip(panels, chosen, lists, strict=True):
        _panel(axes, snapshot, telling, found, low=low, high=high)
    style.foot(
        figure,
        snapshot,
        f"✓ own document   ≡ also relevant   ✗ wrong{graded}   ·   bar: {TITLES[snapshot.similarity.measure]}"
        + (f" from {number(low, 2)}" if low < 0 else " from 0")
        + ("" if snapshot.similarity.measure == COSINE else f" to {number(high, 2)}"),
        "in grey: what document and query share (equal columns, else phrases)",
    )
    return figure


def _ends(scores: list[float], measure: str) -> tuple[float, float]:
    """Where bars begin, and where the longest there could be ends: at 1 for the cosine."""
    low = min(0.0, *scores)
    return low, 1.0 if measure == COSINE else max(0.0, *scores, low + 1e-9)


def _stacked(heights: list[float]) -> tuple[Figure, list[Axes]]:
    """A figure with one panel under the other, each of its own height in pixels."""
    total = _TOP + sum(_ABOVE + height for height in heights) + _BOTTOM
    figure = style.new_figure(round(total), _WIDTH, is_fixed=True)
    panels, top = [], total - _TOP
    for height in heights:
        top -= _ABOVE + height
        axes = style.placed_axes(figure, 4, top, _WIDTH - 8, height)
        axes.set(xticks=[], yticks=[], frame_on=False)
        panels.append(axes)
    return figure, panels


def _leads(snapshot: Snapshot) -> NDArray[np.float64]:
    """``(n_queries,)``, best relevant similarity minus the best wrong one among the first ten."""
    similarity, known = snapshot.similarity, snapshot.embeddings.relevance
    n_pool = similarity.n_pool + 1
    rows = np.arange(len(similarity.rank))[:, None]
    is_wrong = ~np.isin(rows * n_pool + similarity.top_documents, known[:, 0] * n_pool + known[:, 1])
    is_wrong &= similarity.top_documents >= 0
    best_wrong = np.where(is_wrong, similarity.top_scores, -np.inf).max(axis=1, initial=-np.inf)
    leads: NDArray[np.float64] = similarity.best_positive - best_wrong
    return leads


def _bar(snapshot: Snapshot, query: int, document: int, rank: float, score: float) -> Bar:
    embeddings, own = snapshot.embeddings, snapshot.similarity.best_positive_row[query]
    grade = [int(grade) for _, of, grade in embeddings.grades[embeddings.grades[:, 0] == query] if of == document]
    is_relevant = document in embeddings.relevance[embeddings.relevance[:, 0] == query, 1]
    kind = "own" if document == own else "also relevant" if is_relevant else "wrong"
    shared = shared_features(snapshot, query, document)
    return Bar(rank, snapshot.text(document), score, kind, shared, *grade[:1])


def _shared_phrases(query: str, document: str) -> dict[tuple[str, ...], str]:
    """Runs of words that follow one another in both texts: bare, and as the document spells them."""
    asked = _words(query)
    folded, bare_words = {word.folded for word in asked}, {word.bare for word in asked}
    following = {(first.bare, second.bare) for first, second in pairwise(asked)}
    runs: list[list[_Word]] = []
    last = ""
    for word in _words(document):
        # Accents count where both have them: sân is not sẵn, but san is either.
        typed_bare = word.bare in folded or (word.folded == word.bare and word.bare in bare_words)
        is_shared = word.folded in folded or typed_bare
        if is_shared:
            if (last, word.bare) not in following:
                runs.append([])
            runs[-1].append(word)
        last = word.bare if is_shared else ""
    return {tuple(word.bare for word in run): " ".join(word.spelt for word in run) for run in runs}


@lru_cache(maxsize=2)
def _document_counts(documents: tuple[str, ...]) -> Counter[str]:
    return Counter(bare for text in documents for bare in {word.bare for word in _words(text)})


@dataclass(frozen=True)
class _Word:
    """A word as written, in one case, and without accents."""

    spelt: str
    folded: str
    bare: str


def _words(text: str) -> list[_Word]:
    """The words of a text; digits raised or not are the same (25m²)."""
    words = "".join(sign if sign.isalnum() or sign in ".," else " " for sign in unicodedata.normalize("NFC", text))
    spelt = [word for word in (word.strip(".,") for word in words.split()) if word]
    folded = [fold(unicodedata.normalize("NFKC", word)) for word in spelt]
    return [_Word(word, same, without_diacritics(same)) for word, same in zip(spelt, folded, strict=True)]


def _panel(
    axes: Axes, snapshot: Snapshot, telling: Telling, found: tuple[Bar, ...], *, low: float, high: float
) -> None:
    rank = rank_word(float(snapshot.similarity.rank[telling.row]))
    room = _WIDTH - 60
    query = style.fitted(f"“{snapshot.subset.queries[telling.row]}", room - 20, style.LABEL_SIZE - 1) + "”"
    axes.set_title(
        f"{telling.why}: own document at rank {rank}\n{query}",
        loc="left",
        fontsize=style.LABEL_SIZE - 1,
        parse_math=False,
    )
    places = _places(found)
    axes.add_collection(_bars(places, found, low), autolim=False)
    for place, bar in zip(places, found, strict=True):
        _write(axes, place, bar, decimals=_decimals(low, high))
    if len(found) > 1 and places[-1] - places[-2] > 1:
        axes.axhline(places[-1] - 0.8, color=style.FAINT, linestyle=":", linewidth=1.5)
    axes.set(xlim=(low, high), ylim=(places[-1] + 0.6, -0.6))


def _places(found: tuple[Bar, ...]) -> list[float]:
    """Heights of the bars: a gap before one that does not follow the last."""
    places = [float(i) for i in range(len(found))]
    if len(found) > 1 and found[-1].rank > found[-2].rank + 1:
        places[-1] += 0.6
    return places


def _bars(places: list[float], found: tuple[Bar, ...], low: float) -> PolyCollection:
    """One artist for all: what matplotlib asks of each of fifty adds up."""
    colours = {"own": _OWN, "also relevant": _ALSO, "wrong": _WRONG}
    half = _THICKNESS / 2
    corners = [
        [(low, place - half), (bar.score, place - half), (bar.score, place + half), (low, place + half)]
        for place, bar in zip(places, found, strict=True)
    ]
    return PolyCollection(
        corners,
        facecolors=[colours[bar.kind] for bar in found],
        edgecolors=[style.POSITIVE if bar.kind == "own" else "none" for bar in found],
        linewidths=1.5,
    )


def _decimals(low: float, high: float) -> int:
    """Two, and fewer of scores that would run into the sign beside them."""
    return max(0, 2 - int(np.log10(max(-low, high, 1.0))))


def _write(axes: Axes, place: float, bar: Bar, *, decimals: int) -> None:
    sign = {"own": "✓", "also relevant": "≡", "wrong": "✗"}[bar.kind] + ("" if bar.grade is None else f" {bar.grade}")
    colour = {"own": style.POSITIVE, "also relevant": style.DOCUMENT, "wrong": style.MISS}[bar.kind]
    common: dict[str, Any] = {
        "transform": axes.get_yaxis_transform(),
        "va": "center_baseline",
        "parse_math": False,
        "fontsize": _TEXT_SIZE,
    }
    write = axes.figure.text  # the axes would clip each of two hundred texts
    rank = rank_word(bar.rank)
    write(0.005, place, style.fitted(f"{rank}. {bar.text}", _TEXT_ROOM, _TEXT_SIZE), **common)
    shared = style.fitted(" · ".join(bar.shared), _SHARED_ROOM, _SHARED_SIZE)
    write(0.915, place, shared, ha="right", color=_SHARED_COLOUR, **common | {"fontsize": _SHARED_SIZE})
    write(0.94, place, sign, ha="center", color=colour, **common | {"fontsize": 13})
    write(0.998, place, number(bar.score, decimals), ha="right", **common)
