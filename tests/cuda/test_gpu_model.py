"""The cost model: its launches against those of the launchers, occupancy, arithmetic and report.

Launchers run in emulation and compute nothing here, so the layers have their real sizes. Occupancy has cases worked out
by hand, and the CUDA toolkit's own calculator where its header is installed. Arithmetic and report are looked at on
launches made up for the purpose.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks.gpu_model.__main__ import main
from benchmarks.gpu_model.budgets import load, registers_of
from benchmarks.gpu_model.launches import Launch, launches
from benchmarks.gpu_model.model import LABEL, as_json, as_text, estimate, model_encoder
from benchmarks.gpu_model.occupancy import KIB, LIMITS, Occupancy, limits_of, occupancy
from evsam.costs import FP16
from evsam.layers import encoder_ops
from evsam.selftest.checks import check_of, to_device
from evsam.selftest.devices import DEVICES, get_device
from evsam.zoo import VARIANTS, get_variant

ROOT = Path(__file__).parents[2]

PUBLISHED = [name for name in VARIANTS if name != "nano"]


class Zeros(np.random.Generator):
    """Large maps at little cost."""

    def __init__(self):
        super().__init__(np.random.PCG64(0))

    def standard_normal(self, size=None, dtype=np.float64, out=None):
        return np.zeros(size or (), dtype)


@pytest.fixture
def trace(emulated):
    """What an op launches on a device: name, grid, threads, shared bytes."""

    def run(op, device):
        limits = limits_of(device.compute_capability)
        emulated.set_device(
            multiprocessors=device.multiprocessors,
            compute_capability=device.compute_capability,
            shared_bytes=limits.shared_per_block,
        )
        check = check_of(op)
        arrays = {name: to_device(emulated, values) for name, values in check.inputs(Zeros()).items()}
        emulated.begin_trace(execute=False)
        try:
            check.call(arrays)
        finally:
            found = emulated.end_trace()
        return [(row["name"], row["grid"], row["block"][0], row["shared_bytes"]) for row in found]

    yield run
    emulated.set_device(multiprocessors=108, compute_capability=80, shared_bytes=99 * 1024)


def modelled(op, device):
    return [(launch.kernel, launch.grid, launch.threads, launch.shared_bytes) for launch in launches(op, device)]


def different_ops(names, batch=1):
    """The ops of the encoders, those that only differ in their place once."""
    ops = [op for name in names for op in encoder_ops(get_variant(name), batch)]
    return {dataclasses.replace(op, layer=""): op for op in ops}.values()


@pytest.mark.parametrize("name", ["l0", "xl1"])
def test_launches_are_those_of_the_launchers(trace, name):
    device = get_device("a100")
    for op in different_ops([name]):
        assert modelled(op, device) == trace(op, device), f"{op.layer}: {op.name} {op.shape}"


@pytest.mark.parametrize("device", DEVICES.values(), ids=lambda device: device.name)
def test_other_devices_and_batches(trace, device):
    for op in different_ops(["l0"], batch=2):
        if op.name != "preprocess":  # one photo a call
            assert modelled(op, device) == trace(op, device), f"{op.layer}: {op.name} {op.shape}"


@pytest.mark.parametrize("name", PUBLISHED)
@pytest.mark.parametrize("device", DEVICES.values(), ids=lambda device: device.name)
def test_every_op_of_the_published_variants_is_modelled(name, device):
    variant = get_variant(name)
    registers = {  # of any number: their table has a test of its own
        launch.kernel: {device.compute_capability: 128}
        for op in encoder_ops(variant)
        for launch in launches(op, device)
    }
    model = model_encoder(variant, device, 1, registers, launches)
    assert [op.layer for op in model.missing] == []
    macs = sum(row.launch.tensor_macs + row.launch.fp32_macs for row in model.rows if row.op.macs)
    assert macs >= variant.encoder_macs, "kernels may do more than the definition, not less"
    moved = model.bytes
    assert moved["compulsory"] <= moved["launches"]
    # With many multiprocessors for one image, blocks share tiles and pass sums through memory; with few, fusing pays.
    assert moved["launches"] < moved["separate"] or device.multiprocessors > 100


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
    assert registers_of(load())["f16_layer_norm_nhwc__sm80"].keys() == LIMITS.keys()


def test_command(tmp_path, capsys):
    path = tmp_path / "model.json"
    assert main(["l0", "--device", "orin", "--batch", "2", "--json", str(path)]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("l0, batch 2, fp16 on NVIDIA Jetson AGX Orin 64GB: model, not a measurement\n")
    assert [model["batch"] for model in json.loads(path.read_text())["models"]] == [2]
    assert main(["xl1"]) == 0
    assert capsys.readouterr().out.count(LABEL) == 4


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--device", "l0"], "argument --device: invalid choice: 'l0'"),
        (["nowhere"], "argument variant: invalid choice: 'nowhere'"),
        (["l0", "--batch", "0"], "argument --batch: expected a whole number from 1 to 2147483647, got 0"),
    ],
)
def test_command_refuses(arguments, message, capsys):
    with pytest.raises(SystemExit) as error:
        main(arguments)
    assert error.value.code == 2
    assert message in capsys.readouterr().err


def test_nothing_heavy_is_imported():
    code = (
        "import sys; from benchmarks.gpu_model.__main__ import main; main(['l0']); "
        "print([name for name in ('torch', 'evsam._cuda') if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], text=True, capture_output=True, check=True, cwd=ROOT)
    assert result.stdout.splitlines()[-1] == "[]"


# Reads "cc threads registers shared max_threads max_shared" a line, writes the blocks per multiprocessor.
CALCULATOR = r"""
#include <climits>
#include <cstdio>
#include <cuda_occupancy.h>
int main() {
    int cc, threads, registers, shared, multiprocessor_threads, multiprocessor_shared;
    while (std::scanf("%d %d %d %d %d %d", &cc, &threads, &registers, &shared, &multiprocessor_threads,
                      &multiprocessor_shared) == 6) {
        cudaOccDeviceProp device;
        device.computeMajor = cc / 10;
        device.computeMinor = cc % 10;
        device.maxThreadsPerBlock = 1024;
        device.maxThreadsPerMultiprocessor = multiprocessor_threads;
        device.regsPerBlock = 65536;
        device.regsPerMultiprocessor = 65536;
        device.warpSize = 32;
        device.sharedMemPerBlock = 48 * 1024;
        device.sharedMemPerMultiprocessor = multiprocessor_shared;
        device.numSms = 1;
        device.sharedMemPerBlockOptin = multiprocessor_shared - 1024;
        device.reservedSharedMemPerBlock = 1024;
        cudaOccFuncAttributes kernel;
        kernel.maxThreadsPerBlock = INT_MAX;
        kernel.numRegs = registers;
        kernel.sharedSizeBytes = 0;
        kernel.partitionedGCConfig = PARTITIONED_GC_OFF;
        kernel.shmemLimitConfig = FUNC_SHMEM_LIMIT_OPTIN;
        kernel.maxDynamicSharedSizeBytes = shared;
        cudaOccDeviceState state;
        cudaOccResult result;
        const cudaOccError error =
            cudaOccMaxActiveBlocksPerMultiprocessor(&result, &device, &kernel, &state, threads, shared);
        std::printf("%d\n", error == CUDA_OCC_SUCCESS ? result.activeBlocksPerMultiprocessor : -1);
    }
}
"""


@pytest.mark.parametrize(
    ("cc", "threads", "registers", "shared", "expected"),
    [
        # 64 warp slots of 4 warps each; 32 registers x 32 threads x 64 warps are just all 65536
        (80, 128, 32, 0, Occupancy(16, 64, 1.0, "warps")),
        # one warp a block: the 32 slots for blocks come first, 16 on sm_87, 24 on sm_120
        (80, 32, 32, 0, Occupancy(32, 32, 0.5, "blocks")),
        (87, 32, 32, 0, Occupancy(16, 16, 16 / 48, "blocks")),
        (120, 32, 32, 0, Occupancy(24, 24, 0.5, "blocks")),
        # 255 registers: rounded to 256, 8192 a warp, 2 warps in each of four partitions
        (90, 128, 255, 0, Occupancy(2, 8, 8 / 64, "registers")),
        (90, 256, 255, 0, Occupancy(1, 8, 8 / 64, "registers")),
        # 163 KiB and the reserved one fill an sm_80 multiprocessor with one block; sm_86 cannot run it at all
        (80, 128, 64, 163 * KIB, Occupancy(1, 4, 4 / 64, "shared memory")),
        (86, 128, 64, 163 * KIB, Occupancy(0, 0, 0.0, "shared memory")),
        (86, 128, 64, 99 * KIB, Occupancy(1, 4, 4 / 48, "shared memory")),
        # two blocks of 49 KiB and 1 KiB each are 100 KiB; one byte more each and only one fits
        (86, 128, 64, 49 * KIB, Occupancy(2, 8, 8 / 48, "shared memory")),
        (86, 128, 64, 49 * KIB + 1, Occupancy(1, 4, 4 / 48, "shared memory")),
        # 9 warps of 8192 registers, counted as 12: no block
        (80, 288, 255, 0, Occupancy(0, 0, 0.0, "registers")),
    ],
)
def test_occupancy_by_hand(cc, threads, registers, shared, expected):
    assert occupancy(cc, threads, registers, shared) == expected


def _toolkit_headers() -> Path | None:
    roots = [Path(os.environ[name]) for name in ("CUDA_HOME", "CUDA_PATH") if name in os.environ]
    roots.append(Path("/usr/local/cuda"))
    roots += [path / "nvidia" / package for path in map(Path, sys.path) for package in ("cu13", "cuda_runtime")]
    return next((root / "include" for root in roots if (root / "include" / "cuda_occupancy.h").exists()), None)


def test_against_the_toolkits_calculator(tmp_path):
    headers, compiler = _toolkit_headers(), shutil.which("c++") or shutil.which("g++")
    if headers is None or compiler is None:
        pytest.skip("no cuda_occupancy.h (a CUDA toolkit) or no C++ compiler")
    (tmp_path / "calculator.cpp").write_text(CALCULATOR)
    program = str(tmp_path / "calculator")
    command = [compiler, "-isystem", str(headers), str(tmp_path / "calculator.cpp"), "-o", program]
    subprocess.run(command, check=True, capture_output=True)

    threads = (1, 32, 64, 96, 128, 160, 192, 256, 288, 384, 512, 768, 1024)
    registers = (16, 24, 32, 40, 48, 64, 72, 80, 96, 100, 128, 168, 200, 255)
    shared = (0, 1, 128, 1000, 8 * KIB, 20_000, 48 * KIB, 49 * KIB, 50_000, 64 * KIB, 99 * KIB, 163 * KIB, 227 * KIB)
    cases = list(itertools.product(LIMITS, threads, registers, shared))
    lines = [
        f"{cc} {t} {r} {s} {LIMITS[cc].warps * 32} {LIMITS[cc].shared_per_multiprocessor}" for cc, t, r, s in cases
    ]
    result = subprocess.run([program], input="\n".join(lines), text=True, capture_output=True, check=True)
    theirs = [int(line) for line in result.stdout.split()]
    ours = [occupancy(*case).blocks for case in cases]
    wrong = [(case, our, their) for case, our, their in zip(cases, ours, theirs, strict=True) if our != their]
    assert not wrong[:5]
    assert len(set(theirs)) > 10, "the calculator answers"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((75, 128, 32, 0), "compute_capability: expected one of 80, .*, 120, got 75"),
        ((80, 0, 32, 0), "threads: expected 1 to 1024, got 0"),
        ((80, 1025, 32, 0), "threads: expected 1 to 1024, got 1025"),
        ((80, 128, 256, 0), "registers: expected 0 to 255, got 256"),
        ((80, 128, 32, -1), "shared_bytes: expected a number >= 0, got -1"),
    ],
)
def test_arguments_of_occupancy(arguments, message):
    with pytest.raises(ValueError, match=message):
        occupancy(*arguments)


def test_limits_name_shared_memory_of_a_block():
    assert {cc: limits_of(cc).shared_per_block // KIB for cc in LIMITS} == {
        80: 163,
        86: 99,
        87: 163,
        89: 99,
        90: 227,
        100: 227,
        110: 227,
        120: 99,
    }
