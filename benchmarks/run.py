"""Kernels of the CPU against their roofs and peers: `python -m benchmarks.run --op mbconv --isa avx2 --threads 1`.

The cases are those of evsam.ops.cases that are worth it: the layers of all variants. Each result is compared with
float64 first. Prints a table; `--save` also writes benchmarks/results/<device>-kernels.json, `--tables` puts what that
file holds into the READMEs of the ops, and `--compare FILE` prints what became of the times in an earlier file.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import geometric_mean
from typing import TYPE_CHECKING, Any

from benchmarks.threads import set_up_threads
from evsam import _C
from evsam.cli.arguments import number, whole
from evsam.ops.cases import OPS, Case, cases
from evsam.zoo import VARIANTS

if TYPE_CHECKING:
    from benchmarks.harness import Settings


def isas() -> list[str]:
    """Instruction sets of this machine and build, the best one last."""
    return list(dict.fromkeys(row["isa"] for row in _C.kernels() if row["supported"]))


def select(ops: Sequence[str], variants: Sequence[str], text: str) -> list[Case]:
    """The cases worth timing, of some ops (none given: all) and variants, with a text in their names."""
    found = [case for op in ops or OPS for case in cases(op) if case.timed and text in case.name]
    return [case for case in found if not variants or set(variants) & set(case.variants)]


def as_text(line: Mapping[str, Any]) -> str:
    """A line for people."""
    head = f"{line['op']:<21} {line['shape']:<44} {line['threads']:>2} {line['candidate']:<24}"
    if not line["correct"]:
        return f"{head} incorrect"
    roof = line.get("roof")
    share = f"{roof['percent']:>3.0f} % of {roof['nearer']}" if roof else ""
    times = f"{line['median_ms']:>9.3f} {line['p10_ms']:>9.3f} {line['p90_ms']:>9.3f}"
    return f"{head} {times} {line['gflops']:>8.1f} {line['gbs']:>7.1f}  {share}".rstrip()


HEADER = (
    f"{'op':<21} {'shape':<44} {'th':>2} {'candidate':<24} {'median ms':>9} {'p10':>9} {'p90':>9} "
    f"{'GFLOP/s':>8} {'GB/s':>7}  roof"
)


def run(
    chosen: Sequence[Case], settings: Sequence[Settings], sets: Sequence[str], algorithms: bool
) -> list[dict[str, Any]]:
    """The lines of all cases, shown as they come."""
    measure = importlib.import_module("benchmarks.kernels.measure")
    lines: list[dict[str, Any]] = []
    for case in chosen:
        found = [line for how in settings for line in measure.measure_case(case, sets, how, algorithms=algorithms)]
        for line in found:
            print(as_text(line), flush=True)
        if not found:
            print(f"{case.op.name:<21} {case.op.shape:<44} not callable from Python", flush=True)
        lines += found
    return lines


def compare(lines: Sequence[Mapping[str, Any]], before: Sequence[Mapping[str, Any]], key: Sequence[str]) -> str:
    """How times of the same candidates in the same cases changed, and the geometric mean by op and candidate."""

    def identity(line: Mapping[str, Any]) -> tuple[Any, ...]:
        return tuple(line[name] for name in key)

    old = {identity(line): line for line in before if line.get("correct")}
    rows = [f"{'op':<21} {'shape':<44} {'th':>2} {'candidate':<24} {'before ms':>9} {'now ms':>9} {'ratio':>6}"]
    ratios: dict[tuple[str, str], list[float]] = {}
    for line in lines:
        earlier = old.get(identity(line))
        if earlier is None or not line["correct"]:
            continue
        ratio = line["median_ms"] / earlier["median_ms"]
        ratios.setdefault((line["op"], line["candidate"]), []).append(ratio)
        place = f"{line['op']:<21} {line['shape']:<44} {line['threads']:>2} {line['candidate']:<24}"
        rows.append(f"{place} {earlier['median_ms']:>9.3f} {line['median_ms']:>9.3f} {ratio:>6.3f}")
    for (op, candidate), values in ratios.items():
        mean = geometric_mean(values)
        rows.append(f"{op:<21} {f'geometric mean of {len(values)}':<47} {candidate:<24} {'':>19} {mean:>6.3f}")
    return "\n".join(rows)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--op", nargs="+", default=[], choices=OPS, help="default: all")
    parser.add_argument("--variant", nargs="+", default=[], choices=list(VARIANTS), help="whose layers (default: all)")
    parser.add_argument("--case", default="", metavar="TEXT", help="only cases with this text in their names")
    parser.add_argument("--isa", nargs="+", default=[], choices=isas(), help="instruction sets (default: the best)")
    parser.add_argument(
        "--threads", nargs="+", type=whole(1), default=[1], help="threads of every candidate (default: 1)"
    )
    parser.add_argument(
        "--seconds", type=number(0, 86400, " seconds"), default=0.2, help="time per candidate and case (default: 0.2)"
    )
    parser.add_argument("--algorithms", action="store_true", help="of 3x3 convolutions all, not only the chosen one")
    parser.add_argument(
        "--cache", choices=["warm", "cold"], default="warm", help="what repetitions find there (default: warm)"
    )
    parser.add_argument("--save", action="store_true", help="write benchmarks/results/<device>-kernels.json")
    parser.add_argument("--output", type=Path, metavar="FILE", help="write this file instead")
    parser.add_argument("--compare", type=Path, metavar="FILE", help="print ratios to the times in a saved file")
    parser.add_argument("--tables", action="store_true", help="measure nothing: write the READMEs' tables")
    options = parser.parse_args(arguments)
    if options.tables:
        importlib.import_module("benchmarks.kernels.tables").write()
        return 0
    chosen = select(options.op, options.variant, options.case)
    if not chosen:
        parser.error("--op, --variant, --case: expected a case that has all of them, got none")

    set_up_threads(max(options.threads))  # before NumPy's BLAS and PyTorch are loaded, hence the imports after it
    harness = importlib.import_module("benchmarks.harness")
    try:
        key = importlib.import_module("benchmarks.kernels.measure").KEY
    except ModuleNotFoundError as error:
        parser.error(f"expected PyTorch, the peer and the specification, got no {error.name}: pip install '.[torch]'")

    print(HEADER)
    settings = [harness.Settings(threads, options.seconds, options.cache) for threads in options.threads]
    lines = run(chosen, settings, options.isa or [_C.selected_isa()], options.algorithms)
    if options.compare is not None:
        print(compare(lines, harness.read(options.compare), key))
    if options.save or options.output is not None:
        harness.save(options.output or harness.result_path("kernels"), lines, key)
    return 0


if __name__ == "__main__":
    sys.exit(main())
