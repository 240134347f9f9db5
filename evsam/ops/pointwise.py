"""1x1 convolution."""

from __future__ import annotations

from typing import Any

from evsam.ops import reference
from evsam.ops._arrays import Backend, choose_backend
from evsam.ops._device import cuda_module, new_convolved, stream_of
from evsam.ops._reference import run_reference
from evsam.ops.reference import Activation

__all__ = ["pointwise"]


def pointwise(
    x: Any,
    weight: Any,
    bias: Any = None,
    residual: Any = None,
    *,
    activation: Activation = "none",
    activation_scale: float = 1.0,
    out: Any = None,
    backend: Backend = "auto",
    stream: int | None = None,
) -> Any:
    """1x1 convolution, bias, activation and residual: a matrix product over the channels of each pixel.

    `activation(x * weight + bias) + residual`, summed in float32.

    Args:
        x: (B, C, H, W). On "cuda" float16 with channels last in memory (`torch.channels_last`), C a multiple of 8.
        weight: (O, C, 1, 1) or (O, C) of the dtype of `x`, contiguous, O a multiple of 8.
        bias: float32 (O,), or None.
        residual: As `out`, added last, or None.
        activation: "none", "relu", "relu6" or "gelu_tanh" (the tanh approximation).
        activation_scale: Power of two t > 0, for maps whose values do not fit into float16: sums stand for t times
            themselves, and so does what comes out. GELU is then `y * Phi(t * y)` of the sum y.
        out: (B, O, H, W) as `x` in dtype, layout and device; may be `residual`, but no part of `x`. Filled and
            returned. None: a new array.
        backend: "cuda" for the compiled kernels of the GPU, "reference" for the PyTorch specification (needs the extra
            `torch`; on PyTorch tensors it has gradients), "auto" for the one that fits `x`'s device. CPU kernels are
            part of the native engine and not reachable from here.
        stream: Of "cuda", a CUDA stream as an integer, in whose order the result is ready; None means the current
            stream of the library of `x` (PyTorch, CuPy), else the default stream.

    Returns:
        `out`. A new one is channels last in memory on "cuda", and an array of the library of `x`: PyTorch, CuPy,
        else `DeviceArray` on a CUDA device and NumPy on the CPU.

    Raises:
        TypeError: An argument has the wrong type, device or dtype.
        ValueError: A shape, layout or value does not fit.
        BackendUnavailable: "cuda" in a build without CUDA or without a device, "reference" without PyTorch, or "cpu".

    Example:
        >>> import numpy as np
        >>> from evsam.ops import pointwise
        >>> rng = np.random.default_rng(0)
        >>> x = rng.standard_normal((1, 32, 16, 16), dtype=np.float32)
        >>> pointwise(x, rng.standard_normal((64, 32), dtype=np.float32), activation="gelu_tanh").shape
        (1, 64, 16, 16)

    Source: The neck's and blocks' 1x1 convolutions of EfficientViT-SAM, arXiv 2402.05008.
    """
    arrays = {"x": x, "weight": weight, "bias": bias, "residual": residual}
    numbers = {"activation": activation, "activation_scale": activation_scale}
    if choose_backend(backend, x, cpu_kernels=False) == "reference":
        return run_reference(reference.pointwise, arrays, out, **numbers)
    module = cuda_module()
    stream = stream_of(x, stream)
    if out is None:
        out = new_convolved(x, weight, 1, stream)
    module.pointwise(**arrays, out=out, **numbers, stream=stream)
    return out
