"""Image messages to and from arrays.

Without cv_bridge, which needs OpenCV and a NumPy of the version that it was built with. Messages are anything with the
fields of sensor_msgs/Image or sensor_msgs/CompressedImage.
"""

from __future__ import annotations

import sys
from array import array
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from evsam import ImageError


class Frame(NamedTuple):
    """An image as :meth:`evsam.Sam.encode` takes it.

    Attributes:
        image: uint8 or uint16 (H, W, C), a view of the message's data; or the bytes of an encoded image.
        bgr: whether the channels are in BGR order.
    """

    image: npt.NDArray[Any] | bytes
    bgr: bool


class _Layout(NamedTuple):
    channels: int
    size: int  # bytes of a value
    bgr: bool


_LAYOUTS = {
    "rgb8": _Layout(3, 1, bgr=False),
    "bgr8": _Layout(3, 1, bgr=True),
    "rgba8": _Layout(4, 1, bgr=False),
    "bgra8": _Layout(4, 1, bgr=True),
    "mono8": _Layout(1, 1, bgr=False),
    "rgb16": _Layout(3, 2, bgr=False),
    "bgr16": _Layout(3, 2, bgr=True),
    "mono16": _Layout(1, 2, bgr=False),
    # OpenCV's types say nothing of colours; its arrays are in BGR order
    "8UC1": _Layout(1, 1, bgr=False),
    "8UC3": _Layout(3, 1, bgr=True),
    "8UC4": _Layout(4, 1, bgr=True),
    "16UC1": _Layout(1, 2, bgr=False),
}


def read_frame(message: Any) -> Frame:
    """Read a sensor_msgs/Image, or a sensor_msgs/CompressedImage whose data is a JPEG or PNG file.

    Raises:
        ImageError: an encoding that is not read, or sizes that contradict each other. A compressed image is decoded
            later, by :meth:`evsam.Sam.encode`.
    """
    if hasattr(message, "encoding"):
        return Frame(image_array(message), _LAYOUTS[message.encoding].bgr)
    if "compressedDepth" in message.format:
        raise ImageError(f"image: expected JPEG or PNG data, got format {message.format!r}; subscribe to its raw topic")
    return Frame(bytes(message.data), bgr=False)


def image_array(message: Any) -> npt.NDArray[Any]:
    """The pixels of a sensor_msgs/Image, uint8 or uint16 (H, W, C), a view of its data if its bytes are in order.

    Raises:
        ImageError: an encoding that is not read, or sizes that contradict each other.
    """
    encoding, height, width, step = message.encoding, message.height, message.width, message.step
    layout = _LAYOUTS.get(encoding)
    if layout is None:
        hint = "; debayer it, for example by image_proc::DebayerNode" if encoding.startswith("bayer_") else ""
        raise ImageError(f"image: expected an encoding of {', '.join(_LAYOUTS)}, got {encoding!r}{hint}")
    pixel = layout.channels * layout.size
    if not (height and width):
        raise ImageError(f"image: expected at least one pixel, got {width} x {height}")
    if step < width * pixel:
        raise ImageError(f"image: expected a step of at least {width * pixel} bytes for {encoding}, got {step}")
    needed = step * (height - 1) + width * pixel  # the last row's padding may be missing
    if len(message.data) < needed:
        raise ImageError(f"image: expected {needed} bytes for {width} x {height} {encoding}, got {len(message.data)}")
    order = ">" if message.is_bigendian else "<"
    shape, strides = (height, width, layout.channels), (step, pixel, layout.size)
    pixels: npt.NDArray[Any] = np.ndarray(shape, f"{order}u{layout.size}", message.data, 0, strides)
    return pixels.astype(pixels.dtype.newbyteorder("="), copy=False)


def fill_image(message: Any, pixels: npt.NDArray[np.uint8]) -> None:
    """Write a uint8 image (H, W) into a sensor_msgs/Image, as mono8. The header is left as it is."""
    message.height, message.width = pixels.shape
    message.encoding, message.step, message.is_bigendian = "mono8", pixels.shape[1], int(sys.byteorder == "big")
    data = array("B")  # anything else is checked value by value by the message
    data.frombytes(np.ascontiguousarray(pixels).data)
    message.data = data
