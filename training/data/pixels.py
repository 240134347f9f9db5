"""Arrays of pixels: masks on coarser grids and straight from run-length encodings, photos as encoders read them."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import torch
from scipy import sparse
from torch import Tensor

from evsam.datasets.records import UInt8
from evsam.transforms import resize_image
from evsam.zoo import PIXEL_MEAN, PIXEL_STD

FILL = (124, 116, 104)
"""Colour of what lies outside the photo: zero after normalisation, as padding is at inference."""

Indices = npt.NDArray[np.int64]


def sample_mask(ends: Indices, height: int, rows: Indices, columns: Indices) -> UInt8:
    """Some pixels of a mask, straight from its run-length encoding.

    Decoding a mask of a 3-megapixel photo takes milliseconds, and SA-1B has dozens of them in each photo, while a
    sample needs far fewer pixels: here the cost is that of the runs and of the pixels asked for.

    Args:
        ends: of its runs, see :func:`evsam.rle.run_ends`.
        height: of the mask.
        rows: which rows, ascending; repetitions are fine.
        columns: which columns, likewise.

    Returns:
        uint8 (rows, columns), 0 or 1, Fortran order: ``mask[rows][:, columns]``.
    """
    column, row = np.divmod(ends, height)
    different, places = np.unique(columns, return_inverse=True)
    # the pixels asked for, column by column, are a mask too: find where in it each run ends
    before = np.searchsorted(different, column)
    through = np.searchsorted(different, column, "right")
    lengths = np.diff(before * len(rows) + (through - before) * np.searchsorted(rows, row), prepend=0)
    values = (np.arange(len(ends)) & 1).astype(np.uint8)
    return np.repeat(values, lengths).reshape(len(different), len(rows))[places].T


def coverage(mask: UInt8, side: int) -> npt.NDArray[np.float16]:
    """Part of each cell that a mask covers.

    Args:
        mask: (S, S), 0 or 1.
        side: cells along each side. Where they do not divide S, border pixels count by the part that is in the cell.

    Returns:
        float16 (side, side), 0 to 1.
    """
    pixels = mask.shape[0]
    overlaps = _overlaps(pixels, side)
    columns = np.flatnonzero(mask.max(0))
    if not len(columns):
        return np.zeros((side, side), np.float16)
    # most masks are small: only columns with something in them are added up
    used = slice(columns[0], columns[-1] + 1)
    turned = np.zeros((pixels, side), np.float32)
    turned[used] = (overlaps @ mask[:, used].astype(np.float32)).T
    # sums of whole numbers below 2 ** 24, hence exact
    total = (overlaps @ turned).T
    return (total / np.float32((pixels // math.gcd(pixels, side)) ** 2)).astype(np.float16)


@lru_cache(maxsize=16)
def _overlaps(pixels: int, cells: int) -> sparse.csr_array:
    """(cells, pixels): how much of each cell each pixel fills along one axis, in the largest unit that divides both."""
    unit = math.gcd(pixels, cells)
    pixel, cell = cells // unit, pixels // unit  # their lengths
    starts, first = np.arange(pixels) * pixel, np.arange(cells) * cell
    overlap = np.minimum(first[:, None] + cell, starts + pixel) - np.maximum(first[:, None], starts)
    return sparse.csr_array(np.maximum(overlap, 0).astype(np.float32))


def place(pixels: UInt8, side: int, mirrored: bool = False) -> tuple[UInt8, tuple[int, int]]:
    """A photo at the top left of a square.

    Args:
        pixels: RGB (H, W, 3).
        side: of the square, which is the photo's longer side.
        mirrored: exchange left and right.

    Returns:
        uint8 (side, side, 3), zero beyond the photo; height and width of the photo in it.
    """
    resized = resize_image(pixels, side)
    height, width = resized.shape[:2]
    image = np.zeros((side, side, 3), np.uint8)
    image[:height, :width] = resized[:, ::-1] if mirrored else resized
    return image, (height, width)


def frame_pixels(images: Tensor, extents: Tensor) -> Tensor:
    """What an encoder reads, as :func:`evsam.transforms.image_to_pixels` makes it, on the device of the images.

    Args:
        images: uint8 (B, S, S, 3).
        extents: (B, 2), height and width of each photo.

    Returns:
        float32 (B, 3, S, S): normalised, zero beyond the photo.
    """
    inside = cells_inside(extents, images.shape[1], (images.shape[1], images.shape[2]))
    return torch.where(inside[:, None], normalise(images), 0.0)


def cells_inside(extents: Tensor, side: int, grid: tuple[int, int]) -> Tensor:
    """Which cells of a grid over a square image hold some of the photo.

    Args:
        extents: (B, 2), height and width of each photo in pixels.
        side: of the image in pixels.
        grid: rows and columns.

    Returns:
        bool (B, *grid).
    """
    rows, columns = (torch.arange(count, device=extents.device) * (side / count) for count in grid)
    return (rows < extents[:, :1])[:, :, None] & (columns < extents[:, 1:])[:, None, :]


def normalise(images: Tensor) -> Tensor:
    """Float (B, 3, H, W) in units of the pixel statistics from uint8 (B, H, W, 3), channels last in memory."""
    mean = torch.tensor(PIXEL_MEAN, device=images.device)
    std = torch.tensor(PIXEL_STD, device=images.device)
    return ((images.float() - mean) / std).permute(0, 3, 1, 2)


def padding(images: Tensor) -> Tensor:
    """Which pixels (B, 1, H, W) of uint8 images (B, H, W, 3) have the colour of padding."""
    return (images == torch.tensor(FILL, dtype=torch.uint8, device=images.device)).all(-1)[:, None]


def colour_jitter(images: Tensor, generator: torch.Generator) -> Tensor:
    """Random saturation, contrast, colour cast and brightness per normalised image (B, 3, H, W)."""
    count, device = len(images), images.device

    def even() -> Tensor:
        return torch.rand(count, 1, 1, 1, device=device, generator=generator)

    def normal(channels: int) -> Tensor:
        return torch.randn(count, channels, 1, 1, device=device, generator=generator)

    grey = images.mean(1, keepdim=True)
    images = torch.lerp(images, grey, (even() * 1.2 - 0.3).clamp(-0.3, 0.8))
    gain, cast = 1 + 0.25 * (2 * even() - 1), 1 + 0.08 * normal(3)
    return images * gain * cast + 0.25 * normal(1)
