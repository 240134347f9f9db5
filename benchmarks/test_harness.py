"""Cost formulas, roofs and records."""

from __future__ import annotations

import getpass
import itertools
import json
import socket
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from benchmarks import cost, run
from benchmarks.cost import Cost, Roofs
from benchmarks.harness import Settings, environment, measure, record, save
from evsam import _C
from evsam.timing import Timing


def test_cost_by_hand() -> None:
    # D = 2, N = 3, one head: state 3 x 2 from 3 tokens (18 multiply-adds), product 3 x 3 from 2 channels (18), 6
    # divisions; q, k, v and out of 6 floats each
    assert cost.relu_linear_attention(1, 1, 2, 3) == Cost(2 * 18 + 2 * 18 + 6, 4 * 6 * 4)
    assert cost.relu_linear_attention(2, 5, 2, 3) == Cost(10 * 78, 10 * 96)


def test_percent_of_the_nearer_roof() -> None:
    roofs = Roofs(gflops=100.0, gbs=10.0)
    compute, memory = Cost(flops=10**9, bytes=10**6), Cost(flops=10**6, bytes=10**9)
    assert (roofs.nearer(compute), roofs.nearer(memory)) == ("compute", "memory")
    assert roofs.percent(compute, 0.02) == pytest.approx(50.0)
    assert roofs.percent(memory, 0.1) == pytest.approx(100.0)


def test_measured_roofs_are_plausible() -> None:
    vector = cost.measure_roofs(_C.selected_isa(), 1, 1 << 20, seconds=0.02)
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


def test_saved_file(tmp_path: Path) -> None:
    path = tmp_path / "results" / "device.json"
    case = {"op": "x", "case": "a", "threads": 1, "cache": "warm"}
    work, roofs = Cost(10**6, 10**6), Roofs(100.0, 10.0)
    first = record(case, "k", Timing(2e-4, 1e-4, 3e-4, 9), work, roofs)
    assert first["gflops"] == 5.0
    assert first["gbs"] == 5.0
    assert first["roof"] == {"gflops": 100.0, "gbs": 10.0, "nearer": "memory", "percent": 50.0}
    save(path, [first, record(case, "peer", Timing(1e-3, 1e-3, 1e-3, 5), work, None)])
    save(path, [{**first, "median_us": 1.0}])
    lines = json.loads(path.read_text())["lines"]
    assert [(line["candidate"], line["median_us"]) for line in lines] == [("k", 1.0), ("peer", 1000.0)]
    assert set(environment()["versions"]) >= {"python", "compiler", "evsam", "numpy"}
    text = path.read_text()
    for private in (socket.gethostname(), str(Path.home()), str(Path.cwd())):
        assert private not in text, private
    assert f"/{getpass.getuser()}" not in text


def test_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    from benchmarks.kernels import bench_relu_linear_attention as bench

    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        monkeypatch.setenv(name, "1")  # restored afterwards
    monkeypatch.setattr(bench, "CASES", {"tiny": (1, 2, 16, 40)})
    path = tmp_path / "out.json"
    assert run.main(["relu_linear_attention", "--seconds", "0.01", "--output", str(path)]) == 0
    printed = capsys.readouterr().out
    assert "torch eager" in printed
    candidates = {line["candidate"] for line in json.loads(path.read_text())["lines"]}
    assert {"torch eager", "numpy"} < candidates
