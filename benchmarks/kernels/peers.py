"""What evsam's kernels compete with: PyTorch op by op, and oneDNN's convolutions with packed weights, through PyTorch.

- "torch eager": the specification on float32 tensors with channels last in memory, PyTorch's own kernels. oneDNN is
  switched off: it would reorder the weights in each call, and other ops do not use it.
- "oneDNN": of ops with convolutions, each convolution by oneDNN with weights packed beforehand and the activation and
  residual fused to it (``torch.ops.mkldnn._convolution_pointwise``, what ``torch.compile`` calls on a CPU when it
  freezes a model), the rest as above.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor

from benchmarks.kernels.calls import Call
from evsam.costs import Conv3x3, DepthwiseConv, FusedMBConv, LiteMLA, MBConv, Op, PatchConv, Pointwise, PointwiseInt8
from evsam.ops import reference

__all__ = ["EAGER", "ONEDNN", "peers"]

EAGER = "torch eager"
ONEDNN = "oneDNN"

_ACTIVATIONS: Mapping[str, tuple[str, list[float], str]] = {
    "none": ("none", [], ""),
    "relu": ("relu", [], ""),
    "relu6": ("hardtanh", [0.0, 6.0], ""),
    "gelu_tanh": ("gelu", [], "tanh"),
    "gelu": ("gelu", [], "none"),
}
"""Name, numbers and algorithm of what oneDNN does behind a convolution."""


def peers(op: Op, call: Call) -> dict[str, Callable[[], Tensor]]:
    """The peers of a case, ready to run."""
    if call.specification is None:
        return {}
    tensors = call.tensors()
    found = {EAGER: _without_onednn(partial(call.specification, **tensors))}
    if torch.backends.mkldnn.is_available() and not isinstance(op, PointwiseInt8):
        fused = _onednn(op, tensors)
        if fused is not None:
            found[ONEDNN] = fused
    return found


def _without_onednn(call: Callable[[], Tensor]) -> Callable[[], Tensor]:
    def run() -> Tensor:
        torch.backends.mkldnn.set_flags(_enabled=False)
        try:
            return call()
        finally:
            torch.backends.mkldnn.set_flags(_enabled=True)

    return run


class _Convolution:
    """A convolution with its weights in oneDNN's order.

    Args:
        weight: (O, I / groups, K, K).
        bias: (O,), or None.
        size: (B, I, H, W) of what it reads.
        stride: of the filter.
        groups: of the channels.
        activation: behind it.
        padding: None: half the filter.
    """

    def __init__(
        self,
        weight: Tensor,
        bias: Tensor | None,
        size: tuple[int, ...],
        stride: int = 1,
        groups: int = 1,
        activation: str = "none",
        padding: int | None = None,
    ) -> None:
        weight = weight if weight.ndim == 4 else weight[:, :, None, None]
        self._bias = bias
        half = weight.shape[-1] // 2 if padding is None else padding
        self._how = ([half, half], [stride, stride], [1, 1], groups)
        self._activation = _ACTIVATIONS[activation]
        reorder = torch.ops.mkldnn._reorder_convolution_weight
        self._weight = reorder(weight.contiguous(), *self._how, list(size))
        rows, columns = (-(-(length + 2 * half - weight.shape[-1] + 1) // stride) for length in size[2:])
        self.size = (size[0], weight.shape[0], rows, columns)

    def __call__(self, x: Tensor, residual: Tensor | None = None) -> Tensor:
        if residual is None:
            run = torch.ops.mkldnn._convolution_pointwise
            y: Tensor = run(x, self._weight, self._bias, *self._how, *self._activation)
        else:
            fused = torch.ops.mkldnn._convolution_pointwise.binary
            y = fused(x, residual, self._weight, self._bias, *self._how, "add", 1.0, None, [], None)
        return y


def _onednn(op: Op, tensors: Mapping[str, Any]) -> Callable[[], Tensor] | None:
    x, residual = tensors.get("x"), tensors.get("residual")
    if x is None:
        return None
    size = tuple(x.shape)
    match op:
        case Conv3x3():
            conv = _Convolution(tensors["weight"], tensors["bias"], size, op.stride, 1, op.activation)
            return lambda: conv(x, residual)
        case Pointwise():
            conv = _Convolution(tensors["weight"], tensors["bias"], size, 1, 1, op.activation)
            return lambda: conv(x, residual)
        case DepthwiseConv():
            conv = _Convolution(tensors["weight"], tensors["bias"], size, op.stride, op.channels, op.activation)
            return lambda: conv(x)
        case PatchConv():
            conv = _Convolution(tensors["weight"], tensors["bias"], size, 2, 1, op.activation, padding=0)
            return lambda: conv(x)
        case FusedMBConv():
            wide = _Convolution(tensors["weight"], tensors["bias"], size, op.stride, 1, op.activation)
            narrow = _Convolution(tensors["point_weight"], tensors["point_bias"], wide.size)
            return lambda: narrow(wide(x), residual)
        case MBConv():
            expand = _Convolution(tensors["expand_weight"], tensors["expand_bias"], size, 1, 1, op.activation)
            depthwise, bias = tensors["depthwise_weight"], tensors["depthwise_bias"]
            filtered = _Convolution(depthwise, bias, expand.size, op.stride, op.hidden, op.activation)
            project = _Convolution(tensors["project_weight"], tensors["project_bias"], filtered.size)
            return lambda: project(filtered(expand(x)), residual)
        case LiteMLA():
            return _lite_mla(op, tensors)
    return None


def _lite_mla(op: LiteMLA, tensors: Mapping[str, Any]) -> Callable[[], Tensor]:
    x, residual = tensors["x"], tensors["residual"]
    total = 3 * op.heads * op.head_dim
    qkv = _Convolution(tensors["qkv_weight"], tensors["qkv_bias"], tuple(x.shape))
    depthwise = _Convolution(tensors["depthwise"], None, qkv.size, groups=total)
    grouped = _Convolution(tensors["grouped"], None, qkv.size, groups=total // op.head_dim)
    attended = (x.shape[0], 2 * op.heads * op.head_dim, *x.shape[2:])
    project = _Convolution(tensors["project_weight"], tensors["project_bias"], attended)

    def run() -> Tensor:
        first = qkv(x)
        both = torch.cat([first, grouped(depthwise(first))], 1)
        heads = both.unflatten(1, (-1, 3 * op.head_dim)).flatten(3)
        out = reference.relu_linear_attention(heads).flatten(1, 2).unflatten(2, x.shape[-2:])
        return project(out.contiguous(memory_format=torch.channels_last), residual)

    return run
