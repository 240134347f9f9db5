"""SAM's prompt encoder (arXiv 2304.02643, section 3): points, box corners and masks become tokens and a dense map."""

from __future__ import annotations

import math
from typing import cast

import torch
from torch import Tensor, nn

from evsam.nn.layers import LayerNorm2d, exactly
from evsam.zoo import FRAME_SIZE, DecoderConfig


class PositionEmbedding(nn.Module):
    """Random Fourier features of positions in the unit square."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.positional_encoding_gaussian_matrix: Tensor
        self.register_buffer("positional_encoding_gaussian_matrix", torch.randn(2, dim // 2))

    def forward(self, xy: Tensor) -> Tensor:
        """Encode positions (..., 2), x and y in pixels of the frame, as (..., dim)."""
        with exactly(xy):
            angles = 2 * math.pi * ((2 * (xy / FRAME_SIZE) - 1) @ self.positional_encoding_gaussian_matrix)
        return torch.cat([angles.sin(), angles.cos()], -1)


class SparseEncoder(nn.Module):
    """What the prompt encoders share: tokens for points, and the positions of the image cells."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.pe_layer = PositionEmbedding(dim)
        self.point_embeddings = nn.ModuleList([nn.Embedding(1, dim) for _ in range(4)])
        self.not_a_point_embed = nn.Embedding(1, dim)

    def embed_points(self, points: Tensor, labels: Tensor) -> Tensor:
        """Tokens (N, T, dim) of points (N, T, 2) in frame pixels.

        Labels: -1 padding (its position does not count), 0 background, 1 foreground, 2 and 3 corners of a box.
        """
        # SAM puts prompts at pixel centres
        position = self.pe_layer(points + 0.5)
        embeddings = [self.not_a_point_embed, *self.point_embeddings]
        table = torch.cat([cast(nn.Embedding, embedding).weight for embedding in embeddings])
        return torch.where(labels[..., None] < 0, 0.0, position) + table[labels + 1]

    def cell_positions(self, grid: tuple[int, int], cell: float, origin: Tensor | None) -> Tensor:
        """Positional encoding (B or 1, G*G, dim) of the centres of a grid of cells.

        Args:
            grid: rows and columns.
            cell: side of a cell in frame pixels.
            origin: (B, 2) frame position of the top left corner of each image, None for (0, 0). Only training on
                crops needs it.
        """
        weight = self.not_a_point_embed.weight
        y = (torch.arange(grid[0], device=weight.device, dtype=weight.dtype) + 0.5) * cell
        x = (torch.arange(grid[1], device=weight.device, dtype=weight.dtype) + 0.5) * cell
        xy = torch.stack(torch.broadcast_tensors(x[None, :], y[:, None]), -1).reshape(1, -1, 2)
        if origin is not None:
            xy = xy + origin[:, None]
        return self.pe_layer(xy)


class PromptEncoder(SparseEncoder):
    """SAM's own: sparse tokens, and the mask prompt through three convolutions."""

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__(config.dim)
        first, second = config.mask_channels
        self.mask_downscaling = nn.Sequential(
            nn.Conv2d(1, first, 2, stride=2),
            LayerNorm2d(first),
            nn.GELU(),
            nn.Conv2d(first, second, 2, stride=2),
            LayerNorm2d(second),
            nn.GELU(),
            nn.Conv2d(second, config.dim, 1),
        )
        self.no_mask_embed = nn.Embedding(1, config.dim)

    def forward(self, points: Tensor, labels: Tensor, masks: Tensor | None) -> tuple[Tensor, Tensor]:
        """Tokens (N, T, dim) and dense map (N, dim, 64, 64), or (1, dim, 1, 1) without a mask prompt."""
        dense = self.no_mask_embed.weight[:, :, None, None] if masks is None else self.mask_downscaling(masks)
        return self.embed_points(points, labels), dense
