"""SAM's mask decoder (arXiv 2304.02643, appendix A)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from evsam.network import MASK_TOKENS, SAM_IOU_HIDDEN
from evsam.nn.layers import LayerNorm2d
from evsam.nn.transformer import MLP, TwoWayTransformer
from evsam.zoo import DecoderConfig


class TokenHeads(nn.Module):
    """What the mask decoders share: output tokens, transformer, one small network per mask, and the IoU head."""

    def __init__(self, config: DecoderConfig, mask_dim: int, hidden: int) -> None:
        super().__init__()
        dim = config.dim
        self.transformer = TwoWayTransformer(dim, config.depth, config.heads, config.mlp_dim)
        self.iou_token = nn.Embedding(1, dim)
        self.mask_tokens = nn.Embedding(MASK_TOKENS, dim)
        self.output_hypernetworks_mlps = nn.ModuleList([MLP(dim, dim, mask_dim, 3) for _ in range(MASK_TOKENS)])
        self.iou_prediction_head = MLP(dim, hidden, MASK_TOKENS, 3)

    def attend(self, prompt: Tensor, image: Tensor, image_pe: Tensor) -> tuple[Tensor, Tensor]:
        """Run the transformer on output tokens and prompt tokens (N, T, C) and image cells (N, G*G, C)."""
        output = torch.cat([self.iou_token.weight, self.mask_tokens.weight])
        tokens = torch.cat([output.expand(len(prompt), -1, -1), prompt], 1)
        return self.transformer(tokens, image, image_pe)

    def heads(self, tokens: Tensor, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (N, 4, H, W) from per-pixel features (N, C, H, W), and predicted IoU (N, 4)."""
        masks = [mlp(tokens[:, 1 + i]) for i, mlp in enumerate(self.output_hypernetworks_mlps)]
        logits = torch.stack(masks, 1) @ pixels.flatten(2)
        return logits.unflatten(2, pixels.shape[-2:]), self.iou_prediction_head(tokens[:, 0])


class MaskDecoder(TokenHeads):
    """SAM's own: two transposed convolutions bring the image cells to the resolution of the logits."""

    def __init__(self, config: DecoderConfig) -> None:
        dim = config.dim
        super().__init__(config, mask_dim=dim // 8, hidden=SAM_IOU_HIDDEN)
        self.output_upscaling = nn.Sequential(
            nn.ConvTranspose2d(dim, dim // 4, 2, stride=2),
            LayerNorm2d(dim // 4),
            nn.GELU(),
            nn.ConvTranspose2d(dim // 4, dim // 8, 2, stride=2),
            nn.GELU(),
        )

    def forward(self, embedding: Tensor, image_pe: Tensor, sparse: Tensor, dense: Tensor) -> tuple[Tensor, Tensor]:
        """Decode N prompts on one image.

        Args:
            embedding: (1, C, G, G) or (N, C, G, G).
            image_pe: (1, G*G, C).
            sparse: prompt tokens (N, T, C).
            dense: (N or 1, C, G or 1, G or 1).

        Returns:
            Logits (N, 4, 4G, 4G) and predicted IoU (N, 4).
        """
        source = (embedding + dense).expand(len(sparse), -1, -1, -1)
        tokens, image = self.attend(sparse, source.flatten(2).transpose(1, 2), image_pe)
        cells = image.transpose(1, 2).unflatten(2, embedding.shape[-2:])
        return self.heads(tokens, self.output_upscaling(cells))
