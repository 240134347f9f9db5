"""Tars of SA-1B."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.training.data.pairs import members, write_tar


@pytest.fixture
def tars(tmp_path: Path) -> Path:
    folder = tmp_path / "tars"
    folder.mkdir()
    write_tar(folder / "sa_000000.tar", members(range(3)))
    write_tar(folder / "sa_000001.tar", members(range(3, 8)))
    return folder
