"""evsam's `Sam.segment_everything`, as users call it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np

import evsam

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

from benchmarks.everything.records import Records


def version() -> str:
    return str(evsam.__version__)


class Runner:
    def __init__(self, request: dict[str, Any], inputs: dict[str, np.ndarray]) -> None:
        self.sam = evsam.load(request["model"], threads=request["threads"])
        self.image = inputs["image"]
        self.settings = {**request["settings"], "mode": request["mode"]}

    def run(self) -> None:
        self.segments = self.sam.segment_everything(self.image, **self.settings)

    def outputs(self) -> list[np.ndarray]:
        return Records.of_segments(self.segments).arrays()
