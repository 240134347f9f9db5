"""Photos on the way into the encoder."""

from __future__ import annotations

import torch
from torch import Tensor

from evsam.zoo import PIXEL_MEAN, PIXEL_STD

FILL = (124, 116, 104)
"""Colour of what lies outside the photo: zero after normalisation, as padding is at inference."""


def normalise(images: Tensor) -> Tensor:
    """Float (B, 3, H, W) in units of the pixel statistics from uint8 (B, H, W, 3), channels last in memory."""
    mean = torch.tensor(PIXEL_MEAN, device=images.device)
    std = torch.tensor(PIXEL_STD, device=images.device)
    return ((images.float() - mean) / std).permute(0, 3, 1, 2)


def padding(images: Tensor) -> Tensor:
    """Which pixels (B, 1, H, W) of uint8 images (B, H, W, 3) have the colour of padding."""
    return (images == torch.tensor(FILL, dtype=torch.uint8, device=images.device)).all(-1)[:, None]


def colour_jitter(images: Tensor, generator: torch.Generator) -> Tensor:
    """Random saturation, contrast, colour cast and brightness per normalised image (B, 3, H, W)."""
    count, device = len(images), images.device

    def even() -> Tensor:
        return torch.rand(count, 1, 1, 1, device=device, generator=generator)

    def normal(channels: int) -> Tensor:
        return torch.randn(count, channels, 1, 1, device=device, generator=generator)

    grey = images.mean(1, keepdim=True)
    images = torch.lerp(images, grey, (even() * 1.2 - 0.3).clamp(-0.3, 0.8))
    gain, cast = 1 + 0.25 * (2 * even() - 1), 1 + 0.08 * normal(3)
    return images * gain * cast + 0.25 * normal(1)
