"""Models as ONNX files.

Names, shapes and meaning of their inputs and outputs are in docs/export.md, and as data in :mod:`evsam.export.options`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import numpy.typing as npt

from evsam.engines.onnxruntime import open_session
from evsam.export.calibration import generated_calibration
from evsam.export.decoder import write_image_size_masks, write_network, write_selection
from evsam.export.encoder import EncoderModel, read_encoder, write_encoder
from evsam.export.folder import LAYERS, PARTS, RANGES, ExportFolder, make_manifest, write_folder
from evsam.export.graph import HALF, Graph
from evsam.export.options import ExportOptions, ExportPrecision, decoder_interface, default_options
from evsam.export.quantization import FORMATS, Quantization, Rule
from evsam.export.ranges import FLOAT16_MAX, HEADROOM, RangeReport, Ranges, add_probes, fold_ranges, measure
from evsam.export.sensitivity import Array, Arrays, LayerReport, Limits, Parts, choose_layers, encode, open_part
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
    limits: Limits | None = None,
) -> tuple[ExportFolder, Models]:
    """Write ``encoder.onnx``, ``decoder.onnx``, ``evsam.json``, and what was found: ``ranges.json``, ``layers.json``.

    Args:
        weights: the model.
        folder: to write to; made if it is missing.
        options: how; None for float32, standard operators and all masks at low resolution.
        calibration: see :func:`evsam.export.onnx.build_models`.
        headroom: see :func:`evsam.export.ranges.fold_ranges`.
        threads: upper limit of CPU threads for the calibration.
        limits: see :func:`evsam.export.onnx.build_models`.

    Returns:
        The folder, and what was written.

    Raises:
        EvsamError: see :func:`evsam.export.onnx.build_models`.
        OSError: the folder cannot be written to.
    """
    options = options or ExportOptions()
    models = build_models(weights, options.precision, options, calibration, headroom, threads, limits)
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
    write_folder(path, files, manifest, models.reports)
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
        layers: which layers read 8 bits, None where none was to.
    """

    encoder: onnx.ModelProto
    decoder: onnx.ModelProto
    options: ExportOptions
    decoder_precision: ExportPrecision
    report: RangeReport | None
    layers: LayerReport | None = None

    @property
    def reports(self) -> dict[str, Any]:
        """What was found, as JSON documents by name of file."""
        found = {RANGES: self.report, LAYERS: self.layers}
        return {name: report.as_json() for name, report in found.items() if report is not None}


def build_models(
    weights: Weights,
    precision: str = "fp32",
    options: ExportOptions | None = None,
    calibration: Pixels | None = None,
    headroom: float = HEADROOM,
    threads: int | None = None,
    limits: Limits | None = None,
    rule: Rule | None = None,
) -> Models:
    """Build both models.

    Args:
        weights: the model.
        precision: ``fp32``, or one of the others with ranges folded; takes the place of the options' one.
        options: how else; None for standard operators and all masks at low resolution.
        calibration: what the encoder sees of some images, see :mod:`evsam.export.calibration`; None for generated
            images. ``fp32`` needs none.
        headroom: see :func:`evsam.export.ranges.fold_ranges`.
        threads: upper limit of CPU threads for the calibration.
        limits: what ``int8`` and ``fp8`` must keep, None for the default ones.
        rule: of their scales, see :func:`evsam.export.quantization.activation_scale`; None for the format's.

    Raises:
        EvsamError: a precision that does not exist, or what :func:`evsam.export.ranges.fold_ranges` and
            :func:`evsam.export.sensitivity.choose_layers` raise.
    """
    precision = cast("ExportPrecision", precision)
    options = replace(options, precision=precision) if options else default_options(precision)
    encoder = read_encoder(weights)
    if options.precision == "fp32":
        return Models(build_encoder(weights, options, encoder), build_decoder(weights, options), options, "fp32", None)
    pixels = generated_calibration(weights.variant.image_size) if calibration is None else calibration
    folded, report = fold_ranges(encoder, pixels, headroom, threads)
    ranges = measure_decoder(weights, encoder, pixels, threads)
    fits = all(np.max(ranges[name]) <= FLOAT16_MAX / headroom for name in narrow_names(weights) if name in ranges)
    decoder_options = options if fits else replace(options, precision="fp32")
    plans: Mapping[str, Quantization] = {}
    layers = None
    if options.precision in FORMATS:
        rule = rule or FORMATS[options.precision].rule
        plans, layers = _choose_layers(
            weights, folded, options, decoder_options, pixels, limits or Limits(), rule, threads
        )
    return Models(
        build_encoder(weights, options, folded, plans.get("encoder")),
        build_decoder(weights, decoder_options, plans.get("decoder")),
        options,
        decoder_options.precision,
        report,
        layers,
    )


def _choose_layers(
    weights: Weights,
    encoder: EncoderModel,
    options: ExportOptions,
    decoder_options: ExportOptions,
    pixels: Pixels,
    limits: Limits,
    rule: Rule,
    threads: int | None,
) -> tuple[Mapping[str, Quantization], LayerReport]:
    decoder_options = replace(decoder_options, masks="all", image_size_masks=False)
    parts = Parts(
        lambda graph: write_encoder(graph, encoder),
        lambda graph: write_decoder(graph, weights, ExportOptions()),
        decoder_feeds,
        usable_layers(weights, encoder, options, decoder_options),
    )
    chosen = choose_layers(parts, FORMATS[options.precision], pixels, limits, rule, threads)
    made = (
        build_encoder(weights, options, encoder, chosen.plans["encoder"]),
        build_decoder(weights, decoder_options, chosen.plans["decoder"]),
    )
    sessions = [open_session(model.SerializeToString(), threads) for model in made]
    agreement = chosen.reference.agreement(encode(sessions[0], chosen.reference.pixels), sessions[1])
    others = len(pixels) - chosen.found_on
    return chosen.plans, LayerReport(options.precision, rule, limits, chosen.found_on, others, chosen.layers, agreement)


def usable_layers(
    weights: Weights, encoder: EncoderModel, options: ExportOptions, decoder_options: ExportOptions
) -> frozenset[str]:
    """Names of the layers that can read 8 bits: outside of plugins' nodes, and of the decoder if it is narrow."""
    graphs = [_graph(weights, part, options, None) for part in PARTS]
    write_encoder(graphs[0], encoder, options.plugins)
    if decoder_options.is_quantized:
        write_decoder(graphs[1], weights, decoder_options)
    return frozenset(name for graph in graphs for name in graph.layers)


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
    features = encode(open_part(lambda graph: write_encoder(graph, encoder), threads=threads), pixels)
    feeds = (
        feed for maps, image in zip(features, pixels, strict=True) for feed in decoder_feeds(maps, image, (False, True))
    )
    return measure(graph.model({}), feeds, threads)


def decoder_feeds(features: Arrays, image: Array, masks: Sequence[bool] = (False,)) -> Iterator[Arrays]:
    """Inputs of a decoder: clicks all over a photo, and boxes around them.

    Args:
        features: maps of the photo by their names, (1, C, G, G).
        image: the photo, float32 (3, S, S); where it is zero at the bottom and at the right it is padding.
        masks: whether there is a mask prompt besides.
    """
    frame = (FRAME_SIZE, FRAME_SIZE)
    ends = [max(np.flatnonzero(image.any((0, axis))), default=image.shape[-1] - 1) + 1 for axis in (1, 2)]
    width, height = (FRAME_SIZE / 4 * end / image.shape[-1] for end in ends)
    places = [(x, y) for x in (1, 2, 3) for y in (1, 2, 3)]
    prompts = [
        *read_prompts(frame, frame, points=[[[x * width, y * height]] for x, y in places]).groups,
        *read_prompts(
            frame,
            frame,
            boxes=[((x - 1) * width, (y - 1) * height, (x + 1) * width, (y + 1) * height) for x, y in places],
        ).groups,
    ]
    blob = np.full((1, 1, LOGITS_SIZE, LOGITS_SIZE), -20, np.float32)
    blob[..., LOGITS_SIZE // 4 : -LOGITS_SIZE // 4, LOGITS_SIZE // 4 : -LOGITS_SIZE // 4] = 20
    for prompt in prompts:
        for given in masks:
            yield {
                **features,
                "point_coords": prompt.points,
                "point_labels": prompt.labels.astype(np.float32),
                "mask_input": blob,
                "has_mask_input": np.array([given], np.float32),
            }


def build_encoder(
    weights: Weights,
    options: ExportOptions | None = None,
    encoder: EncoderModel | None = None,
    quantization: Quantization | None = None,
) -> onnx.ModelProto:
    """The image encoder as a model.

    Args:
        weights: the model.
        options: how; None for float32 and standard operators.
        encoder: the network, where it is not what the weights say: with folded ranges.
        quantization: which layers read 8 bits.
    """
    options = options or ExportOptions()
    graph = _graph(weights, "encoder", options, quantization)
    write_encoder(graph, encoder or read_encoder(weights), options.plugins)
    return graph.model(_metadata(weights, options))


def build_decoder(
    weights: Weights, options: ExportOptions | None = None, quantization: Quantization | None = None
) -> onnx.ModelProto:
    """Prompt encoder and mask decoder as a model.

    Args:
        weights: the model.
        options: how; None for float32, all four masks, at low resolution alone.
        quantization: which layers read 8 bits.
    """
    options = options or ExportOptions()
    graph = _graph(weights, "decoder", options, quantization)
    write_decoder(graph, weights, options)
    return graph.model(_metadata(weights, options))


def _graph(weights: Weights, part: str, options: ExportOptions, quantization: Quantization | None) -> Graph:
    return Graph(f"evsam {weights.variant.name} {part}", options.is_narrow, options.opset, quantization)


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
