"""The two ends of the pipeline: from a photo to what the encoder reads, and from logits to masks of the photo."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from evsam import _C
from evsam.ops._arrays import Backend, as_input, check_output, choose_backend
from evsam.ops._device import C_ORDER, CHANNELS_LAST, cuda_module, describe, new_array, stream_of

__all__ = ["mask_upsample", "preprocess"]


def preprocess(
    image: Any,
    size: int,
    *,
    dtype: Literal["float32", "float16"] = "float32",
    channels: Literal[3, 8] = 3,
    out: Any = None,
    backend: Backend = "auto",
    threads: int | None = None,
    stream: int | None = None,
) -> Any:
    """The photo resized (its longer side to `size`), normalised, and padded with zeros at the bottom or right.

    The resize is Pillow's antialiased bilinear one on all backends, bit for bit.

    Args:
        image: uint8 RGB (H, W, 3), contiguous rows.
        size: Side of the encoder's image in pixels.
        dtype: Of the result: "float32" or "float16".
        channels: 3, or 8 for the GPU's first convolution, which reads eight at a time; those after the third are 0.
        out: (1, channels, size, size) of `dtype` with channels last in memory, on the device of `image`; filled and
            returned. None: a new array.
        backend: "native" for the compiled kernels of the CPU, "cuda" for those of the GPU, "reference" for the
            specification in NumPy and Pillow (:func:`evsam.transforms.image_to_pixels`), "auto" for what fits `image`.
        threads: Of "native", which gives the same bits for any number; None: `evsam.ops.get_num_threads()`.
        stream: Of "cuda", a CUDA stream as an integer; None: the current one of the library of `image`.

    Returns:
        `out`: (1, channels, size, size). A new one has its channels last in memory; it is a NumPy array for an image on
        the CPU, and on a CUDA device an array of the library of `image`: PyTorch, CuPy, else `DeviceArray`.

    Raises:
        TypeError: An argument has the wrong type, device or dtype.
        ValueError: A shape, layout or size does not fit.
        BackendUnavailable: "cuda" in a build without CUDA or without a device.

    Example:
        >>> import numpy as np
        >>> from evsam.ops import preprocess
        >>> preprocess(np.zeros((480, 640, 3), np.uint8), 512).shape
        (1, 3, 512, 512)

    Source: pre-processing of Segment Anything, arXiv 2304.02643.
    """
    if dtype not in ("float32", "float16"):
        raise ValueError(f"dtype: expected float32 or float16, got {dtype!r}")
    if channels not in (3, 8):
        raise ValueError(f"channels: expected 3 or 8, got {channels!r}")
    chosen = choose_backend(backend, image)
    shape = (1, channels, size, size)
    if chosen == "cuda":
        module = cuda_module()
        stream = stream_of(image, stream)
        if out is None:
            out = new_array(image, shape, dtype, CHANNELS_LAST, stream)
        module.preprocess(image, out, stream=stream)
        return out
    array = as_input(image, "image")
    if chosen == "native":
        pixels = _C.preprocess(array, size, threads=threads)
    else:
        from evsam.transforms import image_to_pixels

        pixels = image_to_pixels(array, size).transpose(1, 2, 0)
    if out is None:
        out = np.empty((1, size, size, channels), dtype).transpose(0, 3, 1, 2)
    check_output(out, dtype, shape)
    out[0, :3] = pixels.transpose(2, 0, 1)
    out[0, 3:] = 0
    return out


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
        backend: "native" for the compiled kernels of the CPU, "cuda" for those of the GPU, "reference" for the
            specification in NumPy (:func:`evsam.transforms.masks_from_logits`), "auto" for what fits `logits`.
        threads: Of "native", which gives the same bits for any number; None: `evsam.ops.get_num_threads()`.
        stream: Of "cuda", a CUDA stream as an integer; None: the current one of the library of `logits`.

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
    chosen = choose_backend(backend, logits)
    if chosen == "cuda":
        module = cuda_module()
        stream = stream_of(logits, stream)
        if out is None:
            shape, _ = describe(logits, "logits", stream)
            out = new_array(logits, (*shape[:-2], *original_size), "bool", C_ORDER, stream)
        module.mask_upsample(logits, out, resized_size=resized_size, stream=stream)
        return out
    array = as_input(logits, "logits")
    if chosen == "native":
        masks = _C.mask_upsample(array, resized_size, original_size, threads=threads)
    else:
        from evsam.transforms import masks_from_logits

        masks = masks_from_logits(array, resized_size, original_size)
    if out is None:
        return masks
    check_output(out, "bool", masks.shape)
    np.copyto(out, masks)
    return out
