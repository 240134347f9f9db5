"""Checks of the ops that work on maps: convolutions, norms, resizing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np

from evsam import ops
from evsam.costs import FP16, Conv3x3, LayerNorm, MapOp, Pointwise, UpsampleAdd
from evsam.gpu_model.geometry.conv3x3 import stored_channels
from evsam.ops.reference import Activation as ActivationName
from evsam.selftest import reference
from evsam.selftest.check import Check, Values, channels_last, normal, pixels_first
from evsam.selftest.dtypes import Array
from evsam.selftest.reference import Store
from evsam.zoo import Activation

__all__ = [
    "NORM_EPS",
    "Conv3x3Check",
    "LayerNormCheck",
    "OpCheck",
    "PointwiseCheck",
    "UpsampleAddCheck",
    "bias",
    "depthwise_weight",
    "weight",
]

AnyOp = TypeVar("AnyOp", bound=MapOp)

NORM_EPS = 1e-6


@dataclass(frozen=True)
class OpCheck(Check, Generic[AnyOp]):
    """An op of an encoder.

    Attributes:
        layer: the op with its shapes.
        activation: of the network.
        activation_scale: what stored numbers in front of an activation stand for, as a multiple.
    """

    layer: AnyOp
    activation: Activation = "gelu"
    activation_scale: float = 1.0

    @property
    def op(self) -> str:
        return self.layer.name

    @property
    def shape(self) -> str:
        return f"{self.layer.batch} x {self.layer.shape}"

    @property
    def macs(self) -> int:
        return self.layer.macs

    @property
    def bytes(self) -> int:
        return self.layer.bytes(FP16)

    @property
    def activation_name(self) -> ActivationName:
        """As the ops call it."""
        return "relu6" if self.activation == "relu6" else "gelu_tanh"

    def map(self, rng: np.random.Generator, channels: int, height: int, width: int) -> Values:
        """A map with channels last in memory."""
        return Values(channels_last(normal(rng, (self.layer.batch, height, width, channels), "float16")), "float16")

    def activate(self, x: Array, store: Store) -> Array:
        """The network's activation."""
        return store(reference.activate(x, self.activation, self.activation_scale))


def weight(rng: np.random.Generator, out_channels: int, kernel: int, in_channels: int) -> Values:
    """(O, I, k, k), with I last in memory; results as large as the inputs."""
    scale = (kernel**2 * in_channels) ** -0.5
    return Values(channels_last(normal(rng, (out_channels, kernel, kernel, in_channels), "float16", scale)), "float16")


def depthwise_weight(rng: np.random.Generator, channels: int, kernel: int) -> Values:
    """(C, 1, k, k)."""
    return Values(normal(rng, (channels, 1, kernel, kernel), "float16", 1 / kernel), "float16")


def bias(rng: np.random.Generator, channels: int) -> Values:
    """(C) in float32; gains too."""
    return Values(normal(rng, (channels,), "float32", 0.5), "float32")


class Conv3x3Check(OpCheck[Conv3x3]):
    """A 3x3 convolution."""

    def inputs(self, rng: np.random.Generator) -> dict[str, Values]:
        layer = self.layer
        channels = stored_channels(layer.in_channels)
        x = self.map(rng, channels, layer.height, layer.width)
        x.array[:, layer.in_channels :] = 0
        values = {
            "x": x,
            "weight": weight(rng, layer.out_channels, 3, channels),
            "bias": bias(rng, layer.out_channels),
        }
        if layer.residual:
            values["residual"] = self.map(rng, layer.out_channels, layer.out_height, layer.out_width)
        return values

    def call(self, arrays: Mapping[str, Any]) -> Any:
        layer = self.layer
        activation = self.activation_name if layer.activation != "none" else "none"
        scale = self.activation_scale if layer.activation != "none" else 1.0
        return ops.conv3x3(**arrays, stride=layer.stride, activation=activation, activation_scale=scale, backend="cuda")

    def expected(self, values: Mapping[str, Array], store: Store) -> Array:
        x, weight = pixels_first(values["x"]), pixels_first(values["weight"])
        y = reference.conv(x, weight, values["bias"], self.layer.stride, store)
        if self.layer.activation != "none":
            y = self.activate(y, store)
        return channels_last(_add(y, values, store))


def _add(y: Array, values: Mapping[str, Array], store: Store) -> Array:
    return store(y + pixels_first(values["residual"])) if "residual" in values else y


class PointwiseCheck(OpCheck[Pointwise]):
    """A 1x1 convolution."""

    def inputs(self, rng: np.random.Generator) -> dict[str, Values]:
        layer = self.layer
        values = {
            "x": self.map(rng, layer.in_channels, layer.height, layer.width),
            "weight": weight(rng, layer.out_channels, 1, layer.in_channels),
            "bias": bias(rng, layer.out_channels),
        }
        if layer.residual:
            values["residual"] = self.map(rng, layer.out_channels, layer.height, layer.width)
        return values

    def call(self, arrays: Mapping[str, Any]) -> Any:
        activation = self.activation_name if self.layer.activation != "none" else "none"
        scale = self.activation_scale if self.layer.activation != "none" else 1.0
        return ops.pointwise(**arrays, activation=activation, activation_scale=scale, backend="cuda")

    def expected(self, values: Mapping[str, Array], store: Store) -> Array:
        y = reference.conv(pixels_first(values["x"]), pixels_first(values["weight"]), values["bias"], 1, store)
        if self.layer.activation != "none":
            y = self.activate(y, store)
        return channels_last(_add(y, values, store))


class UpsampleAddCheck(OpCheck[UpsampleAdd]):
    """A map resized and added to another."""

    def inputs(self, rng: np.random.Generator) -> dict[str, Values]:
        layer = self.layer
        values = {"x": self.map(rng, layer.channels, layer.height, layer.width)}
        if layer.second:
            values["x2"] = self.map(rng, layer.channels, *layer.second)
        if layer.residual:
            values["residual"] = self.map(rng, layer.channels, layer.out_height, layer.out_width)
        return values

    def call(self, arrays: Mapping[str, Any]) -> Any:
        size = (self.layer.out_height, self.layer.out_width)
        return ops.upsample_add(**arrays, size=size, mode=self.layer.mode, backend="cuda")

    def expected(self, values: Mapping[str, Array], store: Store) -> Array:
        size = (self.layer.out_height, self.layer.out_width)
        total: Array | None = None
        for name in ("x", "x2"):
            if name in values:
                resized = reference.upsample(pixels_first(values[name]), size, self.layer.mode, store)
                total = resized if total is None else store(total + resized)
        assert total is not None  # noqa: S101  # there is an x
        return channels_last(_add(total, values, store))


class LayerNormCheck(OpCheck[LayerNorm]):
    """Layer norm over the channels of each pixel."""

    def inputs(self, rng: np.random.Generator) -> dict[str, Values]:
        layer = self.layer
        return {
            "x": self.map(rng, layer.channels, layer.height, layer.width),
            "weight": bias(rng, layer.channels),
            "bias": bias(rng, layer.channels),
        }

    def call(self, arrays: Mapping[str, Any]) -> Any:
        return ops.layer_norm_2d(**arrays, eps=NORM_EPS, backend="cuda")

    def expected(self, values: Mapping[str, Array], store: Store) -> Array:
        x = pixels_first(values["x"])
        return channels_last(reference.layer_norm(x, values["weight"], values["bias"], NORM_EPS, store))
