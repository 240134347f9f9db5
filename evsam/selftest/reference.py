"""The ops in NumPy, float64, from their definitions: what the kernels are compared with.

Feature maps are (B, H, W, C). Every function takes ``store``, through which each tensor passes that separate ops would
write to memory: the identity gives the true result, rounding to fp16 gives what the same computation loses op by op.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

import numpy as np

from evsam.costs import Activation
from evsam.selftest.numbers import Array, DType, round_to

__all__ = [
    "Store",
    "activate",
    "conv",
    "depthwise",
    "doubled",
    "exact",
    "grouped",
    "layer_norm",
    "linear_attention",
    "patches",
    "rounding",
    "softmax",
    "upsample",
]

Store = Callable[[Array], Array]


def exact(x: Array) -> Array:
    """The store of the true result: nothing is lost."""
    return x


def rounding(dtype: DType) -> Store:
    """The store of separate ops: rounded to ``dtype``; what does not fit becomes infinite, as it does there."""
    return lambda x: round_to(x, dtype)


def activate(x: Array, kind: Activation, scale: float = 1.0) -> Array:
    """An activation of the stored ``x``, which stands for ``scale * x``; the result is divided by ``scale`` again."""
    match kind:
        case "none":
            return x
        case "relu":
            return np.maximum(x, 0)
        case "relu6":
            return np.minimum(np.maximum(x, 0), 6 / scale)
        case "gelu_tanh":
            y = scale * x
            tangent: Array = np.tanh(np.sqrt(2 / np.pi) * (y + 0.044715 * y**3))
            return 0.5 * x * (1 + tangent)
        case "gelu":
            return 0.5 * x * (1 + _erf(scale * x / np.sqrt(2)))
    raise ValueError(f"kind: expected an activation, got {kind}")


def _erf(x: Array) -> Array:
    found: Array = np.vectorize(math.erf, otypes=[np.float64])(x)  # NumPy has none
    return found


def conv(x: Array, weight: Array, bias: Array | None, stride: int, store: Store) -> Array:
    """A dense convolution with "same" padding.

    Args:
        x: (B, H, W, I).
        weight: (O, k, k, I), k odd.
        bias: (O), or None.
        stride: 1 or 2.
        store: of the result.
    """
    size = weight.shape[1]
    total: Array | None = None
    for row in range(size):
        for column in range(size):
            product = _shifted(x, row - size // 2, column - size // 2, stride) @ weight[:, row, column].T
            total = product if total is None else np.add(total, product, out=total)
    assert total is not None  # noqa: S101  # a kernel has a tap
    return store(total if bias is None else total + bias)


def depthwise(x: Array, weight: Array, bias: Array | None, stride: int, store: Store) -> Array:
    """A depthwise convolution of x (B, H, W, C) with "same" padding; weight (C, k, k)."""
    size = weight.shape[1]
    total = np.zeros(())
    for row in range(size):
        for column in range(size):
            total = total + _shifted(x, row - size // 2, column - size // 2, stride) * weight[:, row, column]
    return store(total if bias is None else total + bias)


def _shifted(x: Array, rows: int, columns: int, stride: int) -> Array:
    """Each output's input at (stride * i + rows, stride * j + columns), zero outside."""
    height, width = x.shape[1:3]
    padded = np.pad(x, ((0, 0), (max(-rows, 0), max(rows, 0)), (max(-columns, 0), max(columns, 0)), (0, 0)))
    top, left = max(rows, 0), max(columns, 0)
    return padded[:, top : top + height : stride, left : left + width : stride]


def grouped(x: Array, weight: Array, store: Store) -> Array:
    """A grouped 1x1 convolution of x (B, H, W, C); weight (C, D): C / D groups of D channels."""
    channels, size = weight.shape
    groups = x.reshape(*x.shape[:3], channels // size, size)
    return store(np.einsum("bhwgi,goi->bhwgo", groups, weight.reshape(-1, size, size)).reshape(x.shape))


def patches(x: Array, weight: Array, bias: Array, store: Store) -> Array:
    """A 2x2 convolution with stride 2 of x (B, 2 H, 2 W, I); weight (O, I, 2, 2)."""
    batch, height, width, channels = x.shape
    cells = x.reshape(batch, height // 2, 2, width // 2, 2, channels)
    return store(np.einsum("bhuwvi,oiuv->bhwo", cells, weight, optimize=True) + bias)


def doubled(x: Array, weight: Array, bias: Array, store: Store) -> Array:
    """A transposed 2x2 convolution with stride 2 of x (B, H, W, I); weight (I, O, 2, 2)."""
    batch, height, width, _ = x.shape
    cells = np.einsum("bhwi,iouv->bhuwvo", x, weight, optimize=True)
    return store(cells.reshape(batch, 2 * height, 2 * width, -1) + bias)


def softmax(x: Array) -> Array:
    """Over the last axis."""
    powers = np.exp(x - x.max(-1, keepdims=True))
    shares: Array = powers / powers.sum(-1, keepdims=True)
    return shares


def linear_attention(qkv: Array, eps: float, store: Store) -> Array:
    """ReLU linear attention of (B, H, 3 D, N), giving (B, H, D, N).

    Separate ops store what they read and write; the sums over tokens stay in float32 there, which is exact enough to be
    taken as exact here.
    """
    q, k, v = np.split(qkv, 3, axis=2)
    q, k = np.maximum(q, 0), np.maximum(k, 0)
    state = v @ k.swapaxes(2, 3)
    denominators = k.sum(3)[:, :, None] @ q + eps
    return store((state @ q) / denominators)


def layer_norm(x: Array, weight: Array, bias: Array, eps: float, store: Store) -> Array:
    """Layer norm over the last axis."""
    centred = x - x.mean(-1, keepdims=True)
    return store(centred / np.sqrt((centred**2).mean(-1, keepdims=True) + eps) * weight + bias)


def upsample(x: Array, size: tuple[int, int], mode: Literal["bilinear", "bicubic"], store: Store) -> Array:
    """Maps (B, H, W, C) resized to ``size``: centres aligned, edges repeated, bicubic with a = -0.75 (PyTorch's)."""
    rows, columns = (_resize_matrix(*lengths, mode) for lengths in zip(x.shape[1:3], size, strict=True))
    return store(np.einsum("ih,jw,bhwc->bijc", rows, columns, x, optimize=True))


def _resize_matrix(source: int, target: int, mode: Literal["bilinear", "bicubic"]) -> Array:
    """(target, source): each row the weights of one output."""
    position = (np.arange(target) + 0.5) * (source / target) - 0.5
    if mode == "bilinear":
        position = np.maximum(position, 0)
    first = np.floor(position)
    matrix = np.zeros((target, source))
    for offset in (0, 1) if mode == "bilinear" else (-1, 0, 1, 2):
        distance = np.abs(position - first - offset)
        weight = 1 - distance if mode == "bilinear" else _cubic(distance)
        index = np.clip(first + offset, 0, source - 1).astype(np.intp)
        np.add.at(matrix, (np.arange(target), index), weight)
    return matrix


def _cubic(distance: Array, a: float = -0.75) -> Array:
    near = ((a + 2) * distance - (a + 3)) * distance**2 + 1
    far = a * (((distance - 5) * distance + 8) * distance - 4)
    return np.where(distance <= 1, near, far)
