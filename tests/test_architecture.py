"""Who may import whom, what stays light, and the names that are promised."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import embviz_callback
from benchmarks.house import largest_folder, lines_of_code, modules
from embviz_callback.commands.parsers import COMMANDS

PACKAGE = Path(embviz_callback.__file__).parent
DRAWING_SIDE = ("torch", "transformers", "pytorch_lightning", "lightning")
HEAVY = ("matplotlib", "sklearn", "numba", "umap", "openTSNE")


def _modules_after(statement: str) -> set[str]:
    program = f"import sys\n{statement}\nprint(' '.join(sorted({{name.split('.')[0] for name in sys.modules}})))"
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", program], capture_output=True, text=True, check=True)
    return set(done.stdout.splitlines()[-1].split())


def test_promised_names_are_there() -> None:
    assert embviz_callback.__all__ == [
        "Comparison",
        "EmbeddingVisualizer",
        "MarginAlert",
        "Metrics",
        "RegressionAlert",
        "Result",
        "Settings",
        "__version__",
        "compare",
        "evaluate",
        "evaluate_pairs",
        "text_encoder",
    ]
    for name in embviz_callback.__all__:
        assert getattr(embviz_callback, name) is not None


def test_an_unknown_name_is_an_attribute_error_that_names_it() -> None:
    with pytest.raises(AttributeError) as error:
        embviz_callback.EmbeddingVisualiser  # noqa: B018
    assert str(error.value) == "module 'embviz_callback' has no attribute 'EmbeddingVisualiser'"


def test_importing_the_package_imports_nothing_heavy() -> None:
    assert not _modules_after("import embviz_callback") & {*DRAWING_SIDE, *HEAVY, "numpy"}


def test_evaluating_plain_arrays_needs_numpy_alone() -> None:
    program = "import embviz_callback as e; e.evaluate_pairs([[1.0, 0.0]], [[1.0, 0.0]], [0])"
    assert not _modules_after(program) & {*DRAWING_SIDE, *HEAVY, "scipy"}


@pytest.mark.parametrize(
    "module",
    ["delivery.process.drawing_process", "drawing.figures.png", "drawing.reports.evaluation_report", "snapshot"],
)
def test_the_drawing_side_knows_no_torch(module: str) -> None:
    assert not _modules_after(f"import embviz_callback.{module}") & set(DRAWING_SIDE)


def test_asking_for_help_does_not_wait_for_torch() -> None:
    assert not _modules_after("import embviz_callback.cli") & {*DRAWING_SIDE, *HEAVY}


def test_the_package_never_imports_the_training_scripts() -> None:
    scripts = {"model", "pair_dataset", "train_script", "visualize_embeddings"}
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not scripts & {name.split(".")[0] for name in names}, path


def test_nothing_reads_pickles_or_draws_through_pyplot() -> None:
    for path in PACKAGE.rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        for word in ("import pickle", "matplotlib.pyplot", "weights_only=False", "allow_pickle=True"):
            assert word not in text, path


def test_no_folder_but_that_of_the_commands_holds_more_than_nine_modules() -> None:
    n_modules, folder = largest_folder(PACKAGE.parent)
    assert n_modules <= 9, folder


def test_the_tests_lie_where_the_package_has_what_they_test() -> None:
    tests = PACKAGE.parent / "tests"
    folders = {path.parent.relative_to(tests) for path in tests.rglob("test_*.py")}
    assert not [f"{folder}" for folder in folders if not (PACKAGE / folder).is_dir()]
    # A room within a room may be tested with the one around it, and what a floor shares with its rooms.
    rooms = {path.parent.relative_to(PACKAGE) for path in modules(PACKAGE.parent)} - {Path()}
    tested = folders | {around for folder in folders for around in folder.parents}
    assert not [f"{room}" for room in rooms if room not in tested and room.parent not in folders - {Path()}]


def test_no_two_modules_share_a_name() -> None:
    subcommands = {command.room.rpartition(".")[2] for command in COMMANDS.values()}
    names = [path.stem for path in modules(PACKAGE.parent)]
    # What a subcommand is called, its file is called too.
    assert [name for name in {*names} - subcommands if names.count(name) > 1] == []
    assert [name for name in names if f"{name}s" in names] == []


def test_lines_of_code_are_neither_docstrings_nor_comments_nor_blank(tmp_path: Path) -> None:
    counted = [
        'x = """no',
        'docstring"""  # three, with the line between',
        "def f() -> None:",
        "    return (",
        "        1",
        "    )",
    ]
    code = [counted[0], "", counted[1], "", "# none", counted[2], '    """One.', "", '    Two."""', *counted[3:]]
    (tmp_path / "code.py").write_text("\n".join(code), encoding="utf-8")
    assert lines_of_code(tmp_path / "code.py") == len(counted) + 1
