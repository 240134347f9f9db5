"""The launches of each op, with the grids and the shared memory that its launcher in csrc/ops/<op> chooses.

A test runs the launchers (in emulation) and compares. Each module here is the twin of one <op>_cuda.cpp.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from evsam.costs import Conv3x3, FusedMBConv, LayerNorm, LiteMLA, MBConv, Op, Pointwise, Preprocess, UpsampleAdd
from evsam.gpu_model.devices import Device
from evsam.gpu_model.geometry.conv3x3 import conv3x3
from evsam.gpu_model.geometry.fused_mbconv import fused_mbconv
from evsam.gpu_model.geometry.layer_norm import layer_norm
from evsam.gpu_model.geometry.lite_mla import lite_mla
from evsam.gpu_model.geometry.mbconv import mbconv
from evsam.gpu_model.geometry.pointwise import pointwise
from evsam.gpu_model.geometry.preprocess import preprocess
from evsam.gpu_model.geometry.resize import resize
from evsam.gpu_model.launches import Launch

__all__ = ["launches"]

# Each takes an op of the type and the number of multiprocessors.
_LAUNCHERS: Mapping[type[Op], Callable[[Any, int], list[Launch]]] = MappingProxyType(
    {
        Conv3x3: conv3x3,
        FusedMBConv: fused_mbconv,
        LayerNorm: layer_norm,
        LiteMLA: lite_mla,
        MBConv: mbconv,
        Pointwise: pointwise,
        Preprocess: preprocess,
        UpsampleAdd: resize,
    }
)


def launches(op: Op, device: Device) -> list[Launch]:
    """The launches of an op on a device, in order; empty where no CUDA kernel does it."""
    launcher = _LAUNCHERS.get(type(op))
    return launcher(op, device.multiprocessors) if launcher else []
