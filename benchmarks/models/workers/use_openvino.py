"""OpenVINO: an ONNX file on the CPU plugin, tuned for latency, in float32."""

from __future__ import annotations

from typing import Any

import numpy as np
import openvino as ov
from feeds import feeds, joined


def version() -> str:
    return str(ov.__version__).split("-")[0]


class Runner:
    def __init__(self, request: dict[str, Any], inputs: dict[str, np.ndarray]) -> None:
        config = {
            "PERFORMANCE_HINT": "LATENCY",
            "NUM_STREAMS": "1",
            "INFERENCE_NUM_THREADS": str(request["threads"]),
            "INFERENCE_PRECISION_HINT": "f32",
        }
        compiled = ov.Core().compile_model(request["model"], "CPU", config)
        self.call = compiled.create_infer_request()
        inputs = {
            name: inputs[name].astype(port.element_type.to_dtype())
            for port in compiled.inputs
            for name in port.names
            if name in inputs
        }
        self.feeds = feeds(request, inputs)
        self.results: list[list[np.ndarray]] = []

    def run(self) -> None:
        self.results = []
        for feed in self.feeds:
            self.call.infer(feed, share_inputs=True)
            self.results.append([np.array(tensor.data) for tensor in self.call.output_tensors])

    def outputs(self) -> list[np.ndarray]:
        outputs: list[np.ndarray] = joined(self.results)
        return outputs
