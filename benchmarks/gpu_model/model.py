"""The model: from launches and a device's data sheet to times, as data and as text.

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

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from benchmarks.gpu_model.launches import Launch
from benchmarks.gpu_model.occupancy import Occupancy, occupancy
from evsam.costs import FP16, MapOp
from evsam.layers import PHOTO, encoder_ops
from evsam.selftest.devices import Device
from evsam.zoo import Variant

__all__ = ["LABEL", "Estimate", "Model", "Roof", "Row", "as_json", "as_text", "estimate", "model_encoder"]

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


LABEL = "model, not a measurement"


@dataclass(frozen=True)
class Row:
    """One launch of the encoder on one device."""

    op: MapOp
    launch: Launch
    estimate: Estimate


@dataclass(frozen=True)
class Model:
    """A variant's encoder on a device.

    Attributes:
        variant: a record of :mod:`evsam.zoo`.
        device: on what.
        batch: images at once.
        rows: every launch, in order.
        missing: ops that no CUDA kernel does, or one whose registers are not known; they are in no sum.
    """

    variant: Variant
    device: Device
    batch: int
    rows: Sequence[Row]
    missing: Sequence[MapOp]

    @property
    def seconds(self) -> float:
        """Time of all launches."""
        return sum(row.estimate.seconds for row in self.rows)

    @property
    def roof_seconds(self) -> float:
        """The same if blocks divided evenly among the multiprocessors."""
        return sum(row.estimate.roof_seconds for row in self.rows)

    @property
    def flops(self) -> int:
        """Floating-point operations of all launches."""
        return sum(row.launch.flops for row in self.rows)

    @property
    def bytes(self) -> dict[str, int]:
        """Moved by the launches, by one kernel per layer, and at least, if each op kept everything inside."""
        ops = list({row.op.layer: row.op for row in self.rows}.values())
        return {
            "launches": sum(row.launch.bytes for row in self.rows),
            "separate": sum(op.separate_bytes(FP16) for op in ops),
            "compulsory": sum(op.bytes(FP16) for op in ops),
        }


def model_encoder(
    variant: Variant,
    device: Device,
    batch: int,
    registers: Mapping[str, Mapping[int, int]],
    launches_of: Callable[[MapOp, Device], Sequence[Launch]],
) -> Model:
    """The model of encoding ``batch`` photos.

    Args:
        variant: a record of :mod:`evsam.zoo`.
        device: on what.
        batch: images at once.
        registers: per thread, by kernel and compute capability.
        launches_of: the launches of an op, as its launcher makes them.

    Raises:
        ValueError: the batch is not positive, or a kernel does not fit on the device.
    """
    rows: list[Row] = []
    missing: list[MapOp] = []
    for op in encoder_ops(variant, batch):
        launches = launches_of(op, device)
        if launches and all(launch.kernel in registers for launch in launches):
            rows += [Row(op, launch, estimate(launch, device, registers[launch.kernel])) for launch in launches]
        else:
            missing.append(op)
    return Model(variant, device, batch, rows, missing)


def as_json(models: Sequence[Model]) -> dict[str, Any]:
    """All numbers, with the sources of the devices' numbers, for ``json.dump``. Times are in seconds."""
    return {
        "kind": LABEL,
        "photo": list(PHOTO),
        "models": [
            {
                "variant": model.variant.name,
                "batch": model.batch,
                "device": asdict(model.device),
                "seconds": model.seconds,
                "roof_seconds": model.roof_seconds,
                "flops": model.flops,
                "bytes": model.bytes,
                "kernels": [_kernel(row) for row in model.rows],
                "without_kernel": [op.layer for op in model.missing],
            }
            for model in models
        ],
    }


def _kernel(row: Row) -> dict[str, Any]:
    launch = row.launch
    rates = {"blocks": launch.blocks, "flops": launch.flops, "flop_per_byte": launch.intensity}
    place = {"layer": row.op.layer, "op": row.op.name, "shape": row.op.shape}
    return {**place, **asdict(launch), **rates, **asdict(row.estimate)}


def as_text(model: Model) -> str:
    """A table; launches that are alike share a line."""
    device = model.device
    rates = (
        f"{device.tensor_tflops:g} TFLOP/s tensor, {device.fp32_tflops:g} TFLOP/s fp32, {device.dram_gbs:g} GB/s "
        "(data-sheet numbers, --json names their sources)"
    )
    lines = [
        f"{model.variant.name}, batch {model.batch}, fp16 on {device.title}: {LABEL}",
        f"{device.multiprocessors} multiprocessors, {rates}",
        *([device.note] if device.note else []),
    ]
    width = max(map(len, ["kernel", *(row.launch.kernel for row in model.rows)]))
    lines.append(
        f"\n{'kernel':<{width}} {'calls':>5} {'GFLOP':>8} {'MB':>8} {'FLOP/B':>7} {'blocks':>7} {'regs':>4} {'KiB':>5} "
        f"{'occ.':>5} {'waves':>6} {'roof':<6} {'us':>8}  shape"
    )
    alike: dict[tuple[Launch, str], list[Row]] = {}
    for row in model.rows:
        alike.setdefault((row.launch, row.op.shape), []).append(row)
    lines += [_line(group[0], len(group), width) for group in alike.values()]
    return "\n".join([*lines, "", *_summary(model)])


def _line(row: Row, calls: int, width: int) -> str:
    launch, result = row.launch, row.estimate
    microseconds = 1e6 * calls * result.seconds
    return (
        f"{launch.kernel:<{width}} {calls:>5} {1e-9 * launch.flops:>8.3f} {1e-6 * launch.bytes:>8.2f} "
        f"{launch.intensity:>7.1f} {launch.blocks:>7} {result.registers:>4} {launch.shared_bytes / 1024:>5.1f} "
        f"{result.occupancy.fraction:>5.0%} {result.waves:>6.2f} {result.roof:<6} {microseconds:>8.1f}  {row.op.shape}"
    )


def _summary(model: Model) -> list[str]:
    moved = {name: 1e-6 * count for name, count in model.bytes.items()}
    work = f"{1e-9 * model.flops:.1f} GFLOP in {len(model.rows)} launches, whose latencies are not included"
    bounds = f"{moved['separate']:.1f} MB by one kernel per layer, {moved['compulsory']:.1f} MB at least"
    lines = [
        f"sum: {1e3 * model.seconds:.3f} ms ({1e3 * model.roof_seconds:.3f} ms if blocks divided evenly), {work}",
        f"bytes: {moved['launches']:.1f} MB by these kernels, {bounds}",
    ]
    if model.missing:
        lines.append(f"in no sum, for want of a kernel in the table: {', '.join(op.layer for op in model.missing)}")
    return lines
