"""The model's arithmetic on launches made up for the purpose, and its report."""

from __future__ import annotations

import json

import pytest

from evsam.gpu_model.devices import get_device
from evsam.gpu_model.estimate import estimate
from evsam.gpu_model.launches import Launch
from evsam.gpu_model.layers import encoder_ops
from evsam.gpu_model.report import LABEL, as_json, as_text, model_encoder
from evsam.zoo import VARIANTS

A100 = get_device("a100")
ORIN = get_device("orin")


def launch(**changes):
    values = {
        "kernel": "k",
        "grid": (108, 1, 1),
        "threads": 128,
        "shared_bytes": 0,
        "tensor_macs": 0,
        "fp32_macs": 0,
        "bytes": 1,
    }
    return Launch(**{**values, **changes})


@pytest.mark.parametrize(
    ("work", "roof", "seconds"),
    [
        ({"tensor_macs": 156 * 10**9}, "tensor", 1e-3),
        ({"fp32_macs": 975 * 10**7}, "fp32", 1e-3),
        ({"bytes": 2039 * 10**6}, "memory", 1e-3),
        # the units work side by side: the slowest counts
        ({"tensor_macs": 156 * 10**9, "fp32_macs": 4 * 975 * 10**7, "bytes": 2 * 2039 * 10**6}, "fp32", 4e-3),
    ],
)
def test_the_longest_bound_is_the_roof(work, roof, seconds):
    result = estimate(launch(**work), A100, {80: 32})
    assert result.roof == roof
    assert result.seconds == pytest.approx(seconds)
    assert result.roof_seconds == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("blocks", "efficiency"), [(1, 1 / 108), (54, 0.5), (108, 1.0), (109, 109 / 216), (216, 1.0), (324 + 27, 351 / 432)]
)
def test_blocks_that_do_not_divide_evenly(blocks, efficiency):
    work = {"bytes": 2039 * 10**6, "grid": (blocks, 1, 1)}
    result = estimate(launch(**work), A100, {80: 32})
    assert result.efficiency == pytest.approx(efficiency)
    assert result.seconds == pytest.approx(1e-3 / efficiency)
    assert result.roof_seconds == pytest.approx(1e-3)
    assert result.waves == pytest.approx(blocks / (108 * 16))


def test_what_cannot_be_modelled():
    with pytest.raises(ValueError, match="registers: expected those of k on sm_80, got none"):
        estimate(launch(), A100, {87: 32})
    with pytest.raises(ValueError, match=r"k: expected a block that fits on .* \(too many shared memory\)"):
        estimate(launch(shared_bytes=164 * 1024), A100, {80: 32})


def test_rates_of_a_launch():
    made = launch(grid=(2, 3, 4), tensor_macs=10, fp32_macs=5, bytes=6)
    assert (made.blocks, made.flops, made.intensity) == (24, 30, 5.0)


def one_launch_per_op(op, _device):
    return [launch(kernel=f"f16_{op.name}", tensor_macs=op.macs, bytes=op.compulsory_bytes)]


REGISTERS = {
    f"f16_{name}": {80: 64, 87: 64}
    for name in ("preprocess", "conv3x3", "pointwise", "fused_mbconv", "mbconv", "lite_mla", "resize", "layer_norm")
}


def test_report_adds_up():
    variant = VARIANTS["l0"]
    rows = model_encoder(variant, A100, 2, REGISTERS, one_launch_per_op)
    assert [row.op for row in rows] == encoder_ops(variant, 2)
    data = json.loads(json.dumps(as_json(variant, 2, {A100: rows, ORIN: []})))
    assert data["kind"] == LABEL == "model, not a measurement"
    assert (data["variant"], data["batch"]) == ("l0", 2)
    device = data["devices"][0]
    assert device["flops"] == 2 * 2 * variant.encoder_macs
    assert device["seconds"] == pytest.approx(sum(kernel["seconds"] for kernel in device["kernels"]))
    assert device["bytes"]["compulsory"] == device["bytes"]["launches"] < device["bytes"]["separate_ops"]
    assert device["sources"]["dram_gbs"].startswith("NVIDIA A100")
    assert {"flop_per_byte", "blocks", "occupancy", "waves", "roof", "seconds"} < set(device["kernels"][0])


def test_text_is_labelled_and_merges_what_is_alike():
    variant = VARIANTS["l0"]
    rows = model_encoder(variant, A100, 1, REGISTERS, one_launch_per_op)
    text = as_text(variant, 1, A100, rows)
    assert text.splitlines()[0] == "l0, batch 1, fp16 on NVIDIA A100 SXM 80GB: model, not a measurement"
    blocks = [line.split() for line in text.splitlines() if "256 -> 256 -> 256 64x64" in line]
    assert len(blocks) == 1
    assert blocks[0][:2] == ["f16_fused_mbconv", "4"], "the four blocks of the neck"
    milliseconds = 1e3 * sum(row.estimate.seconds for row in rows)
    assert f"sum: {milliseconds:.3f} ms" in text


def test_unknown_kernel():
    with pytest.raises(ValueError, match="registers: expected those of f16_preprocess, got none"):
        model_encoder(VARIANTS["l0"], A100, 1, {}, one_launch_per_op)
