"""PyTorch: the model eager or compiled, norms folded, in float32 or, by autocast, in bfloat16.

Its environment must have evsam installed.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

from benchmarks.models.graphs import DecoderGraph, EncoderGraph, load_model


def version() -> str:
    return str(torch.__version__)


class Runner:
    def __init__(self, request: dict[str, Any], inputs: dict[str, np.ndarray]) -> None:
        torch.set_num_threads(request["threads"])
        model = load_model(Path(request["model"]))
        graph: torch.nn.Module
        if request["graph"] == "encoder":
            graph = EncoderGraph(model, matrices=False).to(memory_format=torch.channels_last)  # type: ignore[call-overload, unused-ignore]
        else:
            graph = DecoderGraph(model)
        self.call = torch.compile(graph) if request["compile"] else graph
        self.arguments = [torch.from_numpy(array) for array in inputs.values()]
        if request["graph"] == "encoder":
            self.arguments = [x.to(memory_format=torch.channels_last) for x in self.arguments]
        self.autocast = request["precision"] == "bf16"
        self.result: Any = None
        if request["compile"]:
            self.run()

    @torch.inference_mode()
    def run(self) -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=self.autocast):
            self.result = self.call(*self.arguments)

    def outputs(self) -> list[np.ndarray]:
        result = self.result if isinstance(self.result, tuple) else (self.result,)
        return [tensor.contiguous().float().numpy() for tensor in result]
