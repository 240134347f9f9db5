"""The model zoo as data: what every variant is made of, what it costs and where its weights come from.

Nothing here imports torch. The PyTorch modules (:mod:`evsam.nn`) and the engines are both built from these records, so
a variant is defined in exactly one place: here, or in the metadata of its weights file (:mod:`evsam.record`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

from evsam.errors import WeightsError

FRAME_SIZE = 1024
"""Side, in pixels, of the square frame in which prompts live, whatever the encoder sees (SAM's convention)."""

LOGITS_SIZE = 256
"""Side of the low-resolution mask logits of every variant; one logit covers 4 x 4 pixels of the frame."""

PIXEL_MEAN = (123.675, 116.28, 103.53)
"""ImageNet mean of R, G, B on the 0 to 255 scale, as SAM uses it."""

PIXEL_STD = (58.395, 57.12, 57.375)
"""ImageNet standard deviation of R, G, B on the 0 to 255 scale, as SAM uses it."""

BlockKind = Literal["conv", "ds", "res", "fmb", "mb", "att"]
Activation = Literal["gelu", "relu6"]
MaskPrompt = Literal["logits", "boxed"]


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
        filter_size: side of the spatial filter (of the depthwise convolution for ``mb``, ``ds`` and ``att``).
        fewer_norm: True if only the last convolution is normalised and the others carry a bias instead.
        attention_filter_size: side of LiteMLA's depthwise multi-scale filter (``att`` only).
    """

    kind: BlockKind
    width: int
    stride: int = 1
    expand: float = 1
    filter_size: int = 3
    fewer_norm: bool = False
    attention_filter_size: int = 5


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
class EverythingConfig:
    """Which masks :meth:`evsam.Sam.segment_everything` keeps of what its points give; the defaults are SAM's.

    Attributes:
        pred_iou_thresh: masks with more predicted IoU than that, 0 to 1.
        stability_score_thresh: masks with at least that stability, 0 to 1.
    """

    pred_iou_thresh: float = 0.88
    stability_score_thresh: float = 0.95


@dataclass(frozen=True)
class HubFile:
    """A file on the Hugging Face hub, its content pinned by a checksum.

    Attributes:
        repo: ``owner/name`` of the model repository.
        filename: path inside it.
        revision: branch, tag or commit to ask for.
        sha256: checksum, in hexadecimal, that a download must have.
    """

    repo: str
    filename: str
    revision: str
    sha256: str

    @property
    def url(self) -> str:
        """Where a browser finds the file."""
        return f"https://huggingface.co/{self.repo}/resolve/{self.revision}/{self.filename}"


@dataclass(frozen=True)
class Variant:
    """Everything that is known about one model variant before its weights are read.

    Name, image size, encoder and decoder are its architecture; :mod:`evsam.record` writes them, ``mask_prompt`` and
    ``everything`` into weights files.

    Attributes:
        name: how users call it.
        image_size: side, in pixels, of the square image that the encoder sees.
        encoder: image encoder.
        decoder: prompt encoder and mask decoder.
        mask_prompt: what the weights make of a mask prompt. ``logits``: logits of an earlier prediction, as they are.
            ``boxed``: they have not learnt to find an object by a mask; unless a box, or a foreground click on the
            mask, says where it is, the mask is given as 10 inside and -10 outside, together with the box around its
            large regions and the foreground clicks (csrc/engine/boxed_mask.h).
        everything: thresholds of segmenting everything that suit the scores which the weights predict.
        parameters: number of parameters of the whole model (buffers, such as norm statistics, are not counted); 0 where
            nobody has counted.
        encoder_macs: multiply-accumulates to encode one image, those of products alone; 0 likewise.
        weights: the authors' checkpoint on the hub, or None.
        bundled: file name of weights that ship inside the package, or None.
        published: scores and speeds from arXiv 2402.05008, empty where none exist; :data:`PUBLISHED_KEYS` says what
            each key means.
    """

    name: str
    image_size: int
    encoder: EncoderConfig
    decoder: DecoderConfig
    mask_prompt: MaskPrompt = "logits"
    everything: EverythingConfig = EverythingConfig()
    parameters: int = 0
    encoder_macs: int = 0
    weights: HubFile | None = None
    bundled: str | None = None
    # A plain dict, left out of the hash: read-only views can be neither hashed nor pickled, records must be both.
    published: Mapping[str, float] = field(default_factory=dict, hash=False)


PUBLISHED_KEYS: Mapping[str, str] = MappingProxyType(
    {
        "coco_map": "COCO val2017, boxes of ViTDet as prompts: mask mAP in percent",
        "lvis_map": "LVIS val, boxes of ViTDet as prompts: mask mAP in percent",
        "coco_map_yolov8": "COCO val2017, boxes of YOLOv8 as prompts: mask mAP in percent",
        "coco_map_grounding_dino": "COCO val2017, boxes of Grounding DINO as prompts: mask mAP in percent",
        "sginw_map": "Segmentation in the Wild, boxes of Grounding DINO as prompts: mean mask mAP in percent",
        "coco_box_miou": "COCO val2017, ground-truth box as prompt: mean IoU in percent",
        "lvis_box_miou": "LVIS val, ground-truth box as prompt: mean IoU in percent",
        **{
            f"{data}_{prompt}_miou_{size}": f"the same for {size} objects, by the authors' limits"
            for data in ("coco", "lvis")
            for prompt in ("box", "1_click")
            for size in ("small", "medium", "large")
        },
        "coco_1_click_miou": "COCO val2017, one click: mean IoU in percent",
        "coco_3_clicks_miou": "COCO val2017, three clicks: mean IoU in percent",
        "coco_5_clicks_miou": "COCO val2017, five clicks: mean IoU in percent",
        "lvis_1_click_miou": "LVIS val, one click: mean IoU in percent",
        "lvis_3_clicks_miou": "LVIS val, three clicks: mean IoU in percent",
        "lvis_5_clicks_miou": "LVIS val, five clicks: mean IoU in percent",
        "orin_ms": "latency of the encoder on Jetson AGX Orin, batch 1, TensorRT fp16, with transfers: milliseconds",
        "a100_images_per_second": "throughput of the encoder on A100, batch 16, TensorRT fp16, with transfers",
    }
)
"""What the keys of :attr:`Variant.published` mean; clicks are placed in the middle of the largest error.

Of three masks the one with the best predicted IoU counts, whatever the prompt, and no mask is fed back. Scores with
three decimals, and those by size, are from the authors' repository (mit-han-lab/efficientvit), which counts objects
of exactly 32^2 and 96^2 pixels in both sizes; the others are from the paper.
"""

PUBLISHED_OTHERS: Mapping[str, Mapping[str, float]] = MappingProxyType(
    {
        "SAM ViT-H": MappingProxyType(
            {
                "coco_map": 46.5,
                "lvis_map": 44.2,
                "sginw_map": 48.7,
                "coco_box_miou": 77.4,
                "lvis_box_miou": 77.0,
                "coco_1_click_miou": 58.4,
                "coco_3_clicks_miou": 69.6,
                "coco_5_clicks_miou": 71.4,
                "lvis_1_click_miou": 59.2,
                "lvis_3_clicks_miou": 66.0,
                "lvis_5_clicks_miou": 66.8,
            }
        ),
        "MobileSAM": MappingProxyType({"coco_map": 38.7}),
        "EdgeSAM": MappingProxyType({"coco_map": 42.1}),
        "EfficientSAM": MappingProxyType({"coco_map": 44.4}),
    }
)
"""What the same paper gives for other models, by the same keys."""


SAM_DECODER = DecoderConfig(kind="sam", dim=256, depth=2, heads=8, mlp_dim=2048, mask_channels=(4, 16))


def _large_stages(
    widths: tuple[int, ...],
    depths: tuple[int, ...],
    kinds: tuple[BlockKind, ...],
    expands: tuple[float, ...],
    attention_filter_size: int,
) -> tuple[tuple[Block, ...], ...]:
    """Stages of an EfficientViT-L backbone (arXiv 2205.14756).

    Each stage after the stem opens with a stride-2 block that expands four times as much as the blocks that follow it.
    """
    stem = (Block("conv", widths[0], stride=2), *(Block(kinds[0], widths[0], expand=expands[0]),) * depths[0])
    stages = [stem]
    for width, depth, kind, expand in zip(widths[1:], depths[1:], kinds[1:], expands[1:], strict=True):
        fewer_norm = kind in ("mb", "att")
        down: BlockKind = "mb" if kind == "att" else kind
        first = Block(down, width, stride=2, expand=expand * 4, fewer_norm=fewer_norm)
        rest = Block(kind, width, expand=expand, fewer_norm=fewer_norm, attention_filter_size=attention_filter_size)
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
    """EfficientNet-Lite0's convolutions with EfficientViT's linear attention.

    Convolutions trained on ImageNet can start the training; the attention sits in front of the last MBConv of strides
    16 and 32. ReLU6 keeps what is
    stored inside a convolution block between 0 and 6, which suits fp16 and int8; the residual streams are not bounded.
    """
    stages = (
        (Block("conv", 32, stride=2), Block("ds", 16)),
        (Block("mb", 24, stride=2, expand=6), Block("mb", 24, expand=6)),
        (Block("mb", 40, stride=2, expand=6, filter_size=5), Block("mb", 40, expand=6, filter_size=5)),
        (
            Block("mb", 80, stride=2, expand=6),
            *(Block("mb", 80, expand=6),) * 2,
            Block("mb", 112, expand=6, filter_size=5),
            Block("mb", 112, expand=6, filter_size=5),
            Block("att", 112, expand=6, filter_size=5),
        ),
        (
            Block("mb", 192, stride=2, expand=6, filter_size=5),
            Block("mb", 192, expand=6, filter_size=5),
            Block("att", 192, expand=6, filter_size=5),
        ),
    )
    neck = NeckConfig(
        stages=(4, 3),
        width=128,
        grid=32,
        kind="mb",
        depth=1,
        expand=2,
        lateral=((2, 64), (1, 32), (0, 8)),
    )
    return EncoderConfig(stages, neck, activation="relu6", head_dim=16)


_HUB_REPO = "mit-han-lab/efficientvit-sam"

_HUB_REVISION = "main"
"""A moving name, because no commit of that repository is known to us for sure.

What is loaded is pinned all the same: a download must have the SHA-256 given below, and the commit that the name stood
for is recorded. The checksums are those that CompressAI-Vision (scripts/install.sh) checks the authors' files against;
other projects that pin l0 have the same one. We could not verify them against the files themselves.
"""


def _released(
    name: str,
    image_size: int,
    encoder: EncoderConfig,
    *,
    parameters: int,
    encoder_macs: int,
    sha256: str,
    published: Mapping[str, float],
) -> Variant:
    return Variant(
        name=name,
        image_size=image_size,
        encoder=encoder,
        decoder=SAM_DECODER,
        parameters=parameters,
        encoder_macs=encoder_macs,
        weights=HubFile(_HUB_REPO, f"efficientvit_sam_{name}.pt", _HUB_REVISION, sha256),
        published=published,
    )


_NANO = Variant(
    name="nano",
    image_size=512,
    encoder=_nano_encoder(),
    decoder=DecoderConfig(kind="lite", dim=128, depth=2, heads=4, mlp_dim=512, mask_channels=(16, 32, 64)),
    mask_prompt="boxed",
    everything=EverythingConfig(pred_iou_thresh=0.6, stability_score_thresh=0.75),
    parameters=3_110_812,
    encoder_macs=1_928_945_664,
    bundled="nano.safetensors",
)

_L0 = _released(
    "l0",
    512,
    _l_encoder((1, 1, 1, 4, 4), 4),
    parameters=34_792_784,
    encoder_macs=34_774_974_464,
    sha256="c4f994b01a16d48bcf2fbbb089448cfbf58fae5811edfa8113c953b8b8cc64b8",
    published={"coco_map": 45.7, "lvis_map": 41.8, "orin_ms": 8.2, "a100_images_per_second": 762},
)

_L1 = _released(
    "l1",
    512,
    _l_encoder((1, 1, 1, 6, 6), 8),
    parameters=47_650_128,
    encoder_macs=48_980_295_680,
    sha256="fa151df2b9b96896accd505470755cdd293a4c50cdabac95478f3fbd86d9152b",
    published={"coco_map": 46.2, "lvis_map": 42.1, "orin_ms": 10.2, "a100_images_per_second": 638},
)

_L2 = _released(
    "l2",
    512,
    _l_encoder((1, 2, 2, 8, 8), 12),
    parameters=61_328_592,
    encoder_macs=68_554_326_016,
    sha256="d4bfd842224cbb99de09acc3325e81ac5b7e8725c8fbdab152305e5d934bfe4a",
    published={"coco_map": 46.6, "lvis_map": 42.7, "orin_ms": 12.9, "a100_images_per_second": 538},
)

_XL0 = _released(
    "xl0",
    1024,
    _xl_encoder((0, 1, 1, 2, 3, 3), 6),
    parameters=116_957_904,
    encoder_macs=184_804_442_112,
    sha256="9bc2f87bd23d6e6d1f7b5beff910f98835c7c333fac73e695bac0bec685968f8",
    published={"coco_map": 47.5, "lvis_map": 43.9, "orin_ms": 22.5, "a100_images_per_second": 278},
)

_XL1 = _released(
    "xl1",
    1024,
    _xl_encoder((1, 2, 2, 4, 6, 6), 12),
    parameters=203_346_128,
    encoder_macs=321_870_364_672,
    sha256="10f42277679427c1183dcff19758e536aa86bcc4304e4b387ff48865784be05c",
    published={
        "coco_map": 47.8,
        "lvis_map": 44.4,
        "coco_map_yolov8": 44.7,
        "coco_map_grounding_dino": 48.2,
        "sginw_map": 48.9,
        "coco_box_miou": 79.927,
        "coco_box_miou_small": 75.833,
        "coco_box_miou_medium": 82.210,
        "coco_box_miou_large": 83.748,
        "lvis_box_miou": 79.886,
        "lvis_box_miou_small": 74.412,
        "lvis_box_miou_medium": 88.447,
        "lvis_box_miou_large": 91.577,
        "coco_1_click_miou": 59.757,
        "coco_1_click_miou_small": 55.029,
        "coco_1_click_miou_medium": 63.837,
        "coco_1_click_miou_large": 62.132,
        "coco_3_clicks_miou": 71.3,
        "coco_5_clicks_miou": 75.3,
        "lvis_1_click_miou": 56.624,
        "lvis_1_click_miou_small": 47.750,
        "lvis_1_click_miou_medium": 71.796,
        "lvis_1_click_miou_large": 72.442,
        "lvis_3_clicks_miou": 67.0,
        "lvis_5_clicks_miou": 71.7,
        "orin_ms": 37.2,
        "a100_images_per_second": 182,
    },
)

VARIANTS: Mapping[str, Variant] = MappingProxyType({v.name: v for v in (_NANO, _L0, _L1, _L2, _XL0, _XL1)})
"""All variants by name, smallest first."""


def get_variant(variant: str | Variant) -> Variant:
    """The variant of a name; a record is taken as it is.

    Raises:
        WeightsError: no variant has that name; the message lists those that exist.
    """
    if isinstance(variant, Variant):
        return variant
    if variant not in VARIANTS:
        raise WeightsError(f"variant: expected one of {', '.join(VARIANTS)}, got {variant!r}")
    return VARIANTS[variant]
