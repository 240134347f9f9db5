"""The plugins: what TensorRT asks about each, and their launches.

Their kernels are the library's (``csrc/ops``), their entries those of ``csrc/tensorrt_qdp``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from evsam.errors import EvsamError

__all__ = [
    "SHARED_BYTES",
    "Call",
    "Formats",
    "FusedMBConv",
    "Kernel",
    "LayerNorm2d",
    "QuickPlugin",
    "ReluLinearAttention",
    "UpsampleAdd",
    "UpsampleAddTwo",
    "float_argument",
]

SHARED_BYTES = 48 * 1024
"""Shared memory that a block gets from CUDA without being asked twice. Whether TensorRT asks twice, which the kernel of
a plugin cannot do itself, is not documented."""

TILE_HEIGHT, TILE_WIDTH = 8, 16
"""Output pixels of a block of a 3x3 convolution; csrc/cuda/kernel_args.h."""

PATCH_CHANNELS = 32
"""Of one patch of the input in shared memory; further channels are patches of their own."""

POINT_ROWS = 128
"""Output channels in a step of the 1x1 convolution, at most."""

Attribute = int | float | str
Formats = tuple[str, str]
"""Types and memory layouts of inputs and output in the grammar of ``tensorrt.plugin.AutoTuneCombination``."""


@dataclass(frozen=True)
class Kernel:
    """A launch. Numbers may be expressions of TensorRT in dimensions that are not known yet.

    Attributes:
        name: of the entry.
        grid: blocks, x first.
        threads: of a block.
        shared_bytes: dynamic shared memory of a block.
        arguments: the integers between the inputs and the output.
    """

    name: str
    grid: tuple[Any, ...]
    threads: int
    shared_bytes: int
    arguments: tuple[Any, ...]


@dataclass(frozen=True)
class Call:
    """A plugin in a network, as TensorRT asks about it.

    Attributes:
        tensorrt: the module.
        inputs: a ``tensorrt.plugin.TensorDesc`` for each.
        attributes: their values.
        shared_limit: shared memory that a block may have, in bytes.
    """

    tensorrt: Any
    inputs: Mapping[str, Any]
    attributes: Mapping[str, Attribute]
    shared_limit: int = SHARED_BYTES

    @property
    def half(self) -> bool:
        """Whether the first input is float16; else it is float32.

        Raises:
            EvsamError: it is neither.
        """
        name, first = next(iter(self.inputs.items()))
        if first.dtype not in (self.tensorrt.DataType.HALF, self.tensorrt.DataType.FLOAT):
            raise EvsamError(f"{name}: expected float16 or float32, got {first.dtype}")
        return bool(first.dtype == self.tensorrt.DataType.HALF)

    @property
    def type(self) -> str:
        """Of the first input, in the names of kernels."""
        return "f16" if self.half else "f32"

    def channels_last(self, name: str) -> bool:
        """Whether TensorRT has chosen such a layout for an input."""
        formats = self.tensorrt.TensorFormat
        return self.inputs[name].format in (formats.HWC8, formats.HWC)

    def size(self, name: str, axis: int) -> int:
        """A dimension that has to be known while the engine is built.

        Raises:
            EvsamError: it is not.
        """
        size = int(self.inputs[name].shape[axis])
        if size < 0:
            raise EvsamError(f"{name}: expected axis {axis} to have a fixed size, got a dynamic one")
        return size

    def multiple_of_8(self, name: str, axis: int) -> int:
        """A dimension that has to be known and a multiple of eight.

        Raises:
            EvsamError: it is not.
        """
        size = self.size(name, axis)
        if size % 8 != 0:
            raise EvsamError(f"{name}: expected a multiple of 8 on axis {axis}, got {size}")
        return size

    def integer(self, name: str) -> int:
        """An attribute."""
        return int(self.attributes[name])

    def check_shared(self, plugin: str, needed: int) -> None:
        """Refuses what does not fit.

        Raises:
            EvsamError: a block needs more shared memory than it may have.
        """
        if needed > self.shared_limit:
            raise EvsamError(
                f"{plugin}: expected at most {self.shared_limit} bytes of shared memory for a block, got {needed}; use "
                "the plugin library for this node, or register(shared_limit=...) where TensorRT launches larger blocks"
            )


class QuickPlugin(ABC):
    """A plugin: what it takes, what comes out, in which layouts, by which kernel.

    Attributes:
        name: as TensorRT knows it.
        file: name of the PTX with its kernels.
        inputs: names.
        attributes: names and types.
    """

    name: ClassVar[str]
    file: ClassVar[str]
    inputs: ClassVar[tuple[str, ...]]
    attributes: ClassVar[Mapping[str, type[int | float | str]]]

    @abstractmethod
    def output(self, call: Call) -> Any:
        """Shape and type of the output (``tensorrt.plugin.TensorDesc``). Sizes may not be known yet."""

    @abstractmethod
    def formats(self, call: Call) -> Sequence[Formats]:
        """What the kernels take."""

    @abstractmethod
    def kernel(self, call: Call, output: Any) -> Kernel:
        """The launch for the layouts that TensorRT has chosen."""


def float_argument(value: float) -> int:
    """The bits of a float32 as the integer that TensorRT passes; the kernel turns them back."""
    return int(np.float32(value).view(np.int32))


def patch_bytes(stride: int) -> int:
    """Shared memory of one patch, from which a tile is computed."""
    return ((TILE_HEIGHT - 1) * stride + 3) * ((TILE_WIDTH - 1) * stride + 3) * PATCH_CHANNELS * 2


class LayerNorm2d(QuickPlugin):
    """Layer norm over channels: a warp for each pixel, or, channels first, eight threads."""

    name = "EvsamLayerNorm2d"
    file = "layer_norm"
    inputs = ("x", "weight", "bias")
    attributes: ClassVar = {"eps": float}

    THREADS = 256
    MOST_CHANNELS_LAST = 1024

    def output(self, call: Call) -> Any:
        """As x."""
        return call.inputs["x"].like()

    def formats(self, call: Call) -> Sequence[Formats]:
        """Channels last, or, for any number of them, first."""
        kind, last = ("FP16", "HWC8") if call.half else ("FP32", "HWC")
        channels = call.size("x", 1)
        layouts = ["LINEAR"]
        if channels % 8 == 0 and channels <= self.MOST_CHANNELS_LAST:
            layouts.insert(0, last)
        return [(f"{kind}, FP32, FP32, {kind}", f"{layout}, LINEAR, LINEAR, {layout}") for layout in layouts]

    def kernel(self, call: Call, output: Any) -> Kernel:
        """Arguments: images, pixels of one, channels, eps."""
        last = call.channels_last("x")
        images, _, height, width = output.shape_expr
        pixels_per_block = 8 if last else 32
        return Kernel(
            name=f"{call.type}_layer_norm_{'nhwc' if last else 'nchw'}_quick__sm80",
            grid=(call.tensorrt.plugin.cdiv(images * height * width, pixels_per_block),),
            threads=self.THREADS,
            shared_bytes=0 if last else self.THREADS * 4,
            arguments=(images, height * width, call.size("x", 1), float_argument(float(call.attributes["eps"]))),
        )


class UpsampleAdd(QuickPlugin):
    """A map resized to the size of another, which is added: a thread has eight channels of four pixels of a row."""

    name = "EvsamUpsampleAdd"
    file = "resize"
    inputs: ClassVar[tuple[str, ...]] = ("x", "residual")
    attributes: ClassVar = {"mode": str}

    THREADS = 128
    PIXELS_PER_THREAD = 4

    def output(self, call: Call) -> Any:
        """As the residual."""
        return call.inputs["residual"].like()

    def formats(self, call: Call) -> Sequence[Formats]:
        """Channels last."""
        call.multiple_of_8("residual", 1)
        kind, layout = ("FP16", "HWC8") if call.half else ("FP32", "HWC")
        maps = len(self.inputs) + 1
        return [(", ".join([kind] * maps), ", ".join([layout] * maps))]

    def kernel(self, call: Call, output: Any) -> Kernel:
        """Arguments: height and width of each map to resize, and of the output, channels."""
        mode = call.attributes["mode"]
        if mode not in ("bilinear", "bicubic"):
            raise EvsamError(f"mode: expected bilinear or bicubic, got {mode!r}")
        sources = [call.inputs[name] for name in self.inputs[:-1]]
        images, _, height, width = output.shape_expr
        channels = call.multiple_of_8("residual", 1)
        divide = call.tensorrt.plugin.cdiv
        items = divide(width, self.PIXELS_PER_THREAD) * (channels // 8)
        return Kernel(
            name=f"{call.type}_resize_{mode}_{'two' if len(sources) == 2 else 'one'}_quick__sm80",
            grid=(divide(items, self.THREADS), height, images),
            threads=self.THREADS,
            shared_bytes=0,
            arguments=(*(source.shape_expr[axis] for source in sources for axis in (2, 3)), height, width, channels),
        )


class UpsampleAddTwo(UpsampleAdd):
    """The same with two maps to resize: a plugin of this kind has a fixed number of inputs."""

    name = "EvsamUpsampleAddTwo"
    inputs = ("x", "x2", "residual")


class ReluLinearAttention(QuickPlugin):
    """ReLU linear attention, a block for each head of each image."""

    name = "EvsamReluLinearAttention"
    file = "relu_linear_attention"
    inputs = ("qkv",)
    attributes: ClassVar = {"head_dim": int, "eps": float}

    THREADS = 128

    def output(self, call: Call) -> Any:
        """A third of the channels."""
        out = call.inputs["qkv"].like()
        out.shape_expr[1] = call.inputs["qkv"].shape_expr[1] // 3
        return out

    def formats(self, call: Call) -> Sequence[Formats]:
        """Channels last or first; float32 channels first."""
        self._check(call)
        if call.half:
            return [("FP16, FP16", "HWC8, HWC8"), ("FP16, FP16", "LINEAR, LINEAR")]
        return [("FP32, FP32", "LINEAR, LINEAR")]

    def kernel(self, call: Call, output: Any) -> Kernel:
        """Arguments: heads of an image, tokens, eps."""
        dim, heads, shared_bytes = self._check(call)
        layout = "nhwc" if call.channels_last("qkv") else "nchw"
        images, _, height, width = output.shape_expr
        return Kernel(
            name=f"{call.type}_relu_linear_attention_d{dim}_{layout}_quick__sm80",
            grid=(images * heads,),
            threads=self.THREADS,
            shared_bytes=shared_bytes,
            arguments=(heads, height * width, float_argument(float(call.attributes["eps"]))),
        )

    @staticmethod
    def shared_bytes(dim: int, element_bytes: int) -> int:
        """Three stages of two tiles of 64 tokens, in the layout that needs more, and the state."""
        gap = 16 // element_bytes
        tile = max(64 * (dim + gap), dim * (64 + gap)) * element_bytes
        return 3 * 2 * tile + dim * (dim + 4) * 4

    def _check(self, call: Call) -> tuple[int, int, int]:
        """Channels of a head, heads, bytes of shared memory."""
        dim, channels = call.integer("head_dim"), call.size("qkv", 1)
        if dim not in (16, 32):
            raise EvsamError(f"head_dim: expected 16 or 32, got {dim}")
        if channels % (3 * dim) != 0:
            raise EvsamError(f"qkv: expected q, k and v of {dim} channels for each head, got {channels} channels")
        shared_bytes = self.shared_bytes(dim, 2 if call.half else 4)
        call.check_shared(self.name, shared_bytes)
        return dim, channels // (3 * dim), shared_bytes


class FusedMBConv(QuickPlugin):
    """3x3 convolution, activation, 1x1 convolution: a block has 8 x 16 pixels and goes through all hidden channels."""

    name = "EvsamFusedMBConv"
    file = "fused_mbconv"
    inputs = ("x", "weight", "bias", "point_weight", "point_bias")
    attributes: ClassVar = {"stride": int, "activation": str, "activation_scale": float, "residual": int}

    MOST_OUTPUTS = 256
    ACTIVATIONS = ("none", "relu", "relu6", "gelu_tanh")

    def output(self, call: Call) -> Any:
        """A map of as many channels as the 1x1 convolution makes, as large as x or half of it."""
        x, outputs = call.inputs["x"], call.inputs["point_weight"].shape_expr[0]
        images, _, height, width = x.shape_expr
        if self._stride(call) == 2:
            height, width = (call.tensorrt.plugin.cdiv(size, 2) for size in (height, width))
        return call.tensorrt.plugin.from_shape_expr((images, outputs, height, width), dtype=x.dtype)

    def formats(self, call: Call) -> Sequence[Formats]:
        """float16, channels last."""
        self._check(call)
        return [("FP16, FP16, FP32, FP16, FP32, FP16", "HWC8, LINEAR, LINEAR, LINEAR, LINEAR, HWC8")]

    def kernel(self, call: Call, output: Any) -> Kernel:
        """Arguments: those of ``csrc/tensorrt_qdp/fused_mbconv.cu``."""
        stride, outputs, stages, buffers, shared_bytes = self._check(call)
        columns, _, threads = self.tile(outputs)
        divide = call.tensorrt.plugin.cdiv
        images, _, out_height, out_width = output.shape_expr
        tile_rows, tile_columns = divide(out_height, TILE_HEIGHT), divide(out_width, TILE_WIDTH)
        return Kernel(
            name=f"f16_fused_mbconv_128x{columns}_quick__sm80",
            grid=(images * tile_rows * tile_columns,),
            threads=threads,
            shared_bytes=shared_bytes,
            arguments=(
                *(call.size("x", 1), call.size("weight", 0), outputs),
                *(call.inputs["x"].shape_expr[2], call.inputs["x"].shape_expr[3], out_height, out_width),
                *(tile_rows, tile_columns, stride),
                *((TILE_HEIGHT - 1) * stride + 3, (TILE_WIDTH - 1) * stride + 3, buffers, stages),
                self.ACTIVATIONS.index(str(call.attributes["activation"])),
                float_argument(float(call.attributes["activation_scale"])),
                call.integer("residual"),
            ),
        )

    @classmethod
    def placement(cls, in_channels: int, outputs: int, stride: int, limit: int) -> tuple[int, int, int]:
        """What goes into shared memory: the whole patch if it fits, and three stages of weights rather than two.

        Returns:
            Stages, buffers of 32 channels of the patch, bytes: the fewest where nothing is within the limit.
        """
        _, hidden, _ = cls.tile(outputs)
        stage = max(hidden * 3, POINT_ROWS) * PATCH_CHANNELS * 2
        chunks = -(-in_channels // PATCH_CHANNELS)
        choices = [
            (stages, buffers, stages * stage + buffers * patch_bytes(stride))
            for buffers in (chunks, min(chunks, 2))
            for stages in (3, 2)
        ]
        return next((choice for choice in choices if choice[2] <= limit), choices[-1])

    @staticmethod
    def tile(outputs: int) -> tuple[int, int, int]:
        """Output channels of a block, its hidden channels at a time, its threads."""
        if outputs <= 64:
            return 64, 64, 128
        return (128, 32, 128) if outputs <= 128 else (256, 64, 256)

    @staticmethod
    def _stride(call: Call) -> int:
        stride = call.integer("stride")
        if stride not in (1, 2):
            raise EvsamError(f"stride: expected 1 or 2, got {stride}")
        return stride

    def _check(self, call: Call) -> tuple[int, int, int, int, int]:
        """Stride, output channels, stages, buffers, bytes of shared memory."""
        stride, activation = self._stride(call), call.attributes["activation"]
        if not call.half:
            raise EvsamError(f"x: {self.name} expected float16, got float32")
        if activation not in self.ACTIVATIONS:
            raise EvsamError(f"activation: expected one of {', '.join(self.ACTIVATIONS)}, got {activation!r}")
        inputs = call.multiple_of_8("x", 1)
        call.multiple_of_8("weight", 0)
        outputs = call.multiple_of_8("point_weight", 0)
        if outputs > self.MOST_OUTPUTS:
            raise EvsamError(f"point_weight: expected at most {self.MOST_OUTPUTS} output channels, got {outputs}")
        if call.integer("residual") and (stride != 1 or inputs != outputs):
            raise EvsamError(f"residual: expected 0 for {inputs} channels to {outputs} with stride {stride}, got 1")
        stages, buffers, shared_bytes = self.placement(inputs, outputs, stride, call.shared_limit)
        call.check_shared(self.name, shared_bytes)
        return stride, outputs, stages, buffers, shared_bytes
