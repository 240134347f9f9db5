"""``evsam selftest``."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from evsam.cli.console import say
from evsam.errors import EvsamError
from evsam.writing import check_writable, replaced
from evsam.zoo import VARIANTS

DESCRIPTION = """Compares the kernels of this build with NumPy in float64: those of the CPU, for all
instruction sets that this machine has, or with --gpu those for CUDA."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``evsam selftest``."""
    parser.add_argument("--gpu", action="store_true", help="the CUDA kernels, on the current device")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write all that was found")
    gpu = parser.add_argument_group("with --gpu")
    gpu.add_argument(
        "--variant",
        nargs="+",
        choices=tuple(VARIANTS),
        default=[],
        metavar="NAME",
        help="only check the layers of these variants (default: all)",
    )
    gpu.add_argument("--quick", action="store_true", help="only small maps of odd sizes, none of the layers")
    gpu.add_argument("--time", action="store_true", help="also time the layers that passed, by CUDA events")


def run(arguments: argparse.Namespace) -> None:
    """Do what the arguments say."""
    if not arguments.gpu and (arguments.variant or arguments.quick or arguments.time):
        arguments.fail("--variant, --quick and --time need --gpu")
    if arguments.json:
        check_writable(arguments.json)
    if arguments.gpu:
        from evsam.selftest.command import selftest_gpu

        found = selftest_gpu(arguments.variant, arguments.quick, arguments.time, say)
    else:
        from evsam.selftest.cpu import selftest_cpu

        found = selftest_cpu(say)
    if arguments.json:
        with replaced(arguments.json) as temporary:
            temporary.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
        say(f"wrote {arguments.json}")
    if found["failed"]:
        raise EvsamError(f"selftest: expected {len(found['checks'])} checks to pass, {found['failed']} failed")
