"""Photos as requests bring them: checked before their pixels exist."""

from __future__ import annotations

import base64
import binascii
import hashlib
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import numpy as np
import numpy.typing as npt

from evsam.images import decode_image, encoded_size
from evsam.serve.problems import Problem
from evsam.serve.settings import Settings


@dataclass(frozen=True, eq=False)
class Photo:
    """An encoded photo.

    Attributes:
        content: the file, or the pixels themselves.
        digest: its SHA-256, in hexadecimal.
        shape: of the pixels, (H, W, 3), where they are the content.
    """

    content: bytes
    digest: str
    shape: tuple[int, ...] | None = None

    def pixels(self, settings: Settings) -> npt.NDArray[np.uint8]:
        """Its pixels, uint8 (H, W, 3).

        Raises:
            ImageError: it has another format than the settings allow, more pixels, or is damaged.
        """
        if self.shape is not None:
            return np.frombuffer(self.content, np.uint8).reshape(self.shape)
        return decode_image(BytesIO(self.content), formats=settings.formats, max_pixels=settings.photo_pixels)

    def size(self, settings: Settings) -> tuple[int, int]:
        """Height and width by the header of its file.

        Raises:
            ImageError: as of :meth:`pixels`, as far as the header tells.
        """
        return encoded_size(BytesIO(self.content), formats=settings.formats, max_pixels=settings.photo_pixels)


def photo_from_bytes(content: bytes, settings: Settings) -> Photo:
    """An encoded photo as it is.

    Raises:
        Problem: it is larger than the settings allow.
    """
    if len(content) > settings.photo_bytes:
        raise Problem(413, "too_large", f"image: expected at most {settings.photo_bytes} bytes, got {len(content)}")
    return Photo(content, hashlib.sha256(content).hexdigest())


def photo_from_pixels(pixels: npt.NDArray[Any], settings: Settings) -> Photo:
    """A photo as an array.

    Raises:
        Problem: it is not uint8 (H, W, 3), or has more pixels than the settings allow.
    """
    shape = pixels.shape
    if pixels.dtype != np.uint8 or len(shape) != 3 or shape[2] != 3 or 0 in shape:
        raise Problem(422, "image", f"image: expected uint8 of shape (H, W, 3), got {pixels.dtype} of {shape}")
    if shape[0] * shape[1] > settings.photo_pixels:
        raise Problem(413, "too_large", f"image: expected at most {settings.photo_pixels} pixels, got {shape[:2]}")
    content = pixels.tobytes()
    return Photo(content, hashlib.sha256(str(shape).encode() + content).hexdigest(), shape)


def photo_from_text(text: str, settings: Settings) -> Photo:
    """A photo in base64, alone or as a data URL.

    Raises:
        Problem: it is no base64, or larger than the settings allow.
    """
    if text.startswith("data:"):
        head, _, text = text.partition(",")
        if not head.endswith(";base64"):
            raise Problem(422, "image", f"image: expected a data URL in base64, got one that begins with {head[:40]!r}")
    try:
        content = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:  # ValueError: characters beyond ASCII
        raise Problem(422, "image", f"image: expected base64, got other text ({error})") from error
    return photo_from_bytes(content, settings)
