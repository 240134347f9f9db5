"""A camera's frames through nano, photo to full-size mask: `python -m benchmarks.models.frames`.

Besides the time of each frame: what of it is its own, the processor time of the calling thread and the time that it
slept until its workers had finished. What other processes take from the calling thread is not in it, so that its p99
says more of evsam and less of the neighbours on the machine.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

import evsam
from benchmarks import harness
from benchmarks.models import options, report
from benchmarks.models.inputs import frame
from benchmarks.models.peers import CLASSES
from evsam import _C
from evsam.cli.arguments import whole
from evsam.timing import take_turns

BOX = (420, 180, 900, 560)

WARM_UP = 20
"""Frames of each before it counts."""

PRECISIONS = tuple(precision for names in CLASSES.values() for precision in names)


def own_seconds() -> float:
    """A clock of the calling thread: its processor time, and the time that it slept for its workers."""
    return time.thread_time() + _C.slept_seconds()


@dataclass
class Frames:
    """What became of the frames of one model: seconds of each, what of them is its own, and the last mask."""

    seconds: list[float] = field(default_factory=list)
    own: list[float] = field(default_factory=list)
    masks: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, np.bool_))

    def predict(self, sam: evsam.Sam, image: NDArray[np.uint8]) -> float:
        """One frame more; its seconds."""
        start, start_own = time.perf_counter(), own_seconds()
        self.masks = sam.predict(image, box=BOX).masks
        self.own.append(own_seconds() - start_own)
        self.seconds.append(time.perf_counter() - start)
        return self.seconds[-1]


def measure(models: Mapping[str, evsam.Sam], image: NDArray[np.uint8], frames: int) -> dict[str, Frames]:
    """As many frames of each model, in turns, after some that do not count."""
    found = {name: Frames() for name in models}

    def turn(name: str) -> Callable[[int], list[float]]:
        return lambda _: [found[name].predict(models[name], image)]

    for sam in models.values():
        for _ in range(WARM_UP):
            Frames().predict(sam, image)
    take_turns({name: turn(name) for name in models}, rounds=frames)
    return found


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_engine(parser)
    parser.add_argument("--precisions", nargs="+", default=list(PRECISIONS), choices=PRECISIONS, help="in turns")
    parser.add_argument("--threads", nargs="+", type=whole(1), default=[2, 1])
    parser.add_argument("--frames", type=whole(1), default=1000, help="of each precision")
    parser.add_argument("--save", action="store_true", help="write into benchmarks/results")
    chosen = parser.parse_args(arguments)

    image = frame()
    lines = []
    rows = [["precision", "threads", "median ms", "p10", "p90", "p99", "own median", "own p99", "ratio", "IoU"]]
    for threads in chosen.threads:
        models = {
            name: evsam.load("nano", engine=chosen.engine, threads=threads, precision=name)
            for name in chosen.precisions
        }
        found = measure(models, image, chosen.frames)
        exact = found[chosen.precisions[0]].masks
        for name, of in found.items():
            figures = report.statistics(of.seconds)
            middle, last = (float(x) * 1e3 for x in np.percentile(of.own, [50, 99]))
            iou = float((of.masks & exact).sum() / max((of.masks | exact).sum(), 1))
            shown = [figures[key] for key in ("median_ms", "p10_ms", "p90_ms", "p99_ms")]
            rows.append([name, str(threads), *(f"{x:.2f}" for x in (*shown, middle, last, last / middle, iou))])
            case = {"op": "predict", "variant": "nano", "image": [720, 1280], "prompt": "box", "threads": threads}
            lines.append(
                {
                    **case,
                    "precision": name,
                    "contestant": "evsam",
                    "computes": _C.narrow_kernels().get(name) or "fp32",
                    **figures,
                    "own_median_ms": round(middle, 3),
                    "own_p99_ms": round(last, 3),
                    "own_p99_over_median": round(last / middle, 3),
                    "iou_to_first": round(iou, 4),
                }
            )
    print(report.grid(rows))
    if chosen.save:
        harness.save(harness.result_path("frames"), lines, ["variant", "threads", "precision", "contestant"])
    return 0


if __name__ == "__main__":
    sys.exit(main())
