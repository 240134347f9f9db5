"""A camera's frames through nano, photo to full-size mask: `python -m benchmarks.models.frames`."""

from __future__ import annotations

import argparse
import sys
from functools import partial

import numpy as np

import evsam
from benchmarks import harness
from benchmarks.models import report
from benchmarks.models.inputs import frame
from evsam.cli.arguments import whole
from evsam.timing import samples

BOX = (420, 180, 900, 560)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--engine", nargs="+", default=["native"], help="evsam's engines, in turns (default: native)")
    parser.add_argument("--threads", type=whole(1), default=2)
    parser.add_argument("--frames", type=whole(1), default=1000)
    parser.add_argument("--save", action="store_true", help="write into benchmarks/results")
    chosen = parser.parse_args(arguments)

    image = frame()
    models = {name: evsam.load("nano", engine=name, threads=chosen.threads) for name in chosen.engine}
    masks: dict[str, np.ndarray] = {}

    def predict(name: str) -> None:
        masks[name] = models[name].predict(image, box=BOX).masks

    seconds = samples({name: partial(predict, name) for name in models}, calls=chosen.frames)
    coverage = {name: float(array.mean()) for name, array in masks.items()}

    lines = []
    rows = [["engine", "threads", "median ms", "p10", "p90", "p99", "max", "p99 / median", "mask"]]
    for name, values in seconds.items():
        ms = np.percentile(values, [50, 10, 90, 99, 100]) * 1e3
        ratio = float(ms[3] / ms[0])
        rows.append([name, str(chosen.threads), *(f"{x:.2f}" for x in ms), f"{ratio:.2f}", f"{coverage[name]:.1%}"])
        case = {"op": "predict", "variant": "nano", "image": [720, 1280], "prompt": "box", "threads": chosen.threads}
        extra = {"max_ms": round(float(ms[4]), 3), "p99_over_median": round(ratio, 3), "coverage": coverage[name]}
        lines.append({**case, "contestant": f"evsam {name}", **report.statistics(values), **extra})
    print(report.grid(rows))
    if chosen.save:
        harness.save(harness.result_path("frames"), lines, ["variant", "threads", "contestant"])
    return 0


if __name__ == "__main__":
    sys.exit(main())
