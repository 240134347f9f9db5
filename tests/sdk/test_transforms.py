from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from PIL import Image

from evsam import transforms
from evsam.transforms import (
    fitted_size,
    image_to_pixels,
    masks_from_logits,
    points_to_frame,
    resize_image,
    upscale_logits,
)

SIZES = [(1, 1), (1, 2000), (2000, 1), (3, 5), (400, 600), (451, 300), (1024, 1024), (683, 1024), (1500, 1100)]


@pytest.mark.parametrize(
    ("size", "side", "expected"),
    [
        ((400, 600), 1024, (683, 1024)),
        ((400, 600), 512, (341, 512)),  # 341.33
        ((601, 400), 1024, (1024, 682)),  # 681.53: rounded, not cut
        ((1, 2000), 1024, (1, 1024)),
        ((1, 5000), 1024, (1, 1024)),  # 0.2 would be no pixel at all
        ((5000, 1), 512, (512, 1)),
        ((1, 1), 1024, (1024, 1024)),
        ((3, 2), 1, (1, 1)),  # 0.67 rounds up
    ],
)
def test_fitted_size(size, side, expected) -> None:
    assert fitted_size(size, side) == expected


def test_resize_is_pillows_bilinear() -> None:
    image = np.random.default_rng(0).integers(0, 256, (50, 30, 3), np.uint8)
    expected = np.asarray(Image.fromarray(image).resize((61, 102), Image.Resampling.BILINEAR))
    assert np.array_equal(resize_image(image, 102), expected)
    assert resize_image(image, 50) is image


def test_pixels_are_normalised_before_they_are_padded() -> None:
    image = np.full((10, 20, 3), (255, 0, 124), np.uint8)
    pixels = image_to_pixels(image, 64)
    assert pixels.shape == (3, 64, 64)
    assert pixels.dtype == np.float32
    inside = pixels[:, :32]
    expected = (np.array([255, 0, 124]) - [123.675, 116.28, 103.53]) / [58.395, 57.12, 57.375]
    np.testing.assert_allclose(inside, np.broadcast_to(expected[:, None, None], inside.shape), rtol=1e-6)
    assert not pixels[:, 32:].any()


def test_golden_resized_photo(photo) -> None:
    from tests.golden.cases import load

    golden = load("l0_coffee")
    resized = resize_image(photo(golden.image), 512)
    assert np.array_equal(resized[::8, ::8], golden.arrays["resized_uint8_sub"])


def test_points_scale_by_axis() -> None:
    points = points_to_frame(np.array([[[30.0, 20.0]]]), (400, 600), (683, 1024))
    np.testing.assert_allclose(points, [[[30 * 1024 / 600, 20 * 683 / 400]]], rtol=1e-7)


def _logits(seed: int, prompts: int = 2, masks: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((prompts, masks, 256, 256)).astype(np.float32)


@pytest.mark.parametrize("size", SIZES)
def test_upscaled_logits_equal_torchs(size) -> None:
    torch = pytest.importorskip("torch")
    logits = _logits(1)
    resized = fitted_size(size)
    x = torch.nn.functional.interpolate(torch.from_numpy(logits).double(), (1024, 1024), mode="bilinear")
    x = torch.nn.functional.interpolate(x[..., : resized[0], : resized[1]], size, mode="bilinear")
    np.testing.assert_allclose(upscale_logits(logits, resized, size), x.numpy(), atol=1e-5)


def test_masks_are_logits_above_zero() -> None:
    logits = _logits(2, 2, 3)
    masks = masks_from_logits(logits, (683, 1024), (200, 300))
    assert masks.dtype == bool
    assert np.array_equal(masks, upscale_logits(logits, (683, 1024), (200, 300)) > 0)


def test_bands_do_not_show(monkeypatch) -> None:
    logits = _logits(3)
    whole = upscale_logits(logits, (1024, 700), (300, 205))
    monkeypatch.setattr(transforms, "BAND_ELEMENTS", 205 * 7)
    assert np.array_equal(upscale_logits(logits, (1024, 700), (300, 205)), whole)


def test_memory_for_many_masks_stays_near_the_result() -> None:
    logits, size = _logits(4, 12), (2000, 1500)
    tracemalloc.start()
    masks = masks_from_logits(logits, fitted_size(size), size)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < masks.nbytes + 100 * 2**20  # all logits at full size would take 144 MB beside the 36 MB of masks
