"""Whatever a user calls an image, read as an RGB array."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import IO, Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

from evsam.arguments import check_flag, shown
from evsam.errors import ImageError

ImageLike: TypeAlias = (
    "str | os.PathLike[str] | bytes | bytearray | memoryview | IO[bytes] | Image.Image | npt.NDArray[np.uint8]"
)
"""A path, an encoded image (bytes, or a binary file), a PIL image, or a uint8 array (H, W), (H, W, 1), (H, W, 3) or
(H, W, 4)."""

Scale16: TypeAlias = Literal["full", "stretch"]
"""How values of 16 bits become 8: ``full`` takes 0 to 65535 to 0 to 255, as of a camera; ``stretch`` the smallest and
the largest value of the image, as of a microscope or a depth sensor that uses a part of the range."""

_EXPECTED = "image: expected a path, an encoded image, a PIL image or a uint8 array H x W x 3"
_WIDE_MODES = ("I", "F", "I;16", "I;16L", "I;16B", "I;16N")

_BEFORE_RGB = {"P": "RGBA", "PA": "RGBA", "RGBa": "RGBA", "La": "LA"}
"""Modes that need a step before RGB: premultiplied alpha, and palettes, whose entries may have alpha."""

_TOO_LARGE = (Image.DecompressionBombError, Image.DecompressionBombWarning)

_ORIENTATION = 0x0112
"""The EXIF tag; 1 is upright."""


def read_image(
    image: ImageLike | object, *, bgr: bool = False, scale_16bit: Scale16 | None = None
) -> npt.NDArray[np.uint8]:
    """Read an image as an RGB array.

    Args:
        image: one of

            * the path of a file that Pillow can open;
            * such a file's content: bytes, bytearray, memoryview, or a binary file, which is read to its end;
            * a PIL image of any mode with 8 bits per channel;
            * a uint8 array (H, W, 3); (H, W) or (H, W, 1) for grey; (H, W, 4) with alpha. Any strides.

            EXIF orientation is applied, that of an opened PIL image too, so the pixels are those that a viewer shows.
            An alpha channel is dropped, not composited: the colours under it are what the model sees.
        bgr: whether the channels of an *array* are B, G, R (as OpenCV has them). Files and PIL images know their order.
        scale_16bit: what to do with 16 bits per channel (grey files and PIL images, and uint16 arrays; also PIL images
            of mode I and F), see :data:`Scale16`; None refuses them. Pillow reads files with 16-bit colours as 8 bits.

    Returns:
        uint8 (H, W, 3), RGB, C order. Shares memory with an array that has this form already; inputs are never written.

    Raises:
        ImageError: wrong type, dtype or shape, an empty array, a missing, unreadable or damaged file, or one with more
            pixels than ``PIL.Image.MAX_IMAGE_PIXELS`` lets Pillow read.

    Example:
        >>> read_image(np.zeros((2, 3), np.uint8)).shape
        (2, 3, 3)
    """
    wanted: object = scale_16bit
    if wanted is not None and not (isinstance(wanted, str) and wanted in ("full", "stretch")):
        raise ImageError(f"scale_16bit: expected 'full', 'stretch' or None, got {shown(scale_16bit)}")
    bgr = check_flag("bgr", bgr, ImageError)
    if isinstance(image, (str, os.PathLike)):
        return _from_file(os.fspath(image), scale_16bit)
    if isinstance(image, Image.Image):
        return _from_pil(image, scale_16bit)
    if isinstance(image, np.ndarray):
        return _from_array(image, bgr, scale_16bit)
    if isinstance(image, (bytes, bytearray, memoryview)) or hasattr(image, "read"):
        return decode_image(_content(image), scale_16bit=scale_16bit)
    kind = type(image)
    hint = "; use tensor.permute(1, 2, 0).cpu().numpy()" if kind.__module__.startswith("torch") else ""
    raise ImageError(f"{_EXPECTED}, got {kind.__module__}.{kind.__qualname__}{hint}")


def decode_image(
    file: str | IO[bytes],
    *,
    scale_16bit: Scale16 | None = None,
    formats: tuple[str, ...] | None = None,
    max_pixels: int | None = None,
) -> npt.NDArray[np.uint8]:
    """Decode an encoded image (JPEG, PNG, ...): the one reader of image files, so that all follow the same rules.

    Its EXIF orientation is applied, an alpha channel is dropped.

    Args:
        file: a path, or a binary file that can seek.
        scale_16bit: see :func:`read_image`.
        formats: Pillow's names of the formats that it may have; None for all that Pillow knows.
        max_pixels: an image with more is refused before its pixels are decoded; None leaves that to Pillow.

    Returns:
        uint8 (H, W, 3), RGB, C order.

    Raises:
        ImageError: it cannot be decoded, or has no 8 bits per channel.
        FileNotFoundError: there is no such file.
    """
    with _opened(file, formats, max_pixels) as image:
        image.load()
        return _from_pil(image, scale_16bit)


def encoded_size(
    file: str | IO[bytes], *, formats: tuple[str, ...] | None = None, max_pixels: int | None = None
) -> tuple[int, int]:
    """Height and width of an encoded image by its header, before its EXIF orientation; no pixel is decoded.

    Args:
        file: as of :func:`decode_image`, like ``formats`` and ``max_pixels``.
        formats: that it may have.
        max_pixels: that it may have.

    Raises:
        ImageError: it is no image, or of another format, or larger.
        FileNotFoundError: there is no such file.
    """
    with _opened(file, formats, max_pixels) as image:
        return image.height, image.width


@contextlib.contextmanager
def _opened(file: str | IO[bytes], formats: tuple[str, ...] | None, max_pixels: int | None) -> Iterator[Image.Image]:
    """An image whose header was read; what goes wrong with it, then and later, is an ImageError."""
    try:
        with Image.open(file, formats=formats) as image:
            if max_pixels is not None and image.width * image.height > max_pixels:
                pixels = f"{image.width} x {image.height}"
                raise ImageError(f"image: expected at most {max_pixels} pixels, got {pixels}")
            yield image
    except (FileNotFoundError, ImageError, MemoryError):
        raise
    except _TOO_LARGE as error:
        found = re.search(r"\d+ pixels", str(error))
        raise ImageError(
            "image: expected no more pixels than the limit (PIL.Image.MAX_IMAGE_PIXELS, on the command line "
            f"--max-pixels), got {found[0] if found else error}"
        ) from error
    except UnidentifiedImageError as error:
        known = "no format that Pillow knows" if formats is None else f"none of {', '.join(formats)}"
        raise ImageError(f"image: expected a readable image file, got one that cannot be decoded ({known})") from error
    except Exception as error:  # each of Pillow's decoders, and of its plugins, has its own kinds
        raise ImageError(f"image: expected a readable image file, got one that cannot be decoded ({error})") from error


def image_files(folder: Path) -> list[Path]:
    """The files in a folder that have the name of an image, sorted; hidden ones and folders in it do not count."""
    suffixes = set(Image.registered_extensions())
    found = (path for path in folder.iterdir() if path.suffix.lower() in suffixes and path.is_file())
    return sorted(path for path in found if not path.name.startswith("."))


def _content(image: Any) -> BytesIO:
    """An encoded image as a file that can seek."""
    try:
        content = image.read() if hasattr(image, "read") else image
    except MemoryError:
        raise
    except Exception as error:  # of anybody's class, such as an answer from a server that broke off
        raise ImageError(f"image: expected a file or bytes that can be read, got {shown(error)}") from error
    try:
        return BytesIO(content)
    except (TypeError, ValueError, BufferError):
        raise ImageError(f"image: expected a binary file, got one that reads {type(content).__name__}") from None


def _from_file(path: str, scale_16bit: Scale16 | None) -> npt.NDArray[np.uint8]:
    try:
        return decode_image(path, scale_16bit=scale_16bit)
    except FileNotFoundError:
        raise ImageError(f"image: expected the path of an image, got {path!r}, which does not exist") from None
    except ImageError as error:
        raise ImageError(f"{error} in {path!r}") from error.__cause__


def _from_pil(image: Image.Image, scale_16bit: Scale16 | None) -> npt.NDArray[np.uint8]:
    if image.mode in _WIDE_MODES and scale_16bit is None:
        raise ImageError(
            f"image: expected 8 bits per channel, got a PIL image of mode {image.mode!r}; scale_16bit='full' or "
            "'stretch' scales them, on the command line --scale-16bit"
        )
    if not (image.width and image.height):
        raise ImageError(f"image: expected at least one pixel, got a PIL image of {image.width} x {image.height}")
    try:
        if _orientation(image) != 1:
            image = ImageOps.exif_transpose(image)
        if image.mode in _WIDE_MODES and scale_16bit is not None:
            return np.repeat(_eight_bits(np.asarray(image), scale_16bit)[..., None], 3, axis=2)
        if image.mode in _BEFORE_RGB:
            image = image.convert(_BEFORE_RGB[image.mode])
        return np.array(image.convert("RGB"))
    except (ImageError, MemoryError):
        raise
    except Exception as error:  # files are decoded only here; of one that was closed Pillow asserts that it is open
        what = f"mode {image.mode!r} ({str(error) or repr(error)})"
        raise ImageError(f"image: expected one that can be decoded and converted to RGB, got {what}") from error


def _orientation(image: Image.Image) -> int:
    try:
        value = image.getexif().get(_ORIENTATION, 1)
    except Exception:  # noqa: BLE001 - viewers show photos whose EXIF is damaged
        return 1
    return value if value in range(1, 9) else 1


def _eight_bits(values: npt.NDArray[Any], scale: Scale16) -> npt.NDArray[np.uint8]:
    """Values of 16 bits as 8, see :data:`Scale16`."""
    low, high = values.min(), values.max()
    if not (np.isfinite(low) and np.isfinite(high)):
        raise ImageError(f"image: expected finite values to scale, got {low} to {high}")
    if scale == "full":
        if low < 0 or high > 65535:
            raise ImageError(f"image: expected values from 0 to 65535 for scale_16bit='full', got {low} to {high}")
        low, high = 0, 65535
    span = float(high) - float(low) or 1.0
    scaled = (values.astype(np.float32) - np.float32(low)) * np.float32(255 / span)
    narrow: npt.NDArray[np.uint8] = (scaled + np.float32(0.5)).astype(np.uint8)
    return narrow


def _from_array(image: npt.NDArray[Any], bgr: bool, scale_16bit: Scale16 | None) -> npt.NDArray[np.uint8]:
    got = f"shape {image.shape}, dtype {image.dtype}"
    wide = scale_16bit is not None and image.dtype == np.uint16
    if image.dtype != np.uint8 and not wide:
        hint = ""
        if image.dtype.kind == "f":
            hint = "; for values in 0..1 use (255 * image).round().astype(np.uint8)"
        elif image.dtype == np.uint16:
            hint = "; for 16 bits use scale_16bit='full' or 'stretch'"
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
    if wide and scale_16bit is not None:
        image = _eight_bits(image[..., :3], scale_16bit)
    return np.ascontiguousarray(_as_rgb(image, bgr))


def _as_rgb(image: npt.NDArray[np.uint8], bgr: bool) -> npt.NDArray[np.uint8]:
    if image.shape[2] == 1:
        return np.repeat(image, 3, axis=2)
    return image[..., 2::-1] if bgr else image[..., :3]
