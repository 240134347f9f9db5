"""TensorRT plans: built from ONNX models on the machine that is to run them, as files or in the engine's cache."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

import evsam
from evsam.engines.tensorrt_runtime.builder import build_plan, install_folder, strip_functions
from evsam.engines.tensorrt_runtime.facts import ENTRY, BuildOptions, Facts, Profiles
from evsam.engines.tensorrt_runtime.library import NO_PLUGINS, Setup
from evsam.errors import EvsamError
from evsam.export.calibration import stored_calibration
from evsam.export.folder import PARTS, REPORTS, ExportFolder, make_manifest, write_folder
from evsam.export.options import OPSETS, QUANTIZED, ExportOptions, ExportPrecision, default_plugins
from evsam.record import write_record
from evsam.weights import encoder_fingerprint
from evsam.weights.locate import cache_dir
from evsam.writing import locked

if TYPE_CHECKING:
    from evsam.export.onnx import Models, Pixels
    from evsam.export.sensitivity import Limits
    from evsam.weights import Weights
    from evsam.zoo import Variant

__all__ = [
    "BuildOptions",
    "Plans",
    "Profiles",
    "build_plan",
    "cached_plans",
    "export_tensorrt",
    "plan_cache",
    "strip_functions",
]

logger = logging.getLogger("evsam.tensorrt")


@dataclass(frozen=True)
class Plans:
    """The plans of a model, in memory.

    Attributes:
        manifest: what is stored with them.
        facts: what they depend on.
        data: bytes of ``encoder`` and ``decoder``.
    """

    manifest: Mapping[str, Any]
    facts: Facts
    data: Mapping[str, bytes]

    @property
    def digest(self) -> str:
        """What tells them from others of the same key, since no two builds are the same."""
        return ",".join(self.manifest["files"][part]["sha256"] for part in PARTS)


def export_tensorrt(
    source: Weights | ExportFolder,
    folder: str | os.PathLike[str],
    *,
    precision: ExportPrecision = "fp16",
    plugins: bool | None = None,
    device: str | None = None,
    profiles: Profiles | None = None,
    options: BuildOptions | None = None,
    calibration: Pixels | None = None,
    headroom: float | None = None,
    limits: Limits | None = None,
    threads: int | None = None,
) -> ExportFolder:
    """Write the plans of a model for this machine's GPU: ``encoder.plan``, ``decoder.plan`` and ``evsam.json``.

    Beside them is what was found when the model was made, see :func:`evsam.export.onnx.export_onnx`.

    Args:
        source: the weights, or a folder with a model that was exported as ONNX, whose precision and flavour then hold.
        folder: to write to; made if it is missing.
        precision: ``fp32``, ``fp16``, ``int8`` or ``fp8``.
        plugins: whether evsam's plugins replace groups of layers; None for where this build of evsam has them.
        device: ``cuda``, ``cuda:N`` or None.
        profiles: limits of the shapes, None for the default ones.
        options: of TensorRT's builder, None for the default ones.
        calibration: see :func:`evsam.export.onnx.build_models`.
        headroom: see :func:`evsam.export.ranges.fold_ranges`, None for the default one.
        limits: see :func:`evsam.export.onnx.build_models`, None for the default ones.
        threads: upper limit of CPU threads for the calibration.

    Returns:
        The folder.

    Raises:
        BackendUnavailable: a package, the device, or demanded plugins are missing.
        EvsamError: TensorRT refuses the model, or the folder is damaged or holds no ONNX model.
        OSError: the folder cannot be written to.
    """
    if isinstance(source, ExportFolder):
        if source.kind != "onnx":
            raise EvsamError(f"source: expected a model that was exported as ONNX, got one of kind {source.kind}")
        model: _Model = _FolderModel(source)
        setup = Setup.find(device, model.flavour == "plugins")
    else:
        setup = Setup.find(device, plugins)
        model = _WeightsModel(source, precision, setup.has_plugins, calibration, headroom, limits, threads)
    plans = _build(setup, model, profiles or Profiles(), options or BuildOptions())
    write_folder(Path(folder), plans.data, plans.manifest, model.reports())
    return ExportFolder.open(Path(folder))


def plan_cache() -> Path:
    """The folder in which the engine keeps plans, one folder for each model."""
    return cache_dir() / "tensorrt"


def cached_plans(
    setup: Setup,
    weights: Weights,
    precision: ExportPrecision,
    *,
    profiles: Profiles | None = None,
    options: BuildOptions | None = None,
    threads: int | None = None,
    unusable: str | None = None,
) -> Plans:
    """The plans of a model for this machine, from the cache, or built and put there.

    Processes that want the same plans wait for the one that builds them.

    Args:
        setup: device and TensorRT; plugins are used if it has them.
        weights: the model.
        precision: ``fp32``, ``fp16``, ``int8`` or ``fp8``; the last two find scales on the photos that lie beside the
            weights, or on generated images, about which there is a warning.
        profiles: limits of the shapes, None for the default ones.
        options: of TensorRT's builder, None for the default ones.
        threads: upper limit of CPU threads for the calibration.
        unusable: digest of plans of the cache that could not be used, which are built again.

    Raises:
        BackendUnavailable: a package is missing.
        EvsamError: TensorRT refuses the model.
    """
    profiles, options = profiles or Profiles(), options or BuildOptions()
    model = _WeightsModel(weights, precision, setup.has_plugins, threads=threads)
    path = plan_cache() / _facts(setup, model, profiles, options).key
    plans = None
    try:
        with locked(path):
            plans = _read(path)
            if plans is None or plans.digest == unusable:
                plans = _build(setup, model, profiles, options)
                install_folder(path, plans.data, plans.manifest)
    except OSError as error:
        logger.warning("the plans cannot be kept in %s, and will be built again: %s", plan_cache(), str(error))
    return plans or _build(setup, model, profiles, options)


def _read(path: Path) -> Plans | None:
    """What the cache has, or None."""
    if not path.exists():
        return None
    try:
        folder = ExportFolder.open(path)
        return Plans(folder.manifest, Facts.read(folder), {part: folder.read(part) for part in PARTS})
    except EvsamError as error:
        logger.warning("plans are built again: %s", str(error))
        return None


def _build(setup: Setup, model: _Model, profiles: Profiles, options: BuildOptions) -> Plans:
    device, library = setup.device, setup.library
    facts = _facts(setup, model, profiles, options)
    # A warning, since Python shows those, and nobody should think that the program hangs.
    logger.warning(
        "building TensorRT plans of %s (%s, %s) for %s, which takes minutes",
        model.variant.name,
        model.precision,
        model.flavour,
        device.name,
    )
    measured = f"{device.name} {device.compute_capability} {library.version}"
    timing_cache = plan_cache() / f"timings-{hashlib.sha256(measured.encode()).hexdigest()[:16]}"
    shapes = {"encoder": profiles.encoder(model.variant), "decoder": profiles.decoder(model.variant)}
    data = {}
    with device.current():
        for part in PARTS:
            data[part] = build_plan(
                library,
                device,
                model.part(part),
                shapes[part],
                label=f"{part} of {model.variant.name}",
                options=options,
                timing_cache=timing_cache,
            )
    manifest = make_manifest(
        "tensorrt",
        model.variant,
        model.precision,
        model.flavour,
        model.fingerprint,
        data,
        "plan",
        key=facts.key,
        **{ENTRY: facts.as_json()},
    )
    return Plans(manifest, facts, data)


def _facts(setup: Setup, model: _Model, profiles: Profiles, options: BuildOptions) -> Facts:
    plugins = setup.plugins if model.flavour == "plugins" else NO_PLUGINS
    return Facts(
        setup.machine(plugins),
        model.digest,
        model.precision,
        model.flavour,
        profiles.as_json(),
        options.as_json(),
    )


class _Model(Protocol):
    """An ONNX model of both parts.

    Attributes:
        variant: what it is a model of.
        precision: ``fp32``, ``fp16``, ``int8`` or ``fp8``.
        flavour: ``plain`` or ``plugins``.
        fingerprint: of the encoder's weights.
        digest: of all that it is made from.
    """

    variant: Variant
    precision: str
    flavour: str
    fingerprint: str
    digest: str

    def part(self, name: str) -> bytes:
        """The ``encoder`` or the ``decoder``."""

    def reports(self) -> Mapping[str, Any]:
        """What was found when it was made, by name of file."""


class _WeightsModel:
    """A model that is made from weights when it is needed."""

    def __init__(
        self,
        weights: Weights,
        precision: ExportPrecision,
        plugins: bool,
        calibration: Pixels | None = None,
        headroom: float | None = None,
        limits: Limits | None = None,
        threads: int | None = None,
    ) -> None:
        from evsam.export.onnx import EXPORTER

        if calibration is None and precision in QUANTIZED:
            calibration = stored_calibration(weights)
        self._weights = weights
        self._options = ExportOptions(
            precision, default_plugins(precision) if plugins else frozenset(), opset=OPSETS[-1]
        )
        self._calibration = calibration
        self._headroom = headroom
        self._limits = limits
        self._threads = threads
        self._models: Models | None = None
        self.variant = weights.variant
        self.precision: str = precision
        self.flavour = self._options.flavour
        self.fingerprint = encoder_fingerprint(weights)
        made_by = f"{evsam.__version__} {EXPORTER} {sorted(self._options.plugins)} {self._headroom} {self._limits}"
        digest = hashlib.sha256(f"{made_by} {write_record(weights.variant)}".encode())
        for name in sorted(weights.tensors):
            digest.update(name.encode())
            digest.update(np.ascontiguousarray(weights.tensors[name]).data)
        for image in calibration or ():
            digest.update(np.ascontiguousarray(image).data)
        self.digest = digest.hexdigest()

    def part(self, name: str) -> bytes:
        from evsam.export.onnx import build_models
        from evsam.export.ranges import HEADROOM

        if self._models is None:
            if self._calibration is None and self.precision in QUANTIZED:
                logger.warning(
                    "scales of %s are found on generated images; evsam export --calibration finds those of your photos",
                    self.precision,
                )
            headroom = HEADROOM if self._headroom is None else self._headroom
            self._models = build_models(
                self._weights, self.precision, self._options, self._calibration, headroom, self._threads, self._limits
            )
        model = self._models.encoder if name == "encoder" else self._models.decoder
        return bytes(model.SerializeToString())

    def reports(self) -> Mapping[str, Any]:
        return {} if self._models is None else self._models.reports


class _FolderModel:
    """A model that was exported as ONNX."""

    def __init__(self, folder: ExportFolder) -> None:
        self._folder = folder
        self.variant = folder.variant
        self.precision = str(folder.manifest["precision"])
        self.flavour = str(folder.manifest["flavour"])
        self.fingerprint = folder.fingerprint
        files = "".join(folder.manifest["files"][part]["sha256"] for part in PARTS)
        self.digest = hashlib.sha256(files.encode()).hexdigest()

    def part(self, name: str) -> bytes:
        return self._folder.read(name)

    def reports(self) -> Mapping[str, Any]:
        files = [self._folder.path / name for name in REPORTS]
        return {file.name: json.loads(file.read_text(encoding="utf-8")) for file in files if file.exists()}
