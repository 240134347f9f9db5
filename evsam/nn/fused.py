"""The image encoder on evsam's fused operators, for inference in float16 on GPUs.

:func:`fuse` turns an :class:`~evsam.nn.encoder.ImageEncoder` into a module whose every step is one of the operators of
:mod:`evsam.ops.torch_ops`: batch norms are folded, weights are laid out as the kernels read them, and maps stay
float16 and channels last from the photo to the embedding. On the CPU the operators are their PyTorch specification, so
the same module can be compared, compiled and exported there.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from evsam.errors import BackendUnavailable
from evsam.nn.encoder import ImageEncoder, Neck, OpSequential
from evsam.nn.layers import (
    NORM_EPS,
    ConvLayer,
    EfficientViTBlock,
    FusedMBConv,
    LiteMLA,
    MBConv,
    ResBlock,
    Residual,
)
from evsam.ops import torch_ops  # noqa: F401 - defines torch.ops.evsam

PHOTO_CHANNELS = 8
"""Channels of the photo's tensor: three, and zeros up to what the kernels read at a time."""

ops = torch.ops.evsam

_ACTIVATIONS = {"gelu": "gelu_tanh", "relu6": "relu6", None: "none"}


def fuse(encoder: ImageEncoder, dtype: torch.dtype = torch.float16) -> FusedEncoder:
    """The encoder on fused operators.

    Args:
        encoder: of one of the variants l0 to xl1, on any device; it is not changed.
        dtype: of maps and weights; biases and gains are float32. The kernels of the GPU take float16.

    Raises:
        BackendUnavailable: the encoder has blocks without a fused operator (nano).
    """
    return FusedEncoder(encoder, dtype).eval()


class FusedEncoder(nn.Module):
    """See :func:`fuse`."""

    def __init__(self, encoder: ImageEncoder, dtype: torch.dtype) -> None:
        super().__init__()
        self.dtype = dtype
        self.cell = encoder.cell
        self.stages = nn.ModuleList([_fuse_sequence(stage, dtype) for stage in encoder.backbone.stages])
        if encoder.lateral is not None:
            raise BackendUnavailable("fuse: expected an encoder without lateral maps (l0 to xl1), got one with them")
        self.neck = _FusedNeck(encoder.neck, dtype)
        self.gain = _frozen(encoder.norm.weight.detach().float())
        self.bias = _frozen(encoder.norm.bias.detach().float())

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Encode normalised images.

        Args:
            x: (B, 3, S, S), any floating-point dtype, or (B, 8, S, S) whose last five channels are zero.

        Returns:
            The embedding (B, C, G, G) in the encoder's dtype, channels last in memory.
        """
        missing = PHOTO_CHANNELS - x.shape[1]
        x = nn.functional.pad(x.to(self.dtype), (0, 0, 0, 0, 0, missing)) if missing else x.to(self.dtype)
        x = x.contiguous(memory_format=torch.channels_last)
        grid = (x.shape[-2] // self.cell, x.shape[-1] // self.cell)
        outputs = []
        for stage in self.stages:
            x = stage(x)
            outputs.append(x)
        return (ops.layer_norm_2d(self.neck(outputs, grid), self.gain, self.bias, NORM_EPS),)


class _FusedConv(nn.Module):
    """A 1x1 or 3x3 convolution with its folded norm, activation and residual."""

    def __init__(self, layer: ConvLayer, dtype: torch.dtype, in_channels: int | None = None) -> None:
        super().__init__()
        self.weight, self.bias = _parameters(layer, dtype, in_channels)
        self.stride = layer.conv.stride[0]
        self.activation = _ACTIVATIONS[layer.activation]

    def forward(self, x: Tensor, residual: Tensor | None = None) -> Tensor:
        if self.weight.shape[-1] == 1:
            return ops.pointwise(x, self.weight, self.bias, residual, self.activation)
        return ops.conv3x3(x, self.weight, self.bias, residual, self.stride, self.activation)


class _FusedResBlock(nn.Module):
    def __init__(self, block: ResBlock, shortcut: bool, dtype: torch.dtype) -> None:
        super().__init__()
        self.conv1, self.conv2 = _FusedConv(block.conv1, dtype), _FusedConv(block.conv2, dtype)
        self.shortcut = shortcut

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.conv2(self.conv1(x), x if self.shortcut else None)
        return y


class _FusedFusedMBConv(nn.Module):
    def __init__(self, block: FusedMBConv, shortcut: bool, dtype: torch.dtype) -> None:
        super().__init__()
        self.spatial_weight, self.spatial_bias = _parameters(block.spatial_conv, dtype)
        self.point_weight, self.point_bias = _parameters(block.point_conv, dtype)
        self.stride = block.spatial_conv.conv.stride[0]
        self.activation = _ACTIVATIONS[block.spatial_conv.activation]
        self.shortcut = shortcut

    def forward(self, x: Tensor) -> Tensor:
        return ops.fused_mbconv(
            x,
            self.spatial_weight,
            self.spatial_bias,
            self.point_weight,
            self.point_bias,
            x if self.shortcut else None,
            self.stride,
            self.activation,
        )


class _FusedMBConv(nn.Module):
    def __init__(self, block: MBConv, shortcut: bool, dtype: torch.dtype) -> None:
        super().__init__()
        self.expand_weight, self.expand_bias = _parameters(block.inverted_conv, dtype)
        self.depth_weight, self.depth_bias = _parameters(block.depth_conv, dtype)
        self.point_weight, self.point_bias = _parameters(block.point_conv, dtype)
        self.stride = block.depth_conv.conv.stride[0]
        self.activation = _ACTIVATIONS[block.depth_conv.activation]
        self.shortcut = shortcut

    def forward(self, x: Tensor) -> Tensor:
        return ops.mbconv(
            x,
            self.expand_weight,
            self.expand_bias,
            self.depth_weight,
            self.depth_bias,
            self.point_weight,
            self.point_bias,
            x if self.shortcut else None,
            self.stride,
            self.activation,
        )


class _FusedLiteMLA(nn.Module):
    def __init__(self, block: LiteMLA, dtype: torch.dtype) -> None:
        super().__init__()
        depthwise, grouped = (block.aggreg.get_parameter(f"0.{i}.weight").detach() for i in range(2))
        self.qkv_weight, self.qkv_bias = _parameters(block.qkv, dtype)
        self.depth_weight = _frozen(depthwise.to(dtype))
        self.group_weight = _frozen(grouped.to(dtype))
        self.project_weight, self.project_bias = _parameters(block.proj, dtype)

    def forward(self, x: Tensor) -> Tensor:
        return ops.lite_mla(
            x,
            self.qkv_weight,
            self.qkv_bias,
            self.depth_weight,
            self.group_weight,
            self.project_weight,
            self.project_bias,
            x,
        )


class _FusedNeck(nn.Module):
    def __init__(self, neck: Neck, dtype: torch.dtype) -> None:
        super().__init__()
        self.stages = neck.stages
        self.project = nn.ModuleList([_fuse_sequence(project, dtype) for project in neck.input_ops])
        self.middle = _fuse_sequence(neck.middle, dtype)
        (output,) = neck.output_ops
        self.output = _fuse_sequence(output, dtype)

    def forward(self, stages: list[Tensor], grid: tuple[int, int]) -> Tensor:
        maps = [project(stages[index]) for index, project in zip(self.stages, self.project, strict=True)]
        resized = [x for x in maps if x.shape[-2:] != grid]
        (residual,) = [x for x in maps if x.shape[-2:] == grid]
        first, second = resized
        y: Tensor = self.output(self.middle(ops.upsample_add(first, second, residual, grid, "bicubic")))
        return y


def _fuse_sequence(sequence: nn.Module, dtype: torch.dtype) -> nn.Sequential:
    assert isinstance(sequence, OpSequential)
    return nn.Sequential(*(module for block in sequence.op_list for module in _fuse_block(block, dtype)))


def _fuse_block(block: nn.Module, dtype: torch.dtype) -> list[nn.Module]:
    if isinstance(block, ConvLayer) and block.conv.groups == 1:
        padded = PHOTO_CHANNELS if block.conv.in_channels < PHOTO_CHANNELS else None
        return [_FusedConv(block, dtype, padded)]
    if isinstance(block, EfficientViTBlock):
        context, local = block.context_module, block.local_module
        assert isinstance(context.main, LiteMLA)
        return [_FusedLiteMLA(context.main, dtype), *_fuse_block(local, dtype)]
    if isinstance(block, Residual):
        main, shortcut = block.main, block.shortcut
        fused: Callable[..., nn.Module] | None = {
            ResBlock: _FusedResBlock,
            FusedMBConv: _FusedFusedMBConv,
            MBConv: _FusedMBConv,
        }.get(type(main))
        if fused is not None:
            return [fused(main, shortcut, dtype)]
    raise BackendUnavailable(
        f"fuse: expected blocks that have a fused operator (l0 to xl1), got {type(block).__name__}"
    )


def _parameters(
    layer: ConvLayer, dtype: torch.dtype, in_channels: int | None = None
) -> tuple[nn.Parameter, nn.Parameter | None]:
    """Weight with its norm folded in, channels last in memory, and float32 bias; zeros for input channels added."""
    with torch.no_grad():
        weight, bias = layer.folded()
        if in_channels is not None:
            weight = nn.functional.pad(weight, (0, 0, 0, 0, 0, in_channels - weight.shape[1]))
        weight = weight.to(dtype).contiguous(memory_format=torch.channels_last)
    return _frozen(weight), None if bias is None else _frozen(bias.detach().float())


def _frozen(values: Tensor) -> nn.Parameter:
    return nn.Parameter(values, requires_grad=False)
