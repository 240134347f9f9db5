"""The engines by name, and how one is chosen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from types import MappingProxyType
from typing import TYPE_CHECKING

from evsam.engines.base import Engine
from evsam.errors import BackendUnavailable

if TYPE_CHECKING:
    from evsam.weights import Weights

__all__ = ["ENGINES", "Engine", "EngineInfo", "create_engine"]


@dataclass(frozen=True)
class EngineInfo:
    """How to make an engine, without importing it.

    Attributes:
        name: how users call it.
        module: what defines ``create(weights, threads, device) -> Engine``.
        requires: packages outside evsam's own dependencies that it imports.
        extra: the extra of the evsam distribution that installs them.
        summary: one line for people who choose.
    """

    name: str
    module: str
    requires: tuple[str, ...]
    extra: str
    summary: str

    @property
    def missing(self) -> tuple[str, ...]:
        """Required packages that are not installed."""
        return tuple(package for package in self.requires if find_spec(package) is None)

    @property
    def install(self) -> str:
        """The command that installs what the engine requires."""
        return f"pip install 'evsam[{self.extra}]'"


ENGINES: Mapping[str, EngineInfo] = MappingProxyType(
    {
        engine.name: engine
        for engine in (
            EngineInfo(
                "torch", "evsam.engines.torch", ("torch",), "torch", "PyTorch on CPU, CUDA or Apple GPUs; the reference"
            ),
        )
    }
)
"""Every engine of this version; ``auto`` takes the first whose packages are installed."""


def create_engine(name: str, weights: Weights, threads: int | None = None, device: str | None = None) -> Engine:
    """Make an engine for a model.

    Args:
        name: one of :data:`ENGINES`, or ``auto`` for the first that is available.
        weights: the model.
        threads: upper limit of CPU threads, None for the engine's own choice.
        device: where to compute, None for the engine's own choice.

    Raises:
        BackendUnavailable: no engine has that name, or packages that it needs are missing.
    """
    return import_module(find_engine(name).module).create(weights, threads, device)  # type: ignore[no-any-return]


def find_engine(name: str) -> EngineInfo:
    """The engine called ``name``, or the first available one for ``auto``, if all that it needs is installed.

    Raises:
        BackendUnavailable: no engine has that name, or packages that it needs are missing.
    """
    if name == "auto":
        for engine in ENGINES.values():
            if not engine.missing:
                return engine
        commands = " or ".join(engine.install for engine in ENGINES.values())
        raise BackendUnavailable(f"engine: expected at least one engine to be installed, got none; use {commands}")
    if name not in ENGINES:
        raise BackendUnavailable(f"engine: expected one of auto, {', '.join(ENGINES)}, got {name!r}")
    engine = ENGINES[name]
    if engine.missing:
        raise BackendUnavailable(
            f"engine: {name} needs {', '.join(engine.missing)}, not installed here; use {engine.install}"
        )
    return engine
