"""The network of a variant, derived from its record in :mod:`evsam.zoo`: ops, shapes, names of tensors.

Everything that walks through the network reads it from here: the names and shapes of weights, the exported graphs and
the ranges folded into them, the encoder on fused operators, the GPU cost model and the table of cases of each op. The
PyTorch modules of :mod:`evsam.nn`, which are what is trained, and the C++ engine are written by hand; tests compare
names, shapes and work with theirs. docs/adding-a-block.md says what a new kind of block takes.

Maps are (B, C, H, W) and square. Names of tensors are those of the released checkpoints.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cache
from types import MappingProxyType
from typing import Any, ClassVar, Literal, NamedTuple, get_args

import numpy as np
import numpy.typing as npt

from evsam.zoo import (
    FRAME_SIZE,
    LOGITS_SIZE,
    Activation,
    Block,
    BlockKind,
    DecoderConfig,
    EncoderConfig,
    NeckConfig,
    Variant,
    get_variant,
)

Array = npt.NDArray[np.float32]
Tensors = Mapping[str, Array]
Shape = tuple[int, ...]
ResizeMode = Literal["bilinear", "bicubic"]

NORM_EPS = 1e-6
"""Of every batch norm and layer norm; the released weights were trained with it."""

ATTENTION_EPS = 1e-15
"""Added to the denominators of the linear attention."""

IMAGE_CHANNELS = 3
"""Of what the encoder reads: R, G, B."""

KERNEL_ACTIVATIONS: Mapping[Activation, Literal["gelu_tanh", "relu6"]] = MappingProxyType(
    {"gelu": "gelu_tanh", "relu6": "relu6"}
)
"""The names that kernels, and :mod:`evsam.ops`, have for the activations of records."""

MASK_TOKENS = 4
"""The single mask, then the three for ambiguous prompts."""

SAM_IOU_HIDDEN = 256
"""Hidden width of the IoU head of SAM's decoder; the lite one uses its token width."""

DRAWN_MAPS = 6
"""Drawn by the lite prompt encoder: mask, inside of the box, soft ellipse in it, ring around it, fore-, background."""

PIXEL = FRAME_SIZE / LOGITS_SIZE
"""Side of a pixel of the drawn maps and of the logits, in frame pixels."""

POINT_SIGMA = 16.0
"""Radius, in frame pixels, of the soft dot that is drawn for a click: half a cell of the stride-16 grid."""

RING = 0.25
"""Width of the ring around a box, as a part of the box's side."""

MASK_RANGE = 10.0
"""Logits of a mask prompt are clamped to this before they are read: beyond it they say nothing more."""


class ConvWeights(NamedTuple):
    """A convolution's numbers, with the norm behind it folded in.

    Attributes:
        weight: float32 (O, I / groups, K, K).
        bias: float32 (O,), or None.
    """

    weight: Array
    bias: Array | None


def fold_norm(weight: Any, bias: Any, gain: Any, offset: Any, mean: Any, variance: Any) -> tuple[Any, Any]:
    """Weight and bias of a convolution that does what a convolution and the batch norm behind it do.

    Args:
        weight: (O, I, K, K), array or tensor; the others are (O,) of the same kind and dtype. Tensors keep gradients.
        bias: of the convolution, or None.
        gain: weight of the norm.
        offset: bias of the norm.
        mean: running mean of the norm.
        variance: running variance of the norm.
    """
    scale = gain / (variance + NORM_EPS) ** 0.5
    shift = -mean if bias is None else bias - mean
    return weight * scale.reshape(-1, 1, 1, 1), offset + shift * scale


@dataclass(frozen=True)
class Conv:
    """A convolution with "same" padding, the batch norm behind it, if any, and the names of their tensors.

    Attributes:
        name: in front of ``.weight`` and ``.bias``.
        inputs: channels.
        outputs: channels.
        filter_size: side of the filter.
        stride: 1 or 2.
        groups: 1, or the number of groups of channels.
        bias: whether the convolution has one of its own.
        norm: in front of the norm's tensors, or None.
    """

    name: str
    inputs: int
    outputs: int
    filter_size: int = 1
    stride: int = 1
    groups: int = 1
    bias: bool = False
    norm: str | None = None

    @property
    def weight_shape(self) -> tuple[int, int, int, int]:
        """(O, I / groups, K, K)."""
        return self.outputs, self.inputs // self.groups, self.filter_size, self.filter_size

    @property
    def tensors(self) -> dict[str, Shape]:
        """Names and shapes, in the order of a state dict."""
        found: dict[str, Shape] = {f"{self.name}.weight": self.weight_shape}
        if self.bias:
            found[f"{self.name}.bias"] = (self.outputs,)
        if self.norm is not None:
            found |= {
                f"{self.norm}.{key}": (self.outputs,) for key in ("weight", "bias", "running_mean", "running_var")
            }
        return found

    def output_size(self, size: int) -> int:
        """Side of the output for an input of side ``size``."""
        return -(-size // self.stride)

    def read(self, tensors: Mapping[str, npt.NDArray[Any]]) -> ConvWeights:
        """Its numbers in a checkpoint, computed in float64 and rounded once.

        Raises:
            KeyError: a tensor is missing.
        """
        weight, *others = (tensors[name].astype(np.float64) for name in self.tensors)
        bias = others.pop(0) if self.bias else None
        if self.norm is not None:
            weight, bias = fold_norm(weight, bias, *others)
        return ConvWeights(weight.astype(np.float32), None if bias is None else bias.astype(np.float32))


@dataclass(frozen=True)
class Map:
    """A feature map: the name of the op that makes it, channels, and height and width, which are equal."""

    name: str
    channels: int
    size: int

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W)."""
        return self.channels, self.size, self.size


@dataclass(frozen=True)
class Op:
    """One op of the encoder.

    Attributes:
        name: unique, and that of the map it makes.
        label: the same for people.
        inputs: maps that it reads.
        residual: map that is added last, or None.
    """

    kind: ClassVar[str]
    """The function of :mod:`evsam.ops` that does it."""

    name: str
    label: str
    inputs: tuple[Map, ...]
    residual: Map | None = field(default=None, kw_only=True)

    @property
    def convs(self) -> tuple[Conv, ...]:
        """Its convolutions, in the order in which they run."""
        values = (getattr(self, each.name) for each in fields(self))
        return tuple(value for value in values if isinstance(value, Conv))

    @property
    def reads(self) -> tuple[Map, ...]:
        """Inputs and residual."""
        return self.inputs if self.residual is None else (*self.inputs, self.residual)

    @property
    def output(self) -> Map:
        """The map that it makes."""
        first = self.inputs[0]
        return Map(self.name, self.convs[-1].outputs, self._sizes[-1]) if self.convs else replace(first, name=self.name)

    @property
    def tensors(self) -> dict[str, Shape]:
        """Names and shapes of the weights that it reads."""
        return {name: shape for conv in self.convs for name, shape in conv.tensors.items()}

    @property
    def _sizes(self) -> list[int]:
        """Side of the map behind each convolution."""
        sizes, size = [], self.inputs[0].size
        for conv in self.convs:
            size = conv.output_size(size)
            sizes.append(size)
        return sizes


@dataclass(frozen=True)
class Convolution(Op):
    """A dense convolution, then an activation, if any."""

    conv: Conv
    activation: Activation | None = None

    @property
    def kind(self) -> str:  # type: ignore[override]
        """``pointwise``, ``conv3x3`` and so on."""
        size = self.conv.filter_size
        return "pointwise" if size == 1 else f"conv{size}x{size}"


@dataclass(frozen=True)
class FusedMBConv(Op):
    """A dense 3x3 convolution to the hidden width, activation, a 1x1 convolution."""

    kind = "fused_mbconv"
    spatial: Conv
    point: Conv
    activation: Activation


@dataclass(frozen=True)
class MBConv(Op):
    """A 1x1 convolution to the hidden width, a depthwise one, both with the activation, and a 1x1 convolution.

    ``expand`` is None for a block without the first one.
    """

    kind = "mbconv"
    expand: Conv | None
    depth: Conv
    point: Conv
    activation: Activation


@dataclass(frozen=True)
class LiteMLA(Op):
    """Multi-scale ReLU linear attention with T = heads * D.

    Attributes:
        qkv: to 3 T channels: for each head its q, k and v.
        depthwise: of them.
        grouped: 1x1 with 3 * heads groups; gives the second set of q, k and v.
        project: from 2 T channels, the heads of both sets.
        head_dim: D.
    """

    kind = "lite_mla"
    qkv: Conv
    depthwise: Conv
    grouped: Conv
    project: Conv
    head_dim: int

    @property
    def heads(self) -> int:
        """Of one set."""
        return self.qkv.outputs // (3 * self.head_dim)


@dataclass(frozen=True)
class UpsampleAdd(Op):
    """One or two maps, resized to ``size`` and added; the residual has that size already."""

    kind = "upsample_add"
    size: int
    mode: ResizeMode

    @property
    def output(self) -> Map:
        """Of the residual's size."""
        return Map(self.name, self.inputs[0].channels, self.size)


@dataclass(frozen=True)
class LayerNorm(Op):
    """Layer norm over the channels of each pixel; ``parameters`` is in front of its tensors' names."""

    kind = "layer_norm_2d"
    parameters: str

    @property
    def tensors(self) -> dict[str, Shape]:
        """Gain and bias."""
        return {f"{self.parameters}.{key}": (self.inputs[0].channels,) for key in ("weight", "bias")}


@dataclass(frozen=True)
class Encoder:
    """The image encoder.

    Attributes:
        image: what it reads: (B, 3, S, S), normalised.
        ops: in an order in which they can run.
        stages: output of each stage of the backbone.
        outputs: the embedding, then the finer maps for the decoder.
    """

    image: Map
    ops: tuple[Op, ...]
    stages: tuple[Map, ...]
    outputs: tuple[Map, ...]

    @property
    def tensors(self) -> dict[str, Shape]:
        """Names and shapes of its weights, in the order of a state dict."""
        # the modules of the finer maps hold all projections of the stages, then those of the coarser maps
        ops = sorted(self.ops, key=lambda op: op.name.startswith("lateral.") and op.name.endswith(".up"))
        return {name: shape for op in ops for name, shape in op.tensors.items()}


def describe_encoder(variant: Variant, image_size: int | None = None) -> Encoder:
    """The encoder of a variant.

    Args:
        variant: a record of :mod:`evsam.zoo`, one of its own or made up.
        image_size: another side of the image than the variant's, in pixels; the grid changes with it.

    Example:
        >>> from evsam.zoo import get_variant
        >>> encoder = describe_encoder(get_variant("l0"))
        >>> encoder.outputs[0].shape
        (256, 64, 64)
        >>> [op.kind for op in encoder.ops[:4]]
        ['conv3x3', 'conv3x3', 'conv3x3', 'fused_mbconv']
    """
    neck, size = variant.encoder.neck, variant.image_size if image_size is None else image_size
    neck = replace(neck, grid=neck.grid * size // variant.image_size)
    return describe_network(replace(variant.encoder, neck=neck), size)


def describe_network(config: EncoderConfig, size: int) -> Encoder:
    """The encoder of a record for images of that side, in pixels."""
    ops: list[Op] = []
    image = x = Map("images", IMAGE_CHANNELS, size)
    stages = []
    for i, stage in enumerate(config.stages):
        for j, block in enumerate(stage):
            name = f"image_encoder.backbone.stages.{i}.op_list.{j}"
            ops += describe_block(block, x, name, f"stage {i} block {j}", config.activation, config.head_dim)
            x = ops[-1].output
        stages.append(x)
    ops += _neck(config.neck, stages, config.activation)
    ops.append(LayerNorm("norm", "layer norm", (ops[-1].output,), "image_encoder.norm"))
    outputs = [ops[-1].output]
    for i, (stage_index, width) in enumerate(config.neck.lateral):
        ops += _lateral(i, stages[stage_index], outputs[-1], width)
        outputs.append(ops[-1].output)
    return Encoder(image, tuple(ops), tuple(stages), tuple(outputs))


def describe_block(block: Block, x: Map, name: str, label: str, activation: Activation, head_dim: int) -> Iterator[Op]:
    """The ops of one block.

    Args:
        block: of a record.
        x: map that it reads.
        name: of the block in checkpoints.
        label: the same for people.
        activation: of its convolutions.
        head_dim: channels per attention head.

    Raises:
        ValueError: there is no such kind of block.
    """
    hidden = round(x.channels * block.expand)
    main, inputs = f"{name}.main", (x,)
    shortcut = x if block.stride == 1 and x.channels == block.width else None
    match block.kind:
        case "conv":
            conv = conv_layer(name, x.channels, block.width, block.filter_size, block.stride)
            yield Convolution(f"{name}.conv", label, inputs, conv, activation)
        case "res":
            conv = conv_layer(f"{main}.conv1", x.channels, hidden, 3, block.stride)
            first = Convolution(f"{main}.conv1", f"{label} conv 1", inputs, conv, activation)
            conv = conv_layer(f"{main}.conv2", hidden, block.width, 3)
            yield first
            yield Convolution(f"{main}.conv2", f"{label} conv 2", (first.output,), conv, residual=shortcut)
        case "fmb":
            spatial = conv_layer(f"{main}.spatial_conv", x.channels, hidden, 3, block.stride)
            point = conv_layer(f"{main}.point_conv", hidden, block.width)
            yield FusedMBConv(main, label, inputs, spatial, point, activation, residual=shortcut)
        case "ds":
            depth, point = depthwise_separable(main, x.channels, block.width, block.filter_size, block.stride)
            yield MBConv(main, label, inputs, None, depth, point, activation, residual=shortcut)
        case "mb":
            yield MBConv(main, label, inputs, *_mbconv(main, block, x.channels), activation, residual=shortcut)
        case "att":
            context = _lite_mla(
                f"{name}.context_module.main", f"{label} context", x, head_dim, block.attention_filter_size
            )
            yield context
            main, y = f"{name}.local_module.main", context.output
            yield MBConv(main, f"{label} local", (y,), *_mbconv(main, block, x.channels), activation, residual=y)
        case _:
            raise ValueError(f"kind of block: expected one of {', '.join(get_args(BlockKind))}, got {block.kind!r}")


def conv_layer(
    name: str,
    inputs: int,
    outputs: int,
    filter_size: int = 1,
    stride: int = 1,
    groups: int = 1,
    *,
    norm: bool = True,
    bias: bool = False,
) -> Conv:
    """A convolution and its norm, with the names of :class:`evsam.nn.layers.ConvLayer`."""
    return Conv(
        f"{name}.conv", inputs, outputs, filter_size, stride, groups, bias, norm=f"{name}.norm" if norm else None
    )


def depthwise_separable(name: str, inputs: int, outputs: int, filter_size: int, stride: int = 1) -> tuple[Conv, Conv]:
    """The depthwise and the 1x1 convolution of :class:`evsam.nn.layers.DSConv`."""
    depth = conv_layer(f"{name}.depth_conv", inputs, inputs, filter_size, stride, groups=inputs)
    return depth, conv_layer(f"{name}.point_conv", inputs, outputs)


def _mbconv(name: str, block: Block, inputs: int) -> tuple[Conv, Conv, Conv]:
    hidden = round(inputs * block.expand)
    norm, bias = not block.fewer_norm, block.fewer_norm
    return (
        conv_layer(f"{name}.inverted_conv", inputs, hidden, norm=norm, bias=bias),
        conv_layer(f"{name}.depth_conv", hidden, hidden, block.filter_size, block.stride, hidden, norm=norm, bias=bias),
        conv_layer(f"{name}.point_conv", hidden, block.width),
    )


def _lite_mla(name: str, label: str, x: Map, head_dim: int, filter_size: int) -> LiteMLA:
    heads = x.channels // head_dim
    total = 3 * heads * head_dim
    return LiteMLA(
        name,
        label,
        (x,),
        conv_layer(f"{name}.qkv", x.channels, total, norm=False),
        Conv(f"{name}.aggreg.0.0", total, total, filter_size, groups=total),
        Conv(f"{name}.aggreg.0.1", total, total, groups=3 * heads),
        conv_layer(f"{name}.proj", 2 * heads * head_dim, x.channels),
        head_dim,
        residual=x,
    )


def _neck(neck: NeckConfig, stages: Sequence[Map], activation: Activation) -> list[Op]:
    ops: list[Op] = []
    for i, index in enumerate(neck.stages):
        conv = conv_layer(f"image_encoder.neck.input_ops.{i}.op_list.0", stages[index].channels, neck.width)
        ops.append(Convolution(f"neck.input{i}", f"neck stage {index}", (stages[index],), conv))
    maps = [op.output for op in ops]
    total = next((x for x in maps if x.size == neck.grid), None)
    resized = [x for x in maps if x != total]
    # two at a time, as the kernels can; the first sum takes the map that has the grid's size already
    for i in range(0, len(resized), 2):
        name, label = ("neck.input", "neck sum") if i == 0 else (f"neck.input.{i // 2}", f"neck sum {i // 2}")
        ops.append(UpsampleAdd(name, label, tuple(resized[i : i + 2]), neck.grid, "bicubic", residual=total))
        total = ops[-1].output
    block = Block(neck.kind, neck.width, expand=neck.expand)
    for i in range(neck.depth):
        name = f"image_encoder.neck.middle.op_list.{i}"
        ops += describe_block(block, ops[-1].output, name, f"neck block {i}", activation, head_dim=0)
    conv = conv_layer("image_encoder.neck.output_ops.0.op_list.0", neck.width, neck.width, norm=False, bias=True)
    return [*ops, Convolution("neck.output", "neck output", (ops[-1].output,), conv)]


def _lateral(number: int, stage: Map, coarse: Map, width: int) -> Iterator[Op]:
    name, label = f"lateral.{number}", f"lateral {width}"
    conv = Conv(f"image_encoder.lateral.skip.{number}", stage.channels, width, bias=True)
    skip = Convolution(f"{name}.skip", f"{label} skip", (stage,), conv)
    conv = Conv(f"image_encoder.lateral.up.{number}", coarse.channels, width, bias=True)
    up = Convolution(f"{name}.up", f"{label} up", (coarse,), conv)
    yield from (skip, up)
    yield UpsampleAdd(f"{name}.sum", f"{label} add", (up.output,), stage.size, "bilinear", residual=skip.output)


@cache
def expected_tensors(variant: str | Variant) -> Mapping[str, Shape]:
    """Names and shapes of all tensors of a variant, in the order of its state dict.

    Batch counters (``num_batches_tracked``), which inference never reads, are left out.

    Args:
        variant: a name in :data:`evsam.zoo.VARIANTS`, or a record.

    Raises:
        WeightsError: no variant has that name.

    Example:
        >>> expected_tensors("l0")["image_encoder.norm.weight"]
        (256,)
    """
    record = get_variant(variant)
    lateral = tuple(width for _, width in record.encoder.neck.lateral)
    decoder = _sam_decoder(record.decoder) if record.decoder.kind == "sam" else _lite_decoder(record.decoder, lateral)
    return MappingProxyType({**describe_encoder(record).tensors, **dict(decoder)})


_Entry = tuple[str, Shape]


def _affine(name: str, width: int) -> Iterator[_Entry]:
    yield f"{name}.weight", (width,)
    yield f"{name}.bias", (width,)


def _linear(name: str, inputs: int, outputs: int) -> Iterator[_Entry]:
    yield f"{name}.weight", (outputs, inputs)
    yield f"{name}.bias", (outputs,)


def _conv2d(name: str, inputs: int, outputs: int, filter_size: int = 1) -> Iterator[_Entry]:
    yield from Conv(name, inputs, outputs, filter_size, bias=True).tensors.items()


def _upconv(name: str, inputs: int, outputs: int) -> Iterator[_Entry]:
    """A transposed 2 x 2 convolution, whose weight has its inputs first."""
    yield f"{name}.weight", (inputs, outputs, 2, 2)
    yield f"{name}.bias", (outputs,)


def _point_tokens(dim: int) -> Iterator[_Entry]:
    yield "prompt_encoder.pe_layer.positional_encoding_gaussian_matrix", (2, dim // 2)
    for i in range(4):
        yield f"prompt_encoder.point_embeddings.{i}.weight", (1, dim)
    yield "prompt_encoder.not_a_point_embed.weight", (1, dim)


def _attention(name: str, dim: int, inner: int) -> Iterator[_Entry]:
    for part in ("q_proj", "k_proj", "v_proj"):
        yield from _linear(f"{name}.{part}", dim, inner)
    yield from _linear(f"{name}.out_proj", inner, dim)


def _mlp(name: str, dim: int, hidden: int, outputs: int) -> Iterator[_Entry]:
    for i, (a, b) in enumerate(((dim, hidden), (hidden, hidden), (hidden, outputs))):
        yield from _linear(f"{name}.layers.{i}", a, b)


def _token_heads(config: DecoderConfig, mask_dim: int, iou_hidden: int) -> Iterator[_Entry]:
    dim = config.dim
    for i in range(config.depth):
        layer = f"mask_decoder.transformer.layers.{i}"
        yield from _attention(f"{layer}.self_attn", dim, dim)
        yield from _affine(f"{layer}.norm1", dim)
        yield from _attention(f"{layer}.cross_attn_token_to_image", dim, dim // 2)
        yield from _affine(f"{layer}.norm2", dim)
        yield from _linear(f"{layer}.mlp.lin1", dim, config.mlp_dim)
        yield from _linear(f"{layer}.mlp.lin2", config.mlp_dim, dim)
        yield from _affine(f"{layer}.norm3", dim)
        yield from _affine(f"{layer}.norm4", dim)
        yield from _attention(f"{layer}.cross_attn_image_to_token", dim, dim // 2)
    yield from _attention("mask_decoder.transformer.final_attn_token_to_image", dim, dim // 2)
    yield from _affine("mask_decoder.transformer.norm_final_attn", dim)
    yield "mask_decoder.iou_token.weight", (1, dim)
    yield "mask_decoder.mask_tokens.weight", (MASK_TOKENS, dim)
    for i in range(MASK_TOKENS):
        yield from _mlp(f"mask_decoder.output_hypernetworks_mlps.{i}", dim, dim, mask_dim)
    yield from _mlp("mask_decoder.iou_prediction_head", dim, iou_hidden, MASK_TOKENS)


def _sam_decoder(config: DecoderConfig) -> Iterator[_Entry]:
    dim = config.dim
    first, second = config.mask_channels
    yield from _point_tokens(dim)
    yield from _conv2d("prompt_encoder.mask_downscaling.0", 1, first, 2)
    yield from _affine("prompt_encoder.mask_downscaling.1", first)
    yield from _conv2d("prompt_encoder.mask_downscaling.3", first, second, 2)
    yield from _affine("prompt_encoder.mask_downscaling.4", second)
    yield from _conv2d("prompt_encoder.mask_downscaling.6", second, dim)
    yield "prompt_encoder.no_mask_embed.weight", (1, dim)
    yield from _token_heads(config, dim // 8, SAM_IOU_HIDDEN)
    yield from _upconv("mask_decoder.output_upscaling.0", dim, dim // 4)
    yield from _affine("mask_decoder.output_upscaling.1", dim // 4)
    yield from _upconv("mask_decoder.output_upscaling.3", dim // 4, dim // 8)


def _lite_decoder(config: DecoderConfig, lateral: tuple[int, ...]) -> Iterator[_Entry]:
    dim = config.dim
    first, second, third = config.mask_channels
    eighth, quarter, half = lateral
    yield from _point_tokens(dim)
    yield from _conv2d("prompt_encoder.mask_downscaling.0.0", DRAWN_MAPS, first, 2)
    yield from _conv2d("prompt_encoder.mask_downscaling.1.0", first, second, 2)
    yield from _affine("prompt_encoder.mask_downscaling.1.1", second)
    yield from _conv2d("prompt_encoder.mask_downscaling.2.0", second, third, 2)
    yield from _affine("prompt_encoder.mask_downscaling.2.1", third)
    yield from _conv2d("prompt_encoder.dense", third, dim)
    yield from _conv2d("prompt_encoder.compare", eighth, eighth)
    yield from _conv2d("prompt_encoder.resemblance_proj", 2, second)
    yield from _token_heads(config, half, dim)
    for i, (a, b) in enumerate(((dim, eighth), (eighth, quarter), (quarter, half))):
        yield from _upconv(f"mask_decoder.up.{i}", a, b)
    for i, (a, b) in enumerate(((second, eighth), (first, quarter))):
        yield from _conv2d(f"mask_decoder.prompt.{i}", a, b)
    yield from _affine("mask_decoder.norm", eighth)
    for i, width in enumerate((eighth, quarter)):
        for conv in depthwise_separable(f"mask_decoder.refine.{i}.main", width, width, 3):
            yield from conv.tensors.items()
