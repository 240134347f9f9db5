"""`evsam selftest` on the CPU: right kernels pass on every instruction set, wrong ones are found and named."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from evsam import _C, ops
from evsam.cli import main
from evsam.ops.cases import OPS
from evsam.selftest import cpu
from evsam.selftest.cpu import TABLES, cpu_checks, selftest_cpu

ISAS = list(dict.fromkeys(kernel["isa"] for kernel in _C.kernels() if kernel["supported"]))


def test_all_pass(capsys, tmp_path) -> None:
    path = tmp_path / "found.json"
    assert main(["selftest", "--json", str(path)]) == 0, capsys.readouterr().out
    found = json.loads(path.read_text())
    assert (found["isas"], found["failed"]) == (ISAS, 0)
    assert {(row["op"], row["isa"]) for row in found["checks"]} == {(op, isa) for op in TABLES for isa in ISAS}
    assert all(row["shapes"] >= 10 and 0 <= row["error"] <= 1 and not row["failed"] for row in found["checks"])
    # sums and averages are never exact: what is compared has been computed
    assert all(row["error"] > 0 for row in found["checks"] if row["op"] not in ("mask_upsample", "transpose"))
    assert capsys.readouterr().out.count("  ok\n") == len(TABLES)


def test_every_table_is_there_but_those_that_are_named() -> None:
    assert set(OPS) - set(TABLES) == {"mask_prompt", "pointwise_int8", "sam_head"}


@pytest.mark.parametrize(
    ("table", "spoil"),
    [
        ("layer_norm", lambda y: y * np.float32(1 + 1e-4)),
        ("mask_head", lambda y: np.where(np.arange(y.shape[-1]) == y.shape[-1] - 1, 0, y)),
        ("conv3x3", lambda y: y + np.float32(1e-2)),
        ("patch_conv", lambda y: np.where(y == y.max(), np.float32("nan"), y)),
        ("pointwise", lambda y: y[:, :, :, :-1]),
    ],
)
def test_a_wrong_kernel_is_found(monkeypatch, table, spoil) -> None:
    """Spoilt results of one instruction set."""
    right = ops.pack

    def pack(*arguments: Any, isa: str, **keywords: Any) -> Any:
        packed = right(*arguments, isa=isa, **keywords)
        if isa != ISAS[-1]:
            return packed

        class Spoilt:
            maps = packed.maps

            def __call__(self, *maps: Any) -> Any:
                return spoil(packed(*maps))

        return Spoilt()

    monkeypatch.setattr(ops, "pack", pack)
    monkeypatch.setattr(cpu, "TABLES", (table,))
    lines: list[str] = []
    found = selftest_cpu(lines.append)
    assert [row["isa"] for row in found["checks"] if row["failed"]] == [ISAS[-1]]
    assert found["failed"] == 1
    assert any(line.endswith("FAILED") for line in lines)
    assert any(line.startswith(f"  {ISAS[-1]}: ") for line in lines)


def test_a_wrong_way_back_is_found(monkeypatch) -> None:
    """Transposes that are each other's inverse, and wrong."""
    check = next(check for check in cpu_checks("transpose") if check.check.layer.channels > 1)
    forth = _C.to_channels_last

    def turned(x: Any, out: Any, *, isa: str) -> None:
        forth(np.ascontiguousarray(x[:, ::-1]), out, isa=isa)

    monkeypatch.setattr(_C, "to_channels_last", turned)
    assert not check.run(ISAS)[ISAS[0]].passed
