"""Who imports whom, and what `import evsam` costs."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
from PIL import Image

import evsam
from evsam import _C

PACKAGE = Path(evsam.__file__).parent

HEAVY = (
    "torch",
    "onnxruntime",
    "tensorrt",
    "safetensors",
    "huggingface_hub",
    "scipy",
    "skimage",
    "ray",
    "fastapi",
    "httpx",
    "pydantic",
    "pycocotools",
    "av",
    "cv2",
)

ROOT = Path(__file__).parents[2]

RUN = "import sys\n{code}\nprint(*sorted(name for name in sys.modules if '.' not in name))"


def modules_after(code: str) -> set[str]:
    command = [sys.executable, "-W", "error", "-c", RUN.format(code=code)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return set(done.stdout.splitlines()[-1].split())


@pytest.mark.parametrize(
    "code",
    [
        "import evsam; evsam.load",
        "import evsam.compat",
        "import evsam.evaluation.protocols, evsam.evaluation.search",
        "import evsam.datasets",
        "from evsam.engines import ENGINES; [engine.missing for engine in ENGINES.values()]",
        "from evsam.cli import main\ntry: main(['--help'])\nexcept SystemExit: pass",
    ],
)
def test_nothing_heavy_is_loaded(code) -> None:
    loaded = modules_after(code)
    assert "numpy" in loaded
    assert not loaded.intersection(HEAVY)


@pytest.mark.parametrize(
    ("module", "missing", "extra"),
    [
        ("evsam.nn", "torch", "torch"),
        ("evsam.serve", "fastapi", "serve"),
        ("evsam.serve", "prometheus_client", "serve"),
        ("evsam.training", "torch", "train"),
        ("evsam.training", "scipy", "train"),
        ("evsam.training", "tqdm", "train"),
        ("evsam.training", "pycocotools", "train"),
    ],
)
def test_missing_package_names_its_extra(module, missing, extra) -> None:
    pytest.importorskip("torch")
    code = (
        f"import sys; sys.modules[{missing!r}] = None\n"
        f"from evsam import BackendUnavailable\n"
        f"try: import {module}\n"
        f"except BackendUnavailable as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert f"needs {missing}; use pip install 'evsam[{extra}]'" in done.stdout


def test_all_names_exist() -> None:
    assert sorted(evsam.__all__) == evsam.__all__
    assert all(hasattr(evsam, name) for name in evsam.__all__)
    assert dir(evsam) == evsam.__all__
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        evsam.nothing  # noqa: B018


def test_the_package_loads_its_parts_when_asked() -> None:
    assert "numpy" not in modules_after("import evsam, evsam.cli")
    code = "import evsam; assert evsam.zoo.VARIANTS and evsam.Sam.__module__ == 'evsam.sam'"
    assert "numpy" in modules_after(code)


def imports(path: Path) -> set[str]:
    """Modules of evsam that a file imports anywhere, except for type checking only."""
    found: set[str] = set()
    skipped: set[ast.AST] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            skipped.update(ast.walk(node))
        if node in skipped:
            continue
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            if node.module != "evsam":  # what is imported from there is named by the next line
                found.add(node.module)
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
    return {name for name in found if name.partition(".")[0] in ("evsam", "training", "benchmarks", "tests")}


LAYERS = {
    "errors.py": (),
    "client.py": (  # asks a server, and needs nothing of one
        "evsam.arguments",
        "evsam.embedding",
        "evsam.errors",
        "evsam.everything",
        "evsam.images",
        "evsam.prompts",
        "evsam.results",
        "evsam.rle",
        "evsam.tracking",
        "evsam.transforms",
        "evsam.weights.files",
        "evsam.zoo",
    ),
    "zoo.py": ("evsam.errors",),
    "network.py": ("evsam.zoo",),
    "record.py": ("evsam._C", "evsam.errors", "evsam.zoo"),
    "transforms.py": ("evsam._C", "evsam.zoo"),
    "prompts.py": (
        "evsam._C",
        "evsam.engines.base",
        "evsam.errors",
        "evsam.rle",
        "evsam.transforms",
        "evsam.zoo",
    ),
    "writing.py": (),
    "arguments.py": ("evsam.errors",),
    "images.py": ("evsam.arguments", "evsam.errors"),
    "boxes.py": ("evsam._C",),
    "rle.py": ("evsam._C",),
    "polygons.py": ("evsam._C", "evsam.arguments", "evsam.errors", "evsam.rle"),
    "overlay.py": ("evsam._C", "evsam.arguments", "evsam.errors", "evsam.prompts", "evsam.rle"),
    "formats.py": ("evsam.arguments", "evsam.errors", "evsam.overlay", "evsam.polygons", "evsam.rle"),
    "masks.py": (
        "evsam.arguments",
        "evsam.errors",
        "evsam.formats",
        "evsam.images",
        "evsam.overlay",
        "evsam.polygons",
        "evsam.rle",
        "evsam.writing",
    ),
    "results.py": (
        "evsam._C",
        "evsam.arguments",
        "evsam.errors",
        "evsam.images",
        "evsam.masks",
        "evsam.ops",
        "evsam.overlay",
        "evsam.prompts",
        "evsam.rle",
    ),
    "everything.py": (
        "evsam._C",
        "evsam.arguments",
        "evsam.engines.base",
        "evsam.errors",
        "evsam.images",
        "evsam.masks",
        "evsam.overlay",
        "evsam.rle",
    ),
    "stream.py": ("evsam.arguments", "evsam.errors", "evsam.images"),
    "video.py": ("evsam.errors", "evsam.images"),
    "tracking.py": (
        "evsam._C",
        "evsam.arguments",
        "evsam.embedding",
        "evsam.engines.base",
        "evsam.errors",
        "evsam.images",
        "evsam.masks",
        "evsam.overlay",
        "evsam.prompts",
        "evsam.rle",
        "evsam.transforms",
        "evsam.writing",
    ),
    "evaluation/metrics.py": ("evsam._C", "evsam.arguments", "evsam.boxes", "evsam.errors"),
    "evaluation/clicks.py": ("evsam._C", "evsam.boxes"),
    "evaluation/truth.py": ("evsam.boxes", "evsam.evaluation.metrics", "evsam.rle"),
    "evaluation/average_precision.py": ("evsam.arguments", "evsam.errors", "evsam.evaluation.metrics", "evsam.rle"),
    "evaluation/protocols.py": (
        "evsam.evaluation.clicks",
        "evsam.evaluation.metrics",
        "evsam.evaluation.truth",
        "evsam.rle",
        "evsam.zoo",
    ),
    "evaluation/search.py": (
        "evsam.evaluation.average_precision",
        "evsam.evaluation.protocols",
        "evsam.rle",
    ),
    "evaluation/video.py": (
        "evsam.boxes",
        "evsam.datasets.records",
        "evsam.errors",
        "evsam.evaluation.metrics",
        "evsam.evaluation.protocols",
        "evsam.evaluation.truth",
    ),
    "evaluation/fidelity.py": (
        "evsam.embedding",
        "evsam.errors",
        "evsam.evaluation.clicks",
        "evsam.evaluation.metrics",
        "evsam.evaluation.protocols",
        "evsam.zoo",
    ),
    "datasets/records.py": ("evsam.errors", "evsam.images", "evsam.rle"),
    "datasets/files.py": (),
    "datasets/packed.py": (),
    "datasets/detections.py": ("evsam.datasets.files", "evsam.datasets.packed", "evsam.datasets.records"),
    "datasets/masks.py": ("evsam.datasets.files", "evsam.datasets.packed", "evsam.datasets.records", "evsam.rle"),
    "datasets/opening.py": (
        "evsam.datasets.annotated",
        "evsam.datasets.coco",
        "evsam.datasets.files",
        "evsam.datasets.masks",
        "evsam.datasets.records",
        "evsam.datasets.sa1b",
    ),
    "datasets/coco.py": ("evsam.datasets.files", "evsam.datasets.packed", "evsam.datasets.records", "evsam.errors"),
    "datasets/annotated.py": ("evsam.datasets.files", "evsam.datasets.packed", "evsam.datasets.records"),
    "evaluation/runner.py": (
        "evsam.arguments",
        "evsam.datasets.records",
        "evsam.errors",
        "evsam.evaluation.protocols",
        "evsam.evaluation.truth",
        "evsam.writing",
    ),
    "evaluation/cases.py": (
        "evsam._C",
        "evsam.boxes",
        "evsam.evaluation.protocols",
        "evsam.evaluation.truth",
        "evsam.overlay",
        "evsam.prompts",
        "evsam.rle",
    ),
    "evaluation/charts.py": (),
    "evaluation/tables.py": ("evsam.evaluation.charts", "evsam.evaluation.protocols", "evsam.zoo"),
    "evaluation/report.py": (
        "evsam.evaluation.cases",
        "evsam.evaluation.charts",
        "evsam.evaluation.protocols",
        "evsam.evaluation.tables",
    ),
    "datasets/sa1b.py": ("evsam.datasets.files", "evsam.datasets.records", "evsam.writing"),
    "embedding.py": (
        "evsam.arguments",
        "evsam.errors",
        "evsam.network",
        "evsam.transforms",
        "evsam.zoo",
        "evsam.weights",
        "evsam.writing",
    ),
    "engines/base.py": (),
    "engines/__init__.py": ("evsam._C", "evsam.engines.base", "evsam.errors", "evsam.export.folder", "evsam.zoo"),
    "engines/native.py": (
        "evsam._C",
        "evsam.engines.base",
        "evsam.errors",
        "evsam.record",
        "evsam.weights.files",
        "evsam.weights.locate",
        "evsam.weights.matching",
        "evsam.zoo",
    ),
    "engines/onnxruntime.py": (
        "evsam.engines.base",
        "evsam.errors",
        "evsam.export",
        "evsam.transforms",
        "evsam.weights.matching",
        "evsam.zoo",
    ),
    "engines/torch.py": ("evsam.engines.base", "evsam.errors", "evsam.nn", "evsam.transforms", "evsam.zoo"),
}
"""What the lower modules may import; `sam` stands on all of them, and `compat` and `cli` on `sam`."""


@pytest.mark.parametrize("name", LAYERS)
def test_layers(name) -> None:
    allowed = LAYERS[name]
    for module in imports(PACKAGE / name):
        assert any(module == a or module.startswith(f"{a}.") for a in allowed), f"{name} imports {module}"


def test_package_does_not_import_what_stands_on_it() -> None:
    files = [path for path in PACKAGE.rglob("*.py") if "training" not in path.relative_to(PACKAGE).parts]
    assert len(files) > 20
    for path in files:
        # the command line stands on everything; it loads training only for a run, which it converts or scores
        above = (
            () if path in (PACKAGE / "cli" / "weights.py", PACKAGE / "cli" / "eval_setup.py") else ("evsam.training",)
        )
        wrong = [m for m in imports(path) if m.startswith((*above, "training", "benchmarks", "tests"))]
        assert not wrong, f"{path.relative_to(PACKAGE)} imports {wrong}"


@pytest.fixture
def clone(tmp_path) -> Path:
    """A clone's folder, and beside it ``site-packages`` with what an installation makes of its sources."""
    clone, package = tmp_path / "clone", tmp_path / "site-packages" / "evsam"
    without = shutil.ignore_patterns("*.so", "__pycache__")
    for name, copy in (("evsam", package), ("training", package / "training")):
        shutil.copytree(ROOT / name, clone / name, ignore=without)
        shutil.copytree(ROOT / name, copy, ignore=without)
    shutil.copy(_C.__file__, package)
    return clone


def python_in(clone: Path, code: str, *site_packages: Path) -> subprocess.CompletedProcess[str]:
    """A new Python in that folder, with NumPy and Pillow and what is in these folders."""
    needed = clone.with_name("needed")
    needed.mkdir()
    for name in ("numpy", "PIL"):
        (needed / name).symlink_to(Path(import_module(name).__file__ or "").parent)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (needed, *site_packages)))}
    command = [sys.executable, "-W", "error", "-S", "-c", code]  # -S: without the packages of this Python
    return subprocess.run(command, cwd=clone, env=environment, capture_output=True, text=True, check=False)


IN_A_CLONE = """
from importlib.util import find_spec
import evsam
print(find_spec("evsam._C").origin, find_spec("evsam.training").origin, evsam.sam.__file__, sep="\\n")
print(evsam.load("nano").encode("photo.png").original_size)
"""


def test_in_a_clone_the_installed_package_is_used(clone) -> None:
    Image.new("RGB", (60, 40)).save(clone / "photo.png")
    done = python_in(clone, IN_A_CLONE, clone.with_name("site-packages"))
    assert done.returncode == 0, done.stderr
    package = clone.with_name("site-packages") / "evsam"
    expected = [package / Path(_C.__file__).name, package / "training" / "__init__.py", package / "sam.py", "(40, 60)"]
    assert done.stdout.splitlines() == [str(line) for line in expected]


@pytest.mark.parametrize("changed", ["evsam/rle.py", "evsam/engines/new.py", "training/losses.py"])
def test_in_a_clone_with_other_sources_than_the_installed_ones_an_error_names_them(clone, changed) -> None:
    with (clone / changed).open("a") as file:
        file.write("# changed\n")
    done = python_in(clone, "import evsam", clone.with_name("site-packages"))
    assert done.stderr.splitlines()[-1] == (
        f"ImportError: evsam: expected sources as they were installed in {clone.with_name('site-packages') / 'evsam'}, "
        f"got others: {clone / changed}; run: pip install -e ."
    )


def test_sources_that_are_not_installed_say_what_to_do(clone) -> None:
    done = python_in(clone, "import evsam")
    assert done.stderr.splitlines()[-1] == (
        "ImportError: evsam: expected an installed package, got its sources; run: pip install -e ."
    )


def test_every_extra_is_asked_for_by_code() -> None:
    text = (ROOT / "pyproject.toml").read_text()
    table = text.partition("[project.optional-dependencies]\n")[2].partition("\n[")[0]
    extras = re.findall(r"^([a-z-]+) = \[", table, re.MULTILINE)
    assert "torch" in extras
    sources = "".join(path.read_text() for folder in ("evsam", "training") for path in (ROOT / folder).rglob("*.py"))
    tools = {"cuda-toolchain", "docs", "test-core", "test", "test-page", "dev"}  # of people who work on evsam
    asked = {*re.findall(r"evsam\[([a-z-]+)\]", sources), *re.findall(r"extra=\"([a-z-]+)\"", sources)}
    assert [extra for extra in extras if extra not in asked | tools] == []
