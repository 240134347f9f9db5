"""What the engine and the exporter both begin with: the device, TensorRT and the plugins."""

from __future__ import annotations

from dataclasses import dataclass

from evsam.engines.tensorrt_runtime.cuda import Device, find_device, load_cuda
from evsam.engines.tensorrt_runtime.facts import Machine
from evsam.engines.tensorrt_runtime.library import NO_PLUGINS, Library, load_library, register_plugins


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
