"""Feature maps normalised, resized and added."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evsam import _C
from evsam.ops._arrays import Backend
from evsam.ops._op import Native, Numbers, Op, Shape, Shapes, op
from evsam.ops.reference import UpsampleMode, upsampled_size

__all__ = ["layer_norm_2d", "upsample_add"]


@op(("x",), lambda shapes, _: shapes["x"], options=("activation",), cuda="layer_norm", like_x=True)
def layer_norm_2d(
    x: Any,
    weight: Any,
    bias: Any,
    *,
    eps: float = 1e-6,
    out: Any = None,
    backend: Backend = "auto",
    threads: int | None = None,
    stream: int | None = None,
) -> Any:
    """Layer norm over the channels of each pixel of a feature map.

    `(x - mean) / sqrt(variance + eps) * weight + bias`, mean and variance over C, in two passes and float32: finite for
    any finite float16 input.

    Args:
        x: (B, C, H, W). On "cuda" float16, bfloat16 or float32, with channels last in memory (`torch.channels_last`; C
            a multiple of 8, at most 1024) or first.
        weight: float32 (C,), gain of each channel.
        bias: float32 (C,).
        eps: Added to the variance, finite and >= 0.
        out: As `x` in shape, dtype and device; may be `x`. Filled and returned. None: a new array.
        backend: "native" for the compiled kernels of the CPU, "cuda" for those of the GPU, "reference" for the PyTorch
            specification, "auto" for what fits; see :mod:`evsam.ops`.
        threads: Of "native", which gives the same bits for any number; None: `evsam.ops.get_num_threads()`.
        stream: Of "cuda", a CUDA stream as an integer; None: the current one of the library of `x`.

    Returns:
        `out`, or a new array of the library of `x`, laid out as `x` on "cuda", else with channels last in memory.

    Raises:
        TypeError: An argument has the wrong type, device or dtype.
        ValueError: A shape, layout or value does not fit.
        BackendUnavailable: The backend, or PyTorch, is not installed.

    Example:
        >>> import numpy as np
        >>> from evsam.ops import layer_norm_2d
        >>> x = np.random.default_rng(0).standard_normal((1, 256, 64, 64), dtype=np.float32)
        >>> layer_norm_2d(x, np.ones(256, np.float32), np.zeros(256, np.float32)).shape
        (1, 256, 64, 64)

    Source: Layer Normalization, arXiv 1607.06450; the last layer of EfficientViT-SAM's encoder, arXiv 2402.05008.
    """


def resized(shapes: Shapes, numbers: Numbers) -> Shape:
    """The shape of the result."""
    return (*shapes["x"][:2], *upsampled_size(numbers["size"], shapes.get("residual")))


def pack_resizes(
    _: Op, weights: Mapping[str, Any], shapes: Shapes, numbers: Numbers, options: Mapping[str, Any]
) -> Native:
    """One resize with its residual, or two in place of each other."""
    del weights
    size = upsampled_size(numbers["size"], shapes.get("residual"))

    def resize(name: str) -> Native:
        if len(shapes[name]) != 4:
            raise ValueError(f"{name}: expected shape (B, C, H, W), got {shapes[name]}")
        _, channels, height, width = shapes[name]
        return _C.pack_resize(channels, (height, width), size, mode=numbers["mode"], **options)

    first = resize("x")
    second = resize("x2") if "x2" in shapes else None

    def run(arrays: list[NDArray[np.float32] | None], out: NDArray[np.float32], *, threads: int | None) -> None:
        x, x2, residual = arrays
        if (x2 is None) != (second is None):
            raise ValueError("x2: expected as in pack, got one more or less")
        if second is not None:
            second([x2, residual], out, threads=threads)
        first([x, residual if second is None else out], out, threads=threads)

    return run


@op(("x", "x2", "residual"), resized, native=pack_resizes, cuda="upsample_add", shaping=("size",))
def upsample_add(
    x: Any,
    x2: Any | None = None,
    residual: Any | None = None,
    *,
    size: tuple[int, int] | None = None,
    mode: UpsampleMode = "bicubic",
    out: Any = None,
    backend: Backend = "auto",
    threads: int | None = None,
    stream: int | None = None,
) -> Any:
    """One or two feature maps resized, plus a map of that size, in one pass.

    `resize(x) + resize(x2) + residual`, summed in float32; on "cuda" rounded once.

    Args:
        x: (B, C, h, w). On "cuda" float16, bfloat16 or float32 with channels last in memory (`torch.channels_last`), C
            a multiple of 8.
        x2: (B, C, h2, w2) as `x`, or None.
        residual: (B, C, *size) as `x`, or None.
        size: Height and width of the result in pixels; None: those of `residual`.
        mode: "bicubic" (a = -0.75) or "bilinear"; pixel centres aligned as in PyTorch's `align_corners=False`, edges
            repeated.
        out: (B, C, *size) as `x` in dtype and device; may be `residual`, but no part of `x` or `x2`. Filled and
            returned. None: a new array.
        backend: "native" for the compiled kernels of the CPU, "cuda" for those of the GPU, "reference" for the PyTorch
            specification, "auto" for what fits; see :mod:`evsam.ops`.
        threads: Of "native", which gives the same bits for any number; None: `evsam.ops.get_num_threads()`.
        stream: Of "cuda", a CUDA stream as an integer; None: the current one of the library of `x`.

    Returns:
        `out`, or a new array of the library of `x` with channels last in memory.

    Raises:
        TypeError: An argument has the wrong type, device or dtype.
        ValueError: A shape, layout or value does not fit.
        BackendUnavailable: The backend, or PyTorch, is not installed.

    Example:
        >>> import numpy as np
        >>> from evsam.ops import upsample_add
        >>> x = np.random.default_rng(0).standard_normal((1, 256, 16, 16), dtype=np.float32)
        >>> upsample_add(x, size=(64, 64)).shape
        (1, 256, 64, 64)

    Source: the neck of EfficientViT-SAM, arXiv 2402.05008.
    """
