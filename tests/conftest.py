"""Fixtures that several parts of the tests share.

``EVSAM_REQUIRE`` turns skips into failures, where everything is meant to be there: ``all``, or words separated by
commas, of which one occurs in the reason of the skip (``EVSAM_REQUIRE=torch,skimage``).
"""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Generator, Iterator
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if processes := os.environ.get("PYTEST_XDIST_WORKER_COUNT"):
    # Each process of `pytest -n` takes its share of the cores; OpenMP reads this when NumPy or PyTorch load it.
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // int(processes))))

import numpy as np
import pytest
from PIL import Image

from evsam.weights import expected_tensors, save_weights
from tests.golden.seeded_weights import seeded_state_dict
from tests.memory import give_back, occupied

if TYPE_CHECKING:
    from evsam.nn import EfficientViTSam


@lru_cache(maxsize=1)  # they reach 0.8 GB
def _seeded_tensors(variant: str) -> dict[str, np.ndarray]:
    return seeded_state_dict(dict(expected_tensors(variant)))


@lru_cache(maxsize=1)
def _seeded_model(variant: str) -> EfficientViTSam:
    import torch

    from evsam.nn import EfficientViTSam

    with torch.device("meta"):
        model = EfficientViTSam(variant)
    tensors = {name: torch.from_numpy(value) for name, value in _seeded_tensors(variant).items()}
    model.load_state_dict(tensors, assign=True)
    return model.eval().requires_grad_(False)


@pytest.fixture(scope="module", autouse=True)
def _small_between_files() -> Iterator[None]:
    """Behind each file of tests, what nobody needs any more leaves the process."""
    yield
    _seeded_model.cache_clear()
    _seeded_tensors.cache_clear()
    give_back()


@pytest.fixture(autouse=True)
def _small_between_tests() -> Iterator[None]:
    """Behind a test with a large model as well: the next one may have one too, and all of them together have 3 GB."""
    before = occupied()
    yield
    if occupied() - before > 1 << 28:
        give_back()


@pytest.fixture(scope="session")
def seeded_tensors() -> Callable[[str], dict[str, np.ndarray]]:
    """Stand-in weights of a variant as float32 arrays; shared, not to be changed."""
    return _seeded_tensors


@pytest.fixture(scope="session")
def seeded_model() -> Callable[[str], EfficientViTSam]:
    """Model of a variant with the stand-in weights, for inference; shared, not to be changed."""
    pytest.importorskip("torch")
    return _seeded_model


@pytest.fixture(scope="session")
def seeded_file(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Safetensors file with the stand-in weights of a variant."""
    folder = tmp_path_factory.mktemp("seeded")

    def write(variant: str) -> Path:
        path = folder / f"{variant}.safetensors"
        if not path.exists():
            save_weights(path, _seeded_tensors(variant), variant)
        return path

    return write


@pytest.fixture(scope="session")
def photo() -> Callable[[str], np.ndarray]:
    """Photo that ships inside the scikit-image wheel, uint8 (H, W, 3); ``@rot90`` behind its name turns it."""
    skimage = pytest.importorskip("skimage")
    folder = Path(skimage.__file__).parent / "data"

    def load(name: str) -> np.ndarray:
        name, _, turn = name.partition("@")
        with Image.open(folder / name) as image:
            array = np.array(image.convert("RGB"))
        return np.ascontiguousarray(np.rot90(array)) if turn == "rot90" else array

    return load


@pytest.fixture
def one_calibration_image(monkeypatch: pytest.MonkeyPatch) -> None:
    """Exports in float16 find ranges on one image instead of six: for tests to which ranges do not matter."""
    pytest.importorskip("onnx")
    monkeypatch.setattr("evsam.export.calibration.GENERATED", 1)


LONG = (
    "test_emulation.py",
    "test_nvcc.py",
    "test_cpp.py",
    "test_ranges.py",
    "test_ptx_kernels.py",
    "test_cuda_build.py",
    "test_distributed.py",
    "test_generator.py",
    "test_tensorrt_rtx.py",
    "test_golden.py",
)
"""Files that take half a minute or more, begun first: behind them all processes end at nearly the same time."""


def pytest_configure(config: pytest.Config) -> None:
    # xdist would begin with the files that have most tests, and end with the few long ones on one core.
    if hasattr(config.option, "loadscopereorder"):
        config.option.loadscopereorder = False


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: LONG.index(item.path.name) if item.path.name in LONG else len(LONG))


def pytest_collection_finish() -> None:
    # Thousands of tests, which no later collection needs to look through: each took a second.
    gc.collect()
    gc.freeze()


def _required(reason: str) -> bool:
    words = [word.strip().lower() for word in os.environ.get("EVSAM_REQUIRE", "").split(",") if word.strip()]
    return "all" in words or any(word in reason.lower() for word in words)


def _fail_if_required(report: Any) -> None:
    if report.skipped and isinstance(report.longrepr, tuple) and _required(reason := report.longrepr[2]):
        report.outcome = "failed"
        report.longrepr = f"EVSAM_REQUIRE={os.environ['EVSAM_REQUIRE']} does not allow this skip. {reason}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, Any, Any]:
    report = yield
    _fail_if_required(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector: pytest.Collector) -> Generator[None, Any, Any]:
    report = yield
    _fail_if_required(report)
    return report
