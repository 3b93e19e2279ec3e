"""Draws the pictures of docs/figures.md: the five figures of good and bad models, by the product itself.

Four small models on the same invented pairs: a head trained as by `embviz demo`, the same before its training,
one trained by a loss without negatives (it collapses), and the trained one with a direction added that all its vectors
share, as those of many published models do (the scores lie in a narrow band).

Run: ``python docs/make_images.py`` (one to two minutes on one core). The picture of a run's page in the README is taken
of a page that is there, by Chromium: ``python docs/make_images.py embviz-demo/run/embviz/report.html``.
"""

import subprocess
import sys
from collections.abc import Callable, Sequence
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from embviz_callback.analysis.maps.projections import project
from embviz_callback.demo.rental_pairs import generate_pairs
from embviz_callback.drawing.figures.png import draw, to_png
from embviz_callback.encoding.models.biencoder import BiEncoder, ProjectionHead, load_backbone
from embviz_callback.encoding.subject import Side, Subject
from embviz_callback.evaluator import Evaluator, Moment
from embviz_callback.pairs.formats.reading import records_from
from embviz_callback.pairs.subset import Subset, choose_subset
from embviz_callback.settings import Settings
from embviz_callback.snapshot import Snapshot

IMAGES = Path(__file__).resolve().parent / "images"
# Which models each figure is shown of.
WANTED = {
    "tsne_projection": ("healthy", "undertrained"),
    "umap_projection": ("healthy", "collapsed"),
    "similarity_heatmap": ("healthy", "compressed", "undertrained"),
    "similarity_distribution": ("healthy", "compressed", "collapsed"),
    "top_k_predictions": ("healthy", "undertrained"),
}
_SETTINGS = Settings(max_samples=300, bootstrap_draws=300)
_MOST_BYTES = 150_000
_Encode = Callable[[Sequence[str]], Tensor]
_Loss = Callable[[Tensor, Tensor], Tensor]


def main() -> int:
    """Trains the four, draws what is wanted of each."""
    if len(sys.argv) > 1:
        photograph(Path(sys.argv[1]), IMAGES / "report_page.png")
        return 0
    torch.manual_seed(7)
    items = generate_pairs(2500, seed=7, hard_negatives=2)
    subset = choose_subset(records_from(items[2000:]), max_samples=_SETTINGS.max_samples, seed=7)
    IMAGES.mkdir(exist_ok=True)
    for label, encode in _models(items[:2000]).items():
        snapshot = _looked_at(label, encode, subset)
        print(f"{label}: {snapshot.diagnosis.verdict}; {snapshot.diagnosis.reason}")
        for figure in (name for name, labels in WANTED.items() if label in labels):
            path = IMAGES / f"{figure}_{label}.png"
            png = to_png(draw(figure, _with_map(snapshot, figure)))
            path.write_bytes(png if len(png) < _MOST_BYTES else _smaller(png))
            print(f"  {path.name} {path.stat().st_size / 1000:.0f} kB")
    return 0


def photograph(page: Path, to: Path) -> None:
    """The upper part of a page: cards, map and charts, in as many colours as a small file holds."""
    with TemporaryDirectory() as name:
        shot = Path(name) / "page.png"
        options = ("--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--window-size=1280,1770")
        command = ["chromium", *options, "--virtual-time-budget=4000", f"--screenshot={shot}", page.resolve().as_uri()]
        subprocess.run(command, check=True, capture_output=True)
        picture = Image.open(shot).convert("RGB")
    # This way keeps the rare colours, those of the few queries that were missed.
    picture.quantize(256, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE).save(to, optimize=True)
    print(f"{to.name} {to.stat().st_size / 1000:.0f} kB")


def _models(items: list[dict[str, Any]]) -> dict[str, _Encode]:
    backbone = load_backbone("char-ngrams-4096")
    blank = BiEncoder(backbone, ProjectionHead(backbone.dim, 128))
    with torch.no_grad():
        pairs = [blank.features([item[side] for item in items]) for side in ("query", "pos")]
    healthy = _trained(blank, pairs, _contrast(0.07), epochs=4)
    collapsed = _trained(blank, pairs, _attraction, epochs=6)
    encoders = {"healthy": healthy, "undertrained": blank, "collapsed": collapsed}
    return {label: model.encode for label, model in encoders.items()} | {"compressed": _with_shared_part(healthy)}


def _with_shared_part(model: BiEncoder) -> _Encode:
    shared = nn.functional.normalize(torch.randn(128), dim=0) * 1.5

    def encode(texts: Sequence[str]) -> Tensor:
        return nn.functional.normalize(model.encode(texts) + shared, dim=-1)

    return encode


def _trained(start: BiEncoder, pairs: list[Tensor], loss: _Loss, *, epochs: int) -> BiEncoder:
    assert start.head is not None
    model = BiEncoder(start.backbone, ProjectionHead(start.backbone.dim, 128))
    assert model.head is not None
    model.head.load_state_dict(start.head.state_dict())
    optimizer = torch.optim.Adam(model.head.parameters(), lr=3e-3)
    for _ in range(epochs):
        for rows in torch.randperm(len(pairs[0])).split(64):
            optimizer.zero_grad()
            loss(*(model.project(side[rows]) for side in pairs)).backward()
            optimizer.step()
    return model


def _contrast(temperature: float) -> _Loss:
    def loss(queries: Tensor, documents: Tensor) -> Tensor:
        return cross_entropy(queries @ documents.T / temperature, torch.arange(len(queries)))

    return loss


def _attraction(queries: Tensor, documents: Tensor) -> Tensor:
    """Pulls pairs together and pushes nothing apart: the shortest way is one vector for everything."""
    return (1 - nn.functional.cosine_similarity(queries, documents)).mean()


def _looked_at(label: str, encode: _Encode, subset: Subset) -> Snapshot:
    side = Side(encode)
    return Evaluator(subset, _SETTINGS).look(Subject(nn.Identity(), side, side), Moment(name=label))


def _with_map(snapshot: Snapshot, figure: str) -> Snapshot:
    method, is_map, _ = figure.partition("_projection")
    return (
        snapshot.with_maps({method: project(snapshot.embeddings, method, seed=_SETTINGS.seed)}) if is_map else snapshot
    )


def _smaller(png: bytes) -> bytes:
    """Long lists of text fill the repository; sixteen colours are enough for those."""
    file = BytesIO()
    picture = Image.open(BytesIO(png)).convert("RGB").quantize(16, dither=Image.Dither.NONE)
    picture.save(file, format="PNG", optimize=True)
    return file.getvalue()


if __name__ == "__main__":
    sys.exit(main())
