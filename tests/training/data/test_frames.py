"""Whole photos for distillation: images of both sizes, prompts, cached embeddings."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, cast

import numpy as np
import pytest
import torch

from evsam.datasets.records import Annotation, BrokenSample, Photo
from evsam.training.config import ConfigError
from evsam.training.data import frames
from evsam.training.data.embeddings import EmbeddingCache
from evsam.training.data.frames import FrameBatch, FrameMaker, FrameSample
from evsam.training.data.mix import Mix
from evsam.training.data.pixels import frame_pixels, place
from evsam.training.data.sources import NamedSource
from evsam.training.data.stream import BatchStream, loader
from evsam.transforms import fitted_size, image_to_pixels
from tests.training.tiny import photo

SHAPES = [(48, 80), (80, 48), (31, 200), (64, 64), (1, 90)]


def sample(maker: FrameMaker, one: Photo, seed: int = 0) -> FrameSample:
    return maker.sample(one, None, random.Random(seed))


def batch(maker: FrameMaker, photos: Sequence[Photo], seed: int = 0) -> FrameBatch:
    return maker.collate([sample(maker, one, seed) for one in photos], None, ["one: gone"])


@pytest.mark.parametrize("shape", SHAPES)
def test_pixels_are_those_of_inference(shape: tuple[int, int]) -> None:
    maker = FrameMaker(image_size=64, teacher_size=96)
    one = photo(3, shape)
    made = batch(maker, [one])
    pixels = frame_pixels(made.images, made.extents)
    np.testing.assert_array_equal(pixels[0].numpy(), image_to_pixels(one.pixels(), 64))
    assert made.teacher_images is not None
    assert made.teacher_extents is not None
    pixels = frame_pixels(made.teacher_images, made.teacher_extents)
    np.testing.assert_array_equal(pixels[0].numpy(), image_to_pixels(one.pixels(), 96))


def test_one_image_serves_both_where_the_sizes_are_alike() -> None:
    made = batch(FrameMaker(image_size=64, teacher_size=64), [photo(0), photo(1, (80, 48))])
    assert made.images.shape == (2, 64, 64, 3)
    assert made.images.dtype == torch.uint8
    assert made.extents.tolist() == [list(fitted_size((48, 80), 64)), list(fitted_size((80, 48), 64))]
    assert made.teacher_images is None
    assert made.teacher_extents is None
    assert made.embeddings == ()
    assert made.keys == ("photo0", "photo1")
    assert made.broken == ("one: gone",)
    assert made.points.shape == (0, 2, 2)


def test_both_images_are_mirrored_together() -> None:
    maker = FrameMaker(image_size=64, teacher_size=32, flip=0.5)
    one = photo(0)
    images = {mirrored: place(one.pixels(), 64, mirrored)[0].tobytes() for mirrored in (False, True)}
    teachers = {mirrored: place(one.pixels(), 32, mirrored)[0].tobytes() for mirrored in (False, True)}
    seen = []
    for seed in range(20):
        made = sample(maker, one, seed)
        assert made.teacher_image is not None
        mirrored = made.image.tobytes() == images[True]
        assert made.image.tobytes() == images[mirrored]
        assert made.teacher_image.tobytes() == teachers[mirrored]
        seen.append(mirrored)
    assert 4 < sum(seen) < 16


def mask_at(left: int, top: int, size: tuple[int, int] = (48, 80)) -> np.ndarray:
    mask = np.zeros(size, bool)
    mask[top : top + 10, left : left + 20] = True
    return mask


@pytest.mark.parametrize("flip", [0.0, 1.0])
def test_prompts_point_at_masks(flip: float) -> None:
    maker = FrameMaker(image_size=64, teacher_size=64, flip=flip, prompts=2)
    one = photo(0, masks=[mask_at(5, 30)])
    # the frame is 1024 / 80 as large as the photo
    low, high = (5, 30), (25, 40)
    if flip:
        low, high = (80 - 25, 30), (80 - 5, 40)
    low_x, low_y, high_x, high_y = (value * 1024 / 80 for value in (*low, *high))
    kinds = set()
    for seed in range(30):
        made = sample(maker, one, seed)
        assert made.points.dtype == np.float32
        kinds.add(tuple(made.labels[0]))
        if made.labels[0, 0] == 2:
            np.testing.assert_allclose(made.points[0], [[low_x, low_y], [high_x, high_y]], rtol=0.002)
        else:
            x, y = made.points[0, 0]
            assert low_x < x < high_x
            assert low_y * 0.99 < y < high_y * 1.01  # the photo's height in the frame is rounded
        # there is no second mask, so the second prompt is a click anywhere on the photo
        assert made.labels[1].tolist() == [1, -1]
        assert 0 < made.points[1, 0, 0] < 1024
        assert 0 < made.points[1, 0, 1] < fitted_size((48, 80))[0]
    assert kinds == {(2, 3), (1, -1)}


def test_prompts_are_of_different_masks() -> None:
    maker = FrameMaker(image_size=64, teacher_size=64, prompts=3)
    one = photo(0, masks=[mask_at(left, 5) for left in (0, 20, 40)])
    for seed in range(10):
        points = sample(maker, one, seed).points
        # a box begins and a click lies within 20 pixels of its mask's left border
        assert sorted(int(x / (20 * 1024 / 80)) for x in points[:, 0, 0]) == [0, 1, 2]


def test_clicks_on_masks_of_another_size_are_a_broken_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frames, "BOX_SHARE", 0.0)
    maker = FrameMaker(image_size=64, teacher_size=64, prompts=1)
    one = photo(0, masks=[mask_at(5, 5, (40, 40))])
    with pytest.raises(BrokenSample, match=r"photo0: expected masks of 48 x 80 pixels .*got size \[40, 40\]"):
        sample(maker, one)


def test_clicks_on_masks_that_do_not_decode_are_a_broken_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frames, "BOX_SHARE", 0.0)
    maker = FrameMaker(image_size=64, teacher_size=64, prompts=1)
    one = replace(photo(0), annotations=(Annotation({"size": [48, 80]}, (0, 0, 1, 1), 1),))
    with pytest.raises(BrokenSample, match="photo0: a mask cannot be decoded"):
        sample(maker, one)


def test_an_empty_mask_gets_a_click_somewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frames, "BOX_SHARE", 0.0)
    maker = FrameMaker(image_size=64, teacher_size=64, prompts=1)
    made = sample(maker, photo(0, masks=[np.zeros((48, 80), bool)]))
    assert made.labels.tolist() == [[1, -1]]
    assert 0 < made.points[0, 0, 0] < 1024


class FakeCache:
    """What a cache gives, for any key."""

    def get(self, key: str, content: bytes) -> tuple[np.ndarray, ...]:
        if key == "photo1":
            raise BrokenSample(key, "when embeddings were cached: gone")
        return np.full((4, 2, 2), 0.5, np.float16), np.full((8, 1, 1), 2, np.float16)


def test_cached_embeddings_take_the_place_of_the_teachers_image() -> None:
    maker = FrameMaker(image_size=64, cache=cast(EmbeddingCache, FakeCache()))
    made = batch(maker, [photo(0), photo(2)])
    assert made.teacher_images is None
    assert [maps.shape for maps in made.embeddings] == [(2, 4, 2, 2), (2, 8, 1, 1)]
    assert {maps.dtype for maps in made.embeddings} == {torch.float16}
    with pytest.raises(BrokenSample, match="photo1"):
        sample(maker, photo(1))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "expected either a teacher or cached embeddings"),
        ({"teacher_size": 64, "cache": FakeCache()}, "expected either a teacher or cached embeddings"),
        ({"cache": FakeCache(), "flip": 0.5}, r"flip: .* expected 0, got 0\.5"),
    ],
)
def test_what_does_not_go_together(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        FrameMaker(image_size=64, **arguments)


class Listed:
    """A source of which some photos cannot be had."""

    def __init__(self, photos: list[Photo]) -> None:
        self.photos = photos

    def __len__(self) -> int:
        return len(self.photos) + 1

    def __getitem__(self, index: int, /) -> Photo:
        if index == len(self.photos):
            raise BrokenSample("last", "no annotations")
        return self.photos[index]


def test_named_sources_have_keys_of_their_own() -> None:
    source = NamedSource("noise", Listed([photo(0), photo(1)]))
    assert len(source) == 3
    assert [source[0].key, source[1].key] == ["noise/photo0", "noise/photo1"]
    np.testing.assert_array_equal(source[1].pixels(), photo(1).pixels())
    with pytest.raises(BrokenSample, match=r"^noise/last: no annotations$"):
        source[2]
    assert sum(source.groups) == 3


@pytest.mark.parametrize("workers", [0, 2])
def test_a_stream_delivers_frames(workers: int) -> None:
    mix = Mix({"noise": NamedSource("noise", Listed([photo(0), photo(1)]))}, {"noise": 1.0}, seed=0)
    maker = FrameMaker(64, 32, prompts=1)
    batches = iter(loader(BatchStream(mix, maker, images=2, seed=0), workers=workers))
    keys: set[str] = set()
    broken: list[str] = []
    for _ in range(4):
        made = next(batches)
        assert isinstance(made, FrameBatch)
        assert made.images.shape == (2, 64, 64, 3)
        assert made.teacher_images is not None
        assert made.teacher_images.shape == (2, 32, 32, 3)
        assert made.points.shape == (2, 2, 2)
        keys |= set(made.keys)
        broken += made.broken
    assert keys == {"noise/photo0", "noise/photo1"}
    assert set(broken) == {"noise/last: no annotations"}
