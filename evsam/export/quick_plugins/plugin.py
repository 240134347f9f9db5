"""What a quickly deployable plugin is made of, and how its launches are written down."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from evsam.errors import EvsamError

__all__ = ["SHARED_BYTES", "Call", "Formats", "Kernel", "QuickPlugin", "float_argument"]

SHARED_BYTES = 48 * 1024
"""Shared memory that a block gets from CUDA without being asked twice. Whether TensorRT asks twice, which the kernel of
a plugin cannot do itself, is not documented."""

Attribute = int | float | str
Formats = tuple[str, str]
"""Types and memory layouts of inputs and output in the grammar of ``tensorrt.plugin.AutoTuneCombination``."""


@dataclass(frozen=True)
class Kernel:
    """A launch. Numbers may be expressions of TensorRT in dimensions that are not known yet.

    Attributes:
        name: of the entry.
        grid: blocks, x first.
        threads: of a block.
        shared_bytes: dynamic shared memory of a block.
        arguments: the integers between the inputs and the output.
    """

    name: str
    grid: tuple[Any, ...]
    threads: int
    shared_bytes: int
    arguments: tuple[Any, ...]


@dataclass(frozen=True)
class Call:
    """A plugin in a network, as TensorRT asks about it.

    Attributes:
        tensorrt: the module.
        inputs: a ``tensorrt.plugin.TensorDesc`` for each.
        attributes: their values.
        shared_limit: shared memory that a block may have, in bytes.
    """

    tensorrt: Any
    inputs: Mapping[str, Any]
    attributes: Mapping[str, Attribute]
    shared_limit: int = SHARED_BYTES

    @property
    def half(self) -> bool:
        """Whether the first input is float16; else it is float32.

        Raises:
            EvsamError: it is neither.
        """
        name, first = next(iter(self.inputs.items()))
        if first.dtype not in (self.tensorrt.DataType.HALF, self.tensorrt.DataType.FLOAT):
            raise EvsamError(f"{name}: expected float16 or float32, got {first.dtype}")
        return bool(first.dtype == self.tensorrt.DataType.HALF)

    @property
    def type(self) -> str:
        """Of the first input, in the names of kernels."""
        return "f16" if self.half else "f32"

    def channels_last(self, name: str) -> bool:
        """Whether TensorRT has chosen such a layout for an input."""
        formats = self.tensorrt.TensorFormat
        return self.inputs[name].format in (formats.HWC8, formats.HWC)

    def size(self, name: str, axis: int) -> int:
        """A dimension that has to be known while the engine is built.

        Raises:
            EvsamError: it is not.
        """
        size = int(self.inputs[name].shape[axis])
        if size < 0:
            raise EvsamError(f"{name}: expected axis {axis} to have a fixed size, got a dynamic one")
        return size

    def multiple_of_8(self, name: str, axis: int) -> int:
        """A dimension that has to be known and a multiple of eight.

        Raises:
            EvsamError: it is not.
        """
        size = self.size(name, axis)
        if size % 8 != 0:
            raise EvsamError(f"{name}: expected a multiple of 8 on axis {axis}, got {size}")
        return size

    def integer(self, name: str) -> int:
        """An attribute."""
        return int(self.attributes[name])

    def check_shared(self, plugin: str, needed: int) -> None:
        """Refuses what does not fit.

        Raises:
            EvsamError: a block needs more shared memory than it may have.
        """
        if needed > self.shared_limit:
            raise EvsamError(
                f"{plugin}: expected at most {self.shared_limit} bytes of shared memory for a block, got {needed}; use "
                "the plugin library for this node, or register(shared_limit=...) where TensorRT launches larger blocks"
            )


class QuickPlugin(ABC):
    """A plugin: what it takes, what comes out, in which layouts, by which kernel.

    Attributes:
        name: as TensorRT knows it.
        file: name of the PTX with its kernels.
        inputs: names.
        attributes: names and types.
    """

    name: ClassVar[str]
    file: ClassVar[str]
    inputs: ClassVar[tuple[str, ...]]
    attributes: ClassVar[Mapping[str, type[int | float | str]]]

    @abstractmethod
    def output(self, call: Call) -> Any:
        """Shape and type of the output (``tensorrt.plugin.TensorDesc``). Sizes may not be known yet."""

    @abstractmethod
    def formats(self, call: Call) -> Sequence[Formats]:
        """What the kernels take."""

    @abstractmethod
    def kernel(self, call: Call, output: Any) -> Kernel:
        """The launch for the layouts that TensorRT has chosen."""


def float_argument(value: float) -> int:
    """The bits of a float32 as the integer that TensorRT passes; the kernel turns them back."""
    return int(np.float32(value).view(np.int32))
