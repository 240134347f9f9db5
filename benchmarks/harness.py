"""Timing and records shared by all benchmarks."""

from __future__ import annotations

import json
import platform
import re
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import numpy as np

from benchmarks.cost import Cost, Roofs
from evsam import _C, timing
from evsam.timing import Timing

__all__ = ["Settings", "device_name", "environment", "measure", "record", "save"]

# Larger than the last-level cache of most machines; written before each repetition when caches shall be cold.
FLUSH_BYTES = 64 << 20
REPOSITORY = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Settings:
    """How to measure.

    Attributes:
        threads: Threads of every candidate.
        seconds: Time for each candidate of a case.
        cache: "warm": repetitions follow each other. "cold": caches are overwritten before each repetition.
    """

    threads: int
    seconds: float = 1.0
    cache: Literal["warm", "cold"] = "warm"


def measure(candidates: Mapping[str, Callable[[], object]], settings: Settings) -> dict[str, Timing]:
    """Times each candidate in turns, at least five calls each; see :func:`evsam.timing.samples`."""
    flush = np.zeros(FLUSH_BYTES, np.uint8) if settings.cache == "cold" else None

    def before(_: Callable[[], object]) -> None:
        if flush is not None:
            flush.__iadd__(1)

    return timing.measure(candidates, seconds=settings.seconds, before=before)


def record(case: Mapping[str, Any], candidate: str, times: Timing, cost: Cost, roofs: Roofs | None) -> dict[str, Any]:
    """One line of the results: times in microseconds, rates, and the share of the nearer roof.

    Args:
        case: What was run: op, shape, dtype, threads, cache.
        candidate: Kernel variant or name of the peer.
        times: Of one call.
        cost: The op's least work; a peer that does more is charged the same.
        roofs: None for peers.
    """
    line: dict[str, Any] = {
        **case,
        "candidate": candidate,
        "median_us": round(times.median * 1e6, 2),
        "p10_us": round(times.p10 * 1e6, 2),
        "p90_us": round(times.p90 * 1e6, 2),
        "repetitions": times.calls,
        "gflops": round(cost.flops / times.median * 1e-9, 2),
        "gbs": round(cost.bytes / times.median * 1e-9, 2),
    }
    if roofs is not None:
        line["roof"] = {
            **{name: round(value, 1) for name, value in asdict(roofs).items()},
            "nearer": roofs.nearer(cost),
            "percent": round(roofs.percent(cost, times.median), 1),
        }
    return line


def device_name() -> str:
    """The processor's marketing name, for example "AMD EPYC"."""
    info = Path("/proc/cpuinfo")
    match = re.search(r"^(?:model name|Model)\s*:\s*(.+)$", info.read_text(), re.M) if info.exists() else None
    return match.group(1).strip() if match else platform.processor() or platform.machine()


def _git(*arguments: str) -> str:
    result = subprocess.run(["git", *arguments], cwd=REPOSITORY, text=True, capture_output=True, check=False)
    return result.stdout.strip() if result.returncode == 0 else ""


def environment() -> dict[str, Any]:
    """Where and with what the numbers were measured. Holds no host name, user or path."""
    versions = {"python": platform.python_version(), "compiler": _C.compiler}
    versions.update({package: version(package) for package in ("evsam", "numpy", "torch")})
    commit = _git("rev-parse", "--short=12", "HEAD")
    if commit and _git("status", "--porcelain", "--untracked-files=no", "--", "csrc", "evsam", "benchmarks"):
        commit += "+changes"
    return {
        "device": device_name(),
        "machine": platform.machine(),
        "usable_cpus": _C.usable_cpus(),
        "isa": _C.selected_isa(),
        "versions": versions,
        "commit": commit,
    }


def save(path: Path, lines: list[dict[str, Any]], here: dict[str, Any] | None = None) -> None:
    """Writes the lines into a results file; older lines for the same case and candidate are replaced.

    Args:
        path: of the file.
        lines: of :func:`record`, or with the same names for what was run.
        here: where and with what they were measured; None asks :func:`environment`.
    """

    def key(line: Mapping[str, Any]) -> str:
        return json.dumps([line[name] for name in ("op", "case", "threads", "cache", "candidate")])

    entries = {key(line): line for line in json.loads(path.read_text())["lines"]} if path.exists() else {}
    here = environment() if here is None else here
    entries.update({key(line): {**line, "environment": here} for line in lines})
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"lines": list(entries.values())}, indent=1) + "\n")
