"""Writing a model as ONNX files."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

from evsam.export.build import Models, Pixels, build_models
from evsam.export.folder import RANGES, ExportFolder, make_manifest, write_folder
from evsam.export.onnx import EXPORTER
from evsam.export.options import ExportOptions
from evsam.export.ranges import HEADROOM
from evsam.weights.atomic import replaced
from evsam.weights.fingerprint import encoder_fingerprint

if TYPE_CHECKING:
    from evsam.weights import Weights


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
        calibration: see :func:`evsam.export.build.build_models`.
        headroom: see :func:`evsam.export.ranges.fold_ranges`.
        threads: upper limit of CPU threads for the calibration.

    Returns:
        The folder, and what was written.

    Raises:
        EvsamError: see :func:`evsam.export.build.build_models`.
        OSError: the folder cannot be written to.
    """
    options = options or ExportOptions()
    models = build_models(weights, options.precision, options, calibration, headroom, threads)
    path = Path(folder)
    files = {"encoder": models.encoder.SerializeToString(), "decoder": models.decoder.SerializeToString()}
    manifest = make_manifest(
        "onnx",
        weights.variant.name,
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
    )
    path.mkdir(parents=True, exist_ok=True)
    (path / RANGES).unlink(missing_ok=True)
    if models.report is not None:
        with replaced(path / RANGES) as temporary:
            temporary.write_text(json.dumps(models.report.as_json(), indent=1) + "\n", encoding="utf-8")
    write_folder(path, files, manifest)
    return ExportFolder(path, manifest), models
