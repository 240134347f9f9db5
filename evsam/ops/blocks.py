"""The blocks of the encoder as one op each: fused MBConv, MBConv, and multi-scale linear attention."""

from __future__ import annotations

from typing import Any

from evsam.ops._arrays import Backend
from evsam.ops._op import convolved, has_filter, op
from evsam.ops.reference import Activation

__all__ = ["fused_mbconv", "lite_mla", "mbconv"]


@op(("x", "residual"), convolved("point_weight"), options=("algorithm", "precision"), cuda="fused_mbconv")
def fused_mbconv(
    x: Any,
    weight: Any,
    bias: Any | None,
    point_weight: Any,
    point_bias: Any | None = None,
    residual: Any | None = None,
    *,
    stride: int = 1,
    activation: Activation = "gelu_tanh",
    activation_scale: float = 1.0,
    out: Any = None,
    backend: Backend = "auto",
    threads: int | None = None,
    stream: int | None = None,
) -> Any:
    """Fused MBConv: 3x3 convolution to the hidden width, activation, 1x1 convolution; the hidden map is never stored.

    `activation(conv(x, weight) + bias) * point_weight + point_bias + residual`, summed in float32.

    Args:
        x: (B, C, H, W). On "cuda" float16 with channels last in memory (`torch.channels_last`).
        weight: (E, C, 3, 3) of the dtype of `x`; on "cuda" with channels last in memory too: (E, 3, 3, C).
        bias: float32 (E,), or None.
        point_weight: (O, E) or (O, E, 1, 1) of the dtype of `x`, contiguous.
        point_bias: float32 (O,), or None.
        residual: As `out`, added last, or None.
        stride: Of the 3x3 convolution, 1 or 2.
        activation: Behind the 3x3 convolution: "none", "relu", "relu6", "gelu_tanh" (the tanh approximation) or, on the
            CPU, "gelu".
        activation_scale: Power of two t > 0, for hidden maps whose values do not fit into float16: sums of the 3x3
            convolution stand for t times themselves, and so does what is activated. GELU is then `y * Phi(t * y)`.
            "native" has 1 only.
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
        >>> from evsam.ops import fused_mbconv
        >>> rng = np.random.default_rng(0)
        >>> shapes = [(1, 16, 9, 9), (64, 16, 3, 3), (64,), (32, 64), (32,)]
        >>> fused_mbconv(*(rng.standard_normal(shape, dtype=np.float32) for shape in shapes), stride=2).shape
        (1, 32, 5, 5)

    Source: EfficientNetV2, arXiv 2104.00298; used by EfficientViT-SAM, arXiv 2402.05008.
    """


@op(
    ("x", "residual"),
    convolved("project_weight"),
    supports=has_filter("depthwise_weight"),
    options=("precision",),
    cuda="mbconv",
)
def mbconv(
    x: Any,
    expand_weight: Any,
    expand_bias: Any | None,
    depthwise_weight: Any,
    depthwise_bias: Any | None,
    project_weight: Any,
    project_bias: Any | None = None,
    residual: Any | None = None,
    *,
    stride: int = 1,
    activation: Activation = "gelu_tanh",
    activation_scale: float = 1.0,
    out: Any = None,
    backend: Backend = "auto",
    threads: int | None = None,
    stream: int | None = None,
) -> Any:
    """MBConv: 1x1 convolution to the hidden width, depthwise convolution, 1x1 convolution.

    Args:
        x: (B, C, H, W). On "cuda" float16 with channels last in memory (`torch.channels_last`). Weights have its
            dtype and are contiguous.
        expand_weight: (E, C) or (E, C, 1, 1).
        expand_bias: float32 (E,), or None.
        depthwise_weight: (E, 1, K, K), K odd; "cuda" and "native" have K = 3 and K = 5.
        depthwise_bias: float32 (E,), or None.
        project_weight: (O, E) or (O, E, 1, 1).
        project_bias: float32 (O,), or None.
        residual: As `out`, added last, or None.
        stride: Of the depthwise convolution, 1 or 2.
        activation: Behind the first and the depthwise convolution: "none", "relu", "relu6", "gelu_tanh" (the tanh
            approximation) or, on the CPU, "gelu".
        activation_scale: Power of two t > 0, for hidden maps whose values do not fit into float16: sums of the first
            two convolutions stand for t times themselves, and so does what is activated. GELU is then `y * Phi(t * y)`.
            "native" has 1 only.
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
        >>> from evsam.ops import mbconv
        >>> rng = np.random.default_rng(0)
        >>> shapes = [(1, 16, 9, 9), (64, 16), (64,), (64, 1, 3, 3), (64,), (32, 64), (32,)]
        >>> mbconv(*(rng.standard_normal(shape, dtype=np.float32) for shape in shapes), stride=2).shape
        (1, 32, 5, 5)

    Source: MobileNetV2, arXiv 1801.04381; used by EfficientViT-SAM, arXiv 2402.05008.
    """


@op(
    ("x", "residual"),
    lambda shapes, _: shapes["x"],
    supports=has_filter("depthwise"),
    options=("precision",),
    cuda="lite_mla",
    like_x=True,
)
def lite_mla(
    x: Any,
    qkv_weight: Any,
    qkv_bias: Any | None,
    depthwise: Any,
    grouped: Any,
    project_weight: Any,
    project_bias: Any | None = None,
    residual: Any | None = None,
    *,
    eps: float = 1e-15,
    out: Any = None,
    backend: Backend = "auto",
    threads: int | None = None,
    stream: int | None = None,
) -> Any:
    """Multi-scale ReLU linear attention, from feature map to feature map.

    q, k and v of all heads by a 1x1 convolution; a second set of them, which has seen the neighbourhood, by a depthwise
    and a grouped 1x1 convolution; :func:`relu_linear_attention` of both sets; a 1x1 projection.

    Args:
        x: (B, C, H, W). On "cuda" float16 with channels last in memory (`torch.channels_last`), C a multiple of 8.
            Weights have its dtype and are contiguous.
        qkv_weight: (3 * T, C) or (3 * T, C, 1, 1), T = heads * D: for each head its q, k and v.
        qkv_bias: float32 (3 * T,), or None.
        depthwise: (3 * T, 1, K, K), K odd; "cuda" and "native" have K = 3 and K = 5.
        grouped: (3 * T, D) or (3 * T, D, 1, 1): 3 * heads groups; on "cuda" D is 16 or 32.
        project_weight: (C, 2 * T) or (C, 2 * T, 1, 1).
        project_bias: float32 (C,), or None.
        residual: As `x`, added last, or None.
        eps: Added to the denominators, finite and >= 0.
        out: As `x` in shape, dtype and device; may be `x` or `residual`. Filled and returned. None: a new array.
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
        >>> from evsam.ops import lite_mla
        >>> rng = np.random.default_rng(0)
        >>> shapes = [(1, 64, 8, 8), (192, 64), (192,), (192, 1, 5, 5), (192, 32), (64, 128), (64,)]
        >>> lite_mla(*(rng.standard_normal(shape, dtype=np.float32) for shape in shapes)).shape
        (1, 64, 8, 8)

    Source: EfficientViT, arXiv 2205.14756, section 3.1; used by EfficientViT-SAM, arXiv 2402.05008.
    """
