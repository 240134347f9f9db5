"""The model of a variant's encoder on the devices, as data and as text: what ``evsam bench --model-gpu`` shows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from evsam.gpu_model.devices import Device
from evsam.gpu_model.estimate import Estimate, estimate
from evsam.gpu_model.launches import Launch
from evsam.gpu_model.layers import PHOTO, encoder_ops
from evsam.gpu_model.ops import Op
from evsam.zoo import Variant

__all__ = ["LABEL", "Row", "as_json", "as_text", "model_encoder"]

LABEL = "model, not a measurement"

Registers = Mapping[str, Mapping[int, int]]
"""Registers per thread, by kernel and compute capability."""


@dataclass(frozen=True)
class Row:
    """One launch of the encoder on one device."""

    op: Op
    launch: Launch
    estimate: Estimate


def model_encoder(
    variant: Variant,
    device: Device,
    batch: int,
    registers: Registers,
    launches_of: Callable[[Op, Device], Sequence[Launch]],
) -> list[Row]:
    """Every launch that encodes ``batch`` photos, in order.

    Args:
        variant: a record of :mod:`evsam.zoo`.
        device: on what.
        batch: images at once.
        registers: of every kernel.
        launches_of: the launches of an op, as its launcher makes them.

    Raises:
        ValueError: the batch is not positive, an op has no kernel, or the registers of one are not known.
    """
    rows = []
    for op in encoder_ops(variant, batch):
        for launch in launches_of(op, device):
            if launch.kernel not in registers:
                raise ValueError(f"registers: expected those of {launch.kernel}, got none")
            rows.append(Row(op, launch, estimate(launch, device, registers[launch.kernel])))
    return rows


def as_json(variant: Variant, batch: int, modelled: Mapping[Device, Sequence[Row]]) -> dict[str, Any]:
    """All numbers, with the sources of the devices' numbers, for ``json.dump``."""
    return {
        "kind": LABEL,
        "variant": variant.name,
        "batch": batch,
        "photo": list(PHOTO),
        "devices": [
            {**asdict(device), "sources": dict(device.sources), **_totals(rows), "kernels": [_kernel(r) for r in rows]}
            for device, rows in modelled.items()
        ],
    }


def _kernel(row: Row) -> dict[str, Any]:
    launch, result = row.launch, row.estimate
    return {
        "layer": row.op.layer,
        "op": row.op.name,
        "shape": row.op.shape,
        **asdict(launch),
        "grid": list(launch.grid),
        "blocks": launch.blocks,
        "flops": launch.flops,
        "flop_per_byte": launch.intensity,
        **asdict(result),
    }


def _totals(rows: Sequence[Row]) -> dict[str, Any]:
    ops = list({row.op.layer: row.op for row in rows}.values())
    return {
        "seconds": sum(row.estimate.seconds for row in rows),
        "roof_seconds": sum(row.estimate.roof_seconds for row in rows),
        "flops": sum(row.launch.flops for row in rows),
        "bytes": {
            "launches": sum(row.launch.bytes for row in rows),
            "compulsory": sum(op.compulsory_bytes for op in ops),
            "separate_ops": sum(op.separate_bytes for op in ops),
        },
    }


def as_text(variant: Variant, batch: int, device: Device, rows: Sequence[Row]) -> str:
    """A table of one device; launches that are alike share a line."""
    rates = (
        f"{device.tensor_tflops:g} TFLOP/s tensor, {device.fp32_tflops:g} TFLOP/s fp32, {device.dram_gbs:g} GB/s "
        "(data-sheet numbers, --json names their sources)"
    )
    lines = [
        f"{variant.name}, batch {batch}, fp16 on {device.title}: {LABEL}",
        f"{device.multiprocessors} multiprocessors, {rates}",
        *([device.note] if device.note else []),
    ]
    width = max(map(len, ["kernel", *(row.launch.kernel for row in rows)]))
    lines.append(
        f"\n{'kernel':<{width}} {'calls':>5} {'GFLOP':>8} {'MB':>8} {'FLOP/B':>7} {'blocks':>7} {'regs':>4} {'KiB':>5} "
        f"{'occ.':>5} {'waves':>6} {'roof':<6} {'us':>8}  shape"
    )
    alike: dict[tuple[Launch, str], list[Row]] = {}
    for row in rows:
        alike.setdefault((row.launch, row.op.shape), []).append(row)
    lines += [_line(group[0], len(group), width) for group in alike.values()]
    return "\n".join([*lines, "", *_summary(rows)])


def _summary(rows: Sequence[Row]) -> list[str]:
    totals = _totals(rows)
    milliseconds, evenly = 1e3 * totals["seconds"], 1e3 * totals["roof_seconds"]
    moved = {name: 1e-6 * count for name, count in totals["bytes"].items()}
    work = f"{1e-9 * totals['flops']:.1f} GFLOP in {len(rows)} launches, whose latencies are not included"
    bounds = f"{moved['separate_ops']:.1f} MB by one kernel per layer, {moved['compulsory']:.1f} MB at least"
    return [
        f"sum: {milliseconds:.3f} ms ({evenly:.3f} ms if blocks divided evenly), {work}",
        f"bytes: {moved['launches']:.1f} MB by these kernels, {bounds}",
    ]


def _line(row: Row, calls: int, width: int) -> str:
    launch, result = row.launch, row.estimate
    microseconds = 1e6 * calls * result.seconds
    return (
        f"{launch.kernel:<{width}} {calls:>5} {1e-9 * launch.flops:>8.3f} {1e-6 * launch.bytes:>8.2f} "
        f"{launch.intensity:>7.1f} {launch.blocks:>7} {result.registers:>4} {launch.shared_bytes / 1024:>5.1f} "
        f"{result.occupancy.fraction:>5.0%} {result.waves:>6.2f} {result.roof:<6} {microseconds:>8.1f}  {row.op.shape}"
    )
