"""Peak memory, time to load and the first call of each precision: `python -m benchmarks.models.memory --peers FOLDER`.

Each contestant starts in a fresh process, loads its encoder, encodes once and, where it has a decoder, loads it and
predicts once; what counts is the most memory that was ever resident. evsam does more than its peers there: it also
resizes the photo and makes a mask of the photo's size. The first call is compared with a second one: of the encoder,
with evsam of everything. evsam takes part three times: as it is, with its cache of packed weights when it fills it, and
when it reads it, in which the file is in the system's memory; models that are too small for the cache do not.
"""

from __future__ import annotations

import argparse
import dataclasses
import shutil
import sys
import tempfile
from collections.abc import Mapping
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import harness
from benchmarks.models import options, report
from benchmarks.models.contest import Contestant, Worker, WorkerError
from benchmarks.models.inputs import clicks, feature_names, photo
from benchmarks.models.peers import CLASSES, Peers
from benchmarks.models.prepare import VARIANTS
from evsam.cli.arguments import whole as at_least

Models = list[tuple[Contestant, tuple[str, ...]]]
"""What one process loads and runs, one after the other, and which inputs each reads."""

MIB = 1 << 20

FILLS, READS = ", fills the packed cache", ", reads the packed cache"
"""What the names of evsam with its cache end with."""


def contestants(peers: Peers, variant: str, precisions: str) -> dict[str, Models]:
    """Who competes, by name; the decoder alone exists for l0."""
    ours: dict[str, Models] = {}
    for precision in CLASSES[precisions]:
        name = "evsam" if precision == "fp32" else f"evsam {precision}"
        ours[name] = [(whole(peers, variant, peers.engine, precision), ("image",))]
    names = feature_names(variant)
    if precisions == "fp32":
        ours["evsam, torch engine"] = [(whole(peers, variant, "torch", "fp32"), ("image",))]
        encoders = [
            peers.mnn(variant, "encoder", names),
            peers.ncnn(variant),
            *peers.openvino(variant, "encoder"),
            *peers.onnxruntime(variant, "encoder"),
        ]
        decoders = [
            peers.mnn(variant, "decoder_1", ["logits", "scores"]),
            *peers.openvino(variant, "decoder_1"),
            *peers.onnxruntime(variant, "decoder_1"),
        ]
    elif precisions == "16bit":
        encoders = [
            peers.mnn(variant, "encoder", names, "low"),
            peers.ncnn(variant, "bf16"),
            *peers.openvino(variant, "encoder", "bf16"),
        ]
        decoders = [
            peers.mnn(variant, "decoder_1", ["logits", "scores"], "low"),
            *peers.openvino(variant, "decoder_1", "bf16"),
        ]
    else:
        encoders = [
            peers.mnn(variant, "encoder", names, "int8"),
            *peers.openvino(variant, "encoder", "int8")[:1],
            *peers.onnxruntime(variant, "encoder", "int8"),
        ]
        decoders = [
            peers.mnn(variant, "decoder_1", ["logits", "scores"], "int8"),
            *peers.openvino(variant, "decoder_1", "int8")[:1],
            *peers.onnxruntime(variant, "decoder_1", "int8"),
        ]
    theirs: dict[str, Models] = {}
    for encoder in encoders:
        theirs[f"{encoder.name}, encoder only"] = [(encoder, ("pixels",))]
    if variant == "l0":
        second = {decoder.name: decoder for decoder in decoders}
        for encoder in encoders:
            if encoder.name in second:
                inputs = ("embedding", "points", "labels")
                theirs[encoder.name] = [(encoder, ("pixels",)), (second[encoder.name], inputs)]
    return ours | theirs


def whole(peers: Peers, variant: str, engine: str, precision: str) -> Contestant:
    weights = str(peers.model(variant, "weights.safetensors"))
    request = {"model": weights, "graph": "whole", "engine": engine, "precision": precision}
    return Contestant(f"evsam {engine}", "evsam", peers.python, request)


def cached(peers: Peers, variant: str, precisions: str, cache: Path) -> dict[str, Models]:
    """Who evsam is with its cache in that folder: filling it, then reading it; nobody where the model is too small."""
    if peers.engine != "native" or variant == "nano":
        return {}
    environment = {"EVSAM_PACKED_CACHE": "1", "EVSAM_PACKED_CACHE_GIB": "64", "EVSAM_CACHE": str(cache)}
    found: dict[str, Models] = {}
    for precision in CLASSES[precisions]:
        name = "evsam" if precision == "fp32" else f"evsam {precision}"
        made = dataclasses.replace(whole(peers, variant, peers.engine, precision), environment=environment)
        found |= {name + end: [(made, ("image",))] for end in (FILLS, READS)}
    return found


def run_once(models: Models, files: Mapping[str, str], threads: int, log: Path) -> dict[str, Any]:
    """Peak memory of a process that does it all, how long loading took, and the first calls of the first model."""
    worker = Worker(models[0][0], log)
    try:
        found: dict[str, Any] = {"before": worker.ask("memory")["peak"], "load": 0.0}
        for contestant, names in models:
            inputs = {name: files[name] for name in names}
            loaded = worker.ask("load", threads=threads, inputs=inputs, **contestant.request)
            found["load"] += loaded["seconds"]
            (first,) = worker.ask("run", repeat=1)["seconds"]
            if "first" not in found:
                found |= {"first": first, "next": min(worker.ask("run", repeat=2)["seconds"])}
        found["peak"] = worker.ask("memory")["peak"]
    finally:
        worker.close()
    return {**found, "version": loaded["version"], "computes": loaded["computes"]}


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add(parser)
    options.add_precisions(parser)
    parser.add_argument("--variants", nargs="+", default=["l0"], choices=VARIANTS)
    parser.add_argument("--threads", type=at_least(1), default=2)
    parser.add_argument("--repeat", type=at_least(1), default=3, help="fresh processes of each; the medians count")
    chosen = parser.parse_args(arguments)
    peers = options.peers(chosen)

    for variant, precisions in product(chosen.variants, chosen.precisions):
        lines = measure(chosen, peers, variant, precisions)
        rows = [["variant", "contestant", "peak MiB", "interpreter MiB", "load s", "first ms", "next ms", "computes"]]
        for x in lines:
            figures = [f"{x[key]:.0f}" for key in ("peak_mib", "before_load_mib")]
            times = [f"{x['load_seconds']:.2f}", f"{x['first_ms']:.1f}", f"{x['next_ms']:.1f}"]
            rows.append([variant, x["contestant"], *figures, *times, x["computes"]])
        print(report.grid(rows), flush=True)
        if chosen.save:
            harness.save(harness.result_path("memory"), lines, ["variant", "threads", "precision", "contestant"])
    return 0


def measure(chosen: argparse.Namespace, peers: Peers, variant: str, precisions: str) -> list[dict[str, Any]]:
    """The lines of a variant in a class of precisions."""
    points, labels = clicks(1)
    with np.load(peers.model(variant, "reference.npz")) as file:
        embedding = file["embedding"].astype(np.float32)
    arrays = {
        "pixels": np.load(peers.model(variant, "pixels.npy")),
        "embedding": embedding,
        "points": points,
        "labels": labels,
        "image": photo(),
    }
    lines = []
    with tempfile.TemporaryDirectory(prefix="evsam-memory-") as temporary:
        folder = Path(temporary)
        files = {name: str(folder / f"{name}.npy") for name in arrays}
        for name, array in arrays.items():
            np.save(files[name], array)
        cache = folder / "cache"
        everyone = cached(peers, variant, precisions, cache) | contestants(peers, variant, precisions)
        for name, models in everyone.items():
            if chosen.only is not None and name not in chosen.only:
                continue
            try:
                if name.endswith(READS):
                    run_once(models, files, chosen.threads, folder / "log")
                runs = []
                for _ in range(chosen.repeat):
                    if name.endswith(FILLS):
                        shutil.rmtree(cache, ignore_errors=True)
                    runs.append(run_once(models, files, chosen.threads, folder / "log"))
            except WorkerError as error:
                print(f"left out: {name}: {error}", file=sys.stderr)
                continue
            middle = {key: float(np.median([run[key] for run in runs])) for key in runs[0] if key not in TEXTS}
            lines.append(
                {
                    "op": "memory",
                    "variant": variant,
                    "threads": chosen.threads,
                    "precision": precisions,
                    "contestant": name,
                    "peak_mib": round(middle["peak"] / MIB, 1),
                    "before_load_mib": round(middle["before"] / MIB, 1),
                    "load_seconds": round(middle["load"], 3),
                    "first_ms": round(middle["first"] * 1e3, 1),
                    "next_ms": round(middle["next"] * 1e3, 1),
                    "runs": len(runs),
                    **{key: runs[0][key] for key in TEXTS},
                }
            )
    return lines


TEXTS = ("version", "computes")
"""What a run says that is no number."""


if __name__ == "__main__":
    sys.exit(main())
