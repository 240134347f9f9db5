"""The model zoo as data: what every variant is made of, what it costs and where its weights come from.

Nothing here imports torch. The PyTorch modules (:mod:`evsam.nn`) and the engines are both built from these records,
so a variant is defined in exactly one place.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

from evsam.errors import WeightsError

FRAME_SIZE = 1024
"""Side, in pixels, of the square frame in which prompts live, whatever resolution the encoder sees (SAM's convention)."""

LOGITS_SIZE = 256
"""Side of the low-resolution mask logits of every variant; one logit covers 4 x 4 pixels of the frame."""

PIXEL_MEAN = (123.675, 116.28, 103.53)
"""ImageNet mean of R, G, B on the 0 to 255 scale, as SAM uses it."""

PIXEL_STD = (58.395, 57.12, 57.375)
"""ImageNet standard deviation of R, G, B on the 0 to 255 scale, as SAM uses it."""

BlockKind = Literal["conv", "ds", "res", "fmb", "mb", "att"]
Activation = Literal["gelu", "relu6"]


@dataclass(frozen=True)
class Block:
    """One fused block of a backbone.

    Attributes:
        kind: ``conv`` (convolution, norm, activation), ``ds`` (depthwise, then 1x1), ``res`` (two 3x3 convolutions),
            ``fmb`` (fused MBConv: dense convolution, then 1x1), ``mb`` (MBConv: 1x1, depthwise, 1x1) or ``att``
            (EfficientViT block: residual LiteMLA, then a residual MBConv).
        width: output channels. A block with stride 1 and as many input channels adds its input (except ``conv``).
        stride: 1 or 2, of the spatial convolution.
        expand: hidden channels as a multiple of the input channels.
        kernel: side of the spatial kernel (of the depthwise convolution for ``mb``, ``ds`` and ``att``).
        fewer_norm: True if only the last convolution is normalised and the others carry a bias instead.
        attention_kernel: side of LiteMLA's depthwise multi-scale kernel (``att`` only).
    """

    kind: BlockKind
    width: int
    stride: int = 1
    expand: float = 1
    kernel: int = 3
    fewer_norm: bool = False
    attention_kernel: int = 5


@dataclass(frozen=True)
class NeckConfig:
    """How backbone stages become the image embedding.

    Attributes:
        stages: backbone stages that are projected, resized to the grid and summed, in this order.
        width: channels of the neck and of the embedding.
        grid: side of the embedding, in cells.
        kind: kind of the residual blocks after the sum, ``fmb`` or ``mb``.
        depth: number of those blocks.
        expand: their expansion ratio.
        lateral: ``(stage, channels)`` of each finer feature map handed to the mask decoder besides the embedding,
            coarse to fine; empty for the published variants.
    """

    stages: tuple[int, ...]
    width: int
    grid: int
    kind: BlockKind
    depth: int
    expand: float
    lateral: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True)
class EncoderConfig:
    """Image encoder: backbone stages, neck, activation of all convolutions, and channels per attention head."""

    stages: tuple[tuple[Block, ...], ...]
    neck: NeckConfig
    activation: Activation
    head_dim: int


@dataclass(frozen=True)
class DecoderConfig:
    """Prompt encoder and mask decoder.

    Attributes:
        kind: ``sam`` for SAM's own decoder, ``lite`` for the small one with drawn prompts and skip connections.
        dim: width of the tokens; equals the width of the embedding.
        depth: layers of the two-way transformer.
        heads: attention heads.
        mlp_dim: hidden width of the transformer's MLPs.
        mask_channels: hidden channels of the convolutions that read the mask prompt.
    """

    kind: Literal["sam", "lite"]
    dim: int
    depth: int
    heads: int
    mlp_dim: int
    mask_channels: tuple[int, ...]


@dataclass(frozen=True)
class HubFile:
    """A file on the Hugging Face hub at a pinned revision, with its SHA-256 where it is known."""

    repo: str
    filename: str
    revision: str
    sha256: str | None = None


@dataclass(frozen=True)
class Variant:
    """Everything that is known about one model variant before its weights are read.

    Attributes:
        name: how users call it.
        image_size: side, in pixels, of the square image that the encoder sees.
        encoder: image encoder.
        decoder: prompt encoder and mask decoder.
        parameters: number of parameters of the whole model.
        encoder_macs: multiply-accumulates to encode one image.
        weights: the authors' checkpoint on the hub, or None.
        bundled: file name of weights that ship inside the package, or None.
        published: scores from arXiv 2402.05008 (COCO and LVIS mAP with ViTDet boxes), empty where none exist.
    """

    name: str
    image_size: int
    encoder: EncoderConfig
    decoder: DecoderConfig
    parameters: int
    encoder_macs: int
    weights: HubFile | None = None
    bundled: str | None = None
    published: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))


SAM_DECODER = DecoderConfig(kind="sam", dim=256, depth=2, heads=8, mlp_dim=2048, mask_channels=(4, 16))


def _large_stages(
    widths: tuple[int, ...],
    depths: tuple[int, ...],
    kinds: tuple[BlockKind, ...],
    expands: tuple[float, ...],
    attention_kernel: int,
) -> tuple[tuple[Block, ...], ...]:
    """Stages of an EfficientViT-L backbone (arXiv 2205.14756): each later stage opens with a stride-2 block that
    expands four times as much as the blocks that follow it."""
    stem = (Block("conv", widths[0], stride=2), *(Block(kinds[0], widths[0], expand=expands[0]),) * depths[0])
    stages = [stem]
    for width, depth, kind, expand in zip(widths[1:], depths[1:], kinds[1:], expands[1:], strict=True):
        fewer_norm = kind in ("mb", "att")
        down: BlockKind = "mb" if kind == "att" else kind
        first = Block(down, width, stride=2, expand=expand * 4, fewer_norm=fewer_norm)
        rest = Block(kind, width, expand=expand, fewer_norm=fewer_norm, attention_kernel=attention_kernel)
        stages.append((first, *(rest,) * depth))
    return tuple(stages)


def _l_encoder(depths: tuple[int, ...], neck_depth: int) -> EncoderConfig:
    stages = _large_stages((32, 64, 128, 256, 512), depths, ("res", "fmb", "fmb", "mb", "att"), (1, 4, 4, 4, 6), 5)
    neck = NeckConfig(stages=(4, 3, 2), width=256, grid=64, kind="fmb", depth=neck_depth, expand=1)
    return EncoderConfig(stages, neck, activation="gelu", head_dim=32)


def _xl_encoder(depths: tuple[int, ...], neck_depth: int) -> EncoderConfig:
    kinds: tuple[BlockKind, ...] = ("res", "fmb", "fmb", "fmb", "att", "att")
    stages = _large_stages((32, 64, 128, 256, 512, 1024), depths, kinds, (1, 4, 4, 4, 4, 6), 3)
    neck = NeckConfig(stages=(5, 4, 3), width=256, grid=64, kind="fmb", depth=neck_depth, expand=4)
    return EncoderConfig(stages, neck, activation="gelu", head_dim=32)


def _nano_encoder() -> EncoderConfig:
    """EfficientNet-Lite0's convolutions (so that ImageNet-trained ones can start the training), with EfficientViT's
    linear attention in front of the last MBConv of strides 16 and 32. ReLU6 keeps every activation inside a block
    between 0 and 6: nothing to fear from fp16 or int8."""
    stages = (
        (Block("conv", 32, stride=2), Block("ds", 16)),
        (Block("mb", 24, stride=2, expand=6), Block("mb", 24, expand=6)),
        (Block("mb", 40, stride=2, expand=6, kernel=5), Block("mb", 40, expand=6, kernel=5)),
        (
            Block("mb", 80, stride=2, expand=6),
            *(Block("mb", 80, expand=6),) * 2,
            Block("mb", 112, expand=6, kernel=5),
            Block("mb", 112, expand=6, kernel=5),
            Block("att", 112, expand=6, kernel=5),
        ),
        (
            Block("mb", 192, stride=2, expand=6, kernel=5),
            Block("mb", 192, expand=6, kernel=5),
            Block("att", 192, expand=6, kernel=5),
        ),
    )
    neck = NeckConfig(
        stages=(4, 3),
        width=128,
        grid=32,
        kind="mb",
        depth=1,
        expand=2,
        lateral=((2, 64), (1, 32), (0, 16)),
    )
    return EncoderConfig(stages, neck, activation="relu6", head_dim=16)


_HUB_REVISION = "main"


def _released(
    name: str,
    image_size: int,
    encoder: EncoderConfig,
    parameters: int,
    encoder_macs: int,
    coco: float,
    lvis: float,
) -> Variant:
    return Variant(
        name=name,
        image_size=image_size,
        encoder=encoder,
        decoder=SAM_DECODER,
        parameters=parameters,
        encoder_macs=encoder_macs,
        weights=HubFile("mit-han-lab/efficientvit-sam", f"efficientvit_sam_{name}.pt", _HUB_REVISION),
        published=MappingProxyType({"coco_map": coco, "lvis_map": lvis}),
    )


VARIANTS: Mapping[str, Variant] = MappingProxyType(
    {
        variant.name: variant
        for variant in (
            Variant(
                name="nano",
                image_size=512,
                encoder=_nano_encoder(),
                decoder=DecoderConfig(
                    kind="lite", dim=128, depth=2, heads=4, mlp_dim=512, mask_channels=(16, 32, 64)
                ),
                parameters=0,
                encoder_macs=0,
                bundled="nano.safetensors",
            ),
            _released("l0", 512, _l_encoder((1, 1, 1, 4, 4), 4), 0, 0, 45.7, 41.8),
            _released("l1", 512, _l_encoder((1, 1, 1, 6, 6), 8), 0, 0, 46.2, 42.1),
            _released("l2", 512, _l_encoder((1, 2, 2, 8, 8), 12), 0, 0, 46.6, 42.7),
            _released("xl0", 1024, _xl_encoder((0, 1, 1, 2, 3, 3), 6), 0, 0, 47.5, 43.9),
            _released("xl1", 1024, _xl_encoder((1, 2, 2, 4, 6, 6), 12), 0, 0, 47.8, 44.4),
        )
    }
)


def get_variant(name: str) -> Variant:
    """The variant called ``name``.

    Raises:
        WeightsError: no variant has that name; the message lists those that exist.
    """
    if name not in VARIANTS:
        raise WeightsError(f"variant: expected one of {', '.join(VARIANTS)}, got {name!r}")
    return VARIANTS[name]
