"""Writes what the peers' converters read: `python -m benchmarks.models.export FOLDER VARIANT...`.

For each variant, into FOLDER/<variant>: weights.safetensors (nano's own, seeded ones of the others), pixels.npy,
encoder.onnx and encoder.torchscript; reference.npz, the features computed in float64; calibration.npz, pixels of other
photos; and for l0 the decoder with one and with 64 prompts, what it shall answer, and its calibration. What exists is
kept. Needs torch, onnx, onnxscript and scikit-image.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.models.graphs import DecoderGraph, EncoderGraph, load_model
from benchmarks.models.inputs import (
    CALIBRATION_PHOTOS,
    DECODER_PROMPTS,
    clicks,
    feature_names,
    pixels,
    write_weights,
)
from evsam.nn import EfficientViTSam
from evsam.weights import load_weights, save_weights

OPSET = 20  # the first with Gelu as one operator that knows the tanh form


def to_onnx(graph: torch.nn.Module, inputs: tuple[Any, ...], names: list[str], outputs: list[str], path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the exporter, about itself
        program = torch.onnx.export(
            graph,
            inputs,
            input_names=names,
            output_names=outputs,
            opset_version=OPSET,
            dynamo=True,
            optimize=True,
            external_data=False,
            verbose=False,
        )
    assert program is not None
    program.save(str(path), external_data=False)


def to_torchscript(graph: torch.nn.Module, inputs: tuple[Any, ...], path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # tracing is deprecated, and what pnnx reads
        torch.jit.trace(graph, inputs, check_trace=False).save(str(path))


@torch.inference_mode()
def write_reference(model: EfficientViTSam, folder: Path, sample: torch.Tensor) -> None:
    features = model.double().encode(sample.double())
    if model.variant.name == "l0":
        for count in DECODER_PROMPTS:
            points, labels = clicks(count)
            logits, scores = [], []
            for i in range(count):
                part = slice(i, i + 1)
                low, iou = model.decode(
                    features, torch.from_numpy(points[part]).double(), torch.from_numpy(labels[part]).long()
                )
                logits.append(low.float().numpy())
                scores.append(iou.float().numpy())
            np.savez(folder / f"decoder_{count}.npz", logits=np.concatenate(logits), scores=np.concatenate(scores))
    maps: dict[str, Any] = dict(zip(feature_names(model.variant), (each.numpy() for each in features), strict=True))
    np.savez(folder / "reference.npz", **maps)


@torch.inference_mode()
def write_calibration(model: EfficientViTSam, folder: Path) -> None:
    """Inputs by name, an example of each in every row: of the encoder, and for l0 of the decoder with one prompt."""
    photos = np.concatenate([pixels(model.variant.name, name) for name in CALIBRATION_PHOTOS])
    np.savez(folder / "calibration.npz", pixels=photos)
    if model.variant.name == "l0":
        embeddings = [model.encode(torch.from_numpy(photo[None]))[0].numpy() for photo in photos]
        points, labels = clicks(len(photos))
        np.savez(folder / "decoder_calibration.npz", embedding=np.concatenate(embeddings), points=points, labels=labels)


def export_decoder(model: EfficientViTSam, folder: Path, embedding: torch.Tensor) -> None:
    graph = DecoderGraph(model).eval()
    for count in DECODER_PROMPTS:
        path = folder / f"decoder_{count}.onnx"
        if path.exists():
            continue
        points, labels = (torch.from_numpy(array) for array in clicks(count))
        to_onnx(graph, (embedding, points, labels), ["embedding", "points", "labels"], ["logits", "scores"], path)


def export(root: Path, variant: str) -> None:
    folder = root / variant
    if variant == "nano":
        save_weights(folder / "weights.safetensors", load_weights(variant).tensors, variant)
    write_weights(folder / "weights.safetensors", variant)
    sample = torch.from_numpy(pixels(variant))
    np.save(folder / "pixels.npy", sample.numpy())
    model = load_model(folder / "weights.safetensors")

    graph = EncoderGraph(model, matrices=True).eval()
    with torch.no_grad():
        if not (folder / "encoder.onnx").exists():
            to_onnx(graph, (sample,), ["pixels"], feature_names(variant), folder / "encoder.onnx")
        if not (folder / "encoder.torchscript").exists():
            to_torchscript(graph, (sample,), folder / "encoder.torchscript")
        if variant == "l0":
            export_decoder(model, folder, torch.zeros(1, 256, 64, 64))
    if not (folder / "calibration.npz").exists():
        write_calibration(model, folder)
    if not (folder / "reference.npz").exists():
        write_reference(model, folder, sample)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("variants", nargs="+")
    options = parser.parse_args(arguments)
    for variant in options.variants:
        print(f"exporting {variant}", flush=True)
        export(options.folder, variant)
    return 0


if __name__ == "__main__":
    sys.exit(main())
