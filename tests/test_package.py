"""What people install: the wheel, built here, in an environment without any extra, far from the checkout."""

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import zipfile
from collections.abc import Sequence
from itertools import chain
from pathlib import Path

import pytest
import torch
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from embviz_callback.delivery.results.result_files import embeddings_npz
from tests.small_runs import a_run, a_subset

ROOT = Path(__file__).parents[1]
# Every package that only an extra brings, and umap-learn, which an environment may lack although it is asked for.
WITHOUT = re.compile(
    r"(umap|sentence_transformers|wandb|mlflow|apprise|shtab|[Ss]phinx|furo|datasets|accelerate|embviz_callback)"
    r"([-_.]\w+)?(-.*)?(\.dist-info)?|.*\.pth|__pycache__|sitecustomize.*"
)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sdist, and the wheel made from it."""
    place = tmp_path_factory.mktemp("build")
    for name in ("pyproject.toml", "README.md", "LICENSE", "MANIFEST.in"):
        shutil.copy(ROOT / name, place)
    for name in ("embviz_callback", "tests"):
        shutil.copytree(ROOT / name, place / name, ignore=shutil.ignore_patterns("__pycache__"))
    subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "build", "--no-isolation", "--outdir", "dist", "."],
        cwd=place,
        check=True,
        capture_output=True,
    )
    return place / "dist"


@pytest.fixture(scope="module")
def programs(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of python and embviz in an environment of the wheel and what it depends on."""
    place = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", place], check=True)
    python, wheel = place / "bin" / "python", next(built.glob("*.whl"))
    install = ["install", "--quiet", "--no-deps", "--no-index", "--disable-pip-version-check", str(wheel)]
    subprocess.run([sys.executable, "-m", "pip", "--python", str(python), *install], check=True)
    packages = Path(sysconfig.get_path("purelib", vars={"base": str(place)}))
    # Only now, so that pip does not take them for what the environment has.
    for borrowed in (Path(path) for path in sys.path if path.endswith("-packages")):
        _borrow([entry for entry in borrowed.iterdir() if not WITHOUT.fullmatch(entry.name)], packages)
    return place / "bin"


def _borrow(entries: Sequence[Path], folder: Path) -> None:
    for entry in entries:
        here = folder / entry.name
        # A namespace (google, nvidia) may have parts in several places.
        if entry.is_dir() and not (entry / "__init__.py").exists() and not here.is_symlink():
            here.mkdir(exist_ok=True)
            _borrow(list(entry.iterdir()), here)
        elif not here.exists():
            here.symlink_to(entry)


@pytest.fixture
def away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PYTHONPATH", raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    return tmp_path


def _done(program: Path, *arguments: str | Path, status: int = 0) -> subprocess.CompletedProcess[str]:
    quiet = os.environ | {"PYTHONWARNINGS": "ignore", "PYTHONIOENCODING": "utf-8"}
    done = subprocess.run([program, *arguments], capture_output=True, text=True, check=False, env=quiet)
    assert done.returncode == status, done.stderr
    return done


def _pairs(path: Path) -> Path:
    rows = [{"query": f"phong q{row} {row}tr", "pos": f"Phòng trọ quận {row}, giá {row} triệu"} for row in range(1, 13)]
    path.write_text(json.dumps(rows), encoding="utf-8")
    return path


def test_the_wheel_holds_the_package_and_nothing_else(built: Path) -> None:
    wheel = next(built.glob("*.whl"))
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.partition("/")[0] for name in names} == {
        "embviz_callback",
        wheel.name.replace("-py3-none-any.whl", ".dist-info"),
    }
    assert "embviz_callback/py.typed" in names
    assert not [name for name in names if "test" in name]
    for folder in ("drawing/page/page_files", "drawing/reports/templates"):
        there = {path.name for path in (ROOT / "embviz_callback" / folder).iterdir() if path.is_file()}
        assert there
        assert there == {Path(name).name for name in names if f"/{folder}/" in name}
    sources = {path.relative_to(ROOT).as_posix() for path in (ROOT / "embviz_callback").rglob("*.py")}
    assert sources <= set(names)


def test_the_metadata_names_every_extra_and_the_licence(built: Path) -> None:
    archive = zipfile.ZipFile(next(built.glob("*.whl")))
    metadata = next(name for name in archive.namelist() if name.endswith("METADATA"))
    lines = archive.read(metadata).decode().splitlines()
    extras = {line.partition(": ")[2] for line in lines if line.startswith("Provides-Extra")}
    assert {"umap", "report", "wandb", "mlflow", "notify", "sentence-transformers", "completion", "docs"} <= extras
    assert "License-Expression: MIT" in lines
    assert any(name.endswith("licenses/LICENSE") for name in archive.namelist())
    with tarfile.open(next(built.glob("*.tar.gz"))) as sdist:
        inner = {member.partition("/")[2] for member in sdist.getnames()}
    assert {"LICENSE", "README.md", "pyproject.toml", "embviz_callback/py.typed"} <= inner
    assert not [name for name in inner if name.startswith("tests/")]


def test_the_oldest_constraints_are_the_lower_ends_of_the_ranges() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    pins = dict(line.split("==") for line in (ROOT / "constraints-oldest.txt").read_text(encoding="utf-8").split())
    oldest = {canonicalize_name(name): Version(version).release for name, version in pins.items()}
    wanted = [*project["dependencies"], *chain.from_iterable(project["optional-dependencies"].values())]
    for asked in (Requirement(line) for line in wanted):
        lowest = [Version(part.version).release for part in asked.specifier if part.operator in (">=", "==")]
        # torch comes as it lies on the machine, in the build that fits it.
        if asked.name not in ("torch", "embviz-callback"):
            found = oldest[canonicalize_name(asked.name)]
            assert found[: len(lowest[0])] == lowest[0], f"{asked}: make oldest"


@pytest.mark.slow
def test_the_runner_draws_saved_embeddings_without_model_torch_or_umap_learn(programs: Path, away: Path) -> None:
    snapshot = a_run(a_subset(), noises=(0.6,), maps=False)[0]
    (away / "embeddings.npz").write_bytes(embeddings_npz(snapshot))
    done = _done(programs / "embviz", "--checkpoint", "embeddings.npz", "--output", "out", "--json")
    assert json.loads(done.stdout)["margin"] == pytest.approx(snapshot.metrics.margin, abs=1e-6)
    assert (away / "out" / "umap_projection.png").is_file()
    assert "UMAP: clusters are" in (away / "out" / "report.md").read_text(encoding="utf-8")


@pytest.mark.slow
def test_the_runner_evaluates_a_tiny_checkpoint(programs: Path, away: Path) -> None:
    weight = torch.randn(16, 256, generator=torch.Generator().manual_seed(0))
    torch.save({"model_state_dict": {"head.linear.weight": weight}, "config": {"encoder": "char-ngrams-256"}}, "a.pt")
    given = [
        "--checkpoint",
        "a.pt",
        "--data",
        _pairs(away / "val.json"),
        "--output",
        "out",
        "--skip-tsne",
        "--skip-umap",
    ]
    done = _done(programs / "embviz", *given)
    assert done.stdout.rstrip().splitlines()[-6] == "Similarity Statistics:"
    where = _done(programs / "python", "-c", "import embviz_callback; print(embviz_callback.__file__)").stdout
    assert Path(where.strip()).is_relative_to(programs.parent)


@pytest.mark.slow
def test_the_demo_needs_nothing_but_the_wheel(programs: Path, away: Path) -> None:
    done = _done(programs / "embviz", "demo", "--pairs", "100", "--epochs", "1")
    assert "Nothing is downloaded, and the model has no pretrained knowledge of any language." in done.stderr
    assert "embviz: margin alert at epoch 0: margin " in done.stderr
    assert "GPU available" not in done.stderr
    assert [line.split()[0] for line in done.stdout.splitlines()[2:4]] == ["untrained", "epoch"]
    shown = [
        line.split()[0] for line in done.stdout.partition("Look at:\n")[2].partition("Go on with:")[0].splitlines()
    ]
    assert shown == ["embviz-demo/run/embviz/report.html", "embviz-demo/evaluation/report.md"]
    assert all((away / path).is_file() for path in shown)
    again = _done(programs / "embviz", "demo", status=2)
    assert again.stderr == ("embviz demo: --output embviz-demo is not empty; give a new directory\n")
    # The other two are run, on other files, with the blocks of the documentation.
    proposed = [line.strip() for line in done.stdout.splitlines() if line.startswith("   embviz ")]
    assert [line.split()[1] for line in proposed] == ["analyse", "compare", "check"]
    _done(programs / "embviz", *proposed[2].split()[1:])


@pytest.mark.parametrize(
    ("statement", "sentence"),
    [
        (
            "from embviz_callback import MarginAlert; MarginAlert(notify='PEOPLE')",
            'MarginAlert(notify=...) needs apprise; install it with: pip install "embviz-callback[notify]"',
        ),
        (
            "from embviz_callback.cli import main; sys.exit(main(['completion', 'bash']))",
            'embviz completion: needs shtab; install it with: pip install "embviz-callback[completion]"',
        ),
    ],
)
def test_a_missing_extra_is_one_sentence_with_the_command(
    programs: Path, away: Path, statement: str, sentence: str
) -> None:
    done = subprocess.run(
        [programs / "python", "-W", "ignore", "-c", f"import sys; {statement}"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert done.stderr.rstrip().splitlines()[-1].removeprefix("ModuleNotFoundError: ") == sentence


USER_SCRIPT = """
import numpy as np
from embviz_callback import EmbeddingVisualizer, MarginAlert, Metrics, Settings, evaluate_pairs

metrics: Metrics = evaluate_pairs(np.eye(3), np.eye(3), np.arange(3))
margin: float = metrics.margin
callback = EmbeddingVisualizer("val.json", alert=MarginAlert(threshold=0.25), max_samples=100)
settings = Settings(max_samples=10)
"""


def _mypy(programs: Path, script: str) -> Sequence[str]:
    Path("script.py").write_text(script)
    # Only our own types are in question; torch's would take a minute.
    skipped = "".join(
        f"[mypy-{name}.*]\nfollow_imports = skip\nignore_missing_imports = true\n"
        for name in ("torch", "pytorch_lightning", "lightning", "transformers")
    )
    Path("mypy.ini").write_text(f"[mypy]\nstrict = true\n{skipped}")
    given = ["--config-file", "mypy.ini", "--python-executable", str(programs / "python"), "script.py"]
    done = subprocess.run([sys.executable, "-m", "mypy", *given], capture_output=True, text=True, check=False)
    return done.stdout.splitlines()


@pytest.mark.slow
def test_a_users_script_is_checked_against_the_installed_types(programs: Path, away: Path) -> None:
    assert _mypy(programs, USER_SCRIPT) == ["Success: no issues found in 1 source file"]
    wrong = USER_SCRIPT.replace("threshold=0.25", 'threshold="low"').replace("margin: float", "margin: str")
    assert [line.partition(": ")[2].partition(" ")[0] for line in _mypy(programs, wrong)[:2]] == ["error:", "error:"]
