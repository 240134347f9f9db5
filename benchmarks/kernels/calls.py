"""How a case of :mod:`evsam.ops.cases` is called: its arrays, evsam's kernels on them, and the specification."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from types import MappingProxyType
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from evsam import _C, ops, transforms
from evsam.costs import (
    Conv3x3,
    ConvTranspose,
    DepthwiseConv,
    FusedMBConv,
    LayerNorm,
    LiteMLA,
    MaskHead,
    MaskPrompt,
    MaskUpsample,
    MBConv,
    Op,
    PatchConv,
    Pointwise,
    PointwiseInt8,
    Preprocess,
    ReluLinearAttention,
    SamHead,
    Transpose,
    TwoWayAttention,
    UpsampleAdd,
)
from evsam.ops import reference
from evsam.ops.cases import Case

__all__ = ["Call", "call_of"]

Array = NDArray[Any]


@dataclass(frozen=True)
class Call:
    """One case with arrays to run it on.

    Attributes:
        arrays: by the names that the specification has for them; maps have their channels last in memory.
        kernel: the call of evsam's kernels, for an instruction set and a number of threads; it fills the same array
            each time and returns it.
        specification: what it computes, from tensors by name in any floating-point dtype; None where the result is to
            be `expected` bit for bit.
        expected: the result where there is no specification in PyTorch.
    """

    arrays: Mapping[str, Array | None]
    kernel: Callable[[str, int], Callable[[], Array]]
    specification: Callable[..., Tensor] | None = None
    expected: Callable[[], Array] | None = field(default=None)

    def tensors(self, dtype: torch.dtype = torch.float32) -> dict[str, Tensor | None]:
        """The arrays in PyTorch, each in its own order in memory."""
        return {
            name: None if array is None else torch.from_numpy(array).to(dtype) for name, array in self.arrays.items()
        }


def call_of(case: Case) -> Call | None:
    """The call of a case, or None where Python cannot make it: :mod:`evsam.ops` lacks the op, or that form of it."""
    make = _MAKERS.get(type(case.op))
    return make(case, _Random()) if make is not None else None


class _Random:
    """Arrays of random numbers, the same in each run."""

    def __init__(self) -> None:
        self._rng = np.random.default_rng(0)

    def array(self, *shape: int) -> Array:
        array: Array = self._rng.standard_normal(shape, dtype=np.float32)
        return array

    def map(self, batch: int, channels: int, height: int, width: int) -> Array:
        """Channels last in memory."""
        array: Array = self.array(batch, height, width, channels).transpose(0, 3, 1, 2)
        return array

    def weight(self, *shape: int) -> Array:
        """Sums of products stay of size one."""
        array: Array = self.array(*shape) / np.float32(np.sqrt(np.prod(shape[1:])))
        return array

    def vector(self, size: int) -> Array:
        return self.array(size)

    def bytes(self, *shape: int) -> Array:
        return self._rng.integers(0, 256, shape, np.uint8)


def _packed(
    function: Callable[..., Any],
    arrays: Mapping[str, Array | None],
    numbers: Mapping[str, Any],
    options: Mapping[str, Any] | None = None,
    *,
    planes: bool = False,
) -> Call:
    """The call of an op of evsam.ops with packed weights and an array for its result."""
    specification = partial(getattr(reference, function.__name__), **numbers)

    def kernel(isa: str, threads: int) -> Callable[[], Array]:
        packed = ops.pack(function, **arrays, **numbers, **(options or {}), isa=isa)
        maps = [arrays[name] for name in packed.maps if name in arrays]
        shape = packed(*maps, threads=threads).shape
        out = np.empty(shape, np.float32) if planes else _Random().map(*shape)
        return lambda: packed(*maps, out=out, threads=threads)

    return Call(arrays, kernel, specification)


def _block(case: Case, make: _Random) -> Call | None:
    """A convolution, or a block of them, with a residual that may be its input."""
    op: Any = case.op
    if isinstance(op, MBConv) and not op.expands:
        return None  # Python's function has an expansion
    options = {name: value for name, value in case.options.items() if name in ("algorithm", "precision")}
    numbers: dict[str, Any] = {"stride": op.stride, "activation": op.activation} if not isinstance(op, LiteMLA) else {}
    function: Callable[..., Any]
    match op:
        case Conv3x3():
            function = ops.conv3x3
            weights = {"weight": (op.out_channels, op.in_channels, 3, 3), "bias": (op.out_channels,)}
        case Pointwise():
            function = ops.pointwise
            del numbers["stride"]
            options = {"precision": "int8"} if isinstance(op, PointwiseInt8) else {}
            weights = {"weight": (op.out_channels, op.in_channels), "bias": (op.out_channels,)}
        case FusedMBConv():
            function = ops.fused_mbconv
            weights = {"weight": (op.hidden, op.in_channels, 3, 3), "bias": (op.hidden,)}
            weights |= {"point_weight": (op.out_channels, op.hidden), "point_bias": (op.out_channels,)}
        case MBConv():
            function = ops.mbconv
            weights = {"expand_weight": (op.hidden, op.in_channels), "expand_bias": (op.hidden,)}
            weights |= {"depthwise_weight": (op.hidden, 1, op.filter_size, op.filter_size)}
            weights |= {"depthwise_bias": (op.hidden,)}
            weights |= {"project_weight": (op.out_channels, op.hidden), "project_bias": (op.out_channels,)}
        case _:
            function = ops.lite_mla
            total = 3 * op.heads * op.head_dim
            weights = {"qkv_weight": (total, op.channels), "qkv_bias": (total,)}
            weights |= {"depthwise": (total, 1, op.filter_size, op.filter_size), "grouped": (total, op.head_dim)}
            weights |= {"project_weight": (op.channels, total // 3 * 2), "project_bias": (op.channels,)}
    whole = isinstance(op, LiteMLA)
    x = make.map(op.batch, op.channels if whole else op.in_channels, op.height, op.width)
    arrays: dict[str, Array | None] = {"x": x, "residual": None}
    arrays |= {name: make.vector(*shape) if len(shape) == 1 else make.weight(*shape) for name, shape in weights.items()}
    adds = case.options.get("adds", "other") if whole or op.residual else "nothing"
    if adds == "input":
        arrays["residual"] = x
    elif adds == "other":
        size = (op.height, op.width) if whole else (op.out_height, op.out_width)
        arrays["residual"] = make.map(op.batch, op.channels if whole else op.out_channels, *size)
    return _packed(function, arrays, numbers, options)


def _depthwise_conv(case: Case, make: _Random) -> Call:
    op = _as(DepthwiseConv, case)
    arrays = {
        "x": make.map(op.batch, op.channels, op.height, op.width),
        "weight": make.weight(op.channels, 1, op.filter_size, op.filter_size),
        "bias": make.vector(op.channels),
    }
    return _packed(ops.depthwise_conv, arrays, {"stride": op.stride, "activation": op.activation})


def _layer_norm(case: Case, make: _Random) -> Call | None:
    op = _as(LayerNorm, case)
    if op.residual or op.position:
        return None
    arrays = {
        "x": make.map(op.batch, op.channels, op.height, op.width),
        "weight": make.vector(op.channels),
        "bias": make.vector(op.channels),
    }
    call = _packed(ops.layer_norm_2d, arrays, {}, {"activation": op.activation})

    def specification(**tensors: Any) -> Tensor:
        return reference.activate(reference.layer_norm_2d(**tensors), op.activation)

    return Call(call.arrays, call.kernel, specification)


def _resize(case: Case, make: _Random) -> Call | None:
    op = _as(UpsampleAdd, case)
    if op.second is not None:
        return None
    size = (op.out_height, op.out_width)
    arrays = {
        "x": make.map(op.batch, op.channels, op.height, op.width),
        "x2": None,
        "residual": make.map(op.batch, op.channels, *size) if op.residual else None,
    }
    return _packed(ops.upsample_add, arrays, {"size": size, "mode": op.mode})


def _patch_conv(case: Case, make: _Random) -> Call:
    op = _as(PatchConv, case)
    arrays = {
        "x": make.map(op.batch, op.in_channels, op.height, op.width),
        "weight": make.weight(op.out_channels, op.in_channels, 2, 2),
        "bias": make.vector(op.out_channels),
    }
    return _packed(ops.patch_conv, arrays, {"activation": op.activation})


def _mask_head(case: Case, make: _Random) -> Call:
    op = _as(MaskHead, case)
    arrays = {
        "x": make.map(op.batch, op.in_channels, op.height, op.width),
        "weight": make.weight(op.in_channels, op.channels, 2, 2),
        "vectors": make.array(op.batch, 4, op.channels),
        "bias": make.vector(op.channels),
        "lateral": make.array(op.batch, op.channels, 2 * op.height, 2 * op.width) if op.lateral else None,
    }
    return _packed(ops.mask_head, arrays, {"activation": op.activation}, planes=True)


def _mask_prompt(case: Case, make: _Random) -> Call:
    op = _as(MaskPrompt, case)
    arrays = {
        "x": make.map(1, op.channels, op.rows, op.columns),
        "mask": make.array(1, 1, 4 * op.rows, 4 * op.columns),
        "first_weight": make.weight(op.narrow, 1, 2, 2),
        "second_weight": make.weight(op.wide, op.narrow, 2, 2),
        "last_weight": make.weight(op.channels, op.wide),
        "last_bias": make.vector(op.channels),
    }
    for layer, size in (("first", op.narrow), ("second", op.wide)):
        arrays |= {f"{layer}_{name}": make.vector(size) for name in ("bias", "gain", "shift")}
    return _packed(ops.mask_prompt, arrays, {})


def _sam_head(case: Case, make: _Random) -> Call:
    op = _as(SamHead, case)
    arrays = {
        "x": make.map(op.prompts, op.channels, op.rows, op.columns),
        "vectors": make.array(op.prompts, 4, op.features),
        "first_weight": make.weight(op.channels, op.middle, 2, 2),
        "first_bias": make.vector(op.middle),
        "gain": make.vector(op.middle),
        "shift": make.vector(op.middle),
        "second_weight": make.weight(op.middle, op.features, 2, 2),
        "second_bias": make.vector(op.features),
    }
    return _packed(ops.sam_head, arrays, {}, planes=True)


def _conv_transpose(case: Case, make: _Random) -> Call:
    op = _as(ConvTranspose, case)
    arrays: dict[str, Array | None] = {"x": make.map(op.batch, op.in_channels, op.height, op.width)}
    arrays |= {"weight": make.weight(op.in_channels, op.out_channels, 2, 2), "bias": make.vector(op.out_channels)}
    fine = (2 * op.height, 2 * op.width)
    arrays["lateral"] = make.map(op.batch, op.out_channels, *fine) if op.lateral else None
    arrays["side"] = make.map(op.batch, op.side_channels, *fine) if op.side_channels else None
    arrays["side_weight"] = make.weight(op.out_channels, op.side_channels) if op.side_channels else None
    return _packed(ops.conv_transpose, arrays, {"activation": op.activation})


def _two_way_attention(case: Case, make: _Random) -> Call | None:
    op = _as(TwoWayAttention, case)
    if op.inner:  # cells that were projected before
        return None
    rows = op.heads * op.tokens
    cells, channels = op.cells, op.channels
    arrays: dict[str, Array | None] = {"cells": make.array(op.prompts, cells, channels)}
    arrays["position"] = make.array(cells, channels)
    parts = {}
    if op.updates:
        parts = {"keys": make.weight(op.prompts, rows, channels), "key_bias": make.array(op.prompts, rows)}
        parts |= {"values": make.array(op.prompts, rows, channels)}
        parts |= {name: make.vector(channels) for name in ("bias", "gain", "shift")}
    arrays["queries"] = make.weight(op.prompts, rows, channels) if op.queries else None

    def split(given: Mapping[str, Any]) -> dict[str, Any]:
        update = [given[name] for name in parts] or None
        return {**{name: value for name, value in given.items() if name not in parts}, "update": update}

    def joined(found: tuple[Any, Any]) -> list[Any]:
        return [part for part in found if part is not None]

    def kernel(isa: str, threads: int) -> Callable[[], Array]:
        given = split({**arrays, **parts})

        def run() -> Array:
            found = ops.two_way_attention(**given, heads=op.heads, backend="native", threads=threads, isa=isa)
            return np.concatenate([part.ravel() for part in joined(found)])

        return run

    def specification(**tensors: Tensor | None) -> Tensor:
        found = reference.two_way_attention(**split(tensors), heads=op.heads)
        return torch.cat([part.flatten() for part in joined(found)])

    return Call({**arrays, **parts}, kernel, specification)


def _attention(case: Case, make: _Random) -> Call:
    op = _as(ReluLinearAttention, case)
    qkv = make.array(op.batch, op.heads, 3 * op.head_dim, op.tokens)
    out = np.empty((op.batch, op.heads, op.head_dim, op.tokens), np.float32)

    def kernel(isa: str, threads: int) -> Callable[[], Array]:
        def run() -> Array:
            _C.relu_linear_attention(qkv, out, eps=1e-15, threads=threads, isa=isa)
            return out

        return run

    return Call({"qkv": qkv}, kernel, reference.relu_linear_attention)


def _transpose(case: Case, make: _Random) -> Call:
    op = _as(Transpose, case)
    x = make.array(op.batch, op.height, op.width, op.channels)
    out = np.empty((op.batch, op.channels, op.height, op.width), np.float32)

    def kernel(isa: str, threads: int) -> Callable[[], Array]:
        def run() -> Array:
            _C.to_channels_first(x, out, threads=threads, isa=isa)
            return out

        return run

    return Call({"x": x}, kernel, lambda x: x.permute(0, 3, 1, 2).contiguous())


def _preprocess(case: Case, make: _Random) -> Call:
    op = _as(Preprocess, case)
    photo = make.bytes(op.height, op.width, 3)
    return Call(
        {"photo": photo},
        lambda isa, threads: lambda: _C.preprocess(photo, op.side, threads=threads, isa=isa),
        expected=lambda: transforms.image_to_pixels(photo, op.side).transpose(1, 2, 0),
    )


def _mask_upsample(case: Case, make: _Random) -> Call:
    op = _as(MaskUpsample, case)
    logits = make.array(1, op.count, 256, 256)
    sizes = ((op.resized_height, op.resized_width), (op.height, op.width))
    return Call(
        {"logits": logits},
        lambda isa, threads: lambda: _C.mask_upsample(logits, *sizes, threads=threads, isa=isa),
        expected=lambda: transforms.masks_from_logits(logits, *sizes),
    )


Kind = TypeVar("Kind", bound=Op)


def _as(kind: type[Kind], case: Case) -> Kind:
    """The record of a case, whose kind is known by whom it was given to."""
    assert isinstance(case.op, kind)
    return case.op


_MAKERS: Mapping[type[Op], Callable[[Case, _Random], Call | None]] = MappingProxyType(
    {
        **dict.fromkeys((Conv3x3, Pointwise, PointwiseInt8, FusedMBConv, MBConv, LiteMLA), _block),
        DepthwiseConv: _depthwise_conv,
        LayerNorm: _layer_norm,
        UpsampleAdd: _resize,
        PatchConv: _patch_conv,
        ConvTranspose: _conv_transpose,
        MaskHead: _mask_head,
        MaskPrompt: _mask_prompt,
        SamHead: _sam_head,
        TwoWayAttention: _two_way_attention,
        ReluLinearAttention: _attention,
        Transpose: _transpose,
        Preprocess: _preprocess,
        MaskUpsample: _mask_upsample,
    }
)
