"""A task that needs no model, and photos for it."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from evsam.distributed import Predict

BROKEN = "e.png"


class Sums(Predict):
    """What is found of a photo is the sum of its pixels; on one of them its process is killed, the first time.

    Args:
        kill: key of the photo.
        mark: file that says that this has happened, and in which process.
    """

    def __init__(self, kill: str = "", mark: Path | None = None) -> None:
        super().__init__({"box": [1, 2, 3, 4]})
        self.kill, self.mark = kill, mark

    @property
    def sam(self) -> Any:
        return None

    def found(self, sam: Any, key: str, image: Any) -> dict[str, Any]:
        if key == self.kill and self.mark is not None and not self.mark.exists():
            self.mark.write_text(str(os.getpid()))
            os.kill(os.getpid(), signal.SIGKILL)
        area = int(image.sum())
        return {"masks": [{"prompt": 0, "score": 0.5, "area": area, "bbox": [0, 0, 2, 3], "counts": "02"}]}


def make_photos(folder: Path, count: int = 10) -> Path:
    """Photos a.png, b.png, ... of which one is broken."""
    folder.mkdir()
    for number in range(count):
        name = f"{chr(97 + number)}.png"
        if name == BROKEN:
            (folder / name).write_bytes(b"no photo")
        else:
            Image.fromarray(np.full((3, 2, 3), number, np.uint8)).save(folder / name)
    return folder
