"""Losses against hand-written formulas, and in the cases where their value is known."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor

from evsam.training.losses import (
    PointSampler,
    ResemblanceLoss,
    border,
    choice_loss,
    dice_loss,
    focal_loss,
    local_bce_loss,
    mask_iou,
    point_loss,
    stray,
)


@pytest.fixture
def target() -> Tensor:
    mask = torch.zeros(2, 1, 16, 16)
    mask[0, 0, 4:12, 2:10] = 1
    mask[1, 0, 1:3, 1:15] = 1
    return mask


def perfect(target: Tensor) -> Tensor:
    return (target * 2 - 1).repeat(1, 3, 1, 1) * 30


LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "dice": dice_loss,
    "focal": focal_loss,
    "local": local_bce_loss,
    "local at borders": partial(local_bce_loss, boundary=2.0),
}


@pytest.mark.parametrize("kind", LOSSES)
def test_perfect_masks_cost_nothing_and_wrong_ones_much(target: Tensor, kind: str) -> None:
    assert LOSSES[kind](perfect(target), target).max() < 1e-3
    assert LOSSES[kind](-perfect(target), target).min() > 0.9


def test_border_is_where_both_sides_are_near() -> None:
    target = torch.zeros(1, 1, 12, 12)
    target[..., :, 6:] = 1
    assert border(target)[0, 0, 5].tolist() == [0.0] * 4 + [1.0] * 4 + [0.0] * 4
    assert border(torch.ones(1, 1, 8, 8)).sum() == 0  # what the frame cuts off is no border


def test_borders_cost_more(target: Tensor) -> None:
    torch.manual_seed(0)
    logits = torch.randn(2, 1, 16, 16)
    near = torch.where(border(target) > 0, logits, 30 * (2 * target - 1))  # wrong at borders only
    plain = local_bce_loss(near, target)
    torch.testing.assert_close(local_bce_loss(near, target, boundary=1.0), 2 * plain, rtol=1e-4, atol=1e-6)


def test_stray_pixels_are_those_of_further_pieces_and_of_holes() -> None:
    target = torch.zeros(1, 1, 32, 32)
    target[..., 4:20, 4:20] = 1
    logits = (target * 2 - 1).repeat(1, 4, 1, 1)
    logits[:, 1, 8:10, 8:10] = -1  # a hole
    logits[:, 1, 28:30, 28:31] = 1  # a piece beside the object
    logits[:, 2, 4:8] = -1  # a part that is missed, but encloses nothing
    logits[:, 2, 19:25] = 1  # taken too much, but in one piece with the object
    logits[:, 3] = -1  # nothing at all
    found = stray(logits, target)
    assert found.sum((2, 3)).tolist() == [[0.0, 4 + 6, 0.0, 0.0]]
    assert found[0, 1, 8:10, 8:10].all()
    assert found[0, 1, 28:30, 28:31].all()
    target[..., 8:10, 8:10] = 0  # a hole that the object has
    assert not stray(logits[:, 1:2], target)[..., 8:10, 8:10].any()


def test_additional_weights_cost_more(target: Tensor) -> None:
    logits, more = torch.zeros(2, 3, 16, 16), torch.zeros(2, 3, 16, 16)
    more[:, 1] = 1
    plain, weighed = local_bce_loss(logits, target), local_bce_loss(logits, target, more=more)
    torch.testing.assert_close(weighed / plain, torch.tensor([[1.0, 2.0, 1.0]] * 2))
    both = local_bce_loss(logits, target, 1.0, more) - local_bce_loss(logits, target, 1.0)
    torch.testing.assert_close(both, weighed - plain)


def test_points_are_drawn_where_the_model_is_unsure() -> None:
    logits = torch.full((1, 1, 32, 32), 9.0)
    logits[..., :8] = 0.0
    points = PointSampler(count=400, oversample=8, importance=0.75).draw(logits, torch.Generator().manual_seed(0))
    assert points.shape == (1, 400, 2)
    unsure = (points[0, :, 0] < -0.5).float().mean().item()
    assert 0.75 <= unsure < 0.9  # a quarter of the rest, which is drawn evenly, lies there too


def test_point_values_are_those_of_the_pixels() -> None:
    maps = torch.arange(16.0).reshape(1, 1, 4, 4)
    centres = torch.tensor([[[-0.75, -0.75], [0.75, -0.75], [-0.75, 0.75]]])
    assert PointSampler.read(maps, centres)[0, 0].tolist() == [0.0, 3.0, 12.0]


def test_point_loss_is_that_of_all_pixels_where_all_are_alike(target: Tensor) -> None:
    solid = torch.ones(2, 1, 16, 16)
    logits = torch.full((2, 3, 16, 16), 0.7)
    sampler = PointSampler(count=64, oversample=1, importance=0.0)
    inner = point_loss(logits, solid, sampler, torch.Generator().manual_seed(1))
    p = torch.tensor(0.7).sigmoid()
    expected = -20 * p.log() + 1 - (2 * p * 64 + 1) / (p * 64 + 64 + 1)
    assert inner.shape == (2, 3)
    # bilinear samples at the rim mix with what lies outside, which counts as zero
    torch.testing.assert_close(inner, expected.expand(2, 3), rtol=0.15, atol=0)


def test_focal_is_the_published_formula(target: Tensor) -> None:
    torch.manual_seed(0)
    logits = torch.randn(2, 3, 16, 16)
    p = logits.sigmoid()
    t = target.expand_as(p)
    p_true = torch.where(t > 0, p, 1 - p)
    alpha = torch.where(t > 0, 0.25, 0.75)
    expected = (-alpha * (1 - p_true) ** 2 * p_true.log()).mean((2, 3))
    torch.testing.assert_close(focal_loss(logits, target), expected)


def test_local_bce_does_not_depend_on_the_frame(target: Tensor) -> None:
    """Background that is already right around the object adds nothing, however much of it there is."""
    torch.manual_seed(0)
    logits = torch.randn(2, 1, 16, 16)
    wide_target = torch.nn.functional.pad(target, (0, 64, 0, 64))
    wide = torch.nn.functional.pad(logits, (0, 64, 0, 64), value=-30.0)
    torch.testing.assert_close(local_bce_loss(wide, wide_target), local_bce_loss(logits, target))


def test_iou(target: Tensor) -> None:
    logits = perfect(target)
    assert mask_iou(logits, target).tolist() == [[1.0] * 3] * 2
    logits[0, 1, 4:8] = -1.0  # half of the first object's rows
    assert mask_iou(logits, target)[0].tolist() == [1.0, 0.5, 1.0]
    assert mask_iou(torch.full((1, 1, 4, 4), -1.0), torch.zeros(1, 1, 4, 4)).item() == 0


def test_choice_costs_what_the_wrong_mask_costs() -> None:
    real = torch.tensor([[0.9, 0.2, 0.4]])
    sure = torch.tensor([[5.0, 0.0, 0.0], [0.0, 5.0, 0.0], [0.3, 0.3, 0.3]])
    expected = [0.0, 0.7, 0.4]
    assert choice_loss(sure, real.expand(3, 3)).tolist() == pytest.approx(expected, abs=1e-6)


def test_resemblance_prefers_features_that_separate() -> None:
    target = torch.zeros(1, 1, 16, 16)
    target[..., :8, :8] = 1
    separate = torch.zeros(1, 4, 4, 4)
    separate[:, 0, :2, :2] = 1
    separate[:, 1] = 1 - separate[:, 0]
    alike = torch.ones(1, 4, 4, 4)
    loss = ResemblanceLoss()
    index = torch.zeros(1, dtype=torch.long)
    assert loss(separate, target, index) < 0.5 * loss(alike, target, index)


def test_losses_have_gradients(target: Tensor) -> None:
    logits = torch.zeros(2, 3, 16, 16, requires_grad=True)
    local_bce_loss(logits, target).sum().backward()
    assert logits.grad is not None
    inside = target.expand(2, 3, -1, -1) > 0
    assert (logits.grad[inside] < 0).all()
    assert (logits.grad[~inside] > 0).all()
