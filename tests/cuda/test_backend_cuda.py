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
        numbers: dict[str, Any] = {"activation": activation, "activation_scale": 4.0}
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


class TestConv3x3:
    @pytest.mark.parametrize(("batch", "height", "width"), SIZES)
    @pytest.mark.parametrize("stride", [1, 2])
    @pytest.mark.parametrize("activation", ["none", "relu6", "gelu_tanh"])
    def test_sizes(self, batch: int, height: int, width: int, stride: int, activation: Any) -> None:
        x, weight, bias = random_map(batch, 16, height, width), random_weight(24, 16, 3, 3), random_tensor(24, seed=2)
        numbers: dict[str, Any] = {"stride": stride, "activation": activation}
        got = ops.conv3x3(x, weight, bias, backend="cuda", **numbers)
        assert_op(got, reference.conv3x3, x, weight, bias, **numbers)
        residual = random_map(*got.shape, seed=3)
        got = ops.conv3x3(x, weight, None, residual, backend="cuda", **numbers)
        assert_op(got, reference.conv3x3, x, weight, None, residual, **numbers)
        assert ops.conv3x3(x, weight, None, residual, out=residual, backend="cuda", **numbers) is residual
        assert torch.equal(residual, got)

    def test_weight_must_have_its_channels_last(self) -> None:
        with pytest.raises(ValueError, match="weight: expected"):
            ops.conv3x3(random_map(1, 16, 3, 3), random_weight(8, 16, 3, 3).contiguous(), backend="cuda")


class TestFusedMBConv:
    @pytest.mark.parametrize(("batch", "height", "width"), SIZES)
    @pytest.mark.parametrize("stride", [1, 2])
    def test_sizes(self, batch: int, height: int, width: int, stride: int) -> None:
        x, weight, bias = random_map(batch, 16, height, width), random_weight(64, 16, 3, 3), random_tensor(64, seed=2)
        point_weight, point_bias = random_weight(16, 64, seed=3), random_tensor(16, seed=4)
        arrays: tuple[Any, ...] = (x, weight, bias, point_weight, point_bias)
        got = ops.fused_mbconv(*arrays, stride=stride, backend="cuda")
        assert_op(got, reference.fused_mbconv, *arrays, stride=stride)
        arrays = (x, weight, None, point_weight[:, :, None, None], None, random_map(*got.shape, seed=5))
        numbers: dict[str, Any] = {"stride": stride, "activation": "relu6", "activation_scale": 2.0}
        got = ops.fused_mbconv(*arrays, backend="cuda", **numbers)
        assert_op(got, reference.fused_mbconv, *arrays, **numbers)

    def test_out_may_be_the_residual(self) -> None:
        x, residual = random_map(1, 16, 5, 5), random_map(1, 16, 5, 5, seed=1)
        weights = (random_weight(32, 16, 3, 3), torch.zeros(32), random_weight(16, 32), torch.zeros(16))
        expected = ops.fused_mbconv(x, *weights, residual, backend="cuda")
        assert ops.fused_mbconv(x, *weights, residual, out=residual, backend="cuda") is residual
        assert torch.equal(residual, expected)


class TestMBConv:
    @pytest.mark.parametrize(("batch", "height", "width"), SIZES)
    @pytest.mark.parametrize("stride", [1, 2])
    @pytest.mark.parametrize("kernel", [3, 5])
    def test_sizes(self, batch: int, height: int, width: int, stride: int, kernel: int) -> None:
        x = random_map(batch, 16, height, width)
        expand, depthwise = random_weight(64, 16), random_weight(64, 1, kernel, kernel, seed=2)
        project = random_weight(24, 64, seed=3)
        biases = [random_tensor(n, seed=4) for n in (64, 64, 24)]
        arrays: tuple[Any, ...] = (x, expand, biases[0], depthwise, biases[1], project, biases[2])
        got = ops.mbconv(*arrays, stride=stride, backend="cuda")
        assert_op(got, reference.mbconv, *arrays, stride=stride)
        residual = random_map(*got.shape, seed=5)
        arrays = (x, expand[:, :, None, None], None, depthwise, None, project[:, :, None, None], None, residual)
        numbers: dict[str, Any] = {"stride": stride, "activation": "relu6", "activation_scale": 2.0}
        got = ops.mbconv(*arrays, backend="cuda", **numbers)
        assert_op(got, reference.mbconv, *arrays, **numbers)
        assert ops.mbconv(*arrays, out=residual, backend="cuda", **numbers) is residual
        assert torch.equal(residual, got)


class TestReluLinearAttention:
    @pytest.mark.parametrize("dtype", DTYPES)
    @pytest.mark.parametrize("dim", [16, 32])
    @pytest.mark.parametrize("tokens", [1, 15, 64, 129, 300])
    @pytest.mark.parametrize("token_major", [False, True])
    def test_sizes(self, dtype: Any, dim: int, tokens: int, token_major: bool) -> None:
        qkv = random_tensor(2, 3, 3 * dim, tokens, dtype=dtype)
        if token_major:
            qkv = random_tensor(2, tokens, 3, 3 * dim, dtype=dtype).permute(0, 2, 3, 1)
        got = ops.relu_linear_attention(qkv, backend="cuda")
        assert_op(got, reference.relu_linear_attention, qkv)
        if tokens > 1:
            assert got.stride(2 if token_major else 3) == 1

    @pytest.mark.parametrize(
        "view",
        [
            lambda base: base[::2],
            lambda base: base[:, 1:3, :, 8:40],
            lambda base: base.transpose(0, 1),
            lambda base: base[:1, :1].expand(base.shape),
        ],
        ids=["batch", "slices", "transposed", "broadcast"],
    )
    def test_strided_input(self, view: Any) -> None:
        qkv = view(random_tensor(4, 6, 48, 64, dtype=torch.float16))
        before = qkv.clone()
        assert_op(ops.relu_linear_attention(qkv, backend="cuda"), reference.relu_linear_attention, qkv)
        assert torch.equal(qkv, before)

    def test_out_with_gaps(self) -> None:
        base = torch.full((2, 4, 16, 80), 7.0, dtype=torch.float16)
        out = base[:, ::2, :, 8:40]
        qkv = random_tensor(2, 2, 48, 32, dtype=torch.float16)
        assert ops.relu_linear_attention(qkv, out=out, backend="cuda") is out
        assert_op(out, reference.relu_linear_attention, qkv)
        out[...] = 7.0
        assert (base == 7.0).all(), "written outside out"

    @pytest.mark.parametrize("split", ["automatic", "whole", "split"])
    def test_split_and_workspace(self, emulated: Any, split: str) -> None:
        qkv = random_tensor(1, 2, 96, 700, dtype=torch.float16)
        outs = [torch.empty(1, 2, 32, 700, dtype=torch.float16) for _ in range(2)]
        emulated.relu_linear_attention(qkv, outs[0], eps=1e-15, split=split)
        workspace = np.empty(1 << 20, np.uint8)
        emulated.relu_linear_attention(qkv, outs[1], eps=1e-15, split=split, workspace=workspace)
        assert_op(outs[0], reference.relu_linear_attention, qkv)
        assert torch.equal(*outs)

    def test_workspace_messages(self, emulated: Any) -> None:
        qkv = random_tensor(1, 1, 48, 700, dtype=torch.float16)
        out = torch.empty(1, 1, 16, 700, dtype=torch.float16)

        def call(workspace: Any, split: str = "split") -> None:
            emulated.relu_linear_attention(qkv, out, eps=0.0, split=split, workspace=workspace)

        with pytest.raises(ValueError, match=r"workspace: expected at least .* bytes, got 4"):
            call(np.empty(4, np.uint8))
        for wrong in (np.empty(1 << 20, np.int8), np.empty(1 << 20, np.uint8)[::2]):
            with pytest.raises(ValueError, match=r"workspace: expected contiguous bytes \(uint8\)"):
                call(wrong)
        with pytest.raises(ValueError, match="split: expected one of automatic, whole, split, got x"):
            call(None, "x")

    def test_all_negative_and_nan(self) -> None:
        qkv = random_tensor(1, 2, 48, 40, dtype=torch.float16)
        qkv[0, 0, :16, 7] = -1.0
        qkv[0, 1, 40, 3] = torch.nan
        got = ops.relu_linear_attention(qkv, backend="cuda")
        assert (got[0, 0, :, 7] == 0).all()
        assert_op(got, reference.relu_linear_attention, qkv)

    def test_sums_that_float16_does_not_hold(self) -> None:
        qkv = random_tensor(1, 1, 48, 1024, dtype=torch.float16).abs() * 1000
        assert_op(ops.relu_linear_attention(qkv, backend="cuda"), reference.relu_linear_attention, qkv)

    def test_shape(self) -> None:
        with pytest.raises(ValueError, match=r"qkv: expected shape \(B, H, 3 \* D, N\), got \(48, 10\)"):
            ops.relu_linear_attention(torch.zeros(48, 10, dtype=torch.float16), backend="cuda")


class TestLiteMLA:
    @pytest.mark.parametrize("size", [(1, 1), (5, 7), (16, 16), (17, 20)])
    @pytest.mark.parametrize(("dim", "kernel"), [(16, 3), (32, 5)])
    @pytest.mark.parametrize("split", ["automatic", "whole", "split"])
    def test_sizes(self, emulated: Any, size: tuple[int, int], dim: int, kernel: int, split: str) -> None:
        channels, total = 24, 2 * dim
        x, residual = random_map(2, channels, *size), random_map(2, channels, *size, seed=9)
        arrays = (
            x,
            random_weight(3 * total, channels),
            random_tensor(3 * total, seed=2),
            random_weight(3 * total, 1, kernel, kernel, seed=3),
            random_weight(3 * total, dim, seed=4),
            random_weight(channels, 2 * total, seed=5),
            random_tensor(channels, seed=6),
            residual,
        )
        out = torch.empty_like(x)
        emulated.lite_mla(*arrays, out, eps=1e-15, split=split)
        assert_op(out, reference.lite_mla, *arrays, eps=1e-15)
        if split == "automatic":
            assert torch.equal(ops.lite_mla(*arrays, backend="cuda"), out)
            bare = (x, arrays[1], None, *arrays[3:6])
            assert_op(ops.lite_mla(*bare, backend="cuda"), reference.lite_mla, *bare)


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


class TestPreprocess:
    @pytest.mark.parametrize("size", [(40, 60), (100, 33), (64, 64)])
    @pytest.mark.parametrize("dtype", ["float32", "float16"])
    @pytest.mark.parametrize("channels", [3, 8])
    def test_same_bytes_as_pillow(self, size: tuple[int, int], dtype: Any, channels: Any) -> None:
        image = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
        expected = ops.preprocess(image, 64, dtype=dtype, channels=channels, backend="reference")
        got = ops.preprocess(torch.from_numpy(image), 64, dtype=dtype, channels=channels, backend="cuda").numpy()
        assert got.shape == (1, channels, 64, 64)
        # the bytes are the same, the normalisation may be rounded once less
        np.testing.assert_allclose(got, expected, rtol=2 * np.finfo(dtype).eps, atol=1e-6)
        on_cpu = ops.preprocess(image, 64, dtype=dtype, channels=channels)
        np.testing.assert_allclose(on_cpu, expected, rtol=2 * np.finfo(dtype).eps, atol=1e-6)
        out = torch.ones(1, channels, 64, 64, dtype=getattr(torch, dtype)).to(memory_format=torch.channels_last)
        assert ops.preprocess(torch.from_numpy(image), 64, out=out, backend="cuda") is out
        np.testing.assert_array_equal(out.numpy(), got)

    def test_out_on_the_cpu(self) -> None:
        image = np.zeros((5, 5, 3), np.uint8)
        with pytest.raises(TypeError, match="out: expected dtype float32, got float64"):
            ops.preprocess(image, 8, out=np.zeros((1, 3, 8, 8)))
        with pytest.raises(ValueError, match=r"out: expected shape \(1, 3, 8, 8\), got \(1, 3, 8, 9\)"):
            ops.preprocess(image, 8, out=np.zeros((1, 3, 8, 9), np.float32))


class TestReferenceBackend:
    """On arrays of either library, with and without `out`."""

    def test_libraries(self) -> None:
        x, weight, bias = random_tensor(2, 8, 3, 3), random_weight(4, 8, dtype=torch.float32), random_tensor(4)
        expected = reference.pointwise(x, weight, bias)
        got = ops.pointwise(x, weight, bias, backend="reference")
        assert torch.equal(got, expected)
        from_numpy = ops.pointwise(x.numpy(), weight.numpy(), bias.numpy(), backend="reference")
        assert isinstance(from_numpy, np.ndarray)
        np.testing.assert_array_equal(from_numpy, expected.numpy())
        out = np.empty((2, 4, 3, 3), np.float32)
        assert ops.pointwise(x.numpy(), weight.numpy(), bias.numpy(), out=out, backend="reference") is out
        np.testing.assert_array_equal(out, expected.numpy())
        tensor_out = torch.empty(2, 4, 3, 3)
        assert ops.pointwise(x, weight, bias, out=tensor_out, backend="reference") is tensor_out
        assert torch.equal(tensor_out, expected)

    def test_gradients(self) -> None:
        x = random_tensor(1, 8, 2, 2).requires_grad_()
        ops.layer_norm_2d(x, torch.ones(8), torch.zeros(8), backend="reference").square().sum().backward()
        assert x.grad is not None

    def test_messages(self) -> None:
        x, weight = np.zeros((1, 8, 2, 2), np.float32), np.zeros((4, 8), np.float32)
        with pytest.raises(TypeError, match="out: expected dtype float32, got float64"):
            ops.pointwise(x, weight, out=np.zeros((1, 4, 2, 2)), backend="reference")
        with pytest.raises(ValueError, match=r"out: expected shape \(1, 4, 2, 2\), got \(1, 4, 2, 3\)"):
            ops.pointwise(x, weight, out=np.zeros((1, 4, 2, 3), np.float32), backend="reference")
        with pytest.raises(TypeError, match="out: expected a NumPy array or None, got list"):
            ops.pointwise(x, weight, out=[], backend="reference")
        with pytest.raises(TypeError, match="x: expected a NumPy array or a DLPack array on the CPU, got list"):
            ops.pointwise([], weight, backend="reference")

    @pytest.mark.parametrize("scale", [1.0, 8.0])
    @pytest.mark.parametrize("activation", ["none", "relu", "relu6", "gelu_tanh"])
    def test_activation_scale_is_that_of_the_stored_map(self, activation: Any, scale: float) -> None:
        x = random_tensor(1000, dtype=torch.float64, scale=5.0)
        expected = reference.activate(x, activation) / scale
        torch.testing.assert_close(reference.activate(x / scale, activation, scale), expected)

    def test_is_the_network(self) -> None:
        """The specifications of lite_mla and mbconv are what the PyTorch modules compute."""
        from evsam.nn.layers import LiteMLA, MBConv

        torch.manual_seed(0)
        x = random_tensor(1, 32, 6, 7, dtype=torch.float64)
        module: Any = LiteMLA(32, 16, 5).double().eval()
        project, bias = module.proj.folded()
        depthwise, grouped = (layer.weight for layer in module.aggreg[0])
        arrays = (x, module.qkv.conv.weight, None, depthwise, grouped[:, :, 0, 0], project, bias, x)
        torch.testing.assert_close(reference.lite_mla(*arrays), x + module(x))
        block: Any = MBConv(32, 32, 1, 4.0, 3, fewer_norm=True, activation="gelu").double().eval()
        layers = (block.inverted_conv, block.depth_conv, block.point_conv)
        folded: list[Any] = [x, *(tensor for layer in layers for tensor in layer.folded()), x]
        torch.testing.assert_close(reference.mbconv(*folded), x + block(x))


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
        assert isinstance(got, torch.Tensor)
        assert torch.equal(got, ops.layer_norm_2d(x, torch.ones(16), torch.zeros(16), backend="native"))
        torch.testing.assert_close(got, reference.layer_norm_2d(x, torch.ones(16), torch.zeros(16)))

    def test_auto_on_a_device(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("evsam.ops._arrays.is_device_array", lambda _: True)
        monkeypatch.setattr("evsam.ops._reference.import_torch", lambda: pytest.fail("the reference was called"))
        x = random_map(1, 16, 3, 3)
        assert ops.layer_norm_2d(x, torch.ones(16), torch.zeros(16)).shape == x.shape

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
