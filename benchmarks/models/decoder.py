"""Prompt encoder and mask decoder of l0, one click and 64 clicks: `python -m benchmarks.models.decoder --peers FOLDER`.

All get the same embedding and the same clicks, each with SAM's padding point. Batching helps none of the peers, so
with 64 prompts they are also given them one after the other, with the graph for one; in int8 they have that graph
alone. Precisions of a class compete with each other: float32, 16 bits (bfloat16 and float16), int8.
"""

from __future__ import annotations

import argparse
import sys
import time

import numpy as np

from benchmarks import harness
from benchmarks.models import options, report
from benchmarks.models.contest import Contest, Contestant
from benchmarks.models.inputs import DECODER_PROMPTS, clicks
from benchmarks.models.peers import Peers
from evsam.cli.arguments import whole

ROUNDS = {1: 30, 64: 6}

OUTPUTS = ("logits", "scores")

VARIANT = "l0"


def contestants(peers: Peers, precisions: str, count: int) -> list[Contestant]:
    ours = peers.in_class(VARIANT, "decoder", precisions)
    if precisions == "int8":
        several = count > 1
        return [
            *ours,
            *peers.openvino(VARIANT, "decoder_1", "int8", one_by_one=several),
            *peers.onnxruntime(VARIANT, "decoder_1", "int8", one_by_one=several),
            *(() if several else (peers.mnn(VARIANT, "decoder_1", OUTPUTS, "int8"),)),
        ]
    precision = "fp32" if precisions == "fp32" else "bf16"
    graph = f"decoder_{count}"
    listed = [
        *ours,
        *peers.openvino(VARIANT, graph, precision),
        *peers.onnxruntime(VARIANT, graph, precision),
        peers.torch(VARIANT, "decoder", compiled=False, precision=precision),
    ]
    if count == 1:
        listed.append(peers.mnn(VARIANT, graph, OUTPUTS, "fp32" if precisions == "fp32" else "low"))
    else:
        listed += peers.openvino(VARIANT, "decoder_1", precision, one_by_one=True)
        listed += peers.onnxruntime(VARIANT, "decoder_1", precision, one_by_one=True)
    return listed


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add(parser)
    options.add_precisions(parser)
    parser.add_argument("--threads", nargs="+", type=whole(1), default=[2])
    parser.add_argument("--prompts", nargs="+", type=whole(1), default=list(DECODER_PROMPTS), choices=DECODER_PROMPTS)
    parser.add_argument("--rounds", type=whole(1), help="turns of each contestant; default: fewer for more prompts")
    chosen = parser.parse_args(arguments)
    peers = options.peers(chosen)

    columns = ["variant", "prompts", "threads", "precision"]
    with np.load(peers.model(VARIANT, "reference.npz")) as file:
        embedding = file["embedding"].astype(np.float32)
    for count in chosen.prompts:
        points, labels = clicks(count)
        inputs = {"embedding": embedding, "points": points, "labels": labels}
        with np.load(peers.model(VARIANT, f"decoder_{count}.npz")) as file:
            reference = [file["logits"]]
        for precisions in chosen.precisions:
            for threads in chosen.threads:
                start = time.perf_counter()
                case = {
                    "op": "decoder",
                    "variant": VARIANT,
                    "threads": threads,
                    "prompts": count,
                    "precision": precisions,
                }
                entrants = options.select(chosen, contestants(peers, precisions, count))
                with Contest(entrants, threads, inputs) as contest:
                    lines = report.lines(case, contest, chosen.rounds or ROUNDS[count], reference)
                print(report.table(lines, columns))
                print(f"({time.perf_counter() - start:.0f} s)", flush=True)
                if chosen.save:
                    harness.save(harness.result_path("decoder"), lines, [*columns, "contestant"])
    return 0


if __name__ == "__main__":
    sys.exit(main())
