"""evsam: the encoder on pixels and the decoder, as its peers get them, or the whole way from photo to masks."""

from __future__ import annotations

from typing import Any

import numpy as np

import evsam
from evsam import _C
from evsam.engines.native import NativeEngine
from evsam.weights import load_weights


def version() -> str:
    return str(evsam.__version__)


class Runner:
    def __init__(self, request: dict[str, Any], inputs: dict[str, np.ndarray]) -> None:
        self.result: tuple[np.ndarray, ...] = ()
        threads, precision = request["threads"], request["precision"]
        self.computes = _C.narrow_kernels().get(precision) or "fp32"
        if request["graph"] == "encoder":
            (pixels,) = inputs.values()
            weights = load_weights(request["model"])
            # the compiled engine, as the public interface takes photos only, and NativeEngine makes new outputs
            engine: Any = NativeEngine(weights, threads, precision=precision)._engine
            self.run = lambda: self._encode(engine, np.ascontiguousarray(pixels[0]))
            return
        self.sam = evsam.load(request["model"], engine=request["engine"], threads=threads, precision=precision)
        if request["graph"] == "whole":
            self.run = lambda: self._predict(inputs["image"])
        else:
            features = (inputs["embedding"][0],)
            self.run = lambda: self._decode(features, inputs["points"], inputs["labels"])

    def _encode(self, engine: Any, pixels: np.ndarray) -> None:
        features = tuple(np.empty(shape, np.float32) for shape in engine.feature_shapes)
        engine.encode_pixels(pixels, features)
        self.result = tuple(each[None] for each in features)

    def _predict(self, image: np.ndarray) -> None:
        height, width = image.shape[:2]
        prediction = self.sam.predict(image, box=(0.3 * width, 0.3 * height, 0.7 * width, 0.7 * height))
        self.result = (prediction.masks, prediction.scores)

    def _decode(self, features: tuple[np.ndarray, ...], points: np.ndarray, labels: np.ndarray) -> None:
        self.result = self.sam.engine.decode(features, points, labels, None)

    def outputs(self) -> list[np.ndarray]:
        return list(self.result)
