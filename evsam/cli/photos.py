"""Which photos the arguments mean, and where what is drawn on them goes."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from glob import glob, has_magic
from io import BytesIO
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from evsam.errors import EvsamError, ImageError
from evsam.images import Scale16, image_files, read_image

STDIN = "-"

SUFFIX = "_mask.png"
"""What default names of outputs end in, behind the stem of the photo."""


@dataclass(frozen=True)
class PhotoFile:
    """A photo that is to be read.

    Attributes:
        name: path as it was given, or ``-`` for standard input.
    """

    name: str

    def __str__(self) -> str:
        return "standard input" if self.name == STDIN else self.name

    def read(self, scale_16bit: Scale16 | None) -> npt.NDArray[np.uint8]:
        """The photo as RGB (H, W, 3).

        Args:
            scale_16bit: see :func:`evsam.images.read_image`.

        Raises:
            ImageError: it is missing or damaged.
        """
        return read_image(sys.stdin.buffer if self.name == STDIN else self.name, scale_16bit=scale_16bit)

    def output(self, folder: Path | None) -> Path:
        """Default name of the picture with masks; without a folder beside the photo, or for standard input here."""
        path = Path("stdin" if self.name == STDIN else self.name)
        return (path.parent if folder is None else folder) / f"{path.stem}{SUFFIX}"


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
    if not path.name.endswith(SUFFIX):
        return False
    stem = path.name.removesuffix(SUFFIX)
    return any(other.stem == stem for other in image_files(path.parent))


def choose_outputs(photos: Sequence[PhotoFile], folder: Path | None) -> list[Path]:
    """A file for each photo, see :meth:`PhotoFile.output`.

    Raises:
        EvsamError: two photos would go to the same file.
    """
    taken: dict[Path, PhotoFile] = {}
    for photo in photos:
        path = photo.output(folder)
        if path in taken:
            raise EvsamError(f"-o: expected a file for each photo, got {path} for {taken[path]} and {photo}")
        taken[path] = photo
    return list(taken)


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
