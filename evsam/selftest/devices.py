"""GPUs as data-sheet numbers. Nothing here was measured, and boost clocks are rarely kept up by a real workload."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

__all__ = ["DEVICES", "Device", "data_sheet", "get_device"]

MIB = 1 << 20


@dataclass(frozen=True)
class Device:
    """One GPU.

    Attributes:
        name: how the command line calls it.
        title: its full name.
        driver_name: part of what the driver calls it. Modules of other sizes can have the same one.
        compute_capability: as in ``sm_87``: 87.
        multiprocessors: streaming multiprocessors.
        clock_mhz: boost clock at which the rates below hold.
        tensor_tflops: 10^12 FLOP/s of dense fp16 products with fp32 accumulation on the tensor cores.
        fp32_tflops: 10^12 FLOP/s of fp32 fused multiply-adds outside the tensor cores.
        dram_gbs: 10^9 bytes/s of memory bandwidth.
        l2_bytes: size of the second-level cache.
        sources: where each of these numbers comes from, by its name.
        note: what the numbers do not say about the kernels of this package.
    """

    name: str
    title: str
    driver_name: str
    compute_capability: int
    multiprocessors: int
    clock_mhz: float
    tensor_tflops: float
    fp32_tflops: float
    dram_gbs: float
    l2_bytes: int
    # A plain dict, left out of the hash: read-only views can be neither hashed nor pickled, records must be both.
    sources: Mapping[str, str] = field(default_factory=dict, hash=False)
    note: str = ""


_A100_SHEET = "NVIDIA A100 Tensor Core GPU data sheet, A100 80GB SXM"
_A100_PAPER = "NVIDIA A100 Tensor Core GPU Architecture white paper, table of A100 SXM4"

_A100 = Device(
    name="a100",
    title="NVIDIA A100 SXM 80GB",
    driver_name="A100-SXM4-80GB",
    compute_capability=80,
    multiprocessors=108,
    clock_mhz=1410,
    tensor_tflops=312,
    fp32_tflops=19.5,
    dram_gbs=2039,
    l2_bytes=40 * MIB,
    sources={
        "compute_capability": _A100_PAPER,
        "multiprocessors": _A100_PAPER,
        "clock_mhz": _A100_PAPER,
        "tensor_tflops": f"{_A100_SHEET}: 312, 624 with sparsity",
        "fp32_tflops": _A100_SHEET,
        "dram_gbs": _A100_SHEET,
        "l2_bytes": _A100_PAPER,
    },
)

_H100_SHEET = "NVIDIA H100 Tensor Core GPU data sheet, H100 SXM"
_H100_PAPER = "NVIDIA H100 Tensor Core GPU Architecture white paper, table of H100 SXM5"

_H100 = Device(
    name="h100",
    title="NVIDIA H100 SXM",
    driver_name="H100 80GB HBM3",
    compute_capability=90,
    multiprocessors=132,
    clock_mhz=1830,
    tensor_tflops=989,
    fp32_tflops=67,
    dram_gbs=3350,
    l2_bytes=50 * MIB,
    sources={
        "compute_capability": _H100_PAPER,
        "multiprocessors": _H100_PAPER,
        "clock_mhz": f"{_H100_PAPER}: of the tensor cores' rates; the rate of fp32 is given for 1980 MHz",
        "tensor_tflops": f"{_H100_SHEET}: 1979 with sparsity, half of it without",
        "fp32_tflops": _H100_SHEET,
        "dram_gbs": f"{_H100_SHEET}: 3.35 TB/s",
        "l2_bytes": _H100_PAPER,
    },
    note="the tensor rate needs wgmma; mma.sync, which the kernels use, stays clearly below it (arXiv 2402.13499)",
)

_ORIN_BRIEF = "NVIDIA Jetson AGX Orin Series technical brief, Jetson AGX Orin 64GB"

_ORIN = Device(
    name="orin",
    title="NVIDIA Jetson AGX Orin 64GB",
    driver_name="Orin",
    compute_capability=87,
    multiprocessors=16,
    clock_mhz=1300,
    tensor_tflops=42.5,
    fp32_tflops=5.3,
    dram_gbs=204.8,
    l2_bytes=4 * MIB,
    sources={
        "compute_capability": "NVIDIA, list of CUDA GPUs and their compute capability",
        "multiprocessors": _ORIN_BRIEF,
        "clock_mhz": f"{_ORIN_BRIEF}: MAXN power mode",
        "tensor_tflops": (
            f"not stated: a quarter of the 170 sparse INT8 TOPS in {_ORIN_BRIEF}; that fp32 accumulation is as fast as "
            "fp16 accumulation is assumed"
        ),
        "fp32_tflops": _ORIN_BRIEF,
        "dram_gbs": f"{_ORIN_BRIEF}: shared with the CPU",
        "l2_bytes": _ORIN_BRIEF,
    },
)

_THOR_SHEET = "NVIDIA Jetson Thor series modules data sheet, T5000"
_THOR_QUERY = "CUDA driver queries of a Jetson AGX Thor, quoted in NVIDIA's developer forum, topic 356355"

_THOR = Device(
    name="thor",
    title="NVIDIA Jetson AGX Thor (T5000)",
    driver_name="Thor",
    compute_capability=110,
    multiprocessors=20,
    clock_mhz=1575,
    tensor_tflops=258,
    fp32_tflops=8.064,
    dram_gbs=273,
    l2_bytes=32 * MIB,
    sources={
        "compute_capability": "NVIDIA, list of CUDA GPUs and their compute capability",
        "multiprocessors": f"{_THOR_QUERY}; 2560 CUDA cores in {_THOR_SHEET}",
        "clock_mhz": f"{_THOR_SHEET}: 1.57 GHz, the digit after it from the rate of fp32",
        "tensor_tflops": (
            f"not stated: an eighth of the 2070 sparse FP4 TFLOPS in {_THOR_SHEET}, as the formats of the fifth "
            "generation of tensor cores halve the rate from FP4 to FP8 to FP16 and sparsity doubles it"
        ),
        "fp32_tflops": "not stated: 2560 CUDA cores, two operations per clock",
        "dram_gbs": f"{_THOR_SHEET}: shared with the CPU",
        "l2_bytes": _THOR_QUERY,
    },
    note="the tensor rate needs tcgen05; what mma.sync, which the kernels use, reaches was found in no source",
)

DEVICES: Mapping[str, Device] = MappingProxyType({device.name: device for device in (_A100, _H100, _ORIN, _THOR)})
"""All devices by name. A source that begins with "not stated" marks a number that was derived, and says from what."""


def get_device(name: str) -> Device:
    """The device called ``name``.

    Raises:
        ValueError: no device has that name; the message lists those that exist.
    """
    if name not in DEVICES:
        raise ValueError(f"device: expected one of {', '.join(DEVICES)}, got {name!r}")
    return DEVICES[name]


def data_sheet(name: str, multiprocessors: int) -> Device | None:
    """The device with this name in the driver's words ("NVIDIA A100-SXM4-80GB", "Orin"), if its data sheet is known.

    Args:
        name: as the driver has it.
        multiprocessors: tells modules of one name apart, most of the time.
    """
    for device in DEVICES.values():
        if device.driver_name in name and device.multiprocessors == multiprocessors:
            return device
    return None
