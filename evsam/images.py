"""Whatever a user calls an image, read as an RGB array."""

from __future__ import annotations

import os
import struct
import zlib
from typing import IO, TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from evsam.errors import ImageError

ImageLike: TypeAlias = "str | os.PathLike[str] | Image.Image | npt.NDArray[np.uint8]"
"""A path, a PIL image, or a uint8 array (H, W), (H, W, 1), (H, W, 3) or (H, W, 4)."""

_EXPECTED = "image: expected a path, a PIL image or a uint8 array H x W x 3"
_WIDE_MODES = ("I", "F", "I;16", "I;16L", "I;16B", "I;16N")

_BEFORE_RGB = {"P": "RGBA", "PA": "RGBA", "RGBa": "RGBA", "La": "LA"}
"""Modes that need a step before RGB: premultiplied alpha, and palettes, whose entries may have alpha."""


# What Pillow's decoders raise: OSError for truncated data, SyntaxError for broken PNG chunks, the others for headers
# that make no sense or conversions that do not exist.
_DAMAGE = (OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error, Image.DecompressionBombError)


def read_image(image: ImageLike | object, *, bgr: bool = False) -> npt.NDArray[np.uint8]:
    """Read an image as an RGB array.

    Args:
        image: one of

            * the path of a file that Pillow can open; its EXIF orientation is applied, so the pixels are those that a
              viewer shows;
            * a PIL image of any mode with 8 bits per channel; taken as it is, without turning;
            * a uint8 array (H, W, 3); (H, W) or (H, W, 1) for grey; (H, W, 4) with alpha. Any strides.

            An alpha channel is dropped, not composited: the colours under it are what the model sees.
        bgr: whether the channels of an *array* are B, G, R (as OpenCV has them). Files and PIL images know their order.

    Returns:
        uint8 (H, W, 3), RGB, C order. Shares memory with an array that has this form already; inputs are never written.

    Raises:
        ImageError: wrong type, dtype or shape, an empty array, a missing, unreadable or damaged file.

    Example:
        >>> read_image(np.zeros((2, 3), np.uint8)).shape
        (2, 3, 3)
    """
    if isinstance(image, (str, os.PathLike)):
        return _from_file(os.fspath(image))
    if isinstance(image, Image.Image):
        return _from_pil(image)
    if isinstance(image, np.ndarray):
        return _from_array(image, bgr)
    kind = type(image)
    hint = "; use tensor.permute(1, 2, 0).cpu().numpy()" if kind.__module__.startswith("torch") else ""
    raise ImageError(f"{_EXPECTED}, got {kind.__module__}.{kind.__qualname__}{hint}")


def decode_image(file: str | IO[bytes]) -> npt.NDArray[np.uint8]:
    """Decode an encoded image (JPEG, PNG, ...): the one reader of image files, so that all follow the same rules.

    Its EXIF orientation is applied, 16 bits per channel are refused, an alpha channel is dropped.

    Args:
        file: a path, or a binary file that can seek.

    Returns:
        uint8 (H, W, 3), RGB, C order.

    Raises:
        ImageError: it cannot be decoded, or has no 8 bits per channel.
        FileNotFoundError: there is no such file.
    """
    try:
        with Image.open(file) as image:
            return _from_pil(ImageOps.exif_transpose(image))
    except (FileNotFoundError, ImageError):
        raise
    except _DAMAGE as error:
        raise ImageError(f"image: expected a readable image file, got one that cannot be decoded ({error})") from error


def _from_file(path: str) -> npt.NDArray[np.uint8]:
    try:
        return decode_image(path)
    except FileNotFoundError:
        raise ImageError(f"image: expected the path of an image, got {path!r}, which does not exist") from None
    except ImageError as error:
        raise ImageError(f"{error} in {path!r}") from error.__cause__


def _from_pil(image: Image.Image) -> npt.NDArray[np.uint8]:
    if image.mode in _WIDE_MODES:
        raise ImageError(f"image: expected 8 bits per channel, got a PIL image of mode {image.mode!r}; scale it first")
    if not (image.width and image.height):
        raise ImageError(f"image: expected at least one pixel, got a PIL image of {image.width} x {image.height}")
    try:
        if image.mode in _BEFORE_RGB:
            image = image.convert(_BEFORE_RGB[image.mode])
        return np.array(image.convert("RGB"))
    except _DAMAGE as error:
        raise ImageError(
            f"image: expected one that can be decoded and converted to RGB, got mode {image.mode!r} ({error})"
        ) from error


def _from_array(image: npt.NDArray[np.uint8], bgr: bool) -> npt.NDArray[np.uint8]:
    got = f"shape {image.shape}, dtype {image.dtype}"
    if image.dtype != np.uint8:
        hint = ""
        if image.dtype.kind == "f":
            hint = "; for values in 0..1 use (255 * image).round().astype(np.uint8)"
        elif image.dtype == np.uint16:
            hint = "; for 16 bits use (image >> 8).astype(np.uint8)"
        raise ImageError(f"{_EXPECTED}, got {got}{hint}")
    if image.ndim not in (2, 3):
        hint = "; pass list(images) for a batch" if image.ndim == 4 else ""
        raise ImageError(f"{_EXPECTED}, got {got}{hint}")
    if image.size == 0:
        raise ImageError(f"image: expected at least one pixel, got {got}")
    if image.ndim == 2:
        image = image[..., None]
    channels = image.shape[2]
    if channels not in (1, 3, 4):
        hint = "; channels come last: image.transpose(1, 2, 0)" if image.shape[0] in (1, 3, 4) else ""
        raise ImageError(f"image: expected 1, 3 or 4 channels, got {got}{hint}")
    if channels == 1:
        image = np.repeat(image, 3, axis=2)
    elif bgr:
        image = image[..., 2::-1]
    else:
        image = image[..., :3]
    return np.ascontiguousarray(image)
