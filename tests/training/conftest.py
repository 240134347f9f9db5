"""A tiny annotated data directory, coloured ellipses on noise, and a run on it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.datasets.made import write_data_dir

torch = pytest.importorskip("torch")
pytest.importorskip("pycocotools")
pytest.importorskip("scipy")
pytest.importorskip("tqdm")
pytest.importorskip("pydantic")


@pytest.fixture(scope="session")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``train`` with the sets blobs and more, ``val`` with blobs."""
    return write_data_dir(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="session")
def run(data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a finished run of fine-tuning."""
    from evsam.training import finetune
    from tests.training.runs import settings, write

    folder = tmp_path_factory.mktemp("finetune")
    config = write(folder / "tiny.yaml", settings(data_dir))
    assert finetune.main([str(config), "--out", str(folder / "run")]) == 0
    return folder / "run"


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Sums in one order, whatever ran before; and models as small as these only wait for each other's threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
