"""Inputs of the CUDA ops' tests.

Random maps and weights, with the rule by which results are compared; and calls of every kernel on small maps, whose PTX
the tests execute: sides that no tile divides, batches above one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from math import prod
from typing import Any

import torch
from torch import Tensor

from tests.tolerance import assert_as_good_as_eager

__all__ = ["CASES", "Call", "Case", "assert_op", "normal", "random_map", "random_tensor", "random_weight"]


def random_tensor(*shape: int, dtype: torch.dtype = torch.float32, seed: int = 0, scale: float = 1.0) -> Tensor:
    """Normally distributed numbers in C order."""
    return (torch.randn(shape, generator=torch.Generator().manual_seed(seed)) * scale).to(dtype)


def random_map(*shape: int, dtype: torch.dtype = torch.float16, seed: int = 0) -> Tensor:
    """A feature map (B, C, H, W) with its channels last in memory."""
    return random_tensor(*shape, dtype=dtype, seed=seed).contiguous(memory_format=torch.channels_last)


def random_weight(*shape: int, dtype: torch.dtype = torch.float16, seed: int = 1) -> Tensor:
    """A weight (O, I, ...) that keeps the variance of its input; that of a dense convolution has its channels last."""
    inputs = prod(shape[1:])
    weight = random_tensor(*shape, dtype=dtype, seed=seed, scale=inputs**-0.5)
    dense = len(shape) == 4 and shape[1] > 1
    return weight.contiguous(memory_format=torch.channels_last) if dense else weight


def assert_op(got: Tensor, specification: Callable[..., Tensor], *arrays: Tensor | None, **numbers: Any) -> None:
    """The tolerance rule: as close to the float64 result as the same computation op by op in the dtype of `got`."""
    eager = specification(*arrays, **numbers)
    true = specification(*(array if array is None else array.double() for array in arrays), **numbers)
    assert got.dtype == eager.dtype
    eps = torch.finfo(got.dtype).eps
    if got.dtype == torch.bfloat16:  # which NumPy lacks; float32 holds its values
        got, eager = got.float(), eager.float()
    assert_as_good_as_eager(got.numpy(), eager.numpy(), true.numpy(), eps=eps)


@dataclass
class Call:
    """A call of a function of the module.

    `needs_workspace`: it takes one, of a size that it says itself. `rounds_inside`: values that it does not return are
    rounded to float16 on the way.
    """

    function: str
    inputs: dict[str, Tensor | None]
    outputs: dict[str, Tensor]
    options: dict[str, Any] = field(default_factory=dict)
    needs_workspace: bool = False
    rounds_inside: bool = False


@dataclass(frozen=True)
class Case:
    """A call on a device of so many multiprocessors, by which launchers choose kernels."""

    name: str
    make: Callable[[], Call]
    multiprocessors: int = 108


DTYPES = {"f16": torch.float16, "bf16": torch.bfloat16, "f32": torch.float32}


def normal(*shape: int, dtype: torch.dtype = torch.float16, scale: float = 1.0) -> Tensor:
    """Normally distributed numbers, others for each sum of the sides."""
    return random_tensor(*shape, dtype=dtype, seed=sum(shape), scale=scale)


def _map(*shape: int, dtype: torch.dtype = torch.float16, last: bool = True) -> Tensor:
    values = normal(*shape, dtype=dtype)
    return values.contiguous(memory_format=torch.channels_last) if last else values


def _vector(length: int) -> Tensor:
    return normal(length, dtype=torch.float32)


def _layer_norm(dtype: torch.dtype, last: bool) -> Call:
    x = _map(2, 72 if last else 19, 3, 7, dtype=dtype, last=last)
    x[0, :, 0, 0] = float("nan")
    x[0, :, 0, 1] += 100
    parameters = {"weight": _vector(x.shape[1]), "bias": _vector(x.shape[1]).flip(0)}
    return Call("layer_norm", {"x": x, **parameters}, {"out": torch.empty_like(x)}, {"eps": 1e-6})


def _pointwise(x: tuple[int, ...], outputs: int, activation: str, *, bias: bool, residual: bool) -> Call:
    shape = (x[0], outputs, *x[2:])
    inputs = {
        "x": _map(*x),
        "weight": normal(outputs, x[1], scale=x[1] ** -0.5),
        "bias": _vector(outputs) if bias else None,
        "residual": _map(*shape) if residual else None,
    }
    return Call("pointwise", inputs, {"out": _map(*shape)}, {"activation": activation, "activation_scale": 0.5})


def _conv3x3(
    x: tuple[int, ...], outputs: int, stride: int, activation: str, *, bias: bool = True, residual: bool = False
) -> Call:
    batch, channels, height, width = x
    shape = (batch, outputs, -(-height // stride), -(-width // stride))
    weight = normal(outputs, channels, 3, 3, scale=(9 * channels) ** -0.5)
    inputs = {
        "x": _map(*x),
        "weight": weight.contiguous(memory_format=torch.channels_last),
        "bias": _vector(outputs) if bias else None,
        "residual": _map(*shape) if residual else None,
    }
    options = {"stride": stride, "activation": activation, "activation_scale": 0.5}
    return Call("conv3x3", inputs, {"out": _map(*shape)}, options)


def _upsample_add(dtype: torch.dtype, mode: str, *, second: bool) -> Call:
    inputs = {
        "x": _map(2, 16, 3, 5, dtype=dtype),
        "x2": _map(2, 16, 2, 3, dtype=dtype) if second else None,
        "residual": _map(2, 16, 7, 10, dtype=dtype) if second else None,
    }
    return Call("upsample_add", inputs, {"out": _map(2, 16, 7, 10, dtype=dtype)}, {"mode": mode})


def _mask_upsample(dtype: torch.dtype, size: tuple[int, int], resized: tuple[int, int]) -> Call:
    logits = normal(2, 256, 256, dtype=dtype)
    masks = torch.zeros(2, *size, dtype=torch.uint8)
    return Call("mask_upsample", {"logits": logits}, {"out": masks}, {"resized_size": resized})


def _preprocess(dtype: torch.dtype, photo: tuple[int, int], channels: int, side: int) -> Call:
    generator = torch.Generator().manual_seed(1)
    image = torch.randint(256, (*photo, 3), generator=generator, dtype=torch.uint8)
    out = _map(1, channels, side, side, dtype=dtype)
    return Call("preprocess", {"image": image}, {"out": out}, needs_workspace=True)


def _attention(
    dtype: torch.dtype, dim: int, tokens: int, split: str, *, batch: int = 2, heads: int = 2, rows_last: bool = False
) -> Call:
    """Channel-major, or with `rows_last` token-major: then the channels of all heads lie beside each other."""
    if rows_last:
        qkv = normal(batch, tokens, heads, 3 * dim, dtype=dtype).permute(0, 2, 3, 1)
        out = normal(batch, tokens, heads, dim, dtype=dtype).permute(0, 2, 3, 1)
    else:
        qkv, out = normal(batch, heads, 3 * dim, tokens, dtype=dtype), normal(batch, heads, dim, tokens, dtype=dtype)
    qkv[0, 0, : 2 * dim] = -qkv[0, 0, : 2 * dim].abs()  # nothing is left of them: the denominator is eps
    options = {"eps": 1e-15, "split": split}
    return Call("relu_linear_attention", {"qkv": qkv}, {"out": out}, options, needs_workspace=True)


def _lite_mla(x: tuple[int, ...], size: int, dim: int, split: str, *, optional: bool) -> Call:
    """Two heads; `optional`: with biases and a residual."""
    channels, total = x[1], 2 * dim
    inputs = {
        "x": _map(*x),
        "qkv_weight": normal(3 * total, channels, scale=channels**-0.5),
        "qkv_bias": _vector(3 * total) if optional else None,
        "depthwise": normal(3 * total, 1, size, size, scale=1 / size),
        "grouped": normal(3 * total, dim, scale=dim**-0.5),
        "project_weight": normal(channels, 2 * total, scale=(2 * total) ** -0.5),
        "project_bias": _vector(channels) if optional else None,
        "residual": _map(*x).flip(0).contiguous(memory_format=torch.channels_last) if optional else None,
    }
    return Call(
        "lite_mla", inputs, {"out": _map(*x)}, {"eps": 1e-15, "split": split}, needs_workspace=True, rounds_inside=True
    )


def _mbconv(x: tuple[int, ...], hidden: int, outputs: int, size: int, stride: int, *, optional: bool) -> Call:
    batch, channels, height, width = x
    shape = (batch, outputs, -(-height // stride), -(-width // stride))
    inputs = {
        "x": _map(*x),
        "expand_weight": normal(hidden, channels, scale=channels**-0.5),
        "expand_bias": _vector(hidden) if optional else None,
        "depthwise_weight": normal(hidden, 1, size, size, scale=1 / size),
        "depthwise_bias": _vector(hidden) if optional else None,
        "project_weight": normal(outputs, hidden, scale=hidden**-0.5),
        "project_bias": _vector(outputs) if optional else None,
        "residual": _map(*shape) if optional else None,
    }
    options = {"stride": stride, "activation": "gelu_tanh" if optional else "relu6", "activation_scale": 0.5}
    return Call("mbconv", inputs, {"out": _map(*shape)}, options, needs_workspace=True, rounds_inside=True)


def _fused_mbconv(x: tuple[int, ...], hidden: int, outputs: int, stride: int, *, optional: bool) -> Call:
    batch, channels, height, width = x
    shape = (batch, outputs, -(-height // stride), -(-width // stride))
    weight = normal(hidden, channels, 3, 3, scale=(9 * channels) ** -0.5)
    inputs = {
        "x": _map(*x),
        "weight": weight.contiguous(memory_format=torch.channels_last),
        "bias": _vector(hidden) if optional else None,
        "point_weight": normal(outputs, hidden, scale=hidden**-0.5),
        "point_bias": _vector(outputs) if optional else None,
        "residual": _map(*shape) if optional else None,
    }
    options = {"stride": stride, "activation": "gelu_tanh", "activation_scale": 0.5}
    return Call("fused_mbconv", inputs, {"out": _map(*shape)}, options, needs_workspace=True, rounds_inside=True)


def _every_dtype() -> Iterator[Case]:
    for name, dtype in DTYPES.items():
        for layout in ("nhwc", "nchw"):
            yield Case(f"{name}_layer_norm_{layout}", partial(_layer_norm, dtype, layout == "nhwc"))
        for mode in ("bicubic", "bilinear"):
            for second in (False, True):
                label = f"{name}_resize_{mode}_{'two' if second else 'one'}"
                yield Case(label, partial(_upsample_add, dtype, mode, second=second))
        for dim in (16, 32):
            for rows_last in (False, True):
                label = f"{name}_attention_d{dim}_{'token' if rows_last else 'channel'}_major"
                attention = partial(_attention, dtype, dim, rows_last=rows_last)
                yield Case(f"{label}_whole", partial(attention, 131, "whole"))
                yield Case(f"{label}_split", partial(attention, 300, "split"))


def _float16() -> Iterator[Case]:
    pointwise = partial(_pointwise, (2, 40, 5, 9), 72)
    yield Case("pointwise_gelu", partial(pointwise, "gelu_tanh", bias=True, residual=True))
    yield Case("pointwise_plain", partial(pointwise, "none", bias=False, residual=False))
    wide = partial(_pointwise, (2, 72, 9, 17), 136, "relu6", bias=True, residual=True)
    yield Case("pointwise_wide", wide, multiprocessors=1)
    yield Case("conv3x3_gelu", partial(_conv3x3, (2, 40, 7, 9), 40, 1, "gelu_tanh", residual=True))
    yield Case("conv3x3_stride_2", partial(_conv3x3, (2, 8, 13, 11), 72, 2, "relu"))
    yield Case("conv3x3_narrow", partial(_conv3x3, (1, 8, 11, 12), 32, 2, "none", bias=False))
    for size in (3, 5):
        for dim in (16, 32):
            mla = partial(_lite_mla, size=size, dim=dim)
            label = f"lite_mla_k{size}_d{dim}"
            yield Case(f"{label}_whole", partial(mla, (2, 24, 7, 9), split="whole", optional=size == 3))
            yield Case(f"{label}_split", partial(mla, (1, 16, 19, 18), split="split", optional=dim == 16))
    for size, stride, outputs in ((3, 1, 40), (3, 2, 72), (3, 1, 136), (3, 2, 136), (5, 1, 24), (5, 2, 24)):
        mbconv = partial(_mbconv, (2, 24, 9, 11), 72, outputs, size, stride, optional=stride == 1)
        yield Case(f"mbconv_k{size}s{stride}_{outputs}", mbconv, multiprocessors=1)
    shared = partial(_mbconv, (1, 16, 5, 7), 264, 24, 3, 1, optional=True)
    yield Case("mbconv_shared_by_blocks", shared)
    for outputs, stride in ((40, 1), (72, 2), (136, 1)):
        fused = partial(_fused_mbconv, (2, 24, 9, 11), 72, outputs, stride, optional=stride == 1)
        yield Case(f"fused_mbconv_{outputs}", fused, multiprocessors=1)
    yield Case("fused_mbconv_shared_by_blocks", partial(_fused_mbconv, (1, 8, 5, 7), 200, 24, 1, optional=True))


def _images() -> Iterator[Case]:
    wide_masks = partial(_mask_upsample, size=(40, 61), resized=(672, 1024))
    yield Case("f32_mask_upsample", partial(wide_masks, torch.float32))
    yield Case("f16_mask_upsample", partial(_mask_upsample, torch.float16, (56, 36), (1024, 658)))
    yield Case("f16_preprocess", partial(_preprocess, torch.float16, (37, 53), 8, 32))
    yield Case("f32_preprocess_enlarged", partial(_preprocess, torch.float32, (21, 13), 3, 32))


CASES = (*_every_dtype(), *_float16(), *_images())
