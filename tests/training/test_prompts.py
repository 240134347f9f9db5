"""First prompts, clicks on errors, and which mask is fed back."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
import torch

from evsam.evaluation.clicks import next_click
from evsam.training.prompts import (
    PromptConfig,
    deepest_click,
    error_click,
    first_prompt,
    object_click,
    pick,
)

PROMPTS = PromptConfig()


def changed(prompts: PromptConfig = PROMPTS, **changes: Any) -> PromptConfig:
    return PromptConfig.model_validate({**prompts.model_dump(), **changes})


def test_background_clicks_need_background() -> None:
    mask = np.ones((64, 64), np.uint8)
    _, labels = first_prompt(changed(negative=1), random.Random(0), mask, 4, 1.0, 1.0)
    _, clicks = first_prompt(changed(negative=1, mixed=False), random.Random(0), mask, 4, 0.0, 1.0)
    assert 0 not in labels
    assert clicks.tolist() == [1, 1, 1, -1]


@pytest.mark.parametrize("frame", [1.0, 2.0, 4.0])
def test_jitter_is_limited_in_pixels_of_the_frame(frame: float) -> None:
    mask = np.zeros((400, 400), np.uint8)
    mask[50:350, 60:360] = 1  # sides of 300: 30 pixels of noise are usual
    prompts = changed(jitter=1, jitter_limit=20, mixed=False)
    moved = [
        np.abs(first_prompt(prompts, random.Random(seed), mask, 2, 1.0, frame)[0] - [[60, 50], [360, 350]]).max()
        for seed in range(50)
    ]
    assert max(moved) == pytest.approx(20 / frame, abs=1e-4)


@pytest.mark.parametrize("size", [3, 40, 300])
def test_first_clicks_in_the_middle(size: int) -> None:
    y, x = np.mgrid[:400, :400]
    mask = ((x - 200) ** 2 + (y - 180) ** 2 <= (size / 2) ** 2).astype(np.uint8)
    points, labels = first_prompt(changed(centre=1), random.Random(0), mask, 2, 0.0, 1.0)
    assert labels.tolist() == [1, -1]
    assert np.abs(points[0] - (200.5, 180.5)).max() <= max(1.5, size / 100)


def test_first_clicks_are_on_thin_objects() -> None:
    mask = np.zeros((400, 400), np.uint8)
    mask[np.arange(1, 400, 2), np.arange(1, 400, 2)] = 1  # none of the pixels of a coarser grid
    for seed in range(5):
        points, _ = first_prompt(changed(centre=1), random.Random(seed), mask, 2, 0.0, 1.0)
        assert mask[int(points[0, 1]), int(points[0, 0])]


@pytest.mark.parametrize("clicks", [(0, 3), (4, 3)])
def test_numbers_of_clicks(clicks: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="clicks: expected the fewest, at least 1, and the most"):
        PromptConfig(clicks=clicks)


def test_click_lands_on_an_error_with_its_label() -> None:
    torch.manual_seed(0)
    target = torch.zeros(3, 1, 8, 12)
    target[:, :, 2:6, 3:9] = 1
    logits = target * 2 - 1
    logits[0, 0, 3, 4] = -1.0  # missed object
    logits[1, 0, 0, 11] = 1.0  # taken background
    points, labels = error_click(logits, target)
    assert points[0, 0].tolist() == [4.5, 3.5]
    assert points[1, 0].tolist() == [11.5, 0.5]
    assert labels[:2, 0].tolist() == [1, 0]
    x, y = points[2, 0].int().tolist()  # no error: anywhere, still with the truth
    assert labels[2, 0] == target[2, 0, y, x]


def test_one_click_takes_the_best_of_three_and_clear_prompts_the_single_mask() -> None:
    logits = torch.arange(4.0).reshape(1, 4, 1, 1).repeat(3, 1, 2, 2)
    iou = torch.tensor([[0.9, 0.1, 0.8, 0.3]]).repeat(3, 1)
    labels = torch.tensor([[2, 3, -1], [1, -1, -1], [1, -1, 0]])
    chosen = pick(logits, iou, labels)
    assert chosen.shape == (3, 1, 2, 2)
    assert chosen[:, 0, 0, 0].tolist() == [0.0, 2.0, 0.0]


def test_object_clicks_are_on_the_object() -> None:
    target = torch.zeros(4, 1, 8, 12)
    target[:, :, 2:4, 3:5] = 1
    points, labels = object_click(target, torch.Generator().manual_seed(0))
    assert labels.tolist() == [[1]] * 4
    assert ((points[:, 0] > 2) & (points[:, 0] < 5)).all()


def test_the_generator_decides() -> None:
    target = torch.zeros(3, 1, 32, 32)
    logits = torch.ones(3, 1, 32, 32)
    first, again, other = (error_click(logits, target, torch.Generator().manual_seed(seed))[0] for seed in (1, 1, 2))
    assert first.equal(again)
    assert not first.equal(other)


def test_deepest_clicks_are_those_of_evaluation() -> None:
    target = torch.zeros(3, 1, 40, 40)
    target[:, :, 5:30, 5:30] = 1
    logits = target * 2 - 1
    logits[0, 0, 5:30, 20:30] = -1  # missed
    logits[1, 0, 10:21, 30:37] = 1  # taken too much
    points, labels = deepest_click(logits, target)
    assert labels.tolist() == [[1], [0], [1]]
    assert points.shape == (3, 1, 2)
    for n in range(2):
        click = next_click((target[n, 0] > 0).numpy(), (logits[n, 0] > 0).numpy())
        assert click is not None
        assert tuple(points[n, 0].tolist()) == click.centre
    assert points[2, 0].tolist() == [17.5, 17.5], "nothing is wrong: the middle"
