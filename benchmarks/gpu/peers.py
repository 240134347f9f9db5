"""The ops of the encoders as PyTorch does them, layer by layer, in the dtype of their inputs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import singledispatch
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from evsam.network import ATTENTION_EPS, NORM_EPS
from evsam.selftest.checks import (
    Check,
    Conv3x3Check,
    FusedMBConvCheck,
    LayerNormCheck,
    LinearAttentionCheck,
    LiteMLACheck,
    MapCheck,
    MBConvCheck,
    PointwiseCheck,
    PreprocessCheck,
    UpsampleAddCheck,
)

__all__ = ["Peer", "has_convolution", "has_peer", "peer"]

Peer = Callable[[Mapping[str, Tensor]], Tensor]


def has_convolution(check: Check[Any]) -> bool:
    """Whether cuDNN takes part in the peer."""
    return not isinstance(check, (LayerNormCheck, UpsampleAddCheck, LinearAttentionCheck))


def has_peer(check: Check[Any]) -> bool:
    """Whether PyTorch has the op; it does not read photos or make masks on the device as SAM does."""
    return isinstance(check, (MapCheck, LinearAttentionCheck)) and not isinstance(check, PreprocessCheck)


@singledispatch
def peer(check: Check[Any]) -> Peer:
    """The op of a check on tensors that all have one dtype, named as the check's inputs."""
    raise TypeError(f"check: expected an op that PyTorch has a peer for, got {check.op}")


_ACTIVATIONS: Mapping[str, Callable[[Tensor], Tensor]] = {
    "none": lambda x: x,
    "relu": F.relu,
    "relu6": F.relu6,
    "gelu_tanh": lambda x: F.gelu(x, approximate="tanh"),
}


def _activate(check: MapCheck[Any], x: Tensor) -> Tensor:
    return _ACTIVATIONS[check.layer.activation](x)


def _attend(qkv: Tensor) -> Tensor:
    """As the network does it: the sums over tokens in float32."""
    q, k, v = qkv.float().chunk(3, 2)
    q, k = q.relu(), k.relu()
    state = torch.cat([v, torch.ones_like(v[:, :, :1])], 2) @ k.transpose(2, 3)
    out = state @ q
    return (out[:, :, :-1] / (out[:, :, -1:] + ATTENTION_EPS)).to(qkv.dtype)


@peer.register
def _(check: Conv3x3Check) -> Peer:
    def run(t: Mapping[str, Tensor]) -> Tensor:
        y = F.conv2d(t["x"], t["weight"], t["bias"], check.layer.stride, 1)
        y = _activate(check, y)
        return y + t["residual"] if check.layer.residual else y

    return run


@peer.register
def _(check: PointwiseCheck) -> Peer:
    def run(t: Mapping[str, Tensor]) -> Tensor:
        y = F.conv2d(t["x"], t["weight"], t["bias"])
        y = _activate(check, y)
        return y + t["residual"] if check.layer.residual else y

    return run


@peer.register
def _(check: FusedMBConvCheck) -> Peer:
    def run(t: Mapping[str, Tensor]) -> Tensor:
        hidden = _activate(check, F.conv2d(t["x"], t["weight"], t["bias"], check.layer.stride, 1))
        y = F.conv2d(hidden, t["point_weight"], t["point_bias"])
        return y + t["x"] if check.layer.residual else y

    return run


@peer.register
def _(check: MBConvCheck) -> Peer:
    layer = check.layer

    def run(t: Mapping[str, Tensor]) -> Tensor:
        hidden = _activate(check, F.conv2d(t["x"], t["expand_weight"], t["expand_bias"]))
        depth = (t["depthwise_weight"], t["depthwise_bias"], layer.stride, layer.filter_size // 2, 1, layer.hidden)
        y = F.conv2d(_activate(check, F.conv2d(hidden, *depth)), t["project_weight"], t["project_bias"])
        return y + t["x"] if layer.residual else y

    return run


@peer.register
def _(check: LiteMLACheck) -> Peer:
    layer = check.layer
    wide = layer.qkv_channels

    def run(t: Mapping[str, Tensor]) -> Tensor:
        qkv = F.conv2d(t["x"], t["qkv_weight"])
        filtered = F.conv2d(qkv, t["depthwise"], padding=layer.filter_size // 2, groups=wide)
        second = F.conv2d(filtered, t["grouped"], groups=3 * layer.heads)
        heads = torch.cat([qkv, second], 1).unflatten(1, (-1, 3 * layer.head_dim)).flatten(3)
        attended = _attend(heads).flatten(1, 2).unflatten(2, qkv.shape[2:])
        return t["x"] + F.conv2d(attended, t["project_weight"], t["project_bias"])

    return run


@peer.register
def _(check: UpsampleAddCheck) -> Peer:
    layer = check.layer
    size = (layer.out_height, layer.out_width)

    def run(t: Mapping[str, Tensor]) -> Tensor:
        y = F.interpolate(t["x"], size=size, mode=layer.mode, align_corners=False)
        if layer.second:
            y = y + F.interpolate(t["x2"], size=size, mode=layer.mode, align_corners=False)
        return y + t["residual"] if layer.residual else y

    return run


@peer.register
def _(check: LayerNormCheck) -> Peer:
    channels = (check.layer.channels,)

    def run(t: Mapping[str, Tensor]) -> Tensor:
        by_pixel = t["x"].permute(0, 2, 3, 1)
        return F.layer_norm(by_pixel, channels, t["weight"], t["bias"], NORM_EPS).permute(0, 3, 1, 2)

    return run


@peer.register
def _(check: LinearAttentionCheck) -> Peer:  # noqa: ARG001
    return lambda t: _attend(t["qkv"])
