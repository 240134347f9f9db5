"""Made photos, and models that give known answers."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np

from evsam.datasets import Annotation, Photo
from evsam.datasets.records import measured
from evsam.evaluation.truth import Truth
from evsam.rle import encode_rle

SIDE = 256
"""Of photos whose masks are the logits themselves."""

EMBEDDING: Any = SimpleNamespace(resized_size=(1024, 1024), original_size=(SIDE, SIDE))


def rectangle(left: int, top: int, right: int, bottom: int, size: tuple[int, int] = (SIDE, SIDE)) -> np.ndarray:
    mask = np.zeros(size, bool)
    mask[top:bottom, left:right] = True
    return mask


def annotation(mask: np.ndarray, ignore: np.ndarray | None = None, **more: Any) -> Annotation:
    ignored = None if ignore is None else dict(encode_rle(ignore))
    return measured(dict(encode_rle(mask)), ignore=ignored, **more)


def truth(*annotations: Annotation, size: tuple[int, int] = (SIDE, SIDE), **more: Any) -> Truth:
    photo = Photo(more.pop("key", "photo.png"), annotations, bytes, **more)
    return Truth.read(photo, np.zeros((*size, 3), np.uint8))


class Answering:
    """A model that answers each prompt with the same masks, or what a function makes of the prompt.

    Args:
        masks: of 256 x 256 pixels: one for a single mask and three for an ambiguous prompt.
        scores: predicted IoU of the masks.
    """

    mask_threshold = 0.0

    def __init__(self, masks: Sequence[np.ndarray], scores: Sequence[float]) -> None:
        self.logits = np.stack(masks).astype(np.float32) * 20 - 10
        self.scores = np.array(scores, np.float32)
        self.asked: list[dict[str, Any]] = []

    def predict(self, embedding: Any, **asked: Any) -> Any:
        self.asked.append(asked)
        prompts = asked.get("boxes", asked.get("points"))
        assert prompts is not None
        assert len(prompts)
        chosen = slice(1, 4) if asked["multimask"] else slice(0, 1)
        logits, scores = self.logits[chosen], self.scores[chosen]
        return SimpleNamespace(
            logits=np.broadcast_to(logits, (len(prompts), *logits.shape)),
            scores=np.broadcast_to(scores, (len(prompts), *scores.shape)),
        )

    def masks_from_logits(self, logits: np.ndarray, resized: tuple[int, int], original: tuple[int, int]) -> np.ndarray:
        assert (resized, original) == ((1024, 1024), (SIDE, SIDE))
        return logits > 0
