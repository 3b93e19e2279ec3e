"""`embviz cache`: what is kept of frozen encoders' features, and how to be rid of it."""

import argparse
import sys
import time
from pathlib import Path

from embviz_callback.commands.terminal import Terminal
from embviz_callback.encoding.cache.feature_store import default_cache_folder, prune, stores_in


def run(options: argparse.Namespace, terminal: Terminal) -> int:
    """Runs the command; 0 when done."""
    root = default_cache_folder() if options.dir is None else Path(options.dir).expanduser()
    if options.action == "clear":
        sys.stdout.write(f"removed {len(prune(root, max_bytes=0))} from {root}\n")
        return 0
    stores = stores_in(root)
    lines = [f"{'encoder and settings':<34}{'MB':>10}  last used"]
    for info in stores:
        used = time.strftime("%Y-%m-%d %H:%M", time.localtime(info.used_at))
        lines.append(f"{info.name:<34}{info.n_bytes / 1e6:>10.1f}  {used}")
    size = f"{sum(info.n_bytes for info in stores) / 1e6:.1f} MB in {root}"
    sys.stdout.write("\n".join([*(lines if options.action == "list" else ()), size]) + "\n")
    return 0
