"""Nodes on small maps, in every type and layout that the plugins have kernels for; batches above one, odd sizes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from evsam.ops import reference
from tests.cuda.cases import normal
from tests.tensorrt_qdp.host import Attributes

__all__ = ["CASES", "Case"]

DTYPES = {"f16": torch.float16, "f32": torch.float32}


@dataclass(frozen=True)
class Case:
    """A node, and what it has to compute.

    Attributes:
        plugin: name.
        make: the inputs, in the shapes of the network.
        attributes: of the node.
        compute: the reference, in the dtype that it gets.
        choice: which of the plugin's layouts, and its `layout`.
        roomy: needs more than 48 KiB of shared memory.
    """

    name: str
    plugin: str
    make: Callable[[], list[Tensor]]
    attributes: Attributes
    compute: Callable[..., Tensor]
    layout: str
    choice: int = 0
    roomy: bool = False


def _layer_norm(dtype: torch.dtype, shape: Sequence[int]) -> list[Tensor]:
    x = normal(*shape, dtype=dtype)
    x[0, :, 0, 0] = float("nan")
    x[0, :, 0, 1] += 100
    vector = partial(normal, shape[1], dtype=torch.float32)
    return [x, vector(), vector().flip(0)]


def _maps(dtype: torch.dtype, *shapes: Sequence[int]) -> list[Tensor]:
    return [normal(*shape, dtype=dtype) for shape in shapes]


def _upsample_add(*maps: Tensor, mode: Any) -> Tensor:
    x2 = maps[1] if len(maps) == 3 else None
    size = (maps[-1].shape[2], maps[-1].shape[3])
    return reference.upsample_add(maps[0], x2, maps[-1], size=size, mode=mode)


def _qkv(dtype: torch.dtype, batch: int, heads: int, dim: int, height: int, width: int) -> list[Tensor]:
    qkv = normal(batch, heads, 3 * dim, height * width, dtype=dtype)
    qkv[0, 0, : 2 * dim] = -qkv[0, 0, : 2 * dim].abs()  # nothing is left of them: the denominator is eps
    return [qkv.view(batch, heads * 3 * dim, height, width)]


def _attention(qkv: Tensor, *, dim: int, eps: float) -> Tensor:
    batch, channels, height, width = qkv.shape
    heads = qkv.reshape(batch, channels // (3 * dim), 3 * dim, height * width)
    return reference.relu_linear_attention(heads, eps=eps).reshape(batch, channels // 3, height, width)


def _fused(x: Sequence[int], hidden: int, outputs: int) -> list[Tensor]:
    return [
        normal(*x),
        normal(hidden, 3, 3, x[1], scale=(9 * x[1]) ** -0.5),
        normal(hidden, dtype=torch.float32),
        normal(outputs, hidden, scale=hidden**-0.5),
        normal(outputs, dtype=torch.float32),
    ]


def _fused_mbconv(
    x: Tensor, weight: Tensor, bias: Tensor, point: Tensor, point_bias: Tensor, *, residual: bool, **options: Any
) -> Tensor:
    kernel = weight.permute(0, 3, 1, 2)
    return reference.fused_mbconv(x, kernel, bias, point, point_bias, x if residual else None, **options)


def _cases() -> Iterator[Case]:
    for name, dtype in DTYPES.items():
        last = "HWC8" if name == "f16" else "HWC"
        norm = partial(Case, plugin="EvsamLayerNorm2d", attributes={"eps": 3e-3})
        compute = partial(reference.layer_norm_2d, eps=3e-3)
        for shape, layout, choice in (
            ((2, 72, 3, 7), last, 0),
            ((2, 16, 5, 4), "LINEAR", 1),
            ((1, 19, 1, 33), "LINEAR", 0),
        ):
            make = partial(_layer_norm, dtype, shape)
            label = f"layer_norm_{name}_{layout}_{shape[1]}"
            yield norm(label, make=make, compute=compute, layout=layout, choice=choice)

        for mode in ("bilinear", "bicubic"):
            for shapes in (((2, 16, 3, 5), (2, 16, 7, 10)), ((2, 24, 3, 2), (2, 24, 1, 3), (2, 24, 6, 5))):
                yield Case(
                    f"upsample_{name}_{mode}_{len(shapes) - 1}",
                    "EvsamUpsampleAdd" if len(shapes) == 2 else "EvsamUpsampleAddTwo",
                    partial(_maps, dtype, *shapes),
                    {"mode": mode},
                    partial(_upsample_add, mode=mode),
                    last,
                )

        for dim in (16, 32):
            for layout in ("HWC8", "LINEAR") if name == "f16" else ("LINEAR",):
                yield Case(
                    f"attention_{name}_d{dim}_{layout}",
                    "EvsamReluLinearAttention",
                    partial(_qkv, dtype, 2, 3, dim, 7, 19 if layout == "HWC8" else 16),
                    {"head_dim": dim, "eps": 1e-15},
                    partial(_attention, dim=dim, eps=1e-15),
                    layout,
                    choice=int(layout == "LINEAR" and name == "f16"),
                    roomy=name == "f32" and dim == 32,
                )
    tail = partial(_qkv, torch.float16, 1, 1, 16, 5, 13)  # 65 tokens: rows of no whole number of 16 bytes
    attention = partial(_attention, dim=16, eps=0.5)
    options: Attributes = {"head_dim": 16, "eps": 0.5}
    yield Case("attention_tail", "EvsamReluLinearAttention", tail, options, attention, "LINEAR", choice=1)

    # x, hidden, outputs, stride, activation, scale, residual
    for size, hidden, outputs, stride, activation, scale, residual in (
        ((2, 40, 9, 17), 72, 40, 1, "gelu_tanh", 0.5, 1),
        ((1, 24, 5, 3), 40, 136, 1, "relu6", 0.25, 0),
        ((1, 16, 8, 16), 32, 96, 1, "relu", 1.0, 0),
        ((2, 72, 3, 5), 16, 24, 1, "none", 1.0, 0),
        ((2, 24, 9, 11), 40, 72, 2, "gelu_tanh", 1.0, 0),
    ):
        numbers: dict[str, Any] = {"stride": stride, "activation": activation, "activation_scale": scale}
        yield Case(
            f"fused_mbconv_{activation}_{outputs}_s{stride}",
            "EvsamFusedMBConv",
            partial(_fused, size, hidden, outputs),
            {**numbers, "residual": residual},
            partial(_fused_mbconv, residual=bool(residual), **numbers),
            "HWC8",
            roomy=stride == 2,
        )


CASES = tuple(_cases())
