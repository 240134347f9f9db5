"""The ops on the CPU's kernels, called from Python: against the specification in float64, on arrays of any layout."""

from __future__ import annotations

import doctest
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from importlib import import_module
from typing import Any

import numpy as np
import pytest

from evsam import _C, ops
from evsam.errors import BackendUnavailable
from tests.tolerance import assert_as_good_as_eager

torch = pytest.importorskip("torch", reason="torch is the specification")

from evsam.ops import reference

ISAS = list(dict.fromkeys(row["isa"] for row in _C.kernels() if row["supported"]))


@dataclass(frozen=True)
class Case:
    """An op on shapes around the kernels' tiles.

    Channels below 16 keep conv3x3 from Winograd's rounding; where there is Winograd, `rms` is the error, relative to
    the result's root mean square, that it may have.
    """

    function: Callable[..., Any]
    shapes: dict[str, tuple[int, ...] | None]
    numbers: dict[str, Any] = field(default_factory=dict)
    rms: float | None = None

    @property
    def name(self) -> str:
        return self.function.__name__

    def arrays(self, seed: int = 0) -> dict[str, Any]:
        rng = np.random.default_rng(seed)
        return {
            name: None if shape is None else rng.standard_normal(shape, dtype=np.float32)
            for name, shape in self.shapes.items()
        }

    def expected(self, arrays: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
        """The specification in float32 and in float64."""
        specification = getattr(reference, self.name)
        tensors = {n: None if x is None else torch.from_numpy(np.ascontiguousarray(x)) for n, x in arrays.items()}
        eager = specification(**tensors, **self.numbers).numpy()
        wide = {n: None if x is None else x.double() for n, x in tensors.items()}
        return eager, specification(**wide, **self.numbers).numpy()

    def check(self, got: Any, arrays: dict[str, Any]) -> None:
        eager, true = self.expected(arrays)
        if self.rms is None:
            assert_as_good_as_eager(np.asarray(got), eager, true)
        else:
            assert relative_rms(got, true) <= self.rms


def relative_rms(got: Any, true: np.ndarray) -> float:
    return float(np.sqrt(np.mean((np.asarray(got) - true) ** 2) / np.mean(true**2)))


B = 2
CASES = [
    Case(
        ops.conv3x3,
        {"x": (B, 7, 9, 11), "weight": (13, 7, 3, 3), "bias": (13,), "residual": (B, 13, 9, 11)},
    ),
    Case(
        ops.pointwise,
        {"x": (B, 19, 5, 7), "weight": (33, 19, 1, 1), "bias": (33,), "residual": (B, 33, 5, 7)},
    ),
    Case(
        ops.depthwise_conv,
        {"x": (B, 17, 9, 8), "weight": (17, 1, 5, 5), "bias": (17,)},
        {"stride": 2, "activation": "gelu_tanh"},
    ),
    Case(
        ops.fused_mbconv,
        {
            "x": (B, 7, 9, 8),
            "weight": (13, 7, 3, 3),
            "bias": (13,),
            "point_weight": (7, 13),
            "point_bias": (7,),
            "residual": (B, 7, 9, 8),
        },
        {"activation": "relu6"},
        rms=2 * 2.5e-6,  # Winograd's with 32 channels, csrc/ops/conv3x3/README.md
    ),
    Case(
        ops.mbconv,
        {
            "x": (B, 9, 8, 7),
            "expand_weight": (35, 9, 1, 1),
            "expand_bias": (35,),
            "depthwise_weight": (35, 1, 3, 3),
            "depthwise_bias": (35,),
            "project_weight": (9, 35),
            "project_bias": (9,),
            "residual": (B, 9, 8, 7),
        },
        {"activation": "gelu"},
    ),
    Case(
        ops.lite_mla,
        {
            "x": (B, 24, 6, 7),
            "qkv_weight": (96, 24),
            "qkv_bias": (96,),
            "depthwise": (96, 1, 5, 5),
            "grouped": (96, 16),
            "project_weight": (24, 64),
            "project_bias": (24,),
            "residual": (B, 24, 6, 7),
        },
    ),
    Case(  # heads that are filled up with zeros
        ops.lite_mla,
        {
            "x": (B, 10, 6, 7),
            "qkv_weight": (45, 10),
            "qkv_bias": (45,),
            "depthwise": (45, 1, 3, 3),
            "grouped": (45, 5),
            "project_weight": (10, 30),
            "project_bias": None,
            "residual": None,
        },
    ),
    Case(ops.layer_norm_2d, {"x": (B, 21, 5, 4), "weight": (21,), "bias": (21,)}, {"eps": 1e-3}),
    Case(
        ops.upsample_add,
        {"x": (B, 9, 4, 5), "x2": (B, 9, 6, 3), "residual": (B, 9, 12, 13)},
    ),
    Case(ops.patch_conv, {"x": (B, 5, 6, 8), "weight": (18, 5, 2, 2), "bias": (18,)}, {"activation": "relu"}),
    Case(
        ops.conv_transpose,
        {
            "x": (B, 11, 3, 5),
            "weight": (11, 10, 2, 2),
            "bias": (10,),
            "lateral": (B, 10, 6, 10),
            "side": (B, 3, 6, 10),
            "side_weight": (10, 3, 1, 1),
        },
        {"activation": "gelu"},
    ),
    Case(
        ops.mask_head,
        {
            "x": (B, 11, 3, 5),
            "weight": (11, 10, 2, 2),
            "vectors": (B, 4, 10),
            "bias": (10,),
            "lateral": (B, 10, 6, 10),
        },
        {"activation": "relu"},
    ),
    Case(
        ops.mask_prompt,
        {
            "x": (B, 19, 3, 7),
            "mask": (B, 1, 12, 28),
            "first_weight": (3, 1, 2, 2),
            **dict.fromkeys(("first_bias", "first_gain", "first_shift"), (3,)),
            "second_weight": (9, 3, 2, 2),
            **dict.fromkeys(("second_bias", "second_gain", "second_shift"), (9,)),
            "last_weight": (19, 9),
            "last_bias": (19,),
        },
    ),
    Case(
        ops.sam_head,
        {
            "x": (B, 19, 3, 7),
            "vectors": (B, 4, 5),
            "first_weight": (19, 7, 2, 2),
            **dict.fromkeys(("first_bias", "gain", "shift"), (7,)),
            "second_weight": (7, 5, 2, 2),
            "second_bias": (5,),
        },
    ),
]

each_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


@each_case
class TestEveryOp:
    @pytest.mark.parametrize("isa", ISAS)
    def test_every_instruction_set(self, case: Case, isa: str) -> None:
        arrays = case.arrays()
        packed = ops.pack(case.function, **arrays, **case.numbers, isa=isa)
        assert packed.isa == isa
        case.check(packed(*(arrays[name] for name in packed.maps)), arrays)

    def test_backends_agree(self, case: Case) -> None:
        arrays = case.arrays()
        native = case.function(**arrays, **case.numbers, backend="native")
        assert isinstance(native, np.ndarray)
        case.check(native, arrays)
        np.testing.assert_array_equal(case.function(**arrays, **case.numbers), native)
        eager, _ = case.expected(arrays)
        got = case.function(**arrays, **case.numbers, backend="reference")
        np.testing.assert_allclose(got, eager, rtol=1e-5, atol=1e-5)

    def test_optional_arrays_left_out(self, case: Case) -> None:
        optional = {"bias", "expand_bias", "depthwise_bias", "project_bias", "point_bias", "qkv_bias", "residual", "x2"}
        optional |= {"lateral", "side", "side_weight"}
        if case.name == "layer_norm_2d":
            optional = set()
        arrays = {name: None if name in optional else x for name, x in case.arrays().items()}
        numbers = {**case.numbers, "size": (12, 13)} if case.name == "upsample_add" else case.numbers
        replace(case, numbers=numbers).check(case.function(**arrays, **numbers, backend="native"), arrays)

    @pytest.mark.parametrize(
        "view",
        [
            lambda x: x[::-1, :, ::-1],
            lambda x: np.repeat(x, 2, 3)[..., ::2],
            lambda x: np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2),
            lambda x: np.concatenate([x, x], 1).transpose(0, 2, 3, 1).copy().transpose(0, 3, 1, 2)[:, : x.shape[1]],
            np.asfortranarray,
        ],
        ids=["backwards", "columns", "channels-last", "slice-of-channels", "fortran"],
    )
    def test_strided_input(self, case: Case, view: Any) -> None:
        arrays = case.arrays()
        strided = {n: view(x) if x is not None and x.ndim == 4 and n in MAPS else x for n, x in arrays.items()}
        before = {name: None if x is None else x.copy() for name, x in strided.items()}
        case.check(case.function(**strided, **case.numbers, backend="native"), strided)
        for name, x in strided.items():
            np.testing.assert_array_equal(x, before[name])

    @pytest.mark.parametrize("layout", ["channels-last", "channels-first", "slice", "gaps"])
    def test_out(self, case: Case, layout: str) -> None:
        arrays = case.arrays()
        _, true = case.expected(arrays)
        batch, channels, height, width = true.shape
        base = np.full((batch, 2 * height, 2 * width, 2 * channels), 7.0, np.float32)
        if layout == "channels-first":
            base = np.full((batch, channels, height, width), 7.0, np.float32)
            out = base
        elif layout == "channels-last":
            out = base.reshape(-1)[: true.size].reshape(batch, height, width, channels).transpose(0, 3, 1, 2)
        elif layout == "slice":
            out = base.transpose(0, 3, 1, 2)[:, :channels, :height, :width]
        else:
            out = base.transpose(0, 3, 1, 2)[:, ::2, ::2, ::2]
        assert case.function(**arrays, **case.numbers, out=out, backend="native") is out
        case.check(out, arrays)
        out[...] = 7.0
        assert (base == 7.0).all(), "written outside out"

    def test_out_may_be_an_input(self, case: Case) -> None:
        arrays = case.arrays()
        _, true = case.expected(arrays)
        for name, array in case.arrays().items():
            if array is not None and array.shape == true.shape and name in MAPS:
                again = case.arrays()
                expected = case.function(**case.arrays(), **case.numbers, backend="native")
                case.function(**again, **case.numbers, out=again[name], backend="native")
                np.testing.assert_array_equal(again[name], expected)

    def test_same_bits_with_any_number_of_threads(self, case: Case) -> None:
        arrays = case.arrays()
        alone = case.function(**arrays, **case.numbers, backend="native", threads=1)
        for threads in (2, 3, 4):
            got = case.function(**arrays, **case.numbers, backend="native", threads=threads)
            np.testing.assert_array_equal(got, alone)

    def test_nan(self, case: Case) -> None:
        arrays = case.arrays()
        arrays["x"][1, 2, 1, 1] = np.nan
        got = case.function(**arrays, **case.numbers, backend="native")
        _, true = case.expected(arrays)
        assert np.isnan(got[1]).any()
        if case.numbers.get("activation", "none") in ("none", "gelu", "gelu_tanh"):  # others may give a number for NaN
            np.testing.assert_array_equal(np.isnan(got), np.isnan(true))
        assert np.isfinite(got[0]).all()

    def test_packed_weights_are_a_copy(self, case: Case) -> None:
        arrays = case.arrays()
        packed = ops.pack(case.function, **arrays, **case.numbers)
        other = {name: case.arrays(seed=1)[name] if name in packed.maps else x for name, x in arrays.items()}
        given = [other[name] for name in packed.maps]
        for name, array in arrays.items():
            if array is not None and name not in packed.maps:
                array[...] = 0
        again = {**other, **{n: x for n, x in case.arrays().items() if n not in packed.maps}}
        case.check(packed(*given, threads=2), again)

    def test_tensors(self, case: Case) -> None:
        arrays = case.arrays()
        tensors = {name: None if x is None else torch.from_numpy(x) for name, x in arrays.items()}
        got = case.function(**tensors, **case.numbers)
        assert isinstance(got, torch.Tensor)
        np.testing.assert_array_equal(got.numpy(), case.function(**arrays, **case.numbers))
        out = torch.empty_like(got)
        assert case.function(**tensors, **case.numbers, out=out) is out
        assert torch.equal(out, got)

    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
    def test_other_dtypes_are_for_the_specification(self, case: Case, dtype: Any) -> None:
        tensors = {n: None if x is None else torch.from_numpy(x).to(dtype) for n, x in case.arrays().items()}
        got = case.function(**tensors, **case.numbers)
        assert torch.equal(got, getattr(reference, case.name)(**tensors, **case.numbers))
        with pytest.raises(TypeError, match=r"expected float32 for native kernels, got (float16|bfloat16|float64)"):
            case.function(**tensors, **case.numbers, backend="native")

    def test_gradients_are_for_the_specification(self, case: Case) -> None:
        tensors: dict[str, Any] = {n: None if x is None else torch.from_numpy(x) for n, x in case.arrays().items()}
        tensors["x"].requires_grad_()
        case.function(**tensors, **case.numbers).sum().backward()
        assert tensors["x"].grad is not None
        with torch.no_grad():
            case.check(case.function(**tensors, **case.numbers), case.arrays())
        with pytest.raises(TypeError, match="x: expected a tensor without gradient for native kernels"):
            case.function(**tensors, **case.numbers, backend="native")

    @pytest.mark.parametrize(
        ("change", "error", "message"),
        [
            (
                {"x": np.zeros((7, 9, 11), np.float32)},
                ValueError,
                r"x: expected shape \(B, C, H, W\), got \(7, 9, 11\)",
            ),
            ({"x": [1.0]}, TypeError, "x: expected a NumPy array or a DLPack array on the CPU, got list"),
            (
                {"out": np.zeros((1, 1, 1, 1), np.float32)},
                ValueError,
                r"out: expected shape \(2, .*, got \(1, 1, 1, 1\)",
            ),
            ({"out": np.zeros((2, 2), np.float64)}, TypeError, "out: expected dtype float32, got float64"),
            ({"out": [1.0]}, TypeError, "out: expected a NumPy array or None, got list"),
            ({"threads": 0}, ValueError, "threads: expected a number from 1 to 2147483647 or None, got 0"),
            ({"threads": 2**70}, ValueError, f"threads: expected a number from 1 to 2147483647 or None, got {2**70}"),
            ({"backend": "cpu"}, ValueError, "backend: expected one of auto, native, cuda, reference, got 'cpu'"),
        ],
    )
    def test_errors(self, case: Case, change: dict[str, Any], error: type[Exception], message: str) -> None:
        arguments = {**case.arrays(), **case.numbers, "backend": "native", **change}
        with pytest.raises(error, match=message):
            case.function(**arguments)

    def test_read_only_out(self, case: Case) -> None:
        arrays = case.arrays()
        out = case.function(**arrays, **case.numbers)
        out.flags.writeable = False
        with pytest.raises(ValueError, match="out: expected a writable array, got a read-only one"):
            case.function(**arrays, **case.numbers, out=out)

    def test_empty_batch(self, case: Case) -> None:
        arrays = {n: x[:0] if x is not None and n in MAPS else x for n, x in case.arrays().items()}
        shape = (0, *case.expected(case.arrays())[1].shape[1:])
        for given in (arrays, {n: None if x is None else torch.from_numpy(x) for n, x in arrays.items()}):
            assert case.function(**given, **case.numbers, backend="native").shape == shape
        out = np.empty(shape, np.float32)
        assert case.function(**arrays, **case.numbers, backend="native", out=out) is out

    def test_arrays_that_may_not_be_left_out(self, case: Case) -> None:
        arrays = case.arrays()
        packed = ops.pack(case.function, **arrays, **case.numbers)
        for name in ("x", "weight", "expand_weight", "qkv_weight", "vectors"):
            if name not in arrays:
                continue
            for backend in ("native", "reference", "auto"):
                with pytest.raises(TypeError, match=f"^{name}: expected an array, got None"):
                    case.function(**{**arrays, name: None}, **case.numbers, backend=backend)
            if name in packed.maps:
                with pytest.raises(TypeError, match=f"^{name}: expected an array, got None"):
                    packed(*(None if map_ == name else arrays[map_] for map_ in packed.maps))

    def test_batches_must_agree(self, case: Case) -> None:
        arrays = case.arrays()
        for name, array in arrays.items():
            if array is not None and name in MAPS and name != "x":
                with pytest.raises(ValueError, match=r"expected .*2"):
                    case.function(**{**arrays, name: array[:1]}, **case.numbers, backend="native")


MAPS = ("x", "x2", "residual", "lateral", "side", "vectors", "mask")


class TestShapes:
    """Wrong shapes, by what the kernels' own checks and packing say."""

    @pytest.mark.parametrize(
        ("name", "change", "message"),
        [
            ("conv3x3", {"weight": (13, 7, 5, 5)}, r"weight: expected shape \(-1, -1, 3, 3\), got \(13, 7, 5, 5\)"),
            ("conv3x3", {"bias": (12,)}, r"bias: expected shape \(13,\), got \(12,\)"),
            ("conv3x3", {"x": (2, 8, 9, 11)}, "x: expected"),
            ("conv3x3", {"residual": (2, 13, 9, 10)}, "residual: expected"),
            ("conv3x3", {"stride": 3}, "stride: expected 1 or 2, got 3"),
            ("conv3x3", {"activation": "swish"}, "activation: expected one of none, relu, .*, got swish"),
            ("pointwise", {"weight": (33, 19, 3, 3)}, r"weight: expected shape \(-1, -1, 1, 1\)"),
            ("depthwise_conv", {"weight": (17, 1, 7, 7)}, "expected 3 or 5, got 7"),
            ("depthwise_conv", {"weight": (17, 2, 3, 3)}, r"weight: expected shape \(-1, 1, -1, -1\)"),
            (
                "fused_mbconv",
                {"point_weight": (7, 12)},
                r"point_weight: expected shape \(-1, 13, 1, 1\), got \(7, 12\)",
            ),
            ("mbconv", {"depthwise_weight": (34, 1, 3, 3)}, r"depthwise_weight: expected shape \(35, 1, -1, -1\)"),
            ("mbconv", {"project_bias": (8,)}, r"project_bias: expected shape \(9,\), got \(8,\)"),
            ("lite_mla", {"grouped": (95, 16)}, "grouped: expected 3 \\* heads \\* D rows of D"),
            ("lite_mla", {"project_weight": (24, 63)}, r"project_weight: expected shape \(24, 64, 1, 1\)"),
            ("layer_norm_2d", {"bias": (20,)}, r"bias: expected shape \(21,\), got \(20,\)"),
            ("layer_norm_2d", {"eps": -1.0}, "eps: expected"),
            ("upsample_add", {"size": 5}, "size: expected two whole numbers, height and width, got 5"),
            ("upsample_add", {"size": [9]}, r"size: expected two whole numbers, height and width, got \[9\]"),
            ("upsample_add", {"mode": "nearest"}, "mode: expected bilinear or bicubic, got nearest"),
            ("upsample_add", {"residual": (2, 8, 12, 13)}, "residual: expected"),
            ("patch_conv", {"x": (2, 5, 7, 8)}, "x: expected"),
            ("conv_transpose", {"side": (2, 4, 6, 10)}, "side: expected"),
            ("mask_head", {"vectors": (2, 4, 9)}, r"vectors: expected shape \(2, 4, 10\), got \(2, 4, 9\)"),
            ("mask_head", {"vectors": (2,)}, r"vectors: expected shape \(B, masks, O\), got \(2,\)"),
            ("mask_head", {"lateral": (2, 9, 6, 10)}, "lateral: expected"),
            ("mask_prompt", {"x": (2, 18, 3, 7)}, "x: expected 19 channels, got 18"),
            ("mask_prompt", {"mask": (2, 1, 12, 29)}, r"mask: expected shape \(2, 1, 12, 28\), got \(2, 1, 12, 29\)"),
            ("mask_prompt", {"second_weight": (9, 2, 2, 2)}, "second_weight: expected"),
            ("mask_prompt", {"last_bias": (18,)}, "last_bias: expected"),
            ("sam_head", {"x": (2, 18, 3, 7)}, "x: expected 19 channels, got 18"),
            ("sam_head", {"vectors": (2, 3, 5)}, r"vectors: expected shape \(2, 4, 5\), got \(2, 3, 5\)"),
            ("sam_head", {"vectors": (2,)}, r"vectors: expected shape \(B, masks, K\), got \(2,\)"),
            ("sam_head", {"second_weight": (6, 5, 2, 2)}, "second_weight: expected"),
        ],
    )
    def test_message(self, name: str, change: dict[str, Any], message: str) -> None:
        case = next(case for case in CASES if case.name == name)
        arrays = {n: np.zeros(x, np.float32) if isinstance(x, tuple) else x for n, x in change.items()}
        with pytest.raises(ValueError, match=message):
            case.function(**{**case.arrays(), **case.numbers, **arrays}, backend="native")


class TestChoice:
    def test_what_has_no_native_kernel_is_for_the_specification(self) -> None:
        rng = np.random.default_rng(0)
        x, bias = rng.standard_normal((1, 6, 7, 7), np.float32), np.zeros(6, np.float32)
        seven = rng.standard_normal((6, 1, 7, 7), np.float32)
        tensors = [torch.from_numpy(array) for array in (x, seven, bias)]
        np.testing.assert_array_equal(ops.depthwise_conv(x, seven, bias), reference.depthwise_conv(*tensors))
        weight = rng.standard_normal((6, 6), np.float32)
        both = ops.pointwise(x, weight, residual=x, activation="relu")
        expected = reference.pointwise(tensors[0], torch.from_numpy(weight), None, tensors[0], activation="relu")
        np.testing.assert_array_equal(both, expected)
        scaled = ops.pointwise(x, weight, activation="relu6", activation_scale=2.0)
        np.testing.assert_array_equal(
            scaled, reference.pointwise(tensors[0], torch.from_numpy(weight), activation="relu6", activation_scale=2.0)
        )
        with pytest.raises(ValueError, match=r"activation_scale: expected 1 for native kernels, got 2\.0"):
            ops.pointwise(x, weight, activation="relu6", activation_scale=2.0, backend="native")
        with pytest.raises(ValueError, match="residual"):
            ops.pointwise(x, weight, residual=x, activation="relu", backend="native")

    def test_no_kernels_for_the_gpu(self) -> None:
        with pytest.raises(BackendUnavailable, match="backend: expected native or reference for this op"):
            ops.patch_conv(np.zeros((1, 1, 2, 2), np.float32), np.zeros((1, 1, 2, 2), np.float32), backend="cuda")

    def test_size_of_a_resize(self) -> None:
        with pytest.raises(ValueError, match="size: expected height and width, or a residual that has them"):
            ops.upsample_add(np.zeros((1, 1, 2, 2), np.float32))


class TestPack:
    def test_algorithms(self) -> None:
        case = Case(ops.conv3x3, {"x": (1, 24, 13, 11), "weight": (20, 24, 3, 3), "bias": (20,)})
        arrays = case.arrays()
        _, true = case.expected(arrays)
        errors = {}
        for algorithm in ("automatic", "direct", "winograd2", "winograd4", "winograd6"):
            got = ops.pack(ops.conv3x3, **arrays, algorithm=algorithm)(arrays["x"])
            errors[algorithm] = relative_rms(got, true)
        # csrc/ops/conv3x3/README.md: with 32 channels 3.0e-7, 2.0e-7, 5.8e-7 and 2.5e-6
        assert errors["automatic"] == errors["winograd6"] < 5.0e-6
        assert errors["winograd4"] < 1.2e-6
        assert max(errors["direct"], errors["winograd2"]) < 6.0e-7

    def test_int8(self) -> None:
        case = Case(ops.pointwise, {"x": (1, 64, 5, 5), "weight": (48, 64), "bias": (48,)})
        arrays = case.arrays()
        got = ops.pack(ops.pointwise, **arrays, precision="int8")(arrays["x"])
        _, true = case.expected(arrays)
        error = relative_rms(got, true)
        assert 1e-4 < error < 0.02

    def test_activation_of_layer_norm(self) -> None:
        case = Case(ops.layer_norm_2d, {"x": (1, 21, 5, 4), "weight": (21,), "bias": (21,)})
        arrays = case.arrays()
        packed = ops.pack(ops.layer_norm_2d, **arrays, activation="relu")
        plain = ops.pack(ops.layer_norm_2d, **arrays)
        np.testing.assert_array_equal(packed(arrays["x"]), np.maximum(plain(arrays["x"]), 0))

    def test_errors(self) -> None:
        x, weight = np.zeros((1, 2, 3, 3), np.float32), np.zeros((4, 2), np.float32)
        packed = ops.pack(ops.pointwise, x, weight)
        with pytest.raises(TypeError, match=r"maps: expected 1 to 2 arrays \(x, residual\), got 3"):
            packed(x, None, None)
        with pytest.raises(TypeError, match=r"function: expected an op of evsam\.ops with weights to pack, got"):
            ops.pack(ops.preprocess, x)
        with pytest.raises(TypeError, match="threads: expected in calls of what is packed, got in pack"):
            ops.pack(ops.pointwise, x, weight, threads=1)
        with pytest.raises(ValueError, match=r"isa: expected an instruction set of this machine and build.*, got mmx"):
            ops.pack(ops.pointwise, x, weight, isa="mmx")
        with pytest.raises(ValueError, match="precision: expected one of fp32, bf16, fp16, int8, got fp8"):
            ops.pack(ops.pointwise, x, weight, precision="fp8")
        with pytest.raises(ValueError, match=r"algorithm: expected one of automatic, direct, .*, got fft"):
            ops.pack(ops.conv3x3, x, np.zeros((4, 2, 3, 3), np.float32), algorithm="fft")


class TestCompiledModule:
    """What the bindings refuse by themselves: a wrong size would be a write into foreign memory."""

    X = np.zeros((2, 3, 4, 5), np.float32)  # images, rows, columns, channels
    OUT = np.zeros((2, 3, 4, 7), np.float32)

    @pytest.mark.parametrize(
        ("inputs", "out", "error", "message"),
        [
            ([X], OUT, ValueError, "inputs: expected 2 arrays, got 1"),
            ([None, None], OUT, TypeError, "x: expected an array, got another type"),
            ([X.astype(np.float64), None], OUT, TypeError, "x: expected float32, got float64"),
            ([X[0], None], OUT, ValueError, r"x: expected shape \(B, H, W, C\), got \(3, 4, 5\)"),
            ([X[..., ::-1], None], OUT, ValueError, "x: expected channels next to each other and rows without gaps"),
            ([X[:, :, :3], None], OUT[:, :, :3], ValueError, "expected channels next to each other and rows without"),
            ([X[:1], None], OUT, ValueError, "x: expected 2 images, got 1"),
            ([X, OUT[:1]], OUT, ValueError, "residual: expected 2 images, got 1"),
            ([X[..., :4], None], OUT, ValueError, "x: expected"),
            ([X, None], OUT[..., :6], ValueError, "expected"),
            ([X, None], OUT.astype(np.float16), TypeError, "out: expected float32, got float16"),
        ],
    )
    def test_calls(self, inputs: list[Any], out: np.ndarray, error: type[Exception], message: str) -> None:
        packed = _C.pack_pointwise(np.zeros((7, 5), np.float32), None, activation="none")
        with pytest.raises(error, match=message):
            packed(inputs, out)

    def test_weights(self) -> None:
        weight = np.zeros((7, 10), np.float32)
        with pytest.raises(ValueError, match="weight: expected a contiguous array, got strides"):
            _C.pack_pointwise(weight[:, ::2], None, activation="none")
        with pytest.raises(TypeError, match="weight: expected float32, got float16"):
            _C.pack_pointwise(weight.astype(np.float16), None, activation="none")
        with pytest.raises(TypeError, match="bias: expected an array or None, got another type"):
            _C.pack_pointwise(weight, [1.0], activation="none")  # type: ignore[arg-type]

    def test_transposes(self) -> None:
        planes = np.ascontiguousarray(self.X.transpose(0, 3, 1, 2))
        for isa in ISAS:
            out = np.empty_like(self.X)
            _C.to_channels_last(planes, out, isa=isa)
            np.testing.assert_array_equal(out, self.X)
        with pytest.raises(
            ValueError, match=r"x: expected contiguous float32 of shape \(2, 5, 3, 4\), got \(2, 5, 3, 3\)"
        ):
            _C.to_channels_last(planes[..., :3], np.empty_like(self.X))
        with pytest.raises(ValueError, match=r"out: expected contiguous float32 of shape \(2, 5, 3, 4\)"):
            _C.to_channels_first(self.X, planes[:, ::-1])
        with pytest.raises(TypeError, match="out: expected float32, got uint8"):
            _C.to_channels_last(planes, self.X.astype(np.uint8))
        with pytest.raises(TypeError, match="x: expected float32, got float64"):
            _C.to_channels_first(self.X.astype(np.float64), planes)
        _C.to_channels_last(planes[:0], self.X[:0].copy())


def test_mask_head_of_one_channel() -> None:
    """NumPy gives the axis of one channel any stride."""
    vectors = np.ones(4, np.float32)[None, :, None]
    got = ops.mask_head(np.ones((1, 3, 2, 2), np.float32), np.ones((3, 1, 2, 2), np.float32), vectors)
    np.testing.assert_array_equal(got, np.full((1, 4, 4, 4), 3.0, np.float32))


class TestTwoWayAttention:
    P, X, C, HEADS, TOKENS = 2, 67, 40, 4, 3

    def arrays(self) -> dict[str, Any]:
        rng = np.random.default_rng(0)
        rows = self.HEADS * self.TOKENS

        def array(*shape: int) -> np.ndarray:
            return rng.standard_normal(shape, dtype=np.float32)

        matrix = (self.P, rows, self.C)
        update = [array(*matrix) / 8, array(self.P, rows), array(*matrix), *(array(self.C) for _ in range(3))]
        return {
            "cells": array(self.P, self.X, self.C),
            "position": array(self.X, self.C),
            "update": update,
            "queries": array(*matrix) / 8,
        }

    def expected(self, arrays: dict[str, Any], dtype: Any) -> Any:
        def tensor(array: Any) -> Any:
            return torch.from_numpy(array).to(dtype)

        given: dict[str, Any] = {
            name: tensor(x) if isinstance(x, np.ndarray) else x and [tensor(y) for y in x] for name, x in arrays.items()
        }
        return reference.two_way_attention(**given, heads=self.HEADS)

    @pytest.mark.parametrize("isa", ISAS)
    @pytest.mark.parametrize("left_out", ["", "update", "queries"])
    def test_against_float64(self, left_out: str, isa: str) -> None:
        arrays: dict[str, Any] = {name: None if name == left_out else x for name, x in self.arrays().items()}
        got = ops.two_way_attention(**arrays, heads=self.HEADS, isa=isa, backend="native")
        eager, true = self.expected(arrays, torch.float32), self.expected(arrays, torch.float64)
        for index, name in enumerate(("update", "queries")):
            assert (got[index] is None) == (name == left_out)
            if got[index] is not None:
                assert_as_good_as_eager(got[index], eager[index].numpy(), true[index].numpy())

    def test_any_number_of_threads_and_library(self) -> None:
        arrays = self.arrays()
        alone = ops.two_way_attention(**arrays, heads=self.HEADS, threads=1)
        several = ops.two_way_attention(**arrays, heads=self.HEADS, threads=3)
        tensors: dict[str, Any] = {
            n: torch.from_numpy(x) if isinstance(x, np.ndarray) else [torch.from_numpy(y) for y in x]
            for n, x in arrays.items()
        }
        from_tensors = ops.two_way_attention(**tensors, heads=self.HEADS)
        for first, second, third in zip(alone, several, from_tensors, strict=True):
            np.testing.assert_array_equal(first, second)
            assert isinstance(third, torch.Tensor)
            np.testing.assert_array_equal(first, third)

    def test_other_dtypes(self) -> None:
        arrays = self.arrays()
        wide: dict[str, Any] = {
            n: x.astype(np.float64) if isinstance(x, np.ndarray) else [y.astype(np.float64) for y in x]
            for n, x in arrays.items()
        }
        got = ops.two_way_attention(**wide, heads=self.HEADS)
        for result, true in zip(got, self.expected(arrays, torch.float64), strict=True):
            assert result.dtype == np.float64
            np.testing.assert_allclose(result, true)
        with pytest.raises(TypeError, match="cells: expected float32 for native kernels, got float64"):
            ops.two_way_attention(**wide, heads=self.HEADS, backend="native")

    def test_errors(self) -> None:
        arrays = self.arrays()
        with pytest.raises(ValueError, match="queries: expected an array where there is no update, got None"):
            ops.two_way_attention(arrays["cells"], arrays["position"], heads=2)
        with pytest.raises(ValueError, match=r"update: expected 6 arrays \(keys, .*\), got 3"):
            ops.two_way_attention(**{**arrays, "update": arrays["update"][:3]}, heads=2)
        with pytest.raises(TypeError, match="key_bias: expected an array, got None"):
            ops.two_way_attention(**{**arrays, "update": [arrays["update"][0], None, *arrays["update"][2:]]}, heads=2)
        with pytest.raises(ValueError, match=r"queries: expected shape \(2, -1, 40\), got \(40,\)"):
            ops.two_way_attention(**{**arrays, "queries": arrays["queries"][0, 0]}, heads=2)
        keys = [arrays["update"][0][0, 0], *arrays["update"][1:]]
        with pytest.raises(ValueError, match=r"keys: expected shape \(2, -1, 40\), got \(40,\)"):
            ops.two_way_attention(**{**arrays, "update": keys, "queries": None}, heads=2)
        with pytest.raises(ValueError, match="heads: expected a divisor of 12 rows, got 5"):
            ops.two_way_attention(**arrays, heads=5)
        with pytest.raises(ValueError, match=r"position: expected shape \(67, 40\), got \(66, 40\)"):
            ops.two_way_attention(**{**arrays, "position": arrays["position"][:66]}, heads=2)


@pytest.mark.parametrize("name", ["_op", "attention", "blocks", "cases", "convolutions", "decoder", "maps", "photos"])
def test_examples(name: str) -> None:
    results = doctest.testmod(import_module(f"evsam.ops.{name}"))
    assert results.attempted > 0
    assert results.failed == 0


def test_ops_import_no_torch() -> None:
    program = """
import sys
import numpy as np
from evsam import ops
ops.conv3x3(np.zeros((1, 2, 3, 3), np.float32), np.zeros((4, 2, 3, 3), np.float32))
cells = np.zeros((1, 5, 4), np.float32)
ops.two_way_attention(cells, cells[0], queries=cells, heads=1)
assert "torch" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", program], check=True)


def test_several_python_threads() -> None:
    from concurrent.futures import ThreadPoolExecutor

    case = next(case for case in CASES if case.name == "mbconv")
    arrays = case.arrays()
    packed = ops.pack(case.function, **arrays, **case.numbers)
    given = [arrays[name] for name in packed.maps]
    expected = packed(*given)
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda _: packed(*given, threads=2), range(40)))
    for result in results:
        np.testing.assert_array_equal(result, expected)
