"""OpenVINO: an ONNX file on the CPU plugin, tuned for latency, in float32."""

from __future__ import annotations

from typing import Any

import numpy as np
import openvino as ov


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
        self.feed = {
            name: inputs[name].astype(port.element_type.to_dtype())
            for port in compiled.inputs
            for name in port.names
            if name in inputs
        }

    def run(self) -> None:
        self.call.infer(self.feed, share_inputs=True)

    def outputs(self) -> list[np.ndarray]:
        return [np.array(self.call.get_output_tensor(i).data) for i in range(len(self.call.model_outputs))]
