"""Writes the table of cases for C++: `python -m benchmarks.cases`.

One file per op, csrc/tests/ops/cases/<op>.csv, from :mod:`evsam.ops.cases`. A test compares them with the module.
"""

from __future__ import annotations

from pathlib import Path

from evsam.ops.cases import OPS, cases, columns, values

FOLDER = Path(__file__).resolve().parent.parent / "csrc" / "tests" / "ops" / "cases"


def as_csv(op: str) -> str:
    """The cases of an op as text: a line of names, then a line per case; nothing in it needs quotes."""
    rows = [",".join(columns(op)), *(",".join(values(case).values()) for case in cases(op))]
    return "\n".join(rows) + "\n"


def main() -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    for op in OPS:
        (FOLDER / f"{op}.csv").write_text(as_csv(op), encoding="utf-8")


if __name__ == "__main__":
    main()
