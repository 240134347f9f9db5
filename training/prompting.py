"""Prompts that depend on what the model answered: clicks on its errors, and its own mask fed back."""

from __future__ import annotations

import torch
from torch import Tensor


def error_click(logits: Tensor, target: Tensor, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
    """One random click per mask on a pixel that the prediction got wrong.

    Args:
        logits: (N, 1, H, W) of the prediction.
        target: (N, 1, H, W), 0 to 1.
        generator: of the choice.

    Returns:
        Points (N, 1, 2), x and y in pixels of the logits, and labels (N, 1): 1 where the object was missed, 0 where
        too much was taken. A mask without errors gets a click anywhere.
    """
    true = target[:, 0] > 0.5
    return _click(((logits[:, 0] > 0) != true).float(), true, generator)


def object_click(target: Tensor, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
    """One random click per mask on its object; shapes as :func:`error_click`."""
    true = target[:, 0] > 0.5
    return _click(true.float(), true, generator)


def _click(wanted: Tensor, true: Tensor, generator: torch.Generator | None) -> tuple[Tensor, Tensor]:
    chances = wanted.flatten(1)
    chances = chances + (chances.sum(1, keepdim=True) == 0)
    where = torch.multinomial(chances, 1, generator=generator)
    width = true.shape[-1]
    points = torch.stack([where % width, where // width], -1) + 0.5
    return points, true.flatten(1).gather(1, where).long()


def pick(logits: Tensor, iou: Tensor, labels: Tensor) -> Tensor:
    """The mask (N, 1, H, W) that is returned to a user.

    The best of three for one click, which is ambiguous; else the single one.

    Args:
        logits: (N, 4, H, W).
        iou: predicted IoU (N, 4).
        labels: (N, T).
    """
    clear = (labels >= 0).sum(1) > 1  # a box has two corners
    index = torch.where(clear, 0, iou[:, 1:].argmax(1) + 1)
    return logits[torch.arange(len(logits), device=logits.device), index][:, None]
