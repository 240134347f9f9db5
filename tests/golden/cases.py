"""The golden cases as objects, and the comparison that any implementation has to pass."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

FOLDER = Path(__file__).parent

NAMES = ("l0_coffee", "l0_chelsea_rot90", "l1_rocket", "xl0_hubble")

PROMPTS = (
    "point",
    "points",
    "box",
    "box_multimask",
    "box_and_background_point",
    "points_and_mask",
    "boxes_batch",
)

EMBEDDING_ATOL = 2e-4
LOGITS_ATOL = 2e-3
IOU_ATOL = 1e-4
MASK_AGREEMENT = 0.999


@dataclass(frozen=True)
class Prompt:
    """One prompt, in pixels of the photo, and what the reference answers.

    ``mask`` is (1, 256, 256) or None; ``logits`` are sampled ``[..., ::4, ::4]``. All answers have the shape that the
    public interface gives: (N, M, ...).
    """

    points: list[list[float]] | None
    labels: list[int] | None
    boxes: list[list[float]] | None
    mask: np.ndarray | None
    multimask: bool
    logits: np.ndarray
    iou: np.ndarray
    masks: np.ndarray


@dataclass(frozen=True)
class Golden:
    """One photo through one variant."""

    variant: str
    image: str
    size: tuple[int, int]
    shapes: dict[str, tuple[int, ...]]
    parameters_million: float
    arrays: dict[str, np.ndarray]
    prompts: dict[str, Prompt]

    @property
    def stages(self) -> list[np.ndarray]:
        """Outputs of the backbone stages, each (C, H, W) sampled ``[::4, ::4, ::4]``."""
        return [self.arrays[name] for name in sorted(self.arrays) if name.startswith("stage")]


@lru_cache(maxsize=1)
def load(name: str) -> Golden:
    """Read one golden case."""
    record = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    with np.load(FOLDER / f"{name}.npz") as file:
        arrays = dict(file)
    return Golden(
        variant=record["variant"],
        image=record["image"],
        size=tuple(record["original_size_hw"]),
        shapes={key: tuple(shape) for key, shape in record["state_dict"].items()},
        parameters_million=record["params_million"],
        arrays=arrays,
        prompts={key: _prompt(key, case, arrays) for key, case in record["cases"].items()},
    )


def _prompt(key: str, case: dict[str, Any], arrays: dict[str, np.ndarray]) -> Prompt:
    boxes = case.get("boxes") or ([case["box"]] if "box" in case else None)
    shape = case["mask_shape"]
    bits = np.unpackbits(arrays[f"{key}/mask_bits"], count=int(np.prod(shape))).reshape(shape).astype(bool)
    prompts = len(boxes) if boxes else 1
    logits = arrays[f"{key}/low_res_logits"]
    return Prompt(
        points=case.get("point_coords"),
        labels=case.get("point_labels"),
        boxes=boxes,
        mask=arrays.get(f"{key}/mask_input"),
        multimask=case["multimask_output"],
        logits=logits.reshape(prompts, -1, *logits.shape[-2:]),
        iou=arrays[f"{key}/iou"].reshape(prompts, -1),
        masks=bits.reshape(prompts, -1, *bits.shape[-2:]),
    )
