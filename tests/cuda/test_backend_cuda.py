"""`backend="cuda"` of every op, through the emulated kernels, against the float64 specification."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is the specification")

from evsam import ops
from evsam.errors import BackendUnavailable
from evsam.ops import reference
from evsam.transforms import fitted_size, masks_from_logits
from tests.cuda.cases import assert_op, random_map, random_tensor, random_weight

pytestmark = pytest.mark.usefixtures("emulated")

SIZES = [(1, 1, 1), (2, 5, 7), (1, 8, 16), (3, 1, 33)]
"""Images, height and width of a map."""
DTYPES = [torch.float16, torch.bfloat16, torch.float32]


class TestLayerNorm:
    @pytest.mark.parametrize("dtype", DTYPES)
    @pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
    @pytest.mark.parametrize(("batch", "height", "width"), SIZES)
    def test_sizes(self, dtype: Any, layout: Any, batch: int, height: int, width: int) -> None:
        x = random_map(batch, 24, height, width, dtype=dtype).contiguous(memory_format=layout)
        weight, bias = random_tensor(24, seed=1), random_tensor(24, seed=2)
        got = ops.layer_norm_2d(x, weight, bias, backend="cuda")
        assert_op(got, reference.layer_norm_2d, x, weight, bias)
        assert got.is_contiguous(memory_format=layout)

    def test_in_place(self) -> None:
        x, ones = random_map(2, 16, 3, 3), torch.ones(16)
        expected = ops.layer_norm_2d(x, ones, ones, backend="cuda")
        assert ops.layer_norm_2d(x, ones, ones, out=x, backend="cuda") is x
        assert torch.equal(x, expected)

    def test_large_values_do_not_overflow(self) -> None:
        x = random_map(1, 64, 2, 2).clamp(-2, 2) * 3e4
        ones, zeros = torch.ones(64), torch.zeros(64)
        assert_op(ops.layer_norm_2d(x, ones, zeros, backend="cuda"), reference.layer_norm_2d, x, ones, zeros)

    def test_nan_stays_in_its_pixel(self) -> None:
        x = random_map(1, 16, 2, 3)
        x[0, 3, 1, 1] = torch.nan
        got = ops.layer_norm_2d(x, torch.ones(16), torch.zeros(16), backend="cuda")
        assert torch.isnan(got).all(1).sum() == torch.isnan(got).any(1).sum() == 1


class TestPointwise:
    @pytest.mark.parametrize(("batch", "height", "width"), SIZES)
    @pytest.mark.parametrize("activation", ["none", "relu", "relu6", "gelu_tanh"])
    def test_sizes(self, batch: int, height: int, width: int, activation: Any) -> None:
        x, weight = random_map(batch, 40, height, width), random_weight(24, 40)
        bias, residual = random_tensor(24, seed=2), random_map(batch, 24, height, width, seed=3)
        for arrays in ((x, weight), (x, weight, bias), (x, weight, bias, residual)):
            got = ops.pointwise(*arrays, activation=activation, backend="cuda")
            assert_op(got, reference.pointwise, *arrays, activation=activation)
            assert got.is_contiguous(memory_format=torch.channels_last)

    @pytest.mark.parametrize("activation", ["relu6", "gelu_tanh"])
    def test_activation_scale(self, activation: Any) -> None:
        x, weight, bias = random_map(1, 16, 4, 4), random_weight(16, 16), random_tensor(16)
        numbers = {"activation": activation, "activation_scale": 4.0}
        assert_op(
            ops.pointwise(x, weight, bias, backend="cuda", **numbers), reference.pointwise, x, weight, bias, **numbers
        )

    def test_weight_of_a_convolution(self) -> None:
        x, weight = random_map(1, 16, 3, 3), random_weight(8, 16)
        assert torch.equal(
            ops.pointwise(x, weight[:, :, None, None], backend="cuda"), ops.pointwise(x, weight, backend="cuda")
        )

    def test_out_may_be_the_residual(self) -> None:
        x, weight, residual = random_map(1, 16, 3, 3), random_weight(16, 16), random_map(1, 16, 3, 3, seed=5)
        expected = ops.pointwise(x, weight, None, residual, backend="cuda")
        assert ops.pointwise(x, weight, None, residual, out=residual, backend="cuda") is residual
        assert torch.equal(residual, expected)


class TestUpsampleAdd:
    @pytest.mark.parametrize("dtype", DTYPES)
    @pytest.mark.parametrize("mode", ["bicubic", "bilinear"])
    @pytest.mark.parametrize("size", [(8, 8), (7, 13), (1, 1)])
    def test_sizes(self, dtype: Any, mode: Any, size: tuple[int, int]) -> None:
        x, x2 = random_map(2, 16, 4, 5, dtype=dtype), random_map(2, 16, 2, 3, dtype=dtype, seed=1)
        residual = random_map(2, 16, *size, dtype=dtype, seed=2)
        for arrays in ((x, None, None), (x, x2, None), (x, None, residual), (x, x2, residual)):
            got = ops.upsample_add(*arrays, size=size, mode=mode, backend="cuda")
            assert_op(got, reference.upsample_add, *arrays, size=size, mode=mode)

    def test_size_of_the_residual(self) -> None:
        x, residual = random_map(1, 8, 2, 2), random_map(1, 8, 4, 6)
        assert ops.upsample_add(x, residual=residual, backend="cuda").shape == (1, 8, 4, 6)
        with pytest.raises(ValueError, match="size: expected height and width, or a residual that has them"):
            ops.upsample_add(x, backend="cuda")

    def test_mode(self) -> None:
        with pytest.raises(ValueError, match="mode: expected bilinear or bicubic, got nearest"):
            ops.upsample_add(random_map(1, 8, 2, 2), size=(4, 4), mode="nearest", backend="cuda")  # type: ignore[arg-type]


class TestMaskUpsample:
    @pytest.mark.parametrize("dtype", [np.float32, np.float16])
    @pytest.mark.parametrize("original", [(40, 60), (33, 7)])
    def test_same_pixels_as_the_specification(self, dtype: Any, original: tuple[int, int]) -> None:
        logits = np.random.default_rng(0).standard_normal((2, 3, 256, 256)).astype(dtype)
        resized = fitted_size(original)
        expected = masks_from_logits(logits.astype(np.float32), resized, original)
        got = ops.mask_upsample(torch.from_numpy(logits), resized, original, backend="cuda")
        assert got.dtype == torch.bool
        np.testing.assert_array_equal(got.numpy(), expected)
        out = torch.empty(2, 3, *original, dtype=torch.bool)
        assert ops.mask_upsample(torch.from_numpy(logits), resized, original, out=out, backend="cuda") is out
        np.testing.assert_array_equal(out.numpy(), expected)


class TestArrays:
    def test_torch_gives_torch(self) -> None:
        x, weight, bias = random_map(1, 16, 3, 3), torch.ones(16), torch.zeros(16)
        assert isinstance(ops.layer_norm_2d(x, weight, bias, backend="cuda"), torch.Tensor)

    def test_others_give_device_arrays(self, emulated: Any) -> None:
        x = np.random.default_rng(0).standard_normal((1, 3, 5, 16)).astype(np.float16).transpose(0, 3, 1, 2)
        weight, bias = np.ones(16, np.float32), np.zeros(16, np.float32)
        expected = ops.layer_norm_2d(torch.from_numpy(x), torch.ones(16), torch.zeros(16), backend="cuda")
        device = emulated.DeviceArray.from_host
        for arrays in ((x, weight, bias), (device(x), device(weight), device(bias))):
            got = ops.layer_norm_2d(*arrays, backend="cuda", stream=3)
            assert isinstance(got, emulated.DeviceArray)
            assert got.stream == 3
            np.testing.assert_array_equal(got.to_host(), expected.numpy())
            assert got.to_host().strides == expected.numpy().strides

    def test_cupy_gives_cupy(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """CuPy's part is played by NumPy, whose functions have the same names."""

        class Stream:
            ptr = 0

        stand_in = type("cupy", (), {"ndarray": np.ndarray, "empty": staticmethod(np.empty)})
        stand_in.cuda = type("cuda", (), {"get_current_stream": staticmethod(Stream)})  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "cupy", stand_in)
        x = np.random.default_rng(0).standard_normal((1, 3, 5, 16)).astype(np.float16).transpose(0, 3, 1, 2)
        got = ops.layer_norm_2d(x, np.ones(16, np.float32), np.zeros(16, np.float32), backend="cuda")
        assert isinstance(got, np.ndarray)
        assert got.strides == x.strides

    def test_arrays_on_the_host_are_a_type_error(self, emulated: Any) -> None:
        class Host:
            """A NumPy array as the module for GPUs sees it: on a device that is not the kernels'."""

            def __init__(self) -> None:
                self.__dlpack__ = np.zeros(3).__dlpack__

            def __dlpack_device__(self) -> tuple[int, int]:
                return (3, 0)

        with pytest.raises(TypeError, match=r"qkv: expected an array on .* got .*Host on DLPack device type 3"):
            ops.relu_linear_attention(Host(), backend="cuda")

    def test_gradients_are_not_dropped(self) -> None:
        x = random_map(1, 16, 3, 3).requires_grad_()
        with pytest.raises(TypeError, match=r"x: .* require gradient, use tensor\.detach\(\)"):
            ops.layer_norm_2d(x, torch.ones(16), torch.zeros(16), backend="cuda")

    def test_maps_have_four_axes(self) -> None:
        with pytest.raises(ValueError, match=r"x: expected shape \(B, C, H, W\), got \(16, 3\)"):
            ops.layer_norm_2d(torch.zeros(16, 3), torch.ones(16), torch.zeros(16), backend="cuda")


class TestChoice:
    def test_auto_on_the_host(self) -> None:
        x = random_map(1, 16, 3, 3, dtype=torch.float32)
        got = ops.layer_norm_2d(x, torch.ones(16), torch.zeros(16))
        assert torch.equal(got, reference.layer_norm_2d(x, torch.ones(16), torch.zeros(16)))

    def test_auto_on_a_device(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("evsam.ops._arrays.is_device_array", lambda _: True)
        monkeypatch.setattr("evsam.ops._reference.import_torch", lambda: pytest.fail("the reference was called"))
        x = random_map(1, 16, 3, 3)
        assert ops.layer_norm_2d(x, torch.ones(16), torch.zeros(16)).shape == x.shape

    def test_cpu(self) -> None:
        with pytest.raises(BackendUnavailable, match="backend: expected cuda or reference for this op"):
            ops.layer_norm_2d(random_map(1, 16, 3, 3), torch.ones(16), torch.zeros(16), backend="cpu")

    def test_device_arrays_are_recognised(self) -> None:
        class OnDevice:
            def __init__(self, kind: int) -> None:
                self.kind = kind

            def __dlpack_device__(self) -> tuple[int, int]:
                return (self.kind, 0)

        class Interface:
            __cuda_array_interface__ = None

        from evsam.ops._device import is_device_array

        assert [kind for kind in range(20) if is_device_array(OnDevice(kind))] == [2, 13]
        assert is_device_array(Interface())
        assert not is_device_array(np.zeros(3))
        assert not is_device_array(torch.zeros(3))
        assert not is_device_array([1.0])


class TestUnavailable:
    def test_build_without_cuda(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "evsam._cuda", None)
        with pytest.raises(BackendUnavailable, match=r"pip install \. -C cmake\.define\.EVSAM_CUDA=ON"):
            ops.layer_norm_2d(random_map(1, 16, 3, 3), torch.ones(16), torch.zeros(16), backend="cuda")

    def test_no_driver(self, emulated: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(emulated, "driver_error", lambda: "CUDA driver version is insufficient")
        with pytest.raises(BackendUnavailable, match="expected a CUDA device, got none: CUDA driver version is insuff"):
            ops.layer_norm_2d(random_map(1, 16, 3, 3), torch.ones(16), torch.zeros(16), backend="cuda")
