"""Packed weights on disk, from Python: the same bits from them, when they are used, and what `evsam info` says.

Damaged files, foreign folders and the like are the C++ test's: csrc/tests/test_packed_cache.cpp.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

import evsam
from evsam.cli import main
from evsam.engines.native import NativeEngine
from evsam.errors import BackendUnavailable, EvsamError, EvsamWarning
from evsam.info import collect
from evsam.weights import Weights, load_weights
from tests.own_variants import NANO_LIKE, SAM_LIKE, own_weights


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch) -> Path:
    """A folder of its own; nothing about it in the environment."""
    for name in ("EVSAM_PACKED_CACHE", "EVSAM_PACKED_CACHE_GIB"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("EVSAM_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "packed"


@pytest.fixture(scope="module", params=[SAM_LIKE, NANO_LIKE], ids=lambda variant: variant.name)
def weights(request) -> Weights:
    return own_weights(request.param)


def answers(engine: NativeEngine, side: int) -> list[np.ndarray]:
    pixels = np.random.default_rng(0).normal(size=(3, side, side)).astype(np.float32)
    features = engine.encode_pixels(pixels)
    points, labels = np.array([[[300, 400], [700, 800]]], np.float32), np.array([[2, 3]], np.int32)
    return [*features, *engine.decode(features, points, labels, None)]


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16", "int8"])
def test_the_same_bits(weights, cache, precision) -> None:
    side = weights.variant.image_size
    expected = answers(NativeEngine(weights, 1, precision=precision), side)
    for threads, state in ((2, "written"), (1, "read"), (2, "read")):
        engine = NativeEngine(weights, threads, precision=precision, packed_cache=True, packed_least=0)
        assert engine.packed_cache.state == state
        assert Path(engine.packed_cache.path).parent == cache
        for got, want in zip(answers(engine, side), expected, strict=True):
            assert np.array_equal(got, want)
    assert len(list(cache.iterdir())) == 1


def test_processes_fill_one_folder(cache) -> None:
    """Two at once: what one leaves the other reads, and an engine keeps its file when that is removed."""
    script = (
        "from tests.own_variants import SAM_LIKE, own_weights\n"
        "from evsam.engines.native import NativeEngine\n"
        "print(NativeEngine(own_weights(SAM_LIKE), 1, packed_cache=True, packed_least=0).packed_cache.state)\n"
    )
    root = Path(__file__).resolve().parents[2]
    processes = [
        subprocess.Popen([sys.executable, "-c", script], cwd=root, stdout=subprocess.PIPE, text=True) for _ in range(2)
    ]
    states = [process.communicate()[0].strip() for process in processes]
    assert "written" in states
    assert set(states) <= {"written", "busy", "read"}
    weights = own_weights(SAM_LIKE)
    engine = NativeEngine(weights, 1, packed_cache=True, packed_least=0)
    assert engine.packed_cache.state == "read"
    (file,) = cache.iterdir()
    file.unlink()
    plain = answers(NativeEngine(weights, 1), 256)
    assert all(np.array_equal(a, b) for a, b in zip(answers(engine, 256), plain, strict=True))


@pytest.mark.parametrize(
    ("argument", "variable", "state"),
    [(None, None, "off"), (None, "0", "off"), (None, "1", "small"), (True, "0", "small"), (False, "1", "off")],
)
def test_who_decides(cache, monkeypatch, argument, variable, state) -> None:
    if variable is not None:
        monkeypatch.setenv("EVSAM_PACKED_CACHE", variable)
    with evsam.load("nano", threads=1, packed_cache=argument) as sam:
        assert sam.engine.packed_cache.state == state
    assert not cache.exists()


def test_what_is_refused(monkeypatch) -> None:
    with pytest.raises(EvsamError, match=r"^packed_cache: expected True, False or None, got 'yes'"):
        evsam.load("nano", packed_cache="yes")
    with pytest.raises(BackendUnavailable, match=r"^packed_cache: expected engine native, which packs weights, got "):
        evsam.engines.create_engine("torch", load_weights("nano"), packed_cache=True)
    monkeypatch.setenv("EVSAM_PACKED_CACHE", "yes")
    with pytest.raises(RuntimeError, match=r"^EVSAM_PACKED_CACHE: expected 1 for on or 0 for off, got yes"):
        evsam.load("nano")


def test_a_cache_that_cannot_be_used_is_a_warning(cache) -> None:
    cache.parent.write_text("no folder")
    weights = own_weights(SAM_LIKE)
    with pytest.warns(EvsamWarning, match="packed_cache: weights were packed anew and not kept: .*/packed: expected"):
        engine = NativeEngine(weights, 1, packed_cache=True, packed_least=0)
    assert engine.packed_cache.state == "failed"


def test_calls_while_others_load(weights) -> None:
    """Any number of threads may load at one time."""
    side = weights.variant.image_size
    expected = answers(NativeEngine(weights, 1), side)
    made: list[NativeEngine] = []

    def load() -> None:
        made.append(NativeEngine(weights, 1, packed_cache=True, packed_least=0))

    threads = [threading.Thread(target=load) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 3
    for engine in made:
        assert all(np.array_equal(a, b) for a, b in zip(answers(engine, side), expected, strict=True))


def test_info(cache, capsys, monkeypatch) -> None:
    assert collect()["packed"] == {"folder": str(cache), "on": False, "files": 0, "bytes": 0, "limit": 8 << 30}
    NativeEngine(own_weights(SAM_LIKE), 1, packed_cache=True, packed_least=0)
    monkeypatch.setenv("EVSAM_PACKED_CACHE", "1")
    monkeypatch.setenv("EVSAM_PACKED_CACHE_GIB", "3")
    found = collect()["packed"]
    (file,) = cache.iterdir()
    assert found == {"folder": str(cache), "on": True, "files": 1, "bytes": os.stat(file).st_size, "limit": 3 << 30}
    assert main(["info"]) == 0
    line = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("packed"))
    assert re.search(r"1 file, \d+ MB of 3.2 GB at most; on", line)
    assert str(cache) in line
