"""Who imports whom, and what `import evsam` costs."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import evsam

PACKAGE = Path(evsam.__file__).parent

HEAVY = ("torch", "onnxruntime", "tensorrt", "safetensors", "huggingface_hub", "scipy", "skimage", "ray", "fastapi")

ROOT = Path(__file__).parents[2]

RUN = "import sys\n{code}\nprint(*sorted(name for name in sys.modules if '.' not in name))"


def modules_after(code: str) -> set[str]:
    command = [sys.executable, "-W", "error", "-c", RUN.format(code=code)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return set(done.stdout.splitlines()[-1].split())


@pytest.mark.parametrize(
    "code",
    [
        "import evsam",
        "import evsam.compat",
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
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        evsam.nothing  # noqa: B018


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
    "zoo.py": ("evsam.errors",),
    "network.py": ("evsam.zoo",),
    "record.py": ("evsam._C", "evsam.errors", "evsam.zoo"),
    "transforms.py": ("evsam._C", "evsam.zoo"),
    "prompts.py": ("evsam._C", "evsam.errors", "evsam.zoo"),
    "images.py": ("evsam.errors",),
    "boxes.py": (),
    "rle.py": (),
    "polygons.py": (),
    "overlay.py": ("evsam.boxes",),
    "results.py": ("evsam.errors", "evsam.images", "evsam.overlay", "evsam.polygons", "evsam.rle"),
    "embedding.py": ("evsam.errors", "evsam.network", "evsam.transforms", "evsam.zoo", "evsam.weights"),
    "engines/base.py": (),
    "engines/__init__.py": ("evsam.engines.base", "evsam.errors", "evsam.export.folder"),
    "engines/native.py": (
        "evsam._C",
        "evsam.engines.base",
        "evsam.errors",
        "evsam.record",
        "evsam.weights.files",
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
        # the command line stands on everything; it loads training only to convert a run
        above = () if path == PACKAGE / "cli.py" else ("evsam.training",)
        wrong = [m for m in imports(path) if m.startswith((*above, "training", "benchmarks", "tests"))]
        assert not wrong, f"{path.relative_to(PACKAGE)} imports {wrong}"


def test_sources_that_are_not_installed_say_what_to_do(tmp_path) -> None:
    shutil.copytree(ROOT / "evsam", tmp_path / "evsam", ignore=shutil.ignore_patterns("*.so", "*.safetensors"))
    command = [sys.executable, "-S", "-c", "import evsam"]  # without site-packages, where evsam and numpy are
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        "ImportError: evsam: expected an installed package, got its sources; run: pip install -e ."
    )


def test_every_extra_is_asked_for_by_code() -> None:
    text = (ROOT / "pyproject.toml").read_text()
    table = text.partition("[project.optional-dependencies]\n")[2].partition("\n[")[0]
    extras = re.findall(r"^([a-z-]+) = \[", table, re.MULTILINE)
    assert "torch" in extras
    sources = "".join(path.read_text() for folder in ("evsam", "training") for path in (ROOT / folder).rglob("*.py"))
    tools = {"cuda-toolchain", "test-core", "test", "dev"}  # of people who work on evsam
    asked = {*re.findall(r"evsam\[([a-z-]+)\]", sources), *re.findall(r"extra=\"([a-z-]+)\"", sources)}
    assert [extra for extra in extras if extra not in asked | tools] == []
