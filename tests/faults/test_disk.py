"""A full disk: an error that names the file, the old file untouched, and nothing half-written left behind."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import evsam
from evsam.cli import main
from evsam.weights import resolve


@pytest.fixture
def full(tmp_path: Path) -> Iterator[Path]:
    """A file system of 128 KiB, of which a part is taken."""
    folder = tmp_path / "full"
    folder.mkdir()
    try:
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=128k", "tmpfs", folder], capture_output=True, check=False
        )
    except FileNotFoundError:
        pytest.skip("no mount to make a small file system with")
    if done.returncode:
        pytest.skip("small file systems cannot be mounted here")
    (folder / "old").write_bytes(b"old" * 20_000)
    yield folder
    subprocess.run(["umount", folder], check=True)


@pytest.fixture(scope="module")
def sam() -> Iterator[evsam.Sam]:
    with evsam.load("nano", threads=1) as model:
        yield model


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_saving(full: Path, sam: evsam.Sam) -> None:
    image = np.random.default_rng(0).integers(0, 256, (400, 600, 3), np.uint8)
    embedding = sam.encode(image)
    result = sam.predict(embedding, boxes=[(20, 30, 300, 200)] * 3)
    for save in (embedding.save, lambda path: result.save(path.with_suffix(".npz"))):
        with pytest.raises(OSError, match="No space left on device") as caught:
            save(full / "old")
        assert "full/old" in str(caught.value)
        assert names(full) == ["old"]
        assert (full / "old").read_bytes() == b"old" * 20_000
    assert np.array_equal(sam.predict(embedding, boxes=[(20, 30, 300, 200)] * 3).masks, result.masks)


def test_converting(full: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["convert", str(resolve("nano")), str(full / "copy.safetensors")]) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "copy.safetensors" in error
    assert "No space left on device" in error
    assert names(full) == ["old"]


def test_caching(full: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The model loads without its cache, with a warning, and gives the same answers."""
    from evsam.engines.native import NativeEngine
    from evsam.weights import load_weights

    monkeypatch.setenv("EVSAM_CACHE", str(full / "cache"))
    weights = load_weights("nano")
    with pytest.warns(evsam.EvsamWarning, match="packed anew and not kept: .*No space left on device"):
        engine = NativeEngine(weights, 1, packed_cache=True, packed_least=0)
    assert engine.packed_cache.state == "failed"
    assert [path for path in full.rglob("*") if path.is_file()] == [full / "old"]
    image = np.zeros((40, 50, 3), np.uint8)
    plain = NativeEngine(weights, 1)
    for got, want in zip(engine.encode([image])[0], plain.encode([image])[0], strict=True):
        assert np.array_equal(got, want)
