"""Checks of the fused blocks: FusedMBConv, MBConv, multi-scale linear attention."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from evsam import ops
from evsam.costs import FusedMBConv, LiteMLA, MBConv
from evsam.selftest import reference
from evsam.selftest.check import Values, channels_last, normal, pixels_first
from evsam.selftest.checks.attention import EPS
from evsam.selftest.checks.maps import OpCheck, bias, depthwise_weight, weight
from evsam.selftest.dtypes import Array
from evsam.selftest.reference import Store

__all__ = ["FusedMBConvCheck", "LiteMLACheck", "MBConvCheck"]


class FusedMBConvCheck(OpCheck[FusedMBConv]):
    """A 3x3 convolution and a 1x1 convolution."""

    def inputs(self, rng: np.random.Generator) -> dict[str, Values]:
        layer = self.layer
        return {
            "x": self.map(rng, layer.in_channels, layer.height, layer.width),
            "weight": weight(rng, layer.hidden, 3, layer.in_channels),
            "bias": bias(rng, layer.hidden),
            "point_weight": weight(rng, layer.out_channels, 1, layer.hidden),
            "point_bias": bias(rng, layer.out_channels),
        }

    def call(self, arrays: Mapping[str, Any]) -> Any:
        return ops.fused_mbconv(
            **arrays,
            residual=arrays["x"] if self.layer.residual else None,
            stride=self.layer.stride,
            activation=self.activation_name,
            activation_scale=self.activation_scale,
            backend="cuda",
        )

    def expected(self, values: Mapping[str, Array], store: Store) -> Array:
        x, wide = pixels_first(values["x"]), pixels_first(values["weight"])
        hidden = self.activate(reference.conv(x, wide, values["bias"], self.layer.stride, store), store)
        y = reference.conv(hidden, pixels_first(values["point_weight"]), values["point_bias"], 1, store)
        return channels_last(store(y + x) if self.layer.residual else y)


class MBConvCheck(OpCheck[MBConv]):
    """1x1, depthwise and 1x1 convolution."""

    def inputs(self, rng: np.random.Generator) -> dict[str, Values]:
        layer = self.layer
        return {
            "x": self.map(rng, layer.in_channels, layer.height, layer.width),
            "expand_weight": weight(rng, layer.hidden, 1, layer.in_channels),
            "expand_bias": bias(rng, layer.hidden),
            "depthwise_weight": depthwise_weight(rng, layer.hidden, layer.filter_size),
            "depthwise_bias": bias(rng, layer.hidden),
            "project_weight": weight(rng, layer.out_channels, 1, layer.hidden),
            "project_bias": bias(rng, layer.out_channels),
        }

    def call(self, arrays: Mapping[str, Any]) -> Any:
        return ops.mbconv(
            **arrays,
            residual=arrays["x"] if self.layer.residual else None,
            stride=self.layer.stride,
            activation=self.activation_name,
            activation_scale=self.activation_scale,
            backend="cuda",
        )

    def expected(self, values: Mapping[str, Array], store: Store) -> Array:
        x, wide = pixels_first(values["x"]), pixels_first(values["expand_weight"])
        hidden = self.activate(reference.conv(x, wide, values["expand_bias"], 1, store), store)
        filters = values["depthwise_weight"][:, 0]
        filtered = reference.depthwise(hidden, filters, values["depthwise_bias"], self.layer.stride, store)
        narrow = pixels_first(values["project_weight"])
        y = reference.conv(self.activate(filtered, store), narrow, values["project_bias"], 1, store)
        return channels_last(store(y + x) if self.layer.residual else y)


class LiteMLACheck(OpCheck[LiteMLA]):
    """Multi-scale linear attention with its residual."""

    def inputs(self, rng: np.random.Generator) -> dict[str, Values]:
        layer = self.layer
        wide, both = layer.qkv_channels, 2 * layer.heads * layer.head_dim
        grouped = normal(rng, (wide, layer.head_dim, 1, 1), "float16", layer.head_dim**-0.5)
        return {
            "x": self.map(rng, layer.channels, layer.height, layer.width),
            "qkv_weight": weight(rng, wide, 1, layer.channels),
            "depthwise": depthwise_weight(rng, wide, layer.filter_size),
            "grouped": Values(grouped, "float16"),
            "project_weight": weight(rng, layer.channels, 1, both),
            "project_bias": bias(rng, layer.channels),
        }

    def call(self, arrays: Mapping[str, Any]) -> Any:
        return ops.lite_mla(**arrays, qkv_bias=None, residual=arrays["x"], eps=EPS, backend="cuda")

    def expected(self, values: Mapping[str, Array], store: Store) -> Array:
        layer = self.layer
        x = pixels_first(values["x"])
        qkv = reference.conv(x, pixels_first(values["qkv_weight"]), None, 1, store)
        filtered = reference.depthwise(qkv, values["depthwise"][:, 0], None, 1, store)
        second = reference.grouped(filtered, values["grouped"][:, :, 0, 0], store)
        scales = np.concatenate([qkv, second], -1)
        heads = channels_last(scales).reshape(layer.batch, 2 * layer.heads, 3 * layer.head_dim, layer.tokens)
        attended = reference.linear_attention(heads, EPS, store)
        wide = attended.reshape(layer.batch, -1, layer.height, layer.width)
        y = reference.conv(pixels_first(wide), pixels_first(values["project_weight"]), values["project_bias"], 1, store)
        return channels_last(store(y + x))
