"""What stands for a compiled network: its ONNX model, run by onnxruntime."""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import onnxruntime

MAGIC = b"stand-in plan\n"


@dataclass(frozen=True)
class Tensor:
    name: str
    dims: tuple[int | str, ...]
    is_input: bool
    onnx_type: int

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(dim if isinstance(dim, int) else -1 for dim in self.dims)


def read_tensors(model: Any) -> list[Tensor]:
    constants = {tensor.name for tensor in model.graph.initializer}
    found = []
    for values, is_input in ((model.graph.input, True), (model.graph.output, False)):
        for value in values:
            if value.name in constants:
                continue
            kind = value.type.tensor_type
            dims = tuple(d.dim_value if d.HasField("dim_value") else d.dim_param for d in kind.shape.dim)
            found.append(Tensor(value.name, dims, is_input, kind.elem_type))
    return found


def pack(header: dict[str, Any], model: bytes) -> bytes:
    text = json.dumps(header).encode()
    return MAGIC + struct.pack("<I", len(text)) + text + model


def unpack(data: bytes) -> tuple[dict[str, Any], bytes] | None:
    """Header and model of a plan, or None for other bytes."""
    if not data.startswith(MAGIC):
        return None
    start = len(MAGIC) + 4
    (length,) = struct.unpack("<I", data[len(MAGIC) : start])
    try:
        return json.loads(data[start : start + length]), data[start + length :]
    except ValueError:
        return None


class Network:
    """A model that can run."""

    def __init__(self, model: bytes) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = 4
        self.session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        self.tensors = {tensor.name: tensor for tensor in read_tensors(onnx.load_model_from_string(model))}

    def output_shapes(self, shapes: dict[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
        """Shapes of the outputs, -1 where the names of their dimensions are not among the inputs'."""
        sizes: dict[str, int] = {}
        for name, shape in shapes.items():
            sizes.update((d, n) for d, n in zip(self.tensors[name].dims, shape, strict=True) if isinstance(d, str))
        return {
            tensor.name: tuple(d if isinstance(d, int) else sizes.get(d, -1) for d in tensor.dims)
            for tensor in self.tensors.values()
            if not tensor.is_input
        }

    def run(self, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        names = [name for name, tensor in self.tensors.items() if not tensor.is_input]
        return dict(zip(names, self.session.run(names, inputs), strict=True))
