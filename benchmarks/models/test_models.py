"""Contests, tables and plots, with contestants that only sleep."""

from __future__ import annotations

import json
import sys
import time
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import numpy as np
import pytest

from benchmarks import harness
from benchmarks.models import contest, decoder, encoder, frames, memory, report, scaling, tables, tracking
from benchmarks.models.contest import Contest, Contestant, Worker, WorkerError
from benchmarks.models.inputs import clicks
from benchmarks.models.peers import CLASSES, Peers
from benchmarks.models.plot import Panel, Series, draw, ticks

Sleeper: TypeAlias = Callable[..., Contestant]

SLEEPER = """
import os, time

def version():
    print("noise on standard output")
    return "1.2"

class Runner:
    def __init__(self, request, inputs):
        if request["model"] == "broken":
            raise ValueError("no such model")
        if request["model"] == "fatal":
            os._exit(3)
        self.request, self.x = request, inputs["x"]

    def run(self):
        time.sleep(self.request["sleep"])

    def outputs(self):
        return [self.x * self.request["threads"]]
"""


@pytest.fixture
def sleeper(tmp_path: Path) -> Sleeper:
    (tmp_path / "use_sleeper.py").write_text(SLEEPER)

    def make(name: str, sleep: float = 0.0, model: str = "fine") -> Contestant:
        request = {"model": model, "sleep": sleep}
        return Contestant(name, "sleeper", Path(sys.executable), request, {"PYTHONPATH": str(tmp_path)})

    return make


def is_stopped(pid: int) -> bool:
    """Whether a process stops soon: a signal that was sent arrives when the process is scheduled next."""
    for _ in range(500):
        if Path(f"/proc/{pid}/stat").read_text().split()[2] == "T":
            return True
        time.sleep(0.01)
    return False


def test_contest(sleeper: Sleeper, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(contest, "TURN_SECONDS", 0.0)
    entrants = [
        sleeper("fast", 0.01),
        sleeper("slow", 0.1),
        sleeper("broken", model="broken"),
        sleeper("f", model="fatal"),
    ]
    with Contest(entrants, 3, {"x": np.ones(4, np.float32)}) as running:
        samples = running.measure(4)
        assert [entry.name for entry in running.entries] == ["fast", "slow"]
        assert running.entries[0].version == "1.2"
        np.testing.assert_array_equal(running.entries[0].outputs[0], np.full(4, 3.0))
        assert running.failed["broken"] == "broken: ValueError: no such model"
        assert "the process ended" in running.failed["f"]
        pids = [worker._process.pid for worker in running._workers]
        assert all(is_stopped(pid) for pid in pids[:2])
    assert len(samples["fast"]) == 4
    assert len(samples["slow"]) == 2, "the slow one's turn comes in every third round"
    assert min(samples["fast"]) >= 0.01
    assert min(samples["slow"]) >= 0.1
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)
    assert "left out: broken" in capsys.readouterr().err


def test_worker_memory(sleeper: Sleeper, tmp_path: Path) -> None:
    worker = Worker(sleeper("a"), tmp_path / "log")
    try:
        assert 1 << 20 < worker.ask("memory")["peak"] < 1 << 30
        with pytest.raises(WorkerError, match="a: IndexError"):
            worker.ask("run", repeat=1)
    finally:
        worker.close()


def line(name: str, ms: float, correct: bool = True) -> dict[str, object]:
    case = {"variant": "l0", "contestant": name, "correct": correct}
    return {**case, "median_ms": ms, "p10_ms": ms, "p90_ms": ms, "runs": 3, "relative": 1e-6, "cosine": 1.0}


def test_ratios_are_to_the_fastest_correct_peer() -> None:
    lines = [line("evsam", 80.0), line("a", 100.0), line("b", 50.0, correct=False), line("c", 200.0)]
    report.add_ratios(lines)
    assert lines[0]["ratio"] == 0.8
    assert lines[0]["fastest_peer"] == "a"
    assert not any("ratio" in entry for entry in lines[1:])
    text = report.table(lines, ["variant"]).splitlines()
    assert "0.80 of a" in text[1]
    assert text[3].endswith("incorrect")


def test_accuracy_and_statistics() -> None:
    exact = np.array([1.0, 2.0])
    quality = report.accuracy([exact, np.array([3.0, 4.0])], [exact, np.array([3.0, 4.5])])
    assert quality["max_abs"] == 0.5
    assert quality["relative"] == pytest.approx(0.5 / np.hypot(3, 4.5), rel=1e-2)
    assert 0.99 < quality["cosine"] < 1.0
    assert report.accuracy([np.array([np.nan, 4.0])], [exact]) == {"max_abs": 2.0, "relative": 1.0, "cosine": 0.0}
    stats = report.statistics([0.001, 0.002, 0.003])
    assert (stats["median_ms"], stats["runs"]) == (2.0, 3)


def test_saved_lines_replace_older_ones(tmp_path: Path) -> None:
    path = tmp_path / "results" / "device.json"
    harness.save(path, [line("a", 1.0), line("b", 1.0)], ["variant", "contestant"])
    harness.save(path, [line("a", 2.0)], ["variant", "contestant"])
    lines = json.loads(path.read_text())["lines"]
    assert [(entry["contestant"], entry["median_ms"]) for entry in lines] == [("a", 2.0), ("b", 1.0)]


def test_clicks() -> None:
    points, labels = clicks(64)
    assert points.shape == (64, 2, 2)
    assert labels.tolist() == [[1, -1]] * 64
    assert len(np.unique(points[:, 0], axis=0)) == 64
    assert points[:, 0].min() > 0
    assert points.max() < 1024


def test_plot() -> None:
    assert ticks(1.5, 40.0) == [1, 2, 5, 10, 20, 50]
    panel = Panel(
        "decoding", "prompts", [Series("one call", {1: 10.0, 4: 30.0}), Series("single calls", {1: 10.0, 4: 40.0})]
    )
    root = ET.fromstring(draw([panel, panel]))
    words = [element.text for element in root.iter("{http://www.w3.org/2000/svg}text")]
    assert words.count("decoding") == 2
    assert {"number of prompts", "one call", "single calls", "1", "4"} < set(words)
    assert len(list(root.iter("{http://www.w3.org/2000/svg}circle"))) == 4


def test_every_table_lists_contestants(tmp_path: Path) -> None:
    peers = Peers(tmp_path)
    for precisions in CLASSES:
        for contestants in (
            encoder.contestants(peers, "nano", precisions),
            decoder.contestants(peers, precisions, 1),
            decoder.contestants(peers, precisions, 64),
        ):
            names = [contestant.name for contestant in contestants]
            assert names[0].startswith("evsam")
            assert len(set(names)) == len(names) >= 4
            for contestant in contestants:
                assert (contest.WORKER.parent / f"use_{contestant.kind}.py").is_file()
        assert len(memory.contestants(peers, "l0", precisions)) >= 7


def test_precisions_are_judged_by_their_own_tolerance(sleeper: Sleeper) -> None:
    """An output that is two percent off is no float32, but well computed in 16 bits."""
    reference = [np.full(4, 2.04)]
    for precisions, correct in {"fp32": False, "16bit": True, "int8": True}.items():
        with Contest([sleeper("evsam"), sleeper("peer")], 2, {"x": np.ones(4, np.float32)}) as running:
            lines = report.lines({"precision": precisions}, running, 2, reference)
        assert [line["correct"] for line in lines] == [correct, correct]
        assert ("ratio" in lines[0]) == correct
        assert lines[0]["first_ms"] >= 0


README = f"Before\n{tables.BEGIN}\nold\n{tables.END}\nafter\n"


def save_device(folder: Path, name: str, isa: str, date: str, ms: float, products: dict[str, str | None]) -> None:
    where = {"device": name, "isa": isa, "date": date, "usable_cpus": 2, "products": products}
    case = {"variant": "l0", "threads": 2, "precision": "int8", "correct": True, "cosine": 0.9996}
    lines = [
        {**case, "contestant": "evsam int8", "median_ms": ms},
        {**case, "contestant": "wrong", "median_ms": 1.0, "correct": False},
        {**case, "contestant": "peer", "median_ms": 2 * ms},
    ]
    path = folder / f"{name.lower().replace(' ', '-')}-encoder.json"
    harness.save(path, lines, ["variant", "threads", "precision", "contestant"], where)


def test_tables_show_the_last_device_of_each_kind(tmp_path: Path) -> None:
    save_device(tmp_path, "AMD old", "avx512", "2026-01-01", 30.0, {})
    save_device(tmp_path, "AMD new", "avx512", "2026-02-01", 20.0, {})
    save_device(tmp_path, "Intel Xeon", "avx512", "2026-02-01", 10.0, {"bf16": "amx_bf16", "fp16": None})
    text = tables.expected(README, tmp_path)
    assert text.startswith("Before\n")
    assert text.endswith("\nafter\n")
    assert "old" not in text
    assert "**AMD, AVX-512**: AMD new, 2 processors" in text
    assert "**Intel, AMX**: Intel Xeon" in text
    cell = "evsam int8 20.0 (cosine 0.9996); peer 40.0 (cosine 0.9996): **0.50**"
    assert f"| l0, encoder, int8 | {cell} |" in text


def test_the_readme_shows_the_results() -> None:
    text = tables.README.read_text(encoding="utf-8")
    assert text == tables.expected(text), "run python -m benchmarks.models.tables"


def test_frames(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("skimage")
    assert frames.main(["--precisions", "fp32", "int8", "--threads", "1", "--frames", "2"]) == 0
    rows = capsys.readouterr().out.splitlines()
    assert [row.split()[0] for row in rows] == ["precision", "fp32", "int8"]
    assert rows[1].split()[-1] == "1.00"


def test_tracking(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracking, "WARM_UP", 1)
    monkeypatch.setattr(tracking, "SETTLED", 1)
    assert tracking.main(["--threads", "1", "--frames", "2"]) == 0
    table = capsys.readouterr().out
    assert [line.split()[1] for line in table.splitlines()[1:]] == [
        *("encode", "step", "predict", "fixed", "frame", "step")
    ]
    assert tracking.main(["--threads", "1", "--soak", "3"]) == 0
    assert "3 frames, 1 threads: " in capsys.readouterr().out


def test_own_time_leaves_out_what_others_take() -> None:
    before = frames.own_seconds()
    time.sleep(0.1)
    assert frames.own_seconds() - before < 0.05


def test_scaling_measures_each_count() -> None:
    calls = []
    seconds = scaling.measure({1: lambda: calls.append(1), 8: lambda: calls.append(8)}, rounds=2)
    assert {count: len(values) for count, values in seconds.items()} == {1: 6, 8: 2}
    assert calls[:2] == [1, 8]
