"""Numbers of 8 bits for TensorRT: what they hold, and the scales that values and weights are stored with.

A value x is stored as the nearest number of the format to x / scale, and read as that times the scale. Everything is
symmetric, there are no zero points: weights have a scale for each output channel, activations one for each tensor.
Scales are float16 numbers, since ONNX wants them to be of the type of what they scale.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from evsam.errors import EvsamError
from evsam.export.options import QuantizedPrecision

Array = npt.NDArray[np.float32]
Rule = Literal["max", "percentile", "mse"]

PERCENTILE = 99.99
"""Of the magnitudes, with the rule ``percentile``."""

CANDIDATES: Array = np.exp2(-np.linspace(0, 3, 25, dtype=np.float32))
"""Parts of the largest magnitude that the rule ``mse`` tries as the largest one that is stored."""

E4M3_DIGITS, E4M3_EXPONENT = 3, -6
"""Binary digits behind the point of E4M3's numbers, and the exponent of its smallest normal one."""


@dataclass(frozen=True)
class NumberFormat:
    """A format of 8 bits.

    Attributes:
        name: the precision that is asked for.
        largest: number that it holds.
        rule: how scales of activations are chosen where nobody says (``benchmarks.models.quantized`` compares).
        grouped: whether convolutions in groups, depthwise ones too, are stored in it. TensorRT's release notes say that
            it has no fast float8 kernels for them.
    """

    name: QuantizedPrecision
    largest: float
    rule: Rule
    grouped: bool

    def round(self, values: Array) -> Array:
        """The nearest numbers of the format, ties to even; beyond the largest ones, those."""
        if self.name == "int8":
            whole: Array = np.clip(np.rint(values), -self.largest - 1, self.largest)
            return whole
        _, exponent = np.frexp(values)
        step = np.ldexp(np.float32(1), np.maximum(exponent - 1, E4M3_EXPONENT) - E4M3_DIGITS)
        rounded: Array = np.clip(np.rint(values / step) * step, -self.largest, self.largest)
        return rounded

    def encode(self, rounded: Array) -> bytes:
        """Numbers of the format as ONNX stores them, a byte each."""
        if self.name == "int8":
            return bytes(rounded.astype(np.int8).tobytes())
        size = np.abs(rounded)
        _, exponent = np.frexp(size)
        exponent = np.where(size > 0, np.maximum(exponent - 1, E4M3_EXPONENT), E4M3_EXPONENT)
        digits = np.ldexp(size, E4M3_DIGITS - exponent).astype(np.int32)  # with the leading one of normal numbers
        bits = ((exponent - E4M3_EXPONENT) << E4M3_DIGITS) + digits
        return bytes((bits | np.where(np.signbit(rounded), 0x80, 0)).astype(np.uint8).tobytes())


FORMATS: Mapping[str, NumberFormat] = {
    "int8": NumberFormat("int8", 127.0, "percentile", grouped=True),
    "fp8": NumberFormat("fp8", 448.0, "max", grouped=False),
}
"""By precision; ``fp8`` is E4M3 without infinities, ``float8e4m3fn`` of ONNX."""


@dataclass(frozen=True, eq=False)
class Quantization:
    """Which layers of a graph read 8 bits.

    Attributes:
        format: of them.
        scales: of what each of these layers reads, by its name in :attr:`evsam.export.graph.Graph.layers`.
    """

    format: NumberFormat
    scales: Mapping[str, float]


def quantize_weight(weight: Array, axis: int, number_format: NumberFormat) -> tuple[Array, Array]:
    """A weight as numbers of a format, and its scales.

    Args:
        weight: of a layer.
        axis: of the output channels.
        number_format: to store it in.

    Returns:
        Numbers of the weight's shape, and a scale for each output channel, both float32: the weight is about their
        product.
    """
    others = tuple(other for other in range(weight.ndim) if other != axis)
    scales = as_half(np.abs(weight).max(others) / number_format.largest)
    divisors: Array = np.expand_dims(scales, others)
    return number_format.round(weight / divisors), scales


def activation_scale(samples: Array, largest: float, number_format: NumberFormat, rule: Rule) -> float:
    """The scale of a tensor.

    Args:
        samples: some of its values.
        largest: magnitude of all of them.
        number_format: to store them in.
        rule: ``max`` stores the largest magnitude, ``percentile`` all but a few, ``mse`` takes the scale with the least
            mean squared error.

    Raises:
        EvsamError: no such rule.
    """
    if rule not in get_args(Rule):
        raise EvsamError(f"rule: expected one of {', '.join(get_args(Rule))}, got {rule!r}")
    if rule == "percentile":
        largest = float(np.percentile(np.abs(samples), PERCENTILE)) or largest
    scales = as_half(np.atleast_1d(largest / number_format.largest))
    if rule == "mse":
        scales = as_half(largest / number_format.largest * CANDIDATES)
        errors = [_squared_error(samples, number_format, scale) for scale in scales.tolist()]
        scales = scales[[int(np.argmin(errors))]]
    return float(scales[0])


def _squared_error(samples: Array, number_format: NumberFormat, scale: float) -> float:
    stored: Array = number_format.round(samples / np.float32(scale)) * np.float32(scale)
    return float(np.square(stored - samples).mean())


def as_half(scales: npt.NDArray[Any]) -> Array:
    """Scales rounded up to float16, so that what they are the largest of still fits; 1 for zeros."""
    half = scales.astype(np.float16)
    half = np.where(half < scales, np.nextafter(half, np.float16(np.inf)), half)
    return np.where(scales > 0, half, np.float16(1)).astype(np.float32)
