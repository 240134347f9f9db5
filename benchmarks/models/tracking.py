"""A camera's frames through a tracker: `python -m benchmarks.models.tracking`.

The camera pans over a photo, and nano follows the mug in it. Of each frame: all of it; the encoder alone; the tracker's
step on the embedding; and, in turns with that, `Sam.predict` of one box on the same embedding, which is what a frame
costs without a tracker. Times are the calling thread's own, as in benchmarks.models.frames. Beside each frame a fixed
piece of work is timed as well, numpy's products of small matrices: it is the same work each time, so what it scatters
is the machine's doing (other tenants of the core, its clock), and no frame can be expected to scatter less.

`--soak N` sends N frames of 160 x 120 pixels instead, of which it encodes every tenth, adds and removes objects on the
way, and tells how much memory the process has at the beginning and the end.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

import evsam
from benchmarks import harness
from benchmarks.models import report
from benchmarks.models.frames import PRECISIONS, own_seconds
from benchmarks.models.inputs import frame
from evsam.cli.arguments import whole

Answer = TypeVar("Answer")

WIDTH, HEIGHT = 1280, 720
SMALL = 160, 120
MARGIN = 160
"""Pixels that the camera pans to the right and back."""

MUG = (420, 180, 900, 560)
"""In the first frame."""

FIXED = np.full((1200, 64, 64), 1 / 64, np.float32)
"""Matrices of the fixed work: so small that BLAS keeps to the calling thread."""

WARM_UP = 20
"""Frames before times count."""

SETTLED = 500
"""Frames before memory counts."""

ENCODED = 10
"""Every tenth small frame is encoded, and the others' embeddings are there: else 100,000 frames would take an hour."""


def resident_mib() -> float:
    """Of this process (Linux)."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / (1 << 20)


def pan(size: tuple[int, int], margin: int) -> Iterator[NDArray[np.uint8]]:
    """Frames without end: a window that moves over the photo by a pixel a frame, to the right and back."""
    width, height = size
    wide = frame(width + margin, height)
    while True:
        for left in (*range(margin), *range(margin, 0, -1)):
            yield wide[:, left : left + width]


def timed(seconds: list[float], call: Callable[[], Answer]) -> Answer:
    """What the call returns; its own time goes into the list."""
    start = own_seconds()
    answer = call()
    seconds.append(own_seconds() - start)
    return answer


def measure(sam: evsam.Sam, frames: int) -> dict[str, list[float]]:
    """Own seconds of each frame: ``encode``, ``step``, ``predict`` of the box on the same embedding, ``fixed`` work."""
    found: dict[str, list[float]] = {"encode": [], "step": [], "predict": [], "fixed": []}
    fixed = partial(np.matmul, FIXED, FIXED, out=np.empty_like(FIXED))
    images = pan((WIDTH, HEIGHT), MARGIN)
    tracker = sam.track(next(images), box=MUG)
    box = np.array(MUG, np.float32)
    for _ in range(WARM_UP + frames):
        image = np.ascontiguousarray(next(images))
        embedding = timed(found["encode"], partial(sam.encode, image))
        # In turns, with the box of the frame before, so that neither always finds the caches warm.
        predict = partial(sam.predict, embedding, box=box)
        if len(found["step"]) % 2:
            timed(found["predict"], predict)
        track = timed(found["step"], partial(tracker.step, embedding))[1]
        if len(found["predict"]) < len(found["step"]):
            timed(found["predict"], predict)
        timed(found["fixed"], fixed)
        if track.lost:
            raise SystemExit("the mug was lost: times would be of something else")
        box = track.box
    return {name: seconds[WARM_UP:] for name, seconds in found.items()}


def soak(sam: evsam.Sam, frames: int) -> tuple[float, float]:
    """MiB of the process after SETTLED frames and at the end."""
    images = pan(SMALL, SMALL[0] // 8)
    scale = SMALL[0] / WIDTH
    box = [side * scale for side in MUG]
    tracker = sam.track(next(images), box=box)
    start = 0.0
    period = 2 * (SMALL[0] // 8)
    embeddings = [sam.encode(np.ascontiguousarray(image)) for image in islice(images, period)]
    for index in range(SETTLED + frames):
        if index == SETTLED:
            start = resident_mib()
        image = np.ascontiguousarray(next(images))
        tracker.step(image if index % ENCODED == 0 else embeddings[index % period])
        if index % 50 == 0:
            tracker.add(image, box=box)
        elif index % 50 == 25:
            tracker.remove(tracker.ids[-1])
    return start, resident_mib()


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--precision", default="fp32", choices=PRECISIONS)
    parser.add_argument("--threads", nargs="+", type=whole(1), default=[2, 1])
    parser.add_argument("--frames", type=whole(1), default=10_000)
    parser.add_argument("--soak", type=whole(1), metavar="N", help="N small frames, for memory")
    parser.add_argument("--save", action="store_true", help="write into benchmarks/results")
    chosen = parser.parse_args(arguments)

    lines = []
    rows = [["threads", "part", "frames", "median ms", "p99", "p99.9", "p99 / median"]]
    for threads in chosen.threads:
        case = {"variant": "nano", "precision": chosen.precision, "threads": threads}
        with evsam.load("nano", engine="native", threads=threads, precision=chosen.precision) as sam:
            if chosen.soak is not None:
                start, end = soak(sam, chosen.soak)
                print(f"{chosen.soak} frames, {threads} threads: {start:.1f} MiB, then {end:.1f} MiB")
                case |= {"image": list(SMALL[::-1]), "part": "memory"}
                lines.append({**case, "frames": chosen.soak, "start_mib": round(start, 1), "end_mib": round(end, 1)})
                continue
            found = measure(sam, chosen.frames)
        found["frame"] = [sum(parts) for parts in zip(found["encode"], found["step"], strict=True)]
        found["step less predict"] = [a - b for a, b in zip(found["step"], found["predict"], strict=True)]
        for part, seconds in found.items():
            middle, late, last = (float(x) * 1e3 for x in np.percentile(seconds, [50, 99, 99.9]))
            rows.append(
                [str(threads), part, str(len(seconds)), *(f"{x:.2f}" for x in (middle, late, last, late / middle))]
            )
            line = {"own_median_ms": middle, "own_p99_ms": late, "own_p999_ms": last}
            line = {key: round(value, 3) for key, value in line.items()}
            lines.append({**case, "image": [HEIGHT, WIDTH], "part": part, "frames": len(seconds), **line})
    if chosen.soak is None:
        print(report.grid(rows))
    if chosen.save:
        harness.save(harness.result_path("tracking"), lines, ["variant", "precision", "threads", "part", "image"])
    return 0


if __name__ == "__main__":
    sys.exit(main())
