"""One op, several contestants: first whether they are right, then how long they take, then a record of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.gpu.peers import has_convolution, peer
from evsam.selftest.checks import Check, Values
from evsam.selftest.devices import Device
from evsam.selftest.numbers import EPSILON, Comparison, compare, to_bits
from evsam.selftest.reference import exact, rounding
from evsam.selftest.timing import Cache, measure_on_device, rates
from evsam.timing import Clock, Timing

__all__ = ["Contest", "contestants", "record", "tensors"]

EVSAM = "evsam"


def tensors(inputs: Mapping[str, Values], device: str) -> dict[str, Tensor]:
    """Inputs of a check on a device, in their own dtypes and their own order in memory."""
    moved = {}
    for name, values in inputs.items():
        bits = to_bits(values.array, values.dtype)
        if values.dtype == "bfloat16":
            moved[name] = torch.from_numpy(bits.view(np.int16)).view(torch.bfloat16).to(device)
        else:
            moved[name] = torch.from_numpy(bits).to(device)
    return moved


def contestants(check: Check[Any], arrays: Mapping[str, Tensor], compiled: bool) -> dict[str, Callable[[], Tensor]]:
    """What competes in an op.

    Args:
        check: the op.
        arrays: its inputs, as evsam takes them: channels last, biases in float32.
        compiled: whether torch.compile competes too; its first call compiles.
    """
    dtype = getattr(torch, check.dtype)
    last = {name: tensor.to(dtype) for name, tensor in arrays.items()}
    first = {name: tensor.contiguous() for name, tensor in last.items()}
    run = peer(check)
    found: dict[str, Callable[[], Tensor]] = {
        EVSAM: lambda: check.call(arrays),
        "torch eager": _with_cudnn(lambda: run(first), benchmark=False),
        "torch eager, channels last": _with_cudnn(lambda: run(last), benchmark=False),
    }
    if has_convolution(check):
        found["cuDNN, channels last, best algorithm"] = _with_cudnn(lambda: run(last), benchmark=True)
    if compiled:
        fused = torch.compile(run, fullgraph=True)
        found["torch.compile, channels last"] = _with_cudnn(lambda: fused(last), benchmark=True)
    return found


def _with_cudnn(call: Callable[[], Tensor], benchmark: bool) -> Callable[[], Tensor]:
    def run() -> Tensor:
        with torch.backends.cudnn.flags(enabled=True, benchmark=benchmark):
            return call()

    return run


@dataclass(frozen=True)
class Contest:
    """How one op went.

    Attributes:
        check: the op.
        comparisons: each contestant against float64.
        timings: of those that were right.
    """

    check: Check[Any]
    comparisons: Mapping[str, Comparison]
    timings: Mapping[str, Timing]


def compete(
    check: Check[Any],
    inputs: Mapping[str, Values],
    candidates: Mapping[str, Callable[[], Tensor]],
    flush: Callable[[], object],
    clock: Clock,
    cache: Cache,
    calls: int,
) -> Contest:
    """Checks all contestants, then times those that are right, in turns.

    Args:
        check: the op.
        inputs: its inputs.
        candidates: each computes the op on them.
        flush: overwrites the caches.
        clock: events.
        cache: whether what is read lies in the caches.
        calls: how many of each are timed.

    Raises:
        AssertionError: evsam's own result is wrong: there is nothing to time then.
    """
    numbers = {name: values.array for name, values in inputs.items()}
    true, separate = check.expected(numbers, exact), check.expected(numbers, rounding(check.dtype))
    comparisons = {}
    for name, call in candidates.items():
        got = call().double().cpu().numpy()
        comparisons[name] = compare(got, separate, true, EPSILON[check.dtype])
    if not comparisons[EVSAM].passed:
        found = comparisons[EVSAM]
        raise AssertionError(f"{check.op} {check.shape}: expected an error up to {found.allowed}, got {found.error}")
    right = {name: call for name, call in candidates.items() if comparisons[name].passed}
    return Contest(check, comparisons, measure_on_device(right, flush, clock, cache, calls))


def record(contest: Contest, cache: Cache, sheet: Device | None) -> list[dict[str, Any]]:
    """Lines of the results: times in microseconds, rates, percent of the data sheet's nearer roof."""
    check = contest.check
    lines = []
    for name, comparison in contest.comparisons.items():
        line: dict[str, Any] = {
            "op": check.op,
            "case": check.shape,
            "dtype": check.dtype,
            "threads": None,
            "cache": cache,
            "candidate": name,
            "correct": comparison.passed,
            "error": comparison.error,
            "allowed": comparison.allowed,
        }
        if name in contest.timings:
            timing = contest.timings[name]
            reached = rates(check.macs, check.bytes, timing.median, sheet)
            line |= {
                "median_us": round(1e6 * timing.median, 2),
                "p10_us": round(1e6 * timing.p10, 2),
                "p90_us": round(1e6 * timing.p90, 2),
                "repetitions": timing.calls,
                "gbs": round(reached.gbs, 1),
                "tflops": round(reached.tflops, 3),
            }
            if sheet is not None and reached.percent is not None:
                line["roof"] = {"data_sheet": sheet.title, "nearer": reached.roof, "percent": round(reached.percent, 1)}
        lines.append(line)
    return lines
