"""Losses on masks, predicted IoU and features."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from evsam import _C

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


def local_bce_loss(logits: Tensor, target: Tensor, boundary: float = 0.0, more: Tensor | None = None) -> Tensor:
    """Binary cross-entropy summed over all pixels and divided by the area of the object's box.

    So a small object counts as much as a large one, however much background the crop holds.

    Args:
        logits: (N, M, H, W).
        target: (N, 1, H, W), 0 to 1.
        boundary: additional weight of pixels at most two away from the object's border.
        more: additional weights (N, M, H, W), a constant.

    Returns:
        (N, M).
    """
    with torch.no_grad():
        inside = target[:, 0] > 0.3
        area = inside.any(1).sum(1) * inside.any(2).sum(1)
        scale = (1.5 * area + 64.0)[:, None]
        weight = None if boundary == 0 else 1 + boundary * border(target).expand_as(logits)
        if more is not None:
            weight = more + (1 if weight is None else weight)
    entropy = F.binary_cross_entropy_with_logits(logits, target.expand_as(logits), weight, reduction="none")
    return entropy.sum((2, 3)) / scale


def border(target: Tensor, reach: int = 2) -> Tensor:
    """1 for pixels that have both object and background within ``reach`` pixels (a square), else 0.

    Shapes as ``target``, (N, 1, H, W).
    """
    solid = (target > 0.5).to(target.dtype)
    side = 2 * reach + 1
    grown = F.max_pool2d(solid, side, stride=1, padding=reach)
    shrunk = -F.max_pool2d(-solid, side, stride=1, padding=reach)
    return grown - shrunk


@torch.no_grad()
def stray(logits: Tensor, target: Tensor) -> Tensor:
    """1 for the pixels for which a mask is not in one piece, else 0.

    That is what was taken too much in pieces other than the largest, and what was missed inside of holes. Both are few
    pixels beside an outline that is a pixel off, so other losses hardly see them.

    Args:
        logits: (N, M, H, W).
        target: (N, 1, H, W), 0 to 1.

    Returns:
        (N, M, H, W), a constant; pieces and holes are found on the host.
    """
    taken = (logits > 0).cpu().numpy().view(np.uint8)
    true = (target > 0.5).expand_as(logits).cpu().numpy()
    found = np.zeros(taken.shape, np.float32)
    for place in np.ndindex(*taken.shape[:2]):
        mask = taken[place]
        # pieces of less than all pixels go; where that is all of them, the largest stays
        largest = _C.clean_mask(mask, min_area=mask.size + 1, fill_below=0, corners=True)
        filled = _C.clean_mask(mask, min_area=0, fill_below=-1, corners=True)
        found[place] = np.where(true[place], filled > mask, mask > largest)
    return torch.from_numpy(found).to(logits.device)


class PointSampler:
    """Points on which a loss is computed: most of them where the model is least sure (PointRend, arXiv 1912.08193).

    Args:
        count: points per mask.
        oversample: so many times more candidates are drawn.
        importance: part of the points that are the least certain candidates; the others are drawn evenly.
    """

    def __init__(self, count: int = 112 * 112, oversample: int = 3, importance: float = 0.75) -> None:
        self.count, self.oversample = count, oversample
        self.certain = count - int(importance * count)

    @torch.no_grad()
    def draw(self, logits: Tensor, generator: torch.Generator | None) -> Tensor:
        """Points (N, P, 2), x and y from -1 to 1 (corner to corner), for logits (N, 1, H, W)."""
        candidates = self._even(len(logits), self.oversample * self.count, logits.device, generator)
        doubt = -self.read(logits, candidates)[:, 0].abs()
        best = doubt.topk(self.count - self.certain, dim=1).indices[..., None].expand(-1, -1, 2)
        return torch.cat(
            [candidates.gather(1, best), self._even(len(logits), self.certain, logits.device, generator)], 1
        )

    @staticmethod
    def read(maps: Tensor, points: Tensor) -> Tensor:
        """Values (N, C, P) of maps (N, C, H, W) at points (N, P, 2), interpolated bilinearly."""
        return F.grid_sample(maps, points[:, :, None], align_corners=False)[..., 0]

    @staticmethod
    def _even(masks: int, count: int, device: torch.device, generator: torch.Generator | None) -> Tensor:
        return 2 * torch.rand(masks, count, 2, device=device, generator=generator) - 1


def point_loss(
    logits: Tensor, target: Tensor, sampler: PointSampler, generator: torch.Generator | None = None
) -> Tensor:
    """20 cross-entropy + dice on points drawn for each mask; shapes as :func:`dice_loss`."""
    count = logits.shape[1]
    flat = logits.flatten(0, 1)[:, None]
    points = sampler.draw(flat.detach(), generator)
    values = sampler.read(flat, points)
    true = sampler.read(target.repeat_interleave(count, 0), points)
    entropy = F.binary_cross_entropy_with_logits(values, true, reduction="none").mean((1, 2))
    dice = dice_loss(values[:, :, None], true[:, :, None])[:, 0]
    return (20 * entropy + dice).unflatten(0, (-1, count))


def mask_iou(logits: Tensor, target: Tensor) -> Tensor:
    """Intersection over union (N, M) of thresholded masks; shapes as :func:`dice_loss`."""
    predicted, true = logits > 0, target > 0.5
    intersection = (predicted & true).sum((2, 3))
    return intersection / (predicted | true).sum((2, 3)).clamp(min=1)


CHOICE_TEMPERATURE = 0.1
"""Of the softmax of predicted IoU that stands for choosing the highest."""


def choice_loss(predicted: Tensor, real: Tensor) -> Tensor:
    """What is lost by choosing among ambiguous masks by their predicted IoU.

    The best real IoU minus the expected one, when a mask is drawn with the softmax of the predictions: a regression of
    each IoU on its own cares little about which of them is the largest, and that is all that a user sees.

    Args:
        predicted: (N, M).
        real: (N, M), a constant.

    Returns:
        (N,).
    """
    expected = ((predicted / CHOICE_TEMPERATURE).softmax(1) * real).sum(1)
    return real.amax(1) - expected


class ResemblanceLoss(nn.Module):
    """Features of a mask's cells resemble their mean, those of its surroundings do not.

    Trains the features that :class:`evsam.nn.lite_decoder.ResemblancePrior` compares. Scale and offset turn a cosine
    into a logit and are learnt along.
    """

    def __init__(self) -> None:
        super().__init__()
        # one value each, in an axis of its own: FSDP2 takes no scalars
        self.scale = nn.Parameter(torch.tensor([8.0]))
        self.offset = nn.Parameter(torch.tensor([4.0]))

    def forward(self, features: Tensor, target: Tensor, index: Tensor) -> Tensor:
        """Loss of each mask (N,).

        Args:
            features: (B, C, h, w).
            target: (N, 1, H, W), H a multiple of h.
            index: (N,) int, the image that each mask is of.
        """
        small = F.adaptive_avg_pool2d(target, (features.shape[-2], features.shape[-1]))[:, 0]
        extent = (small > 0.1).any(1)[:, None, :] & (small > 0.1).any(2)[:, :, None]
        positive = small.flatten(1)
        # the surroundings inside the object's box are the hard part; the rest of the crop counts little
        negative = ((1 - small) * (extent + 0.15)).flatten(1)
        unit = F.normalize(features.flatten(2), dim=1)[index]
        means = F.normalize(torch.einsum("np,ncp->nc", positive, unit), dim=1, eps=1e-3)
        logits = torch.einsum("nc,ncp->np", means, unit) * self.scale - self.offset
        attract = (F.softplus(-logits) * positive).sum(1) / (positive.sum(1) + 1)
        repel = (F.softplus(logits) * negative).sum(1) / (negative.sum(1) + 1)
        return attract + repel
