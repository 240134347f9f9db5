"""The engines by name, and how one is chosen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from types import MappingProxyType
from typing import TYPE_CHECKING

from evsam.engines.base import Engine
from evsam.errors import BackendUnavailable, warn

if TYPE_CHECKING:
    from evsam.export.folder import ExportFolder
    from evsam.weights import Weights
    from evsam.zoo import Variant

__all__ = ["ENGINES", "FAST", "Engine", "EngineInfo", "chosen_precision", "create_engine", "open_folder"]

FAST = "fast"
"""What users call the precision that :func:`chosen_precision` chooses."""


@dataclass(frozen=True, kw_only=True)
class EngineInfo:
    """How to make an engine, without importing it.

    Attributes:
        name: how users call it.
        module: what defines ``create(weights, threads, device, precision) -> Engine``.
        summary: one line for people who choose.
        requires: packages outside evsam's own dependencies that it imports.
        extra: the extra of the evsam distribution that installs them, empty if there is nothing to install.
        devices: kinds of devices that it computes on, without their numbers; its default first.
        precisions: precisions that it computes in; its default first.
        fast: the one of them that ``fast`` means, empty where that depends on CPU and model.
        opens: kind of the exported models that it opens, empty for none.
        packs: whether it can keep packed weights on disk; its ``create`` then takes ``packed_cache`` too.
    """

    name: str
    module: str
    summary: str
    requires: tuple[str, ...] = ()
    extra: str = ""
    devices: tuple[str, ...] = ("cpu",)
    precisions: tuple[str, ...] = ("fp32",)
    fast: str = "fp32"
    opens: str = ""
    packs: bool = False

    @property
    def missing(self) -> tuple[str, ...]:
        """Required packages that are not installed."""
        return tuple(package for package in self.requires if find_spec(package) is None)

    @property
    def install(self) -> str:
        """The command that installs what the engine requires."""
        return f"pip install 'evsam[{self.extra}]'" if self.extra else "pip install evsam"


ENGINES: Mapping[str, EngineInfo] = MappingProxyType(
    {
        engine.name: engine
        for engine in (
            EngineInfo(
                name="native",
                module="evsam.engines.native",
                summary="compiled, on the CPU; needs no other package",
                precisions=("fp32", "bf16", "fp16", "int8"),
                fast="",
                packs=True,
            ),
            EngineInfo(
                name="torch",
                module="evsam.engines.torch",
                summary="PyTorch on CPU, CUDA or Apple GPUs; the reference",
                requires=("torch",),
                extra="torch",
                devices=("cpu", "cuda", "mps"),
            ),
            EngineInfo(
                name="onnxruntime",
                module="evsam.engines.onnxruntime",
                summary="ONNX models, for hardware that only speaks ONNX",
                requires=("onnxruntime", "onnx"),
                extra="onnx",
                devices=("cpu", "cuda", "tensorrt"),
                precisions=("fp32", "fp16"),
                opens="onnx",
            ),
            EngineInfo(
                name="tensorrt",
                module="evsam.engines.tensorrt",
                summary="NVIDIA GPUs by TensorRT; builds plans first, which takes minutes",
                requires=("tensorrt", "cuda", "onnx", "onnxruntime"),
                extra="tensorrt",
                devices=("cuda",),
                precisions=("fp16", "fp32", "int8", "fp8"),
                fast="fp16",
                opens="tensorrt",
            ),
        )
    }
)
"""Every engine of this version; ``auto`` takes the first that is installed and has the device and the precision.

Where that is another one because of the precision, an :class:`evsam.errors.EvsamWarning` says so.
"""


def create_engine(
    name: str,
    weights: Weights,
    threads: int | None = None,
    device: str | None = None,
    precision: str | None = None,
    packed_cache: bool | None = None,
) -> Engine:
    """Make an engine for a model.

    Args:
        name: one of :data:`ENGINES`, or ``auto`` for the first that is available.
        weights: the model.
        threads: upper limit of CPU threads, None for the engine's own choice.
        device: where to compute, None for the engine's own choice.
        precision: ``fp32``, ``bf16``, ``fp16``, ``int8`` or ``fp8``; ``fast``, see :func:`chosen_precision`; None for
            the engine's own choice.
        packed_cache: whether to keep packed weights on disk; None for what ``EVSAM_PACKED_CACHE`` says.

    Raises:
        BackendUnavailable: no engine has that name, packages that it needs are missing, or it lacks the device, the
            precision or the cache.
    """
    engine = find_engine(name, device, precision)
    chosen = chosen_precision(engine, weights.variant, precision)
    create = import_module(engine.module).create
    if engine.packs:
        return create(weights, threads, device, chosen, packed_cache)  # type: ignore[no-any-return]
    refuse_packed_cache(engine, packed_cache)
    return create(weights, threads, device, chosen)  # type: ignore[no-any-return]


def refuse_packed_cache(engine: EngineInfo, packed_cache: bool | None) -> None:
    """Raise a BackendUnavailable if a cache is wanted of an engine that has nothing to keep."""
    if packed_cache:
        able = " or ".join(each.name for each in ENGINES.values() if each.packs)
        raise BackendUnavailable(f"packed_cache: expected engine {able}, which packs weights, got {engine.name}")


def chosen_precision(engine: EngineInfo, variant: Variant, precision: str | None) -> str:
    """The precision that users mean by a name or by None.

    ``fast`` is the narrowest that is faster and in which masks keep a mean IoU of .99 with those of ``fp32`` on photos,
    as far as that is known (csrc/narrow/README.md): for the native engine on this CPU, for such a model.
    """
    if precision is None:
        return engine.precisions[0]
    if precision != FAST:
        return precision
    return engine.fast or native_fast(variant)


def native_fast(variant: Variant) -> str:
    """What ``fast`` is for the native engine on this CPU."""
    from evsam import _C

    return _C.fast_precisions()[variant.decoder.kind]


def open_folder(
    folder: ExportFolder,
    name: str,
    threads: int | None,
    device: str | None,
    precision: str | None,
    packed_cache: bool | None = None,
) -> Engine:
    """Make an engine for an exported model.

    Args:
        folder: with the model.
        name: one of :data:`ENGINES`, or ``auto`` for the one that opens such models.
        threads: upper limit of CPU threads, None for the engine's own choice.
        device: where to compute, None for the engine's own choice.
        precision: that the model is expected to have; None and ``fast`` take the one that it has.
        packed_cache: whether to keep packed weights on disk, which engines of exported models do not.

    Raises:
        BackendUnavailable: the engine does not open such models, lacks the cache, or packages that it needs are
            missing.
        EvsamError: the model is damaged, of another precision, or not for this machine.
    """
    able = [engine.name for engine in ENGINES.values() if engine.opens == folder.kind]
    if not able or name not in ("auto", *able):
        raise BackendUnavailable(
            f"engine: expected {' or '.join(('auto', *able))} for an exported model of kind {folder.kind}, got {name!r}"
        )
    has = folder.manifest["precision"]
    if precision not in (None, FAST, has):
        raise BackendUnavailable(f"precision: expected {has}, {FAST} or None for {folder.path}, got {precision!r}")
    engine = find_engine(able[0], device)
    refuse_packed_cache(engine, packed_cache)
    module = import_module(engine.module)
    return module.open_folder(folder, threads, device)  # type: ignore[no-any-return]


def find_engine(name: str, device: str | None = None, precision: str | None = None) -> EngineInfo:
    """The engine called ``name``, or for ``auto`` the first that fits, if all that it needs is installed.

    Whether a device is really there is for the engine to find out. Warns where ``auto`` takes another engine than it
    would without the precision.

    Raises:
        BackendUnavailable: no engine has that name, packages that it needs are missing, or it lacks the precision.
    """
    if name == "auto":
        return _with_precision(_find_any(device, precision), precision)
    if name not in ENGINES:
        raise BackendUnavailable(f"engine: expected one of auto, {', '.join(ENGINES)}, got {name!r}")
    engine = ENGINES[name]
    if engine.missing:
        raise BackendUnavailable(
            f"engine: {name} needs {', '.join(engine.missing)}, not installed here; use {engine.install}"
        )
    return _with_precision(engine, precision)


def _find_any(device: str | None, precision: str | None) -> EngineInfo:
    able = [engine for engine in ENGINES.values() if _fits(engine, device, precision)] or list(ENGINES.values())
    found = next((engine for engine in able if not engine.missing), None)
    if found is None:
        what = "" if precision is None else f" that computes in {precision}"
        commands = " or ".join(engine.install for engine in able)
        raise BackendUnavailable(
            f"engine: expected at least one engine{what} to be installed, got none; use {commands}"
        )
    here = [engine for engine in ENGINES.values() if _fits(engine, device, None) and not engine.missing]
    if here and (usual := here[0]) is not found:
        warn(
            f"engine: {usual.name} has no {precision} on {device or usual.devices[0]}, {found.name} computes instead; "
            f"give engine={found.name!r} to take it without this warning"
        )
    return found


def _fits(engine: EngineInfo, device: str | None, precision: str | None) -> bool:
    kind = None if device is None else device.partition(":")[0]
    return (kind is None or kind in engine.devices) and precision in (None, FAST, *engine.precisions)


def _with_precision(engine: EngineInfo, precision: str | None) -> EngineInfo:
    if precision not in (None, FAST, *engine.precisions):
        raise BackendUnavailable(
            f"precision: expected {' or '.join((*engine.precisions, FAST))} for engine {engine.name}, got {precision!r}"
        )
    return engine
