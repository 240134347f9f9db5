"""Peak memory and time to load: `python -m benchmarks.models.memory --peers FOLDER`.

Each contestant starts in a fresh process, loads its encoder, encodes once, loads its decoder and predicts once; what
counts is the most memory that was ever resident. evsam does more than its peers there: it also reads weights of both at
once, resizes the photo and makes a mask of the photo's size.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import harness
from benchmarks.models import options, report
from benchmarks.models.contest import Contestant, Worker, WorkerError
from benchmarks.models.inputs import clicks, photo
from benchmarks.models.peers import Peers
from evsam.cli.arguments import whole as at_least

Models = list[tuple[Contestant, tuple[str, ...]]]
"""What one process loads and runs, one after the other, and which inputs each reads."""

MIB = 1 << 20


def contestants(peers: Peers) -> dict[str, Models]:
    encoder, decoder = ("pixels",), ("embedding", "points", "labels")
    outputs = ["logits", "scores"]
    mnn = (peers.mnn("l0", "encoder.mnn", ["embedding"]), encoder)
    vino = (peers.openvino("l0", "encoder.onnx"), encoder)
    runtime = (peers.onnxruntime("l0", "encoder.onnx"), encoder)
    return {
        "evsam": [(whole(peers, peers.engine, "fp32"), ("image",))],
        "evsam int8": [(whole(peers, peers.engine, "int8"), ("image",))],
        "evsam, torch engine": [(whole(peers, "torch", "fp32"), ("image",))],
        "MNN": [mnn, (peers.mnn("l0", "decoder_1.mnn", outputs), decoder)],
        "MNN, encoder only": [mnn],
        "ncnn, encoder only": [(peers.ncnn("l0", "encoder.ncnn"), encoder)],
        "OpenVINO": [vino, (peers.openvino("l0", "decoder_1.onnx"), decoder)],
        "OpenVINO, encoder only": [vino],
        "onnxruntime": [runtime, (peers.onnxruntime("l0", "decoder_1.onnx"), decoder)],
        "onnxruntime, encoder only": [runtime],
    }


def whole(peers: Peers, engine: str, precision: str) -> Contestant:
    weights = str(peers.model("l0", "weights.safetensors"))
    request = {"model": weights, "graph": "whole", "engine": engine, "precision": precision}
    return Contestant(f"evsam {engine}", "evsam", peers.python, request)


def run_once(models: Models, files: Mapping[str, str], threads: int, log: Path) -> dict[str, Any]:
    """Peak memory of a process that does it all, and how long loading took."""
    worker = Worker(models[0][0], log)
    try:
        before = worker.ask("memory")["peak"]
        seconds = 0.0
        for contestant, names in models:
            inputs = {name: files[name] for name in names}
            loaded = worker.ask("load", threads=threads, inputs=inputs, **contestant.request)
            seconds += loaded["seconds"]
            worker.ask("run", repeat=1)
        peak = worker.ask("memory")["peak"]
    finally:
        worker.close()
    return {"peak": peak, "before": before, "seconds": seconds, "version": loaded["version"]}


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add(parser)
    parser.add_argument("--threads", type=at_least(1), default=2)
    parser.add_argument("--repeat", type=at_least(1), default=3, help="fresh processes of each; the medians count")
    chosen = parser.parse_args(arguments)
    peers = options.peers(chosen)

    points, labels = clicks(1)
    arrays = {
        "pixels": np.load(peers.model("l0", "pixels.npy")),
        "embedding": np.load(peers.model("l0", "reference.npy")).astype(np.float32),
        "points": points,
        "labels": labels,
        "image": photo(),
    }
    rows = [["contestant", "peak MiB", "interpreter and package MiB", "load s"]]
    lines = []
    with tempfile.TemporaryDirectory(prefix="evsam-memory-") as temporary:
        folder = Path(temporary)
        files = {name: str(folder / f"{name}.npy") for name in arrays}
        for name, array in arrays.items():
            np.save(files[name], array)
        for name, models in contestants(peers).items():
            if chosen.only is not None and name not in chosen.only:
                continue
            try:
                runs = [run_once(models, files, chosen.threads, folder / "log") for _ in range(chosen.repeat)]
            except WorkerError as error:
                print(f"left out: {name}: {error}", file=sys.stderr)
                continue
            peak, before, seconds = (
                float(np.median([run[key] for run in runs])) for key in ("peak", "before", "seconds")
            )
            rows.append([name, f"{peak / MIB:.0f}", f"{before / MIB:.0f}", f"{seconds:.2f}"])
            case = {"op": "memory", "variant": "l0", "threads": chosen.threads}
            figures = {"peak_mib": round(peak / MIB, 1), "before_load_mib": round(before / MIB, 1)}
            extra = {"load_seconds": round(seconds, 3), "runs": len(runs), "version": runs[0]["version"]}
            lines.append({**case, "contestant": name, **figures, **extra})
    print(report.grid(rows))
    if chosen.save:
        harness.save(harness.result_path("memory"), lines, ["variant", "threads", "contestant"])
    return 0


if __name__ == "__main__":
    sys.exit(main())
