"""``evsam selftest --gpu``: correctness of every CUDA kernel, then, if asked for, times."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from types import ModuleType
from typing import Any

import numpy as np

from evsam.errors import BackendUnavailable, EvsamError
from evsam.ops._device import cuda_module
from evsam.selftest.checks import Check, layer_checks, quick_checks, to_device
from evsam.selftest.devices import Device, data_sheet
from evsam.selftest.numbers import Comparison
from evsam.selftest.timing import FLUSH_BYTES, Cache, Events, measure_on_device, rates
from evsam.zoo import VARIANTS, get_variant

__all__ = ["Outcome", "run_checks", "selftest_gpu"]

CALLS = 100
CACHES: tuple[Cache, ...] = ("warm", "cold")


@dataclass(frozen=True)
class Outcome:
    """How a check went.

    Attributes:
        check: what was checked.
        comparison: of result and truth; None if there was no result.
        problem: why not; empty if there was one.
    """

    check: Check[Any]
    comparison: Comparison | None
    problem: str = ""

    @property
    def passed(self) -> bool:
        """Whether there was a result, and close enough."""
        return self.comparison is not None and self.comparison.passed


def run_checks(checks: Sequence[Check[Any]], module: ModuleType) -> Iterator[Outcome]:
    """Runs checks; one that raises has failed and does not stop the others.

    Args:
        checks: what to check.
        module: ``evsam._cuda``.
    """
    for check in checks:
        yield _run(check, module)


def _run(check: Check[Any], module: ModuleType) -> Outcome:
    try:
        return Outcome(check, check.run(module))
    except (EvsamError, RuntimeError, TypeError, ValueError) as error:
        return Outcome(check, None, f"{type(error).__name__}: {error}")


def selftest_gpu(
    variants: Sequence[str], quick: bool, timed: bool, show: Callable[[str], object] = print
) -> dict[str, Any]:
    """Checks the CUDA kernels on the current device.

    Args:
        variants: whose layers to check; empty for all.
        quick: only small maps of odd sizes, none of the layers.
        timed: also time the layers that passed.
        show: takes the lines of the report.

    Returns:
        Everything that was found, for ``json.dump``; times are in seconds.

    Raises:
        BackendUnavailable: there is no CUDA build or no device, or times are asked for in emulation.
        WeightsError: no variant has one of the names.
    """
    chosen = [get_variant(name).name for name in variants or VARIANTS]
    module = cuda_module()
    if timed and module.emulated:
        raise BackendUnavailable("timing: expected a CUDA device, got its emulation on the CPU")
    layers = [] if quick else layer_checks(chosen)
    show(f"{module.device_name()}, against NumPy in float64. Allowed: twice the error of separate ops, and 4 ulp.")
    show(_header())
    outcomes = []
    for outcome in run_checks([*quick_checks(), *layers], module):
        show(_outcome_line(outcome))
        outcomes.append(outcome)
    passed = [outcome for outcome in outcomes if outcome.passed]
    show(f"{len(passed)} of {len(outcomes)} checks passed")
    times = _time([outcome.check for outcome in passed if outcome.check in layers], module, show) if timed else []
    return {
        "device": module.device_name(),
        "failed": len(outcomes) - len(passed),
        "checks": [_entry(outcome) for outcome in outcomes],
        "times": times,
    }


def _entry(outcome: Outcome) -> dict[str, Any]:
    place = {"op": outcome.check.op, "shape": outcome.check.shape, "dtype": outcome.check.dtype}
    numbers = asdict(outcome.comparison) if outcome.comparison else {"problem": outcome.problem}
    return {**place, **numbers, "passed": outcome.passed}


def _time(checks: Sequence[Check[Any]], module: ModuleType, show: Callable[[str], object]) -> list[dict[str, Any]]:
    name = module.device_name()
    scratch = module.DeviceArray.empty((FLUSH_BYTES,), "uint8")
    events = Events()
    address = scratch.__cuda_array_interface__["data"][0]
    sheet = data_sheet(name, events.multiprocessors())
    show(f"\ntimes by CUDA events, {CALLS} calls; cold: caches overwritten before, warm: the same call before")
    show(_roofs(sheet))
    columns = f"{'median us':>9} {'p10':>9} {'p90':>9} {'GB/s':>8} {'TFLOP/s':>8} {'roof':>12}"
    show(f"{'op':<14} {'cache':<5} {columns}  shape")
    entries = []
    for check in checks:
        inputs = check.inputs(np.random.default_rng(0))
        arrays = {key: to_device(module, values) for key, values in inputs.items()}
        for cache in CACHES:
            candidates = {check.op: lambda arrays=arrays, check=check: check.call(arrays)}
            timing = measure_on_device(candidates, lambda: events.fill(address, FLUSH_BYTES), events, cache, CALLS)[
                check.op
            ]
            reached = rates(check.macs, check.bytes, timing.median, sheet)
            place = {"op": check.op, "shape": check.shape, "cache": cache}
            entries.append({**place, **asdict(timing), **asdict(reached)})
            show(_time_line(entries[-1]))
    return entries


def _roofs(sheet: Device | None) -> str:
    if sheet is None:
        return "no data sheet of this device here, so no percent of roof"
    return f"roofs of the data sheet: {sheet.tensor_tflops:g} TFLOP/s, {sheet.dram_gbs:g} GB/s"


def _time_line(entry: dict[str, Any]) -> str:
    median, p10, p90 = (1e6 * entry[name] for name in ("median", "p10", "p90"))
    roof = "-" if entry["percent"] is None else f"{entry['percent']:.0f}% {entry['roof']}"
    return (
        f"{entry['op']:<14} {entry['cache']:<5} {median:>9.1f} {p10:>9.1f} {p90:>9.1f} {entry['gbs']:>8.1f} "
        f"{entry['tflops']:>8.2f} {roof:>12}  {entry['shape']}"
    )


def _header() -> str:
    """Column titles for :func:`_outcome_line`."""
    return f"{'op':<22} {'dtype':<9} {'error':>9} {'allowed':>9}  {'':<6}  shape"


def _outcome_line(outcome: Outcome) -> str:
    """One line of the table."""
    check, comparison = outcome.check, outcome.comparison
    numbers = f"{comparison.error:>9.2e} {comparison.allowed:>9.2e}" if comparison else f"{'-':>9} {'-':>9}"
    verdict = "ok" if outcome.passed else "FAILED"
    problem = f"  ({outcome.problem})" if outcome.problem else ""
    return f"{check.op:<22} {check.dtype:<9} {numbers}  {verdict:<6}  {check.shape}{problem}"
