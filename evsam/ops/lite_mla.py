"""Multi-scale ReLU linear attention: EfficientViT's context module."""

from __future__ import annotations

from typing import Any

from evsam.ops import reference
from evsam.ops._arrays import Backend, choose_backend
from evsam.ops._device import cuda_module, new_map_like, stream_of
from evsam.ops._reference import run_reference

__all__ = ["lite_mla"]


def lite_mla(
    x: Any,
    qkv_weight: Any,
    qkv_bias: Any,
    depthwise: Any,
    grouped: Any,
    project_weight: Any,
    project_bias: Any = None,
    residual: Any = None,
    *,
    eps: float = 1e-15,
    out: Any = None,
    backend: Backend = "auto",
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
        depthwise: (3 * T, 1, K, K); on "cuda" K is 3 or 5.
        grouped: (3 * T, D) or (3 * T, D, 1, 1): 3 * heads groups; on "cuda" D is 16 or 32.
        project_weight: (C, 2 * T) or (C, 2 * T, 1, 1).
        project_bias: float32 (C,), or None.
        residual: As `x`, added last, or None.
        eps: Added to the denominators, finite and >= 0.
        out: As `x` in shape, dtype, layout and device; may be `x` or `residual`. Filled and returned. None: a new
            array.
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
        >>> from evsam.ops import lite_mla
        >>> rng = np.random.default_rng(0)
        >>> shapes = [(1, 64, 8, 8), (192, 64), (192,), (192, 1, 5, 5), (192, 32), (64, 128), (64,)]
        >>> lite_mla(*(rng.standard_normal(shape, dtype=np.float32) for shape in shapes)).shape
        (1, 64, 8, 8)

    Source: EfficientViT, arXiv 2205.14756, section 3.1; used by EfficientViT-SAM, arXiv 2402.05008.
    """
    arrays = {
        "x": x,
        "qkv_weight": qkv_weight,
        "qkv_bias": qkv_bias,
        "depthwise": depthwise,
        "grouped": grouped,
        "project_weight": project_weight,
        "project_bias": project_bias,
        "residual": residual,
    }
    if choose_backend(backend, x, cpu_kernels=False) == "reference":
        return run_reference(reference.lite_mla, arrays, out, eps=eps)
    module = cuda_module()
    stream = stream_of(x, stream)
    if out is None:
        out = new_map_like(x, "x", stream)
    module.lite_mla(**arrays, out=out, eps=eps, stream=stream)
    return out
