"""The image encoder against its peers: `python -m benchmarks.models.encoder --peers FOLDER`.

Precisions of a class compete with each other: float32, 16 bits (bfloat16 and float16), int8.
"""

from __future__ import annotations

import argparse
import sys
import time

import numpy as np

from benchmarks import harness
from benchmarks.models import options, report
from benchmarks.models.contest import Contest, Contestant
from benchmarks.models.inputs import feature_names
from benchmarks.models.peers import Peers
from benchmarks.models.prepare import VARIANTS
from evsam.cli.arguments import whole

ROUNDS = {"nano": 60, "l0": 15, "l1": 12, "l2": 9, "xl0": 5, "xl1": 4}
"""Turns of each contestant."""


def contestants(peers: Peers, variant: str, precisions: str) -> list[Contestant]:
    ours = peers.in_class(variant, "encoder", precisions)
    outputs = feature_names(variant)
    if precisions == "fp32":
        return [
            *ours,
            peers.mnn(variant, "encoder", outputs),
            peers.ncnn(variant),
            *peers.openvino(variant, "encoder"),
            peers.torch(variant, "encoder", compiled=True),
            *peers.onnxruntime(variant, "encoder"),
        ]
    if precisions == "16bit":
        return [
            *ours,
            peers.mnn(variant, "encoder", outputs, "low"),
            peers.ncnn(variant, "bf16"),
            peers.ncnn(variant, "fp16"),
            *peers.openvino(variant, "encoder", "bf16"),
            *peers.openvino(variant, "encoder", "fp16"),
            peers.torch(variant, "encoder", compiled=False, precision="bf16"),
            *peers.onnxruntime(variant, "encoder", "bf16"),
        ]
    return [
        *ours,
        peers.mnn(variant, "encoder", outputs, "int8"),
        *peers.openvino(variant, "encoder", "int8"),
        *peers.onnxruntime(variant, "encoder", "int8"),
    ]


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add(parser)
    options.add_precisions(parser)
    parser.add_argument("--variants", nargs="+", default=list(VARIANTS), choices=VARIANTS)
    parser.add_argument("--threads", nargs="+", type=whole(1), default=[2, 1])
    parser.add_argument("--rounds", type=whole(1), help="turns of each contestant; default: fewer for larger variants")
    chosen = parser.parse_args(arguments)
    peers = options.peers(chosen)

    columns = ["variant", "threads", "precision"]
    for variant in chosen.variants:
        pixels = np.load(peers.model(variant, "pixels.npy"))
        with np.load(peers.model(variant, "reference.npz")) as file:
            reference = list(file.values())
        for precisions in chosen.precisions:
            for threads in chosen.threads:
                start = time.perf_counter()
                case = {"op": "encoder", "variant": variant, "threads": threads, "precision": precisions}
                entrants = options.select(chosen, contestants(peers, variant, precisions))
                with Contest(entrants, threads, {"pixels": pixels}) as contest:
                    lines = report.lines(case, contest, chosen.rounds or ROUNDS[variant], reference)
                print(report.table(lines, columns))
                print(f"({time.perf_counter() - start:.0f} s)", flush=True)
                if chosen.save:
                    harness.save(harness.result_path("encoder"), lines, [*columns, "contestant"])
    return 0


if __name__ == "__main__":
    sys.exit(main())
