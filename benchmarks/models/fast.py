"""What narrow numbers gain, and so what precision="fast" should be: `python -m benchmarks.models.fast`.

Photo of 1280 x 720 to mask for nano, the encoder for the others (seeded weights), in float32 and by each extension
that multiplies narrow numbers, beside the float32 kernels of its instruction set (EVSAM_ISA, EVSAM_NARROW), each in a
process of its own, where both precisions take turns. `--command`: a whole `evsam predict` instead.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

from PIL import Image

import evsam
from benchmarks import harness
from benchmarks.models import report
from benchmarks.models.frames import BOX
from benchmarks.models.inputs import frame, pixels
from evsam import _C
from evsam.cli.arguments import whole
from evsam.engines.native import NativeEngine
from evsam.timing import Timing, measure
from tests.export.networks import weights_of


def only(product: _C.NarrowExtension) -> None:
    """In a new process: no other kernels than those of this extension and its instruction set."""
    os.environ["EVSAM_ISA"], os.environ["EVSAM_NARROW"] = product["isa"], product["name"]


def times(variant: str, precision: str, threads: int, calls: int) -> dict[str, Timing]:
    """Of both precisions, in the process that computes."""
    candidates: dict[str, Callable[[], object]] = {}
    for name in ("fp32", precision):
        engine = NativeEngine(weights_of(variant), threads, precision=name)
        if variant == "nano":
            candidates[name] = partial(evsam.Sam(weights_of(variant).variant, engine, "").predict, frame(), box=BOX)
        else:
            candidates[name] = partial(engine.encode_pixels, pixels(variant)[0])
    return measure(candidates, calls=calls)


def command_times(calls: int) -> dict[str, Timing]:
    """Of `evsam predict`."""
    with tempfile.TemporaryDirectory() as folder:
        photo, out = Path(folder) / "photo.png", Path(folder) / "mask.png"
        Image.fromarray(frame()).save(photo)
        command = [sys.executable, "-m", "evsam", "predict", str(photo), "-o", str(out), "--box", *map(str, BOX)]

        def run(precision: str) -> None:
            subprocess.run([*command, "--precision", precision], check=True, capture_output=True)

        return measure({name: partial(run, name) for name in ("fp32", "fast")}, calls=calls)


def main(arguments: list[str] | None = None) -> int:
    here = {row["name"]: row for row in _C.narrow_extensions() if row["supported"] and row["isa"] != "scalar"}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--variants", nargs="+", default=["nano", "l0"])
    parser.add_argument("--threads", nargs="+", type=whole(1), default=[1, 2])
    parser.add_argument("--products", nargs="+", default=list(here), choices=list(here))
    parser.add_argument("--calls", type=whole(1), default=20)
    parser.add_argument("--command", action="store_true", help="time `evsam predict`")
    parser.add_argument("--save", action="store_true", help="write into benchmarks/results")
    chosen = parser.parse_args(arguments)

    lines = []
    rows = [["variant", "products", "threads", "fp32 ms", "narrow ms", "ratio"]]

    def add(variant: str, products: str, threads: int, found: dict[str, Timing]) -> None:
        fp32, narrow = found.values()
        ratio = narrow.median / fp32.median
        medians = (f"{each.median * 1e3:.1f}" for each in (fp32, narrow))
        rows.append([variant, products, str(threads), *medians, f"{ratio:.2f}"])
        case = {"op": "fast", "variant": variant, "products": products, "threads": threads, "ratio": round(ratio, 3)}
        lines.append({**case, "fp32_ms": round(fp32.median * 1e3, 3), "narrow_ms": round(narrow.median * 1e3, 3)})

    if chosen.command:
        add("nano, evsam predict", "fast", _C.usable_cpus(), command_times(chosen.calls))
    for variant in () if chosen.command else chosen.variants:
        for product in chosen.products:
            context = multiprocessing.get_context("spawn")
            with ProcessPoolExecutor(1, context, initializer=only, initargs=(here[product],)) as pool:
                for threads in chosen.threads:
                    task = pool.submit(times, variant, here[product]["precision"], threads, chosen.calls)
                    add(variant, product, threads, task.result())
    print(report.grid(rows))
    if chosen.save:
        harness.save(harness.result_path("fast"), lines, ["variant", "products", "threads"])
    return 0


if __name__ == "__main__":
    sys.exit(main())
