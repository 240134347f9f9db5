"""What hears of a run's progress: curves on disk, a progress bar, TensorBoard. Others are a subclass of Callback."""

from __future__ import annotations

import importlib.util
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from evsam.errors import BackendUnavailable
from evsam.writing import replaced

Pictures = Mapping[str, npt.NDArray[np.uint8]]
"""RGB pictures (H, W, 3) by name."""

ValidationScores = Mapping[str, Mapping[str, float]]
"""Mean IoU by set, then by prompt."""


class Callback:
    """Told what happens in the first process of a run; every method may be left as it is."""

    def on_start(self, step: int, steps: int) -> None:
        """A run begins, or goes on, at ``step`` of ``steps``."""

    def on_step(self, step: int, values: Mapping[str, float]) -> None:
        """Losses and ``lr``, ``images_per_second``, ``minutes``, ``minutes_left`` and ``waiting`` at a logged step."""

    def on_validation(self, step: int, scores: ValidationScores, pictures: Pictures) -> None:
        """Scores of the averaged weights, and masks drawn on photos."""

    def on_end(self) -> None:
        """The run ends, or is stopped by an error."""


class Curves(Callback):
    """``curves.jsonl`` in the run's folder: one line per logged step and validation; null for NaN and infinities."""

    def __init__(self, run: Path) -> None:
        self.path = run / "curves.jsonl"
        self.pictures = run / "pictures"

    def on_start(self, step: int, steps: int) -> None:  # noqa: ARG002 - of the interface
        """Drop what was logged after the checkpoint that the run goes on from: it did not happen."""
        if self.path.exists():
            lines = self.path.read_text().splitlines(keepends=True)
            # a kill can leave half a line at the end
            whole = [line for line in lines if line.endswith("\n")]
            with replaced(self.path) as temporary:
                temporary.write_text("".join(line for line in whole if json.loads(line)["step"] <= step))

    def on_step(self, step: int, values: Mapping[str, float]) -> None:
        """Append a line of losses."""
        self._append({"step": step, **{name: float(f"{value:.6g}") for name, value in values.items()}})

    def on_validation(self, step: int, scores: ValidationScores, pictures: Pictures) -> None:
        """Append a line of scores and write the pictures."""
        rounded = {name: {prompt: round(value, 4) for prompt, value in of.items()} for name, of in scores.items()}
        self._append({"step": step, "validation": rounded})
        from PIL import Image

        for name, picture in pictures.items():
            path = self.pictures / f"step-{step:09d}" / f"{name}.jpg"
            with replaced(path) as temporary:
                Image.fromarray(picture).save(temporary, "JPEG", quality=90)

    def _append(self, record: dict[str, Any]) -> None:
        with self.path.open("a") as file:
            file.write(json.dumps(finite(record), allow_nan=False) + "\n")


def finite(value: Any) -> Any:
    """The value with None for NaN and infinities, at any depth: JSON has no such numbers."""
    if isinstance(value, Mapping):
        return {name: finite(entry) for name, entry in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value


class Progress(Callback):
    """A bar with losses, learning rate, photos per second and time left."""

    bar: tqdm[Any]

    def on_start(self, step: int, steps: int) -> None:
        """Show the bar."""
        self.bar = tqdm(total=steps, initial=step, unit="step", dynamic_ncols=True)

    def on_step(self, step: int, values: Mapping[str, float]) -> None:
        """Move the bar."""
        shown = {name: f"{value:.4g}" for name, value in values.items() if not name.startswith("minutes")}
        left = values["minutes_left"]
        self.bar.set_postfix(
            {**shown, "left": f"{left:.0f} min" if left < 120 else f"{left / 60:.1f} h"}, refresh=False
        )
        self.bar.update(step - self.bar.n)

    def on_validation(self, step: int, scores: ValidationScores, pictures: Pictures) -> None:  # noqa: ARG002
        """Print the scores above the bar."""
        for name, values in scores.items():
            self.bar.write(f"step {step} {name}: " + " ".join(f"{prompt} {v:.3f}" for prompt, v in values.items()))

    def on_end(self) -> None:
        """Close the bar."""
        self.bar.close()


def require_tensorboard() -> None:
    """Raise BackendUnavailable where the package tensorboard is missing."""
    if importlib.util.find_spec("tensorboard") is None:
        raise BackendUnavailable(
            "log.tensorboard needs the package tensorboard: pip install tensorboard, or leave it out"
        )


class TensorBoard(Callback):
    """Events for TensorBoard in the run's folder."""

    writer: Any

    def __init__(self, run: Path) -> None:
        self.run = run
        require_tensorboard()

    def on_start(self, step: int, steps: int) -> None:  # noqa: ARG002 - of the interface
        """Open the file; what was written after the checkpoint that the run goes on from is not shown any more."""
        from torch.utils.tensorboard import SummaryWriter

        self.writer = SummaryWriter(str(self.run / "tensorboard"), purge_step=step + 1)

    def on_step(self, step: int, values: Mapping[str, float]) -> None:
        """Write scalars."""
        for name, value in values.items():
            self.writer.add_scalar(f"train/{name}", value, step)

    def on_validation(self, step: int, scores: ValidationScores, pictures: Pictures) -> None:
        """Write scores and pictures."""
        for name, of in scores.items():
            for prompt, value in of.items():
                self.writer.add_scalar(f"validation/{name}/{prompt}", value, step)
        for name, picture in pictures.items():
            self.writer.add_image(name, picture, step, dataformats="HWC")

    def on_end(self) -> None:
        """Write what is left."""
        self.writer.close()
