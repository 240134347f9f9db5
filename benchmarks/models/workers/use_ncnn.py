"""ncnn: a model that pnnx converted, in float32 throughout, or with the 16-bit options that the request names."""

from __future__ import annotations

from typing import Any

import ncnn
import numpy as np

OPTIONS = {"fp32": (), "fp16": ("fp16_packed", "fp16_storage", "fp16_arithmetic"), "bf16": ("bf16_storage",)}
"""What is on in each precision; the package's own defaults have it all on."""


def version() -> str:
    return str(ncnn.__version__)


class Runner:
    def __init__(self, request: dict[str, Any], inputs: dict[str, np.ndarray]) -> None:
        self.net = ncnn.Net()
        self.net.opt.num_threads = request["threads"]
        chosen = OPTIONS[request["precision"]]
        for option in {name for names in OPTIONS.values() for name in names}:
            setattr(self.net.opt, f"use_{option}", option in chosen)
        self.net.load_param(request["model"] + ".param")
        self.net.load_model(request["model"] + ".bin")
        (self.array,) = inputs.values()
        self.input = ncnn.Mat(self.array[0]).clone()
        self.names = self.net.output_names()
        self.results: list[np.ndarray] = []

    def run(self) -> None:
        with self.net.create_extractor() as extractor:
            extractor.input("in0", self.input)
            self.results = [np.array(extractor.extract(name)[1])[None] for name in self.names]

    def outputs(self) -> list[np.ndarray]:
        return self.results
