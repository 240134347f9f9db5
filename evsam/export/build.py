"""Encoder and decoder as models, with ranges folded where the precision asks for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, cast

import numpy as np
import numpy.typing as npt

from evsam.export.calibration import generated_calibration
from evsam.export.graph import HALF, Graph
from evsam.export.network import Encoder, read_encoder
from evsam.export.onnx import build_decoder, build_encoder, write_decoder
from evsam.export.options import ExportOptions, ExportPrecision
from evsam.export.probes import Ranges, add_probes, measure
from evsam.export.ranges import FLOAT16_MAX, HEADROOM, RangeReport, fold_ranges
from evsam.export.session import open_session
from evsam.prompts import read_prompts
from evsam.zoo import FRAME_SIZE, LOGITS_SIZE

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import onnx

    from evsam.weights import Weights

Pixels = Sequence[npt.NDArray[np.float32]]


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
    weights: Weights, encoder: Encoder, pixels: Pixels, threads: int | None = None, graph: Graph | None = None
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
    weights: Weights, encoder: Encoder, pixels: Pixels, threads: int | None
) -> Iterator[Mapping[str, npt.NDArray[np.float32]]]:
    session = open_session(build_encoder(weights, encoder=encoder).SerializeToString(), threads)
    names = [output.name for output in session.get_outputs()]
    frame = (FRAME_SIZE, FRAME_SIZE)
    quarter = FRAME_SIZE / 4
    prompts = [
        read_prompts(frame, frame, points=[[[x * quarter, y * quarter]] for x in (1, 2, 3) for y in (1, 2, 3)]),
        read_prompts(frame, frame, boxes=[(quarter, quarter, 3 * quarter, 2 * quarter), (0, 0, *frame)]),
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
