"""The checks: an op on one set of shapes, run by its kernels on the device and compared with the definition."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType, ModuleType
from typing import Any, Generic, Literal, TypeVar

import numpy as np

from evsam import ops, transforms
from evsam.costs import (
    FP16,
    FP32,
    Conv3x3,
    FusedMBConv,
    LayerNorm,
    LiteMLA,
    MapOp,
    MaskUpsample,
    MBConv,
    Op,
    Pointwise,
    Preprocess,
    ReluLinearAttention,
    UpsampleAdd,
    stored_channels,
)
from evsam.network import ATTENTION_EPS, NORM_EPS
from evsam.ops.cases import CUDA_OPS, cuda_cases
from evsam.ops.reference import Activation
from evsam.selftest import reference
from evsam.selftest.numbers import (
    EPSILON,
    Array,
    Comparison,
    DType,
    StoredType,
    compare,
    from_bits,
    round_to,
    to_bits,
)
from evsam.selftest.reference import Store, exact, rounding
from evsam.zoo import LOGITS_SIZE, PIXEL_MEAN, PIXEL_STD

__all__ = [
    "Check",
    "Conv3x3Check",
    "FusedMBConvCheck",
    "LayerNormCheck",
    "LinearAttentionCheck",
    "LiteMLACheck",
    "MBConvCheck",
    "MapCheck",
    "MaskUpsampleCheck",
    "PointwiseCheck",
    "PreprocessCheck",
    "UpsampleAddCheck",
    "Values",
    "check_of",
    "layer_checks",
    "quick_checks",
    "to_device",
]


Run = Callable[..., Any]


def on_gpu(function: Callable[..., Any], *arguments: Any, **keywords: Any) -> Any:
    """Run an op on device arrays."""
    return function(*arguments, **keywords, backend="cuda")


BYTES: Mapping[DType, int] = {"float16": FP16, "bfloat16": FP16, "float32": FP32}


@dataclass(frozen=True)
class Values:
    """An input: numbers that its dtype has, exactly.

    Attributes:
        array: the numbers; their axes lie in memory as the kernels want them.
        dtype: that they are stored in.
    """

    array: Array
    dtype: StoredType


AnyOp = TypeVar("AnyOp", bound=Op)
AnyMapOp = TypeVar("AnyMapOp", bound=MapOp)


@dataclass(frozen=True)
class Check(ABC, Generic[AnyOp]):
    """An op on one set of shapes.

    Attributes:
        layer: the op with its shapes.
    """

    layer: AnyOp

    @property
    def op(self) -> str:
        """The op's name."""
        return self.layer.name

    @property
    def shape(self) -> str:
        """Sizes, in a few characters."""
        return self.layer.shape

    @property
    def dtype(self) -> DType:
        """Of the result."""
        return "float16"

    @abstractmethod
    def inputs(self, rng: np.random.Generator) -> dict[str, Values]:
        """Random inputs, by the names of the op's arguments."""

    @abstractmethod
    def call(self, arrays: Mapping[str, Any], run: Run = on_gpu) -> Any:
        """The op on arrays.

        Args:
            arrays: by the names of the op's arguments.
            run: calls a function of :mod:`evsam.ops` with its arguments.
        """

    @abstractmethod
    def expected(self, values: Mapping[str, Array], store: Store) -> Array:
        """The same by :mod:`evsam.selftest.reference`."""

    @property
    def macs(self) -> int:
        """Multiply-accumulates."""
        return self.layer.macs

    @property
    def bytes(self) -> int:
        """Inputs read once and the result written once."""
        return self.layer.bytes(BYTES[self.dtype])

    def run(self, module: ModuleType, seed: int = 0) -> Comparison:
        """Makes inputs, runs the op on the device and compares.

        Args:
            module: ``evsam._cuda``.
            seed: of the inputs.
        """
        inputs = self.inputs(np.random.default_rng(seed))
        arrays = {name: to_device(module, values) for name, values in inputs.items()}
        got = from_bits(self.call(arrays).to_host(), self.dtype)
        numbers = {name: values.array for name, values in inputs.items()}
        true = self.expected(numbers, exact)
        separate = self.expected(numbers, rounding(self.dtype))
        return compare(got, separate, true, EPSILON[self.dtype])


def to_device(module: ModuleType, values: Values) -> Any:
    """A device array with the numbers."""
    bits = to_bits(values.array, values.dtype)
    return module.DeviceArray.from_host(bits, dtype="bfloat16" if values.dtype == "bfloat16" else None)


def channels_last(x: Array) -> Array:
    """The view (B, C, H, W) of a map (B, H, W, C), which is what the ops take."""
    view: Array = x.transpose(0, 3, 1, 2)
    return view


def pixels_first(x: Array) -> Array:
    """The map (B, H, W, C) of a view by :func:`channels_last`, which is what the references take."""
    view: Array = x.transpose(0, 2, 3, 1)
    return view


def normal(rng: np.random.Generator, shape: tuple[int, ...], dtype: DType, scale: float = 1.0) -> Array:
    """Random numbers with the deviation ``scale``, rounded to the dtype."""
    return round_to(scale * rng.standard_normal(shape), dtype)


@dataclass(frozen=True)
class MapCheck(Check[AnyMapOp]):
    """An op on float16 maps.

    Attributes:
        activation_scale: what stored numbers in front of an activation stand for, as a multiple.
    """

    activation_scale: float = 1.0

    @property
    def shape(self) -> str:
        return f"{self.layer.batch} x {self.layer.shape}"

    @property
    def activation(self) -> Activation:
        """Behind its convolutions, as the ops call it."""
        name: Activation = getattr(self.layer, "activation", "none")
        return name

    def map(self, rng: np.random.Generator, channels: int, height: int, width: int) -> Values:
        """A map with channels last in memory."""
        return Values(channels_last(normal(rng, (self.layer.batch, height, width, channels), "float16")), "float16")

    def activate(self, x: Array, store: Store) -> Array:
        """The op's activation; what it makes is stored, if there is one."""
        return x if self.activation == "none" else store(reference.activate(x, self.activation, self.activation_scale))


def weight(rng: np.random.Generator, out_channels: int, size: int, in_channels: int) -> Values:
    """(O, I, k, k), with I last in memory; results as large as the inputs."""
    scale = (size**2 * in_channels) ** -0.5
    return Values(channels_last(normal(rng, (out_channels, size, size, in_channels), "float16", scale)), "float16")


def depthwise_weight(rng: np.random.Generator, channels: int, size: int) -> Values:
    """(C, 1, k, k)."""
    return Values(normal(rng, (channels, 1, size, size), "float16", 1 / size), "float16")


def bias(rng: np.random.Generator, channels: int) -> Values:
    """(C) in float32; gains too."""
    return Values(normal(rng, (channels,), "float32", 0.5), "float32")


class Conv3x3Check(MapCheck[Conv3x3]):
    """A 3x3 convolution."""

    stored_channels = staticmethod(stored_channels)

    def inputs(self, rng: np.random.Generator) -> dict[str, Values]:
        layer = self.layer
        channels = self.stored_channels(layer.in_channels)
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

    def call(self, arrays: Mapping[str, Any], run: Run = on_gpu) -> Any:
        layer = self.layer
        return run(
            ops.conv3x3,
            **arrays,
            stride=layer.stride,
            activation=self.activation,
            activation_scale=self.activation_scale,
        )

    def expected(self, values: Mapping[str, Array], store: Store) -> Array:
        x, weight = pixels_first(values["x"]), pixels_first(values["weight"])
        y = reference.conv(x, weight, values["bias"], self.layer.stride, store)
        y = self.activate(y, store)
        return channels_last(_add(y, values, store))


def _add(y: Array, values: Mapping[str, Array], store: Store) -> Array:
    return store(y + pixels_first(values["residual"])) if "residual" in values else y


class PointwiseCheck(MapCheck[Pointwise]):
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

    def call(self, arrays: Mapping[str, Any], run: Run = on_gpu) -> Any:
        return run(ops.pointwise, **arrays, activation=self.activation, activation_scale=self.activation_scale)

    def expected(self, values: Mapping[str, Array], store: Store) -> Array:
        y = reference.conv(pixels_first(values["x"]), pixels_first(values["weight"]), values["bias"], 1, store)
        y = self.activate(y, store)
        return channels_last(_add(y, values, store))


class UpsampleAddCheck(MapCheck[UpsampleAdd]):
    """A map resized and added to another."""

    def inputs(self, rng: np.random.Generator) -> dict[str, Values]:
        layer = self.layer
        values = {"x": self.map(rng, layer.channels, layer.height, layer.width)}
        if layer.second:
            values["x2"] = self.map(rng, layer.channels, *layer.second)
        if layer.residual:
            values["residual"] = self.map(rng, layer.channels, layer.out_height, layer.out_width)
        return values

    def call(self, arrays: Mapping[str, Any], run: Run = on_gpu) -> Any:
        size = (self.layer.out_height, self.layer.out_width)
        return run(ops.upsample_add, **arrays, size=size, mode=self.layer.mode)

    def expected(self, values: Mapping[str, Array], store: Store) -> Array:
        size = (self.layer.out_height, self.layer.out_width)
        total: Array | None = None
        for name in ("x", "x2"):
            if name in values:
                resized = reference.upsample(pixels_first(values[name]), size, self.layer.mode, store)
                total = resized if total is None else store(total + resized)
        assert total is not None  # noqa: S101  # there is an x
        return channels_last(_add(total, values, store))


class LayerNormCheck(MapCheck[LayerNorm]):
    """Layer norm over the channels of each pixel."""

    def inputs(self, rng: np.random.Generator) -> dict[str, Values]:
        layer = self.layer
        return {
            "x": self.map(rng, layer.channels, layer.height, layer.width),
            "weight": bias(rng, layer.channels),
            "bias": bias(rng, layer.channels),
        }

    def call(self, arrays: Mapping[str, Any], run: Run = on_gpu) -> Any:
        return run(ops.layer_norm_2d, **arrays, eps=NORM_EPS)

    def expected(self, values: Mapping[str, Array], store: Store) -> Array:
        x = pixels_first(values["x"])
        return channels_last(reference.layer_norm(x, values["weight"], values["bias"], NORM_EPS, store))


class FusedMBConvCheck(MapCheck[FusedMBConv]):
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

    def call(self, arrays: Mapping[str, Any], run: Run = on_gpu) -> Any:
        return run(
            ops.fused_mbconv,
            **arrays,
            residual=arrays["x"] if self.layer.residual else None,
            stride=self.layer.stride,
            activation=self.activation,
            activation_scale=self.activation_scale,
        )

    def expected(self, values: Mapping[str, Array], store: Store) -> Array:
        x, wide = pixels_first(values["x"]), pixels_first(values["weight"])
        hidden = self.activate(reference.conv(x, wide, values["bias"], self.layer.stride, store), store)
        y = reference.conv(hidden, pixels_first(values["point_weight"]), values["point_bias"], 1, store)
        return channels_last(store(y + x) if self.layer.residual else y)


class MBConvCheck(MapCheck[MBConv]):
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

    def call(self, arrays: Mapping[str, Any], run: Run = on_gpu) -> Any:
        return run(
            ops.mbconv,
            **arrays,
            residual=arrays["x"] if self.layer.residual else None,
            stride=self.layer.stride,
            activation=self.activation,
            activation_scale=self.activation_scale,
        )

    def expected(self, values: Mapping[str, Array], store: Store) -> Array:
        x, wide = pixels_first(values["x"]), pixels_first(values["expand_weight"])
        hidden = self.activate(reference.conv(x, wide, values["expand_bias"], 1, store), store)
        filters = values["depthwise_weight"][:, 0]
        filtered = reference.depthwise(hidden, filters, values["depthwise_bias"], self.layer.stride, store)
        narrow = pixels_first(values["project_weight"])
        y = reference.conv(self.activate(filtered, store), narrow, values["project_bias"], 1, store)
        return channels_last(store(y + x) if self.layer.residual else y)


class LiteMLACheck(MapCheck[LiteMLA]):
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

    def call(self, arrays: Mapping[str, Any], run: Run = on_gpu) -> Any:
        return run(ops.lite_mla, **arrays, qkv_bias=None, residual=arrays["x"], eps=ATTENTION_EPS)

    def expected(self, values: Mapping[str, Array], store: Store) -> Array:
        layer = self.layer
        x = pixels_first(values["x"])
        qkv = reference.conv(x, pixels_first(values["qkv_weight"]), None, 1, store)
        filtered = reference.depthwise(qkv, values["depthwise"][:, 0], None, 1, store)
        second = reference.grouped(filtered, values["grouped"][:, :, 0, 0], store)
        scales = np.concatenate([qkv, second], -1)
        heads = channels_last(scales).reshape(layer.batch, 2 * layer.heads, 3 * layer.head_dim, layer.tokens)
        attended = reference.linear_attention(heads, ATTENTION_EPS, store)
        wide = attended.reshape(layer.batch, -1, layer.height, layer.width)
        y = reference.conv(pixels_first(wide), pixels_first(values["project_weight"]), values["project_bias"], 1, store)
        return channels_last(store(y + x))


@dataclass(frozen=True)
class LinearAttentionCheck(Check[ReluLinearAttention]):
    """ReLU linear attention.

    Attributes:
        numbers: dtype of q, k, v and the result.
        layout: what lies next to each other in memory: the tokens of a channel, or the channels of a token.
        scale: deviation of q, k and v.
    """

    numbers: DType = "float16"
    layout: Literal["channels", "tokens"] = "channels"
    scale: float = 1.0

    @property
    def shape(self) -> str:
        scaled = f" x{self.scale:g}" if self.scale != 1 else ""
        return f"{self.layer.shape} by {self.layout}{scaled}"

    @property
    def dtype(self) -> DType:
        return self.numbers

    def inputs(self, rng: np.random.Generator) -> dict[str, Values]:
        layer, rows = self.layer, 3 * self.layer.head_dim
        if self.layout == "channels":
            qkv = normal(rng, (layer.batch, layer.heads, rows, layer.tokens), self.numbers, self.scale)
        else:
            by_token = normal(rng, (layer.batch, layer.tokens, layer.heads, rows), self.numbers, self.scale)
            qkv = by_token.transpose(0, 2, 3, 1)
        return {"qkv": Values(qkv, self.numbers)}

    def call(self, arrays: Mapping[str, Any], run: Run = on_gpu) -> Any:
        return run(ops.relu_linear_attention, arrays["qkv"], eps=ATTENTION_EPS)

    def expected(self, values: Mapping[str, Array], store: Store) -> Array:
        return reference.linear_attention(values["qkv"], ATTENTION_EPS, store)


class PreprocessCheck(MapCheck[Preprocess]):
    """A photo resized, normalised and padded, with the eight channels that the first convolution reads."""

    def inputs(self, rng: np.random.Generator) -> dict[str, Values]:
        shape = (self.layer.height, self.layer.width, 3)
        # Smooth with edges and noise: averages of noise alone would all be grey.
        rows, columns, _ = np.indices(shape)
        image = 128 + 90 * np.sin(rows / 7) * np.cos(columns / 11) + 60 * (rows % 64 < columns % 48)
        image += 20 * rng.standard_normal(shape)
        return {"image": Values(np.clip(np.rint(image), 0, 255), "uint8")}

    def call(self, arrays: Mapping[str, Any], run: Run = on_gpu) -> Any:
        return run(ops.preprocess, arrays["image"], self.layer.side, dtype="float16", channels=8)

    def expected(self, values: Mapping[str, Array], store: Store) -> Array:
        resized = transforms.resize_image(values["image"].astype(np.uint8), self.layer.side)
        pixels = np.zeros((1, 8, self.layer.side, self.layer.side))
        normalised = (resized - np.array(PIXEL_MEAN)) / np.array(PIXEL_STD)
        pixels[0, :3, : resized.shape[0], : resized.shape[1]] = normalised.transpose(2, 0, 1)
        return store(pixels)


class MaskUpsampleCheck(Check[MaskUpsample]):
    """Mask logits to masks of a photo's size; every pixel is to be that of :mod:`evsam.transforms`."""

    @property
    def dtype(self) -> DType:
        return "float32"

    @property
    def _sizes(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """Height and width of the photo's part of the frame, and of the photo."""
        layer = self.layer
        return (layer.resized_height, layer.resized_width), (layer.height, layer.width)

    def inputs(self, rng: np.random.Generator) -> dict[str, Values]:
        logits = rng.standard_normal((1, self.layer.count, LOGITS_SIZE, LOGITS_SIZE), np.float32)
        return {"logits": Values(logits.astype(np.float64), "float32")}

    def call(self, arrays: Mapping[str, Any], run: Run = on_gpu) -> Any:
        return run(ops.mask_upsample, arrays["logits"], *self._sizes)

    def expected(self, values: Mapping[str, Array], store: Store) -> Array:
        masks = transforms.masks_from_logits(values["logits"].astype(np.float32), *self._sizes)
        return store(masks.astype(np.float64))


_CHECKS: Mapping[type[Op], type[Check[Any]]] = MappingProxyType(
    {
        Conv3x3: Conv3x3Check,
        FusedMBConv: FusedMBConvCheck,
        LayerNorm: LayerNormCheck,
        LiteMLA: LiteMLACheck,
        MaskUpsample: MaskUpsampleCheck,
        MBConv: MBConvCheck,
        Pointwise: PointwiseCheck,
        Preprocess: PreprocessCheck,
        ReluLinearAttention: LinearAttentionCheck,
        UpsampleAdd: UpsampleAddCheck,
    }
)


def check_of(op: Op) -> Check[Any]:
    """The check of an op."""
    if type(op) not in _CHECKS:
        raise TypeError(f"op: expected one that has a CUDA kernel, got {type(op).__name__}")
    return _CHECKS[type(op)](op)


def quick_checks() -> list[Check[Any]]:
    """The table's small maps with odd sides and batches, and what it does not have: dtypes, layouts, scales."""
    rows = [case.op for op in CUDA_OPS for case in cuda_cases(op) if case.tested and not case.variants]
    attention = ReluLinearAttention
    return [
        *map(check_of, rows),
        Conv3x3Check(Conv3x3("", 1, 5, 5, 8, 16, activation="gelu_tanh"), activation_scale=4.0),
        PointwiseCheck(Pointwise("", 1, 3, 3, 24, 8, activation="gelu_tanh"), activation_scale=2.0),
        FusedMBConvCheck(FusedMBConv("", 1, 9, 7, 32, 64, 2, "gelu_tanh", hidden=128), activation_scale=4.0),
        MBConvCheck(MBConv("", 1, 7, 5, 32, 64, 2, "gelu_tanh", hidden=96), activation_scale=4.0),
        LinearAttentionCheck(attention("", 2, 3, 16, 77), "float16", "tokens"),
        LinearAttentionCheck(attention("", 1, 2, 32, 100), "bfloat16"),
        LinearAttentionCheck(attention("", 1, 2, 32, 65), "bfloat16", "tokens"),
        LinearAttentionCheck(attention("", 1, 2, 32, 63), "float32"),
        # Sums of 255 products of numbers of about 1e4: 1e10, where float16 ends at 65504.
        LinearAttentionCheck(attention("", 1, 1, 32, 255), scale=1e4),
    ]


def layer_checks(variants: Collection[str], batch: int = 1) -> list[Check[Any]]:
    """The table's rows of the variants.

    Args:
        variants: names in :data:`evsam.zoo.VARIANTS`.
        batch: images at once, for the ops that take several.
    """
    checks: list[Check[Any]] = []
    for op in CUDA_OPS:
        for case in cuda_cases(op):
            if not set(variants) & set(case.variants):
                continue
            one_photo = isinstance(case.op, (MaskUpsample, Preprocess))
            check = check_of(case.op if one_photo else case.with_batch(batch).op)
            checks.append(check)
            if isinstance(check, LinearAttentionCheck):
                checks.append(replace(check, layout="tokens"))
    return checks
