"""The table of what the compiler made of each kernel: evsam/data/cuda_budgets.json.

Written by ``python -m benchmarks.cuda_budgets --update``, which says what is in it.
"""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any

__all__ = ["FORMAT", "read_registers"]

FORMAT = 1


def read_registers() -> dict[str, dict[int, int]]:
    """Registers per thread of every kernel, by compute capability as in ``sm_87``: 87.

    Raises:
        ValueError: the table has another format.
    """
    table = json.loads((files("evsam") / "data" / "cuda_budgets.json").read_text(encoding="utf-8"))
    return parse_registers(table)


def parse_registers(table: dict[str, Any]) -> dict[str, dict[int, int]]:
    """As :func:`read_registers`, of a table that was read already."""
    if table["format"] != FORMAT:
        raise ValueError(f"cuda_budgets.json: expected format {FORMAT}, got {table['format']}")
    return {
        kernel: {int(capability): count for capability, count in row["registers"].items()}
        for kernel, row in table["kernels"].items()
    }
