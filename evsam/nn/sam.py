"""The whole model: image encoder, prompt encoder and mask decoder of any variant."""

from __future__ import annotations

from torch import Tensor, nn

from evsam.nn.encoder import ImageEncoder
from evsam.nn.layers import ConvLayer
from evsam.nn.lite_decoder import LiteMaskDecoder, LitePromptEncoder
from evsam.nn.mask_decoder import MaskDecoder
from evsam.nn.prompt_encoder import PromptEncoder
from evsam.zoo import FRAME_SIZE, Variant, get_variant

Features = tuple[Tensor, ...]
"""What :meth:`EfficientViTSam.encode` returns: the embedding, then the lateral maps of variants that have them."""


class EfficientViTSam(nn.Module):
    """EfficientViT-SAM (arXiv 2402.05008). State-dict names are those of the released checkpoints.

    Args:
        variant: a name or a record of :mod:`evsam.zoo`.
    """

    def __init__(self, variant: str | Variant) -> None:
        super().__init__()
        self.variant = get_variant(variant)
        encoder, decoder = self.variant.encoder, self.variant.decoder
        self.image_encoder = ImageEncoder(encoder, self.variant.image_size)
        self.prompt_encoder: PromptEncoder | LitePromptEncoder
        self.mask_decoder: MaskDecoder | LiteMaskDecoder
        if decoder.kind == "sam":
            self.prompt_encoder = PromptEncoder(decoder)
            self.mask_decoder = MaskDecoder(decoder)
        else:
            lateral = tuple(width for _, width in encoder.neck.lateral)
            self.prompt_encoder = LitePromptEncoder(decoder, lateral[0])
            self.mask_decoder = LiteMaskDecoder(decoder, lateral)

    def encode(self, pixels: Tensor, grid: int | None = None) -> Features:
        """Encode images.

        Args:
            pixels: float (B, 3, S, S), S the variant's image size: normalised RGB, zero where padded.
            grid: side of the embedding where S is another one; None for a grid that grows with S. Only training on
                images of several sizes sets it.

        Returns:
            The embedding (B, C, G, G), then any lateral maps.
        """
        return self.image_encoder(pixels, grid)

    def decode(
        self,
        features: Features,
        points: Tensor,
        labels: Tensor,
        masks: Tensor | None = None,
        origin: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Predict masks for N prompts.

        Args:
            features: as returned by :meth:`encode`, for one image (shared by all prompts) or for N.
            points: float (N, T, 2), x and y in pixels of the 1024 frame; clicks first, then box corners.
            labels: int (N, T): -1 padding, 0 background, 1 foreground, 2 and 3 top left and bottom right box corner.
            masks: logits (N, 1, 256, 256) of an earlier prediction, or None.
            origin: (N or 1, 2) frame position of the image's top left corner; only training on crops sets it.

        Returns:
            Logits (N, 4, 256, 256), the single mask first, then the three ambiguous ones; predicted IoU (N, 4).
        """
        embedding = features[0]
        grid = (embedding.shape[-2], embedding.shape[-1])
        cell = FRAME_SIZE / self.variant.encoder.neck.grid
        image_pe = self.prompt_encoder.cell_positions(grid, cell, origin)
        if isinstance(self.prompt_encoder, LitePromptEncoder):
            assert isinstance(self.mask_decoder, LiteMaskDecoder)
            sparse, dense, maps = self.prompt_encoder(points, labels, masks, features[1], origin)
            return self.mask_decoder(features, image_pe, sparse, dense, maps)
        sparse, dense = self.prompt_encoder(points, labels, masks)
        return self.mask_decoder(embedding, image_pe, sparse, dense)

    def fold_norms_(self) -> EfficientViTSam:
        """Fold every batch norm into its convolution, in place and for inference only."""
        for module in self.modules():
            if isinstance(module, ConvLayer):
                module.fold_norm_()
        return self
