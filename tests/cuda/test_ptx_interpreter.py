"""The PTX interpreter on kernels of its own: right ones give what numpy gives, broken ones are reported."""

from __future__ import annotations

import struct
from collections.abc import Callable

import numpy as np
import pytest

from tests.cuda.ptx import (
    DivergentBarrier,
    EarlyExit,
    Fault,
    InactiveLane,
    Memory,
    Misaligned,
    Module,
    OutOfBounds,
    PartialWarp,
    PendingCopy,
    SharedRace,
    parse,
    run,
)
from tests.cuda.toolchain import CSRC, PTX_ARCHITECTURES, compile_ptx

KERNELS = CSRC.parent / "tests" / "cuda" / "ptx_kernels"


def compiled(name: str, architecture: str = "compute_80", *defines: str) -> Module:
    options = ("-lineinfo", *(f"-D{define}" for define in defines))
    return parse(compile_ptx(KERNELS / f"{name}.cu", architecture, options))


def small_numbers(shape: tuple[int, ...], seed: int) -> np.ndarray:
    """Multiples of 1/8 from -1 to 1, whose products and short sums are exact in float32."""
    return (np.random.default_rng(seed).integers(-8, 9, shape) / 8).astype(np.float32)


def run_sgemm(module: Module, n: int = 48) -> None:
    a, b, c = small_numbers((n, n), 1), small_numbers((n, n), 2), np.full((n, n), np.nan, np.float32)
    memory = Memory()
    arguments = struct.pack("<3Qi4x", *(memory.register(array) for array in (a, b, c)), n)
    run(module, "sgemm", (n // 16, n // 16), (256,), 0, arguments, memory)
    np.testing.assert_array_equal(c, a @ b)


def run_hgemm(module: Module, *, bfloat16: bool = False, threads_at_once: int = 4096) -> None:
    m, n, k = 77, 130, 96
    a, b, c = small_numbers((m, k), 1), small_numbers((n, k), 2), np.full((m, n), np.nan, np.float32)
    if bfloat16:  # exact: the numbers have four bits
        stored = [(x.view(np.uint32) >> 16).astype(np.uint16) for x in (a, b)]
    else:
        stored = [x.astype(np.float16) for x in (a, b)]
    memory = Memory()
    arguments = struct.pack("<3Q3q", *(memory.register(x, writable=False) for x in stored), memory.register(c), m, n, k)
    report = run(module, "hgemm", (3, 2), (128,), 4 * 64 * 40 * 2, arguments, memory, threads_at_once=threads_at_once)
    np.testing.assert_array_equal(c, a @ b.T)
    assert {"mma", "ldmatrix", "cp"} <= report.opcodes


def run_row_sum(module: Module, n: int = 224) -> None:
    x, y = small_numbers((5, n), 1), np.full(5, np.nan, np.float32)
    memory = Memory()
    arguments = struct.pack("<2Qi4x", memory.register(x), memory.register(y), n)
    run(module, "row_sum", (5,), (256,), 32, arguments, memory)
    np.testing.assert_array_equal(y, x.sum(1))


def run_warp_transpose(module: Module) -> None:
    count = 5 * 256
    x, y = np.random.default_rng(1).integers(0, 256, count).astype(np.uint8), np.zeros(count, np.uint8)
    memory = Memory()
    arguments = struct.pack("<2Qi", memory.register(x), memory.register(y), count)
    run(module, "warp_transpose", (3,), (64,), 0, arguments, memory)
    shifted = x.reshape(5, 32, 8) + np.arange(7, -1, -1, dtype=np.uint8)
    lane, i = np.arange(32), np.arange(8)[:, None]
    np.testing.assert_array_equal(y.reshape(5, 8, 32), shifted.reshape(5, 256)[:, (lane * 8 + i * 33) % 256])


@pytest.mark.parametrize("architecture", PTX_ARCHITECTURES)
class TestRightKernels:
    def test_sgemm(self, architecture: str) -> None:
        run_sgemm(compiled("sgemm", architecture))

    @pytest.mark.parametrize("threads_at_once", [1, 300, 4096])
    def test_hgemm(self, architecture: str, threads_at_once: int) -> None:
        run_hgemm(compiled("hgemm", architecture), threads_at_once=threads_at_once)

    def test_hgemm_bfloat16(self, architecture: str) -> None:
        run_hgemm(compiled("hgemm", architecture, "BFLOAT16"), bfloat16=True)

    @pytest.mark.parametrize("n", [1, 224, 300])
    def test_row_sum(self, architecture: str, n: int) -> None:
        run_row_sum(compiled("row_sum", architecture), n)

    def test_warp_transpose(self, architecture: str) -> None:
        run_warp_transpose(compiled("warp_transpose", architecture))


RUNS: dict[str, Callable[[Module], None]] = {
    "sgemm": run_sgemm,
    "hgemm": run_hgemm,
    "row_sum": run_row_sum,
    "warp_transpose": run_warp_transpose,
}


@pytest.mark.parametrize("architecture", ["compute_80", "compute_120"])
@pytest.mark.parametrize(
    ("kernel", "bug", "fault", "message"),
    [
        ("sgemm", "MISSING_BARRIER", SharedRace, "reads shared bytes that .* wrote"),
        ("sgemm", "MISSING_SECOND_BARRIER", SharedRace, "writes shared bytes that .* read"),
        ("sgemm", "SHARED_OUT_OF_BOUNDS", OutOfBounds, "shared load of 4 bytes at offset 2048 of 2048"),
        (
            "sgemm",
            "GLOBAL_OUT_OF_BOUNDS",
            OutOfBounds,
            "global store of 4 bytes .* from the start of float32 \\(48, 48\\)",
        ),
        ("sgemm", "MISALIGNED", Misaligned, "global store of 4 bytes"),
        ("hgemm", "MISSING_BARRIER", SharedRace, "reads shared bytes that .* wrote"),
        ("hgemm", "MISSING_SECOND_BARRIER", SharedRace, "writes shared bytes that .* read"),
        ("hgemm", "MISSING_WAIT", PendingCopy, "has not been waited for"),
        ("hgemm", "PARTIAL_WARP", PartialWarp, "by 31 of the warp's 32 threads"),
        ("row_sum", "EARLY_EXIT", EarlyExit, "of which 32 have ended"),
        ("row_sum", "DIVERGENT_BARRIER", DivergentBarrier, "wait at another barrier"),
        ("row_sum", "SKIPPED_BARRIER", EarlyExit, "of which 128 have ended"),
        ("row_sum", "PARTIAL_WARP", PartialWarp, "by the lanes 0xffff of the warp, its mask says 0xffffffff"),
        ("row_sum", "INACTIVE_LANE", InactiveLane, "reads lane 16"),
        ("warp_transpose", "MISSING_WARP_BARRIER", SharedRace, "reads shared bytes that .* wrote"),
        ("warp_transpose", "WRONG_WARP", SharedRace, "reads shared bytes that .* wrote"),
    ],
)
def test_broken_kernel(architecture: str, kernel: str, bug: str, fault: type[Fault], message: str) -> None:
    module = compiled(kernel, architecture, f"BUG_{bug}")
    with pytest.raises(fault, match=message) as caught:
        RUNS[kernel](module)
    assert str(caught.value).startswith(f"{kernel}: block (")  # and where
    assert f"{kernel}.cu:" in str(caught.value)


@pytest.mark.parametrize("architecture", PTX_ARCHITECTURES)
def test_swapped_operands_give_a_wrong_result(architecture: str) -> None:
    with pytest.raises(AssertionError, match="Arrays are not equal"):
        run_hgemm(compiled("hgemm", architecture, "BUG_SWAPPED_OPERANDS"))
