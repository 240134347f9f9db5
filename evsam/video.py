"""Frames of videos, folders and cameras, and videos that are written.

Videos are read and written by PyAV, which brings FFmpeg along; cameras are read by OpenCV. Neither is loaded before it
is needed.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from evsam.errors import BackendUnavailable, EvsamError, ImageError
from evsam.images import image_files, read_image

Image = npt.NDArray[np.uint8]

DEFAULT_RATE = Fraction(25)
"""Frames a second of what does not say."""

FORMATS = {".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".mkv": "matroska"}
"""Endings of videos that can be written, and FFmpeg's names of their containers."""

_TIME_BASE = Fraction(1, 90_000)
"""In which all usual rates are whole numbers."""

_FIRST_FRAME = 10.0
"""Seconds that a camera may take for a frame."""


@dataclass(frozen=True)
class Frame:
    """One picture of a source.

    Attributes:
        index: from 0.
        name: the file's in a folder, otherwise the index.
        image: uint8 (H, W, 3), RGB.
        time: seconds from the start.
    """

    index: int
    name: str
    image: Image
    time: float


class Source(Protocol):
    """Where frames come from, one after the other. To be closed."""

    total: int | None
    """How many there are, as far as it is known; videos may be off by some."""
    rate: Fraction
    """Frames a second."""

    def __iter__(self) -> Iterator[Frame]:
        """The frames.

        Raises:
            ImageError: one cannot be read.
        """

    def close(self) -> None:
        """Let go of the file or the camera."""


def open_source(source: str, rate: Fraction | None = None) -> Source:
    """Open a video, a folder of frames, or a camera.

    Args:
        source: path of a video or of a folder, whose images are frames in the order of their names; or the number of a
            camera, unless a file has that name.
        rate: frames a second, where the source does not say.

    Raises:
        ImageError: it does not exist, or is none of these.
        BackendUnavailable: PyAV or OpenCV is missing; the message says how to get it.
    """
    path = Path(source)
    if path.is_dir():
        return _Folder(path, rate or DEFAULT_RATE)
    if path.exists():
        return _Video(path, rate or DEFAULT_RATE)
    if is_camera(source):
        return _Camera(int(source), rate)
    raise ImageError(
        f"source: expected a video, a folder of frames or the number of a camera, got {source}, which does not exist"
    )


def is_camera(source: str) -> bool:
    """Whether a name means a camera."""
    return source.isascii() and source.isdigit() and not Path(source).exists()


def frame_files(source: str) -> list[Path]:
    """The files that frames come from: images of a folder in their order, or a video; none of a camera."""
    path = Path(source)
    if path.is_dir():
        return sorted(image_files(path), key=_numbered)
    return [path] if path.exists() else []


class _Folder:
    def __init__(self, path: Path, rate: Fraction) -> None:
        self._files = frame_files(str(path))
        if not self._files:
            raise ImageError(f"source: expected a folder with frames, got {path}, which has none")
        self.total: int | None = len(self._files)
        self.rate = rate

    def __iter__(self) -> Iterator[Frame]:
        for index, file in enumerate(self._files):
            yield Frame(index, file.name, read_image(file), float(index / self.rate))

    def close(self) -> None:
        pass


def _numbered(path: Path) -> list[tuple[bool, int, str]]:
    """A key that sorts frame10 behind frame9."""
    parts = re.findall(r"\d+|\D+", path.name)
    return [(part.isdecimal(), int(part) if part.isdecimal() else 0, part) for part in parts]


class _Video:
    def __init__(self, path: Path, rate: Fraction) -> None:
        self._path = path
        with _naming(path):
            self._container = _av().open(str(path))
            if not self._container.streams.video:
                raise ImageError(f"source: expected a video, got {path}, which has none")
        self._stream = self._container.streams.video[0]
        self._stream.thread_type = "AUTO"
        self.rate: Fraction = self._stream.average_rate or rate
        self.total: int | None = self._stream.frames or None
        if self.total is None and self._stream.duration is not None:
            self.total = round(self._stream.duration * self._stream.time_base * self.rate)

    def __iter__(self) -> Iterator[Frame]:
        first: float | None = None
        with _naming(self._path):
            for index, frame in enumerate(self._container.decode(self._stream)):
                at = float(index / self.rate) if frame.time is None else frame.time
                first = at if first is None else first
                image = upright(frame.to_ndarray(format="rgb24"), frame.rotation)
                yield Frame(index, f"{index:05}", image, at - first)

    def close(self) -> None:
        self._container.close()


class _Camera:
    """The newest frame whenever one is asked for: a thread reads, since cameras queue what is not read."""

    def __init__(self, number: int, rate: Fraction | None) -> None:
        try:
            import cv2
        except ImportError as error:
            raise BackendUnavailable("source: cameras need OpenCV; use pip install opencv-python") from error
        self._capture: Any = cv2.VideoCapture(number)
        if not self._capture.isOpened():
            raise ImageError(f"source: expected the number of a camera, got {number}, which cannot be opened")
        told = self._capture.get(cv2.CAP_PROP_FPS)
        self.rate = rate or (Fraction(told).limit_denominator(1001) if 1 <= told <= 1000 else DEFAULT_RATE)
        self.total: int | None = None
        self._lock = threading.Condition()
        self._newest: tuple[Image, float] | None = None
        self._ended = False
        self._thread = threading.Thread(target=self._read, name="evsam camera", daemon=True)
        self._thread.start()

    def _read(self) -> None:
        while not self._ended:
            there, image = self._capture.read()
            with self._lock:
                if there:
                    self._newest = image, time.monotonic()
                else:
                    self._ended = True
                self._lock.notify_all()

    def __iter__(self) -> Iterator[Frame]:
        index, first = 0, 0.0
        while True:
            with self._lock:
                if not self._lock.wait_for(lambda: self._newest is not None or self._ended, _FIRST_FRAME):
                    raise ImageError(f"source: expected a frame of the camera within {_FIRST_FRAME:g} s, got none")
                newest, self._newest = self._newest, None
            if newest is None:
                return
            image, at = newest
            first = first or at
            yield Frame(index, f"{index:05}", np.ascontiguousarray(image[..., ::-1]), at - first)
            index += 1

    def close(self) -> None:
        self._ended = True
        self._thread.join(_FIRST_FRAME)
        self._capture.release()


def upright(image: Image, degrees: float) -> Image:
    """An image as players show it: turned anticlockwise by the angle that its file tells, to a quarter turn."""
    return np.ascontiguousarray(np.rot90(image, round(degrees / 90) % 4))


class VideoWriter:
    """Writes a video of H.264, or MPEG-4 where FFmpeg was built without an encoder for that.

    Args:
        path: where to write; its name may end in anything.
        container: FFmpeg's name of the format, one of :data:`FORMATS`.
        size: height and width of the frames. Odd ones grow by a pixel, since colours are stored for 2 x 2 of them.
        rate: frames a second.
        comment: is written into the file; see :func:`video_comment`.

    Raises:
        BackendUnavailable: PyAV is missing.
        EvsamError: FFmpeg has no encoder for frames of this size or rate.
        OSError: the file cannot be written.
    """

    def __init__(self, path: Path, container: str, size: tuple[int, int], rate: Fraction, comment: str = "") -> None:
        av = _av()
        options = {"movflags": "faststart"} if container in ("mp4", "mov") else {}
        self._container: Any = av.open(str(path), "w", format=container, options=options)
        if comment:
            self._container.metadata["comment"] = comment
        codec = "libx264" if "libx264" in av.codecs_available else "mpeg4"
        self._stream: Any = self._container.add_stream(codec, rate=rate)
        height, width = size
        self._odd = (height % 2, width % 2)
        self._stream.height, self._stream.width = height + height % 2, width + width % 2
        self._stream.pix_fmt = "yuv420p"
        self._stream.options = {"crf": "20", "preset": "veryfast"} if codec == "libx264" else {"qscale": "3"}
        context = self._stream.codec_context
        context.thread_count = 1  # the other processors are the model's
        context.time_base = _TIME_BASE
        context.colorspace = context.color_primaries = context.color_trc = 1  # BT.709
        context.color_range = 1  # 16 to 235
        try:
            context.open()
        except (av.FFmpegError, MemoryError) as error:
            self._container.close()
            expected = f"frames of a size that {codec} can write, got {width} x {height} pixels"
            raise EvsamError(f"-o: expected {expected}; a folder takes label maps of any size") from error
        self._frame_of = av.VideoFrame.from_ndarray
        self._last = -1

    def write(self, image: Image, at: float) -> None:
        """Add a frame.

        Args:
            image: uint8 (H, W, 3), RGB.
            at: seconds from the start; one that is not behind the last is put right behind it.
        """
        if any(self._odd):
            image = np.pad(image, ((0, self._odd[0]), (0, self._odd[1]), (0, 0)), mode="edge")
        frame = self._frame_of(np.ascontiguousarray(image), format="rgb24")
        frame = frame.reformat(format="yuv420p", dst_colorspace="ITU709", dst_color_range="MPEG")
        self._last = max(self._last + 1, round(at / _TIME_BASE))
        frame.pts, frame.time_base = self._last, _TIME_BASE
        self._container.mux(self._stream.encode(frame))

    def close(self) -> None:
        """Write what is left."""
        with suppress(EOFError):
            self._container.mux(self._stream.encode(None))
        self._container.close()


def video_comment(path: Path) -> str | None:
    """What :class:`VideoWriter` was told to write into a file; None where there is no comment.

    Raises:
        BackendUnavailable: PyAV is missing.
        ImageError: the file cannot be read.
    """
    with _naming(path), _av().open(str(path)) as container:
        comments: list[str] = [value for key, value in container.metadata.items() if key.lower() == "comment"]
    return comments[0] if comments else None


def container_of(path: Path) -> str:
    """FFmpeg's name of the container that a file's ending means.

    Raises:
        EvsamError: it means none that can be written.
    """
    found = FORMATS.get(path.suffix.lower())
    if found is None:
        raise EvsamError(f"-o: expected a video that ends in {', '.join(FORMATS)}, or a folder, got {path}")
    return found


def _av() -> Any:
    try:
        import av
    except ImportError as error:
        raise BackendUnavailable("videos need av; use pip install 'evsam[video]'") from error
    return av


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Errors of FFmpeg become those of an image that cannot be read."""
    error_of = _av().FFmpegError
    try:
        yield
    except error_of as error:
        raise ImageError(f"source: expected a video that can be read, got {path} ({error.strerror})") from error
