"""Reading photo sets and drawing augmented samples from them."""

from __future__ import annotations

import dataclasses
import random
from pathlib import Path

import numpy as np
import pytest

from evsam.training.data.samples import SampleConfig, SampleMaker, bounding_box, middle
from evsam.training.data.sets import list_sets, read_set

CONFIG = SampleConfig(size=128, masks=3, image_size=160)


def make(data_dir: Path, **changes: object) -> SampleMaker:
    sets = {name: read_set(data_dir, "train", name) for name in ("blobs", "more")}
    config = dataclasses.replace(CONFIG, **changes)
    return SampleMaker(sets, {"blobs": 1.0, "more": 0.5}, config)


def test_sets_are_found_and_read(data_dir: Path) -> None:
    assert list_sets(data_dir, "train") == ["blobs", "more"]
    photos = read_set(data_dir, "train", "blobs")
    assert len(photos) == 3
    for photo in photos:
        assert photo.pixels().shape == (120, 160, 3)
        for annotation in photo.annotations:
            mask = annotation.decode()
            assert mask.sum() == annotation.area
            x, y, w, h = annotation.box
            assert bounding_box(mask) == (x, y, x + w, y + h)


def test_shapes_and_ranges(data_dir: Path) -> None:
    maker, rng = make(data_dir), random.Random(0)
    seen_tokens = set()
    for _ in range(12):
        batch = maker.batch(rng, images=2)
        tokens = batch.points.shape[1]
        seen_tokens.add(tokens)
        assert batch.images.shape == (2, 128, 128, 3)
        assert batch.targets.shape == (6, 64, 64)
        assert batch.points.shape == (6, tokens, 2)
        assert batch.labels.shape == (6, tokens)
        assert batch.targets.min() >= 0
        assert batch.targets.max() <= 1
        assert batch.targets.float().sum((1, 2)).min() > 0
        assert set(batch.labels.unique().tolist()) <= {-1, 0, 1, 2, 3}
        assert (batch.labels >= 0).any(1).all()
        assert batch.points.min() >= 0
        assert batch.points.max() <= 128
    assert seen_tokens == {2, 3, 4}


def test_boxes_without_jitter_bound_the_mask(data_dir: Path) -> None:
    maker, rng = make(data_dir, box=1.0, jitter=0.0, paste=0.0), random.Random(1)
    batch = maker.batch(rng, images=4)
    for target, points, labels in zip(batch.targets.numpy(), batch.points.numpy(), batch.labels.numpy(), strict=True):
        assert labels[:2].tolist() == [2, 3]
        x0, y0, x1, y1 = bounding_box(target > 0)
        # targets have half the resolution
        np.testing.assert_allclose(points[:2].ravel() / 2, [x0, y0, x1, y1], atol=0.51)


def test_jittered_boxes_stay_boxes(data_dir: Path) -> None:
    maker, rng = make(data_dir, box=1.0, jitter=1.0), random.Random(2)
    moved = 0
    for _ in range(5):
        batch = maker.batch(rng, images=2)
        assert (batch.points[:, 1] > batch.points[:, 0]).all()
        for target, points in zip(batch.targets.numpy(), batch.points.numpy(), strict=True):
            moved += not np.allclose(points[:2].ravel() / 2, bounding_box(target > 0), atol=0.51)
    assert moved > 20


def test_clicks_have_the_right_label(data_dir: Path) -> None:
    maker, rng = make(data_dir, box=0.0), random.Random(3)
    counts = {0: 0, 1: 0}
    for _ in range(25):
        batch = maker.batch(rng, images=2)
        for target, points, labels in zip(batch.targets.numpy(), batch.points.numpy(), batch.labels, strict=True):
            for (x, y), label in zip(points, labels.tolist(), strict=True):
                if label < 0:
                    continue
                counts[label] += 1
                covered = float(target[int(y) // 2, int(x) // 2])
                assert covered > 0 if label == 1 else covered < 1
    assert min(counts.values()) > 3


def test_pasting_puts_an_object_in_front(data_dir: Path) -> None:
    plain, pasting = make(data_dir, paste=0.0), make(data_dir, paste=1.0)
    changed = 0
    for seed in range(10):
        before = plain.batch(random.Random(seed), images=1)
        after = pasting.batch(random.Random(seed), images=1)
        changed += not np.array_equal(before.images.numpy(), after.images.numpy())
    assert changed >= 5


def test_same_seed_same_samples(data_dir: Path) -> None:
    first, second = (make(data_dir).batch(random.Random(7), images=2) for _ in range(2))
    for a, b in zip(first, second, strict=True):
        assert a.equal(b)


def test_a_set_without_weight_is_never_drawn(data_dir: Path) -> None:
    sets = {name: read_set(data_dir, "train", name) for name in ("blobs", "more")}
    assert SampleMaker(sets, {"blobs": 1.0}, CONFIG).names == ["blobs"]


@pytest.mark.parametrize(("x", "y"), [(3, 2), (0, 0), (9, 7)])
def test_middle_of_a_single_pixel(x: int, y: int) -> None:
    mask = np.zeros((8, 10), bool)
    mask[y, x] = True
    assert middle(mask) == (x + 0.5, y + 0.5)


def test_middle_is_inside_a_ring() -> None:
    y, x = np.mgrid[:41, :41] - 20
    ring = (x**2 + y**2 <= 400) & (x**2 + y**2 >= 150)
    mx, my = middle(ring)
    assert ring[int(my), int(mx)]
