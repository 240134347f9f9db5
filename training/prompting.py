"""Prompts that depend on what the model answered: clicks on its errors, and its own mask fed back."""

from __future__ import annotations

import torch
from torch import Tensor


def error_click(logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """One random click per mask on a pixel that the prediction got wrong.

    Args:
        logits: (N, 1, H, W) of the prediction.
        target: (N, 1, H, W), 0 to 1.

    Returns:
        Points (N, 1, 2), x and y in pixels of the logits, and labels (N, 1): 1 where the object was missed, 0 where
        too much was taken. A mask without errors gets a click anywhere.
    """
    true = target[:, 0] > 0.5
    wrong = ((logits[:, 0] > 0) != true).flatten(1).float() + 1e-6
    where = torch.multinomial(wrong, 1)
    width = logits.shape[-1]
    points = torch.stack([where % width, where // width], -1) + 0.5
    return points, true.flatten(1).gather(1, where).long()


def pick(logits: Tensor, iou: Tensor, labels: Tensor) -> Tensor:
    """The mask (N, 1, H, W) that is returned to a user: the single one for a box, else the best of three.

    Args:
        logits: (N, 4, H, W).
        iou: predicted IoU (N, 4).
        labels: (N, T).
    """
    boxed = (labels == 2).any(1)
    index = torch.where(boxed, 0, iou[:, 1:].argmax(1) + 1)
    return logits[torch.arange(len(logits), device=logits.device), index][:, None]
