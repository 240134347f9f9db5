"""Losses against hand-written formulas, and in the cases where their value is known."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from evsam.training.losses import (
    ResemblanceLoss,
    choice_loss,
    dice_loss,
    focal_loss,
    local_bce_loss,
    mask_iou,
    mask_loss,
)


@pytest.fixture
def target() -> Tensor:
    mask = torch.zeros(2, 1, 16, 16)
    mask[0, 0, 4:12, 2:10] = 1
    mask[1, 0, 1:3, 1:15] = 1
    return mask


def perfect(target: Tensor) -> Tensor:
    return (target * 2 - 1).repeat(1, 3, 1, 1) * 30


@pytest.mark.parametrize("kind", ["focal", "local-bce"])
def test_perfect_masks_cost_nothing_and_wrong_ones_much(target: Tensor, kind: str) -> None:
    assert mask_loss(perfect(target), target, kind).max() < 1e-3
    assert mask_loss(-perfect(target), target, kind).min() > 1


def test_focal_is_the_published_formula(target: Tensor) -> None:
    torch.manual_seed(0)
    logits = torch.randn(2, 3, 16, 16)
    p = logits.sigmoid()
    t = target.expand_as(p)
    p_true = torch.where(t > 0, p, 1 - p)
    alpha = torch.where(t > 0, 0.25, 0.75)
    expected = (-alpha * (1 - p_true) ** 2 * p_true.log()).mean((2, 3))
    torch.testing.assert_close(focal_loss(logits, target), expected)
    torch.testing.assert_close(mask_loss(logits, target, "focal"), 20 * expected + dice_loss(logits, target))


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
    assert loss(separate, target) < 0.5 * loss(alike, target)


def test_losses_have_gradients(target: Tensor) -> None:
    logits = torch.zeros(2, 3, 16, 16, requires_grad=True)
    mask_loss(logits, target, "local-bce").sum().backward()
    assert logits.grad is not None
    inside = target.expand(2, 3, -1, -1) > 0
    assert (logits.grad[inside] < 0).all()
    assert (logits.grad[~inside] > 0).all()
