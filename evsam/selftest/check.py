"""One check: an op on one set of shapes, run by its kernels and compared with the definition."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np

from evsam.selftest.dtypes import EPSILON, Array, DType, StoredType, from_bits, round_to, to_bits
from evsam.selftest.reference import Store, exact, rounding
from evsam.selftest.tolerance import Comparison, compare

__all__ = ["Check", "Values", "channels_last", "normal", "pixels_first", "to_device"]


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
