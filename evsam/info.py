"""What this installation can do: variants and their weights, engines, CPU, versions."""

from __future__ import annotations

import platform
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import TypedDict

from evsam.engines import ENGINES, native_fast
from evsam.weights.locate import bundled, cached, packed_dir
from evsam.zoo import VARIANTS, Variant

PACKAGES = ("numpy", "Pillow", "torch", "onnx", "onnxruntime", "tensorrt", "huggingface_hub", "pycocotools")
"""Distributions that evsam uses, if only for some of its parts."""


class VariantInfo(TypedDict):
    """A variant: side of the encoder's image, parameters, multiply-accumulates to encode, and where its weights are."""

    name: str
    image_size: int
    parameters: int
    encoder_macs: int
    weights: str


class EngineState(TypedDict):
    """An engine: whether it can be used, packages that it lacks, and the command that installs them."""

    name: str
    available: bool
    missing: list[str]
    install: str
    summary: str


class IsaKernels(TypedDict):
    """Kernels of this build for an instruction set: of which ops, and whether this CPU can run them."""

    isa: str
    supported: bool
    ops: list[str]


class CpuInfo(TypedDict):
    """The CPU: how many may be used, what it has, kernels of this build, and the instruction set that is chosen.

    ``precisions`` names, for each precision but fp32, the instructions whose kernels compute it; None where it is
    computed in fp32, because this CPU has none that are faster. ``fast`` names, for each variant, the precision that
    ``precision="fast"`` is.
    """

    machine: str
    cpus: int
    features: list[str]
    isa: str
    kernels: list[IsaKernels]
    precisions: dict[str, str | None]
    fast: dict[str, str]


class PackedInfo(TypedDict):
    """Packed weights on disk: their folder, whether models use it unless told, its files, their bytes, the limit."""

    folder: str
    on: bool
    files: int
    bytes: int
    limit: int


class CudaInfo(TypedDict):
    """CUDA kernels: how many this build has, names of the devices that can be used, and why there are none."""

    kernels: int
    devices: list[str]
    problem: str | None


class Info(TypedDict):
    """See :func:`collect`."""

    evsam: str
    python: str
    platform: str
    variants: list[VariantInfo]
    engines: list[EngineState]
    cpu: CpuInfo
    packed: PackedInfo
    cuda: CudaInfo
    packages: dict[str, str | None]


def collect() -> Info:
    """Everything that ``evsam info`` shows. Imports no engine and fetches nothing."""
    from evsam import _C

    return Info(
        evsam=installed("evsam") or "not installed",
        python=platform.python_version(),
        platform=platform.platform(),
        variants=[
            VariantInfo(
                name=variant.name,
                image_size=variant.image_size,
                parameters=variant.parameters,
                encoder_macs=variant.encoder_macs,
                weights=whereabouts(variant),
            )
            for variant in VARIANTS.values()
        ],
        engines=[
            EngineState(
                name=engine.name,
                available=not engine.missing,
                missing=list(engine.missing),
                install=engine.install,
                summary=engine.summary,
            )
            for engine in ENGINES.values()
        ],
        cpu=CpuInfo(
            machine=platform.machine(),
            cpus=_C.usable_cpus(),
            features=[name for name, present in _C.cpu_features().items() if present],
            isa=_C.selected_isa(),
            kernels=cpu_kernels(),
            precisions=_C.narrow_kernels(),
            fast={variant.name: native_fast(variant) for variant in VARIANTS.values()},
        ),
        packed=packed(),
        cuda=cuda(),
        packages={name: installed(name) for name in PACKAGES},
    )


def cpu_kernels() -> list[IsaKernels]:
    """The CPU's kernels in this build, by instruction set."""
    from evsam import _C

    found: dict[str, IsaKernels] = {}
    for kernel in _C.kernels():
        if kernel["op"] != "probes":  # which benchmarks compare with
            entry = IsaKernels(isa=kernel["isa"], supported=kernel["supported"], ops=[])
            found.setdefault(kernel["isa"], entry)["ops"].append(kernel["op"])
    return list(found.values())


def packed() -> PackedInfo:
    """The cache of packed weights."""
    from evsam import _C

    environment = _C.packed_cache_environment()
    try:
        sizes = [path.stat().st_size for path in packed_dir().glob("*.packed")]
    except OSError:  # a folder of somebody else, or a file that is just removed
        sizes = []
    return PackedInfo(
        folder=str(packed_dir()),
        on=environment["on"],
        files=len(sizes),
        bytes=sum(sizes),
        limit=environment["limit"],
    )


def cuda() -> CudaInfo:
    """What ``evsam.ops`` can do with ``backend="cuda"``."""
    try:
        module = import_module("evsam._cuda")
    except ImportError:
        return CudaInfo(kernels=0, devices=[], problem="not in this build: needs -C cmake.define.EVSAM_CUDA=ON")
    return CudaInfo(
        kernels=len(module.kernels()),
        devices=[module.device_name(index) for index in range(module.device_count())],
        problem=module.driver_error(),
    )


def whereabouts(variant: Variant) -> str:
    """Where a variant's weights are: ``bundled`` with evsam, ``cached``, on the ``hub``, or ``missing``."""
    if bundled(variant):
        return "bundled"
    if cached(variant):
        return "cached"
    return "hub" if variant.weights else "missing"


def installed(distribution: str) -> str | None:
    """Version of an installed distribution, or None."""
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None
