"""Ops on given shapes, as records: what each of them must compute and move.

A record is one call of one op of csrc/ops or :mod:`evsam.ops`, whatever computes it. Multiply-accumulates of products
count, as in the published figures; norms, activations, additions and resizing do not. Elements count once, however
often a kernel reads them. The *steps* of a fused op are the layers it is made of: run as kernels of their own, each
with bias, activation and residual in its epilogue, they are the unfused alternative.

:mod:`evsam.layers` lists the ops of a variant, :mod:`evsam.ops.cases` those that tests and benchmarks run.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Literal

from evsam.network import MASK_TOKENS, Activation
from evsam.zoo import LOGITS_SIZE

__all__ = [
    "FP16",
    "FP32",
    "Activation",
    "Conv3x3",
    "ConvTranspose",
    "DepthwiseConv",
    "FusedMBConv",
    "LayerNorm",
    "LiteMLA",
    "MBConv",
    "MapOp",
    "MaskHead",
    "MaskPrompt",
    "MaskUpsample",
    "Op",
    "PatchConv",
    "Pipe",
    "Pointwise",
    "PointwiseInt8",
    "Preprocess",
    "ReluLinearAttention",
    "SamHead",
    "Step",
    "Traffic",
    "Transpose",
    "TwoWayAttention",
    "UpsampleAdd",
    "stored_channels",
]

FP16 = 2
FP32 = 4
"""Bytes of an element."""

Pipe = Literal["tensor", "fp32"]
"""What multiplies on a GPU: the tensor cores, or the ordinary fp32 units."""


@dataclass(frozen=True)
class Traffic:
    """What an op reads and writes, each element once.

    Attributes:
        read: elements of the maps that come in, residual included.
        written: elements of the maps that go out.
        weights: elements of the matrices and filters.
        vectors: biases, gains and shifts, which are float32 whatever the others are.
        octets: single bytes, as photos and masks have them, in and out.
    """

    read: int = 0
    written: int = 0
    weights: int = 0
    vectors: int = 0
    octets: int = 0

    def bytes(self, element: int) -> int:
        """Bytes, with elements of so many of them."""
        return element * (self.read + self.written + self.weights) + FP32 * self.vectors + self.octets


@dataclass(frozen=True)
class Step:
    """One layer as a kernel of its own.

    Attributes:
        name: of the layer.
        pipe: what multiplies.
        macs: multiply-accumulates; 0 where there are next to none.
        traffic: inputs, residual and weights read once, the output written once.
    """

    name: str
    pipe: Pipe
    macs: int
    traffic: Traffic


@dataclass(frozen=True)
class Op(ABC):
    """What all ops have.

    Attributes:
        layer: where in the network it is, or what is special about it.
    """

    layer: str

    @property
    @abstractmethod
    def name(self) -> str:
        """The op's name, which is that of its folder in csrc/ops."""

    @property
    @abstractmethod
    def shape(self) -> str:
        """Channels, size and the like in a few characters."""

    @property
    @abstractmethod
    def traffic(self) -> Traffic:
        """Inputs, residual and weights read once, the output written once: what no fusion can save."""

    @property
    @abstractmethod
    def macs(self) -> int:
        """Multiply-accumulates."""

    @property
    def flops(self) -> int:
        """Floating-point operations, a multiply-accumulate counted as two."""
        return 2 * self.macs

    def bytes(self, element: int = FP32) -> int:
        """Bytes of the traffic, with elements of so many of them."""
        return self.traffic.bytes(element)


@dataclass(frozen=True)
class MapOp(Op):
    """An op whose input is a map of ``batch`` x ``height`` x ``width`` pixels, and that is made of steps."""

    batch: int
    height: int
    width: int

    @property
    @abstractmethod
    def steps(self) -> tuple[Step, ...]:
        """The layers it is made of."""

    @property
    def pixels(self) -> int:
        """Pixels of the input, of all images."""
        return self.batch * self.height * self.width

    @property
    def macs(self) -> int:
        return sum(step.macs for step in self.steps)

    @property
    def traffic(self) -> Traffic:
        (step,) = self.steps
        return step.traffic

    def separate_bytes(self, element: int = FP32) -> int:
        """Bytes of all steps as kernels of their own."""
        return sum(step.traffic.bytes(element) for step in self.steps)


def _conv_step(
    name: str,
    inputs: int,
    outputs: int,
    taps: int,
    channels: tuple[int, int],
    residual: int = 0,
    bias: bool = True,
) -> Step:
    """A dense convolution.

    Args:
        name: of the layer.
        inputs: pixels of the input.
        outputs: pixels of the output.
        taps: of its filter.
        channels: of input and output.
        residual: its elements, if there is one.
        bias: whether there is one.
    """
    in_channels, out_channels = channels
    weights = taps * in_channels * out_channels
    traffic = Traffic(inputs * in_channels + residual, outputs * out_channels, weights, out_channels * bias)
    return Step(name, "tensor", outputs * weights, traffic)


def _depthwise_step(inputs: int, outputs: int, taps: int, channels: int, bias: bool) -> Step:
    traffic = Traffic(inputs * channels, outputs * channels, taps * channels, channels * bias)
    return Step("depthwise", "fp32", outputs * taps * channels, traffic)


@dataclass(frozen=True)
class Preprocess(MapOp):
    """A photo of uint8 RGB, resized and normalised into a padded square of ``side`` pixels."""

    side: int

    @property
    def name(self) -> str:
        return "preprocess"

    @property
    def shape(self) -> str:
        return f"{self.height}x{self.width} -> {self.side}x{self.side}"

    @property
    def steps(self) -> tuple[Step, ...]:
        traffic = Traffic(written=3 * self.batch * self.side**2, octets=3 * self.pixels)
        return (Step("resize and normalise", "fp32", 0, traffic),)


@dataclass(frozen=True)
class _Strided(MapOp):
    """A convolution of some kind, with padding of half its filter."""

    @property
    @abstractmethod
    def _stride(self) -> int: ...

    @property
    def out_height(self) -> int:
        """Rows of the output."""
        return -(-self.height // self._stride)

    @property
    def out_width(self) -> int:
        """Columns of the output."""
        return -(-self.width // self._stride)

    @property
    def out_pixels(self) -> int:
        """Pixels of the output, of all images."""
        return self.batch * self.out_height * self.out_width


@dataclass(frozen=True)
class _Conv(_Strided):
    """A convolution and what comes behind it.

    Attributes:
        in_channels: of the input.
        out_channels: of the output.
        stride: 1 or 2.
        activation: behind the convolution, or between those of a block.
        residual: whether a map is added last.
    """

    in_channels: int
    out_channels: int
    stride: int = 1
    activation: Activation = "none"
    residual: bool = False

    @property
    def _stride(self) -> int:
        return self.stride

    @property
    def shape(self) -> str:
        return f"{self.in_channels} -> {self.out_channels} {self.height}x{self.width}{self._details}"

    @property
    def _details(self) -> str:
        stride = f" /{self.stride}" if self.stride > 1 else ""
        return f"{stride}{' activated' * (self.activation != 'none')}{' + residual' * self.residual}"

    @property
    def _residual_elements(self) -> int:
        return self.out_pixels * self.out_channels * self.residual


class Conv3x3(_Conv):
    """A dense 3x3 convolution. Its residual, if any, is another map than its input."""

    @property
    def name(self) -> str:
        return "conv3x3"

    @property
    def steps(self) -> tuple[Step, ...]:
        channels = (self.in_channels, self.out_channels)
        return (_conv_step("conv 3x3", self.pixels, self.out_pixels, 9, channels, self._residual_elements),)


class Pointwise(_Conv):
    """A 1x1 convolution. Its residual, if any, is another map than its input."""

    @property
    def name(self) -> str:
        return "pointwise"

    @property
    def steps(self) -> tuple[Step, ...]:
        channels = (self.in_channels, self.out_channels)
        return (_conv_step("1x1", self.pixels, self.out_pixels, 1, channels, self._residual_elements),)


class PointwiseInt8(Pointwise):
    """The same with weights in 8 bits. Maps are as wide as before; weights count as if they were not."""

    @property
    def name(self) -> str:
        return "pointwise_int8"


@dataclass(frozen=True)
class DepthwiseConv(_Strided):
    """A depthwise convolution with bias and activation."""

    channels: int
    filter_size: int = 3
    stride: int = 1
    activation: Activation = "none"

    @property
    def _stride(self) -> int:
        return self.stride

    @property
    def name(self) -> str:
        return "depthwise_conv"

    @property
    def shape(self) -> str:
        return f"k{self.filter_size} {self.channels} {self.height}x{self.width}" + f" /{self.stride}" * (
            self.stride > 1
        )

    @property
    def steps(self) -> tuple[Step, ...]:
        return (_depthwise_step(self.pixels, self.out_pixels, self.filter_size**2, self.channels, bias=True),)


@dataclass(frozen=True)
class _Inverted(_Conv):
    """A block with a wider map inside; its residual, if any, is its input."""

    hidden: int = 0

    @property
    def shape(self) -> str:
        details = self._details.replace(" activated", "")
        return f"{self.in_channels} -> {self.hidden} -> {self.out_channels} {self.height}x{self.width}{details}"


class FusedMBConv(_Inverted):
    """A dense 3x3 convolution to the hidden width, activation, a 1x1 convolution."""

    @property
    def name(self) -> str:
        return "fused_mbconv"

    @property
    def steps(self) -> tuple[Step, ...]:
        wide, narrow = (self.in_channels, self.hidden), (self.hidden, self.out_channels)
        return (
            _conv_step("conv 3x3", self.pixels, self.out_pixels, 9, wide),
            _conv_step("1x1", self.out_pixels, self.out_pixels, 1, narrow, self._residual_elements),
        )

    @property
    def traffic(self) -> Traffic:
        weights = (9 * self.in_channels + self.out_channels) * self.hidden
        written = self.out_pixels * self.out_channels
        return Traffic(self.pixels * self.in_channels, written, weights, self.hidden + self.out_channels)


@dataclass(frozen=True)
class MBConv(_Inverted):
    """A 1x1 convolution to the hidden width, a depthwise one, a 1x1 convolution.

    Attributes:
        filter_size: side of the depthwise convolution's filter.
        expands: False for a block without the first convolution (``ds``); ``hidden`` is the input's width then.
    """

    filter_size: int = 3
    expands: bool = True

    @property
    def name(self) -> str:
        return "mbconv"

    @property
    def shape(self) -> str:
        return f"k{self.filter_size} {super().shape}"

    @property
    def steps(self) -> tuple[Step, ...]:
        expand = _conv_step("1x1 expand", self.pixels, self.pixels, 1, (self.in_channels, self.hidden))
        depthwise = _depthwise_step(self.pixels, self.out_pixels, self.filter_size**2, self.hidden, bias=True)
        narrow = (self.hidden, self.out_channels)
        project = _conv_step("1x1 project", self.out_pixels, self.out_pixels, 1, narrow, self._residual_elements)
        return (expand, depthwise, project) if self.expands else (depthwise, project)

    @property
    def traffic(self) -> Traffic:
        weights = (self.in_channels * self.expands + self.filter_size**2 + self.out_channels) * self.hidden
        written = self.out_pixels * self.out_channels
        vectors = self.hidden * (1 + self.expands) + self.out_channels
        return Traffic(self.pixels * self.in_channels, written, weights, vectors)


@dataclass(frozen=True)
class ReluLinearAttention(Op):
    """ReLU linear attention alone: q, k and v in, their attention out.

    Attributes:
        batch: images.
        heads: of all scales.
        head_dim: channels of q, of k and of v of one head.
        tokens: of one image.
    """

    batch: int
    heads: int
    head_dim: int
    tokens: int

    @property
    def name(self) -> str:
        return "relu_linear_attention"

    @property
    def shape(self) -> str:
        return f"{self.batch} x {self.heads} heads d{self.head_dim} {self.tokens} tokens"

    @property
    def macs(self) -> int:
        """Two products per head: (D + 1) x N by N x D and (D + 1) x D by D x N."""
        return 2 * self.batch * self.heads * self.tokens * self.head_dim * (self.head_dim + 1)

    @property
    def traffic(self) -> Traffic:
        elements = self.batch * self.heads * self.tokens * self.head_dim
        return Traffic(3 * elements, elements)


@dataclass(frozen=True)
class LiteMLA(MapOp):
    """Multi-scale ReLU linear attention with its residual, from map to map.

    Attributes:
        channels: of input and output.
        heads: of one scale; there are two scales.
        head_dim: channels of q, of k and of v of one head.
        filter_size: side of the depthwise convolution's filter.
    """

    channels: int
    heads: int
    head_dim: int
    filter_size: int

    @property
    def name(self) -> str:
        return "lite_mla"

    @property
    def shape(self) -> str:
        return f"{self.channels} {self.height}x{self.width} heads 2x{self.heads} d{self.head_dim} k{self.filter_size}"

    @property
    def tokens(self) -> int:
        """Tokens of one image."""
        return self.height * self.width

    @property
    def qkv_channels(self) -> int:
        """Channels of q, k and v of all heads of one scale."""
        return 3 * self.heads * self.head_dim

    @property
    def attention(self) -> ReluLinearAttention:
        """The attention in it."""
        return ReluLinearAttention(self.layer, self.batch, 2 * self.heads, self.head_dim, self.tokens)

    @property
    def steps(self) -> tuple[Step, ...]:
        wide, both = self.qkv_channels, 2 * self.heads * self.head_dim
        qkv = _conv_step("1x1 qkv", self.pixels, self.pixels, 1, (self.channels, wide), bias=False)
        depthwise = _depthwise_step(self.pixels, self.pixels, self.filter_size**2, wide, bias=False)
        grouped_weights = wide * self.head_dim
        moved = Traffic(self.pixels * wide, self.pixels * wide, grouped_weights)
        grouped = Step("grouped 1x1", "tensor", self.pixels * grouped_weights, moved)
        attention = Step("attention", "tensor", self.attention.macs, self.attention.traffic)
        residual = self.pixels * self.channels
        project = _conv_step("1x1 project", self.pixels, self.pixels, 1, (both, self.channels), residual)
        return qkv, depthwise, grouped, attention, project

    @property
    def traffic(self) -> Traffic:
        per_qkv_channel = self.channels + self.filter_size**2 + self.head_dim
        project_weights = 2 * self.heads * self.head_dim * self.channels
        weights = self.qkv_channels * per_qkv_channel + project_weights
        elements = self.pixels * self.channels
        return Traffic(elements, elements, weights, self.channels)


@dataclass(frozen=True)
class UpsampleAdd(MapOp):
    """One or two maps resized to ``out_height`` x ``out_width`` and added to another one.

    Attributes:
        channels: of all maps.
        out_height: rows of the result.
        out_width: columns of the result.
        mode: of resizing.
        second: height and width of the second map, if there is one; CUDA kernels take two.
        residual: whether there is a map that is not resized.
    """

    channels: int
    out_height: int
    out_width: int
    mode: Literal["bilinear", "bicubic"]
    second: tuple[int, int] | None = None
    residual: bool = True

    @property
    def name(self) -> str:
        return "resize"

    @property
    def shape(self) -> str:
        sources = " + ".join(f"{height}x{width}" for height, width in self.sources)
        alone = " alone" * (not self.residual)
        return f"{self.channels} {sources} -> {self.out_height}x{self.out_width} {self.mode}{alone}"

    @property
    def sources(self) -> tuple[tuple[int, int], ...]:
        """Height and width of the maps that are resized."""
        first = (self.height, self.width)
        return (first, self.second) if self.second else (first,)

    @property
    def _resized(self) -> int:
        return self.channels * self.batch * self.out_height * self.out_width

    @property
    def _source_elements(self) -> tuple[int, ...]:
        return tuple(self.channels * self.batch * height * width for height, width in self.sources)

    @property
    def traffic(self) -> Traffic:
        return Traffic(sum(self._source_elements) + self._resized * self.residual, self._resized)

    @property
    def steps(self) -> tuple[Step, ...]:
        resizes = [Step("resize", "fp32", 0, Traffic(source, self._resized)) for source in self._source_elements]
        adds = len(resizes) - 1 + self.residual
        return (*resizes, *(Step("add", "fp32", 0, Traffic(2 * self._resized, self._resized)),) * adds)


@dataclass(frozen=True)
class LayerNorm(MapOp):
    """Layer norm over the channels of each pixel, of the input plus a residual where there is one.

    Attributes:
        channels: of all maps.
        activation: behind the norm.
        residual: whether a map is added first.
        position: whether there is a second result, the first plus a positional encoding.
    """

    channels: int
    activation: Activation = "none"
    residual: bool = False
    position: bool = False

    @property
    def name(self) -> str:
        return "layer_norm"

    @property
    def shape(self) -> str:
        details = " + residual" * self.residual + " + position" * self.position
        return f"{self.channels} {self.height}x{self.width}{details}"

    @property
    def steps(self) -> tuple[Step, ...]:
        elements = self.pixels * self.channels
        traffic = Traffic(
            elements * (1 + self.residual + self.position), elements * (1 + self.position), vectors=2 * self.channels
        )
        return (Step("layer norm", "fp32", 0, traffic),)


@dataclass(frozen=True)
class Transpose(MapOp):
    """A map between channels last and channels first, either way."""

    channels: int

    @property
    def name(self) -> str:
        return "transpose"

    @property
    def shape(self) -> str:
        return f"{self.channels} {self.height}x{self.width}"

    @property
    def steps(self) -> tuple[Step, ...]:
        elements = self.pixels * self.channels
        return (Step("transpose", "fp32", 0, Traffic(elements, elements)),)


@dataclass(frozen=True)
class PatchConv(MapOp):
    """A 2x2 convolution with stride 2, which halves the sides of a map."""

    in_channels: int
    out_channels: int
    activation: Activation = "none"

    @property
    def name(self) -> str:
        return "patch_conv"

    @property
    def shape(self) -> str:
        return f"{self.in_channels} -> {self.out_channels} {self.height}x{self.width}"

    @property
    def steps(self) -> tuple[Step, ...]:
        channels = (self.in_channels, self.out_channels)
        return (_conv_step("conv 2x2", self.pixels, self.pixels // 4, 4, channels),)


@dataclass(frozen=True)
class ConvTranspose(MapOp):
    """A 2x2 transposed convolution with stride 2, which doubles the sides of a map, and what joins in there.

    Attributes:
        in_channels: of the input.
        out_channels: of the output.
        side_channels: of a map of the output's size that joins through a 1x1 convolution; 0: none.
        activation: behind all sums.
        lateral: whether a map is added as it is.
    """

    in_channels: int
    out_channels: int
    side_channels: int = 0
    activation: Activation = "none"
    lateral: bool = False

    @property
    def name(self) -> str:
        return "conv_transpose"

    @property
    def shape(self) -> str:
        side = f" + {self.side_channels}" * (self.side_channels > 0)
        lateral = " + lateral" * self.lateral
        return f"{self.in_channels}{side} -> {self.out_channels} {self.height}x{self.width}{lateral}"

    @property
    def steps(self) -> tuple[Step, ...]:
        outputs = 4 * self.pixels
        per_output = self.in_channels + self.side_channels
        written = outputs * self.out_channels
        read = self.pixels * self.in_channels + outputs * self.side_channels + written * self.lateral
        weights = (4 * self.in_channels + self.side_channels) * self.out_channels
        traffic = Traffic(read, written, weights, self.out_channels)
        return (Step("transposed conv 2x2", "tensor", written * per_output, traffic),)


@dataclass(frozen=True)
class MaskHead(MapOp):
    """A last 2x2 transposed convolution to ``channels`` features per pixel, and their product with masks' vectors."""

    in_channels: int
    channels: int
    activation: Activation = "none"
    lateral: bool = False

    @property
    def name(self) -> str:
        return "mask_head"

    @property
    def shape(self) -> str:
        lateral = " + lateral" * self.lateral
        return f"{self.in_channels} -> {self.channels} -> {MASK_TOKENS} {self.height}x{self.width}{lateral}"

    @property
    def steps(self) -> tuple[Step, ...]:
        outputs = 4 * self.pixels
        read = self.pixels * self.in_channels + outputs * self.channels * self.lateral + MASK_TOKENS * self.channels
        traffic = Traffic(read, MASK_TOKENS * outputs, 4 * self.in_channels * self.channels, self.channels)
        return (Step("head", "fp32", outputs * self.channels * (self.in_channels + MASK_TOKENS), traffic),)


@dataclass(frozen=True)
class _CellOp(Op):
    """An op on a grid of ``rows`` x ``columns`` image cells."""

    rows: int
    columns: int

    @property
    def cells(self) -> int:
        """Cells of the grid."""
        return self.rows * self.columns


@dataclass(frozen=True)
class MaskPrompt(_CellOp):
    """SAM's mask prompt: two 2x2 convolutions, a 1x1 convolution, and the sum with the image cells.

    Attributes:
        narrow: channels behind the first convolution.
        wide: channels behind the second.
        channels: of a cell.
    """

    narrow: int
    wide: int
    channels: int

    @property
    def name(self) -> str:
        return "mask_prompt"

    @property
    def shape(self) -> str:
        return f"{self.narrow} -> {self.wide} -> {self.channels} {self.rows}x{self.columns}"

    @property
    def _weights(self) -> tuple[int, int, int]:
        return 4 * self.narrow, 4 * self.narrow * self.wide, self.wide * self.channels

    @property
    def macs(self) -> int:
        first, second, last = self._weights
        return self.cells * (4 * first + second + last)

    @property
    def traffic(self) -> Traffic:
        elements = self.cells * self.channels
        vectors = 3 * (self.narrow + self.wide) + self.channels
        return Traffic(16 * self.cells + elements, elements, sum(self._weights), vectors)


@dataclass(frozen=True)
class SamHead(_CellOp):
    """SAM's way from image cells to logits: two transposed convolutions, and the product with each mask's kernel.

    Attributes:
        channels: of a cell.
        middle: channels behind the first convolution.
        features: channels behind the second.
        prompts: whose cells and kernels differ.
    """

    channels: int
    middle: int
    features: int
    prompts: int = 1

    @property
    def name(self) -> str:
        return "sam_head"

    @property
    def shape(self) -> str:
        widths = f"{self.channels} -> {self.middle} -> {self.features} -> {MASK_TOKENS}"
        return f"{self.prompts} x {widths} {self.rows}x{self.columns}"

    @property
    def macs(self) -> int:
        per_cell = 4 * self.channels * self.middle + 16 * self.middle * self.features + 16 * MASK_TOKENS * self.features
        return self.prompts * self.cells * per_cell

    @property
    def traffic(self) -> Traffic:
        weights = 4 * self.middle * (self.channels + self.features)
        read = self.prompts * (self.cells * self.channels + MASK_TOKENS * self.features)
        return Traffic(read, self.prompts * self.cells * 16 * MASK_TOKENS, weights, 3 * self.middle + self.features)


@dataclass(frozen=True)
class TwoWayAttention(_CellOp):
    """Attention between the tokens of prompts and image cells: an update of the cells, a query of the cells, or both.

    Attributes:
        channels: of a cell.
        heads: of the attention.
        tokens: of one prompt.
        updates: whether the cells are updated.
        queries: whether the tokens ask the (updated) cells.
        inner: channels of all heads where the cells were projected before; 0: the projections are folded.
        prompts: on the same cells.
    """

    channels: int
    heads: int
    tokens: int
    updates: bool = False
    queries: bool = True
    inner: int = 0
    prompts: int = 1

    @property
    def name(self) -> str:
        return "two_way_attention"

    @property
    def shape(self) -> str:
        ways = " ".join(["update"] * self.updates + ["query"] * self.queries)
        projected = f" inner {self.inner}" * (self.inner > 0)
        sizes = f"{self.channels} heads {self.heads}{projected} tokens {self.tokens} cells {self.cells}"
        return f"{self.prompts} x {ways} {sizes}"

    @property
    def macs(self) -> int:
        """Per cell and direction: scores, and the sum of values or cells."""
        scores = self.tokens * self.inner if self.inner else self.heads * self.tokens * self.channels
        sums = self.heads * self.tokens * self.channels
        return self.prompts * self.cells * (scores + sums) * (self.updates + self.queries)

    @property
    def traffic(self) -> Traffic:
        """Operands of the tokens count as read."""
        directions = self.updates + self.queries
        columns = self.heads * self.tokens * self.channels
        keys = self.tokens * self.inner if self.inner else columns
        cells = self.cells * (2 * self.channels + self.inner * directions)
        read = cells + self.prompts * (keys * directions + columns * self.updates)
        written = self.prompts * (self.cells * self.channels * self.updates + columns * self.queries)
        return Traffic(read, written, vectors=3 * self.channels * self.updates)


@dataclass(frozen=True)
class MaskUpsample(Op):
    """Mask logits to masks at the size of the photo.

    Attributes:
        count: masks.
        resized_height: rows of the photo's part of the frame.
        resized_width: columns of it.
        height: of the photo.
        width: of the photo.
    """

    count: int
    resized_height: int
    resized_width: int
    height: int
    width: int

    @property
    def name(self) -> str:
        return "mask_upsample"

    @property
    def shape(self) -> str:
        return f"{self.count} x {self.resized_height}x{self.resized_width} -> {self.height}x{self.width}"

    @property
    def macs(self) -> int:
        return 0

    @property
    def traffic(self) -> Traffic:
        return Traffic(self.count * LOGITS_SIZE**2, octets=self.count * self.height * self.width)


def stored_channels(channels: int) -> int:
    """Channels of a map as the CUDA kernels have it in memory: a photo's three are followed by five of zeros."""
    return -(-channels // 8) * 8
