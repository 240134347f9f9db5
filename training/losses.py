"""Losses on masks, predicted IoU and features."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

FOCAL_ALPHA, FOCAL_GAMMA = 0.25, 2.0
"""Of SAM (arXiv 2304.02643, appendix A)."""


def dice_loss(logits: Tensor, target: Tensor) -> Tensor:
    """1 - dice of soft masks.

    Args:
        logits: (N, M, H, W).
        target: (N, 1, H, W), 0 to 1.

    Returns:
        (N, M).
    """
    p = logits.sigmoid()
    overlap = (p * target).sum((2, 3))
    return 1 - (2 * overlap + 1) / (p.sum((2, 3)) + target.sum((2, 3)) + 1)


def focal_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Mean focal loss per mask; shapes as :func:`dice_loss`."""
    target = target.expand_as(logits)
    p = logits.sigmoid()
    entropy = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
    weight = FOCAL_ALPHA * target + (1 - FOCAL_ALPHA) * (1 - target)
    return (weight * (p - target).abs() ** FOCAL_GAMMA * entropy).mean((2, 3))


def local_bce_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Binary cross-entropy summed over all pixels and divided by the area of the object's box.

    So a small object counts as much as a large one, however much background the crop holds.
    """
    with torch.no_grad():
        inside = target[:, 0] > 0.3
        area = inside.any(1).sum(1) * inside.any(2).sum(1)
        scale = (1.5 * area + 64.0)[:, None]
    entropy = F.binary_cross_entropy_with_logits(logits, target.expand_as(logits), reduction="none")
    return entropy.sum((2, 3)) / scale


def mask_loss(logits: Tensor, target: Tensor, kind: str) -> Tensor:
    """Loss of each mask (N, M): ``focal`` is 20 focal + dice as in the paper, ``local-bce`` is 2 local BCE + dice."""
    if kind == "focal":
        return 20 * focal_loss(logits, target) + dice_loss(logits, target)
    return 2 * local_bce_loss(logits, target) + dice_loss(logits, target)


def mask_iou(logits: Tensor, target: Tensor) -> Tensor:
    """Intersection over union (N, M) of thresholded masks; shapes as :func:`dice_loss`."""
    predicted, true = logits > 0, target > 0.5
    intersection = (predicted & true).sum((2, 3))
    return intersection / (predicted | true).sum((2, 3)).clamp(min=1)


def choice_loss(predicted: Tensor, real: Tensor, temperature: float = 0.1) -> Tensor:
    """What is lost by choosing among ambiguous masks by their predicted IoU.

    The best real IoU minus the expected one, when a mask is drawn with the softmax of the predictions: a regression of
    each IoU on its own cares little about which of them is the largest, and that is all that a user sees.

    Args:
        predicted: (N, M).
        real: (N, M), a constant.
        temperature: of the softmax.

    Returns:
        (N,).
    """
    expected = ((predicted / temperature).softmax(1) * real).sum(1)
    return real.amax(1) - expected


class ResemblanceLoss(nn.Module):
    """Features of a mask's cells resemble their mean, those of its surroundings do not.

    Trains the features that :class:`evsam.nn.lite_decoder.ResemblancePrior` compares. Scale and offset turn a cosine
    into a logit and are learnt along.
    """

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(8.0))
        self.offset = nn.Parameter(torch.tensor(4.0))

    def forward(self, features: Tensor, target: Tensor) -> Tensor:
        """Mean loss over masks.

        Args:
            features: (B, C, h, w).
            target: (B * K, 1, H, W), H a multiple of h; the masks of one image follow each other.
        """
        small = F.adaptive_avg_pool2d(target, (features.shape[-2], features.shape[-1]))[:, 0]
        extent = (small > 0.1).any(1)[:, None, :] & (small > 0.1).any(2)[:, :, None]
        positive = small.unflatten(0, (len(features), -1)).flatten(2)
        # the surroundings inside the object's box are the hard part; the rest of the crop counts little
        negative = ((1 - small) * (extent + 0.15)).unflatten(0, (len(features), -1)).flatten(2)
        unit = F.normalize(features.flatten(2), dim=1)
        means = F.normalize(positive @ unit.transpose(1, 2), dim=2, eps=1e-3)
        logits = means @ unit * self.scale - self.offset
        attract = (F.softplus(-logits) * positive).sum(2) / (positive.sum(2) + 1)
        repel = (F.softplus(logits) * negative).sum(2) / (negative.sum(2) + 1)
        return (attract + repel).mean()
