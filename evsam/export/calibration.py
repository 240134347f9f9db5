"""Images on which ranges are measured."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from PIL import Image

from evsam.errors import ImageError
from evsam.images import image_files, read_image
from evsam.transforms import image_to_pixels

if TYPE_CHECKING:
    from evsam.weights import Weights

GENERATED = 6
"""Images that are made where none are given."""

SIDE = 512
"""Their side in pixels."""


def calibration_folder(weights: str | os.PathLike[str]) -> Path:
    """Where photos to calibrate with lie beside a weights file; ``evsam convert`` of a training run puts them there."""
    path = Path(weights)
    return path.with_name(f"{path.stem}.calibration")


def stored_calibration(weights: Weights) -> list[npt.NDArray[np.float32]] | None:
    """What the encoder sees of the photos that lie beside the weights, None where there are none."""
    if not weights.path or not (beside := calibration_folder(weights.path)).is_dir():
        return None
    return read_calibration([beside], weights.variant.image_size)


def read_calibration(paths: Sequence[str | os.PathLike[str]], side: int) -> list[npt.NDArray[np.float32]]:
    """What the encoder sees of some images.

    Args:
        paths: image files, and folders of them.
        side: side of the encoder's image in pixels.

    Returns:
        float32 (3, side, side) each.

    Raises:
        ImageError: a file that is missing or no image, or a folder without any.
    """
    return [image_to_pixels(read_image(path), side) for path in _files(paths)]


def generated_calibration(side: int) -> list[npt.NDArray[np.float32]]:
    """Images for where no photos are at hand; the same every time.

    Sums of noise of all scales, which has the spectrum of photos, with flat and hard-edged shapes, the darkest and the
    brightest values, and fine stripes, which are harder on a network than photos are. They stand in for photos, and do
    not replace them: how large activations become on photos, only photos say.
    """
    return [image_to_pixels(image, side) for image in _generate(np.random.default_rng(0))]


def _files(paths: Sequence[str | os.PathLike[str]]) -> Iterator[Path]:
    for path in map(Path, paths):
        if not path.is_dir():
            yield path
            continue
        if not (found := image_files(path)):
            raise ImageError(f"calibration: expected images in {path}, got none")
        yield from found


def _generate(rng: np.random.Generator) -> Iterator[npt.NDArray[np.uint8]]:
    for index in range(GENERATED):
        image = np.zeros((SIDE, SIDE, 3))
        for octave in range(1, 9):
            noise = rng.uniform(-1, 1, (2**octave + 1, 2**octave + 1, 3))
            channels = [Image.fromarray(noise[..., c].astype(np.float32)) for c in range(3)]
            layers = [np.asarray(c.resize((SIDE, SIDE), Image.Resampling.BICUBIC)) for c in channels]
            image += np.stack(layers, -1) / octave
        image = 127.5 + 90 * image
        for _ in range(8):
            y, x = rng.integers(0, SIDE, 2)
            height, width = rng.integers(8, SIDE // 2, 2)
            image[y : y + height, x : x + width] = rng.choice([0, 255, rng.uniform(0, 255)], 3)
        if index % 2:
            y, period = rng.integers(0, SIDE // 2), rng.integers(2, 8)
            image[y : y + SIDE // 4] = 255 * (np.arange(SIDE) // period % 2)[None, :, None]
        yield image.clip(0, 255).astype(np.uint8)
