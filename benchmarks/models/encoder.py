"""The image encoder in float32 against its peers: `python -m benchmarks.models.encoder --peers FOLDER`."""

from __future__ import annotations

import argparse
import sys
import time

import numpy as np

from benchmarks import harness
from benchmarks.models import options, report
from benchmarks.models.contest import Contest, Contestant
from benchmarks.models.peers import Peers
from benchmarks.models.prepare import VARIANTS
from evsam.cli.arguments import whole

CORRECT = 2e-3
"""Relative error against float64 up to which a peer's float32 counts as correct; its kernels' own choice otherwise."""

ROUNDS = {("l0", 2): 15, ("l0", 1): 9, ("l1", 2): 12, ("l1", 1): 7, ("l2", 2): 9, ("l2", 1): 6, ("xl0", 2): 5}
FEW_ROUNDS = 4
"""Rounds of variants that take seconds a run."""


def contestants(peers: Peers, variant: str) -> list[Contestant]:
    return [
        peers.evsam(variant, "encoder"),
        peers.mnn(variant, "encoder.mnn", ["embedding"]),
        peers.ncnn(variant, "encoder.ncnn"),
        peers.openvino(variant, "encoder.onnx"),
        peers.torch(variant, "encoder", compiled=True),
        peers.onnxruntime(variant, "encoder.onnx"),
    ]


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    options.add(parser)
    parser.add_argument("--variants", nargs="+", default=list(VARIANTS), choices=VARIANTS)
    parser.add_argument("--threads", nargs="+", type=whole(1), default=[2, 1])
    parser.add_argument("--rounds", type=whole(1), help="turns of each contestant; default: fewer for larger variants")
    chosen = parser.parse_args(arguments)
    peers = options.peers(chosen)

    everything = []
    for variant in chosen.variants:
        pixels = np.load(peers.model(variant, "pixels.npy"))
        reference = np.load(peers.model(variant, "reference.npy"))
        for threads in chosen.threads:
            start = time.perf_counter()
            case = {"op": "encoder", "variant": variant, "threads": threads, "precision": "fp32"}
            rounds = chosen.rounds or ROUNDS.get((variant, threads), FEW_ROUNDS)
            with Contest(options.select(chosen, contestants(peers, variant)), threads, {"pixels": pixels}) as contest:
                samples = contest.measure(rounds)
            lines = []
            for entry in contest.entries:
                quality = report.accuracy(entry.outputs[0], reference)
                correct = quality["relative"] <= CORRECT
                lines.append(report.line(case, entry, samples[entry.name], {**quality, "correct": correct}))
            report.add_ratios(lines)
            everything += lines
            print(report.table(lines, ["variant", "threads"]))
            print(f"({time.perf_counter() - start:.0f} s)", flush=True)
            if chosen.save:
                harness.save(harness.result_path("encoder"), lines, ["variant", "threads", "contestant"])
    return 0


if __name__ == "__main__":
    sys.exit(main())
