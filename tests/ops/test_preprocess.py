"""From photo to pixels: the resize against Pillow itself, bit for bit, and the pixels against the specification."""

from __future__ import annotations

from typing import Any

import numpy as np
import PIL
import pytest
from PIL import Image

from evsam import _C, ops
from evsam.transforms import fitted_size, image_to_pixels, resize_image

PILLOW_13 = int(PIL.__version__.split(".")[0]) >= 13


def random_photo(height: int, width: int, seed: int = 0) -> np.ndarray:
    """Noise with many extreme values, where rounding and clamping show."""
    rng = np.random.default_rng(seed)
    photo = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    photo[rng.random((height, width)) < 0.3] = 255
    photo[rng.random((height, width)) < 0.2] = 0
    return photo


def resize(photo: np.ndarray, size: int) -> np.ndarray:
    """Pillow's passes in the order of its version 13, whatever version this is."""
    height, width = fitted_size(photo.shape[:2], size)
    rows_first = height < photo.shape[0] and photo.shape[0] - height > 2 * (photo.shape[1] - width)
    between = (photo.shape[1], height) if rows_first else (width, photo.shape[0])
    image = Image.fromarray(photo).resize(between, Image.Resampling.BILINEAR)
    return np.asarray(image.resize((width, height), Image.Resampling.BILINEAR))


def check(photo: np.ndarray, size: int, threads: int = 2) -> None:
    expected = resize(photo, size)
    if PILLOW_13:
        np.testing.assert_array_equal(resize_image(photo, size), expected)
    resized = _C.resize_image(photo, size, threads=threads)
    assert resized.dtype == np.uint8
    np.testing.assert_array_equal(resized, expected)
    pixels = _C.preprocess(photo, size, threads=threads)
    assert pixels.dtype == np.float32
    if PILLOW_13:
        np.testing.assert_array_equal(pixels, image_to_pixels(photo, size).transpose(1, 2, 0))
    else:
        np.testing.assert_allclose(pixels, image_to_pixels(photo, size).transpose(1, 2, 0), atol=0.02)


@pytest.mark.parametrize("size", [512, 1024])
@pytest.mark.parametrize("name", ["astronaut", "coffee", "chelsea", "rocket"])
def test_photos(name: str, size: int) -> None:
    data: Any = pytest.importorskip("skimage.data")
    check(np.ascontiguousarray(getattr(data, name)()), size)


@pytest.mark.parametrize(
    ("height", "width"),
    [
        (720, 1280),
        (1080, 1920),
        (512, 512),  # nothing to do
        (512, 300),
        (300, 512),
        (1, 1),
        (1, 5000),
        (5000, 1),
        (2, 3),
        (511, 513),
        (97, 1021),
        (3000, 7),
        (17, 2500),
        (1200, 400),  # rows first
        (1600, 720),
    ],
)
def test_sizes(height: int, width: int) -> None:
    check(random_photo(height, width), 512)


def test_random_sizes() -> None:
    rng = np.random.default_rng(1)
    for seed in range(40):
        height, width = rng.integers(1, 400, 2)
        check(random_photo(int(height), int(width), seed), int(rng.integers(1, 300)), threads=1 + seed % 4)


def test_large_photo() -> None:
    check(random_photo(4000, 6000), 1024)


def test_strided_rows() -> None:
    base = random_photo(200, 310)
    np.testing.assert_array_equal(
        _C.preprocess(base[20:180:3, 5:300], 128), _C.preprocess(base[20:180:3, 5:300].copy(), 128)
    )


def test_same_bits_with_any_number_of_threads() -> None:
    photo = random_photo(719, 1277)
    alone = _C.preprocess(photo, 512, threads=1)
    for threads in (2, 3, 4):
        np.testing.assert_array_equal(_C.preprocess(photo, 512, threads=threads), alone)


@pytest.mark.parametrize(
    ("image", "size", "error", "message"),
    [
        (np.zeros((4, 4, 3), np.float32), 8, TypeError, "image: expected uint8, got float32"),
        (np.zeros((4, 4), np.uint8), 8, ValueError, r"image: expected shape \(H, W, 3\), got \(4, 4\)"),
        (np.zeros((4, 4, 4), np.uint8), 8, ValueError, r"image: expected shape \(H, W, 3\), got \(4, 4, 4\)"),
        (np.zeros((0, 4, 3), np.uint8), 8, ValueError, r"image: expected no empty axis, got \(0, 4, 3\)"),
        (np.zeros((4, 4, 3), np.uint8), 0, ValueError, "size: expected at least 1, got 0"),
        (np.zeros((4, 8, 3), np.uint8)[:, ::2], 8, ValueError, "image: expected contiguous rows, got strides"),
        (np.zeros((4, 4, 3), np.uint8)[::-1], 8, ValueError, "image: expected rows at least 12 bytes apart, got -12"),
    ],
)
def test_errors(image: np.ndarray, size: int, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        _C.preprocess(image, size)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"dtype": "float64"}, "dtype: expected float32 or float16, got 'float64'"),
        ({"channels": 2}, "channels: expected 3 or 8, got 2"),
    ],
)
def test_results_that_no_encoder_reads(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ops.preprocess(np.zeros((4, 4, 3), np.uint8), 8, **change)
