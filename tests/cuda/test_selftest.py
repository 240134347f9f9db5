"""`evsam selftest --gpu` in emulation: right kernels pass, wrong ones are found, times are refused."""

from __future__ import annotations

import json
import sys
from dataclasses import replace

import pytest

from benchmarks.gpu_model.launches import launches
from evsam import ops
from evsam.cli import main
from evsam.costs import LayerNorm, Transpose
from evsam.layers import encoder_ops
from evsam.ops.cases import CUDA_OPS, cuda_cases
from evsam.selftest import command
from evsam.selftest.checks import LayerNormCheck, check_of, layer_checks, quick_checks
from evsam.selftest.command import run_checks
from evsam.selftest.devices import get_device
from evsam.zoo import VARIANTS


def test_quick_checks_pass(emulated, capsys, tmp_path):
    path = tmp_path / "found.json"
    status = main(["selftest", "--gpu", "--quick", "--json", str(path)])
    printed = capsys.readouterr().out
    assert status == 0, printed
    found = json.loads(path.read_text())
    assert found["failed"] == 0
    assert all(check["passed"] and check["error"] <= check["allowed"] for check in found["checks"])
    assert len(found["checks"]) == len(quick_checks())
    assert {check["dtype"] for check in found["checks"]} == {"float16", "bfloat16", "float32"}
    assert f"{len(found['checks'])} of {len(found['checks'])} checks passed" in printed


def test_small_layers_pass(emulated):
    layers = [check for check in layer_checks(["l0"]) if 0 < check.macs < 7e7]
    assert {check.op for check in layers} == {"conv3x3", "pointwise", "relu_linear_attention"}
    assert [outcome for outcome in run_checks(layers, emulated) if not outcome.passed] == []


@pytest.fixture
def only_layer_norm(monkeypatch):
    check = LayerNormCheck(LayerNorm("", 1, 2, 3, 16))
    monkeypatch.setattr(command, "quick_checks", lambda: [check])
    return check


def test_a_wrong_kernel_is_found(emulated, monkeypatch, capsys, tmp_path, only_layer_norm):
    right = ops.layer_norm_2d
    monkeypatch.setattr(ops, "layer_norm_2d", lambda **arrays: right(**{**arrays, "eps": 0.01}))
    path = tmp_path / "found.json"
    assert main(["selftest", "--gpu", "--quick", "--json", str(path)]) == 1
    printed = capsys.readouterr()
    assert "FAILED" in printed.out
    assert "0 of 1 checks passed" in printed.out
    assert "selftest: expected 1 checks to pass, 1 failed" in printed.err
    assert json.loads(path.read_text())["failed"] == 1


def test_a_kernel_that_raises_is_found(emulated, monkeypatch, capsys, only_layer_norm):
    def refuse(**_):
        raise ValueError("x: expected something else")

    monkeypatch.setattr(ops, "layer_norm_2d", refuse)
    assert main(["selftest", "--gpu", "--quick"]) == 1
    assert "FAILED  1 x 16 2x3  (ValueError: x: expected something else)" in capsys.readouterr().out


def test_nan_is_found(emulated, monkeypatch, only_layer_norm):
    right = ops.layer_norm_2d

    def spoiled(**arrays):
        host = right(**arrays).to_host()
        host[0, 3, 1, 1] = float("nan")
        return emulated.DeviceArray.from_host(host)

    monkeypatch.setattr(ops, "layer_norm_2d", spoiled)
    outcome = next(run_checks([only_layer_norm], emulated))
    assert outcome.comparison is not None
    assert outcome.comparison.error == float("inf")
    assert not outcome.passed


def test_emulation_has_no_times(emulated, capsys):
    assert main(["selftest", "--gpu", "--quick", "--time"]) == 1
    assert "timing: expected a CUDA device, got its emulation on the CPU" in capsys.readouterr().err


def test_without_a_build(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "evsam._cuda", None)
    assert main(["selftest", "--gpu"]) == 1
    assert "expected evsam built with its CUDA kernels" in capsys.readouterr().err


def test_what_only_the_gpu_has(capsys):
    with pytest.raises(SystemExit):
        main(["selftest", "--quick"])
    assert "--variant, --quick and --time need --gpu" in capsys.readouterr().err


class Events:
    """Every call takes 2 ms."""

    def __init__(self):
        self.now = 0.0
        self.filled = []

    def record(self):
        self.now += 1e-3
        return self.now

    def seconds(self, begin, end):
        return 2 * (end - begin)

    def fill(self, address, size):
        self.filled.append((address != 0, size))

    def multiprocessors(self):
        return 108


def test_times(emulated, monkeypatch, only_layer_norm):
    clock = Events()
    monkeypatch.setattr(command, "Events", lambda: clock)
    monkeypatch.setattr(command, "FLUSH_BYTES", 64)
    monkeypatch.setattr(command, "CALLS", 3)
    monkeypatch.setattr(command, "data_sheet", lambda *_: get_device("a100"))
    lines: list[str] = []
    entries = command._time([only_layer_norm], emulated, lines.append)
    assert [entry["cache"] for entry in entries] == ["warm", "cold"]
    assert clock.filled == [(True, 64)] * 2 * (2 + 3), "until two calls take as long, then those that count"
    for entry in entries:
        assert entry["median"] == pytest.approx(2e-3)
        assert entry["gbs"] == pytest.approx(1e-9 * only_layer_norm.bytes / 2e-3)
        assert entry["percent"] == pytest.approx(100 * entry["gbs"] / 2039)
    assert "2000.0" in lines[-1]
    assert "% memory" in lines[-1]


def test_layers_of_all_variants_are_checked():
    checks = layer_checks(VARIANTS)
    assert len(set(checks)) == len(checks)
    attention = {check.shape for check in checks if check.op == "relu_linear_attention"}
    assert attention > {
        f"1 x 32 heads d32 {tokens} tokens by {by}" for tokens in (256, 1024) for by in ("channels", "tokens")
    }
    checked = {replace(check.layer, layer="") for check in checks}
    for variant in VARIANTS.values():
        for op in encoder_ops(variant):
            assert bool(launches(op, get_device("a100"))) == (replace(op, layer="") in checked), op


def test_layers_of_one_variant_and_batch():
    checks = layer_checks(["l0"], batch=3)
    assert {check.shape[0] for check in checks if check.op not in ("mask_upsample", "preprocess")} == {"3"}
    assert {replace(op, layer="") for op in encoder_ops(VARIANTS["l0"], 3)} - {
        replace(check.layer, layer="") for check in checks
    } == {replace(encoder_ops(VARIANTS["l0"], 3)[0], layer="")}, "one photo a call"
    with pytest.raises(TypeError, match="op: expected one that has a CUDA kernel, got Transpose"):
        check_of(Transpose("", 1, 2, 3, 4))


def test_table_has_rows_for_every_kernel(emulated_module):
    assert {row["op"] for row in emulated_module.kernels()} == set(CUDA_OPS)
    quick = quick_checks()
    assert {check.op for check in quick} == set(CUDA_OPS)
    assert len(set(quick)) == len(quick)
    with pytest.raises(ValueError, match=r"op: expected one of conv3x3, .*, resize, got 'transpose'"):
        cuda_cases("transpose")
