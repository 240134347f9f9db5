"""onnxruntime: an ONNX file on the CPU provider."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime as ort
from feeds import feeds, joined


def version() -> str:
    return str(ort.__version__)


class Runner:
    def __init__(self, request: dict[str, Any], inputs: dict[str, np.ndarray]) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = request["threads"]
        options.inter_op_num_threads = 1
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
        for name, value in request.get("session", {}).items():
            options.add_session_config_entry(name, value)
        self.session = ort.InferenceSession(request["model"], options, providers=["CPUExecutionProvider"])
        types = {node.name: node.type for node in self.session.get_inputs()}
        inputs = {
            name: array.astype(np.int64) if types[name] == "tensor(int64)" else array for name, array in inputs.items()
        }
        self.feeds = feeds(request, inputs)
        self.results: list[list[np.ndarray]] = []

    def run(self) -> None:
        self.results = [self.session.run(None, feed) for feed in self.feeds]

    def outputs(self) -> list[np.ndarray]:
        outputs: list[np.ndarray] = joined(self.results)
        return outputs
