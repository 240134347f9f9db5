"""The model itself: from one launch and one device's numbers to a time.

A kernel takes at least as long as its products take on the tensor cores, its other multiply-adds on the fp32 units, and
its bytes from memory. The longest of the three is its roof. Blocks do not divide evenly among the multiprocessors: the
busiest gets ``ceil(blocks / multiprocessors)`` of them while the mean is less, and the kernel ends with the busiest. So

    time = max(tensor, fp32, memory) / wave efficiency
    wave efficiency = blocks / (multiprocessors * ceil(blocks / multiprocessors))

Left out: what a launch itself costs, latencies that too few warps cannot hide, shared memory, address arithmetic and
element-wise functions, the reading of the same bytes by several blocks. Bytes count at the rate of DRAM even where a
map stays in the second-level cache, which makes small layers look slower than they need to be.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from evsam.gpu_model.devices import Device
from evsam.gpu_model.launches import Launch
from evsam.gpu_model.occupancy import Occupancy, occupancy

__all__ = ["Estimate", "Roof", "estimate"]

Roof = Literal["tensor", "fp32", "memory"]


@dataclass(frozen=True)
class Estimate:
    """A launch on a device.

    Attributes:
        registers: per thread, as compiled for the device.
        occupancy: blocks and warps that a multiprocessor holds.
        waves: blocks of the launch per blocks that the device holds at once.
        efficiency: mean load of a multiprocessor as a fraction of that of the busiest.
        roof: what takes longest.
        roof_seconds: how long, with all multiprocessors busy all the time.
        seconds: the same with the load divided as it is.
    """

    registers: int
    occupancy: Occupancy
    waves: float
    efficiency: float
    roof: Roof
    roof_seconds: float
    seconds: float


def estimate(launch: Launch, device: Device, registers: Mapping[int, int]) -> Estimate:
    """The model of one launch.

    Args:
        launch: what is launched.
        device: on what.
        registers: of the kernel, per compute capability.

    Raises:
        ValueError: the kernel's registers are not known for the device, or not one block fits.
    """
    if device.compute_capability not in registers:
        raise ValueError(f"registers: expected those of {launch.kernel} on sm_{device.compute_capability}, got none")
    per_thread = registers[device.compute_capability]
    residency = occupancy(device.compute_capability, launch.threads, per_thread, launch.shared_bytes)
    if residency.blocks == 0:
        raise ValueError(
            f"{launch.kernel}: expected a block that fits on {device.title}, got {launch.threads} threads, "
            f"{per_thread} registers, {launch.shared_bytes} bytes of shared memory (too many {residency.limiter})"
        )
    bounds: dict[Roof, float] = {
        "tensor": 2e-12 * launch.tensor_macs / device.tensor_tflops,
        "fp32": 2e-12 * launch.fp32_macs / device.fp32_tflops,
        "memory": 1e-9 * launch.bytes / device.dram_gbs,
    }
    roof = max(bounds, key=bounds.__getitem__)
    most = -(-launch.blocks // device.multiprocessors)
    efficiency = launch.blocks / (device.multiprocessors * most)
    return Estimate(
        registers=per_thread,
        occupancy=residency,
        waves=launch.blocks / (device.multiprocessors * residency.blocks),
        efficiency=efficiency,
        roof=roof,
        roof_seconds=bounds[roof],
        seconds=bounds[roof] / efficiency,
    )
