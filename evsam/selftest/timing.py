"""How long an op takes on the device, and what share of its data sheet that is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from evsam.gpu_model.devices import DEVICES, Device
from evsam.timing import Clock, Timing, measure

__all__ = ["FLUSH_BYTES", "Cache", "Rates", "data_sheet", "measure_on_device", "rates"]

Cache = Literal["warm", "cold"]

FLUSH_BYTES = 512 << 20
"""Written before each timed call: more than any second-level cache, and enough to keep the device busy (160 us at 3350
GB/s) while the host queues what is timed behind it, so that the host's own time is not measured."""


def measure_on_device(
    candidates: Mapping[str, Callable[[], object]],
    flush: Callable[[], object],
    clock: Clock,
    cache: Cache,
    calls: int,
) -> dict[str, Timing]:
    """Times single calls by events, the candidates in turns.

    Args:
        candidates: each starts its work on the default stream.
        flush: starts to write :data:`FLUSH_BYTES` on the default stream.
        clock: events of that stream: :class:`evsam.selftest.events.Events`, or something like it.
        cache: "cold": a call follows upon the flush; "warm": another call, that is not timed, lies between.
        calls: how many of each.
    """

    def before(call: Callable[[], object]) -> None:
        flush()
        if cache == "warm":
            call()

    return measure(candidates, calls=calls, before=before, clock=clock)


@dataclass(frozen=True)
class Rates:
    """What a call reached.

    Attributes:
        gbs: 10^9 bytes/s, inputs and result counted once.
        tflops: 10^12 FLOP/s, a multiply-accumulate counted as two.
        roof: which of the device's two limits is the nearer one: tensor cores or memory; empty for an unknown device.
        percent: of that roof, by the data sheet; None for an unknown device.
    """

    gbs: float
    tflops: float
    roof: Literal["tensor", "memory", ""]
    percent: float | None


def rates(macs: int, moved: int, seconds: float, device: Device | None) -> Rates:
    """Rates of a call.

    Args:
        macs: its multiply-accumulates.
        moved: its compulsory bytes.
        seconds: that it took.
        device: whose data sheet to compare with, or None.
    """
    gbs, tflops = 1e-9 * moved / seconds, 2e-12 * macs / seconds
    if device is None:
        return Rates(gbs, tflops, "", None)
    memory, tensor = gbs / device.dram_gbs, tflops / device.tensor_tflops
    return Rates(gbs, tflops, "tensor" if tensor > memory else "memory", 100 * max(memory, tensor))


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
