"""onnxruntime: an ONNX file on the CPU provider."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime as ort


def version() -> str:
    return str(ort.__version__)


class Runner:
    def __init__(self, request: dict[str, Any], inputs: dict[str, np.ndarray]) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = request["threads"]
        options.inter_op_num_threads = 1
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
        self.session = ort.InferenceSession(request["model"], options, providers=["CPUExecutionProvider"])
        types = {node.name: node.type for node in self.session.get_inputs()}
        self.feed = {
            name: array.astype(np.int64) if types[name] == "tensor(int64)" else array for name, array in inputs.items()
        }
        self.result: list[np.ndarray] = []

    def run(self) -> None:
        self.result = self.session.run(None, self.feed)

    def outputs(self) -> list[np.ndarray]:
        return self.result
