"""The peers: which packages, in which environments, with which files, and in which precisions."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Sequence
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


CLASSES: dict[str, tuple[str, ...]] = {"fp32": ("fp32",), "16bit": ("bf16", "fp16"), "int8": ("int8",)}
"""Classes of precisions, whose members compete with each other, and evsam's precisions of each."""

INT8_MNN = ("--weightQuantBits", "8")
"""Settings of MNN's converter for its int8: weights have 8 bits, and activations get them as they are computed."""


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

    def evsam(self, variant: str, graph: str, precision: str = "fp32") -> Contestant:
        """Ours: the encoder, or the decoder."""
        name = "evsam" if precision == "fp32" else f"evsam {precision}"
        weights = str(self.model(variant, "weights.safetensors"))
        if self.engine != "native":  # a stand-in that has no way to encode pixels
            request: dict[str, Any] = {"model": weights, "graph": graph, "compile": False, "precision": precision}
            return Contestant(name, "torch", self.python, request)
        request = {"model": weights, "graph": graph, "engine": self.engine, "precision": precision}
        return Contestant(name, "evsam", self.python, request)

    def in_class(self, variant: str, graph: str, precisions: str) -> list[Contestant]:
        """Ours in all precisions of a class."""
        return [self.evsam(variant, graph, precision) for precision in CLASSES[precisions]]

    def torch(self, variant: str, graph: str, compiled: bool, precision: str = "fp32") -> Contestant:
        """The PyTorch modules that evsam is specified by."""
        weights = str(self.model(variant, "weights.safetensors"))
        request = {"model": weights, "graph": graph, "compile": compiled, "precision": precision}
        name = "torch.compile" if compiled else "torch eager"
        environment = {"TORCHINDUCTOR_CACHE_DIR": str(self.folder / "inductor")}
        return Contestant(_named(name, precision), "torch", self.python, request, environment)

    def onnxruntime(
        self, variant: str, graph: str, precision: str = "fp32", one_by_one: bool = False
    ) -> list[Contestant]:
        """An ONNX file. Of 16 bits, products of float32 by bfloat16 instructions, which it has on ARM alone."""
        file = f"{graph}.int8.onnx" if precision == "int8" else f"{graph}.onnx"
        request: dict[str, Any] = {"model": str(self.model(variant, file)), "one_by_one": one_by_one}
        if precision == "bf16":
            if platform.machine() != "aarch64":
                return []
            request["session"] = {"mlas.enable_gemm_fastmath_arm64_bfloat16": "1"}
        name = _named("onnxruntime", precision, one_by_one)
        return [Contestant(name, "onnxruntime", self.interpreter("onnxruntime"), request)]

    def openvino(self, variant: str, graph: str, precision: str = "fp32", one_by_one: bool = False) -> list[Contestant]:
        """An ONNX file, or for int8 one that nncf made, whose other layers are in float32 or in bfloat16."""
        hints = {"fp32": ("f32",), "bf16": ("bf16",), "fp16": ("f16",), "int8": ("f32", "bf16")}[precision]
        file = f"{graph}.int8.openvino/model.xml" if precision == "int8" else f"{graph}.onnx"
        request = {"model": str(self.model(variant, file)), "one_by_one": one_by_one}
        listed = []
        for hint in hints:
            shown = "int8 and bf16" if precision == "int8" and hint == "bf16" else precision
            name = _named("OpenVINO", shown, one_by_one)
            listed.append(Contestant(name, "openvino", self.interpreter("openvino"), {**request, "precision": hint}))
        return listed

    def mnn(self, variant: str, graph: str, outputs: Sequence[str], precision: str = "fp32") -> Contestant:
        """A converted file; outputs by name. Of 16 bits, what its setting "low" means on this CPU."""
        int8 = precision == "int8"
        request = {
            "model": str(self.model(variant, f"{graph}.int8.mnn" if int8 else f"{graph}.mnn")),
            "outputs": list(outputs),
            "precision": {"fp32": "high", "int8": "high", "low": "low"}[precision],
            "memory": "low" if int8 else "normal",
        }
        return Contestant(_named("MNN", precision), "mnn", self.interpreter("mnn"), request)

    def ncnn(self, variant: str, precision: str = "fp32") -> Contestant:
        """The encoder: a converted pair of files, named without their suffixes."""
        request = {"model": str(self.model(variant, "encoder.ncnn")), "precision": precision}
        return Contestant(_named("ncnn", precision), "ncnn", self.interpreter("ncnn"), request)


def _named(package: str, precision: str, one_by_one: bool = False) -> str:
    """A contestant's name in the tables."""
    name = package if precision == "fp32" else f"{package} {precision}"
    return f"{name}, one by one" if one_by_one else name


def default_folder() -> Path:
    return Path(os.environ.get("EVSAM_PEERS", "build/peers"))
