"""Clicks on errors, and which mask is fed back."""

from __future__ import annotations

import torch

from evsam.training.prompts import error_click, object_click, pick


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
