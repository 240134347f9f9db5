"""ReLU linear attention: our kernels, PyTorch eager, and NumPy written plainly."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from benchmarks import cost
from benchmarks.harness import Settings, measure, record
from evsam import _C
from evsam.ops import reference
from tests.tolerance import assert_as_good_as_eager

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from pytest_benchmark.fixture import BenchmarkFixture

    from evsam._C import Kernel

OP = "relu_linear_attention"

# name: batch, heads (twice those of the layer: two scales), head dimension, tokens
CASES = {
    "l0-l2 stage 4": (1, 32, 32, 256),
    "xl0-xl1 stage 4": (1, 32, 32, 1024),
    "xl0-xl1 stage 5": (1, 64, 32, 256),
    "l0 stage 4, batch 4": (4, 32, 32, 256),
    "head dimension 16": (1, 32, 16, 1024),
    "one head, many tokens": (1, 1, 32, 65536),
}


def inputs(batch: int, heads: int, dim: int, tokens: int) -> NDArray[np.float32]:
    return np.random.default_rng(0).standard_normal((batch, heads, 3 * dim, tokens), dtype=np.float32)


def plain_numpy(qkv: NDArray[Any], eps: float = 1e-15) -> NDArray[Any]:
    q, k, v = np.split(qkv, 3, axis=2)
    q, k = np.maximum(q, 0), np.maximum(k, 0)
    state = v @ k.swapaxes(2, 3)
    denominator = k.sum(3)[:, :, None] @ q + eps
    result: NDArray[Any] = (state @ q) / denominator
    return result


def kernels() -> list[Kernel]:
    """The vector kernels of this machine, best first; the scalar one if there is none. lite_mla's attention."""
    rows = [row for row in _C.kernels() if row["op"] == "lite_mla" and row["supported"]]
    return rows[:0:-1] or rows


def check(out: NDArray[np.float32], qkv: NDArray[np.float32]) -> None:
    tensor = torch.from_numpy(qkv)
    eager, true = reference.relu_linear_attention(tensor), reference.relu_linear_attention(tensor.double())
    assert_as_good_as_eager(out, eager.numpy(), true.numpy())


def run(settings: Settings) -> list[dict[str, Any]]:
    torch.set_num_threads(settings.threads)
    lines = []
    for name, shape in CASES.items():
        qkv = inputs(*shape)
        batch, heads, dim, tokens = shape
        out = np.empty((batch, heads, dim, tokens), np.float32)
        tensor = torch.from_numpy(qkv)

        candidates: dict[str, Callable[[], object]] = {}
        isas = {}
        for row in kernels():
            kernel = partial(_C.relu_linear_attention, qkv, out, eps=1e-15, threads=settings.threads, isa=row["isa"])
            out.fill(np.nan)
            kernel()
            check(out, qkv)
            candidates[row["name"]] = kernel
            isas[row["name"]] = row["isa"]
        candidates["torch eager"] = partial(reference.relu_linear_attention, tensor)
        candidates["numpy"] = partial(plain_numpy, qkv)

        work = cost.relu_linear_attention(*shape)
        case = {
            "op": OP,
            "case": name,
            "shape": {"B": batch, "H": heads, "D": dim, "N": tokens},
            "dtype": "float32",
            "threads": settings.threads,
            "cache": settings.cache,
        }
        with torch.inference_mode():
            timings = measure(candidates, settings)
        for candidate, timing in timings.items():
            roofs = None
            if candidate in isas:
                # Cold caches: the bytes come from memory, whatever their number.
                working_set = work.bytes if settings.cache == "warm" else 256 << 20
                roofs = cost.measure_roofs(isas[candidate], settings.threads, working_set)
            lines.append(record(case, candidate, timing, work, roofs))
    return lines


@pytest.mark.parametrize("name", ["l0-l2 stage 4", "head dimension 16"])
def test_kernel(benchmark: BenchmarkFixture, name: str) -> None:
    qkv = inputs(*CASES[name])
    dim = CASES[name][2]
    row = kernels()[0]
    out = np.full((*qkv.shape[:2], dim, qkv.shape[3]), np.nan, np.float32)
    benchmark(_C.relu_linear_attention, qkv, out, eps=1e-15, threads=1, isa=row["isa"])
    check(out, qkv)


def test_plain_numpy_peer() -> None:
    qkv = inputs(1, 2, 16, 50)
    check(plain_numpy(qkv), qkv)
