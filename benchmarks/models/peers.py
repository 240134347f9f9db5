"""The peers: which packages, in which environments, with which files."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.models.contest import Contestant

ENVIRONMENTS: dict[str, tuple[str, ...]] = {
    "mnn": ("MNN==3.6.1", "numpy"),
    # its converter changes the environment that it runs in
    "mnn-convert": ("MNN==3.6.1", "numpy", "onnx"),
    "ncnn": ("ncnn==1.0.20261020", "numpy"),
    "pnnx": ("torch==2.13.0", "pnnx==20261020", "numpy"),
    "openvino": ("openvino==2026.4.1", "nncf==3.4.0", "numpy"),
    "onnxruntime": ("onnxruntime==1.32.0", "onnx==1.23.2", "sympy", "numpy"),
}
"""Virtual environments and what is installed into them, one for each package that competes or converts."""


@dataclass(frozen=True)
class Peers:
    """Where everything of the peers is.

    Attributes:
        folder: environments, and models in `models`.
        python: interpreter that has evsam and torch; it runs those two, and the export.
        engine: engine that competes under the name evsam.
    """

    folder: Path
    python: Path = field(default_factory=lambda: Path(sys.executable))
    engine: str = "native"

    def interpreter(self, environment: str) -> Path:
        """Of one of the environments."""
        return self.folder / environment / "bin" / "python"

    def model(self, variant: str, name: str) -> Path:
        """A file of a variant."""
        return self.folder / "models" / variant / name

    def evsam(self, variant: str, graph: str, precision: str = "fp32", name: str = "evsam") -> Contestant:
        """Ours."""
        weights = str(self.model(variant, "weights.safetensors"))
        if self.engine != "native":  # a stand-in that has no way to encode pixels
            request: dict[str, Any] = {"model": weights, "graph": graph, "compile": False}
            return Contestant(name, "torch", self.python, request)
        request = {"model": weights, "graph": graph, "engine": self.engine, "precision": precision}
        return Contestant(name, "evsam", self.python, request)

    def torch(self, variant: str, graph: str, compiled: bool) -> Contestant:
        """The PyTorch modules that evsam is specified by."""
        request = {"model": str(self.model(variant, "weights.safetensors")), "graph": graph, "compile": compiled}
        name = "torch.compile" if compiled else "torch eager"
        environment = {"TORCHINDUCTOR_CACHE_DIR": str(self.folder / "inductor")}
        return Contestant(name, "torch", self.python, request, environment)

    def onnxruntime(self, variant: str, file: str, name: str = "onnxruntime", **settings: Any) -> Contestant:
        """An ONNX file."""
        request = {"model": str(self.model(variant, file)), **settings}
        return Contestant(name, "onnxruntime", self.interpreter("onnxruntime"), request)

    def openvino(self, variant: str, file: str, name: str = "OpenVINO", **settings: Any) -> Contestant:
        """An ONNX file, or one that OpenVINO saved."""
        request = {"model": str(self.model(variant, file)), **settings}
        return Contestant(name, "openvino", self.interpreter("openvino"), request)

    def mnn(self, variant: str, file: str, outputs: list[str], name: str = "MNN", **settings: Any) -> Contestant:
        """A converted file; outputs by name."""
        request = {"model": str(self.model(variant, file)), "outputs": outputs, **settings}
        return Contestant(name, "mnn", self.interpreter("mnn"), request)

    def ncnn(self, variant: str, file: str) -> Contestant:
        """A converted pair of files, named without their suffixes."""
        request = {"model": str(self.model(variant, file))}
        return Contestant("ncnn", "ncnn", self.interpreter("ncnn"), request)


def default_folder() -> Path:
    return Path(os.environ.get("EVSAM_PEERS", "build/peers"))
