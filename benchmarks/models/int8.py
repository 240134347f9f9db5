"""The image encoder of l0 in int8: `python -m benchmarks.models.int8 --peers FOLDER`."""

from __future__ import annotations

import argparse
import sys

import numpy as np

from benchmarks import harness
from benchmarks.models import options, report
from benchmarks.models.contest import Contest, Contestant
from benchmarks.models.peers import Peers
from evsam.cli.arguments import whole

COSINE = 0.999
"""Of the embedding with that in float64; a peer below it gave up more than the others and does not count."""


def contestants(peers: Peers) -> list[Contestant]:
    return [
        peers.evsam("l0", "encoder", "int8", "evsam int8"),
        peers.evsam("l0", "encoder", name="evsam"),
        peers.onnxruntime("l0", "encoder.int8.onnx", "onnxruntime int8"),
        peers.openvino("l0", "encoder.int8.openvino/model.xml", "OpenVINO int8"),
    ]


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    options.add(parser)
    parser.add_argument("--threads", nargs="+", type=whole(1), default=[2, 1])
    parser.add_argument("--rounds", type=whole(1), default=15)
    chosen = parser.parse_args(arguments)
    peers = options.peers(chosen)

    pixels = np.load(peers.model("l0", "pixels.npy"))
    reference = np.load(peers.model("l0", "reference.npy"))
    for threads in chosen.threads:
        case = {"op": "encoder", "variant": "l0", "threads": threads}
        with Contest(options.select(chosen, contestants(peers)), threads, {"pixels": pixels}) as contest:
            samples = contest.measure(chosen.rounds)
        lines = []
        for entry in contest.entries:
            quality = report.accuracy(entry.outputs[0], reference)
            int8 = entry.name.endswith("int8")
            line = report.line(case, entry, samples[entry.name], {**quality, "correct": quality["cosine"] >= COSINE})
            lines.append({**line, "precision": "int8" if int8 else "fp32"})
        report.add_ratios(lines)
        print(report.table(lines, ["variant", "threads", "precision"]), flush=True)
        if chosen.save:
            harness.save(harness.result_path("int8"), lines, ["variant", "threads", "contestant"])
    return 0


if __name__ == "__main__":
    sys.exit(main())
