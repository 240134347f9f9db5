"""Occupancy: cases worked out by hand, and the CUDA toolkit's own calculator where its header is installed."""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from evsam.gpu_model.occupancy import KIB, LIMITS, Occupancy, limits_of, occupancy

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
def test_by_hand(cc, threads, registers, shared, expected):
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
def test_arguments(arguments, message):
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
