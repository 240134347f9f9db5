"""Which photos the arguments mean, and reading them one after the other."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from glob import glob, has_magic
from io import BytesIO
from pathlib import Path
from typing import Generic, TypeVar

import numpy as np
import numpy.typing as npt
from PIL import Image

from evsam.cli import console
from evsam.cli.outputs import FORMATS
from evsam.errors import EvsamError, ImageError, PromptError
from evsam.images import Scale16, image_files, read_image

STDIN = "-"

ENDINGS = {"predict": "_mask.png", "everything": "_segments.png"}
"""What default names of the commands' pictures end in, behind the stem of the photo."""

_PICTURES = (*ENDINGS.values(), FORMATS["png"][0])

Wanted = TypeVar("Wanted")


@dataclass(frozen=True)
class PhotoFile:
    """A photo that is to be read.

    Attributes:
        name: path as it was given, or ``-`` for standard input.
    """

    name: str

    def __str__(self) -> str:
        return "standard input" if self.is_stdin else self.name

    def read(self, scale_16bit: Scale16 | None) -> npt.NDArray[np.uint8]:
        """The photo as RGB (H, W, 3).

        Args:
            scale_16bit: see :func:`evsam.images.read_image`.

        Raises:
            ImageError: it is missing or damaged.
        """
        return read_image(sys.stdin.buffer if self.is_stdin else self.name, scale_16bit=scale_16bit)

    @property
    def is_stdin(self) -> bool:
        """Whether it is standard input, and has no path."""
        return self.name == STDIN

    def output(self, folder: Path | None, ending: str) -> Path:
        """Default name of what is written of it; without a folder beside the photo, or for standard input here."""
        path = Path("stdin" if self.is_stdin else self.name)
        return (path.parent if folder is None else folder) / f"{path.stem}{ending}"


def find_photos(names: Sequence[str]) -> tuple[list[PhotoFile], bool]:
    """The photos that are meant, each once.

    Args:
        names: paths of photos, folders (the photos right in them), patterns with ``*``, ``?``, ``[`` and ``**``, and
            ``-`` for standard input.

    Returns:
        The photos, and whether there can be several: not if a single photo was named.

    Raises:
        ImageError: a folder without photos, or a pattern that fits nothing.
    """
    found: dict[str, None] = {}
    for name in names:
        if name == STDIN:
            found[name] = None
        elif Path(name).is_dir():
            inside = [path for path in image_files(Path(name)) if not _is_output(path)]
            if not inside:
                raise ImageError(f"photo: expected a folder with photos, got {name}, which has none")
            found.update(dict.fromkeys(map(str, inside)))
        elif has_magic(name) and not Path(name).exists():
            fitting = sorted(path for path in glob(name, recursive=True) if not _is_output(Path(path)))
            if not fitting:
                raise ImageError(f"photo: expected a pattern that fits files, got {name!r}, which fits none")
            found.update(dict.fromkeys(path for path in fitting if not Path(path).is_dir()))
        else:
            found[name] = None
    single = len(names) == 1 and list(found) == list(names)
    return [PhotoFile(name) for name in found], not single


def _is_output(path: Path) -> bool:
    """Whether a file was probably written by an earlier call: a photo without the ending stands beside it."""
    stems = [path.name.removesuffix(ending) for ending in _PICTURES if path.name.endswith(ending)]
    return any(other.stem in stems for other in image_files(path.parent)) if stems else False


@dataclass(frozen=True)
class Task(Generic[Wanted]):
    """A photo that was read, and what to do with it."""

    index: int
    photo: PhotoFile
    image: npt.NDArray[np.uint8]
    wanted: Wanted


class Tasks(Generic[Wanted]):
    """The photos one after the other, with a progress bar; those that cannot be used are told and skipped.

    Args:
        photos: all of them.
        several: whether there can be several.
        scale_16bit: see :func:`evsam.images.read_image`.
        wanted_of: what to do with a photo; may raise PromptError.
        done: indices of photos that need no work.
        parts: whether photos take long, so that :meth:`show` says how much of one is done.

    Attributes:
        progress: to be cleared before anything else is written.
        skipped: how many photos were skipped so far.
    """

    def __init__(
        self,
        photos: Sequence[PhotoFile],
        several: bool,
        scale_16bit: Scale16 | None,
        wanted_of: Callable[[PhotoFile], Wanted],
        *,
        done: Collection[int] = (),
        parts: bool = False,
    ) -> None:
        self._photos, self._several = photos, several
        self._scale_16bit = scale_16bit
        self._wanted_of = wanted_of
        self._done = done
        self._at, self._name = len(done), ""
        self.progress = console.Progress(len(photos), len(done), parts=parts)
        self.skipped = 0

    def __iter__(self) -> Iterator[Task[Wanted]]:
        left = [(index, photo) for index, photo in enumerate(self._photos) if index not in self._done]
        for number, (index, photo) in enumerate(left, len(self._done)):
            self._at, self._name = number, Path(str(photo)).name
            self.show(0.0)
            try:
                task = Task(index, photo, photo.read(self._scale_16bit), self._wanted_of(photo))
            except (ImageError, PromptError) as error:
                self.skip(photo, error)
            else:
                yield task

    def show(self, part: float) -> None:
        """Draw the bar.

        Args:
            part: how much of the present photo is done, 0 to 1.
        """
        self.progress.show(self._at + part, self._name)

    def tell_done(self) -> None:
        """Say how many photos need no work, if there are any."""
        if self._done:
            console.note(f"{len(self._done)} of {len(self._photos)} photos are done")

    def skip(self, photo: PhotoFile, error: EvsamError) -> None:
        """Say what is wrong with a photo."""
        self.skipped += 1
        self.progress.clear()
        console.complain(f"{photo}: skipped: {error}" if self._several else error)

    def code(self) -> int:
        """The exit code, once all is done: 1 if photos were skipped, which is said where there are several."""
        self.progress.clear()
        if self.skipped and self._several:
            console.complain(f"{self.skipped} of {len(self._photos)} photos were skipped")
        return 1 if self.skipped else 0


@contextmanager
def pixel_limit(pixels: int) -> Iterator[None]:
    """Photos with more are errors; Pillow would warn first, and refuse what has twice as many."""
    usual = Image.MAX_IMAGE_PIXELS
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        Image.MAX_IMAGE_PIXELS = pixels
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = usual


def picture_format(path: Path) -> str:
    """Pillow's name of the format that the file's ending means.

    Raises:
        EvsamError: it means none, or one that cannot hold an RGB picture.
    """
    kind = Image.registered_extensions().get(path.suffix.lower())
    if kind not in Image.SAVE:
        raise EvsamError(f"-o: expected the name of an image file, such as masks.png, got {path}")
    try:  # formats tell what they hold only when one tries
        Image.new("RGB", (32, 32)).save(BytesIO(), kind)
    except Exception as error:  # of each format's own kind
        raise EvsamError(f"-o: expected a format that holds RGB, such as PNG, got {path} ({error})") from error
    return kind
