"""The checks: an op on one set of shapes, run by its kernels on the device and compared with the definition."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from types import ModuleType
from typing import Any, Generic, Literal, TypeVar

import numpy as np

from evsam import ops, transforms
from evsam.costs import (
    FP16,
    Conv3x3,
    FusedMBConv,
    LayerNorm,
    LiteMLA,
    MapOp,
    MBConv,
    Op,
    Pointwise,
    Preprocess,
    UpsampleAdd,
    stored_channels,
)
from evsam.layers import PHOTO, encoder_ops
from evsam.network import ATTENTION_EPS, NORM_EPS
from evsam.ops.reference import Activation as ActivationName
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
from evsam.zoo import LOGITS_SIZE, PIXEL_MEAN, PIXEL_STD, Activation, Variant

__all__ = [
    "Check",
    "Conv3x3Check",
    "FusedMBConvCheck",
    "LayerNormCheck",
    "LinearAttentionCheck",
    "LiteMLACheck",
    "MBConvCheck",
    "MaskUpsampleCheck",
    "OpCheck",
    "PointwiseCheck",
    "PreprocessCheck",
    "UpsampleAddCheck",
    "Values",
    "check_of",
    "layer_checks",
    "quick_checks",
    "to_device",
]


@dataclass(frozen=True)
class Values:
    """An input: numbers that its dtype has, exactly.

    Attributes:
        array: the numbers; their axes lie in memory as the kernels want them.
        dtype: that they are stored in.
    """

    array: Array
    dtype: StoredType


class Check(ABC):
    """An op on one set of shapes."""

    @property
    @abstractmethod
    def op(self) -> str:
        """The op's name."""

    @property
    @abstractmethod
    def shape(self) -> str:
        """Sizes, in a few characters."""

    @property
    def dtype(self) -> DType:
        """Of the result."""
        return "float16"

    @abstractmethod
    def inputs(self, rng: np.random.Generator) -> dict[str, Values]:
        """Random inputs, by the names of the op's arguments."""

    @abstractmethod
    def call(self, arrays: Mapping[str, Any]) -> Any:
        """The op on device arrays."""

    @abstractmethod
    def expected(self, values: Mapping[str, Array], store: Store) -> Array:
        """The same by :mod:`evsam.selftest.reference`."""

    @property
    @abstractmethod
    def macs(self) -> int:
        """Multiply-accumulates."""

    @property
    @abstractmethod
    def bytes(self) -> int:
        """Inputs read once and the result written once."""

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


AnyOp = TypeVar("AnyOp", bound=MapOp)


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
        return ops.lite_mla(**arrays, qkv_bias=None, residual=arrays["x"], eps=ATTENTION_EPS, backend="cuda")

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


BYTES: Mapping[DType, int] = {"float16": 2, "bfloat16": 2, "float32": 4}


@dataclass(frozen=True)
class LinearAttentionCheck(Check):
    """ReLU linear attention.

    Attributes:
        batch: images.
        heads: of each image.
        head_dim: channels of q, of k and of v.
        tokens: of each image.
        numbers: dtype of q, k, v and the result.
        layout: what lies next to each other in memory: the tokens of a channel, or the channels of a token.
        scale: deviation of q, k and v.
    """

    batch: int
    heads: int
    head_dim: int
    tokens: int
    numbers: DType = "float16"
    layout: Literal["channels", "tokens"] = "channels"
    scale: float = 1.0

    @property
    def op(self) -> str:
        return "relu_linear_attention"

    @property
    def shape(self) -> str:
        scaled = f" x{self.scale:g}" if self.scale != 1 else ""
        return f"{self.batch} x {self.heads} heads d{self.head_dim} n{self.tokens} by {self.layout}{scaled}"

    @property
    def dtype(self) -> DType:
        return self.numbers

    @property
    def macs(self) -> int:
        return 2 * self.batch * self.heads * self.tokens * self.head_dim * (self.head_dim + 1)

    @property
    def bytes(self) -> int:
        return 4 * self.batch * self.heads * self.tokens * self.head_dim * BYTES[self.numbers]

    def inputs(self, rng: np.random.Generator) -> dict[str, Values]:
        rows = 3 * self.head_dim
        if self.layout == "channels":
            qkv = normal(rng, (self.batch, self.heads, rows, self.tokens), self.numbers, self.scale)
        else:
            by_token = normal(rng, (self.batch, self.tokens, self.heads, rows), self.numbers, self.scale)
            qkv = by_token.transpose(0, 2, 3, 1)
        return {"qkv": Values(qkv, self.numbers)}

    def call(self, arrays: Mapping[str, Any]) -> Any:
        return ops.relu_linear_attention(arrays["qkv"], eps=ATTENTION_EPS, backend="cuda")

    def expected(self, values: Mapping[str, Array], store: Store) -> Array:
        return reference.linear_attention(values["qkv"], ATTENTION_EPS, store)


class PreprocessCheck(OpCheck[Preprocess]):
    """A photo resized, normalised and padded, with the eight channels that the first convolution reads."""

    def inputs(self, rng: np.random.Generator) -> dict[str, Values]:
        shape = (self.layer.height, self.layer.width, 3)
        # Smooth with edges and noise: averages of noise alone would all be grey.
        rows, columns, _ = np.indices(shape)
        image = 128 + 90 * np.sin(rows / 7) * np.cos(columns / 11) + 60 * (rows % 64 < columns % 48)
        image += 20 * rng.standard_normal(shape)
        return {"image": Values(np.clip(np.rint(image), 0, 255), "uint8")}

    def call(self, arrays: Mapping[str, Any]) -> Any:
        return ops.preprocess(arrays["image"], self.layer.side, dtype="float16", channels=8, backend="cuda")

    def expected(self, values: Mapping[str, Array], store: Store) -> Array:
        resized = transforms.resize_image(values["image"].astype(np.uint8), self.layer.side)
        pixels = np.zeros((1, 8, self.layer.side, self.layer.side))
        normalised = (resized - np.array(PIXEL_MEAN)) / np.array(PIXEL_STD)
        pixels[0, :3, : resized.shape[0], : resized.shape[1]] = normalised.transpose(2, 0, 1)
        return store(pixels)


@dataclass(frozen=True)
class MaskUpsampleCheck(Check):
    """Mask logits to masks of a photo's size; every pixel is to be that of :mod:`evsam.transforms`.

    Attributes:
        prompts: how many.
        masks: of each prompt.
        photo: height and width.
    """

    prompts: int
    masks: int
    photo: tuple[int, int]

    @property
    def op(self) -> str:
        return "mask_upsample"

    @property
    def shape(self) -> str:
        return f"{self.prompts} x {self.masks} {LOGITS_SIZE}x{LOGITS_SIZE} -> {self.photo[0]}x{self.photo[1]}"

    @property
    def dtype(self) -> DType:
        return "float32"

    @property
    def macs(self) -> int:
        return 0

    @property
    def bytes(self) -> int:
        return self.prompts * self.masks * (4 * LOGITS_SIZE**2 + self.photo[0] * self.photo[1])

    @property
    def _resized(self) -> tuple[int, int]:
        return transforms.fitted_size(self.photo)

    def inputs(self, rng: np.random.Generator) -> dict[str, Values]:
        logits = rng.standard_normal((self.prompts, self.masks, LOGITS_SIZE, LOGITS_SIZE), np.float32)
        return {"logits": Values(logits.astype(np.float64), "float32")}

    def call(self, arrays: Mapping[str, Any]) -> Any:
        return ops.mask_upsample(arrays["logits"], self._resized, self.photo, backend="cuda")

    def expected(self, values: Mapping[str, Array], store: Store) -> Array:
        masks = transforms.masks_from_logits(values["logits"].astype(np.float32), self._resized, self.photo)
        return store(masks.astype(np.float64))


def quick_checks() -> list[Check]:
    """Small maps with odd sides, batches, every dtype and layout: a few seconds, even where threads are emulated."""
    return [
        Conv3x3Check(Conv3x3("", 2, 9, 7, 16, 32, activation="gelu_tanh")),
        Conv3x3Check(Conv3x3("", 1, 9, 7, 16, 24, stride=2)),
        Conv3x3Check(Conv3x3("", 1, 6, 11, 32, 32, residual=True)),
        Conv3x3Check(Conv3x3("", 1, 5, 5, 8, 16, activation="gelu_tanh"), activation_scale=4.0),
        PointwiseCheck(Pointwise("", 2, 5, 7, 40, 72)),
        PointwiseCheck(Pointwise("", 1, 11, 13, 64, 128, residual=True)),
        PointwiseCheck(Pointwise("", 1, 3, 3, 24, 8, activation="gelu_tanh"), activation_scale=2.0),
        PointwiseCheck(Pointwise("", 1, 3, 3, 24, 8, activation="gelu_tanh"), activation="relu6"),
        FusedMBConvCheck(FusedMBConv("", 2, 7, 9, 32, 32, residual=True, hidden=64)),
        FusedMBConvCheck(FusedMBConv("", 1, 9, 7, 32, 64, stride=2, hidden=128), activation_scale=4.0),
        MBConvCheck(MBConv("", 2, 5, 7, 32, 32, residual=True, hidden=64)),
        MBConvCheck(MBConv("", 1, 7, 5, 32, 64, stride=2, hidden=96), activation_scale=4.0),
        LiteMLACheck(LiteMLA("", 2, 5, 7, channels=64, heads=2, head_dim=32, filter_size=5)),
        LiteMLACheck(LiteMLA("", 1, 17, 16, channels=64, heads=2, head_dim=32, filter_size=3)),
        UpsampleAddCheck(UpsampleAdd("", 2, 3, 5, 16, 12, 11, "bicubic")),
        UpsampleAddCheck(UpsampleAdd("", 1, 3, 5, 16, 6, 10, "bilinear")),
        UpsampleAddCheck(UpsampleAdd("", 1, 4, 4, 8, 9, 9, "bicubic", residual=False)),
        UpsampleAddCheck(UpsampleAdd("", 1, 3, 2, 8, 7, 9, "bicubic", second=(5, 4))),
        PreprocessCheck(Preprocess("", 1, 37, 53, side=64)),
        PreprocessCheck(Preprocess("", 1, 150, 40, side=64)),
        MaskUpsampleCheck(1, 2, (77, 129)),
        LayerNormCheck(LayerNorm("", 2, 3, 7, 256)),
        LayerNormCheck(LayerNorm("", 1, 5, 1, 24)),
        LinearAttentionCheck(1, 2, 32, 256),
        LinearAttentionCheck(2, 3, 16, 77, "float16", "tokens"),
        LinearAttentionCheck(1, 2, 32, 100, "bfloat16"),
        LinearAttentionCheck(1, 2, 32, 65, "bfloat16", "tokens"),
        LinearAttentionCheck(1, 2, 32, 63, "float32"),
        # Sums of 255 products of numbers of about 1e4: 1e10, where float16 ends at 65504.
        LinearAttentionCheck(1, 1, 32, 255, scale=1e4),
    ]


def layer_checks(variants: Iterable[Variant], batch: int = 1) -> list[Check]:
    """Every layer of the variants' encoders that the CUDA kernels do, those that are alike once.

    Args:
        variants: records of :mod:`evsam.zoo`.
        batch: images at once.
    """
    found: dict[tuple[str, str, Activation], Check] = {}
    for variant in variants:
        for op in encoder_ops(variant, batch):
            activation = variant.encoder.activation
            # blocks without a first 1x1 convolution have no kernel
            whole = not isinstance(op, MBConv) or op.expands
            checks: list[Check] = [check_of(op, activation)] if whole else []
            if isinstance(op, LiteMLA):  # its attention alone, of both scales
                heads = LinearAttentionCheck(op.batch, 2 * op.heads, op.head_dim, op.tokens)
                checks += [heads, replace(heads, layout="tokens")]
            for check in checks:
                found.setdefault((check.op, check.shape, activation), check)
    # Masks of one photo; the encoders end before them.
    masks = MaskUpsampleCheck(1, 3, PHOTO)
    return [*found.values(), masks]


def check_of(op: Op, activation: Activation) -> Check:
    """The check of an op of an encoder."""
    match op:
        case Preprocess():
            return PreprocessCheck(op, activation)
        case Conv3x3():
            return Conv3x3Check(op, activation)
        case Pointwise():
            return PointwiseCheck(op, activation)
        case FusedMBConv():
            return FusedMBConvCheck(op, activation)
        case MBConv():
            return MBConvCheck(op, activation)
        case LiteMLA():
            return LiteMLACheck(op, activation)
        case UpsampleAdd():
            return UpsampleAddCheck(op, activation)
        case LayerNorm():
            return LayerNormCheck(op, activation)
    raise TypeError(f"op: expected one that an encoder has, got {type(op).__name__}")
