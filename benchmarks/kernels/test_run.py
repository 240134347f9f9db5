"""The command, the rules by which results are right, and the READMEs' tables."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks import run
from benchmarks.harness import Settings, read
from benchmarks.kernels import measure, tables
from benchmarks.kernels.calls import call_of
from benchmarks.kernels.measure import KEY, measure_case, rule_of
from benchmarks.kernels.peers import EAGER, ONEDNN, peers
from evsam.ops.cases import OPS, Case, cases

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def blas_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "GOMP_SPINCOUNT", "KMP_BLOCKTIME"):
        monkeypatch.setenv(name, "1")  # the command sets them; restored afterwards


@pytest.fixture(autouse=True)
def torch_threads() -> Any:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)
    measure._prepared.cache_clear()


def awkward(op: str) -> Case:
    """A small case that Python can call."""
    return min((case for case in cases(op) if call_of(case) is not None), key=lambda case: case.op.flops)


@pytest.mark.parametrize("op", OPS)
def test_every_op_has_a_call_and_peers_that_agree(op: str) -> None:
    chosen = [case for case in cases(op) if not case.timed and case.op.flops < 3_000_000]
    for case in chosen[:: max(1, len(chosen) // 8)]:
        call = call_of(case)
        if call is None:
            continue
        rule = rule_of(case, call)
        for isa in run.isas():
            rule(call.kernel(isa, 2)())
        with torch.inference_mode():
            for name, peer in peers(case.op, call).items():
                got = peer().numpy()
                assert measure._passes(rule, got) or name == ONEDNN, name  # whose sums may be in any order
                if name == ONEDNN:
                    np.testing.assert_allclose(got, peers(case.op, call)[EAGER]().numpy(), rtol=1e-3, atol=1e-3)


def test_a_wrong_kernel_is_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    case = awkward("pointwise")
    call = call_of(case)
    assert call is not None
    got = call.kernel("scalar", 1)()
    rule_of(case, call)(got)
    for error in (1e-3, np.nan):
        wrong = got.copy()
        wrong.flat[0] += error
        with pytest.raises(AssertionError):
            rule_of(case, call)(wrong)
    broken = replace(call, kernel=lambda *_: lambda: got + 1)
    monkeypatch.setattr(measure, "call_of", lambda _: broken)
    with pytest.raises(AssertionError):
        measure_case(case, ["scalar"], Settings(1, 0.0))


@pytest.mark.parametrize("op", ["conv3x3", "pointwise_int8"])
def test_rules_of_what_rounds_more(op: str) -> None:
    case = next(case for case in cases(op) if case.timed and case.op.in_channels >= 16 and case.op.flops < 2e9)  # type: ignore[attr-defined]
    call = call_of(case)
    assert call is not None
    rule = rule_of(case, call)
    got = call.kernel(run.isas()[-1], 2)()
    rule(got)
    rng = np.random.default_rng(0)
    with pytest.raises(AssertionError, match="expected a relative rms error of at most"):
        rule(got * (1 + 0.1 * rng.standard_normal(got.shape)))


def test_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "out.json"
    arguments = ["--op", "layer_norm", "sam_head", "--variant", "nano", "l0", "--seconds", "0", "--output", str(path)]
    assert run.main([*arguments, "--isa", *run.isas(), "--case", "r n"]) == 0
    printed = capsys.readouterr().out
    assert "torch eager" in printed
    assert "% of memory" in printed
    lines = read(path)
    assert {line["candidate"] for line in lines} == {EAGER, *(f"evsam {isa}" for isa in run.isas())}
    assert {line["op"] for line in lines} == {"layer_norm"}
    assert all(line["correct"] for line in lines)
    for line in lines:
        line["median_ms"] *= 2
    path.write_text(json.dumps({"lines": lines}))
    run.main(["--op", "layer_norm", "--variant", "nano", "--case", "r n", "--seconds", "0", "--compare", str(path)])
    printed = capsys.readouterr().out
    assert "geometric mean of 2" in printed


def test_arguments() -> None:
    for wrong in (["--op", "nothing"], ["--case", "no such case"], ["--isa", "mmx"]):
        with pytest.raises(SystemExit):
            run.main(wrong)


def line(candidate: str, ms: float, **more: Any) -> dict[str, Any]:
    case = {"op": "mbconv", "case": "nano x", "shape": "8 -> 8", "threads": 1, "cache": "warm", "candidate": candidate}
    roof = {"nearer": "compute", "percent": 50.0}
    return {**case, "correct": True, "median_ms": ms, "gflops": 12.3, "gbs": 1.0, "roof": roof, **more}


def test_without_pytorch_the_command_says_what_to_install() -> None:
    code = "import runpy, sys; sys.modules['torch'] = None; runpy.run_module('benchmarks.run', run_name='__main__')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].endswith("got no torch: pip install '.[torch]'")


def test_compare() -> None:
    before = [line("evsam avx2", 2.0), line("evsam avx2", 4.0, threads=2), line("torch eager", 1.0, correct=False)]
    now = [line("evsam avx2", 1.0), line("evsam avx2", 8.0, threads=2), line("torch eager", 1.0), line("new", 1.0)]
    rows = run.compare(now, before, KEY).splitlines()
    assert [row.split()[-1] for row in rows[1:]] == ["0.500", "2.000", "1.000"]
    assert "geometric mean of 2" in rows[3]


def test_table() -> None:
    lines = [
        line("evsam avx2", 0.5),
        line(EAGER, 12.34),
        line(ONEDNN, 0.01, correct=False),
        line("evsam avx2", 0.3, threads=2),
        line("evsam avx2 direct", 0.9),
    ]
    rows = tables.table(lines).splitlines()
    assert rows[0].startswith("| layer | shape | threads | ms |")
    assert rows[2] == "| nano x | 8 -> 8 | 1 | 0.50 | 12 | 1.0 | 50 % of compute | 0.90 | 12.3 | incorrect |"
    assert rows[3] == "| nano x | 8 -> 8 | 2 | 0.30 | 12 | 1.0 | 50 % of compute |  |  |  |"


@pytest.mark.parametrize("path", tables.readmes(), ids=lambda path: path.parent.name)
def test_readmes_say_what_the_results_do(path: Path) -> None:
    assert path.read_text(encoding="utf-8") == tables.expected(path), "run: python -m benchmarks.run --tables"
