"""A small run over a handful of rental listings: embeddings that improve from epoch to epoch, drawn by hand."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from embviz_callback.analysis.maps.projections import Projection, Skipped
from embviz_callback.drawing.page.epoch_view import epoch_view
from embviz_callback.drawing.page.page import page
from embviz_callback.drawing.reports.asides import Context
from embviz_callback.embeddings import Embeddings
from embviz_callback.pairs.formats.reading import records_from
from embviz_callback.pairs.subset import Subset, choose_subset
from embviz_callback.settings import Settings
from embviz_callback.snapshot import Snapshot, take_snapshot

HOSTILE = (
    "</script><img src=x onerror=document.title='hacked'>",
    "$\\frac{$ `|` <!-- %SCRIPT% -->",
    "nhà trọ 🏠 \u202e đảo \u2028 dòng",
    "NUL\x00 <b>đậm</b>",
)
DISTRICTS = ("Quận 1", "Quận 10", "Bình Thạnh", "Gò Vấp", "Đống Đa", "Cầu Giấy", "Thủ Đức")


def a_subset(n: int = 40) -> Subset:
    """Half of the plain queries are typed with diacritics, half without."""
    items = []
    for row in range(n - len(HOSTILE)):
        place, price = DISTRICTS[row % len(DISTRICTS)], 2 + row / 4
        typed = f"tìm phòng trọ {place} giá {price} triệu" if row % 2 else f"phong tro {place} {price}tr"
        columns = {"quận": place, "area": 15.0 + row}
        items.append({"query": typed, "pos": f"Phòng trọ {place} giá {price}tr", "metadata": columns})
    items += [{"query": f"hỏi {text}", "pos": f"Nhà {text}", "metadata": {"quận": "<i>khác</i>"}} for text in HOSTILE]
    return choose_subset(records_from(items), max_samples=n, seed=3)


def a_run(subset: Subset, noises: tuple[float, ...] = (3.0, 1.2, 0.6, 0.9), *, maps: bool = True) -> list[Snapshot]:
    """One snapshot for each noise: the smaller, the nearer queries lie to their documents."""
    rng = np.random.default_rng(0)
    documents = rng.normal(size=(len(subset.documents), 16))
    own = documents[[dict(subset.relevance[::-1].tolist())[row] for row in range(len(subset.queries))]]
    errors = rng.normal(size=own.shape)
    settings = Settings(bootstrap_draws=100, heatmap_pairs=10)
    snapshots = []
    for epoch, noise in enumerate(noises):
        wobble = 0.3 * rng.normal(size=own.shape)
        embeddings = Embeddings.from_raw(own + noise * errors + wobble, documents, subset.relevance)
        label = f"epoch {epoch}"
        taken = take_snapshot(
            label=label, subset=subset, embeddings=embeddings, settings=settings, epoch=epoch, step=10 * (epoch + 1)
        )
        flat = {"tsne": a_map(embeddings), "umap": Skipped("UMAP failed (MemoryError: 2 GB)")}
        snapshots.append(taken.with_maps(flat if maps else {}))
    return snapshots


def a_map(embeddings: Embeddings) -> Projection:
    """The first two coordinates: no map worth looking at, but one that moves with the embeddings."""
    return Projection(
        method="tsne",
        queries=embeddings.queries[:, :2].copy(),
        documents=embeddings.documents[:, :2].copy(),
        trustworthiness=0.91,
        continuity=0.92,
        displacement=0.05,
        parameter="perplexity 30",
        seed=7,
        note="fitted afresh",
    )


def a_page(run: Sequence[Snapshot], **beside: Any) -> str:
    """The page of evaluations at hand, with what is said beside them."""
    views = [epoch_view(one) for one in run]
    return page(views, run[0].subset, Context(**beside))
