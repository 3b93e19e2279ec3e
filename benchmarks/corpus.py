"""What ranking among a corpus costs beside its encoding: memory a document, and time beside the bare product.

    OMP_NUM_THREADS=1 python benchmarks/corpus.py 100000 300000 1000000

Documents of 256 dimensions stand in a file of JSON Lines; an encoder that costs next to nothing (two rows of a table
added up) makes their vectors, so that what is seen is ours. Each way and size in a process of its own:
`product` multiplies the blocks as they are encoded and keeps nothing; `ours` is the whole evaluation: the file read
and folded twice, encoded, scored, summed up. `semantic_search` (sentence-transformers) and `faiss` hold all vectors and
find the best ten, nothing else. Seconds are of the processor; `product` and `ours` run in turns, ``--rounds`` times,
and what stands in the table are medians: a busy machine costs one round more than another by as much as our part.
With three sizes or more a line extrapolates ours to ten million documents. Then, for each size, scoring blocks that are
at hand beside multiplying them, and the whole evaluation shared out over gloo processes of this machine, and compared;
with ``--trainer N`` so many documents in a training of transformers.Trainer over one and two. ``--only`` and
``--ranks`` choose.
"""

import argparse
import json
import os
import resource
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from embviz_callback.analysis.scan import Scan
from embviz_callback.embeddings import Embeddings, unit_rows
from embviz_callback.encoding.distributed.shared_corpus import Ranks
from embviz_callback.encoding.encode import encode_blocks
from embviz_callback.encoding.subject import Side, Subject
from embviz_callback.evaluator import Evaluator, Moment
from embviz_callback.pairs.corpus import WINDOW
from embviz_callback.pairs.formats.reading import read_pairs
from embviz_callback.settings import Settings

DIM, BATCH = 256, 1024
WAYS = ("product", "ours", "semantic_search", "faiss")
_COMPARED = ("rank", "pair_above", "pair_tied", "top_documents", "negative_counts")
_MOMENTS = ("negative_mean", "negative_std", "row_mean", "row_variance", "mean_off_diagonal")


def table_of(dim: int) -> Tensor:
    """Unit rows of which vectors are made."""
    return torch.nn.functional.normalize(torch.randn(8192, dim, generator=torch.Generator().manual_seed(0)))


_TABLE = table_of(DIM)


def encode(texts: list[str], table: Tensor = _TABLE) -> Tensor:
    """Vectors by the number at the end of each text; a query lies near the document of its number."""
    numbers = torch.tensor([int(text.rsplit(" ", 1)[1]) for text in texts])
    noise = torch.tensor([0.8 if text.startswith("query") else 0.0 for text in texts])
    rows = table[numbers % 8191] + table[(numbers // 8191) * 31 % 8179]
    return rows + noise[:, None] * table[(numbers * 7 + 3) % 8111]


def evaluator(path: Path, n_queries: int) -> Evaluator:
    """On so many pairs, among the documents of a file."""
    pairs = [{"query": f"query {row}", "pos": f"own {row}"} for row in range(n_queries)]
    settings = Settings(max_samples=n_queries, batch_size=BATCH, bootstrap_draws=100)
    return Evaluator.on(read_pairs(pairs), settings, corpus=f"{path}")


def subject(ranks: Ranks | None = None) -> Subject:
    """The encoder that costs nothing."""
    return Subject(nn.Identity(), Side(encode), Side(encode), ranks=ranks)


def ours(path: Path, n_queries: int) -> dict[str, Any]:
    """The whole evaluation; how long the first reading took apart."""
    made = evaluator(path, n_queries)
    read_s = time.process_time()
    snapshot = made.look(subject(), Moment())
    return {"first_reading_s": read_s, "rank1": snapshot.metrics.rank1}


def product(path: Path, n_queries: int) -> dict[str, Any]:
    """Blocks as they come, multiplied tile by tile."""
    made = evaluator(path, n_queries)
    queries = torch.nn.functional.normalize(encode([f"query {row}" for row in range(n_queries)])).numpy()
    assert made.corpus is not None
    scores = np.empty((1024, len(queries)), dtype=np.float32)
    spent_s = 0.0
    for block in encode_blocks(Side(encode), made.corpus, batch_size=BATCH):
        begun = time.process_time()
        for start in range(0, len(block.vectors), 1024):
            tile = block.vectors[start : start + 1024]
            np.matmul(tile, queries.T, out=scores[: len(tile)])
        spent_s += time.process_time() - begun
    return {"product_s": spent_s}


def _whole(path: Path, n_queries: int) -> tuple[Tensor, Tensor]:
    with path.open(encoding="utf-8") as file:
        texts = [json.loads(line)["text"] for line in file]
    rows = torch.cat([encode(texts[at : at + BATCH]) for at in range(0, len(texts), BATCH)])
    queries = encode([f"query {row}" for row in range(n_queries)])
    return torch.nn.functional.normalize(queries), torch.nn.functional.normalize(rows)


def semantic_search(path: Path, n_queries: int) -> dict[str, Any]:
    """The best ten by sentence-transformers."""
    from sentence_transformers.util import semantic_search as search

    queries, rows = _whole(path, n_queries)
    begun = time.process_time()
    search(queries, rows, top_k=10)
    return {"search_s": time.process_time() - begun}


def faiss(path: Path, n_queries: int) -> dict[str, Any]:
    """The best ten by an exact index of faiss."""
    import faiss as library

    queries, rows = _whole(path, n_queries)
    begun = time.process_time()
    index = library.IndexFlatIP(DIM)
    index.add(rows.numpy())
    index.search(queries.numpy(), 10)
    return {"search_s": time.process_time() - begun}


def measured(way: str, path: Path, n_queries: int) -> dict[str, Any]:
    """One way, in this process: seconds of the processor, and memory beyond what was held before."""
    if way in ("semantic_search", "faiss"):
        __import__({"semantic_search": "sentence_transformers", "faiss": "faiss"}[way])
    with tempfile.TemporaryDirectory() as folder:
        small = Path(folder) / "small.jsonl"
        write_documents(small, 20)
        ours(small, 10)  # what is loaded at first use
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    begun = time.process_time()
    found = globals()[way](path, n_queries)
    taken = time.process_time() - begun
    if "first_reading_s" in found:
        found["first_reading_s"] -= begun
    return {"cpu_s": taken, "more_mib": (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024, **found}


def write_documents(path: Path, n: int) -> None:
    """So many documents as JSON Lines."""
    with path.open("w", encoding="utf-8") as file:
        file.writelines(f'{{"_id": "d{row}", "text": "Phòng trọ quận {row % 12}, mã tin {row}"}}\n' for row in range(n))


def on_rank(path: Path, n_queries: int) -> dict[str, Any] | None:
    """One of several processes: what the first of them finds, and how long all took."""
    torch.distributed.init_process_group("gloo")
    begun, clock = time.process_time(), time.perf_counter()
    snapshot = evaluator(path, n_queries).look(subject(Ranks.of_launcher()), Moment())
    taken = torch.tensor([time.process_time() - begun])
    torch.distributed.all_reduce(taken)
    is_first = torch.distributed.get_rank() == 0
    torch.distributed.destroy_process_group()
    if not is_first:
        return None
    values = {name: np.asarray(getattr(snapshot.similarity, name)).tolist() for name in (*_COMPARED, *_MOMENTS)}
    return {"cpu_s": float(taken), "wall_s": time.perf_counter() - clock, "values": values}


class Tuned(nn.Module):
    """A head behind the encoder, for a Trainer that is to leave it as it is."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(DIM, 64, bias=False)
        nn.init.orthogonal_(self.head.weight, generator=torch.Generator().manual_seed(0))

    def forward(self, rows: Tensor) -> dict[str, Tensor]:
        """A loss that has a gradient."""
        return {"loss": self.head(rows).square().mean()}

    def encode(self, texts: list[str]) -> Tensor:
        """As for `encode`."""
        return self.head(encode(texts))


def in_trainer(path: Path, n_queries: int) -> dict[str, Any] | None:
    """One of several processes of a training, whose Trainer has put them together: what the first one logs."""
    from transformers import Trainer, TrainingArguments

    from embviz_callback.adapters.transformers import EmbvizTrainerCallback

    pairs = [{"query": f"query {row}", "pos": f"own {row}"} for row in range(n_queries)]
    data = [{"rows": row} for row in _TABLE[:32]]
    given: dict[str, Any] = {"max_samples": n_queries, "batch_size": BATCH, "bootstrap_draws": 100, "figures": False}
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            folder, num_train_epochs=2, learning_rate=0.0, use_cpu=True, ddp_backend="gloo", report_to=[],
            disable_tqdm=True, save_strategy="no", per_device_train_batch_size=4, dataloader_pin_memory=False,
        )  # fmt: skip
        trainer = Trainer(Tuned(), arguments, train_dataset=data)
        shares = arguments.world_size > 1
        callback = EmbvizTrainerCallback(
            pairs, corpus=f"{path}", shard_corpus=shares, on_error="raise", output_dir=f"{folder}/embviz", **given
        )
        callback.attach(trainer)
        begun, clock = time.process_time(), time.perf_counter()
        trainer.train()
        taken = torch.tensor([time.process_time() - begun])
        if shares:
            torch.distributed.all_reduce(taken)
        logged = [one for one in trainer.state.log_history if "embviz/rank1" in one]
        is_first = trainer.is_world_process_zero()
        if shares:
            torch.distributed.destroy_process_group()
    if not is_first:
        return None
    times = ("embviz/blocked_s", "embviz/overhead")
    values = [{name: one[name] for name in one if name.startswith("embviz") and name not in times} for one in logged]
    return {"cpu_s": float(taken), "wall_s": time.perf_counter() - clock, "values": values}


def _child(*arguments: Any, environment: Mapping[str, str] | None = None) -> "subprocess.Popen[str]":
    command = [sys.executable, "-W", "ignore", __file__, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ | (environment or {}))


def _answer(child: "subprocess.Popen[str]") -> Any:
    said = child.communicate()[0]
    if child.returncode:
        raise SystemExit(f"a child ended with {child.returncode}")
    return json.loads(said.splitlines()[-1])


def _in_turns(path: Path, n_queries: int, ways: Sequence[str], rounds: int) -> dict[str, list[dict[str, Any]]]:
    """What each way has measured, round by round; the peers, which nothing is divided by, in the first only."""
    found: dict[str, list[dict[str, Any]]] = {way: [] for way in ways}
    for turn in range(rounds):
        for way in ways:
            if turn == 0 or way in ("ours", "product"):
                found[way].append(_answer(_child(path, "--way", way, "--queries", n_queries)))
    return found


def among(sizes: Sequence[int], n_queries: int, ways: Sequence[str], rounds: int, folder: Path) -> Iterator[str]:
    """The table of ways and sizes, line by line."""
    if not ways or not sizes:
        return
    yield "| documents | way | CPU, s | of it product, search, s | first reading, s | memory, MiB | bytes a document |"
    yield "|---|---|---|---|---|---|---|"
    found: dict[int, dict[str, Any]] = {}
    said: list[str] = []
    for size in sizes:
        path = folder / f"{size}.jsonl"
        write_documents(path, size)
        runs = _in_turns(path, n_queries, ways, rounds)
        for way, rows in runs.items():
            row = {name: float(np.median([one[name] for one in rows])) for name in rows[0]}
            found.setdefault(size, {})[way] = row
            inner, first = row.get("product_s", row.get("search_s")), row.get("first_reading_s")
            cells = ["" if value is None else f"{value:.1f}" for value in (inner, first)]
            each = row["more_mib"] * 2**20 / size
            cells = [f"{row['cpu_s']:.1f}", *cells, f"{row['more_mib']:.0f}", f"{each:.0f}"]
            yield f"| {size:,} | {way} | {' | '.join(cells)} |"
        path.unlink()
        if {"ours", "product"} <= set(ways):
            pairs = zip(runs["ours"], runs["product"], strict=True)
            ratios = sorted(ours["cpu_s"] / bare["cpu_s"] for ours, bare in pairs)
            said.append(
                f"{size:,}: the whole evaluation takes {np.median(ratios):.2f} times reading, encoding and the bare "
                f"product (of {len(ratios)} rounds {ratios[0]:.2f} to {ratios[-1]:.2f})"
            )
    yield from ("", *said)
    if len(sizes) >= 3 and "ours" in ways:
        yield _extrapolated(sizes, [found[size]["ours"] for size in sizes])


def _extrapolated(sizes: Sequence[int], rows: Sequence[Mapping[str, float]]) -> str:
    seconds, memory = (np.polyfit(sizes, [row[name] for row in rows], 1) for name in ("cpu_s", "more_mib"))
    at = 10_000_000
    return (
        f"{at:,} (extrapolated by a line through {len(sizes)} sizes): {np.polyval(seconds, at):,.0f} CPU s, "
        f"{np.polyval(memory, at):,.0f} MiB, {memory[0] * 2**20:.1f} bytes a document"
    )


def _ranked(way: str, path: Path, n_queries: int, n_ranks: int) -> dict[str, Any]:
    """What the first of so many processes answers."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": f"{probe.getsockname()[1]}", "WORLD_SIZE": f"{n_ranks}"}
    ranks = [address | {"RANK": f"{rank}", "LOCAL_RANK": f"{rank}"} for rank in range(n_ranks)]
    children = [_child(path, "--way", way, "--queries", n_queries, environment=one) for one in ranks]
    row, *_ = [_answer(child) for child in children]
    assert isinstance(row, dict)
    return row


def over_ranks(size: int, n_queries: int, counts: Sequence[int], folder: Path) -> Iterator[str]:
    """Lines of the table of ranks: how long each number takes, and whether it finds the same as the first."""
    path = folder / "documents.jsonl"
    write_documents(path, size)
    first: dict[str, Any] = {}
    for n in counts:
        row = _ranked("rank", path, n_queries, n)
        first = first or row["values"]
        same = "equal" if all(row["values"][name] == first[name] for name in _COMPARED) else "DIFFERENT"
        off = max(float(np.max(np.abs(np.subtract(row["values"][name], first[name])))) for name in _MOMENTS)
        yield f"| {size:,} | {n} | {row['wall_s']:.1f} | {row['cpu_s']:.1f} | {same} | {off:.1e} |"


def over_trainers(size: int, n_queries: int, folder: Path) -> Iterator[str]:
    """What a Trainer logs on one process and on two, which share the corpus out."""
    path = folder / "documents.jsonl"
    write_documents(path, size)
    one, two = (_ranked("trainer", path, n_queries, n) for n in (1, 2))
    for alone, shared in zip(one["values"], two["values"], strict=True):
        assert alone.keys() == shared.keys()
        off = max(abs(alone[name] - shared[name]) for name in alone)
        yield f"{len(alone)} values of an evaluation among {size:,}: those of two processes differ by at most {off:.1e}"
    yield f"CPU {one['cpu_s']:.1f} and {two['cpu_s']:.1f} s, {one['wall_s']:.1f} and {two['wall_s']:.1f} s of the clock"


def scoring(n: int, n_queries: int, dim: int) -> str:
    """What scoring blocks that are at hand takes beside multiplying them, block by block in turns."""
    table = table_of(dim)
    kinds = [[f"{kind} {row}" for row in range(n_queries)] for kind in ("query", "own")]
    sides = [unit_rows("rows", encode(texts, table))[0] for texts in kinds]
    scores = np.empty((1024, n_queries), dtype=np.float32)
    scanned = Scan(Embeddings(*sides, np.stack([np.arange(n_queries)] * 2, axis=1)), n_corpus=n)
    spent, shuffled = np.zeros(2), np.random.default_rng(0).permutation(n)  # hashes give rows no order either
    for start in range(0, n, WINDOW):
        rows = np.sort(shuffled[start : start + WINDOW])
        block = unit_rows("rows", encode([f"text {row}" for row in rows], table))[0]
        clock = [time.process_time()]
        for top in range(0, len(block), 1024):
            tile = block[top : top + 1024]
            np.matmul(tile, sides[0].T, out=scores[: len(tile)])
        clock.append(time.process_time())
        scanned.add(rows, block)
        spent += np.diff([*clock, time.process_time()])
    ratio = f"{spent[1] / spent[0]:.2f} times the product"
    return f"{n:,} documents of {dim:,} dimensions, {n_queries:,} queries: scored in {spent[1]:.2f} CPU s, {ratio}"


def everything(given: argparse.Namespace, folder: Path) -> Iterator[str]:
    """All that was asked for, line by line."""
    sizes = [int(size) for size in given.sizes]
    ways = [way for way in given.only.split(",") if way in WAYS]
    yield from among(sizes, given.queries, ways, given.rounds, folder)
    if "scoring" in given.only:
        yield ""
        for size in sizes:
            for n_queries, dim in ((given.queries, DIM), (4 * given.queries, DIM), (given.queries // 2, 1024)):
                yield _answer(_child(size, "--way", "scoring", "--queries", n_queries, "--dim", dim))
    if given.ranks and sizes:
        yield "\n| documents | ranks | wall, s | CPU of all, s | counts, ranks, lists | a moment differs by at most |"
        yield "|---|---|---|---|---|---|"
        for size in sizes:
            yield from over_ranks(size, given.queries, given.ranks, folder)
    if given.trainer:
        yield from over_trainers(given.trainer, given.queries, folder)


def main() -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sizes", nargs="*")
    parser.add_argument("--queries", type=int, default=1000)
    parser.add_argument("--only", default=",".join((*WAYS, "scoring")), help="ways, separated by commas")
    parser.add_argument("--rounds", type=int, default=3, help="of `product` and `ours`")
    parser.add_argument("--ranks", type=int, nargs="*", default=(1, 2, 3), help="numbers of processes, or none")
    parser.add_argument("--trainer", type=int, help="documents of a training of transformers.Trainer")
    parser.add_argument("--way", help=argparse.SUPPRESS)
    parser.add_argument("--dim", type=int, default=DIM, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.way:
        print(json.dumps(_as_child(given)))
        return
    with tempfile.TemporaryDirectory() as folder:
        for line in everything(given, Path(folder)):
            print(line, flush=True)


def _as_child(given: argparse.Namespace) -> Any:
    way, what = given.way, given.sizes[0]
    if way == "scoring":
        return scoring(int(what), given.queries, given.dim)
    on_one_of_several = {"rank": on_rank, "trainer": in_trainer}.get(way)
    return (
        on_one_of_several(Path(what), given.queries) if on_one_of_several else measured(way, Path(what), given.queries)
    )


if __name__ == "__main__":
    main()
