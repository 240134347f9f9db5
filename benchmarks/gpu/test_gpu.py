"""The benchmarks of the CUDA kernels as far as they go without a GPU: peers, records, arguments, refusal."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks import harness
from benchmarks.gpu import run
from benchmarks.gpu.contest import EVSAM, compete, contestants, record, tensors
from benchmarks.gpu.peers import has_convolution, has_peer, peer
from evsam.costs import LayerNorm, Pointwise, ReluLinearAttention
from evsam.selftest.checks import Check, LayerNormCheck, LinearAttentionCheck, PointwiseCheck, quick_checks
from evsam.selftest.devices import get_device
from evsam.selftest.reference import exact

CASES = [check for check in quick_checks() if has_peer(check)]


@pytest.mark.parametrize("check", CASES, ids=lambda check: f"{check.op} {check.shape}")
def test_peers_compute_the_same_op(check: Check[Any]) -> None:
    if getattr(check, "activation_scale", 1.0) != 1.0:
        pytest.skip("PyTorch's GELU has no scale")
    inputs = check.inputs(np.random.default_rng(0))
    numbers = {name: values.array for name, values in inputs.items()}
    got = peer(check)({name: torch.from_numpy(array) for name, array in numbers.items()})
    # attention is float32 inside, as in the network
    wide = not isinstance(check, LinearAttentionCheck) and check.op != "lite_mla"
    np.testing.assert_allclose(
        got.numpy(), check.expected(numbers, exact), rtol=1e-9 if wide else 1e-3, atol=1e-9 if wide else 1e-4
    )


def test_what_has_no_peer() -> None:
    without = {check.op for check in quick_checks() if not has_peer(check)}
    assert without == {"preprocess", "mask_upsample"}
    assert not has_convolution(LinearAttentionCheck(ReluLinearAttention("", 1, 1, 16, 8)))
    with pytest.raises(TypeError, match="check: expected an op that PyTorch has a peer for, got mask_upsample"):
        peer(next(check for check in quick_checks() if check.op == "mask_upsample"))


class Clock:
    """Each call takes as long as the next number says."""

    def __init__(self, *seconds: float) -> None:
        self.seconds_left = list(seconds)

    def record(self) -> None:
        """An event."""

    def seconds(self, _begin: object, _end: object) -> float:
        """The next number."""
        return self.seconds_left.pop(0)


def test_contest() -> None:
    check = LayerNormCheck(LayerNorm("", 1, 2, 3, 16))
    inputs = check.inputs(np.random.default_rng(0))
    arrays = tensors(inputs, "cpu")
    assert arrays["x"].is_contiguous(memory_format=torch.channels_last)
    candidates = contestants(check, arrays, compiled=False)
    assert list(candidates) == [EVSAM, "torch eager", "torch eager, channels last"]
    right = candidates["torch eager"]
    candidates = {EVSAM: right, "right": right, "wrong": lambda: right() + 1}
    clock = Clock(*[2e-6] * 2, *[4e-6] * 2, *[2e-6, 4e-6] * 3)  # warm-up, then turns
    contest = compete(check, inputs, candidates, lambda: None, clock, "cold", calls=3)
    lines = {line["candidate"]: line for line in record(contest, "cold", get_device("a100"))}
    assert (lines[EVSAM]["median_us"], lines["right"]["median_us"]) == (2.0, 4.0)
    assert (lines["wrong"]["correct"], "median_us" in lines["wrong"]) == (False, False)
    assert lines[EVSAM]["gbs"] == pytest.approx(1e-9 * check.bytes / 2e-6, abs=0.06)
    assert lines[EVSAM]["roof"]["nearer"] == "memory"
    assert lines[EVSAM]["roof"]["percent"] == pytest.approx(2 * lines["right"]["roof"]["percent"], abs=0.06)
    text = run.table(list(lines.values()))
    assert "incorrect, error" in text
    assert "% of memory" in text


def test_a_wrong_kernel_is_not_timed() -> None:
    check = LayerNormCheck(LayerNorm("", 1, 2, 3, 16))
    inputs = check.inputs(np.random.default_rng(0))
    wrong = {EVSAM: lambda: tensors(inputs, "cpu")["x"]}
    with pytest.raises(AssertionError, match="layer_norm 1 x 16 2x3: expected an error up to"):
        compete(check, inputs, wrong, lambda: None, Clock(), "cold", calls=1)


def test_contestants_of_convolutions() -> None:
    check = PointwiseCheck(Pointwise("", 1, 3, 3, 8, 8))
    arrays = tensors(check.inputs(np.random.default_rng(0)), "cpu")
    names = list(contestants(check, arrays, compiled=True))
    assert names[-2:] == ["cuDNN, channels last, best algorithm", "torch.compile, channels last"]


def test_bfloat16_inputs() -> None:
    check = LinearAttentionCheck(ReluLinearAttention("", 1, 1, 16, 8), "bfloat16")
    inputs = check.inputs(np.random.default_rng(0))
    qkv = tensors(inputs, "cpu")["qkv"]
    assert qkv.dtype == torch.bfloat16
    np.testing.assert_array_equal(qkv.double().numpy(), inputs["qkv"].array)


def test_cases() -> None:
    attention = run.select(["relu_linear_attention"], ["l0"], 1)
    assert [check.op for check in attention] == ["relu_linear_attention"] * (2 + len(run.ATTENTION))
    two = run.select(["layer_norm"], ["l0"], 2)
    assert [check.shape for check in two] == ["2 x 256 64x64"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--batch", str(10**30)], f"--batch: expected a whole number from 1 to {2**31 - 1}, got {10**30}"),
        (["--calls", "0"], "--calls: expected a whole number from 1 to"),
        (["--ops", "softmax"], "--ops: expected an op of the variants, got softmax"),
        (["--cache", "hot"], "invalid choice"),
    ],
)
def test_arguments(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as error:
        run.main(arguments)
    assert error.value.code == 2
    assert message in capsys.readouterr().err


def test_nothing_runs_without_a_gpu(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert run.main(["--variants", "l0"]) == 1
    assert "expected a CUDA device and PyTorch with CUDA, got none" in capsys.readouterr().err


def test_saved_with_the_devices_environment(tmp_path: Path) -> None:
    line: dict[str, Any] = {"op": "x", "case": "a", "threads": None, "cache": "warm", "candidate": "evsam"}
    path = tmp_path / "device.json"
    harness.save(path, [line], run.KEY, {"device": "NVIDIA Thor"})
    harness.save(path, [{**line, "median_us": 1.0}], run.KEY, {"device": "NVIDIA Thor"})
    saved = harness.read(path)
    assert saved == [{**line, "median_us": 1.0, "environment": {"device": "NVIDIA Thor"}}]
    assert run.results_file("NVIDIA A100-SXM4-80GB").name == "nvidia-a100-sxm4-80gb.json"
