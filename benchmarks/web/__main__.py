"""nano in Chromium beside the native engine with one thread: `python -m benchmarks.web`.

A photo of 1280 x 720 to its first mask (pixels are there; a box, encoded and predicted), a click on an encoded photo,
and the logits alone that a resting pointer needs. In the browser what a page sees: the time until the promise is kept,
with what it takes to the worker and back. Then the page of `evsam serve` itself, with as many threads as there are:
from a click until its masks are among the annotations, and answers while the pointer moves.
Needs the package built (docs/web.md), Chromium, node and playwright-core (`npm install -g playwright-core`).

The native engine is timed before and after the browser, in which the cases take turns.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image

import evsam
from benchmarks import harness
from benchmarks.models import report
from benchmarks.models.frames import BOX
from benchmarks.models.inputs import frame
from evsam.cli.arguments import whole

PACKAGE = harness.REPOSITORY / "build" / "wasm" / "package"
PAGE = harness.REPOSITORY / "evsam" / "serve" / "page"
WEIGHTS = harness.REPOSITORY / "evsam" / "data" / "nano.safetensors"
WARM_UP = 5
PRECISIONS: tuple[Literal["fp32"], Literal["int8"]] = ("fp32", "int8")
CASES = [{"precision": precision, "threads": threads} for precision in ("fp32", "int8") for threads in (1, 2)]


def native(precision: Literal["fp32", "int8"], rounds: int) -> dict[str, list[float]]:
    """Milliseconds of the native engine with one thread."""
    image = frame()
    click = [((BOX[0] + BOX[2]) / 2, (BOX[1] + BOX[3]) / 2)]
    found: dict[str, list[float]] = {"photo": [], "click": []}
    with evsam.load("nano", engine="native", threads=1, precision=precision) as sam:
        for round_ in range(-WARM_UP, rounds):
            times = [time.perf_counter()]
            embedding = sam.encode(image)
            sam.predict(embedding, box=BOX)
            times.append(time.perf_counter())
            sam.predict(embedding, points=click)
            times.append(time.perf_counter())
            if round_ >= 0:
                found["photo"].append(1e3 * (times[1] - times[0]))
                found["click"].append(1e3 * (times[2] - times[1]))
    return found


def browser(rounds: int) -> tuple[str, list[dict[str, Any]], dict[str, Any]]:
    """The browser's version, milliseconds of each of CASES, and those of the page."""
    image = frame()
    height, width = image.shape[:2]
    modules = subprocess.run(["npm", "root", "-g"], capture_output=True, text=True, check=True).stdout.strip()
    with tempfile.TemporaryDirectory() as folder:
        opaque = np.concatenate([image, np.full((height, width, 1), 255, np.uint8)], 2)
        (Path(folder) / "frame.rgba").write_bytes(opaque.tobytes())
        Image.fromarray(image).save(Path(folder) / "frame.png")
        settings = {
            "package": str(PACKAGE),
            "photo": folder,
            "page": str(PAGE),
            "weights": str(WEIGHTS),
            "chromium": shutil.which("chromium"),
            "cases": CASES,
            "width": width,
            "height": height,
            "box": BOX,
            "rounds": rounds,
            "warmUp": WARM_UP,
        }
        done = subprocess.run(
            ["node", Path(__file__).with_name("chromium.mjs"), json.dumps(settings)],
            env={**os.environ, "NODE_PATH": modules},
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
    answer = json.loads(done.stdout)
    return answer["browser"], answer["results"], answer["page"]


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=whole(2), default=20, help="of each case")
    parser.add_argument("--save", action="store_true", help="write into benchmarks/results")
    chosen = parser.parse_args(arguments)
    if not (PACKAGE / "wasm" / "evsam.js").exists():
        parser.error(f"{PACKAGE}: expected the built package (docs/web.md), got none")

    halves = [{each: native(each, chosen.rounds // 2) for each in PRECISIONS}]
    version, results, page = browser(chosen.rounds)
    halves.append({each: native(each, chosen.rounds // 2) for each in PRECISIONS})

    case = {"op": "predict", "variant": "nano", "image": [720, 1280]}
    lines = []
    rows = [
        [
            "where",
            "precision",
            "threads",
            "photo to mask ms",
            "of native",
            "click ms",
            "hover ms",
            "loading ms",
            "first photo ms",
        ]
    ]
    medians = {}
    for precision in ("fp32", "int8"):
        times = {what: [x for half in halves for x in half[precision][what]] for what in ("photo", "click")}
        medians[precision] = statistics.median(times["photo"])
        rows.append(
            [
                "native",
                precision,
                "1",
                f"{medians[precision]:.1f}",
                "1",
                f"{statistics.median(times['click']):.1f}",
                "",
                "",
                "",
            ]
        )
        lines.append({**case, "contestant": "native", "precision": precision, "threads": 1, **figures(times)})
    for result in results:
        times = {what: result[what] for what in ("photo", "click", "hover")}
        photo, click = statistics.median(times["photo"]), statistics.median(times["click"])
        rows.append(
            [
                f"Chromium {version.split('.')[0]}",
                result["precision"],
                str(result["threads"]),
                f"{photo:.1f}",
                f"{photo / medians[result['precision']]:.2f}",
                f"{click:.1f}",
                f"{statistics.median(times['hover']):.1f}",
                f"{result['load']:.0f}",
                f"{result['first']:.0f}",
            ]
        )
        lines.append(
            {
                **case,
                "contestant": f"Chromium {version}",
                "precision": result["precision"],
                "threads": result["threads"],
                **figures(times),
                "load_ms": round(result["load"], 1),
                "first_photo_ms": round(result["first"], 1),
            }
        )
    print(report.grid(rows))
    answers = len(page["hover"]) / page["seconds"]
    times = {what: page[what] for what in ("click", "hover")}
    print(
        f"The page: click {statistics.median(page['click']):.1f} ms, hover {statistics.median(page['hover']):.1f} ms; "
        f"{answers:.1f} answers per second while the pointer moves {page['moves'] / page['seconds']:.0f} times a second"
    )
    lines.append(
        {
            **case,
            "contestant": f"page in Chromium {version}",
            "precision": "int8",
            "threads": max(result["threads"] for result in results),
            **figures(times),
            "answers_per_second": round(answers, 1),
        }
    )
    if chosen.save:
        harness.save(harness.result_path("web"), lines, ["variant", "threads", "precision", "contestant"])
    return 0


def figures(times: dict[str, list[float]]) -> dict[str, float]:
    """Medians and tenths, by names as in other results."""
    found = {}
    for what, values in times.items():
        for name, percent in (("median", 50), ("p10", 10), ("p90", 90)):
            found[f"{what}_{name}_ms"] = round(float(np.percentile(values, percent)), 2)
    return found


if __name__ == "__main__":
    sys.exit(main())
