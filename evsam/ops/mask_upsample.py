"""Mask logits to masks at the size of the photo."""

from __future__ import annotations

from typing import Any

import numpy as np

from evsam import _C
from evsam.ops._arrays import Backend, as_input, as_output, choose_backend
from evsam.ops._device import C_ORDER, cuda_module, describe, new_array, stream_of

__all__ = ["mask_upsample"]


def mask_upsample(
    logits: Any,
    resized_size: tuple[int, int],
    original_size: tuple[int, int],
    *,
    out: Any = None,
    backend: Backend = "auto",
    threads: int | None = None,
    stream: int | None = None,
) -> Any:
    """Masks at the size of the photo: bilinear to the 1024 frame, cropped, bilinear to the photo, above zero.

    Every backend gives the same pixels, since each intermediate number is rounded to float32 in the same place.

    Args:
        logits: (N, M, 256, 256), C order: N prompts, M masks each. float32; on "cuda" also float16.
        resized_size: Height and width of the photo's image in the 1024 frame, in pixels.
        original_size: Height and width of the photo, in pixels.
        out: bool (N, M, *original_size), C order, on the same device; filled and returned. None: a new array.
        backend: "cpu" for the compiled kernels, "cuda" for those of the GPU, "reference" for the specification in NumPy
            (:func:`evsam.transforms.masks_from_logits`), "auto" for "cpu" or "cuda", by where `logits` is.
        threads: Number of threads of "cpu"; None means `evsam.ops.get_num_threads()`.
        stream: Of "cuda", a CUDA stream as an integer, in whose order the result is ready; None means the current
            stream of the library of `logits` (PyTorch, CuPy), else the default stream.

    Returns:
        `out`. A new one is a NumPy array for arrays on the CPU, and on a CUDA device an array of the library of
        `logits`: PyTorch, CuPy, else `DeviceArray`. NaN is not in the mask.

    Raises:
        TypeError: An argument has the wrong type, device or dtype.
        ValueError: A shape, layout or size does not fit.
        BackendUnavailable: "cuda" in a build without CUDA or without a device.

    Example:
        >>> import numpy as np
        >>> from evsam.ops import mask_upsample
        >>> logits = np.random.default_rng(0).standard_normal((1, 3, 256, 256), dtype=np.float32)
        >>> mask_upsample(logits, (683, 1024), (400, 600)).shape
        (1, 3, 400, 600)

    Source: post-processing of Segment Anything, arXiv 2304.02643.
    """
    chosen = choose_backend(backend, logits, cpu_kernels=True)
    if chosen == "cuda":
        module = cuda_module()
        stream = stream_of(logits, stream)
        if out is None:
            shape, _ = describe(logits, "logits", stream)
            out = new_array(logits, (*shape[:-2], *original_size), "bool", C_ORDER, stream)
        module.mask_upsample(logits, out, resized_size=resized_size, stream=stream)
        return out
    array = as_input(logits, "logits")
    if chosen == "cpu":
        masks = _C.mask_upsample(array, resized_size, original_size, threads=threads)
    else:
        from evsam.transforms import masks_from_logits

        masks = masks_from_logits(array, resized_size, original_size)
    if out is None:
        return masks
    result = as_output(out, "out")
    if result.shape != masks.shape or result.dtype != masks.dtype:
        raise ValueError(f"out: expected bool {masks.shape}, got {result.dtype} {result.shape}")
    np.copyto(result, masks)
    return result
