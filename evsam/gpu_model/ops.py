"""The ops of an encoder with their shapes, and what each of them must compute and move.

Feature maps are fp16, channels last; weights are fp16, biases, gains and shifts float32, as the CUDA kernels have them.
An op is what one function of :mod:`evsam.ops` does, and may be one launch or several. Its *steps* are the layers it is
made of: run as kernels of their own, each with bias, activation and residual in its epilogue, they are the unfused
alternative.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Literal

__all__ = [
    "Conv3x3",
    "FusedMBConv",
    "LayerNorm",
    "LiteMLA",
    "MBConv",
    "Op",
    "Pipe",
    "Pointwise",
    "Preprocess",
    "Step",
    "UpsampleAdd",
]

FP16 = 2
FP32 = 4

Pipe = Literal["tensor", "fp32"]
"""What multiplies: the tensor cores, or the ordinary fp32 units."""


@dataclass(frozen=True)
class Step:
    """One layer as a kernel of its own.

    Attributes:
        name: of the layer.
        pipe: what multiplies.
        macs: multiply-accumulates; 0 where there are next to none.
        bytes: inputs, residual and weights read once, the output written once.
    """

    name: str
    pipe: Pipe
    macs: int
    bytes: int


@dataclass(frozen=True)
class Op(ABC):
    """What all ops have: a name in the network, and an input map of ``batch`` x ``height`` x ``width`` pixels."""

    layer: str
    batch: int
    height: int
    width: int

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
    def steps(self) -> tuple[Step, ...]:
        """The layers it is made of."""

    @property
    @abstractmethod
    def compulsory_bytes(self) -> int:
        """Inputs, residual and weights read once, the output written once: what no fusion can save."""

    @property
    def pixels(self) -> int:
        """Pixels of the input, of all images."""
        return self.batch * self.height * self.width

    @property
    def macs(self) -> int:
        """Multiply-accumulates, counted as :mod:`evsam.nn.macs` does."""
        return sum(step.macs for step in self.steps)

    @property
    def separate_bytes(self) -> int:
        """Bytes of all steps as kernels of their own."""
        return sum(step.bytes for step in self.steps)


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
        taps: of its kernel.
        channels: of input and output.
        residual: its elements, if there is one.
        bias: whether there is one.
    """
    in_channels, out_channels = channels
    weights = taps * in_channels * out_channels
    elements = inputs * in_channels + outputs * out_channels + weights + residual
    return Step(name, "tensor", outputs * weights, FP16 * elements + FP32 * out_channels * bias)


def _depthwise_step(inputs: int, outputs: int, taps: int, channels: int, bias: bool) -> Step:
    elements = (inputs + outputs + taps) * channels
    return Step("depthwise", "fp32", outputs * taps * channels, FP16 * elements + FP32 * channels * bias)


@dataclass(frozen=True)
class Preprocess(Op):
    """A photo of uint8 RGB, resized and normalised into a padded square of ``side`` fp16 pixels."""

    side: int

    @property
    def name(self) -> str:
        return "preprocess"

    @property
    def shape(self) -> str:
        return f"{self.height}x{self.width} -> {self.side}x{self.side}"

    @property
    def compulsory_bytes(self) -> int:
        return 3 * self.pixels + FP16 * self.batch * self.side**2 * 3

    @property
    def steps(self) -> tuple[Step, ...]:
        return (Step("resize and normalise", "fp32", 0, self.compulsory_bytes),)


@dataclass(frozen=True)
class _Conv(Op):
    """A convolution and what comes behind it."""

    in_channels: int
    out_channels: int
    stride: int = 1
    activated: bool = False
    residual: bool = False

    @property
    def out_height(self) -> int:
        """Rows of the output."""
        return -(-self.height // self.stride)

    @property
    def out_width(self) -> int:
        """Columns of the output."""
        return -(-self.width // self.stride)

    @property
    def out_pixels(self) -> int:
        """Pixels of the output, of all images."""
        return self.batch * self.out_height * self.out_width

    @property
    def shape(self) -> str:
        return f"{self.in_channels} -> {self.out_channels} {self.height}x{self.width}{self._details}"

    @property
    def _details(self) -> str:
        stride = f" /{self.stride}" if self.stride > 1 else ""
        return f"{stride}{' activated' * self.activated}{' + residual' * self.residual}"

    @property
    def compulsory_bytes(self) -> int:
        return self.separate_bytes


class Conv3x3(_Conv):
    """A dense 3x3 convolution. Its residual, if any, is another map than its input."""

    @property
    def name(self) -> str:
        return "conv3x3"

    @property
    def steps(self) -> tuple[Step, ...]:
        residual = self.out_pixels * self.out_channels * self.residual
        channels = (self.in_channels, self.out_channels)
        return (_conv_step("conv 3x3", self.pixels, self.out_pixels, 9, channels, residual),)


class Pointwise(_Conv):
    """A 1x1 convolution. Its residual, if any, is another map than its input."""

    @property
    def name(self) -> str:
        return "pointwise"

    @property
    def steps(self) -> tuple[Step, ...]:
        residual = self.out_pixels * self.out_channels * self.residual
        return (_conv_step("1x1", self.pixels, self.out_pixels, 1, (self.in_channels, self.out_channels), residual),)


@dataclass(frozen=True)
class _Inverted(_Conv):
    """A block with a wider map inside; its residual, if any, is its input."""

    hidden: int = 0

    @property
    def shape(self) -> str:
        return f"{self.in_channels} -> {self.hidden} -> {self.out_channels} {self.height}x{self.width}{self._details}"

    @property
    def _residual_elements(self) -> int:
        return self.out_pixels * self.out_channels * self.residual


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
    def compulsory_bytes(self) -> int:
        maps = self.pixels * self.in_channels + self.out_pixels * self.out_channels
        weights = (9 * self.in_channels + self.out_channels) * self.hidden
        return FP16 * (maps + weights) + FP32 * (self.hidden + self.out_channels)


@dataclass(frozen=True)
class MBConv(_Inverted):
    """A 1x1 convolution to the hidden width, a depthwise one, a 1x1 convolution.

    Attributes:
        kernel: side of the depthwise convolution.
        expands: False for a block without the first convolution (``ds``); ``hidden`` is the input's width then.
    """

    kernel: int = 3
    expands: bool = True

    @property
    def name(self) -> str:
        return "mbconv"

    @property
    def shape(self) -> str:
        return f"k{self.kernel} {super().shape}"

    @property
    def steps(self) -> tuple[Step, ...]:
        expand = _conv_step("1x1 expand", self.pixels, self.pixels, 1, (self.in_channels, self.hidden))
        depthwise = _depthwise_step(self.pixels, self.out_pixels, self.kernel**2, self.hidden, bias=True)
        narrow = (self.hidden, self.out_channels)
        project = _conv_step("1x1 project", self.out_pixels, self.out_pixels, 1, narrow, self._residual_elements)
        return (expand, depthwise, project) if self.expands else (depthwise, project)

    @property
    def compulsory_bytes(self) -> int:
        maps = self.pixels * self.in_channels + self.out_pixels * self.out_channels
        weights = (self.in_channels * self.expands + self.kernel**2 + self.out_channels) * self.hidden
        biases = self.hidden * (1 + self.expands) + self.out_channels
        return FP16 * (maps + weights) + FP32 * biases


@dataclass(frozen=True)
class LiteMLA(Op):
    """Multi-scale ReLU linear attention with its residual, from map to map.

    Attributes:
        channels: of input and output.
        heads: of one scale; there are two scales.
        head_dim: channels of q, of k and of v of one head.
        kernel: side of the depthwise convolution.
    """

    channels: int
    heads: int
    head_dim: int
    kernel: int

    @property
    def name(self) -> str:
        return "lite_mla"

    @property
    def shape(self) -> str:
        return f"{self.channels} {self.height}x{self.width} heads 2x{self.heads} d{self.head_dim} k{self.kernel}"

    @property
    def tokens(self) -> int:
        """Tokens of one image."""
        return self.height * self.width

    @property
    def qkv_channels(self) -> int:
        """Channels of q, k and v of all heads of one scale."""
        return 3 * self.heads * self.head_dim

    @property
    def steps(self) -> tuple[Step, ...]:
        wide, both = self.qkv_channels, 2 * self.heads * self.head_dim
        qkv = _conv_step("1x1 qkv", self.pixels, self.pixels, 1, (self.channels, wide), bias=False)
        depthwise = _depthwise_step(self.pixels, self.pixels, self.kernel**2, wide, bias=False)
        grouped_weights = wide * self.head_dim
        grouped_bytes = FP16 * (2 * self.pixels * wide + grouped_weights)
        grouped = Step("grouped 1x1", "tensor", self.pixels * grouped_weights, grouped_bytes)
        attention_bytes = FP16 * self.pixels * 4 * both
        attention = Step("attention", "tensor", self.attention_macs, attention_bytes)
        residual = self.pixels * self.channels
        project = _conv_step("1x1 project", self.pixels, self.pixels, 1, (both, self.channels), residual)
        return qkv, depthwise, grouped, attention, project

    @property
    def attention_macs(self) -> int:
        """Two products per head: (D + 1) x N by N x D and (D + 1) x D by D x N."""
        return 2 * 2 * self.heads * self.pixels * self.head_dim * (self.head_dim + 1)

    @property
    def compulsory_bytes(self) -> int:
        per_qkv_channel = self.channels + self.kernel**2 + self.head_dim
        project_weights = 2 * self.heads * self.head_dim * self.channels
        weights = self.qkv_channels * per_qkv_channel + project_weights
        return FP16 * (2 * self.pixels * self.channels + weights) + FP32 * self.channels


@dataclass(frozen=True)
class UpsampleAdd(Op):
    """One or two maps resized to ``out_height`` x ``out_width`` and added to another one.

    Attributes:
        channels: of all maps.
        out_height: rows of the result.
        out_width: columns of the result.
        mode: of resizing.
        second: height and width of the second map, if there is one.
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
        return f"{self.channels} {sources} -> {self.out_height}x{self.out_width} {self.mode}"

    @property
    def sources(self) -> tuple[tuple[int, int], ...]:
        """Height and width of the maps that are resized."""
        first = (self.height, self.width)
        return (first, self.second) if self.second else (first,)

    @property
    def _resized(self) -> int:
        return FP16 * self.channels * self.batch * self.out_height * self.out_width

    @property
    def _source_bytes(self) -> tuple[int, ...]:
        return tuple(FP16 * self.channels * self.batch * height * width for height, width in self.sources)

    @property
    def compulsory_bytes(self) -> int:
        return sum(self._source_bytes) + self._resized * (1 + self.residual)

    @property
    def steps(self) -> tuple[Step, ...]:
        resizes = [Step("resize", "fp32", 0, source + self._resized) for source in self._source_bytes]
        adds = len(resizes) - 1 + self.residual
        return (*resizes, *(Step("add", "fp32", 0, 3 * self._resized),) * adds)


@dataclass(frozen=True)
class LayerNorm(Op):
    """Layer norm over the channels of each pixel."""

    channels: int

    @property
    def name(self) -> str:
        return "layer_norm"

    @property
    def shape(self) -> str:
        return f"{self.channels} {self.height}x{self.width}"

    @property
    def compulsory_bytes(self) -> int:
        return FP16 * 2 * self.pixels * self.channels + FP32 * 2 * self.channels

    @property
    def steps(self) -> tuple[Step, ...]:
        return (Step("layer norm", "fp32", 0, self.compulsory_bytes),)
