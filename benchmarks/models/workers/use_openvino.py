"""OpenVINO: an ONNX file on the CPU plugin, tuned for latency, in the precision that the request names."""

from __future__ import annotations

from typing import Any

import numpy as np
import openvino as ov
from feeds import feeds, joined

HINT = "INFERENCE_PRECISION_HINT"
NAMES = {"f32": "fp32", "bf16": "bf16", "f16": "fp16"}


def version() -> str:
    return str(ov.__version__).split("-")[0]


class Runner:
    def __init__(self, request: dict[str, Any], inputs: dict[str, np.ndarray]) -> None:
        core = ov.Core()
        config = {
            "PERFORMANCE_HINT": "LATENCY",
            "NUM_STREAMS": "1",
            "INFERENCE_NUM_THREADS": str(request["threads"]),
            HINT: request["precision"],
        }
        default = core.get_property("CPU", HINT).get_type_name()
        compiled = core.compile_model(request["model"], "CPU", config)
        found = compiled.get_property(HINT).get_type_name()
        if found != request["precision"]:
            raise ValueError(f"{HINT}: expected {request['precision']}, got {found}")
        self.computes = NAMES[found] + (", its default" if found == default else "")
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
