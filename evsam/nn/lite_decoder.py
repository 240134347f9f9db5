"""The small prompt encoder and mask decoder of the nano variant.

They answer the same prompts with the same outputs as SAM's, at about a sixth of the multiply-accumulates
(tests/nn/macs.py counts them), and differ in three ways that are meant to let a small model learn from little data:

* box and clicks are also drawn, as maps at the resolution of the logits, and go through the mask prompt's convolutions;
* every cell is told how much it resembles the prompted region and the region that the prompt excludes;
* the image's finer feature maps and the drawn prompt join in as the mask is brought to full resolution.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from evsam.network import DRAWN_MAPS, MASK_RANGE, PIXEL, POINT_SIGMA, RING
from evsam.nn.layers import DSConv, LayerNorm2d, Residual, exactly
from evsam.nn.mask_decoder import TokenHeads
from evsam.nn.prompt_encoder import SparseEncoder
from evsam.zoo import DecoderConfig


def draw_prompts(
    points: Tensor, labels: Tensor, masks: Tensor | None, size: tuple[int, int], origin: Tensor | None
) -> Tensor:
    """Draw prompts as maps.

    All shapes are products of a function of x and a function of y, so each map is one small matrix product.

    Args:
        points: (N, T, 2) x, y in frame pixels.
        labels: (N, T) int, see :meth:`SparseEncoder.embed_points`.
        masks: logits (N, 1, H, W), or None.
        size: H, W.
        origin: (N, 2) frame position of the top left corner of the maps, None for (0, 0).

    Returns:
        (N, 6, H, W); channels as in :data:`DRAWN_MAPS`.
    """
    if origin is not None:
        points = points - origin[:, None]
    y = (torch.arange(size[0], device=points.device, dtype=points.dtype) + 0.5) * PIXEL
    x = (torch.arange(size[1], device=points.device, dtype=points.dtype) + 0.5) * PIXEL

    low = (points * (labels == 2)[..., None]).sum(1, keepdim=True)
    high = (points * (labels == 3)[..., None]).sum(1, keepdim=True)
    boxed = (labels == 2).any(1)[:, None, None]
    centre, side = (low + high) / 2, (high - low).clamp(min=1.0)

    def inside(grow: float) -> Tensor:
        margin = grow * side
        along = [
            ((t - (low - margin)[..., i]) / PIXEL + 0.5).clamp(0, 1)
            * (((high + margin)[..., i] - t) / PIXEL + 0.5).clamp(0, 1)
            for i, t in enumerate((x, y))
        ]
        return along[1][:, :, None] * along[0][:, None, :] * boxed

    def dots(label: int) -> Tensor:
        near = [torch.exp(-((t - points[..., i, None]) ** 2) / (2 * POINT_SIGMA**2)) for i, t in enumerate((x, y))]
        chosen = (labels == label)[..., None].to(points.dtype)
        with exactly(points):
            return ((near[1] * chosen).transpose(1, 2) @ near[0]).clamp(max=1)

    bell = [torch.exp(-2 * ((t - centre[..., i]) / (side[..., i] / 2)) ** 2) for i, t in enumerate((x, y))]
    box = inside(0.0)
    ellipse = bell[1][:, :, None] * bell[0][:, None, :] * boxed
    ring = inside(RING) - box
    mask = torch.zeros_like(box) if masks is None else masks[:, 0].clamp(-MASK_RANGE, MASK_RANGE) / (MASK_RANGE / 2)
    return torch.stack([mask, box, ellipse, ring, dots(1), dots(0)], 1)


class ResemblancePrior(nn.Module):
    """Cosine similarity of every cell with the mean feature of what the prompt points at, and of what it excludes."""

    def forward(self, features: Tensor, maps: Tensor) -> Tensor:
        """Compare cells.

        Args:
            features: (N or 1, C, H, W).
            maps: drawn prompts (N, 6, k*H, k*W).

        Returns:
            (N, 2, H, W), zero where the prompt says nothing.
        """
        small = F.adaptive_avg_pool2d(maps, (features.shape[-2], features.shape[-1]))
        weights = torch.stack([small[:, 2] + small[:, 4], small[:, 3] + small[:, 5]], 1).flatten(2)
        unit = F.normalize(features.flatten(2), dim=1)
        means = F.normalize(weights @ unit.transpose(1, 2), dim=2, eps=1e-4)
        return (means @ unit).unflatten(2, features.shape[-2:])


class LitePromptEncoder(SparseEncoder):
    """Sparse tokens as SAM's, and the drawn prompts through three strided convolutions."""

    def __init__(self, config: DecoderConfig, feature_channels: int) -> None:
        super().__init__(config.dim)
        first, second, third = config.mask_channels
        self.mask_downscaling = nn.ModuleList(
            [
                nn.Sequential(nn.Conv2d(DRAWN_MAPS, first, 2, stride=2), nn.ReLU()),
                nn.Sequential(nn.Conv2d(first, second, 2, stride=2), LayerNorm2d(second), nn.ReLU()),
                nn.Sequential(nn.Conv2d(second, third, 2, stride=2), LayerNorm2d(third), nn.ReLU()),
            ]
        )
        self.dense = nn.Conv2d(third, config.dim, 1)
        self.compare = nn.Conv2d(feature_channels, feature_channels, 1)
        self.resemblance = ResemblancePrior()
        self.resemblance_proj = nn.Conv2d(2, second, 1)

    def forward(
        self, points: Tensor, labels: Tensor, masks: Tensor | None, fine: Tensor, origin: Tensor | None
    ) -> tuple[Tensor, Tensor, list[Tensor]]:
        """Encode N prompts.

        Args:
            points: (N, T, 2) in frame pixels.
            labels: (N, T) int.
            masks: logits (N, 1, H, W), or None.
            fine: stride-8 features (N or 1, C, H/4, W/4).
            origin: (N, 2) or None.

        Returns:
            Tokens (N, T, dim), dense map (N, dim, H/8, W/8), and the maps at strides 8 and 4 for the decoder.
        """
        size = (4 * fine.shape[-2], 4 * fine.shape[-1])
        drawn = draw_prompts(points, labels, masks, size, origin)
        quarter = self.mask_downscaling[0](drawn)
        eighth = self.mask_downscaling[1](quarter)
        eighth = eighth + self.resemblance_proj(self.resemblance(self.compare(fine), drawn))
        dense = self.dense(self.mask_downscaling[2](eighth))
        return self.embed_points(points, labels), dense, [eighth, quarter]


class LiteMaskDecoder(TokenHeads):
    """Two-way transformer on the coarse grid, then three doublings joined by image features and drawn prompt."""

    def __init__(self, config: DecoderConfig, lateral: tuple[int, ...]) -> None:
        super().__init__(config, mask_dim=lateral[-1], hidden=config.dim)
        eighth, quarter, half = lateral
        first, second, _ = config.mask_channels
        self.up = nn.ModuleList(
            [
                nn.ConvTranspose2d(config.dim, eighth, 2, stride=2),
                nn.ConvTranspose2d(eighth, quarter, 2, stride=2),
                nn.ConvTranspose2d(quarter, half, 2, stride=2),
            ]
        )
        self.prompt = nn.ModuleList([nn.Conv2d(second, eighth, 1), nn.Conv2d(first, quarter, 1)])
        self.norm = LayerNorm2d(eighth)
        self.refine = nn.ModuleList([Residual(DSConv(width, width, 1, 3, "relu6")) for width in (eighth, quarter)])

    def forward(
        self,
        features: tuple[Tensor, ...],
        image_pe: Tensor,
        sparse: Tensor,
        dense: Tensor,
        prompt_maps: list[Tensor],
    ) -> tuple[Tensor, Tensor]:
        """Decode N prompts.

        Args:
            features: embedding (N or 1, C, G, G) and the lateral maps (N or 1, ...) at twice, four and eight times G.
            image_pe: (N or 1, G*G, C).
            sparse: (N, T, C).
            dense: (N, C, G, G).
            prompt_maps: as returned by :class:`LitePromptEncoder`.

        Returns:
            Logits (N, 4, 8G, 8G) and predicted IoU (N, 4).
        """
        embedding, *lateral = features
        source = embedding + dense
        tokens, image = self.attend(sparse, source.flatten(2).transpose(1, 2), image_pe)
        x = image.transpose(1, 2).unflatten(2, embedding.shape[-2:])
        for i, (up, prompt, refine) in enumerate(zip(self.up, self.prompt, self.refine, strict=False)):
            x = up(x) + lateral[i] + prompt(prompt_maps[i])
            x = refine(F.relu(self.norm(x) if i == 0 else x))
        x = F.relu(self.up[2](x) + lateral[2])
        return self.heads(tokens, x)
