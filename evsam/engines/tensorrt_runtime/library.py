"""TensorRT's library: its module, its messages, evsam's plugins for it, and the device that goes with it."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from typing import Any

from evsam.engines.tensorrt_runtime.cuda import Device, find_device, load_cuda
from evsam.engines.tensorrt_runtime.facts import Machine
from evsam.errors import BackendUnavailable

logger = logging.getLogger("evsam.tensorrt")

OLDEST = (10, 3)
"""Oldest version that is supported: that of JetPack 6."""

NO_PLUGINS = "none"


class Library:
    """TensorRT's module with its logger, of which a process has one.

    Attributes:
        trt: the module.
        version: in full, for example ``10.3.0``.
        logger: for TensorRT's objects; messages go to Python's logger ``evsam.tensorrt``.
    """

    def __init__(self, trt: Any) -> None:
        self.trt = trt
        self.version: str = trt.__version__
        self._listeners: dict[int, list[str]] = {}
        self.logger = self._make_logger()

    @property
    def major(self) -> int:
        """The version's first number."""
        return _numbers(self.version)[0]

    @contextmanager
    def errors(self) -> Iterator[list[str]]:
        """A list that errors are added to as TensorRT reports them; those of other threads may be among them."""
        messages: list[str] = []
        self._listeners[id(messages)] = messages
        try:
            yield messages
        finally:
            del self._listeners[id(messages)]

    def _make_logger(self) -> Any:
        severity = self.trt.ILogger
        levels = {
            int(severity.INTERNAL_ERROR): logging.ERROR,
            int(severity.ERROR): logging.ERROR,
            int(severity.WARNING): logging.WARNING,
            int(severity.INFO): logging.INFO,
            int(severity.VERBOSE): logging.DEBUG,
        }
        library = self

        class Logger(self.trt.ILogger):  # type: ignore[misc, name-defined]
            def __init__(self) -> None:
                super().__init__()  # TensorRT's objects must be initialised by their own __init__

            def log(self, severity: Any, msg: str) -> None:
                level = levels.get(int(severity), logging.DEBUG)
                if level >= logging.ERROR:
                    for listener in list(library._listeners.values()):
                        listener.append(msg)
                logger.log(level, "%s", msg)

        return Logger()


def load_library() -> Library:
    """TensorRT.

    Raises:
        BackendUnavailable: it is not installed, or too old.
    """
    try:
        trt = import_module("tensorrt")
    except (ImportError, OSError, RuntimeError) as error:  # the last two where its libraries are missing
        raise BackendUnavailable(
            f"engine: tensorrt needs tensorrt; use pip install 'evsam[tensorrt]' ({error})"
        ) from error
    return _library(trt)


@lru_cache(maxsize=1)
def _library(trt: Any) -> Library:
    if _numbers(trt.__version__) < OLDEST:
        wanted = ".".join(map(str, OLDEST))
        raise BackendUnavailable(f"engine: expected TensorRT {wanted} or newer, got {trt.__version__}")
    return Library(trt)


def register_plugins(library: Library, required: bool = False) -> str:
    """Register evsam's plugins, built for this major version of TensorRT, with it.

    Args:
        library: TensorRT.
        required: whether a build of evsam without them is an error.

    Returns:
        SHA-256 of the plugins' library in hexadecimal digits, or ``none`` where this build of evsam has none.

    Raises:
        BackendUnavailable: they were required, and are not there or do not fit.
    """
    try:
        path = plugin_library(library)
        _plugin_module(library).register_plugins()
    except BackendUnavailable as error:
        if required:
            raise
        logger.info("TensorRT's own layers are used: %s", str(error))
        return NO_PLUGINS
    return _file_digest(path)


def plugin_library(library: Library) -> Path:
    """The file with evsam's plugins for this major version of TensorRT.

    Raises:
        BackendUnavailable: this build of evsam has none.
    """
    module = _plugin_module(library)
    path = module.library_path()
    if path is None:
        raise BackendUnavailable(f"plugins: expected their library beside {module.__file__}, got none")
    return Path(path)


def _plugin_module(library: Library) -> Any:
    name = f"evsam._trt{library.major}"
    try:
        return import_module(name)
    except ImportError as error:
        raise BackendUnavailable(
            f"plugins: expected evsam built with its plugins for TensorRT {library.major} "
            f"(docs/tensorrt-plugins.md says how), got a build without {name}: {error}"
        ) from error


@lru_cache(maxsize=4)
def _file_digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _numbers(version: str) -> tuple[int, int]:
    major, minor, *_ = version.split(".")
    return int(major), int(minor)


def joined(messages: list[str]) -> str:
    """Messages in one text, for an error; each once."""
    return "; ".join(dict.fromkeys(message.strip() for message in messages)) or "TensorRT gave no reason"


@dataclass(frozen=True)
class Setup:
    """Where and with what plans are built and run.

    Attributes:
        device: the GPU.
        library: TensorRT.
        plugins: digest of evsam's plugins, which are registered, or ``none``.
    """

    device: Device
    library: Library
    plugins: str

    @classmethod
    def find(cls, device: str | None, plugins: bool | None = None) -> Setup:
        """Load TensorRT and CUDA.

        Args:
            device: ``cuda``, ``cuda:N`` or None.
            plugins: whether evsam's plugins are needed; None takes them where this build of evsam has them, and False
                leaves them alone.

        Raises:
            BackendUnavailable: a package, the device, or demanded plugins are missing.
        """
        library = load_library()
        found = find_device(load_cuda(), device)
        digest = NO_PLUGINS if plugins is False else register_plugins(library, required=plugins is True)
        return cls(found, library, digest)

    @property
    def has_plugins(self) -> bool:
        """Whether evsam's plugins are registered."""
        return self.plugins != NO_PLUGINS

    def machine(self, plugins: str) -> Machine:
        """What plans depend on here, with plugins of a digest or ``none``."""
        device = self.device
        return Machine(device.name, device.compute_capability, device.driver, self.library.version, plugins)
