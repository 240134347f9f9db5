"""README's tables of models against their peers: `python -m benchmarks.models.tables` writes them from the results.

Devices of a kind (instruction set and vendor) follow each other: the last one that was measured is shown. A test
compares what the README says with the results.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.harness import REPOSITORY, RESULTS, read
from benchmarks.models.peers import CLASSES

README = REPOSITORY / "README.md"
BEGIN = "<!-- written by: python -m benchmarks.models.tables -->"
END = "<!-- end of what is written -->"

CONTESTS = ("encoder", "decoder", "frames", "memory")
"""Benchmarks whose results are shown, by the ends of their files' names."""

TITLES = {"fp32": "float32", "16bit": "16 bits", "int8": "int8"}

Line = Mapping[str, Any]


def expected(text: str, results: Path = RESULTS) -> str:
    """What the README must be: the text as it is, its tables as the results say."""
    before, rest = text.split(BEGIN)
    _, after = rest.split(END)
    devices = last_devices(results)
    parts = [section(kind, device, results) for kind, device in sorted(devices.items())]
    tables = "\n\n".join(parts) or "Not measured."
    return f"{before}{BEGIN}\n\n{tables}\n\n{END}{after}"


def kind_of(environment: Mapping[str, Any]) -> str:
    """The kind of a device: its widest instructions, and whose processor it is."""
    products = environment.get("products", {}).values()
    isa = {"avx512": "AVX-512", "avx2": "AVX2", "neon": "NEON"}.get(environment["isa"], environment["isa"])
    if any(name is not None and name.startswith("amx") for name in products):
        isa = "AMX"
    vendor = next((name for name in ("AMD", "Intel") if name.lower() in environment["device"].lower()), "")
    return f"{vendor}, {isa}" if vendor else isa


def last_devices(results: Path) -> dict[str, str]:
    """By kind, what the names of the files begin with of the device whose encoders were measured last."""
    found: dict[str, tuple[str, str]] = {}
    for path in sorted(results.glob("*-encoder.json")):
        environments = [line["environment"] for line in read(path)]
        last = max(environments, key=lambda each: str(each.get("date", "")))
        entry = (str(last.get("date", "")), path.name.removesuffix("-encoder.json"))
        kind = kind_of(last)
        found[kind] = max(found.get(kind, entry), entry)
    return {kind: device for kind, (_, device) in found.items()}


def section(kind: str, device: str, results: Path) -> str:
    """All that was measured on a device."""
    lines = {name: read(results / f"{device}-{name}.json") for name in CONTESTS}
    here = lines["encoder"][0]["environment"]
    links = [f"[{name}](benchmarks/results/{device}-{name}.json)" for name in CONTESTS if lines[name]]
    head = (
        f"**{kind}**: {here['device']}, {here['usable_cpus']} processors, medians in milliseconds ({', '.join(links)})."
    )
    rows = []
    for (variant, precision), of in _grouped(lines["encoder"], "variant", "precision"):
        rows.append((f"{variant}, encoder, {TITLES[precision]}", of))
    for (variant, prompts, precision), of in _grouped(lines["decoder"], "variant", "prompts", "precision"):
        clicks = "one click" if prompts == 1 else f"{prompts} clicks"
        rows.append((f"{variant}, decoder, {clicks}, {TITLES[precision]}", of))
    threads = sorted({line["threads"] for _, of in rows for line in of})
    table = [["", *(f"{n} thread{'s' if n > 1 else ''}" for n in threads)]]
    table += [[what, *(_duel([x for x in of if x["threads"] == n]) for n in threads)] for what, of in rows]
    for (variant, precision), of in _grouped(lines["frames"], "variant", "precision"):
        cells = [_frames([x for x in of if x["threads"] == n]) for n in threads]
        table.append([f"{variant}, photo of 1280 x 720 to its mask, {precision}", *cells])
    parts = [head, _markdown(table)]
    if lines["memory"]:
        parts.append(_memory(lines["memory"]))
    return "\n\n".join(parts)


def _duel(lines: Sequence[Line]) -> str:
    """Our fastest correct line of a class, against that of the peers."""
    ours = [x for x in lines if x["contestant"].startswith("evsam") and x["correct"]]
    theirs = [x for x in lines if not x["contestant"].startswith("evsam") and x["correct"]]
    if not ours:
        return ""
    best = min(ours, key=lambda x: float(x["median_ms"]))
    if not theirs:
        return f"{_shown(best)}; no correct peer"
    peer = min(theirs, key=lambda x: float(x["median_ms"]))
    return f"{_shown(best)}; {_shown(peer)}: **{best['median_ms'] / peer['median_ms']:.2f}**"


def _shown(line: Line) -> str:
    """Who, how long, and outside of float32 how exactly."""
    text = f"{line['contestant']} {_number(line['median_ms'])}"
    return text if line["precision"] == "fp32" else f"{text} (cosine {line['cosine']:.4f})"


def _frames(lines: Sequence[Line]) -> str:
    if not lines:
        return ""
    (line,) = lines
    if "own_p99_over_median" in line:
        return f"{_number(line['median_ms'])}, p99 / median {line['own_p99_over_median']:.2f}"
    return f"{_number(line['median_ms'])}, p99 {_number(line['p99_ms'])}"


def _memory(lines: Sequence[Line]) -> str:
    """What a process needs until it has its first answer: ours, and the leanest peer of each class."""
    table = [["in a new process", "time to load, s", "first call", "later calls", "peak memory, MiB"]]
    for (variant, precision), of in _grouped(lines, "variant", "precision"):
        whole = [x for x in of if "encoder only" not in x["contestant"]]
        peers = [x for x in (whole if variant == "l0" else of) if not x["contestant"].startswith("evsam")]
        shown = [x for x in whole if x["contestant"].startswith("evsam") and "engine" not in x["contestant"]]
        if peers:
            shown.append(min(peers, key=lambda x: float(x["peak_mib"])))
        for x in shown:
            calls = [_number(x[key]) if key in x else "" for key in ("first_ms", "next_ms")]
            table.append(
                [f"{variant}, {_classed(x, precision)}", f"{x['load_seconds']:.2f}", *calls, f"{x['peak_mib']:.0f}"]
            )
    return _markdown(table)


def _classed(line: Line, precision: str) -> str:
    name = str(line["contestant"])
    return f"{name} {TITLES[precision]}" if name == "evsam" else name


def _grouped(lines: Iterable[Line], *keys: str) -> list[tuple[tuple[Any, ...], list[Line]]]:
    """Lines with the same values under the keys; variants in the order of the file, precisions in that of classes."""
    groups: dict[tuple[Any, ...], list[Line]] = {}
    for line in lines:
        groups.setdefault(tuple(line[key] for key in keys), []).append(line)
    order = [*CLASSES, *(name for names in CLASSES.values() for name in names)]
    variants = list(dict.fromkeys(group[0] for group in groups))
    return sorted(
        groups.items(), key=lambda item: (variants.index(item[0][0]), *item[0][1:-1], order.index(item[0][-1]))
    )


def _number(ms: float) -> str:
    return f"{ms:.0f}" if ms >= 100 else f"{ms:.1f}"


def _markdown(rows: Sequence[Sequence[str]]) -> str:
    head, *others = rows
    lines = [head, ["---"] * len(head), *others]
    return "\n".join(f"| {' | '.join(row)} |" for row in lines)


def main() -> int:
    README.write_text(expected(README.read_text(encoding="utf-8")), encoding="utf-8")
    print(f"wrote {README.name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
