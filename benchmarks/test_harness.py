"""Roofs, settings and files of results."""

from __future__ import annotations

import getpass
import itertools
import os
import socket
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from benchmarks.harness import Settings, device_name, environment, measure, read, result_path, save
from benchmarks.roofs import Roofs, measure_roofs
from benchmarks.threads import SETTLE, set_up_threads
from evsam import _C
from evsam.costs import LayerNorm, Pointwise


def test_percent_of_the_nearer_roof() -> None:
    roofs = Roofs(gflops=100.0, gbs=10.0)
    compute, memory = Pointwise("", 1, 1, 1000, 500, 1000), LayerNorm("", 1, 100, 100, 25)
    assert compute.flops == 10**9
    assert (roofs.nearer(compute), roofs.nearer(memory)) == ("compute", "memory")
    assert roofs.percent(compute, 0.02) == pytest.approx(50.0)
    assert roofs.percent(memory, 1e-9 * memory.bytes() / 10.0) == pytest.approx(100.0)


def test_measured_roofs_are_plausible() -> None:
    vector = measure_roofs(_C.selected_isa(), 1, 1 << 20, seconds=0.02)
    assert 0.1 < vector.gflops < 10_000
    assert 0.1 < vector.gbs < 10_000
    if _C.selected_isa() != "scalar":
        assert vector.gflops > 1.5 * _C.measure_fma_gflops("scalar", 1, 0.02)


def test_probes_reject_bad_arguments() -> None:
    with pytest.raises(ValueError, match="isa: expected an instruction set of this machine and build, got mmx"):
        _C.measure_fma_gflops("mmx", 1)
    with pytest.raises(ValueError, match="bytes: expected a number >= 1, got 0"):
        _C.measure_bandwidth_gbs("scalar", 1, 0)


@pytest.mark.parametrize("cache", ["warm", "cold"])
def test_measure(monkeypatch: pytest.MonkeyPatch, cache: Any) -> None:
    now = 0.0
    order = []
    slow_times = itertools.chain([9.0, 0.4, 0.4], itertools.cycle([0.4, 0.3, 0.5]))  # the first call is slow: warm-up

    def call(name: str, times: Iterator[float]) -> None:
        nonlocal now
        now += next(times)
        order.append(name)

    monkeypatch.setattr("evsam.timing.time.perf_counter", lambda: now)
    candidates = {
        "slow": partial(call, "slow", slow_times),
        "fast": partial(call, "fast", itertools.repeat(0.1)),
    }
    timings = measure(candidates, Settings(threads=1, seconds=2.1, cache=cache))
    assert timings["slow"].median == pytest.approx(0.4)
    assert 0.3 <= timings["slow"].p10 < 0.4 < timings["slow"].p90 <= 0.5
    assert timings["slow"].calls == 6
    assert timings["fast"].median == pytest.approx(0.1)
    assert timings["fast"].calls >= 21
    assert "".join(name[0] for name in order).count("sf") >= 6, "interleaved"


def test_threads_of_the_others_sleep(monkeypatch: pytest.MonkeyPatch) -> None:
    """With several threads each timed call comes behind a pause and a call that is not timed."""
    now = 0.0
    events: list[str] = []

    def call(name: str) -> None:
        nonlocal now
        warm = events[-1] == "untimed " + name
        now += 0.1 if warm else 7.0
        events.append(("timed " if warm else "untimed ") + name)

    monkeypatch.setattr("evsam.timing.time.perf_counter", lambda: now)
    monkeypatch.setattr("benchmarks.harness.time.sleep", lambda seconds: events.append(f"pause of {seconds}"))
    timings = measure({name: partial(call, name) for name in "ab"}, Settings(threads=2, seconds=0.0))
    assert [timings[name].median for name in "ab"] == [pytest.approx(0.1)] * 2
    turn = [[f"pause of {SETTLE}", f"untimed {name}", f"timed {name}"] for name in "ab"]
    assert events[-30:] == (turn[0] + turn[1]) * 5
    assert 0.001 < SETTLE < 0.1


def test_how_long_threads_spin_is_set_before_libraries_are_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "GOMP_SPINCOUNT", "KMP_BLOCKTIME"):
        monkeypatch.setenv(name, "unset")
    set_up_threads(2)
    assert {os.environ[name] for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")} == {"2"}
    spin_cycles, block_ms = int(os.environ["GOMP_SPINCOUNT"]) * 140, int(os.environ["KMP_BLOCKTIME"])
    assert max(spin_cycles / 2e9, block_ms / 1e3) < SETTLE  # at 2 GHz


def test_saved_file(tmp_path: Path) -> None:
    path = tmp_path / "results" / "device.json"
    key = ("op", "candidate")
    lines = [{"op": "x", "candidate": name, "median_ms": 2.0} for name in ("evsam avx2", "peer")]
    save(path, lines, key)
    save(path, [{**lines[0], "median_ms": 1.0}], key)
    found = read(path)
    assert [(line["candidate"], line["median_ms"]) for line in found] == [("evsam avx2", 1.0), ("peer", 2.0)]
    assert [line["environment"] for line in found] == [environment()] * 2
    save(path, [lines[1]], key, {"device": "other"})
    assert [line["environment"].get("device") for line in read(path)] == [environment()["device"], "other"]
    assert set(environment()["versions"]) >= {"python", "compiler", "evsam", "numpy"}
    text = path.read_text()
    for private in (socket.gethostname(), str(Path.home()), str(Path.cwd())):
        assert private not in text, private
    assert f"/{getpass.getuser()}" not in text


@pytest.mark.parametrize(
    ("vendor", "family", "model", "name"),
    [
        ("AuthenticAMD", 25, 0x01, "Some CPU (Zen 3)"),
        ("AuthenticAMD", 25, 0x11, "Some CPU (Zen 4)"),
        ("AuthenticAMD", 26, 0x02, "Some CPU (Zen 5)"),
        ("GenuineIntel", 6, 0x8F, "Some CPU"),
    ],
)
def test_device_name(monkeypatch: pytest.MonkeyPatch, vendor: str, family: int, model: int, name: str) -> None:
    info = f"vendor_id\t: {vendor}\ncpu family\t: {family}\nmodel\t\t: {model}\nmodel name\t: Some CPU\n"
    monkeypatch.setattr(Path, "read_text", lambda _: info)
    monkeypatch.setattr(Path, "exists", lambda _: True)
    assert device_name() == name
    assert result_path("kernels").name == f"{name.lower().replace(' ', '-').strip(')').replace('(', '')}-kernels.json"
