"""ReLU linear attention: every kernel against the float64 specification, and the Python interface around it."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from evsam import _C
from evsam.errors import BackendUnavailable
from evsam.ops import relu_linear_attention
from tests.tolerance import assert_as_good_as_eager

if TYPE_CHECKING:
    from evsam._C import Kernel

torch = pytest.importorskip("torch", reason="torch is the specification")

from evsam.ops import reference

# The attention of lite_mla computes this op.
ROWS = [row for row in _C.kernels() if row["op"] == "lite_mla"]

DIMS = [4, 16, 24, 32]  # whole vectors and not


def random_qkv(batch: int, heads: int, dim: int, tokens: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((batch, heads, 3 * dim, tokens), dtype=np.float32)


def eager_and_true(qkv: np.ndarray, eps: float = 1e-15) -> tuple[np.ndarray, np.ndarray]:
    tensor = torch.from_numpy(np.ascontiguousarray(qkv))
    eager = reference.relu_linear_attention(tensor, eps=eps).numpy()
    # float32, so that both see the same number
    true = reference.relu_linear_attention(tensor.double(), eps=float(np.float32(eps))).numpy()
    return eager, true


def runnable(row: Kernel) -> Kernel:
    if not row["supported"]:
        pytest.skip(f"this machine has no {row['isa']}")
    return row


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["name"])
class TestEveryKernel:
    # vectors of 4, 8 and 16, panels of 32, blocks of 128: one less, exact, one more; primes
    @pytest.mark.parametrize("tokens", [1, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 97, 127, 128, 129, 257, 1009])
    def test_sizes(self, row: Kernel, tokens: int) -> None:
        runnable(row)
        for dim in DIMS:
            qkv = random_qkv(2, 3, dim, tokens, seed=tokens)
            out = np.full((2, 3, dim, tokens), np.nan, np.float32)
            assert _C.relu_linear_attention(qkv, out, eps=1e-15, isa=row["isa"]) == row["isa"]
            assert_as_good_as_eager(out, *eager_and_true(qkv))

    # stage 4 of l0 (16 heads x 2 scales), stages 4 and 5 of xl0
    @pytest.mark.parametrize(("heads", "tokens"), [(32, 256), (32, 1024), (64, 256)])
    def test_layers_of_the_models(self, row: Kernel, heads: int, tokens: int) -> None:
        runnable(row)
        qkv = random_qkv(1, heads, 32, tokens)
        out = np.empty((1, heads, 32, tokens), np.float32)
        _C.relu_linear_attention(qkv, out, eps=1e-15, isa=row["isa"])
        assert_as_good_as_eager(out, *eager_and_true(qkv))

    @pytest.mark.parametrize("tokens", [4096, 100_003])
    def test_many_tokens(self, row: Kernel, tokens: int) -> None:
        runnable(row)
        if row["isa"] == "scalar":
            tokens = min(tokens, 4096)  # slow, and exact by design
        for dim in DIMS[-1:]:
            qkv = random_qkv(1, 1, dim, tokens)
            # Values all above zero: nothing cancels, and rounding in one direction would pile up.
            qkv[:, :, dim:] = np.abs(qkv[:, :, dim:])
            out = np.empty((1, 1, dim, tokens), np.float32)
            _C.relu_linear_attention(qkv, out, eps=1e-15, isa=row["isa"])
            assert_as_good_as_eager(out, *eager_and_true(qkv))

    @pytest.mark.parametrize("heads", [1, 3])
    def test_same_bits_with_any_number_of_threads(self, row: Kernel, heads: int) -> None:
        runnable(row)
        for dim in DIMS[-1:]:
            qkv = random_qkv(1, heads, dim, 1000 if row["isa"] == "scalar" else 5003)
            outs = [np.empty((1, heads, dim, qkv.shape[-1]), np.float32) for _ in range(4)]
            for threads, out in enumerate(outs, start=1):
                _C.relu_linear_attention(qkv, out, eps=1e-15, threads=threads, isa=row["isa"])
            assert_as_good_as_eager(outs[0], *eager_and_true(qkv))
            for out in outs[1:]:
                np.testing.assert_array_equal(out, outs[0])

    def test_nan_goes_where_it_belongs(self, row: Kernel) -> None:
        runnable(row)
        for dim in DIMS:
            for part in range(3):
                qkv = random_qkv(1, 2, dim, 45)
                qkv[0, 1, part * dim + dim - 1, 44] = np.nan
                out = np.zeros((1, 2, dim, 45), np.float32)
                _C.relu_linear_attention(qkv, out, eps=1e-15, isa=row["isa"])
                _, true = eager_and_true(qkv)
                np.testing.assert_array_equal(np.isnan(out), np.isnan(true))
                assert np.isnan(out).any()

    def test_all_negative_rows(self, row: Kernel) -> None:
        runnable(row)
        for dim in DIMS:
            for part in range(2):  # queries of one token, keys of one head
                qkv = random_qkv(1, 2, dim, 40)
                zeros = np.zeros((1, 2, dim, 40), bool)
                if part == 0:
                    qkv[0, 1, :dim, 7] = -1.0
                    zeros[0, 1, :, 7] = True
                else:
                    qkv[0, 1, dim : 2 * dim] *= -np.sign(qkv[0, 1, dim : 2 * dim])
                    zeros[0, 1] = True
                out = np.empty((1, 2, dim, 40), np.float32)
                _C.relu_linear_attention(qkv, out, eps=1e-15, isa=row["isa"])
                assert (out[zeros] == 0.0).all()
                assert_as_good_as_eager(out, *eager_and_true(qkv))
                _C.relu_linear_attention(qkv, out, eps=0.0, isa=row["isa"])
                assert np.isnan(out[zeros]).all()
                _, true = eager_and_true(qkv, eps=0.0)
                np.testing.assert_array_equal(np.isnan(out), np.isnan(true))


class TestArrays:
    @pytest.mark.parametrize("backend", ["auto", "native", "reference"])
    def test_backends_agree(self, backend: Any) -> None:
        qkv = random_qkv(2, 4, 16, 50)
        assert_as_good_as_eager(relu_linear_attention(qkv, backend=backend), *eager_and_true(qkv))

    @pytest.mark.parametrize("backend", ["native", "reference"])
    @pytest.mark.parametrize(
        "view",
        [
            lambda base: base[::2],
            lambda base: base[:, ::-1],
            lambda base: base[:, 1:3, :, 2:39],
            lambda base: base[..., ::2],
            lambda base: base[..., ::-1],
            lambda base: base.transpose(1, 0, 2, 3),
            lambda base: np.broadcast_to(base[:1, :1], base.shape),
            np.asfortranarray,
        ],
        ids=["batch", "heads-backwards", "slices", "tokens", "tokens-backwards", "transposed", "broadcast", "fortran"],
    )
    def test_strided_input(self, view: Any, backend: Any) -> None:
        qkv = view(random_qkv(4, 6, 16, 70))
        before = qkv.copy()
        assert_as_good_as_eager(relu_linear_attention(qkv, backend=backend), *eager_and_true(qkv))
        np.testing.assert_array_equal(qkv, before)

    @pytest.mark.parametrize("backend", ["native", "reference"])
    @pytest.mark.parametrize(
        "view",
        [lambda base: base, lambda base: base[::2, :3, :, 5:45], lambda base: base[::2, :3, :, 80:0:-2]],
        ids=["contiguous", "slices", "tokens-backwards"],
    )
    def test_out(self, view: Any, backend: Any) -> None:
        base = np.full((4, 6, 16, 81), 7.0, np.float32)
        out = view(base)
        batch, heads, dim, tokens = out.shape
        qkv = random_qkv(batch, heads, dim, tokens)
        assert relu_linear_attention(qkv, out=out, backend=backend) is out
        assert_as_good_as_eager(out, *eager_and_true(qkv))
        out[...] = 7.0
        assert (base == 7.0).all(), "written outside out"

    def test_network_layout_needs_no_copy(self) -> None:
        features = np.random.default_rng(0).standard_normal((2, 4 * 96, 5, 9), dtype=np.float32)
        qkv = features.reshape(2, 4, 96, 45)
        assert np.shares_memory(qkv, features)
        result = relu_linear_attention(qkv)
        assert_as_good_as_eager(result, *eager_and_true(qkv))
        assert result.flags.c_contiguous

    def test_takes_tensors_by_dlpack(self) -> None:
        qkv = random_qkv(1, 2, 16, 20)
        assert_as_good_as_eager(relu_linear_attention(torch.from_numpy(qkv)), *eager_and_true(qkv))
        with pytest.raises(TypeError, match="qkv: expected an array on the CPU without gradient, got Parameter"):
            relu_linear_attention(torch.nn.Parameter(torch.from_numpy(qkv)))

    def test_read_only_input(self) -> None:
        qkv = random_qkv(1, 1, 16, 20)
        expected = relu_linear_attention(qkv)
        qkv.flags.writeable = False
        for backend in ("native", "reference"):
            np.testing.assert_allclose(relu_linear_attention(qkv, backend=backend), expected, rtol=1e-5)


class TestErrors:
    """Each branch of validate, and those of the Python function, by message."""

    QKV = random_qkv(2, 3, 4, 5)
    OUT = np.empty((2, 3, 4, 5), np.float32)

    @pytest.mark.parametrize("backend", ["native", "reference"])
    @pytest.mark.parametrize(
        ("change", "error", "message"),
        [
            ({"qkv": QKV.astype(np.float64)}, TypeError, "qkv: expected dtype float32, got float64"),
            ({"qkv": QKV.astype(np.float16)}, TypeError, "qkv: expected dtype float32, got float16"),
            ({"qkv": QKV.astype(">f4")}, TypeError, "qkv: expected dtype float32, got an unsupported dtype"),
            ({"qkv": QKV.tolist()}, TypeError, "qkv: expected a NumPy array or a DLPack array on the CPU, got list"),
            ({"qkv": QKV[0]}, ValueError, "qkv: expected shape (B, H, 3 * D, N), got (3, 12, 5)"),
            ({"qkv": QKV[None]}, ValueError, "qkv: expected shape (B, H, 3 * D, N), got (1, 2, 3, 12, 5)"),
            ({"qkv": QKV[:0]}, ValueError, "qkv: expected no empty axis, got (0, 3, 12, 5)"),
            ({"qkv": QKV[..., :0]}, ValueError, "qkv: expected no empty axis, got (2, 3, 12, 0)"),
            (
                {"qkv": QKV[:, :, :11]},
                ValueError,
                "qkv: expected a third axis of 3 * D rows (q, k, v), got (2, 3, 11, 5)",
            ),
            ({"out": OUT[:1]}, ValueError, "out: expected shape (2, 3, 4, 5), got (1, 3, 4, 5)"),
            ({"out": OUT[0]}, ValueError, "out: expected shape (2, 3, 4, 5), got (3, 4, 5)"),
            ({"out": OUT.astype(np.float64)}, TypeError, "out: expected dtype float32, got float64"),
            ({"out": OUT.tolist()}, TypeError, "out: expected a NumPy array or None, got list"),
            ({"out": QKV[:, :, :4]}, ValueError, "out: expected memory apart from qkv, got an overlapping view"),
            ({"out": QKV[:, :, 8:, ::-1]}, ValueError, "out: expected memory apart from qkv, got an overlapping view"),
            (
                {"out": np.lib.stride_tricks.as_strided(OUT, strides=(240, 0, 20, 4))},
                ValueError,
                "out: expected rows that do not overlap, got strides (60, 0, 5, 1)",
            ),
            ({"eps": -1.0}, ValueError, "eps: expected a finite number >= 0, got -1.000000"),
            ({"eps": float("nan")}, ValueError, "eps: expected a finite number >= 0, got nan"),
            ({"backend": "gpu"}, ValueError, "backend: expected one of auto, native, cuda, reference, got 'gpu'"),
        ],
    )
    def test_message(self, change: dict[str, Any], error: type[Exception], message: str, backend: str) -> None:
        arguments = {"qkv": self.QKV, "out": self.OUT if "out" in change else None, "backend": backend, **change}
        before = self.QKV.copy()
        with pytest.raises(error) as caught:
            relu_linear_attention(**arguments)
        assert str(caught.value) == message
        np.testing.assert_array_equal(self.QKV, before)

    def test_read_only_out(self) -> None:
        out = self.OUT.copy()
        out.flags.writeable = False
        with pytest.raises(ValueError, match="out: expected a writable array, got a read-only one"):
            relu_linear_attention(self.QKV, out=out)

    def test_kernels_require_token_stride_one(self) -> None:
        with pytest.raises(ValueError, match="qkv: expected a token stride of 1, got -1"):
            _C.relu_linear_attention(self.QKV[..., ::-1], self.OUT, eps=0.0)
        with pytest.raises(ValueError, match="out: expected a token stride of 1, got -1"):
            _C.relu_linear_attention(self.QKV, self.OUT[..., ::-1], eps=0.0)

    def test_strides_must_be_whole_elements(self) -> None:
        raw = np.zeros(2 * 3 * 12 * 5 * 4 + 64, np.uint8)
        odd = np.lib.stride_tricks.as_strided(raw[:4].view(np.float32), (2, 3, 12, 5), (720, 241, 20, 4))
        with pytest.raises(
            ValueError, match="qkv: expected strides that are multiples of the item size, got 241 bytes"
        ):
            relu_linear_attention(odd)

    def test_elements_without_bytes(self) -> None:
        with pytest.raises(TypeError, match="qkv: expected dtype float32, got an unsupported dtype"):
            relu_linear_attention(np.zeros((1, 1, 3, 1), "V0"))

    @pytest.mark.parametrize(
        ("threads", "error", "message"),
        [
            (0, ValueError, "threads: expected a number from 1 to 2147483647 or None, got 0"),
            (-2, ValueError, "threads: expected a number from 1 to 2147483647 or None, got -2"),
            (1.5, TypeError, "threads: expected a whole number or None, got 1.5"),
            ("2", TypeError, "threads: expected a whole number or None, got '2'"),
        ],
    )
    def test_threads(self, threads: Any, error: type[Exception], message: str) -> None:
        with pytest.raises(error) as caught:
            relu_linear_attention(self.QKV, threads=threads)
        assert str(caught.value) == message

    def test_unknown_isa(self) -> None:
        with pytest.raises(ValueError, match="isa: expected an instruction set of this machine and build, got x"):
            _C.relu_linear_attention(self.QKV, self.OUT, eps=0.0, isa="x")

    def test_isa_of_another_machine(self) -> None:
        for row in ROWS:
            if not row["supported"]:
                with pytest.raises(ValueError, match=f"isa: expected .*, got {row['isa']}"):
                    _C.relu_linear_attention(self.QKV, self.OUT, eps=0.0, isa=row["isa"])


class TestDispatch:
    PROGRAM = """
import numpy as np
from evsam import _C
print(_C.relu_linear_attention(np.ones((1, 1, 96, 40), np.float32), np.empty((1, 1, 32, 40), np.float32), eps=1e-15))
"""

    def run(self, isa: str | None) -> subprocess.CompletedProcess[str]:
        environment = {name: value for name, value in os.environ.items() if name != "EVSAM_ISA"}
        if isa is not None:
            environment["EVSAM_ISA"] = isa
        return subprocess.run(
            [sys.executable, "-c", self.PROGRAM], env=environment, text=True, capture_output=True, check=False
        )

    @pytest.mark.parametrize("isa", ["scalar", "avx2", "avx512", "neon", "wasm"])
    def test_forced(self, isa: str) -> None:
        result = self.run(isa)
        if any(row["isa"] == isa and row["supported"] for row in ROWS):
            assert result.stdout.strip() == isa, result.stderr
        else:
            assert result.returncode != 0
            assert "BackendUnavailable: EVSAM_ISA: expected an instruction set of this machine and build (scalar" in (
                result.stderr
            )
            assert f"got {isa}" in result.stderr

    def test_unknown(self) -> None:
        result = self.run("avx9000")
        assert result.returncode != 0
        assert (
            "BackendUnavailable: EVSAM_ISA: expected one of scalar, avx2, avx512, neon, wasm, got avx9000"
            in result.stderr
        )

    def test_best_by_default(self) -> None:
        best = [row for row in ROWS if row["supported"]][-1]
        for unset in (None, ""):
            assert self.run(unset).stdout.strip() == best["isa"]


class TestThreads:
    def test_setting(self) -> None:
        before = _C.get_num_threads()
        assert before >= 1
        try:
            _C.set_num_threads(3)
            assert _C.get_num_threads() == 3
            with pytest.raises(ValueError, match="threads: expected a number from 1 to 2147483647 or None, got 0"):
                _C.set_num_threads(0)
            with pytest.raises(TypeError, match="threads: expected a whole number, got None"):
                _C.set_num_threads(None)  # type: ignore[arg-type]
        finally:
            _C.set_num_threads(before)

    def test_environment_sets_the_default(self) -> None:
        result = subprocess.run(
            [sys.executable, "-c", "from evsam import _C; print(_C.get_num_threads())"],
            env={**os.environ, "EVSAM_NUM_THREADS": "5"},
            text=True,
            capture_output=True,
            check=True,
        )
        assert result.stdout.strip() == "5"

    def test_gil_is_released(self) -> None:
        """Another Python thread gets to run while a call is under way; on a busy machine, in one of a few tries."""
        qkv = random_qkv(1, 8, 24, 2000)  # the slow kernel: tens of milliseconds
        out = np.empty((1, 8, 24, 2000), np.float32)
        span = [0.0, 0.0]

        def call() -> None:
            span[0] = time.perf_counter()
            relu_linear_attention(qkv, out=out, threads=1)
            span[1] = time.perf_counter()

        for _ in range(20):
            ticks = []
            worker = threading.Thread(target=call)
            worker.start()
            while worker.is_alive():
                ticks.append(time.perf_counter())
            worker.join()
            start, end = span
            quarter = (end - start) / 4
            if sum(start + quarter < tick < end - quarter for tick in ticks) > 10:
                return
        pytest.fail("no other thread ran during the middle half of any call")

    def test_several_python_threads(self) -> None:
        inputs = [random_qkv(1, 4, 32, 700, seed=seed) for seed in range(4)]
        expected = [relu_linear_attention(qkv, threads=1) for qkv in inputs]
        wrong: list[int] = []

        def call(index: int) -> None:
            results = [relu_linear_attention(inputs[index], threads=2) for _ in range(30)]
            wrong.extend(index for result in results if not np.array_equal(result, expected[index]))

        workers = [threading.Thread(target=call, args=(index,)) for index in range(4)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        assert not wrong

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
    def test_after_fork(self) -> None:
        program = """
import os, signal, sys
import numpy as np
from evsam.ops import relu_linear_attention
qkv = np.random.default_rng(0).standard_normal((1, 8, 96, 2000), dtype=np.float32)
expected = relu_linear_attention(qkv, threads=3)
child = os.fork()
if child == 0:
    signal.alarm(30)
    os._exit(0 if np.array_equal(relu_linear_attention(qkv, threads=3), expected) else 1)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
assert np.array_equal(relu_linear_attention(qkv, threads=3), expected)
"""
        result = subprocess.run([sys.executable, "-c", program], text=True, capture_output=True, check=False)
        assert result.returncode == 0, result.stderr


class TestImports:
    def test_ops_load_neither_torch_nor_start_threads(self) -> None:
        program = """
import sys, threading
import evsam.ops
assert not {"torch", "evsam._cuda"}.intersection(sys.modules)
try:
    count = len([name for name in __import__("os").listdir("/proc/self/task")])
except FileNotFoundError:
    count = 0
print(count)
"""
        # One BLAS thread, so that the threads counted are not NumPy's.
        environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
        result = subprocess.run(
            [sys.executable, "-c", program], env=environment, text=True, capture_output=True, check=True
        )
        assert int(result.stdout) <= 1

    def test_missing_torch_names_the_extra(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "torch", None)
        with pytest.raises(BackendUnavailable, match=r"pip install 'evsam\[torch\]'"):
            relu_linear_attention(random_qkv(1, 1, 4, 5), backend="reference")

    def test_cpu_features_match_the_kernel(self) -> None:
        info = Path("/proc/cpuinfo")
        if not info.exists():
            pytest.skip("no /proc/cpuinfo")
        words = set(info.read_text().split())
        features = _C.cpu_features()
        assert features
        for name, value in features.items():
            if name in {"avx2", "fma", "f16c", "avx512f", "avx512bw", "avx512dq", "avx512vl"}:
                assert value == (name in words), name
        assert _C.selected_isa() in {"scalar", "avx2", "avx512", "neon"}


class TestReference:
    def test_by_hand(self) -> None:
        # D = 1, two tokens: weights are relu(k), which the positive query scales away.
        qkv = torch.tensor([[[[2.0, -1.0], [3.0, 1.0], [4.0, 8.0]]]], dtype=torch.float64)
        result = reference.relu_linear_attention(qkv)
        np.testing.assert_allclose(result.numpy(), [[[[(3 * 4 + 1 * 8) / 4, 0.0]]]], rtol=1e-14)

    def test_has_gradients(self) -> None:
        qkv = torch.from_numpy(random_qkv(1, 2, 3, 4)).double().requires_grad_()
        assert torch.autograd.gradcheck(lambda x: reference.relu_linear_attention(x, eps=1e-3), (qkv,))
