"""Augmented samples: shapes, prompts that fit their masks, whole frames, several sizes, small masks."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from evsam.boxes import bounding_box
from evsam.datasets.annotated import read_set
from evsam.datasets.records import BrokenSample, Photo, UInt8, measured
from evsam.training.data.mix import Mix
from evsam.training.data.samples import Batch, Crop, Plan, SampleConfig, SampleMaker, window
from evsam.training.data.stream import BatchStream
from evsam.training.prompts import PromptConfig
from evsam.transforms import resize_image
from tests.datasets.made import encode, png

CROPS = SampleConfig(size=128, image_size=256, masks=3)
PROMPTS = PromptConfig()
WHOLE = SampleConfig(size=320, image_size=320, scale=(1, 1), stretch=0, shift=False, flip=0, paste=0)
FRAME = 1024 / 256
"""Pixels of the frame in a pixel of the crop."""


def changed(prompts: PromptConfig = PROMPTS, **changes: Any) -> PromptConfig:
    return PromptConfig.model_validate({**prompts.model_dump(), **changes})


def draw(data_dir: Path, count: int, images: int = 2, prompts: PromptConfig = PROMPTS, **changes: Any) -> list[Batch]:
    """Batches of crops, with objects pasted from other photos."""
    mix = Mix({name: read_set(data_dir, "train", name) for name in ("blobs", "more")}, {"blobs": 2, "more": 1}, 0)
    config = SampleConfig.model_validate({**CROPS.model_dump(), **changes})
    maker = SampleMaker(config, prompts, lambda rng: mix.photo(rng.randrange(mix.epoch_size)))
    stream = BatchStream(mix, maker, images=images, seed=0)
    return [stream.batch(number) for number in range(count)]


def photo_of(*masks: UInt8, pixels: UInt8 | None = None) -> Photo:
    """A photo, grey where no pixels are given, with masks."""
    content = png(np.full((*masks[0].shape, 3), 128, np.uint8) if pixels is None else pixels)
    return Photo("made", tuple(measured(encode(mask)) for mask in masks), lambda: content)


def box_mask(size: tuple[int, int], left: int, top: int, right: int, bottom: int) -> UInt8:
    mask = np.zeros(size, np.uint8)
    mask[top:bottom, left:right] = 1
    return mask


def sample(maker: SampleMaker, photo: Photo, seed: int = 0) -> Any:
    return maker.sample(photo, maker.plan(random.Random(seed)), random.Random(seed))


def test_shapes_and_ranges(data_dir: Path) -> None:
    tokens_seen, counts_seen = set(), set()
    for batch in draw(data_dir, 14):
        count, tokens = batch.points.shape[:2]
        tokens_seen.add(tokens)
        counts_seen.add(count)
        assert batch.images.shape == (2, 128, 128, 3)
        assert batch.targets.shape == (count, 128, 128)
        assert batch.labels.shape == (count, tokens)
        assert [part.dtype for part in batch[:5]] == [
            torch.uint8, torch.float16, torch.float32, torch.int64, torch.int64,
        ]  # fmt: skip
        assert batch.index.unique().tolist() == [0, 1]
        assert (batch.index.diff() >= 0).all()
        assert batch.index.bincount().max() <= 3
        assert batch.targets.min() >= 0
        assert batch.targets.max() <= 1
        assert batch.targets.float().sum((1, 2)).min() > 0
        assert set(batch.labels.unique().tolist()) <= {-1, 0, 1, 2, 3}
        assert (batch.labels >= 0).any(1).all()
        assert batch.points.min() >= 0
        assert batch.points.max() <= 128 * FRAME
        assert batch.broken == ()
    assert tokens_seen == {2, 3, 4}
    assert len(counts_seen) > 1  # masks are not repeated to fill up


def test_same_seed_same_samples(data_dir: Path) -> None:
    first, second = (draw(data_dir, 3) for _ in range(2))
    for a, b in zip(first, second, strict=True):
        for x, y in zip(a[:5], b[:5], strict=True):
            assert x.equal(y)


def test_masks_are_not_repeated() -> None:
    masks = [box_mask((160, 200), 10 + 30 * i, 20, 30 + 30 * i, 60 + 10 * i) for i in range(6)]
    config = WHOLE.model_copy(update={"masks": 64})
    found = sample(SampleMaker(config, PROMPTS), photo_of(*masks))
    assert len(found.targets) == 6
    assert len({target.tobytes() for target in found.targets}) == 6
    assert len(sample(SampleMaker(WHOLE.model_copy(update={"masks": 4}), PROMPTS), photo_of(*masks)).targets) == 4


def test_larger_masks_are_drawn_more_often() -> None:
    small, large = box_mask((160, 160), 10, 10, 20, 20), box_mask((160, 160), 40, 40, 140, 140)
    shares = []
    for power in (0.0, 1.0):
        maker = SampleMaker(WHOLE.model_copy(update={"masks": 1, "area_power": power}), PROMPTS)
        found = [sample(maker, photo_of(small, large), seed).targets.sum() > 1000 for seed in range(60)]
        shares.append(np.mean(found))
    assert 0.3 < shares[0] < 0.7
    assert shares[1] > 0.9


def test_batches_say_what_was_broken() -> None:
    maker = SampleMaker(CROPS, PROMPTS)
    plan = Plan(2, 128, 0.5)
    photo = photo_of(box_mask((160, 160), 40, 40, 140, 140))
    batch = maker.collate([maker.sample(photo, plan, random.Random(0))], plan, ["x: bad"])
    assert batch.broken == ("x: bad",)
    assert batch.index.tolist() == [0]


def test_whole_frames_lie_as_at_inference() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (120, 161, 3)).astype(np.uint8)
    maker = SampleMaker(WHOLE, changed(box=1, jitter=0))
    for seed in range(4):
        found = sample(maker, photo_of(box_mask((120, 161), 40, 30, 80, 60), pixels=pixels), seed)
        resized = resize_image(pixels, 320)
        assert np.array_equal(found.image[: len(resized)], resized)
        assert (found.image[len(resized) :] == (124, 116, 104)).all()
        scale = 1024 / 161
        np.testing.assert_allclose(found.points[0, :2].ravel(), scale * np.array([40, 30, 80, 60]), atol=1024 / 320)
        assert found.targets.shape == (1, 256, 256)


def test_flipped_photos_stay_at_the_top_left() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (160, 120, 3)).astype(np.uint8)
    photo = photo_of(box_mask((160, 120), 20, 30, 80, 60), pixels=pixels)
    flipped = sample(SampleMaker(WHOLE.model_copy(update={"flip": 1.0}), changed(box=1, jitter=0)), photo)
    plain = sample(SampleMaker(WHOLE, changed(box=1, jitter=0)), photo)
    assert np.array_equal(flipped.image[:, :240], plain.image[:, :240][:, ::-1])
    assert np.array_equal(flipped.image[:, 240:], plain.image[:, 240:])
    assert np.array_equal(flipped.targets[0, :, :192], plain.targets[0, :, :192][:, ::-1])
    (x0, y0), (x1, y1) = plain.points[0, :2]
    assert flipped.points[0, :2].tolist() == [[768 - x1, y0], [768 - x0, y1]]


def test_several_sizes_fill_the_same_targets() -> None:
    config = WHOLE.model_copy(update={"sizes": (128, 320, 384, 512)})
    maker = SampleMaker(config, changed(box=1, jitter=0))
    seen = set()
    for seed in range(20):
        plan = maker.plan(random.Random(seed))
        seen.add(plan.size)
        found = maker.sample(photo_of(box_mask((90, 160), 40, 30, 80, 60)), plan, random.Random(seed))
        assert found.image.shape == (plan.size, plan.size, 3)
        assert bounding_box(found.targets[0] > 0.5) == (64, 48, 128, 96)
        assert found.points[0, :2].ravel().tolist() == pytest.approx([256, 192, 512, 384], abs=8)
    assert seen == {128, 320, 384, 512}


@pytest.mark.parametrize("mirrored", [False, True])
def test_pixels_and_masks_of_a_crop_fit(mirrored: bool) -> None:
    """An object that differs from its surroundings in colour is found where its mask is, at any scale."""
    rng = random.Random(3)
    photo = np.full((70, 110, 3), 40, np.uint8)
    mask = box_mask((70, 110), 30, 20, 71, 50)
    photo[mask > 0] = 220
    annotation = measured(encode(mask))
    for _ in range(20):
        scale = (rng.uniform(0.4, 3), rng.uniform(0.4, 3))
        start = tuple(
            window(rng, annotation.box[i], annotation.box[2 + i], 96 / scale[i], (110, 70)[i], True) for i in range(2)
        )
        crop = Crop(96, (70, 110), (start[0], start[1]), scale, mirrored)
        found = crop.mask(annotation, 1, 0.0)
        assert found is not None
        bright = crop.image(photo).mean(2) > 130
        assert (bright != found).sum() <= 4 * 96  # along the border
        assert (bright & (found > 0)).sum() > 0.8 * found.sum()


@pytest.mark.parametrize("scale", [(2.0, 0.5), (0.5, 2.0), (1.0, 1.0)])
def test_how_much_of_a_stretched_mask_is_visible(scale: tuple[float, float]) -> None:
    annotation = measured(encode(box_mask((40, 40), 10, 10, 30, 30)))
    whole = Crop(96, (40, 40), (0.0, 0.0), scale, False)
    found = whole.mask(annotation, 1, 0.95)
    assert found is not None
    assert found.sum() == 400 * scale[0] * scale[1]
    half = Crop(96, (40, 40), (20.0, 0.0), scale, False)
    assert half.mask(annotation, 1, 0.45) is not None
    assert half.mask(annotation, 1, 0.55) is None


def test_windows_hold_the_object_and_stay_in_the_photo() -> None:
    rng = random.Random(0)
    starts = [window(rng, 30, 20, 50, 100, True) for _ in range(200)]
    assert min(starts) >= 0
    assert max(starts) <= 30
    assert len(set(starts)) > 100
    inside = [window(rng, 30, 60, 20, 100, True) for _ in range(200)]  # larger than the window
    assert min(inside) >= 30
    assert max(inside) <= 70
    larger = [window(rng, 30, 20, 150, 100, True) for _ in range(200)]
    assert min(larger) >= -50
    assert 50 < larger.count(0.0) < 150
    assert {window(rng, 30, 20, 150, 100, False) for _ in range(50)} == {0.0}


def test_extreme_photos() -> None:
    maker = SampleMaker(WHOLE.model_copy(update={"min_pixels": 1}), PROMPTS)
    for size in ((1, 5000), (3000, 2), (1, 1)):
        found = sample(maker, photo_of(np.ones(size, np.uint8)))
        assert found.targets.any()


def boxes_of(batch: Batch) -> list[tuple[list[float], list[float]]]:
    """Boxes of the prompts and of the targets, in frame pixels."""
    return [
        (points[:2].ravel().tolist(), [FRAME * side for side in bounding_box(target > 0)])
        for target, points in zip(batch.targets.numpy(), batch.points.numpy(), strict=True)
    ]


def test_boxes_without_jitter_bound_the_mask(data_dir: Path) -> None:
    (batch,) = draw(data_dir, 1, 4, changed(box=1, jitter=0))
    assert (batch.labels[:, :2] == torch.tensor([2, 3])).all()
    for prompt, true in boxes_of(batch):
        assert prompt == true


def test_jittered_boxes_move_by_at_most_what_sam_allows(data_dir: Path) -> None:
    moved, furthest = 0, 0.0
    for batch in draw(data_dir, 12, 2, changed(box=1, jitter=1, jitter_limit=20)):
        assert (batch.points[:, 1] > batch.points[:, 0]).all()
        for prompt, true in boxes_of(batch):
            moved += prompt != true
            distance = np.abs(np.array(prompt) - true)
            sides = np.tile([true[2] - true[0], true[3] - true[1]], 2)
            assert (distance <= 20 + 1e-3).all()
            assert (distance <= 0.5 * sides).all()
            furthest = max(furthest, distance.max())
    assert moved > 30
    assert furthest > 15


def test_boxes_move_with_their_size_where_there_is_no_limit(data_dir: Path) -> None:
    parts = [
        (prompt[side] - true[side]) / (true[2 + side % 2] - true[side % 2])
        for batch in draw(data_dir, 12, 2, changed(box=1, jitter=1, jitter_limit=None))
        for prompt, true in boxes_of(batch)
        for side in range(4)
    ]
    assert np.std(parts) == pytest.approx(0.1, abs=0.02)


def test_clicks_have_the_right_label(data_dir: Path) -> None:
    counts: Counter[int] = Counter()
    for batch in draw(data_dir, 25, 2, changed(box=0, few=0.2)):
        assert (batch.labels[:, -1] == -1).all()  # the padding point that goes with clicks alone
        assert (batch.labels[:, 0] == 1).all()
        for target, points, labels in zip(batch.targets.numpy(), batch.points.numpy(), batch.labels, strict=True):
            for (x, y), label in zip(points / FRAME, labels.tolist(), strict=True):
                if label >= 0:
                    counts[label] += 1
                    assert target[int(y), int(x)] == label
    assert min(counts[0], counts[1]) > 10


def test_how_many_tokens_and_boxes() -> None:
    rng = random.Random(0)
    drawn = Counter(PROMPTS.draw(rng) for _ in range(4000))
    assert {key: round(count / 4000, 1) for key, count in drawn.items()} == {
        (2, 0.5): 0.6,
        (3, 0.5): 0.2,
        (4, 0.5): 0.2,
    }


def test_the_papers_prompts_are_boxes_alone_or_one_to_ten_clicks(data_dir: Path) -> None:
    paper = PromptConfig(jitter=0, clicks=(1, 10), few=0, mixed=False, negative=0, centre=0)
    seen: Counter[int] = Counter()
    for batch in draw(data_dir, 60, 1, paper):
        kinds = {tuple(labels) for labels in batch.labels.tolist()}
        assert len(kinds) == 1
        (labels,) = kinds
        if labels != (2, 3):
            assert labels == (1,) * (len(labels) - 1) + (-1,)
            seen[len(labels) - 1] += 1
    assert 18 < sum(seen.values()) < 42
    assert {1, 10} <= set(seen)
    assert max(seen) == 10


def test_pasting_puts_an_object_in_front() -> None:
    behind = photo_of(box_mask((256, 256), 60, 60, 200, 200), pixels=np.full((256, 256, 3), 10, np.uint8))
    front = photo_of(box_mask((256, 256), 60, 60, 140, 140), pixels=np.full((256, 256, 3), 240, np.uint8))
    config = WHOLE.model_copy(update={"size": 256, "image_size": 256, "paste": 1.0})
    found = sample(SampleMaker(config, PROMPTS, lambda rng: front), behind)
    pasted, rest = found.targets
    assert bounding_box(pasted > 0) == (60, 60, 140, 140)
    assert ((found.image[..., 0] == 240) == (pasted > 0)).all()
    assert rest.sum() == 140**2 - 80**2
    assert not (rest.astype(bool) & pasted.astype(bool)).any()
    # the whole of an object that is hidden is no object
    hiding = photo_of(box_mask((256, 256), 60, 60, 180, 180))
    small = photo_of(box_mask((256, 256), 100, 100, 120, 120))
    assert len(sample(SampleMaker(config, PROMPTS, lambda rng: hiding), small).targets) == 1
    assert len(sample(SampleMaker(config, PROMPTS), behind).targets) == 1


def test_what_is_mostly_hidden_is_left_out() -> None:
    front = photo_of(box_mask((256, 256), 60, 60, 140, 140))
    config = WHOLE.model_copy(update={"size": 256, "image_size": 256, "paste": 1.0})
    for right, kept in ((160, False), (190, True)):  # 20 of 60 columns are left, or 50 of 90
        behind = photo_of(box_mask((256, 256), 100, 60, right, 140))
        found = sample(SampleMaker(config, PROMPTS, lambda rng: front), behind)
        assert len(found.targets) == 1 + kept


def test_nothing_is_pasted_that_is_too_large_or_broken() -> None:
    behind = photo_of(box_mask((256, 256), 60, 60, 200, 200))
    config = WHOLE.model_copy(update={"size": 256, "image_size": 256, "paste": 1.0})
    found = sample(SampleMaker(config, PROMPTS, lambda rng: photo_of(np.ones((256, 256), np.uint8))), behind)
    assert len(found.targets) == 1
    assert (found.image == 128).all()
    found = sample(SampleMaker(config, PROMPTS, lambda rng: Photo("other", behind.annotations, bytes)), behind)
    assert len(found.targets) == 1
    assert (found.image == 128).all()


def test_a_photo_without_a_mask_that_is_large_enough_is_broken() -> None:
    photo = photo_of(box_mask((120, 160), 4, 3, 5, 4), np.zeros((120, 160), np.uint8))
    for config in (CROPS, WHOLE):
        with pytest.raises(BrokenSample, match="made: no mask of at least 50 pixels"):
            sample(SampleMaker(config, PROMPTS), photo)
    with pytest.raises(BrokenSample, match="made: it has no masks"):
        sample(SampleMaker(CROPS, PROMPTS), Photo("made", (), photo.read))


def test_crops_are_tried_again_where_they_can_be_others(monkeypatch: pytest.MonkeyPatch) -> None:
    photo = photo_of(box_mask((120, 160), 4, 3, 5, 4))
    tried: list[Crop] = []
    monkeypatch.setattr(Crop, "masks", lambda crop, *_: tried.append(crop))
    for config, expected in ((CROPS, 20), (WHOLE, 1)):
        with pytest.raises(BrokenSample):
            sample(SampleMaker(config, PROMPTS), photo)
        assert len(tried) == expected
        tried.clear()


def test_one_pixel_is_enough_where_one_pixel_is_asked_for() -> None:
    photo = photo_of(box_mask((160, 160), 4, 77, 5, 78))
    for config in (CROPS, WHOLE):
        maker = SampleMaker(config.model_copy(update={"min_pixels": 1, "flip": 0.5}), changed(jitter=1))
        for seed in range(20):
            found = sample(maker, photo, seed)
            assert found.targets.any()
            assert np.isfinite(found.points).all()


def test_masks_of_another_size_than_the_photo_are_broken() -> None:
    photo = photo_of(np.ones((120, 160), np.uint8))
    turned = Photo("turned", photo.annotations, lambda: png(np.zeros((160, 120, 3), np.uint8)))
    with pytest.raises(BrokenSample, match=r"turned: expected masks of 160 x 120 pixels .*got size \[120, 160\]"):
        sample(SampleMaker(CROPS, PROMPTS), turned)


def test_damaged_masks_are_broken() -> None:
    (annotation,) = photo_of(np.ones((120, 160), np.uint8)).annotations
    annotation.rle["counts"] = b"zz"
    photo = Photo("damaged", (annotation,), lambda: png(np.zeros((120, 160, 3), np.uint8)))
    with pytest.raises(BrokenSample, match=r"damaged: a mask of it cannot be read: rle: .* damaged text"):
        sample(SampleMaker(CROPS, PROMPTS), photo)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"size": 129, "image_size": 512}, "size: expected a multiple of 2"),
        ({"size": 100, "image_size": 1024}, None),
        ({"size": 101, "image_size": 1024, "sizes": (640,)}, None),
        ({"scale": (1.0, 0.5)}, "scale: expected the smallest"),
        ({"scale": (0.0, 0.5)}, "scale: expected the smallest"),
        ({"masks": 0}, "greater than or equal to 1"),
        ({"colour": 1}, "Extra inputs"),
    ],
)
def test_configurations(changes: dict[str, Any], message: str | None) -> None:
    if message is None:
        assert SampleConfig(**changes)
        return
    with pytest.raises(ValueError, match=message):
        SampleConfig(**changes)
