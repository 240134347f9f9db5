"""How cost grows with images and with prompts: `python -m benchmarks.models.scaling --peers FOLDER`.

Encodes 1 to 16 photos in one call, and answers 1 to 256 clicks on one photo in one call, with l0. Writes the figures
and a plot of them.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping
from functools import partial

import numpy as np

import evsam
from benchmarks import harness
from benchmarks.models import options, report
from benchmarks.models.inputs import clicks, photo
from benchmarks.models.plot import Panel, Series, draw
from evsam.cli.arguments import whole
from evsam.timing import seconds_of, take_turns

IMAGES = (1, 2, 4, 8, 16)
PROMPTS = (1, 2, 4, 8, 16, 32, 64, 128, 256)


def measure(calls: Mapping[int, Callable[[], object]], rounds: int) -> dict[int, list[float]]:
    """Seconds of each call, in turns; each runs once untimed before."""
    for call in calls.values():
        call()

    def turn(count: int, call: Callable[[], object]) -> Callable[[int], list[float]]:
        # The cheap ones oftener, as they are the noisier.
        return lambda _: [seconds_of(call) for _ in range(3 if count <= 4 else 1)]

    return take_turns({count: turn(count, call) for count, call in calls.items()}, rounds=rounds)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add(parser)
    parser.add_argument("--threads", type=whole(1), default=2)
    parser.add_argument("--rounds", type=whole(1), default=3)
    parser.add_argument("--images", nargs="+", type=whole(1), default=list(IMAGES))
    parser.add_argument("--prompts", nargs="+", type=whole(1), default=list(PROMPTS))
    chosen = parser.parse_args(arguments)
    weights = options.peers(chosen).model("l0", "weights.safetensors")

    with evsam.load(weights, engine=chosen.engine, threads=chosen.threads) as sam:
        image = photo()
        embedding = sam.encode(image)
        encode = {n: partial(sam.encode, [image] * n) for n in chosen.images}
        decode = {n: partial(sam.engine.decode, embedding.arrays, *clicks(n), None) for n in chosen.prompts}
        results = {"images": measure(encode, chosen.rounds), "prompts": measure(decode, chosen.rounds)}

    lines = []
    panels = []
    rows = [["what", "number", "median ms", "p10", "p90", "ms each", "of as many single calls"]]
    for what, by_count in results.items():
        medians = {count: float(np.median(values)) * 1e3 for count, values in by_count.items()}
        first = min(medians)
        for count, values in by_count.items():
            stats = report.statistics(values)
            share = medians[count] / (count / first * medians[first])
            each = stats["median_ms"] / count
            times = [f"{stats[name]:.1f}" for name in ("median_ms", "p10_ms", "p90_ms")]
            rows.append([what, str(count), *times, f"{each:.2f}", f"{share:.2f}"])
            case = {"op": "scaling", "variant": "l0", "threads": chosen.threads, "what": what, "count": count}
            lines.append({**case, "contestant": f"evsam {chosen.engine}", **stats, "share": round(share, 3)})
        singles = {count: count / first * medians[first] for count in medians}
        title = "encoding" if what == "images" else "decoding"
        panels.append(
            Panel(f"{title}, l0", what, [Series("one call", medians), Series("as many single calls", singles)])
        )
    print(report.grid(rows))
    if chosen.save:
        harness.save(harness.result_path("scaling"), lines, ["variant", "threads", "what", "count", "contestant"])
        harness.result_path("scaling", "svg").write_text(draw(panels))
    return 0


if __name__ == "__main__":
    sys.exit(main())
