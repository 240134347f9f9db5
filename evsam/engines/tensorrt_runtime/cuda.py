"""CUDA's runtime through its Python package: calls that are checked, and devices."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

from evsam.errors import BackendUnavailable, EvsamError

logger = logging.getLogger("evsam.tensorrt")

_MODULES = ("cuda.bindings.runtime", "cuda.cudart")
"""The runtime's module in cuda-python from 12.6 on, and before."""


class Cuda:
    """The CUDA runtime; every failure of a call becomes an error with its name.

    Args:
        module: with the functions, each of which returns its status first.
    """

    def __init__(self, module: Any) -> None:
        self.module = module

    def call(self, name: str, *arguments: Any) -> Any:
        """Call the runtime's function ``name``.

        Returns:
            What it returns behind the status: nothing, one value, or several.

        Raises:
            EvsamError: the call failed.
        """
        try:
            status, *values = getattr(self.module, name)(*arguments)
        except RuntimeError as error:  # a driver or a package that lacks the function
            raise EvsamError(f"{name}: {error}") from error
        if int(status) != 0:
            raise EvsamError(f"{name}: {self._describe(status)}")
        return values[0] if len(values) == 1 else tuple(values) or None

    def release(self, name: str, handle: Any) -> None:
        """Call a function that frees something. Failures are logged, since nobody could do anything about them."""
        status, *_ = getattr(self.module, name)(handle)
        if int(status) != 0:
            logger.warning("%s: %s", name, self._describe(status))

    def _describe(self, status: Any) -> str:
        texts = (function(status)[1] for function in (self.module.cudaGetErrorName, self.module.cudaGetErrorString))
        name, text = (text.decode() if isinstance(text, bytes) else str(text) for text in texts)
        return f"{text} ({name}, {int(status)})"


def load_cuda() -> Cuda:
    """The runtime.

    Raises:
        BackendUnavailable: its Python package is not installed, or does not fit the machine.
    """
    problems = []
    for name in _MODULES:
        try:
            return Cuda(import_module(name))
        except (ImportError, OSError) as error:  # noqa: PERF203 - two names
            problems.append(str(error))
    raise BackendUnavailable(
        f"engine: tensorrt needs cuda-python; use pip install 'evsam[tensorrt]' ({'; '.join(problems)})"
    )


@dataclass(frozen=True)
class Device:
    """A GPU.

    Attributes:
        cuda: the runtime.
        index: its number.
        name: as its maker calls it.
        compute_capability: for example ``8.7``.
        driver: newest CUDA version that the driver knows, for example 12060 for 12.6.
    """

    cuda: Cuda = field(repr=False)
    index: int
    name: str
    compute_capability: str
    driver: int

    @contextmanager
    def current(self) -> Iterator[None]:
        """Make this the calling thread's device, and afterwards the one again that was it before."""
        before = self.cuda.call("cudaGetDevice")
        if before != self.index:
            self.cuda.call("cudaSetDevice", self.index)
        try:
            yield
        finally:
            if before != self.index:
                self.cuda.call("cudaSetDevice", before)

    def __str__(self) -> str:
        return f"cuda:{self.index}"


def find_device(cuda: Cuda, name: str | None) -> Device:
    """The device that a user means.

    Args:
        cuda: the runtime.
        name: ``cuda``, ``cuda:N`` or None.

    Raises:
        BackendUnavailable: another name, or there is no such device.
    """
    kind, _, number = (name or "cuda").partition(":")
    if kind != "cuda" or not (number.isdecimal() or ":" not in (name or "")):
        raise BackendUnavailable(f"device: expected cuda or cuda:N for engine tensorrt, got {name!r}")
    try:
        count = cuda.call("cudaGetDeviceCount")
    except EvsamError as error:
        raise BackendUnavailable(f"device: expected a CUDA device for engine tensorrt, got none: {error}") from error
    index = int(number or 0)
    if index >= count:
        raise BackendUnavailable(f"device: expected one of {count} CUDA devices, got {name!r}")
    label = cuda.call("cudaGetDeviceProperties", index).name
    attributes = cuda.module.cudaDeviceAttr
    major, minor = (
        cuda.call("cudaDeviceGetAttribute", attribute, index)
        for attribute in (attributes.cudaDevAttrComputeCapabilityMajor, attributes.cudaDevAttrComputeCapabilityMinor)
    )
    return Device(
        cuda,
        index,
        (label.decode() if isinstance(label, bytes) else str(label)).rstrip("\0"),
        f"{major}.{minor}",
        cuda.call("cudaDriverGetVersion"),
    )
