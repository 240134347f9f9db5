"""3x3 convolution."""

from __future__ import annotations

from typing import Any

from evsam.ops import reference
from evsam.ops._arrays import Backend, choose_backend
from evsam.ops._device import cuda_module, new_convolved, stream_of
from evsam.ops._reference import run_reference
from evsam.ops.reference import Activation

__all__ = ["conv3x3"]


def conv3x3(
    x: Any,
    weight: Any,
    bias: Any = None,
    residual: Any = None,
    *,
    stride: int = 1,
    activation: Activation = "none",
    activation_scale: float = 1.0,
    out: Any = None,
    backend: Backend = "auto",
    stream: int | None = None,
) -> Any:
    """3x3 convolution with padding 1, bias, activation and residual.

    `activation(conv(x, weight) + bias) + residual`, summed in float32.

    Args:
        x: (B, C, H, W). On "cuda" float16 with channels last in memory (`torch.channels_last`).
        weight: (O, C, 3, 3) of the dtype of `x`; on "cuda" with channels last in memory too: (O, 3, 3, C).
        bias: float32 (O,), or None.
        residual: As `out`, added last, or None.
        stride: 1 or 2.
        activation: "none", "relu", "relu6" or "gelu_tanh" (the tanh approximation).
        activation_scale: Power of two t > 0, for maps whose values do not fit into float16: sums stand for t times
            themselves, and so does what comes out. GELU is then `y * Phi(t * y)` of the sum y.
        out: (B, O, ceil(H / stride), ceil(W / stride)) as `x` in dtype, layout and device; may be `residual`, but no
            part of `x`. Filled and returned. None: a new array.
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
        >>> from evsam.ops import conv3x3
        >>> rng = np.random.default_rng(0)
        >>> x = rng.standard_normal((1, 8, 33, 32), dtype=np.float32)
        >>> conv3x3(x, rng.standard_normal((16, 8, 3, 3), dtype=np.float32), stride=2).shape
        (1, 16, 17, 16)

    Source: The stem and residual blocks of EfficientViT-SAM, arXiv 2402.05008.
    """
    arrays = {"x": x, "weight": weight, "bias": bias, "residual": residual}
    numbers = {"stride": stride, "activation": activation, "activation_scale": activation_scale}
    if choose_backend(backend, x, cpu_kernels=False) == "reference":
        return run_reference(reference.conv3x3, arrays, out, **numbers)
    module = cuda_module()
    stream = stream_of(x, stream)
    if out is None:
        out = new_convolved(x, weight, stride, stream)
    module.conv3x3(**arrays, out=out, **numbers, stream=stream)
    return out
