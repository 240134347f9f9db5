"""Layer norm over the channels of each pixel."""

from __future__ import annotations

from typing import Any

from evsam.ops import reference
from evsam.ops._arrays import Backend, choose_backend
from evsam.ops._device import cuda_module, new_map_like, stream_of
from evsam.ops._reference import run_reference

__all__ = ["layer_norm_2d"]


def layer_norm_2d(
    x: Any,
    weight: Any,
    bias: Any,
    *,
    eps: float = 1e-6,
    out: Any = None,
    backend: Backend = "auto",
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
        out: As `x` in shape, dtype, layout and device; may be `x`. Filled and returned. None: a new array.
        backend: "cuda" for the compiled kernels of the GPU, "reference" for the PyTorch specification (needs the extra
            `torch`; on PyTorch tensors it has gradients), "auto" for the one that fits `x`'s device. CPU kernels are
            part of the native engine and not reachable from here.
        stream: Of "cuda", a CUDA stream as an integer, in whose order the result is ready; None means the current
            stream of the library of `x` (PyTorch, CuPy), else the default stream.

    Returns:
        `out`. A new one is laid out as `x` on "cuda", and an array of the library of `x`: PyTorch, CuPy,
        else `DeviceArray` on a CUDA device and NumPy on the CPU.

    Raises:
        TypeError: An argument has the wrong type, device or dtype.
        ValueError: A shape, layout or value does not fit.
        BackendUnavailable: "cuda" in a build without CUDA or without a device, "reference" without PyTorch, or "cpu".

    Example:
        >>> import numpy as np
        >>> from evsam.ops import layer_norm_2d
        >>> x = np.random.default_rng(0).standard_normal((1, 256, 64, 64), dtype=np.float32)
        >>> layer_norm_2d(x, np.ones(256, np.float32), np.zeros(256, np.float32)).shape
        (1, 256, 64, 64)

    Source: Layer Normalization, arXiv 1607.06450; the last layer of EfficientViT-SAM's encoder, arXiv 2402.05008.
    """
    if choose_backend(backend, x, cpu_kernels=False) == "reference":
        return run_reference(reference.layer_norm_2d, {"x": x, "weight": weight, "bias": bias}, out, eps=eps)
    module = cuda_module()
    stream = stream_of(x, stream)
    if out is None:
        out = new_map_like(x, "x", stream)
    module.layer_norm(x, weight, bias, out, eps=eps, stream=stream)
    return out
