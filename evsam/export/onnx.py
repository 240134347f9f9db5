"""Models as ONNX files.

Names, shapes and meaning of their inputs and outputs are in docs/export.md, and as data in :mod:`evsam.export.options`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
import numpy.typing as npt

from evsam.engines.onnxruntime import open_session
from evsam.export.calibration import generated_calibration
from evsam.export.decoder import write_image_size_masks, write_network, write_selection
from evsam.export.encoder import EncoderModel, read_encoder, write_encoder
from evsam.export.folder import RANGES, ExportFolder, json_bytes, make_manifest, write_folder
from evsam.export.graph import HALF, Graph
from evsam.export.options import ExportOptions, ExportPrecision, decoder_interface
from evsam.export.ranges import FLOAT16_MAX, HEADROOM, RangeReport, Ranges, add_probes, fold_ranges, measure
from evsam.prompts import read_prompts
from evsam.record import write_record
from evsam.weights import encoder_fingerprint
from evsam.zoo import FRAME_SIZE, LOGITS_SIZE

if TYPE_CHECKING:
    import onnx

    from evsam.weights import Weights

EXPORTER = "3"
"""Changes with what this package writes for the same weights and options."""

Pixels = Sequence[npt.NDArray[np.float32]]


def export_onnx(
    weights: Weights,
    folder: str | os.PathLike[str],
    options: ExportOptions | None = None,
    calibration: Pixels | None = None,
    headroom: float = HEADROOM,
    threads: int | None = None,
) -> tuple[ExportFolder, Models]:
    """Write ``encoder.onnx``, ``decoder.onnx`` and ``evsam.json``, and for float16 ``ranges.json``.

    Args:
        weights: the model.
        folder: to write to; made if it is missing.
        options: how; None for float32, standard operators and all masks at low resolution.
        calibration: see :func:`evsam.export.onnx.build_models`.
        headroom: see :func:`evsam.export.ranges.fold_ranges`.
        threads: upper limit of CPU threads for the calibration.

    Returns:
        The folder, and what was written.

    Raises:
        EvsamError: see :func:`evsam.export.onnx.build_models`.
        OSError: the folder cannot be written to.
    """
    options = options or ExportOptions()
    models = build_models(weights, options.precision, options, calibration, headroom, threads)
    path = Path(folder)
    files = {"encoder": models.encoder.SerializeToString(), "decoder": models.decoder.SerializeToString()}
    manifest = make_manifest(
        "onnx",
        weights.variant,
        options.precision,
        options.flavour,
        encoder_fingerprint(weights),
        files,
        "onnx",
        exporter=EXPORTER,
        decoder_precision=models.decoder_precision,
        plugins=sorted(options.plugins),
        masks=options.masks,
        image_size_masks=options.image_size_masks,
        opset=options.opset,
    )
    write_folder(path, files, manifest, {RANGES: json_bytes(models.report.as_json())} if models.report else None)
    if not models.report:  # of an earlier export
        (path / RANGES).unlink(missing_ok=True)
    return ExportFolder(path, manifest), models


@dataclass(frozen=True)
class Models:
    """What an export gives.

    Attributes:
        encoder: see :mod:`evsam.export.onnx`.
        decoder: see :mod:`evsam.export.onnx`.
        options: with the precision of the encoder.
        decoder_precision: ``fp32`` where the decoder's values would not fit into float16 with the same headroom.
        report: of the range folding, None for float32.
    """

    encoder: onnx.ModelProto
    decoder: onnx.ModelProto
    options: ExportOptions
    decoder_precision: ExportPrecision
    report: RangeReport | None


def build_models(
    weights: Weights,
    precision: str = "fp32",
    options: ExportOptions | None = None,
    calibration: Pixels | None = None,
    headroom: float = HEADROOM,
    threads: int | None = None,
) -> Models:
    """Build both models.

    Args:
        weights: the model.
        precision: ``fp32``, or ``fp16`` with ranges folded; takes the place of the options' one.
        options: how else; None for standard operators and all masks at low resolution.
        calibration: what the encoder sees of some images, see :mod:`evsam.export.calibration`; None for generated
            images. Only ``fp16`` needs any.
        headroom: see :func:`evsam.export.ranges.fold_ranges`.
        threads: upper limit of CPU threads for the calibration.

    Raises:
        EvsamError: a precision that does not exist, or what :func:`evsam.export.ranges.fold_ranges` raises.
    """
    options = replace(options or ExportOptions(), precision=cast("ExportPrecision", precision))
    encoder = read_encoder(weights)
    if options.precision == "fp32":
        return Models(build_encoder(weights, options, encoder), build_decoder(weights, options), options, "fp32", None)
    pixels = generated_calibration(weights.variant.image_size) if calibration is None else calibration
    folded, report = fold_ranges(encoder, pixels, headroom, threads)
    ranges = measure_decoder(weights, encoder, pixels, threads)
    fits = all(np.max(ranges[name]) <= FLOAT16_MAX / headroom for name in narrow_names(weights) if name in ranges)
    decoder_options = options if fits else replace(options, precision="fp32")
    return Models(
        build_encoder(weights, options, folded),
        build_decoder(weights, decoder_options),
        options,
        decoder_options.precision,
        report,
    )


def narrow_names(weights: Weights) -> list[str]:
    """Names of the values that a float16 decoder keeps in float16."""
    graph = Graph("decoder", half=True)
    write_decoder(graph, weights, ExportOptions(precision="fp16"))
    return [name for name, dtype in graph.types.items() if dtype == HALF]


def measure_decoder(
    weights: Weights, encoder: EncoderModel, pixels: Pixels, threads: int | None = None, graph: Graph | None = None
) -> Ranges:
    """Largest magnitude of every tensor of the decoder on clicks and boxes, with and without a mask.

    Args:
        weights: the model.
        encoder: that gives the decoder what it reads.
        pixels: float32 (3, S, S) each.
        threads: upper limit of CPU threads.
        graph: an empty graph to write the decoder to, None for one in float32.
    """
    graph = graph or Graph("decoder with probes")
    write_decoder(graph, weights, ExportOptions())
    add_probes(graph)
    return measure(graph.model({}), _decoder_feeds(weights, encoder, pixels, threads), threads)


def _decoder_feeds(
    weights: Weights, encoder: EncoderModel, pixels: Pixels, threads: int | None
) -> Iterator[Mapping[str, npt.NDArray[np.float32]]]:
    session = open_session(build_encoder(weights, encoder=encoder).SerializeToString(), threads)
    names = [output.name for output in session.get_outputs()]
    frame = (FRAME_SIZE, FRAME_SIZE)
    quarter = FRAME_SIZE / 4
    prompts = [
        *read_prompts(frame, frame, points=[[[x * quarter, y * quarter]] for x in (1, 2, 3) for y in (1, 2, 3)]).groups,
        *read_prompts(frame, frame, boxes=[(quarter, quarter, 3 * quarter, 2 * quarter), (0, 0, *frame)]).groups,
    ]
    blob = np.full((1, 1, LOGITS_SIZE, LOGITS_SIZE), -20, np.float32)
    blob[..., LOGITS_SIZE // 4 : -LOGITS_SIZE // 4, LOGITS_SIZE // 4 : -LOGITS_SIZE // 4] = 20
    for image in pixels:
        features = dict(zip(names, session.run(names, {"images": image[None]}), strict=True))
        for prompt in prompts:
            for given in (0, 1):
                yield {
                    **features,
                    "point_coords": prompt.points,
                    "point_labels": prompt.labels.astype(np.float32),
                    "mask_input": blob,
                    "has_mask_input": np.array([given], np.float32),
                }


def build_encoder(
    weights: Weights, options: ExportOptions | None = None, encoder: EncoderModel | None = None
) -> onnx.ModelProto:
    """The image encoder as a model.

    Args:
        weights: the model.
        options: how; None for float32 and standard operators.
        encoder: the network, where it is not what the weights say: with folded ranges.
    """
    options = options or ExportOptions()
    graph = Graph(f"evsam {weights.variant.name} encoder", half=options.precision == "fp16", opset=options.opset)
    write_encoder(graph, encoder or read_encoder(weights), options.plugins)
    return graph.model(_metadata(weights, options))


def build_decoder(weights: Weights, options: ExportOptions | None = None) -> onnx.ModelProto:
    """Prompt encoder and mask decoder as a model.

    Args:
        weights: the model.
        options: how; None for float32, all four masks, at low resolution alone.
    """
    options = options or ExportOptions()
    graph = Graph(f"evsam {weights.variant.name} decoder", half=options.precision == "fp16", opset=options.opset)
    write_decoder(graph, weights, options)
    return graph.model(_metadata(weights, options))


def write_decoder(graph: Graph, weights: Weights, options: ExportOptions) -> None:
    """Write the whole decoder with its inputs and outputs."""
    interface = decoder_interface(weights.variant, options)
    for tensor in interface.inputs:
        graph.input(tensor.name, tensor.shape)
    logits, scores = write_selection(graph, *write_network(graph, weights), options.masks)
    values = {"iou_predictions": scores, "low_res_masks": logits}
    if options.image_size_masks:
        values["masks"] = write_image_size_masks(graph, logits)
    for tensor in interface.outputs:
        graph.output(tensor.name, values[tensor.name], tensor.shape)


def _metadata(weights: Weights, options: ExportOptions) -> dict[str, str]:
    return {
        "evsam.variant": write_record(weights.variant),
        "evsam.precision": options.precision,
        "evsam.flavour": options.flavour,
        "evsam.exporter": EXPORTER,
    }
