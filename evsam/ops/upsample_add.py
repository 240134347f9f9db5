"""Feature maps resized and added: the neck's fusion of the backbone's stages."""

from __future__ import annotations

from typing import Any

from evsam.ops import reference
from evsam.ops._arrays import Backend, choose_backend
from evsam.ops._device import CHANNELS_LAST, cuda_module, describe_map, new_array, stream_of
from evsam.ops._reference import run_reference
from evsam.ops.reference import UpsampleMode

__all__ = ["upsample_add"]


def upsample_add(
    x: Any,
    x2: Any = None,
    residual: Any = None,
    *,
    size: tuple[int, int] | None = None,
    mode: UpsampleMode = "bicubic",
    out: Any = None,
    backend: Backend = "auto",
    stream: int | None = None,
) -> Any:
    """One or two feature maps resized, plus a map of that size, in one pass.

    `resize(x) + resize(x2) + residual`, summed in float32 and rounded once.

    Args:
        x: (B, C, h, w). On "cuda" float16, bfloat16 or float32 with channels last in memory (`torch.channels_last`), C
            a multiple of 8.
        x2: (B, C, h2, w2) as `x`, or None.
        residual: (B, C, *size) as `x`, or None.
        size: Height and width of the result in pixels; None: those of `residual`.
        mode: "bicubic" (a = -0.75) or "bilinear"; pixel centres aligned as in PyTorch's `align_corners=False`, edges
            repeated.
        out: (B, C, *size) as `x` in dtype, layout and device; may be `residual`, but no part of `x` or `x2`. Filled and
            returned. None: a new array.
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
        >>> from evsam.ops import upsample_add
        >>> x = np.random.default_rng(0).standard_normal((1, 256, 16, 16), dtype=np.float32)
        >>> upsample_add(x, size=(64, 64)).shape
        (1, 256, 64, 64)

    Source: the neck of EfficientViT-SAM, arXiv 2402.05008.
    """
    if size is None:
        if residual is None:
            raise ValueError("size: expected height and width, or a residual that has them, got neither")
        size = (int(residual.shape[-2]), int(residual.shape[-1]))
    arrays = {"x": x, "x2": x2, "residual": residual}
    if choose_backend(backend, x, cpu_kernels=False) == "reference":
        return run_reference(reference.upsample_add, arrays, out, size=size, mode=mode)
    module = cuda_module()
    stream = stream_of(x, stream)
    if out is None:
        (batch, channels, _, _), dtype = describe_map(x, "x", stream)
        out = new_array(x, (batch, channels, *size), dtype, CHANNELS_LAST, stream)
    module.upsample_add(**arrays, out=out, mode=mode, stream=stream)
    return out
