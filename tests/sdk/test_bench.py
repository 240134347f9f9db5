from __future__ import annotations

import numpy as np
import pytest

from evsam import _C, cli, load
from evsam.bench import BlockCost, ProfilingEngine, profile_model, random_weights, time_model
from evsam.errors import BackendUnavailable, WeightsError


@pytest.fixture(scope="module")
def sam():
    with load("nano", threads=1) as model:
        yield model


class Measuring:
    """An engine that answers as the one it wraps, and claims to have measured two blocks."""

    name = "measuring"
    threads = 1

    def __init__(self, engine) -> None:
        self._engine = engine
        self.profiling = False
        self.calls = 0

    def __getattr__(self, name):
        return getattr(self._engine, name)

    def encode(self, images):
        self.calls += self.profiling
        return self._engine.encode(images)

    def begin_profile(self) -> None:
        self.profiling = True

    def end_profile(self):
        self.profiling = False
        return [
            {"name": "stem", "seconds": 0.004 * self.calls, "macs": 2e6, "calls": self.calls},
            {"name": "resize", "seconds": 0.001 * self.calls, "macs": 0.0, "calls": self.calls},
            {"name": "never run", "seconds": 0.0, "macs": 1e6, "calls": 0},
        ]


def test_times(sam) -> None:
    timings = time_model(sam, seconds=0.0)
    assert list(timings) == ["encode", "predict, 1 box", "predict, 16 boxes"]
    for timing in timings.values():
        assert timing.calls == 3
        assert 0 < timing.p10 <= timing.median <= timing.p90


def test_profile(sam, monkeypatch) -> None:
    engine = Measuring(sam.engine)
    assert isinstance(engine, ProfilingEngine)
    monkeypatch.setattr(sam, "_engine", engine)
    monkeypatch.setattr(_C, "measure_fma_gflops", lambda *_: 10.0)
    blocks = profile_model(sam, seconds=0.0)
    assert engine.calls >= 3
    assert blocks == [BlockCost("stem", 4.0, 1.0, 10.0), BlockCost("resize", 1.0, 0.0, 0.0)]


def test_profile_needs_an_engine_that_measures(sam, monkeypatch) -> None:
    class Plain:
        name = "plain"

    monkeypatch.setattr(sam, "_engine", Plain())
    with pytest.raises(BackendUnavailable, match=r"profile: expected .* \(native\), got plain"):
        profile_model(sam)


def test_random_weights_keep_activations_in_range() -> None:
    weights = random_weights("nano")
    assert all(array.dtype == np.float32 for array in weights.tensors.values())
    with load(weights, threads=1) as model:
        features = model.encode(np.full((64, 64, 3), 200, np.uint8)).features
    assert np.isfinite(features).all()
    assert 0.01 < np.abs(features).mean() < 100
    with pytest.raises(WeightsError):
        random_weights("no such variant")


def test_command_line(capsys) -> None:
    assert cli.main(["bench", "nano", "--random", "--threads", "1", "--seconds", "0"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("nano, engine ")
    assert [line[:18].strip() for line in lines[2:]] == ["encode", "predict, 1 box", "predict, 16 boxes"]


def test_command_line_profile(capsys, monkeypatch) -> None:
    block = BlockCost("stem", 4.0, 1.0, 10.0)
    monkeypatch.setattr("evsam.bench.time_model", lambda *_: {})
    monkeypatch.setattr("evsam.bench.profile_model", lambda *_: [block, block])
    assert cli.main(["bench", "--threads", "1", "--profile"]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines[-2:] == [["stem", "4.000", "1.0", "10.0"], ["sum", "8.000"]]
