"""The tables of measured times in the ops' READMEs, from the files of results.

A README that has the markers gets what stands between them; `python -m benchmarks.run --tables` writes all, and a test
compares them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.harness import REPOSITORY, RESULTS, read
from benchmarks.kernels.measure import EVSAM
from benchmarks.kernels.peers import EAGER, ONEDNN

__all__ = ["BEGIN", "END", "expected", "readmes", "write"]

BEGIN = "<!-- written by: python -m benchmarks.run --tables -->"
END = "<!-- end of what is written -->"
OPS = REPOSITORY / "csrc" / "ops"

ALSO = {"pointwise": ("pointwise_int8",)}
"""Rows of the table of cases that another op's folder is about, too."""

Line = Mapping[str, Any]


def readmes() -> list[Path]:
    """Those of the ops that have a table."""
    return [path for path in sorted(OPS.glob("*/README.md")) if BEGIN in path.read_text(encoding="utf-8")]


def expected(path: Path) -> str:
    """What a README must be: the text as it is, its table as the results say."""
    before, rest = path.read_text(encoding="utf-8").split(BEGIN)
    _, after = rest.split(END)
    op = path.parent.name
    parts = [section(file, of) for file in sorted(RESULTS.glob("*-kernels.json")) for of in (op, *ALSO.get(op, ()))]
    text = "\n\n".join(part for part in parts if part) or "Not measured."
    return f"{before}{BEGIN}\n{text}\n{END}{after}"


def section(file: Path, op: str) -> str:
    """The table of an op on the device of a file, or nothing."""
    lines = [line for line in read(file) if line["op"] == op and line["cache"] == "warm"]
    if not lines:
        return ""
    here = lines[0]["environment"]
    commits = ", ".join(dict.fromkeys(line["environment"]["commit"] for line in lines))
    ours = [line["candidate"] for line in lines if line["candidate"].startswith(EVSAM)]
    isas = dict.fromkeys(name.split()[1] for name in ours)
    link = f"../../../{file.relative_to(REPOSITORY)}"
    weights = "weights in 8 bits" if op.endswith("int8") else "float32"
    title = (
        f"{here['device']}, {', '.join(isas)}, {weights}, warm caches, medians, commit {commits} ([results]({link})):"
    )
    return f"{title}\n\n{table(lines)}"


def table(lines: Sequence[Line]) -> str:
    """One row for each shape, number of threads and instruction set; columns for algorithms and peers."""
    names = dict.fromkeys(line["candidate"] for line in lines)
    ours = [name.split()[1:] for name in names if name.startswith(EVSAM)]
    isas = list(dict.fromkeys(words[0] for words in ours))
    algorithms = sorted({words[1] for words in ours if len(words) > 1})
    others = [*algorithms, *(name for name in (EAGER, ONEDNN) if name in names)]
    named = ["instructions"] if len(isas) > 1 else []
    figures = ["ms", "GFLOP/s", "GB/s", "of the nearer roof"]
    head = ["layer", "shape", *named, "threads", *figures, *(f"{name}, ms" for name in others)]
    rows = [head, ["---"] * len(head)]
    for (case, threads), of in _grouped(lines).items():
        for isa in isas:
            if f"{EVSAM} {isa}" not in of:
                continue
            line = of[f"{EVSAM} {isa}"]
            roof = line["roof"]
            gflops = f"{line['gflops']:.0f}" if line["gflops"] else ""
            reached = [_ms(line), gflops, f"{line['gbs']:.1f}", f"{roof['percent']:.0f} % of {roof['nearer']}"]
            beside = [of.get(f"{EVSAM} {isa} {name}" if name in algorithms else name) for name in others]
            times = [_ms(other) if other is not None else "" for other in beside]
            rows.append([case, line["shape"], *([isa] if named else []), str(threads), *reached, *times])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _grouped(lines: Sequence[Line]) -> dict[tuple[str, int], dict[str, Line]]:
    groups: dict[tuple[str, int], dict[str, Line]] = {}
    for line in lines:
        groups.setdefault((line["case"], line["threads"]), {})[line["candidate"]] = line
    order = list(dict.fromkeys(line["case"] for line in lines))
    return dict(sorted(groups.items(), key=lambda item: (order.index(item[0][0]), item[0][1])))


def _ms(line: Line) -> str:
    if not line["correct"]:
        return "incorrect"
    ms = line["median_ms"]
    return f"{ms:.1f}" if ms >= 10 else f"{ms:.2f}" if ms >= 0.1 else f"{ms:.3f}"


def write() -> None:
    """Writes all READMEs."""
    for path in readmes():
        path.write_text(expected(path), encoding="utf-8")
        print(f"wrote {path.relative_to(REPOSITORY)}")
