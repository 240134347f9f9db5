"""From a photo to what the encoder reads."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from evsam import _C
from evsam.ops._arrays import Backend, as_input, as_output, choose_backend
from evsam.ops._device import CHANNELS_LAST, cuda_module, new_array, stream_of

__all__ = ["preprocess"]


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
        backend: "cpu" for the compiled kernels, "cuda" for those of the GPU, "reference" for the specification in NumPy
            and Pillow (:func:`evsam.transforms.image_to_pixels`), "auto" for "cpu" or "cuda", by where `image` is.
        threads: Number of threads of "cpu"; None means `evsam.ops.get_num_threads()`.
        stream: Of "cuda", a CUDA stream as an integer, in whose order the result is ready; None means the current
            stream of the library of `image` (PyTorch, CuPy), else the default stream.

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
    chosen = choose_backend(backend, image, cpu_kernels=True)
    shape = (1, channels, size, size)
    if chosen == "cuda":
        module = cuda_module()
        stream = stream_of(image, stream)
        if out is None:
            out = new_array(image, shape, dtype, CHANNELS_LAST, stream)
        module.preprocess(image, out, stream=stream)
        return out
    array = as_input(image, "image")
    if chosen == "cpu":
        pixels = _C.preprocess(array, size, threads=threads)
    else:
        from evsam.transforms import image_to_pixels

        pixels = image_to_pixels(array, size).transpose(1, 2, 0)
    if out is None:
        out = np.empty((1, size, size, channels), dtype).transpose(0, 3, 1, 2)
    result = as_output(out, "out")
    if result.shape != shape or result.dtype != dtype:
        raise ValueError(f"out: expected {dtype} {shape}, got {result.dtype} {result.shape}")
    result[0, :3] = pixels.transpose(2, 0, 1)
    result[0, 3:] = 0
    return result
