"""``evsam export``: its arguments and what they start. Light to import: the work is imported when it begins."""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from evsam.cli.arguments import number, whole
from evsam.cli.console import say
from evsam.errors import EvsamError
from evsam.export.options import (
    OPSETS,
    PLUGINS,
    PRECISIONS,
    QUANTIZED,
    ExportOptions,
    ExportPrecision,
    check_plugins,
    default_opset,
    default_plugins,
    usable_plugins,
)
from evsam.writing import check_folder

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from evsam.engines.tensorrt_runtime.facts import Profiles
    from evsam.export.folder import ExportFolder
    from evsam.export.sensitivity import Limits
    from evsam.weights import Weights

FORMATS = ("onnx", "tensorrt", "triton")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``evsam export``."""
    parser.add_argument("model", help="variant or path of a weights file")
    parser.add_argument("--format", choices=FORMATS, required=True, help="what to write")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="FOLDER", help="folder to write to")
    parser.add_argument("--variant", help="the variant that the weights file is expected to hold")
    parser.add_argument(
        "--precision",
        choices=PRECISIONS,
        help="fp16 folds ranges first; int8 and fp8 are fp16 with Q/DQ nodes around layers that need no more bits "
        "(default: fp32; fp16 for tensorrt)",
    )
    parser.add_argument(
        "--plugins",
        nargs="*",
        metavar="NAME",
        help="write fused blocks as nodes of evsam's TensorRT plugins: all of them, or those named "
        f"({', '.join(PLUGINS)})",
    )
    parser.add_argument(
        "--calibration",
        nargs="+",
        default=[],
        metavar="PATH",
        help="photos, or folders of photos, to find the ranges of fp16 on, and the scales of int8 and fp8 "
        "(default: those that evsam convert left beside the weights, else generated images)",
    )
    parser.add_argument(
        "--least-cosine",
        type=number(0, 1),
        help="int8, fp8: of embeddings with those of fp32, on every photo; layers stay in fp16 for it (default: 0.999)",
    )
    parser.add_argument(
        "--least-iou", type=number(0, 1), help="int8, fp8: of masks with those of fp32, on average (default: 0.99)"
    )
    parser.add_argument(
        "--headroom", type=number(1, 65504), help="how far below 65504 values of fp16 stay (default: 16 times)"
    )
    parser.add_argument("--threads", type=whole(1), help="upper limit of CPU threads for finding ranges")
    onnx = parser.add_argument_group("onnx, triton")
    onnx.add_argument(
        "--masks",
        choices=("all", "single", "multi", "auto"),
        default="all",
        help="masks for each prompt: all four, the single one, three for ambiguous prompts, or one chosen as "
        "Sam.predict does (default: all)",
    )
    onnx.add_argument(
        "--image-size-masks", action="store_true", help="the decoder also gives masks at the image's size"
    )
    onnx.add_argument(
        "--opset",
        type=whole(min(OPSETS), max(OPSETS)),
        choices=OPSETS,
        help=f"of the standard operators (default: {OPSETS[0]}, which onnxruntime 1.16 runs; 20 has GELU as one node, "
        "and int8 and fp8 need it)",
    )
    target = parser.add_argument_group("tensorrt, on the machine that will run it")
    target.add_argument("--device", help="cuda or cuda:N (default: cuda)")
    target.add_argument("--max-batch", type=whole(1), help="images encoded together at most")
    target.add_argument("--max-prompts", type=whole(1), help="prompts decoded together at most")
    triton = parser.add_argument_group("triton")
    triton.add_argument(
        "--backend", choices=("onnx", "tensorrt"), default="onnx", help="what the server runs (default: onnx)"
    )


def run(arguments: argparse.Namespace) -> None:
    """Do what the arguments say."""
    from evsam.weights import load_weights

    kind = arguments.backend if arguments.format == "triton" else arguments.format
    _check(arguments, kind)
    check_folder(arguments.output)
    weights = load_weights(arguments.model, arguments.variant)
    if arguments.format != "triton":
        _write(arguments, kind, weights, arguments.output)
        return
    from evsam.export.triton import export_triton

    with tempfile.TemporaryDirectory() as temporary:
        folder = _write(arguments, kind, weights, Path(temporary), quiet=True)
        library = None
        if kind == "tensorrt" and folder.manifest["flavour"] == "plugins":
            from evsam.engines.tensorrt import plugin_library

            library = plugin_library()
        export_triton(folder, arguments.output, arguments.max_batch or 4, library)
    say(f"wrote {arguments.output}: Triton model repository, see its README.md")


def _check(arguments: argparse.Namespace, kind: str) -> None:
    if arguments.plugins is not None:
        check_plugins(arguments.plugins)
    limits = (arguments.least_cosine, arguments.least_iou)
    if arguments.precision not in QUANTIZED and limits != (None, None):
        arguments.fail(f"--least-cosine and --least-iou need --precision {' or '.join(QUANTIZED)}")
    if kind == "tensorrt":
        if arguments.masks != "all" or arguments.image_size_masks:
            arguments.fail("--masks and --image-size-masks: not for TensorRT, whose engine needs all masks")
        if arguments.opset is not None:
            arguments.fail("--opset: not for TensorRT, which reads the newest")
        if arguments.plugins:
            arguments.fail("--plugins: all of them or none for TensorRT, got names")
    elif arguments.device is not None or arguments.max_prompts is not None:
        arguments.fail("--device and --max-prompts need --format tensorrt, or --backend tensorrt")


def _write(
    arguments: argparse.Namespace, kind: str, weights: Weights, output: Path, quiet: bool = False
) -> ExportFolder:
    if kind == "tensorrt":
        return _write_tensorrt(arguments, weights, output, quiet)
    from evsam.export.onnx import export_onnx
    from evsam.export.ranges import HEADROOM

    precision: ExportPrecision = arguments.precision or "fp32"
    plugins: frozenset[str] = frozenset()
    if arguments.plugins is not None:
        plugins = check_plugins(arguments.plugins) or default_plugins(precision)
        if beyond := sorted(plugins - usable_plugins(precision)):
            raise EvsamError(f"plugins: expected ones that take {precision}, got {', '.join(beyond)}")
    options = ExportOptions(
        precision, plugins, arguments.masks, arguments.image_size_masks, arguments.opset or default_opset(precision)
    )
    images = _calibration(arguments, weights)
    headroom = HEADROOM if arguments.headroom is None else arguments.headroom
    folder, models = export_onnx(weights, output, options, images, headroom, arguments.threads, _limits(arguments))
    if not quiet:
        if models.report is not None:
            say(models.report.as_text())
            if models.layers is not None:
                say(models.layers.as_text())
            if images is None:
                found = "ranges were" if models.layers is None else "ranges, scales and layers of 8 bits were"
                say(f"{found} found on generated images; --calibration PHOTOS finds those of your photos")
            if models.decoder_precision == "fp32":
                say("the decoder is float32: its values would come too close to the largest float16 number")
        say(f"wrote {output}: {weights.variant.name}, {precision}, {options.flavour} ONNX")
    return folder


def _limits(arguments: argparse.Namespace) -> Limits:
    from evsam.export.sensitivity import Limits

    given = {"cosine": arguments.least_cosine, "iou": arguments.least_iou}
    return Limits(**{name: value for name, value in given.items() if value is not None})


def _calibration(arguments: argparse.Namespace, weights: Weights) -> list[npt.NDArray[np.float32]] | None:
    """The images that were named, else those beside the weights, else None."""
    from evsam.export.calibration import read_calibration, stored_calibration

    if not arguments.calibration:
        return stored_calibration(weights)
    return read_calibration(arguments.calibration, weights.variant.image_size)


def _profiles(arguments: argparse.Namespace) -> Profiles:
    from evsam.engines.tensorrt_runtime.facts import Profiles

    profiles = Profiles()
    if arguments.max_batch is not None:
        profiles = replace(profiles, batch=(1, 1, arguments.max_batch))
    if arguments.max_prompts is not None:
        optimal = min(profiles.prompts[1], arguments.max_prompts)
        profiles = replace(profiles, prompts=(1, optimal, arguments.max_prompts))
    return profiles


def _write_tensorrt(arguments: argparse.Namespace, weights: Weights, output: Path, quiet: bool) -> ExportFolder:
    from evsam.export.folder import LAYERS
    from evsam.export.tensorrt import export_tensorrt

    images = _calibration(arguments, weights)
    folder = export_tensorrt(
        weights,
        output,
        precision=arguments.precision or "fp16",
        plugins=None if arguments.plugins is None else True,
        device=arguments.device,
        profiles=_profiles(arguments),
        calibration=images,
        headroom=arguments.headroom,
        limits=_limits(arguments),
        threads=arguments.threads,
    )
    if not quiet:
        manifest = folder.manifest
        if arguments.precision in QUANTIZED:
            say(f"{output / LAYERS} says which layers read 8 bits, and why not all")
        say(f"wrote {output}: {manifest['variant']}, {manifest['precision']}, {manifest['flavour']} plans for this GPU")
    return folder
