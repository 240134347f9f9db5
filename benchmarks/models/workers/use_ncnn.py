"""ncnn: a model that pnnx converted, in float32 throughout."""

from __future__ import annotations

from typing import Any

import ncnn
import numpy as np


def version() -> str:
    return str(ncnn.__version__)


class Runner:
    def __init__(self, request: dict[str, Any], inputs: dict[str, np.ndarray]) -> None:
        self.net = ncnn.Net()
        self.net.opt.num_threads = request["threads"]
        for option in ("fp16_packed", "fp16_storage", "fp16_arithmetic", "bf16_storage"):
            setattr(self.net.opt, f"use_{option}", False)
        self.net.load_param(request["model"] + ".param")
        self.net.load_model(request["model"] + ".bin")
        (self.array,) = inputs.values()
        self.input = ncnn.Mat(self.array[0]).clone()
        self.result = np.empty(0, np.float32)

    def run(self) -> None:
        with self.net.create_extractor() as extractor:
            extractor.input("in0", self.input)
            _, out = extractor.extract("out0")
            self.result = np.array(out)[None]

    def outputs(self) -> list[np.ndarray]:
        return [self.result]
