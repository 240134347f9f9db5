"""The model's arithmetic on launches made up for the purpose, and its report."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from evsam.cli import main
from evsam.costs import FP16
from evsam.gpu_model.budgets import parse_registers, read_registers
from evsam.gpu_model.devices import get_device
from evsam.gpu_model.estimate import estimate
from evsam.gpu_model.launches import Launch
from evsam.gpu_model.occupancy import LIMITS
from evsam.gpu_model.report import LABEL, as_json, as_text, model_encoder
from evsam.layers import encoder_ops
from evsam.zoo import VARIANTS

A100 = get_device("a100")


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
    return [launch(kernel=f"f16_{op.name}", tensor_macs=op.macs, bytes=op.bytes(FP16))]


REGISTERS = {
    f"f16_{name}": {80: 64, 87: 64}
    for name in ("preprocess", "conv3x3", "pointwise", "fused_mbconv", "mbconv", "lite_mla", "resize", "layer_norm")
}


def test_report_adds_up():
    variant = VARIANTS["l0"]
    model = model_encoder(variant, A100, 2, REGISTERS, one_launch_per_op)
    assert [row.op for row in model.rows] == encoder_ops(variant, 2)
    data = json.loads(json.dumps(as_json([model])))
    assert data["kind"] == LABEL == "model, not a measurement"
    one = data["models"][0]
    assert (one["variant"], one["batch"], one["without_kernel"]) == ("l0", 2, [])
    assert one["flops"] == 2 * 2 * variant.encoder_macs
    assert one["seconds"] == pytest.approx(sum(kernel["seconds"] for kernel in one["kernels"]))
    assert one["bytes"]["compulsory"] == one["bytes"]["launches"] < one["bytes"]["separate"]
    assert one["device"]["sources"]["dram_gbs"].startswith("NVIDIA A100")
    assert {"flop_per_byte", "blocks", "occupancy", "waves", "roof", "seconds"} < set(one["kernels"][0])


def test_text_is_labelled_and_merges_what_is_alike():
    model = model_encoder(VARIANTS["l0"], A100, 1, REGISTERS, one_launch_per_op)
    text = as_text(model)
    assert text.splitlines()[0] == "l0, batch 1, fp16 on NVIDIA A100 SXM 80GB: model, not a measurement"
    blocks = [line.split() for line in text.splitlines() if "256 -> 256 -> 256 64x64" in line]
    assert len(blocks) == 1
    assert blocks[0][:2] == ["f16_fused_mbconv", "4"], "the four blocks of the neck"
    assert f"sum: {1e3 * model.seconds:.3f} ms" in text
    assert "in no sum" not in text


def test_ops_without_kernels_are_named():
    model = model_encoder(VARIANTS["l0"], A100, 1, REGISTERS, lambda op, _: [launch()] if op.name == "k" else [])
    assert len(model.missing) == len(encoder_ops(VARIANTS["l0"]))
    assert "in no sum, for want of a kernel in the table: preprocess, stage 0 block 0, " in as_text(model)


def test_kernels_that_are_not_in_the_table():
    registers = {name: counts for name, counts in REGISTERS.items() if name != "f16_lite_mla"}
    model = model_encoder(VARIANTS["l0"], A100, 1, registers, one_launch_per_op)
    assert {op.name for op in model.missing} == {"lite_mla"}
    assert "f16_lite_mla" not in as_text(model)


def test_registers_of_the_table():
    assert read_registers()["f16_layer_norm_nhwc__sm80"].keys() == LIMITS.keys()
    with pytest.raises(ValueError, match=r"cuda_budgets.json: expected format 1, got 2"):
        parse_registers({"format": 2, "kernels": {}})


def test_command(tmp_path, capsys):
    path = tmp_path / "model.json"
    assert main(["bench", "l0", "--model-gpu", "orin", "--batch", "2", "--json", str(path)]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("l0, batch 2, fp16 on NVIDIA Jetson AGX Orin 64GB: model, not a measurement\n")
    assert [model["batch"] for model in json.loads(path.read_text())["models"]] == [2]
    assert main(["bench", "--model-gpu", "--", "xl1"]) == 0
    assert capsys.readouterr().out.count(LABEL) == 4


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model-gpu", "l0"], "device: expected one of a100, h100, orin, thor, got 'l0'"),
        (["--model-gpu", "orin", "l0", "--batch", "0"], "batch: expected a number >= 1, got 0"),
        (["l0", "--batch", "2"], "--batch and --json need --model-gpu"),
        (["l0", "--json", "x"], "--batch and --json need --model-gpu"),
    ],
)
def test_command_refuses(arguments, message, capsys):
    with pytest.raises(SystemExit) as error:
        main(["bench", *arguments])
    assert error.value.code == 2
    assert message in capsys.readouterr().err


def test_nothing_heavy_is_imported():
    code = (
        "import sys; sys.modules['evsam._C'] = None; from evsam.cli import main; main(['bench', 'l0', '--model-gpu']); "
        "print([name for name in ('torch', 'evsam._cuda') if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], text=True, capture_output=True, check=True)
    assert result.stdout.splitlines()[-1] == "[]"
