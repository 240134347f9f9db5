"""evsam, by any of its engines. The encoder is timed on pixels, as the others are, where the engine offers that."""

from __future__ import annotations

from typing import Any

import numpy as np

import evsam


def version() -> str:
    return str(evsam.__version__)


class Runner:
    def __init__(self, request: dict[str, Any], inputs: dict[str, np.ndarray]) -> None:
        extra = {} if request.get("precision", "fp32") == "fp32" else {"precision": request["precision"]}
        self.sam = evsam.load(request["model"], engine=request["engine"], threads=request["threads"], **extra)
        self.engine: Any = self.sam.engine
        self.result: tuple[np.ndarray, ...] = ()
        if request["graph"] == "encoder":
            (pixels,) = inputs.values()
            self.run = lambda: self._encode(np.ascontiguousarray(pixels[0]))
        elif request["graph"] == "whole":
            self.run = lambda: self._predict(inputs["image"])
        else:
            features = (inputs["embedding"][0],)
            self.run = lambda: self._decode(features, inputs["points"], inputs["labels"])

    def _encode(self, pixels: np.ndarray) -> None:
        self.result = (self.engine.encode_pixels(pixels)[0][None],)

    def _predict(self, image: np.ndarray) -> None:
        height, width = image.shape[:2]
        prediction = self.sam.predict(image, box=(0.3 * width, 0.3 * height, 0.7 * width, 0.7 * height))
        self.result = (prediction.masks, prediction.scores)

    def _decode(self, features: tuple[np.ndarray, ...], points: np.ndarray, labels: np.ndarray) -> None:
        self.result = self.engine.decode(features, points, labels, None)

    def outputs(self) -> list[np.ndarray]:
        return list(self.result)
