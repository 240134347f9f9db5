"""Prompt encoder and mask decoder of l0, one click and 64 clicks: `python -m benchmarks.models.decoder --peers FOLDER`.

All get the same embedding and the same clicks, each with SAM's padding point. Batching helps none of the peers, so
with 64 prompts they are also given them one after the other, with the graph for one.
"""

from __future__ import annotations

import argparse
import sys

import numpy as np

from benchmarks import harness
from benchmarks.models import options, report
from benchmarks.models.contest import Contest, Contestant
from benchmarks.models.inputs import DECODER_PROMPTS, clicks
from benchmarks.models.peers import Peers
from evsam.cli.arguments import whole

CORRECT = 1e-3
"""Relative error of the logits up to which a contestant counts as correct."""

ROUNDS = {1: 30, 64: 6}


def contestants(peers: Peers, count: int) -> list[Contestant]:
    listed = [
        peers.evsam("l0", "decoder"),
        peers.openvino("l0", f"decoder_{count}.onnx"),
        peers.onnxruntime("l0", f"decoder_{count}.onnx"),
        peers.torch("l0", "decoder", compiled=False),
    ]
    if count == 1:
        listed.append(peers.mnn("l0", "decoder_1.mnn", ["logits", "scores"]))
    else:
        listed.append(peers.openvino("l0", "decoder_1.onnx", "OpenVINO, one by one", one_by_one=True))
        listed.append(peers.onnxruntime("l0", "decoder_1.onnx", "onnxruntime, one by one", one_by_one=True))
    return listed


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add(parser)
    parser.add_argument("--threads", nargs="+", type=whole(1), default=[2])
    parser.add_argument("--prompts", nargs="+", type=whole(1), default=list(DECODER_PROMPTS), choices=DECODER_PROMPTS)
    parser.add_argument("--rounds", type=whole(1), help="turns of each contestant; default: fewer for more prompts")
    chosen = parser.parse_args(arguments)
    peers = options.peers(chosen)

    embedding = np.load(peers.model("l0", "reference.npy")).astype(np.float32)
    for count in chosen.prompts:
        points, labels = clicks(count)
        inputs = {"embedding": embedding, "points": points, "labels": labels}
        with np.load(peers.model("l0", f"decoder_{count}.npz")) as file:
            reference = file["logits"]
        for threads in chosen.threads:
            case = {"op": "decoder", "variant": "l0", "threads": threads, "prompts": count}
            with Contest(options.select(chosen, contestants(peers, count)), threads, inputs) as contest:
                samples = contest.measure(chosen.rounds or ROUNDS[count])
            lines = []
            for entry in contest.entries:
                quality = report.accuracy(entry.outputs[0], reference)
                correct = quality["relative"] <= CORRECT
                lines.append(report.line(case, entry, samples[entry.name], {**quality, "correct": correct}))
            report.add_ratios(lines)
            print(report.table(lines, ["variant", "prompts", "threads"]), flush=True)
            if chosen.save:
                harness.save(harness.result_path("decoder"), lines, ["variant", "prompts", "threads", "contestant"])
    return 0


if __name__ == "__main__":
    sys.exit(main())
