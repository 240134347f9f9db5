"""The image encoder on evsam's fused operators, for inference in float16 on GPUs.

:func:`fuse` turns an :class:`~evsam.nn.encoder.ImageEncoder` into a module that runs the ops of its description
(:mod:`evsam.network`) as operators of :mod:`evsam.ops.torch_ops`: batch norms are folded, weights are laid out as the
kernels read them, and maps stay float16 and channels last from the photo to the embedding. On the CPU the operators are
their PyTorch specification, so the same module can be compared, compiled and exported there.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from evsam.errors import BackendUnavailable
from evsam.network import (
    IMAGE_CHANNELS,
    NORM_EPS,
    Convolution,
    FusedMBConv,
    LayerNorm,
    LiteMLA,
    MBConv,
    Op,
    UpsampleAdd,
)
from evsam.nn.encoder import ImageEncoder
from evsam.ops import torch_ops  # noqa: F401 - defines torch.ops.evsam

PHOTO_CHANNELS = 8
"""Channels of the photo's tensor: three, and zeros up to what the kernels read at a time."""

Size = tuple[int, int]
"""Height and width."""

ops = torch.ops.evsam


def fuse(encoder: ImageEncoder, dtype: torch.dtype = torch.float16) -> FusedEncoder:
    """The encoder on fused operators.

    Args:
        encoder: of one of the variants l0 to xl1, or of a record of the same kinds of blocks, on any device, with its
            batch norms; it is not changed.
        dtype: of maps and weights; biases and gains are float32. The kernels of the GPU take float16.

    Raises:
        BackendUnavailable: the encoder has blocks without a fused operator (nano).
    """
    return FusedEncoder(encoder, dtype).eval()


class FusedEncoder(nn.Module):
    """See :func:`fuse`."""

    def __init__(self, encoder: ImageEncoder, dtype: torch.dtype) -> None:
        super().__init__()
        network = encoder.network
        state = {f"image_encoder.{name}": value.detach() for name, value in encoder.state_dict().items()}
        self.dtype = dtype
        self.cells = [network.image.size // op.output.size for op in network.ops]
        self.ops = nn.ModuleList([_FUSED[type(op)](op, state, dtype) for op in network.ops])
        # Maps by number, the photo's first: what each op reads, and what no later op reads.
        numbers = {name: i for i, name in enumerate([network.image.name, *(op.name for op in network.ops)])}
        self.outputs = [numbers[x.name] for x in network.outputs]
        self.reads = [[numbers[x.name] for x in op.inputs] for op in network.ops]
        self.residuals = [None if op.residual is None else numbers[op.residual.name] for op in network.ops]
        last = {numbers[x.name]: i for i, op in enumerate(network.ops) for x in op.reads}
        self.finished = [[n for n in last if last[n] == i and n not in self.outputs] for i in range(len(network.ops))]

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Encode normalised images.

        Args:
            x: (B, 3, S, S), any floating-point dtype, or (B, 8, S, S) whose last five channels are zero.

        Returns:
            The embedding (B, C, G, G), then any finer maps, in the encoder's dtype, channels last in memory.
        """
        missing = PHOTO_CHANNELS - x.shape[1]
        x = nn.functional.pad(x.to(self.dtype), (0, 0, 0, 0, 0, missing)) if missing else x.to(self.dtype)
        maps: list[Tensor | None] = [x.contiguous(memory_format=torch.channels_last)]
        height, width = x.shape[-2:]
        for i, op in enumerate(self.ops):
            residual = self.residuals[i]
            added = None if residual is None else maps[residual]
            size = (height // self.cells[i], width // self.cells[i])
            maps.append(op([maps[n] for n in self.reads[i]], added, size))
            for n in self.finished[i]:
                maps[n] = None
        return tuple(y for y in (maps[n] for n in self.outputs) if y is not None)


class _FusedOp(nn.Module):
    """One op with the weights of its convolutions, channels last in memory, and float32 biases.

    ``forward`` of each kind takes the input maps, the residual or None, and the size of the output.
    """

    def __init__(self, op: Op, state: Mapping[str, Tensor], dtype: torch.dtype) -> None:
        super().__init__()
        numbers = {name: state[name].double().cpu().numpy() for name in op.tensors}
        device = next(state[name].device for name in [*op.tensors, *state])
        for i, conv in enumerate(op.convs):
            weight, bias = (None if x is None else torch.from_numpy(x).to(device) for x in conv.read(numbers))
            assert weight is not None
            if conv.inputs == IMAGE_CHANNELS:
                weight = nn.functional.pad(weight, (0, 0, 0, 0, 0, PHOTO_CHANNELS - IMAGE_CHANNELS))
            weight = weight.to(dtype).contiguous(memory_format=torch.channels_last)
            self.register_parameter(f"weight{i}", _frozen(weight))
            self.register_parameter(f"bias{i}", None if bias is None else _frozen(bias))
        self.stride = max((conv.stride for conv in op.convs), default=1)
        self.activation = getattr(op, "activation", "none")


class _FusedConvolution(_FusedOp):
    def __init__(self, op: Convolution, state: Mapping[str, Tensor], dtype: torch.dtype) -> None:
        if op.kind not in ("conv3x3", "pointwise"):
            raise _no_operator(op)
        super().__init__(op, state, dtype)
        self.pointwise = op.kind == "pointwise"

    def forward(self, inputs: list[Tensor], residual: Tensor | None, *_: Size) -> Tensor:
        if self.pointwise:
            return ops.pointwise(*inputs, self.weight0, self.bias0, residual, self.activation)
        return ops.conv3x3(*inputs, self.weight0, self.bias0, residual, self.stride, self.activation)


class _FusedFusedMBConv(_FusedOp):
    def forward(self, inputs: list[Tensor], residual: Tensor | None, *_: Size) -> Tensor:
        weights = (self.weight0, self.bias0, self.weight1, self.bias1)
        return ops.fused_mbconv(*inputs, *weights, residual, self.stride, self.activation)


class _FusedMBConv(_FusedOp):
    def __init__(self, op: MBConv, state: Mapping[str, Tensor], dtype: torch.dtype) -> None:
        if op.expand is None:
            raise _no_operator(op)
        super().__init__(op, state, dtype)

    def forward(self, inputs: list[Tensor], residual: Tensor | None, *_: Size) -> Tensor:
        weights = (self.weight0, self.bias0, self.weight1, self.bias1, self.weight2, self.bias2)
        return ops.mbconv(*inputs, *weights, residual, self.stride, self.activation)


class _FusedLiteMLA(_FusedOp):
    def forward(self, inputs: list[Tensor], residual: Tensor | None, *_: Size) -> Tensor:
        weights = (self.weight0, self.bias0, self.weight1, self.weight2, self.weight3, self.bias3)
        return ops.lite_mla(*inputs, *weights, residual)


class _FusedUpsampleAdd(_FusedOp):
    def __init__(self, op: UpsampleAdd, state: Mapping[str, Tensor], dtype: torch.dtype) -> None:
        super().__init__(op, state, dtype)
        self.mode = op.mode

    def forward(self, inputs: list[Tensor], residual: Tensor | None, size: Size) -> Tensor:
        first, second = (*inputs, None)[:2]
        return ops.upsample_add(first, second, residual, size, self.mode)


class _FusedLayerNorm(_FusedOp):
    def __init__(self, op: LayerNorm, state: Mapping[str, Tensor], dtype: torch.dtype) -> None:
        super().__init__(op, state, dtype)
        self.gain, self.bias = (_frozen(state[name].float()) for name in op.tensors)

    def forward(self, inputs: list[Tensor], residual: Tensor | None, *_: Size) -> Tensor:
        assert residual is None
        return ops.layer_norm_2d(*inputs, self.gain, self.bias, NORM_EPS)


_FUSED: dict[type[Op], Any] = {
    Convolution: _FusedConvolution,
    FusedMBConv: _FusedFusedMBConv,
    MBConv: _FusedMBConv,
    LiteMLA: _FusedLiteMLA,
    UpsampleAdd: _FusedUpsampleAdd,
    LayerNorm: _FusedLayerNorm,
}


def _no_operator(op: Op) -> BackendUnavailable:
    return BackendUnavailable(f"fuse: expected blocks that have a fused operator (l0 to xl1), got {op.label}")


def _frozen(values: Tensor) -> nn.Parameter:
    return nn.Parameter(values, requires_grad=False)
