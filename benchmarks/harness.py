"""Settings and files of results, shared by all benchmarks; :mod:`evsam.timing` has the loop."""

from __future__ import annotations

import json
import platform
import re
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import numpy as np

from benchmarks.threads import SETTLE
from evsam import _C, timing
from evsam.timing import Timing
from evsam.writing import replaced

__all__ = ["RESULTS", "Settings", "device_name", "environment", "measure", "read", "result_path", "save"]

# Larger than the last-level cache of most machines; written before each repetition when caches shall be cold.
FLUSH_BYTES = 64 << 20
REPOSITORY = Path(__file__).resolve().parent.parent
RESULTS = REPOSITORY / "benchmarks" / "results"


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
    """Times each candidate in turns, at least five calls each; see :func:`evsam.timing.samples`.

    With several threads, before each timed call those of the others have gone to sleep (:mod:`benchmarks.threads`), and
    the candidate was called once without being timed.
    """
    flush = np.zeros(FLUSH_BYTES, np.uint8) if settings.cache == "cold" else None

    def before(call: Callable[[], object]) -> None:
        if settings.threads > 1:
            time.sleep(SETTLE)
            call()
        if flush is not None:
            flush.__iadd__(1)

    return timing.measure(candidates, seconds=settings.seconds, before=before)


def device_name() -> str:
    """The processor's marketing name with AMD's generation, which it hides: for example "AMD EPYC (Zen 5)"."""
    info = Path("/proc/cpuinfo")
    text = info.read_text() if info.exists() else ""

    def field(name: str) -> str:
        match = re.search(rf"^{name}\s*:\s*(.+)$", text, re.M)
        return match.group(1).strip() if match else ""

    name = field("model name") or field("Model") or platform.processor() or platform.machine()
    if field("vendor_id") != "AuthenticAMD" or "Zen" in name:
        return name
    family, model = int(field("cpu family")), int(field("model"))
    later = family == 25 and (0x10 <= model < 0x20 or 0x60 <= model < 0xB0)  # of two generations with one number
    generation = {23: "Zen 1 or 2", 25: "Zen 4" if later else "Zen 3", 26: "Zen 5"}.get(family)
    return f"{name} ({generation})" if generation else name


def result_path(name: str, suffix: str = "json") -> Path:
    """benchmarks/results/<device>-<name>.json."""
    device = re.sub(r"[^a-z0-9]+", "-", device_name().lower()).strip("-")
    return RESULTS / f"{device}-{name}.{suffix}"


def _git(*arguments: str) -> str:
    result = subprocess.run(["git", *arguments], cwd=REPOSITORY, text=True, capture_output=True, check=False)
    return result.stdout.strip() if result.returncode == 0 else ""


def environment() -> dict[str, Any]:
    """Where and with what the numbers were measured. Holds no host name, user or path."""
    versions = {"python": platform.python_version(), "compiler": _C.compiler}
    versions.update({package: version(package) for package in ("evsam", "numpy", "torch")})
    commit = _git("rev-parse", "--short=12", "HEAD")
    if commit and _git("status", "--porcelain", "--untracked-files=no", "--", "csrc", "evsam", "benchmarks/*.py"):
        commit += "+changes"
    return {
        "device": device_name(),
        "machine": platform.machine(),
        "usable_cpus": _C.usable_cpus(),
        "isa": _C.selected_isa(),
        "products": _C.narrow_kernels(),
        "versions": versions,
        "commit": commit,
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
    }


def read(path: Path) -> list[dict[str, Any]]:
    """The lines of a results file, each with its environment; none where there is no file."""
    if not path.exists():
        return []
    content = json.loads(path.read_text())
    lines: list[dict[str, Any]] = content["lines"]
    if "environments" in content:
        lines = [{**line, "environment": content["environments"][line["environment"]]} for line in lines]
    return lines


def save(
    path: Path, lines: Sequence[Mapping[str, Any]], key: Sequence[str], here: Mapping[str, Any] | None = None
) -> None:
    """Writes lines into a results file; older ones with the same values under `key` are replaced.

    Each line names its environment by a number, since most have the same one.

    Args:
        path: of the file.
        lines: what was run, and what came out.
        key: names of what was run.
        here: where and with what they were measured; None asks :func:`environment`.
    """

    def identity(line: Mapping[str, Any]) -> str:
        return json.dumps([line.get(name) for name in key])

    here = environment() if here is None else here
    entries: dict[str, Mapping[str, Any]] = {identity(line): line for line in read(path)}
    entries.update({identity(line): {**line, "environment": here} for line in lines})
    environments: list[Any] = []
    rows = []
    for line in entries.values():
        if line["environment"] not in environments:
            environments.append(line["environment"])
        rows.append(json.dumps({**line, "environment": environments.index(line["environment"])}))
    body = ",\n  ".join(rows)
    with replaced(path) as temporary:
        temporary.write_text(f'{{\n "environments": {json.dumps(environments)},\n "lines": [\n  {body}\n ]\n}}\n')
    print(f"wrote {path.name}")
