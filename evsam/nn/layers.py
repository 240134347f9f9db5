"""The blocks of an EfficientViT encoder (arXiv 2205.14756, 2402.05008), named as in the released checkpoints.

All tensors are NCHW. Normalisation layers use eps 1e-6, which the released weights were trained with.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from evsam.network import ATTENTION_EPS, NORM_EPS, fold_norm
from evsam.ops.reference import relu_linear_attention
from evsam.zoo import Activation, Block


def _gelu(x: Tensor) -> Tensor:
    return F.gelu(x, approximate="tanh")


_ACTIVATIONS: dict[Activation, Callable[[Tensor], Tensor]] = {"gelu": _gelu, "relu6": F.relu6}


class LayerNorm2d(nn.Module):
    """Layer norm over the channel axis of an NCHW tensor, with a gain and a bias per channel."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        channels_last = x.permute(0, 2, 3, 1)
        return F.layer_norm(channels_last, self.weight.shape, self.weight, self.bias, NORM_EPS).permute(0, 3, 1, 2)


class ConvLayer(nn.Module):
    """Convolution with "same" padding, then batch norm (if any), then an activation (if any).

    With ``freeze_norm`` the batch norm keeps its statistics while training; it is then a scale and a shift, which are
    folded into the convolution on the fly, so that no activation is stored or traversed for it.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int = 1,
        stride: int = 1,
        groups: int = 1,
        norm: bool = True,
        bias: bool = False,
        activation: Activation | None = None,
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, kernel, stride, padding=kernel // 2, groups=groups, bias=bias)
        self.norm = nn.BatchNorm2d(out_channels, eps=NORM_EPS) if norm else None
        self.activation = activation
        self.freeze_norm = False

    def folded(self) -> tuple[Tensor, Tensor | None]:
        """Weight and bias of the convolution with the batch norm's present statistics folded in; differentiable."""
        if self.norm is None:
            return self.conv.weight, self.conv.bias
        norm = (self.norm.weight, self.norm.bias, self.norm.running_mean, self.norm.running_var)
        weight, bias = fold_norm(self.conv.weight, self.conv.bias, *norm)
        return weight, bias

    def fold_norm_(self) -> None:
        """Replace the batch norm by its folded convolution, for inference only."""
        if self.norm is None:
            return
        with torch.no_grad():
            weight, bias = self.folded()
        assert bias is not None
        self.conv.weight = nn.Parameter(weight, requires_grad=False)
        self.conv.bias = nn.Parameter(bias, requires_grad=False)
        self.norm = None

    def forward(self, x: Tensor) -> Tensor:
        if self.norm is not None and not (self.training and self.freeze_norm):
            x = self.norm(self.conv(x))
        else:
            weight, bias = self.folded()
            x = F.conv2d(x, weight, bias, self.conv.stride, self.conv.padding, self.conv.dilation, self.conv.groups)
        return x if self.activation is None else _ACTIVATIONS[self.activation](x)


class Residual(nn.Module):
    """``x + main(x)``, or ``main(x)`` alone without the shortcut (blocks that change the shape)."""

    def __init__(self, main: nn.Module, shortcut: bool = True) -> None:
        super().__init__()
        self.main = main
        self.shortcut = shortcut

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.main(x)
        return x + y if self.shortcut else y


class ResBlock(nn.Module):
    """Two 3x3 convolutions; the activation sits between them."""

    def __init__(self, in_channels: int, out_channels: int, stride: int, expand: float, activation: Activation) -> None:
        super().__init__()
        hidden = round(in_channels * expand)
        self.conv1 = ConvLayer(in_channels, hidden, 3, stride, activation=activation)
        self.conv2 = ConvLayer(hidden, out_channels, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv2(self.conv1(x))


class FusedMBConv(nn.Module):
    """Dense 3x3 convolution to the expanded width, then a 1x1 convolution."""

    def __init__(self, in_channels: int, out_channels: int, stride: int, expand: float, activation: Activation) -> None:
        super().__init__()
        hidden = round(in_channels * expand)
        self.spatial_conv = ConvLayer(in_channels, hidden, 3, stride, activation=activation)
        self.point_conv = ConvLayer(hidden, out_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.point_conv(self.spatial_conv(x))


class DSConv(nn.Module):
    """Depthwise convolution, then a 1x1 convolution."""

    def __init__(self, in_channels: int, out_channels: int, stride: int, kernel: int, activation: Activation) -> None:
        super().__init__()
        self.depth_conv = ConvLayer(in_channels, in_channels, kernel, stride, in_channels, activation=activation)
        self.point_conv = ConvLayer(in_channels, out_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.point_conv(self.depth_conv(x))


class MBConv(nn.Module):
    """1x1 convolution to the expanded width, depthwise convolution, 1x1 convolution.

    With ``fewer_norm`` the first two have a bias instead of a batch norm.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        stride: int,
        expand: float,
        kernel: int,
        fewer_norm: bool,
        activation: Activation,
    ) -> None:
        super().__init__()
        hidden = round(in_channels * expand)
        norm, bias = not fewer_norm, fewer_norm
        self.inverted_conv = ConvLayer(in_channels, hidden, 1, norm=norm, bias=bias, activation=activation)
        self.depth_conv = ConvLayer(
            hidden, hidden, kernel, stride, groups=hidden, norm=norm, bias=bias, activation=activation
        )
        self.point_conv = ConvLayer(hidden, out_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.point_conv(self.depth_conv(self.inverted_conv(x)))


class LiteMLA(nn.Module):
    """Multi-scale ReLU linear attention (arXiv 2205.14756, section 3.1).

    q, k and v come from one 1x1 convolution; a depthwise convolution followed by a grouped 1x1 one gives a second set
    that has seen the neighbourhood. Both sets go through the same linear attention, head by head, and are projected
    together.
    """

    def __init__(self, channels: int, head_dim: int, kernel: int) -> None:
        super().__init__()
        heads = channels // head_dim
        total = heads * head_dim
        self.head_dim = head_dim
        self.qkv = ConvLayer(channels, 3 * total, 1, norm=False)
        self.aggreg = nn.ModuleList(
            [
                nn.Sequential(
                    nn.Conv2d(3 * total, 3 * total, kernel, padding=kernel // 2, groups=3 * total, bias=False),
                    nn.Conv2d(3 * total, 3 * total, 1, groups=3 * heads, bias=False),
                )
            ]
        )
        self.proj = ConvLayer(2 * total, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        qkv = self.qkv(x)
        scales = torch.cat([qkv, *(aggregate(qkv) for aggregate in self.aggreg)], 1)
        return self.proj(attend(scales, self.head_dim))


def exactly(x: Tensor) -> contextlib.AbstractContextManager[object]:
    """Compute in the dtype of the inputs, whatever autocast is on where ``x`` lies.

    Autocast narrows the inputs of every matrix product, those that were made float32 on purpose too. The question
    comes first, so that exported graphs, which are traced without autocast, have nothing of it.
    """
    kind = x.device.type
    known = getattr(torch.amp, "is_autocast_available", None)  # from torch 2.4 on, and training needs 2.6
    if known is not None and known(kind) and torch.is_autocast_enabled(kind):
        return torch.autocast(kind, enabled=False)
    return contextlib.nullcontext()


def attend(qkv: Tensor, head_dim: int) -> Tensor:
    """ReLU linear attention on feature maps.

    Args:
        qkv: (B, heads * 3 * head_dim, H, W); each head holds its q, k and v rows one after the other.
        head_dim: channels of q, k and v of one head.

    Returns:
        (B, heads * head_dim, H, W) of the input's dtype.
    """
    heads = qkv.unflatten(1, (-1, 3 * head_dim)).flatten(3)
    # The sums over all tokens do not fit into float16, and lose too much in bfloat16.
    wide = heads if heads.dtype == torch.float64 else heads.float()
    with exactly(qkv):
        out = relu_linear_attention(wide, eps=ATTENTION_EPS).to(qkv.dtype)
    return out.flatten(1, 2).unflatten(2, qkv.shape[-2:])


class EfficientViTBlock(nn.Module):
    """Residual LiteMLA for the context of the whole image, then a residual MBConv for local detail."""

    def __init__(
        self,
        channels: int,
        head_dim: int,
        expand: float,
        kernel: int,
        attention_filter_size: int,
        fewer_norm: bool,
        activation: Activation,
    ) -> None:
        super().__init__()
        self.context_module = Residual(LiteMLA(channels, head_dim, attention_filter_size))
        self.local_module = Residual(MBConv(channels, channels, 1, expand, kernel, fewer_norm, activation))

    def forward(self, x: Tensor) -> Tensor:
        return self.local_module(self.context_module(x))


def build_block(block: Block, in_channels: int, activation: Activation, head_dim: int) -> nn.Module:
    """The module of one :class:`~evsam.zoo.Block`."""
    match block.kind:
        case "conv":
            return ConvLayer(in_channels, block.width, block.filter_size, block.stride, activation=activation)
        case "att":
            return EfficientViTBlock(
                in_channels,
                head_dim,
                block.expand,
                block.filter_size,
                block.attention_filter_size,
                block.fewer_norm,
                activation,
            )
        case "res":
            main: nn.Module = ResBlock(in_channels, block.width, block.stride, block.expand, activation)
        case "fmb":
            main = FusedMBConv(in_channels, block.width, block.stride, block.expand, activation)
        case "ds":
            main = DSConv(in_channels, block.width, block.stride, block.filter_size, activation)
        case "mb":
            main = MBConv(
                in_channels, block.width, block.stride, block.expand, block.filter_size, block.fewer_norm, activation
            )
    return Residual(main, shortcut=block.stride == 1 and in_channels == block.width)
