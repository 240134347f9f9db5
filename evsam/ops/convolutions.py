"""Convolutions: 3x3, 1x1 and depthwise."""

from __future__ import annotations

from typing import Any

from evsam.ops._arrays import Backend
from evsam.ops._op import Numbers, Shapes, convolved, has_filter, op
from evsam.ops.reference import Activation

__all__ = ["conv3x3", "depthwise_conv", "pointwise"]


def activates_or_adds(shapes: Shapes, numbers: Numbers) -> bool:
    """The CPU's kernels do one of the two."""
    return numbers["activation"] == "none" or "residual" not in shapes


@op(
    ("x", "residual"),
    convolved("weight"),
    supports=activates_or_adds,
    options=("algorithm", "precision"),
    cuda="conv3x3",
)
def conv3x3(
    x: Any,
    weight: Any,
    bias: Any | None = None,
    residual: Any | None = None,
    *,
    stride: int = 1,
    activation: Activation = "none",
    activation_scale: float = 1.0,
    out: Any = None,
    backend: Backend = "auto",
    threads: int | None = None,
    stream: int | None = None,
) -> Any:
    """3x3 convolution with padding 1, bias, activation and residual.

    `activation(conv(x, weight) + bias) + residual`, summed in float32.

    Args:
        x: (B, C, H, W). On "cuda" float16 with channels last in memory (`torch.channels_last`).
        weight: (O, C, 3, 3) of the dtype of `x`; on "cuda" with channels last in memory too: (O, 3, 3, C).
        bias: float32 (O,), or None.
        residual: As `out`, added last, or None. "native" has no kernel for an activation and a residual at once.
        stride: 1 or 2.
        activation: "none", "relu", "relu6", "gelu_tanh" (the tanh approximation) or, on the CPU, "gelu".
        activation_scale: Power of two t > 0, for maps whose values do not fit into float16: sums stand for t times
            themselves, and so does what comes out. GELU is then `y * Phi(t * y)` of the sum y. "native" has 1 only.
        out: (B, O, ceil(H / stride), ceil(W / stride)) as `x` in dtype and device; may be `residual`, but no part of
            `x`. Filled and returned. None: a new array.
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
        >>> from evsam.ops import conv3x3
        >>> rng = np.random.default_rng(0)
        >>> x = rng.standard_normal((1, 8, 33, 32), dtype=np.float32)
        >>> conv3x3(x, rng.standard_normal((16, 8, 3, 3), dtype=np.float32), stride=2).shape
        (1, 16, 17, 16)

    Source: The stem and residual blocks of EfficientViT-SAM, arXiv 2402.05008.
    """


@op(
    ("x", "residual"),
    convolved("weight", stride=False),
    supports=activates_or_adds,
    options=("precision",),
    cuda="pointwise",
)
def pointwise(
    x: Any,
    weight: Any,
    bias: Any | None = None,
    residual: Any | None = None,
    *,
    activation: Activation = "none",
    activation_scale: float = 1.0,
    out: Any = None,
    backend: Backend = "auto",
    threads: int | None = None,
    stream: int | None = None,
) -> Any:
    """1x1 convolution, bias, activation and residual: a matrix product over the channels of each pixel.

    `activation(x * weight + bias) + residual`, summed in float32.

    Args:
        x: (B, C, H, W). On "cuda" float16 with channels last in memory (`torch.channels_last`), C a multiple of 8.
        weight: (O, C, 1, 1) or (O, C) of the dtype of `x`, contiguous; on "cuda" O is a multiple of 8.
        bias: float32 (O,), or None.
        residual: As `out`, added last, or None. "native" has no kernel for an activation and a residual at once.
        activation: "none", "relu", "relu6", "gelu_tanh" (the tanh approximation) or, on the CPU, "gelu".
        activation_scale: Power of two t > 0, for maps whose values do not fit into float16: sums stand for t times
            themselves, and so does what comes out. GELU is then `y * Phi(t * y)` of the sum y. "native" has 1 only.
        out: (B, O, H, W) as `x` in dtype and device; may be `residual`, but no part of `x`. Filled and returned. None:
            a new array.
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
        >>> from evsam.ops import pointwise
        >>> rng = np.random.default_rng(0)
        >>> x = rng.standard_normal((1, 32, 16, 16), dtype=np.float32)
        >>> pointwise(x, rng.standard_normal((64, 32), dtype=np.float32), activation="gelu_tanh").shape
        (1, 64, 16, 16)

    Source: The neck's and blocks' 1x1 convolutions of EfficientViT-SAM, arXiv 2402.05008.
    """


@op(("x",), convolved("weight"), supports=has_filter("weight"))
def depthwise_conv(
    x: Any,
    weight: Any,
    bias: Any | None = None,
    *,
    stride: int = 1,
    activation: Activation = "none",
    activation_scale: float = 1.0,
    out: Any = None,
    backend: Backend = "auto",
    threads: int | None = None,
    stream: int | None = None,
) -> Any:
    """Depthwise convolution with "same" padding, bias and activation: a filter of its own for each channel.

    Args:
        x: (B, C, H, W).
        weight: (C, 1, K, K) of the dtype of `x`, K odd; "native" has K = 3 and K = 5.
        bias: float32 (C,), or None.
        stride: 1 or 2.
        activation: "none", "relu", "relu6", "gelu_tanh" (the tanh approximation) or, on the CPU, "gelu".
        activation_scale: Power of two t > 0, for maps whose values do not fit into float16: sums stand for t times
            themselves, and so does what comes out. GELU is then `y * Phi(t * y)` of the sum y. "native" has 1 only.
        out: (B, C, ceil(H / stride), ceil(W / stride)) as `x` in dtype and device, but no part of it. Filled and
            returned. None: a new array.
        backend: "native" for the compiled kernels of the CPU, "reference" for the PyTorch specification, "auto" for
            what fits; see :mod:`evsam.ops`. The GPU has no kernel of this op.
        threads: Of "native", which gives the same bits for any number; None: `evsam.ops.get_num_threads()`.
        stream: Not used.

    Returns:
        `out`, or a new array of the library of `x` with channels last in memory.

    Raises:
        TypeError: An argument has the wrong type, device or dtype.
        ValueError: A shape, layout or value does not fit.
        BackendUnavailable: The backend, or PyTorch, is not installed.

    Example:
        >>> import numpy as np
        >>> from evsam.ops import depthwise_conv
        >>> rng = np.random.default_rng(0)
        >>> x = rng.standard_normal((1, 32, 16, 16), dtype=np.float32)
        >>> depthwise_conv(x, rng.standard_normal((32, 1, 5, 5), dtype=np.float32), stride=2).shape
        (1, 32, 8, 8)

    Source: MobileNets, arXiv 1704.04861; the middle of MBConv in EfficientViT-SAM, arXiv 2402.05008.
    """
