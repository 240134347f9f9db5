"""The network of a variant, derived from its record in :mod:`evsam.zoo`: ops, shapes, names of tensors.

Everything that walks through the network reads it from here: the names and shapes of weights, the exported graphs and
the ranges folded into them, the encoder on fused operators, the GPU cost model and the table of cases of each op. The
PyTorch modules of :mod:`evsam.nn`, which are what is trained, and the C++ engine are written by hand; tests compare
names, shapes and work with theirs. docs/adding-a-block.md says what a new kind of block takes.

Maps are (B, C, H, W) and square. Names of tensors are those of the released checkpoints.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
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
Activation = Literal["none", "relu", "relu6", "gelu_tanh", "gelu"]
"""As the kernels (csrc/core/activation.h) and :mod:`evsam.ops` name them."""

NORM_EPS = 1e-6
"""Of every batch norm and layer norm; the released weights were trained with it."""

ATTENTION_EPS = 1e-15
"""Added to the denominators of the linear attention."""

IMAGE_CHANNELS = 3
"""Of what the encoder reads: R, G, B."""

_ACTIVATIONS: Mapping[str, Activation] = MappingProxyType({"gelu": "gelu_tanh", "relu6": "relu6"})
"""What the activations of records are."""

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


class Part(ABC):
    """A part of an op: what has tensors of its own."""

    @property
    @abstractmethod
    def tensors(self) -> dict[str, Shape]:
        """Their names and shapes."""


@dataclass(frozen=True)
class Conv(Part):
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
        """Names and shapes: weight and bias, then gain, offset, mean and variance of the norm."""
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
class UpConv(Conv):
    """A transposed 2x2 convolution with stride 2, which doubles the sides of a map."""

    filter_size: int = 2
    stride: int = 2
    bias: bool = True

    @property
    def weight_shape(self) -> tuple[int, int, int, int]:
        """(I, O, 2, 2)."""
        return self.inputs, self.outputs, self.filter_size, self.filter_size

    def output_size(self, size: int) -> int:
        """Side of the output for an input of side ``size``."""
        return self.stride * size


@dataclass(frozen=True)
class Linear(Part):
    """``x W^T + b`` on tokens."""

    name: str
    inputs: int
    outputs: int

    @property
    def tensors(self) -> dict[str, Shape]:
        """Weight and bias."""
        return {f"{self.name}.weight": (self.outputs, self.inputs), f"{self.name}.bias": (self.outputs,)}


@dataclass(frozen=True)
class Norm(Part):
    """Layer norm over channels."""

    name: str
    channels: int

    @property
    def tensors(self) -> dict[str, Shape]:
        """Gain and bias."""
        return {f"{self.name}.{key}": (self.channels,) for key in ("weight", "bias")}


@dataclass(frozen=True)
class Table(Part):
    """A matrix that is read as it is, ``name`` being the whole name of its tensor."""

    name: str
    rows: int
    columns: int

    @property
    def tensors(self) -> dict[str, Shape]:
        """The one."""
        return {self.name: (self.rows, self.columns)}


@dataclass(frozen=True)
class Map:
    """A feature map, or tokens.

    Attributes:
        name: of the op that makes it.
        channels: of each pixel or token.
        size: height and width, which are equal; 0 for the tokens of prompts, however many there are.
    """

    name: str
    channels: int
    size: int

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W)."""
        return self.channels, self.size, self.size


@dataclass(frozen=True)
class Op:
    """One op.

    Attributes:
        name: unique in its network, and that of the map it makes.
        label: the same for people.
        inputs: maps that it reads.
        residual: map that is added last, or None.
    """

    kind: ClassVar[str]
    """The function of :mod:`evsam.ops` that does it, where there is one."""

    name: str
    label: str
    inputs: tuple[Map, ...]
    residual: Map | None = field(default=None, kw_only=True)

    @property
    def parts(self) -> tuple[Part, ...]:
        """What has weights, in the order in which it runs."""
        values = (getattr(self, each.name) for each in fields(self))
        each = (part for value in values for part in (value if isinstance(value, tuple) else (value,)))
        return tuple(part for part in each if isinstance(part, Part))

    @property
    def convs(self) -> tuple[Conv, ...]:
        """Its convolutions, in the order in which they run."""
        return tuple(part for part in self.parts if isinstance(part, Conv))

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
        return {name: shape for part in self.parts for name, shape in part.tensors.items()}

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
    """A dense convolution, then an activation."""

    conv: Conv
    activation: Activation = "none"

    @property
    def kind(self) -> str:  # type: ignore[override]
        """``pointwise``, ``patch_conv``, ``conv3x3`` and so on."""
        size = self.conv.filter_size
        return {1: "pointwise", 2: "patch_conv"}.get(size, f"conv{size}x{size}")


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
    """Layer norm over the channels of each pixel, then an activation."""

    kind = "layer_norm_2d"
    norm: Norm
    activation: Activation = "none"


@dataclass(frozen=True)
class ConvTranspose(Op):
    """A map doubled in size, plus the residual, plus a second map, if any, by a 1x1 convolution; then an activation."""

    kind = "conv_transpose"
    up: UpConv
    side: Conv | None = None
    activation: Activation = "none"


@dataclass(frozen=True)
class PromptTokens(Op):
    """What the transformer starts from: the output tokens, then a token for each point of the prompt.

    A point's token is the positional encoding of its pixel's centre plus the row of its label; padding, whose label is
    -1, has no position. With u in [-1, 1]^2 the place in the frame, the encoding is sin and cos of 2 pi u F.

    Attributes:
        frequencies: F, for x and y.
        labels: of labels -1, 0, 1, 2 and 3.
        outputs: of the IoU, and of the masks.
    """

    frequencies: Table
    labels: tuple[Table, ...]
    outputs: tuple[Table, ...]

    @property
    def output(self) -> Map:
        """The tokens."""
        return Map(self.name, self.labels[0].columns, 0)


@dataclass(frozen=True)
class MaskOrNone(Op):
    """What was made of the mask prompt, or the row ``none`` in every cell where there is no mask; then the residual."""

    none: Table


@dataclass(frozen=True)
class DrawnPrompt(Op):
    """A prompt as :data:`DRAWN_MAPS` maps of the mask's size; :func:`evsam.nn.lite_decoder.draw_prompts` says how."""

    @property
    def output(self) -> Map:
        """The maps."""
        return Map(self.name, DRAWN_MAPS, self.inputs[0].size)


@dataclass(frozen=True)
class Resemblance(Op):
    """Of each pixel of the first map with the regions that the second one, a drawn prompt, points at and excludes.

    See :class:`evsam.nn.lite_decoder.ResemblancePrior`.
    """

    @property
    def output(self) -> Map:
        """One channel for each of the regions."""
        return Map(self.name, 2, self.inputs[0].size)


@dataclass(frozen=True)
class Attention(Op):
    """The first input attends to the second one; residual and norm follow.

    Both have their positional encodings added, of points or of the centres of cells, where queries and keys are made of
    them; the values are made of the second input alone. The very first attention has neither residual nor encodings:
    the tokens still are their own.
    """

    query: Linear
    key: Linear
    value: Linear
    project: Linear
    heads: int
    norm: Norm


@dataclass(frozen=True)
class MLP(Op):
    """Linear layers with ReLU between them, on all tokens or on one; residual and norm, if any, follow."""

    layers: tuple[Linear, ...]
    norm: Norm | None = None
    token: int | None = None

    @property
    def output(self) -> Map:
        """The new tokens."""
        return Map(self.name, self.layers[-1].outputs, 0)


@dataclass(frozen=True)
class Product(Op):
    """The products of each pixel of the first input with the vector of each mask, which are the other inputs."""

    @property
    def output(self) -> Map:
        """Logits of the masks."""
        return Map(self.name, len(self.inputs) - 1, self.inputs[0].size)


@dataclass(frozen=True)
class Network:
    """Maps that come in, ops in an order in which they can run, and the maps that leave."""

    inputs: tuple[Map, ...]
    ops: tuple[Op, ...]
    outputs: tuple[Map, ...]

    @property
    def tensors(self) -> dict[str, Shape]:
        """Names and shapes of its weights."""
        return {name: shape for op in self.ops for name, shape in op.tensors.items()}


@dataclass(frozen=True)
class Encoder(Network):
    """The image encoder; its outputs are the embedding, then the finer maps for the decoder.

    Attributes:
        stages: output of each stage of the backbone.
    """

    stages: tuple[Map, ...]

    @property
    def image(self) -> Map:
        """What it reads: (B, 3, S, S), normalised."""
        return self.inputs[0]


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
    ops, activation = list[Op](), _ACTIVATIONS[config.activation]
    image = x = Map("images", IMAGE_CHANNELS, size)
    stages = []
    for i, stage in enumerate(config.stages):
        for j, block in enumerate(stage):
            name = f"image_encoder.backbone.stages.{i}.op_list.{j}"
            ops += describe_block(block, x, name, f"stage {i} block {j}", activation, config.head_dim)
            x = ops[-1].output
        stages.append(x)
    ops += _neck(config.neck, stages, activation)
    ops.append(LayerNorm("norm", "layer norm", (ops[-1].output,), Norm("image_encoder.norm", config.neck.width)))
    outputs = [ops[-1].output]
    for i, (stage_index, width) in enumerate(config.neck.lateral):
        ops += _lateral(i, stages[stage_index], outputs[-1], width)
        outputs.append(ops[-1].output)
    return Encoder((image,), tuple(ops), tuple(outputs), tuple(stages))


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


def describe_decoder(variant: Variant) -> Network:
    """Prompt encoder and mask decoder of a variant.

    Args:
        variant: a record of :mod:`evsam.zoo`, one of its own or made up.

    Returns:
        A network with the encoder's outputs as inputs, then the mask of the prompt: logits of an earlier prediction.
        Points and labels are what its :class:`PromptTokens` and :class:`DrawnPrompt` read besides. Its outputs are the
        logits of the masks, and their scores.

    Example:
        >>> from evsam.zoo import get_variant
        >>> decoder = describe_decoder(get_variant("l0"))
        >>> [type(op).__name__ for op in decoder.ops[:3]]
        ['Convolution', 'LayerNorm', 'Convolution']
        >>> decoder.outputs[0].shape
        (4, 256, 256)
    """
    config, features = variant.decoder, describe_encoder(variant).outputs
    ops, mask, is_sam = _DecoderOps(), Map("mask", 1, LOGITS_SIZE), config.kind == "sam"
    source, *drawn = ops.mask_prompt(config, mask, features) if is_sam else ops.drawn_prompt(config, mask, features)
    tokens, cells = ops.two_way_transformer(config, ops.prompt_tokens(config.dim), source)
    pixels = ops.upscale(cells) if is_sam else ops.refine(cells, features[1:], drawn)
    vectors = [
        ops.perceptron(f"mask_decoder.output_hypernetworks_mlps.{i}", tokens, 1 + i, config.dim, pixels.channels)
        for i in range(MASK_TOKENS)
    ]
    logits = ops.add(Product("logits", "logits", (pixels, *vectors)))
    hidden = SAM_IOU_HIDDEN if is_sam else config.dim
    scores = ops.perceptron("mask_decoder.iou_prediction_head", tokens, 0, hidden, MASK_TOKENS)
    return Network((*features, mask), tuple(ops), (logits, scores))


class _DecoderOps(list[Op]):
    """Ops, to which each method adds some; it returns the map that the last of them makes."""

    def add(self, op: Op) -> Map:
        self.append(op)
        return op.output

    def convolve(self, name: str, label: str, x: Map, width: int, size: int = 1, **more: Any) -> Map:
        conv = Conv(f"prompt_encoder.{name}", x.channels, width, size, size, bias=True)
        return self.add(Convolution(conv.name, label, (x,), conv, **more))

    def normalise(self, name: str, label: str, x: Map, activation: Activation) -> Map:
        return self.add(LayerNorm(name, label, (x,), Norm(name, x.channels), activation))

    def double(self, name: str, label: str, x: Map, width: int, **more: Any) -> Map:
        return self.add(ConvTranspose(name, label, (x,), UpConv(name, x.channels, width), **more))

    def prompt_tokens(self, dim: int) -> Map:
        def table(name: str, rows: int = 1) -> Table:
            return Table(f"{name}.weight", rows, dim)

        frequencies = Table("prompt_encoder.pe_layer.positional_encoding_gaussian_matrix", 2, dim // 2)
        labels = ("not_a_point_embed", *(f"point_embeddings.{i}" for i in range(4)))
        outputs = table("mask_decoder.iou_token"), table("mask_decoder.mask_tokens", MASK_TOKENS)
        kinds = tuple(table(f"prompt_encoder.{name}") for name in labels)
        return self.add(PromptTokens("tokens", "tokens", (), frequencies, kinds, outputs))

    def mask_prompt(self, config: DecoderConfig, mask: Map, features: Sequence[Map]) -> tuple[Map]:
        """SAM's: the embedding plus the mask."""
        (embedding,), (first, second), name = features, config.mask_channels, "mask_downscaling"
        x = self.convolve(f"{name}.0", "prompt conv 1", mask, first, 2)
        x = self.normalise(f"prompt_encoder.{name}.1", "prompt norm 1", x, "gelu")
        x = self.convolve(f"{name}.3", "prompt conv 2", x, second, 2)
        x = self.normalise(f"prompt_encoder.{name}.4", "prompt norm 2", x, "gelu")
        x = self.convolve(f"{name}.6", "prompt dense", x, config.dim)
        none = Table("prompt_encoder.no_mask_embed.weight", 1, config.dim)
        return (self.add(MaskOrNone("dense", "prompt", (x,), none, residual=embedding)),)

    def drawn_prompt(self, config: DecoderConfig, mask: Map, features: Sequence[Map]) -> tuple[Map, Map, Map]:
        """The small decoder's: the embedding plus the drawn prompt, and its maps at two and four times that size."""
        (embedding, fine), (first, second, third), name = features[:2], config.mask_channels, "mask_downscaling"
        drawn = self.add(DrawnPrompt("drawn", "prompt drawing", (mask,)))
        compared = self.convolve("compare", "prompt compare", fine, fine.channels)
        quarter = self.convolve(f"{name}.0.0", "prompt conv 1", drawn, first, 2, activation="relu")
        eighth = self.convolve(f"{name}.1.0", "prompt conv 2", quarter, second, 2)
        eighth = self.normalise(f"prompt_encoder.{name}.1.1", "prompt norm 2", eighth, "relu")
        alike = self.add(Resemblance("resemblance", "prompt regions", (compared, drawn)))
        eighth = self.convolve("resemblance_proj", "prompt resemblance", alike, second, residual=eighth)
        x = self.convolve(f"{name}.2.0", "prompt conv 3", eighth, third, 2)
        x = self.normalise(f"prompt_encoder.{name}.2.1", "prompt norm 3", x, "relu")
        return self.convolve("dense", "prompt dense", x, config.dim, residual=embedding), eighth, quarter

    def two_way_transformer(self, config: DecoderConfig, tokens: Map, cells: Map) -> tuple[Map, Map]:
        """SAM's (arXiv 2304.02643, appendix A): tokens and image cells attend to each other. Both, when they have."""
        dim, layer = config.dim, ""

        def attend(name: str, norm: str, x: Map, to: Map, inner: int = dim // 2, first: bool = False) -> Map:
            name = f"{layer}.{name}"
            q, k, v = (Linear(f"{name}.{part}_proj", dim, inner) for part in "qkv")
            parts = (q, k, v, Linear(f"{name}.out_proj", inner, dim), config.heads, Norm(f"{layer}.{norm}", dim))
            return self.add(Attention(name, name, (x, to), *parts, residual=None if first else x))

        for i in range(config.depth):
            layer = f"mask_decoder.transformer.layers.{i}"
            tokens = attend("self_attn", "norm1", tokens, tokens, dim, first=i == 0)
            tokens = attend("cross_attn_token_to_image", "norm2", tokens, cells)
            wide, narrow = (dim, config.mlp_dim), (config.mlp_dim, dim)
            layers = (Linear(f"{layer}.mlp.lin1", *wide), Linear(f"{layer}.mlp.lin2", *narrow))
            norm = Norm(f"{layer}.norm3", dim)
            tokens = self.add(MLP(f"{layer}.mlp", f"{layer}.mlp", (tokens,), layers, norm, residual=tokens))
            cells = attend("cross_attn_image_to_token", "norm4", cells, tokens)
        layer = "mask_decoder.transformer"
        return attend("final_attn_token_to_image", "norm_final_attn", tokens, cells), cells

    def upscale(self, x: Map) -> Map:
        """SAM's way from cells to pixels."""
        name = "mask_decoder.output_upscaling"
        x = self.double(f"{name}.0", "mask up 0", x, x.channels // 4)
        x = self.normalise(f"{name}.1", "mask norm", x, "gelu")
        return self.double(f"{name}.3", "mask up 1", x, x.channels // 2, activation="gelu")

    def refine(self, x: Map, lateral: Sequence[Map], drawn: Sequence[Map]) -> Map:
        """The small decoder's: the image's finer maps and the drawn prompt join in."""
        for i, (fine, prompt) in enumerate(zip(lateral[:2], drawn, strict=True)):
            up = UpConv(f"mask_decoder.up.{i}", x.channels, fine.channels)
            side = Conv(f"mask_decoder.prompt.{i}", prompt.channels, fine.channels, bias=True)
            activation: Activation = "none" if i == 0 else "relu"
            x = self.add(ConvTranspose(up.name, f"mask up {i}", (x, prompt), up, side, activation, residual=fine))
            x = self.normalise("mask_decoder.norm", "mask norm", x, "relu") if i == 0 else x
            name = f"mask_decoder.refine.{i}.main"
            depth, point = depthwise_separable(name, x.channels, x.channels, 3)
            x = self.add(MBConv(name, f"mask refine {i}", (x,), None, depth, point, "relu6", residual=x))
        finest = lateral[2]
        return self.double("mask_decoder.up.2", "mask head", x, finest.channels, activation="relu", residual=finest)

    def perceptron(self, name: str, tokens: Map, token: int, hidden: int, outputs: int) -> Map:
        """Three linear layers on one token."""
        widths = (tokens.channels, hidden, hidden, outputs)
        layers = tuple(Linear(f"{name}.layers.{i}", *widths[i : i + 2]) for i in range(3))
        return self.add(MLP(name, name, (tokens,), layers, token=token))


@cache
def expected_tensors(variant: str | Variant) -> Mapping[str, Shape]:
    """Names and shapes of all tensors of a variant.

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
    return MappingProxyType({**describe_encoder(record).tensors, **describe_decoder(record).tensors})
