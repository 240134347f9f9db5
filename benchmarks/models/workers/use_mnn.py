"""MNN: a converted model through its module interface."""

from __future__ import annotations

from typing import Any

import MNN
import MNN.expr as F
import numpy as np
from feeds import feeds, joined

CPU = 0


def version() -> str:
    return str(MNN.version())


class Runner:
    def __init__(self, request: dict[str, Any], inputs: dict[str, np.ndarray]) -> None:
        settings = {
            "backend": CPU,
            "numThread": request["threads"],
            "precision": request.get("precision", "high"),
            "memory": request.get("memory", "normal"),
        }
        self.runtime = MNN.nn.create_runtime_manager((settings,))
        self.net = MNN.nn.load_module_from_file(
            request["model"], list(inputs), request["outputs"], runtime_manager=self.runtime, shape_mutable=False
        )
        self.feeds = [[self._variable(array) for array in feed.values()] for feed in feeds(request, inputs)]
        self.results: list[list[np.ndarray]] = []

    @staticmethod
    def _variable(array: np.ndarray) -> Any:
        kind = F.int if array.dtype.kind == "i" else F.float
        dtype = np.int32 if array.dtype.kind == "i" else np.float32
        return F.const(np.ascontiguousarray(array, dtype), list(array.shape), F.NCHW, kind)

    def run(self) -> None:
        self.results = []
        for feed in self.feeds:
            out = self.net.forward(feed)
            out = out if isinstance(out, list) else [out]
            self.results.append([np.array(F.convert(each, F.NCHW).read()) for each in out])

    def outputs(self) -> list[np.ndarray]:
        outputs: list[np.ndarray] = joined(self.results)
        return outputs
