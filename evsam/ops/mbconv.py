"""MBConv: a 1x1, a depthwise and a 1x1 convolution."""

from __future__ import annotations

from typing import Any

from evsam.ops import reference
from evsam.ops._arrays import Backend, choose_backend
from evsam.ops._device import cuda_module, new_convolved, stream_of
from evsam.ops._reference import run_reference
from evsam.ops.reference import Activation

__all__ = ["mbconv"]


def mbconv(
    x: Any,
    expand_weight: Any,
    expand_bias: Any,
    depthwise_weight: Any,
    depthwise_bias: Any,
    project_weight: Any,
    project_bias: Any = None,
    residual: Any = None,
    *,
    stride: int = 1,
    activation: Activation = "gelu_tanh",
    activation_scale: float = 1.0,
    out: Any = None,
    backend: Backend = "auto",
    stream: int | None = None,
) -> Any:
    """MBConv: 1x1 convolution to the hidden width, depthwise convolution, 1x1 convolution.

    Args:
        x: (B, C, H, W). On "cuda" float16 with channels last in memory (`torch.channels_last`). Weights have its
            dtype and are contiguous.
        expand_weight: (E, C) or (E, C, 1, 1).
        expand_bias: float32 (E,), or None.
        depthwise_weight: (E, 1, K, K); on "cuda" K is 3 or 5.
        depthwise_bias: float32 (E,), or None.
        project_weight: (O, E) or (O, E, 1, 1).
        project_bias: float32 (O,), or None.
        residual: As `out`, added last, or None.
        stride: Of the depthwise convolution, 1 or 2.
        activation: Behind the first and the depthwise convolution: "none", "relu", "relu6" or "gelu_tanh" (the tanh
            approximation).
        activation_scale: Power of two t > 0, for hidden maps whose values do not fit into float16: sums of the first
            two convolutions stand for t times themselves, and so does what is activated. GELU is then `y * Phi(t * y)`.
        out: (B, O, ceil(H / stride), ceil(W / stride)) as `x` in dtype, layout and device; may be `residual`, but no
            part of `x`. Filled and returned. None: a new array.
        backend: "cuda" for the compiled kernels of the GPU, "reference" for the PyTorch specification (needs the extra
            `torch`; on PyTorch tensors it has gradients), "auto" for the one that fits `x`'s device. CPU kernels are
            part of the native engine and not reachable from here.
        stream: Of "cuda", a CUDA stream as an integer, in whose order the result is ready; None means the current
            stream of the library of `x` (PyTorch, CuPy), else the default stream.

    Returns:
        `out`. A new one is channels last in memory on "cuda", and an array of the library of `x`: PyTorch, CuPy, else
        `DeviceArray` on a CUDA device and NumPy on the CPU.

    Raises:
        TypeError: An argument has the wrong type, device or dtype.
        ValueError: A shape, layout or value does not fit.
        BackendUnavailable: "cuda" in a build without CUDA or without a device, "reference" without PyTorch, or "cpu".

    Example:
        >>> import numpy as np
        >>> from evsam.ops import mbconv
        >>> rng = np.random.default_rng(0)
        >>> shapes = [(1, 16, 9, 9), (64, 16), (64,), (64, 1, 3, 3), (64,), (32, 64), (32,)]
        >>> mbconv(*(rng.standard_normal(shape, dtype=np.float32) for shape in shapes), stride=2).shape
        (1, 32, 5, 5)

    Source: MobileNetV2, arXiv 1801.04381; used by EfficientViT-SAM, arXiv 2402.05008.
    """
    arrays = {
        "x": x,
        "expand_weight": expand_weight,
        "expand_bias": expand_bias,
        "depthwise_weight": depthwise_weight,
        "depthwise_bias": depthwise_bias,
        "project_weight": project_weight,
        "project_bias": project_bias,
        "residual": residual,
    }
    numbers = {"stride": stride, "activation": activation, "activation_scale": activation_scale}
    if choose_backend(backend, x, cpu_kernels=False) == "reference":
        return run_reference(reference.mbconv, arrays, out, **numbers)
    module = cuda_module()
    handle = stream_of(x, stream)
    if out is None:
        out = new_convolved(x, project_weight, stride, handle)
    module.mbconv(**arrays, out=out, **numbers, stream=handle)
    return out
