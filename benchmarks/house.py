"""How large the house is, and how far one walks in it: for one checkout, or for several beside each other.

    python -m benchmarks.house .
    python -m benchmarks.house ../before .

Lines of code are those that hold something else than a docstring, a comment or nothing. What an errand touches is
counted by its elder sibling: the files whose code (not its docstrings and comments) names the one that is there. What
one passes is measured: a tiny training and a small evaluation run, each process tells which modules of the house are
on its stack when a file gets its final name, and the distinct ones are the stops on the way to that file.
"""

import argparse
import ast
import io
import os
import subprocess
import sys
import tempfile
import tokenize
from collections.abc import Callable, Iterator
from pathlib import Path

PACKAGE = "embviz_callback"
_LAYOUT = (
    tokenize.COMMENT,
    tokenize.NL,
    tokenize.NEWLINE,
    tokenize.INDENT,
    tokenize.DEDENT,
    tokenize.ENCODING,
    tokenize.ENDMARKER,
)
# What is there already of each kind, as code spells it.
SIBLINGS = {"rank metric": "ndcg_at_10", "figure": "top_k_predictions", "map": "umap", "logger": "log_image"}

# Python runs a module of this name when it starts, in every process that the two programs begin.
_WITNESS = """
import os, sys
def tell(event, arguments):
    if event != "os.rename" or not isinstance(arguments[1], (str, os.PathLike)):
        return
    frame, passed = sys._getframe(1), []
    while frame is not None:
        passed.append(frame.f_globals.get("__name__") or "")
        frame = frame.f_back
    # A program that is run by its path or with -m is called __main__.
    spec = getattr(sys.modules.get("__main__"), "__spec__", None)
    names = [spec.name if name == "__main__" and spec else name for name in passed]
    ours = [name for name in reversed(names) if name.startswith("embviz_callback")]
    line = " ".join([os.fspath(arguments[1]).replace(" ", "_"), *dict.fromkeys(ours)]) + "\\n"
    descriptor = os.open(os.environ["WITNESS"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(descriptor, line.encode())
    os.close(descriptor)
sys.addaudithook(tell)
"""
_TRAINING = """
import sys
from embviz_callback import EmbeddingVisualizer
from tests.tiny_training import TinyBiEncoder, pairs, trainer
watched = EmbeddingVisualizer(pairs(), alert=None, skip_umap=True)
trainer(sys.argv[1], watched, max_epochs=1).fit(TinyBiEncoder())
"""
_COMMAND = """
import json, sys, torch
from pathlib import Path
from embviz_callback.cli import main
folder = Path(sys.argv[1])
rows = [{"query": f"room in {n}", "pos": f"a room in district {n}"} for n in range(12)]
(folder / "val.json").write_text(json.dumps(rows))
weight = torch.randn(16, 64, generator=torch.Generator().manual_seed(0))
content = {"model_state_dict": {"head.linear.weight": weight}, "config": {"encoder": "char-ngrams-64"}}
torch.save(content, folder / "a.pt")
given = ["--checkpoint", folder / "a.pt", "--data", folder / "val.json", "--output", folder / "out", "--skip-umap"]
sys.exit(main([f"{part}" for part in given]))
"""


def modules(house: Path) -> list[Path]:
    """Files of the package but each ``__init__`` and ``__main__``."""
    return sorted(path for path in sources(house) if not path.name.startswith("__"))


def sources(house: Path) -> list[Path]:
    """All files of Python of the package."""
    return sorted((house / PACKAGE).rglob("*.py"))


def lines_of_code(path: Path) -> int:
    """Lines of a file without docstrings, comments and blank ones."""
    text = path.read_text(encoding="utf-8")
    lines = {line for token in _code(text) for line in range(token.start[0], token.end[0] + 1)}
    return len(lines - _docstrings(text))


def _code(text: str) -> Iterator[tokenize.TokenInfo]:
    read = tokenize.generate_tokens(io.StringIO(text).readline)
    return (token for token in read if token.type not in _LAYOUT)


def _docstrings(text: str) -> set[int]:
    owners = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    nodes = [node for node in ast.walk(ast.parse(text)) if isinstance(node, owners) and ast.get_docstring(node)]
    return {line for node in nodes for line in range(node.body[0].lineno, (node.body[0].end_lineno or 0) + 1)}


def largest_folder(house: Path) -> tuple[int, str]:
    """Most modules that one folder but ``commands`` holds, and which folder."""
    places = [path.parent for path in modules(house) if path.parent.name != "commands"]
    return max((places.count(place), place.relative_to(house).as_posix()) for place in set(places))


def named_in(house: Path, word: str) -> list[str]:
    """Files of the package whose code spells a word, scripts of the page among them."""
    found = [path for path in sources(house) if _spells(path, word)]
    scripts = [path for path in (house / PACKAGE).rglob("*.js") if word in path.read_text(encoding="utf-8")]
    return [path.relative_to(house / PACKAGE).as_posix() for path in (*found, *scripts)]


def _spells(path: Path, word: str) -> bool:
    text = path.read_text(encoding="utf-8")
    told = _docstrings(text)
    return any(word in token.string.lower() and token.start[0] not in told for token in _code(text))


def passed(house: Path, program: str, last: Callable[[str], bool]) -> list[tuple[str, list[str]]]:
    """The modules on the way to files, of whichever process gave them their names.

    Args:
        house: The checkout whose code runs.
        program: Is given an empty folder.
        last: Whether a way is wanted, by the path of the file.

    Returns:
        For each wanted file its path, and the distinct modules on the stack, outermost first.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "sitecustomize.py").write_text(_WITNESS, encoding="utf-8")
        paths = os.pathsep.join((name, f"{house.resolve()}"))
        given = {"PYTHONPATH": paths, "WITNESS": f"{folder / 'told'}", "OMP_NUM_THREADS": "1"}
        command = [sys.executable, "-W", "ignore", "-c", program, name]
        subprocess.run(command, cwd=name, env=os.environ | given, check=True, capture_output=True)
        told = [line.split() for line in (folder / "told").read_text(encoding="utf-8").splitlines()]
    return [(path, way) for path, *way in told if last(path)]


def stops_to_the_png(house: Path) -> list[str]:
    """From the hook to a PNG: the training's until the job lies there, then the drawing process's."""
    ways = passed(house, _TRAINING, lambda path: path.endswith("/tsne_projection.png") or "/jobs/" in path)
    asked = next(way for path, way in ways if "/jobs/" in path and f"{PACKAGE}.callback" in way)
    drawn = next(way for path, way in ways if path.endswith(".png"))
    return list(dict.fromkeys([*asked, *drawn]))


def stops_to_the_report(house: Path) -> list[str]:
    """From the command to report.md."""
    ((_path, way),) = passed(house, _COMMAND, lambda path: path.endswith("/out/report.md"))
    return way


def row(house: Path) -> dict[str, str]:
    """What is measured of one checkout, by name."""
    count, where = largest_folder(house)
    found = {
        "modules": f"{len(modules(house))}",
        "lines of code": f"{sum(map(lines_of_code, sources(house))):,}",
        "largest folder": f"{count} ({where})",
    }
    found |= {f"files that name {word} (a {kind})": f"{len(named_in(house, word))}" for kind, word in SIBLINGS.items()}
    for name, way in (("hook to PNG", stops_to_the_png(house)), ("command to report.md", stops_to_the_report(house))):
        print(f"{house}: {name}: {' > '.join(stop.removeprefix(PACKAGE + '.') for stop in way)}", file=sys.stderr)
        found[f"stops from {name}"] = f"{len(way)}"
    return found


def main() -> None:
    """Prints a table of markdown, a column for each checkout."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("houses", nargs="+", type=Path)
    houses = parser.parse_args().houses
    columns = [row(house) for house in houses]
    print(f"| | {' | '.join(house.resolve().name for house in houses)} |\n|---|{'---|' * len(houses)}")
    for name in columns[0]:
        print(f"| {name} | {' | '.join(column[name] for column in columns)} |")


if __name__ == "__main__":
    main()
