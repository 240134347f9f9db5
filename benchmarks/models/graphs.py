"""The model as the peers get it: plain graphs with fixed shapes, batch norm folded, made for export."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from evsam.nn import EfficientViTSam
from evsam.weights import Weights, load_weights


def load_model(weights: Path | Weights) -> EfficientViTSam:
    """The model with its norms folded, for inference on the CPU in float32."""
    if isinstance(weights, Path):
        weights = load_weights(weights)
    with torch.device("meta"):
        model = EfficientViTSam(weights.variant)
    tensors = {name: torch.tensor(array) for name, array in weights.tensors.items()}
    model.load_state_dict(tensors, strict=False, assign=True)
    return model.eval().requires_grad_(False).fold_norms_()


def bicubic_matrix(source: int, target: int) -> Tensor:
    """Bicubic resize along one axis as a matrix (target, source): the responses to unit vectors."""
    units = torch.eye(source, dtype=torch.float64)[None, None]
    return F.interpolate(units, (target, source), mode="bicubic", align_corners=False)[0, 0].float()


class EncoderGraph(nn.Module):
    """The image encoder: pixels (1, 3, S, S) to the embedding (1, C, G, G) and the lateral maps, if there are any.

    Args:
        model: whose encoder.
        matrices: whether the neck's bicubic resizes become products with constant matrices. They are the same up to
            rounding, and some converters get a bicubic resize wrong.
    """

    def __init__(self, model: EfficientViTSam, matrices: bool) -> None:
        super().__init__()
        self.encoder = model.image_encoder
        self.grid = model.variant.encoder.neck.grid
        self.sides = []
        side = model.variant.image_size
        for stage in model.variant.encoder.stages:
            for block in stage:
                side //= block.stride
            self.sides.append(side)
        for source in set(self.sides) if matrices else ():
            self.register_buffer(f"resize_{source}", bicubic_matrix(source, self.grid))
        self.matrices = matrices

    def forward(self, pixels: Tensor) -> tuple[Tensor, ...]:
        """See the class."""
        if not self.matrices:
            out: tuple[Tensor, ...] = self.encoder(pixels)
            return out
        stages = self.encoder.backbone(pixels)
        neck = self.encoder.neck
        total: Tensor | None = None
        for index, project in zip(neck.stages, neck.input_ops, strict=True):
            x = project(stages[index])
            if self.sides[index] != self.grid:
                matrix = self.get_buffer(f"resize_{self.sides[index]}")
                x = matrix @ x @ matrix.T
            total = x if total is None else total + x
        embedding = self.encoder.norm(neck.output_ops[0](neck.middle(total)))
        lateral = self.encoder.lateral
        return (embedding, *(lateral(stages, embedding) if lateral is not None else ()))


class DecoderGraph(nn.Module):
    """Prompt encoder and mask decoder: embedding, points (N, T, 2) and labels (N, T) to logits and expected IoU.

    The positional encoding of the image cells does not depend on any input and is computed once.
    """

    def __init__(self, model: EfficientViTSam) -> None:
        super().__init__()
        self.prompt_encoder = model.prompt_encoder
        self.mask_decoder = model.mask_decoder
        grid = model.variant.encoder.neck.grid
        positions = model.prompt_encoder.cell_positions((grid, grid), 1024 / grid, None)
        self.register_buffer("positions", positions)

    def forward(self, embedding: Tensor, points: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """See the class."""
        # 64 bits, because an exported GatherND takes no others in onnxruntime
        sparse, dense = self.prompt_encoder(points, labels.long(), None)
        logits, scores = self.mask_decoder(embedding, self.positions, sparse, dense)
        return logits, scores
