"""``evsam info``."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING

from evsam.cli.console import say

if TYPE_CHECKING:
    from evsam.info import Info


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``evsam info``."""
    parser.add_argument("--json", action="store_true", help="as JSON")


def run(arguments: argparse.Namespace) -> None:
    """Do what the arguments say."""
    from evsam.info import collect

    info = collect()
    say(json.dumps(info, indent=1) if arguments.json else _describe(info))


def _describe(info: Info) -> str:
    lines = [f"evsam {info['evsam']}, Python {info['python']}, {info['platform']}", ""]
    lines.append("variant  input   params     MACs  weights")
    for variant in info["variants"]:
        size, params, macs = variant["image_size"], variant["parameters"] / 1e6, variant["encoder_macs"] / 1e9
        lines.append(f"{variant['name']:<8} {size:>5} {params:>6.1f} M {macs:>6.1f} G  {variant['weights']}")
    lines += ["", "engine       state"]
    for engine in info["engines"]:
        state = engine["summary"] if engine["available"] else f"not installed: {engine['install']}"
        lines.append(f"{engine['name']:<12} {state}")
    cpu = info["cpu"]
    features = " ".join(cpu["features"]) or "no vector extensions"
    lines += ["", f"CPU      {cpu['machine']}, {cpu['cpus']} usable, {features}"]
    for kernels in cpu["kernels"]:
        state = "" if kernels["supported"] else "; this CPU cannot run them"
        state = "; chosen" if kernels["isa"] == cpu["isa"] else state
        lines.append(f"kernels  {kernels['isa']}: {len(kernels['ops'])} ops{state}")
    found = (f"{name} by {kernel or 'fp32, which is as fast'}" for name, kernel in cpu["precisions"].items())
    lines.append(f"products {', '.join(found)}")
    variants: dict[str, list[str]] = {}
    for name, precision in cpu["fast"].items():
        variants.setdefault(precision, []).append(name)
    lines.append("fast     " + ", ".join(f"{precision} for {' '.join(names)}" for precision, names in variants.items()))
    packed = info["packed"]
    used = f"{packed['files']} file{'' if packed['files'] == 1 else 's'}, {packed['bytes'] / 1e6:.0f} MB"
    state = "on" if packed["on"] else "off unless packed_cache=True"
    lines.append(f"packed   {used} of {packed['limit'] / 1e9:.1f} GB at most; {state}; {packed['folder']}")
    cuda = info["cuda"]
    lines += ["", f"CUDA     {', '.join(cuda['devices']) or cuda['problem']}", f"kernels  {cuda['kernels']}", ""]
    lines.append("packages " + ", ".join(f"{name} {found}" for name, found in info["packages"].items() if found))
    if absent := [name for name, found in info["packages"].items() if not found]:
        lines.append(f"absent   {', '.join(absent)}")
    return "\n".join(lines)
