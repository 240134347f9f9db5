"""A data directory, and tars of SA-1B."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.datasets.made import members, write_data_dir, write_tar


@pytest.fixture(scope="session")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``train`` with the sets blobs and more, ``val`` with blobs."""
    return write_data_dir(tmp_path_factory.mktemp("data"))


@pytest.fixture
def tars(tmp_path: Path) -> Path:
    folder = tmp_path / "tars"
    folder.mkdir()
    write_tar(folder / "sa_000000.tar", members(range(3)))
    write_tar(folder / "sa_000001.tar", members(range(3, 8)))
    return folder
