"""The CUDA kernels against PyTorch and cuDNN: `python -m benchmarks.gpu.run --variants l0 --save`.

Needs a CUDA device, PyTorch with CUDA, and evsam built with its CUDA kernels. Each layer of the encoders is computed by
evsam, by torch eager (channels first and last), by cuDNN (torch with its benchmark mode, channels last) and by
torch.compile, all in the same dtype. All results are compared with float64 first; a wrong one is shown and not timed.
Times are medians of CUDA events over single calls in turns, behind 512 MiB of writes that overwrite the caches ("cold")
or behind those and one more call of the same ("warm"). Percent are of the nearer roof of the device's data sheet.
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks import harness
from benchmarks.gpu.contest import compete, contestants, record, tensors
from benchmarks.gpu.peers import has_peer
from evsam.cli.arguments import whole
from evsam.costs import ReluLinearAttention
from evsam.selftest.checks import Check, LinearAttentionCheck, layer_checks
from evsam.selftest.devices import Device, data_sheet
from evsam.selftest.timing import FLUSH_BYTES
from evsam.zoo import VARIANTS

KEY = ("op", "case", "threads", "cache", "candidate")
"""What makes a line of the results another one."""

ATTENTION = (
    LinearAttentionCheck(ReluLinearAttention("", 1, 32, 32, 4096)),
    LinearAttentionCheck(ReluLinearAttention("", 1, 32, 32, 1024), "bfloat16"),
)
"""Attention alone beyond that of the layers: larger images, and bfloat16."""


class TorchClock:
    """Events on PyTorch's current stream."""

    def record(self) -> Any:
        """An event behind everything that was started so far."""
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event

    def seconds(self, begin: Any, end: Any) -> float:
        """Time between two events, once both have happened."""
        end.synchronize()
        return float(1e-3 * begin.elapsed_time(end))


def select(ops: list[str], variants: list[str], batch: int) -> list[Check[Any]]:
    """Cases: the table's rows of the variants and attention alone, of some ops or (none given) of all."""
    layers = layer_checks(variants or VARIANTS, batch)
    cases = [check for check in (*layers, *ATTENTION) if has_peer(check)]
    return [check for check in cases if not ops or check.op in ops]


def environment(name: str) -> dict[str, Any]:
    """Where and with what the numbers were measured. Holds no host name, user or path."""
    here = harness.environment()
    capability = "{}.{}".format(*torch.cuda.get_device_capability())
    versions = {"cuda": torch.version.cuda, "cudnn": torch.backends.cudnn.version()}
    return {**here, "device": name, "compute_capability": capability, "versions": {**here["versions"], **versions}}


def results_file(device: str) -> Path:
    """benchmarks/results/<device>.json."""
    return harness.RESULTS / f"{re.sub(r'[^a-z0-9]+', '-', device.lower()).strip('-')}.json"


def table(lines: list[dict[str, Any]]) -> str:
    """The lines for people."""
    head = f"{'op':<22} {'contestant':<37} {'median us':>9} {'p10':>8} {'p90':>8} {'GB/s':>7} {'TFLOP/s':>8}  roof"
    rows = [head]
    for line in lines:
        if not line["correct"]:
            rows.append(
                f"{line['op']:<22} {line['candidate']:<37} incorrect, error {line['error']:.2e}  {line['case']}"
            )
            continue
        roof = line.get("roof")
        share = f"{roof['percent']:.0f}% of {roof['nearer']}" if roof else "unknown"
        rows.append(
            f"{line['op']:<22} {line['candidate']:<37} {line['median_us']:>9.1f} {line['p10_us']:>8.1f} "
            f"{line['p90_us']:>8.1f} {line['gbs']:>7.1f} {line['tflops']:>8.2f}  {share}  {line['case']}"
        )
    return "\n".join(rows)


def measure_all(checks: list[Check[Any]], options: argparse.Namespace, sheet: Device | None) -> list[dict[str, Any]]:
    """All lines of all cases, shown as they come."""
    scratch = torch.empty(FLUSH_BYTES, dtype=torch.uint8, device="cuda")
    lines = []
    for check in checks:
        inputs = check.inputs(np.random.default_rng(0))
        candidates = contestants(check, tensors(inputs, "cuda"), options.compile)
        with torch.inference_mode():
            contest = compete(check, inputs, candidates, scratch.zero_, TorchClock(), options.cache, options.calls)
        lines += record(contest, options.cache, sheet)
        print(table(lines[-len(candidates) :]), flush=True)
    return lines


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ops", nargs="+", default=[], help="only these ops (default: all)")
    parser.add_argument("--variants", nargs="+", default=[], choices=list(VARIANTS), help="default: all")
    parser.add_argument("--batch", type=whole(1), default=1, help="images at once (default: 1)")
    parser.add_argument("--cache", choices=["warm", "cold"], default="warm", help="second-level cache (default: warm)")
    parser.add_argument("--calls", type=whole(1), default=100, help="timed calls of each contestant (default: 100)")
    parser.add_argument("--no-compile", dest="compile", action="store_false", help="without torch.compile")
    parser.add_argument("--save", action="store_true", help="write benchmarks/results/<device>.json")
    parser.add_argument("--output", type=Path, help="write this file instead")
    options = parser.parse_args(arguments)
    checks = select(options.ops, options.variants, options.batch)
    if not checks:
        parser.error(f"--ops: expected an op of the variants, got {' '.join(options.ops)}")
    if not torch.cuda.is_available():
        print("benchmarks.gpu: expected a CUDA device and PyTorch with CUDA, got none", file=sys.stderr)
        return 1

    name = torch.cuda.get_device_name()
    sheet = data_sheet(name, torch.cuda.get_device_properties(0).multi_processor_count)
    lines = measure_all(checks, options, sheet)
    output = options.output or (results_file(name) if options.save else None)
    if output is not None:
        harness.save(output, lines, KEY, environment(name))
    return 0


if __name__ == "__main__":
    sys.exit(main())
