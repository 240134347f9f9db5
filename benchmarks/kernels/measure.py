"""One case of an op: first whether evsam's kernels and their peers are right, then how long they take."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from benchmarks import harness
from benchmarks.harness import Settings
from benchmarks.kernels.calls import Call, call_of
from benchmarks.kernels.peers import peers
from benchmarks.roofs import Roofs, measure_roofs
from evsam.costs import Conv3x3, FusedMBConv, LiteMLA, MBConv, Op, Pointwise, PointwiseInt8
from evsam.ops.cases import Case
from evsam.timing import Timing
from tests.tolerance import assert_as_good_as_eager

__all__ = ["EVSAM", "KEY", "measure_case", "rule_of"]

EVSAM = "evsam"

KEY = ("op", "case", "threads", "cache", "candidate")
"""What makes a line of the results another one."""

WINOGRAD_RMS = {1: 6.1e-6, 2: 6.9e-7}
"""Root mean square error, relative to a result's, of the algorithm that is chosen for each stride with 256 channels
(csrc/ops/conv3x3/README.md): Winograd's transforms round more than sums do. Twice that is allowed."""

INT8_RMS = 0.02
"""The same of weights in 8 bits, which no layer may lose more by (csrc/ops/pointwise/README.md)."""

UNIT = 2.0**-24
"""The largest rounding error of a float32 of size one."""

ATTENTION_BLOCK = 64
"""Tokens that are added in order, before sums of blocks are (csrc/ops/lite_mla/README.md)."""

MEMORY = 256 << 20
"""Bytes that come from memory whatever the caches hold."""


def rule_of(case: Case, call: Call) -> Callable[[ArrayLike], None]:
    """What raises an AssertionError unless a result is right.

    The rule is that of the tests, twice the error of PyTorch's float32, but for what rounds more by how it is computed.
    """
    specification = call.specification
    if specification is None:
        assert call.expected is not None
        expected = call.expected()
        return lambda got: np.testing.assert_array_equal(got, expected, err_msg=case.name)
    with torch.inference_mode():
        true = specification(**call.tensors(torch.float64)).numpy()
        eager = specification(**call.tensors()).numpy()
    op = case.op
    if isinstance(op, PointwiseInt8):
        return lambda got: _check_rms(case, got, true, INT8_RMS)
    if case.options.get("precision") == "int8":  # two layers of the block, whose roundings have nothing in common
        return lambda got: _check_rms(case, got, true, 2**0.5 * INT8_RMS)
    if isinstance(op, Conv3x3 | FusedMBConv) and _is_winograd(case):
        allowed = 2 * WINOGRAD_RMS[op.stride] * max(1.0, op.in_channels / 256) ** 0.5
        return lambda got: _check_rms(case, got, true, allowed)
    terms = _terms(op)

    def rule(got: ArrayLike) -> None:
        if terms and _rms(got, true) <= 2 * (terms / 6) ** 0.5 * UNIT:
            return
        assert_as_good_as_eager(got, eager, true)

    return rule


def _is_winograd(case: Case) -> bool:
    """Whether a 3x3 convolution is transformed: one of few channels is not, unless it is part of a block."""
    op, algorithm = case.op, case.options.get("algorithm")
    if isinstance(op, Conv3x3) and algorithm == "automatic":
        return min(op.in_channels, op.out_channels) >= 16
    return algorithm != "direct"


def _terms(op: Op) -> int:
    """Products that are added one after the other, in all sums on the way from an input to a result.

    With k of them so far a sum is of size sqrt(k) and its rounding off by UNIT / sqrt(3) of that: in all, and relative
    to the result, sqrt(terms / 6) UNIT. PyTorch's matrix products keep several sums, whose error is less.
    """
    match op:
        case Pointwise():
            return op.in_channels
        case MBConv():
            return op.in_channels + op.filter_size**2 + op.hidden
        case LiteMLA():
            return op.channels + op.filter_size**2 + 2 * op.head_dim + ATTENTION_BLOCK + 2 * op.heads * op.head_dim
    return 0


def _rms(got: ArrayLike, true: NDArray[np.float64]) -> float:
    """Root mean square error relative to the root mean square of the truth."""
    return float(np.sqrt(np.mean((np.asarray(got) - true) ** 2) / np.mean(true**2)))


def _check_rms(case: Case, got: ArrayLike, true: NDArray[np.float64], allowed: float) -> None:
    if not (error := _rms(got, true)) <= allowed:
        raise AssertionError(f"{case.name}: expected a relative rms error of at most {allowed:.2e}, got {error:.2e}")


ALGORITHMS = {1: ("direct", "winograd2", "winograd4", "winograd6"), 2: ("direct", "winograd4")}
"""Of 3x3 convolutions, by stride; a block has no direct one."""


def measure_case(
    case: Case, isas: Sequence[str], settings: Settings, *, algorithms: bool = False
) -> list[dict[str, Any]]:
    """Checks and times a case.

    Args:
        case: What to run.
        isas: Instruction sets, each a candidate.
        settings: How to measure.
        algorithms: Whether each algorithm of a 3x3 convolution is a candidate too, not only the one that is chosen.

    Returns:
        A line for each candidate; none where Python cannot call the op like this. A peer that is wrong is not timed.

    Raises:
        AssertionError: evsam is wrong.
    """
    torch.set_num_threads(settings.threads)
    call, rule = _prepared(case)
    if call is None:
        return []
    ours = {f"{EVSAM} {isa}": call.kernel(isa, settings.threads) for isa in isas}
    if algorithms and "algorithm" in case.options:
        for name, other in _algorithms(case).items():
            ours |= {f"{EVSAM} {isa} {name}": other.kernel(isa, settings.threads) for isa in isas}
    for kernel in ours.values():
        rule(kernel())
    with torch.inference_mode():
        theirs = peers(case.op, call)
        right = {name: peer for name, peer in theirs.items() if _passes(rule, peer().numpy())}
        timings = harness.measure({**ours, **right}, settings)
    working_set = case.op.bytes() if settings.cache == "warm" else MEMORY
    place = {
        "op": case.op.name,
        "case": case.name,
        "shape": case.op.shape,
        "threads": settings.threads,
        "cache": settings.cache,
    }
    lines = []
    for name, times in timings.items():
        isa = name.split()[1] if name in ours else None
        roofs = measure_roofs(isa, settings.threads, working_set) if isa else None
        lines.append({**place, "candidate": name, **_figures(case, times, roofs)})
    return lines + [{**place, "candidate": name, "correct": False} for name in theirs if name not in right]


@lru_cache(maxsize=1)  # for the next number of threads
def _prepared(case: Case) -> tuple[Call | None, Callable[[ArrayLike], None]]:
    call = call_of(case)
    return call, (lambda _: None) if call is None else rule_of(case, call)


def _algorithms(case: Case) -> dict[str, Call]:
    op = case.op
    assert isinstance(op, Conv3x3 | FusedMBConv)
    names = [name for name in ALGORITHMS[op.stride] if isinstance(op, Conv3x3) or name != "direct"]
    calls = {name: call_of(replace(case, options={**case.options, "algorithm": name})) for name in names}
    return {name: call for name, call in calls.items() if call is not None}


def _passes(rule: Callable[[ArrayLike], None], got: ArrayLike) -> bool:
    try:
        rule(got)
    except AssertionError:
        return False
    return True


def _figures(case: Case, times: Timing, roofs: Roofs | None) -> dict[str, Any]:
    """Times in milliseconds, rates, and the share of the nearer roof. A peer that does more is charged the same."""
    median = times.median
    figures: dict[str, Any] = {
        "correct": True,
        "median_ms": round(1e3 * median, 4),
        "p10_ms": round(1e3 * times.p10, 4),
        "p90_ms": round(1e3 * times.p90, 4),
        "calls": times.calls,
        "gflops": round(1e-9 * case.op.flops / median, 2),
        "gbs": round(1e-9 * case.op.bytes() / median, 2),
    }
    if roofs is not None:
        share = {"nearer": roofs.nearer(case.op), "percent": round(roofs.percent(case.op, median), 1)}
        figures["roof"] = {"gflops": round(roofs.gflops, 1), "gbs": round(roofs.gbs, 1), **share}
    return figures
