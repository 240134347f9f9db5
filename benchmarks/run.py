"""Runs kernel benchmarks: `python -m benchmarks.run relu_linear_attention --threads 1`.

Prints a table; `--save` also writes it into benchmarks/results/, one file per device.
"""

from __future__ import annotations

import argparse
import importlib
import os
import re
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent


def names() -> list[str]:
    return sorted(path.stem.removeprefix("bench_") for path in (HERE / "kernels").glob("bench_*.py"))


def table(lines: list[dict[str, Any]]) -> str:
    head = f"{'case':24} {'candidate':40} {'median us':>10} {'p10':>9} {'p90':>9} {'GFLOP/s':>8} {'GB/s':>7}  roof"
    rows = [head]
    for line in lines:
        roof = line.get("roof")
        share = f"{roof['percent']:.0f} % of {roof['nearer']}" if roof else ""
        rows.append(
            f"{line['case']:24} {line['candidate']:40} {line['median_us']:10.1f} {line['p10_us']:9.1f} "
            f"{line['p90_us']:9.1f} {line['gflops']:8.1f} {line['gbs']:7.1f}  {share}"
        )
    return "\n".join(rows)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kernels", nargs="*", choices=[[], *names()], default=[], help="default: all")
    parser.add_argument("--threads", type=int, default=1, help="threads of every candidate (default: 1)")
    parser.add_argument("--seconds", type=float, default=1.0, help="time per candidate and case (default: 1)")
    parser.add_argument("--cache", choices=["warm", "cold"], default="warm")
    parser.add_argument("--save", action="store_true", help="write benchmarks/results/<device>.json")
    parser.add_argument("--output", type=Path, help="write this file instead")
    options = parser.parse_args(arguments)

    # NumPy's BLAS reads these when it is loaded, hence the imports after them.
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = str(options.threads)
    harness = importlib.import_module("benchmarks.harness")

    settings = harness.Settings(options.threads, options.seconds, options.cache)
    lines: list[dict[str, Any]] = []
    for name in options.kernels or names():
        lines += importlib.import_module(f"benchmarks.kernels.bench_{name}").run(settings)
    print(table(lines))
    output = options.output
    if output is None and options.save:
        device = re.sub(r"[^a-z0-9]+", "-", harness.device_name().lower()).strip("-")
        output = HERE / "results" / f"{device}.json"
    if output is not None:
        harness.save(output, lines)
    return 0


if __name__ == "__main__":
    sys.exit(main())
