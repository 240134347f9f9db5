"""Backbone, neck and image encoder, built from a variant's :class:`~evsam.zoo.EncoderConfig`."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn

from evsam.network import describe_network
from evsam.nn.layers import ConvLayer, LayerNorm2d, build_block
from evsam.zoo import Activation, Block, EncoderConfig, NeckConfig


class OpSequential(nn.Module):
    """Modules applied one after the other, held under the name that the released checkpoints use."""

    def __init__(self, ops: Iterable[nn.Module]) -> None:
        super().__init__()
        self.op_list = nn.ModuleList(ops)

    def forward(self, x: Tensor) -> Tensor:
        for op in self.op_list:
            x = op(x)
        return x


class Backbone(nn.Module):
    """EfficientViT backbone: a list of stages, each at half the resolution of the one before."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        channels = 3
        self.stages = nn.ModuleList()
        for stage in config.stages:
            ops = []
            for block in stage:
                ops.append(build_block(block, channels, config.activation, config.head_dim))
                channels = block.width
            self.stages.append(OpSequential(ops))

    def forward(self, x: Tensor) -> list[Tensor]:
        """Outputs of all stages, fine to coarse, for an image (B, 3, H, W)."""
        outputs = []
        for stage in self.stages:
            x = stage(x)
            outputs.append(x)
        return outputs


class Neck(nn.Module):
    """Projects some stages to one width, resizes them to the grid (bicubic), adds them and refines the sum.

    The grid is ``config.grid`` cells for an image of the variant's size and scales with the image; only training,
    which works on crops, uses another size.
    """

    def __init__(self, config: NeckConfig, widths: list[int], activation: Activation) -> None:
        super().__init__()
        self.stages = config.stages
        self.input_ops = nn.ModuleList([OpSequential([ConvLayer(widths[s], config.width)]) for s in config.stages])
        middle = Block(config.kind, config.width, expand=config.expand)
        self.middle = OpSequential(
            [build_block(middle, config.width, activation, head_dim=0) for _ in range(config.depth)]
        )
        output = ConvLayer(config.width, config.width, norm=False, bias=True)
        self.output_ops = nn.ModuleList([OpSequential([output])])

    def forward(self, stages: list[Tensor], grid: tuple[int, int]) -> Tensor:
        total: Tensor | None = None
        for index, project in zip(self.stages, self.input_ops, strict=True):
            x: Tensor = project(stages[index])
            if x.shape[-2:] != grid:
                x = F.interpolate(x, size=grid, mode="bicubic", align_corners=False)
            total = x if total is None else total + x
        return self.output_ops[0](self.middle(total))


class Lateral(nn.Module):
    """Finer maps for the mask decoder: the coarser map, projected and doubled in size, plus a projected stage."""

    def __init__(self, config: NeckConfig, widths: list[int]) -> None:
        super().__init__()
        self.stages = [stage for stage, _ in config.lateral]
        channels = [config.width, *(width for _, width in config.lateral)]
        self.skip = nn.ModuleList([nn.Conv2d(widths[stage], width, 1) for stage, width in config.lateral])
        self.up = nn.ModuleList([nn.Conv2d(coarse, fine, 1) for coarse, fine in pairwise(channels)])

    def forward(self, stages: list[Tensor], embedding: Tensor) -> list[Tensor]:
        maps = []
        x = embedding
        for index, skip, up in zip(self.stages, self.skip, self.up, strict=True):
            fine = skip(stages[index])
            x = fine + F.interpolate(up(x), size=fine.shape[-2:], mode="bilinear", align_corners=False)
            maps.append(x)
        return maps


class ImageEncoder(nn.Module):
    """Backbone, neck, layer norm and, where the variant has them, the lateral feature maps."""

    def __init__(self, config: EncoderConfig, image_size: int) -> None:
        super().__init__()
        widths = [stage[-1].width for stage in config.stages]
        self.network = describe_network(config, image_size)
        self.cell = image_size // config.neck.grid
        self.backbone = Backbone(config)
        self.neck = Neck(config.neck, widths, config.activation)
        self.norm = LayerNorm2d(config.neck.width)
        self.lateral = Lateral(config.neck, widths) if config.neck.lateral else None

    def forward(self, x: Tensor, side: int | None = None) -> tuple[Tensor, ...]:
        """Encode normalised images.

        Args:
            x: float (B, 3, S, S), S the variant's image size.
            side: cells along a side of the embedding; None for a grid that grows with the image. Only training on
                images of several sizes sets it.

        Returns:
            The embedding (B, C, G, G), then the lateral feature maps, coarse to fine, if the variant has any.
        """
        stages = self.backbone(x)
        grid = (x.shape[-2] // self.cell, x.shape[-1] // self.cell) if side is None else (side, side)
        embedding = self.norm(self.neck(stages, grid))
        lateral = self.lateral(stages, embedding) if self.lateral is not None else []
        return (embedding, *lateral)
