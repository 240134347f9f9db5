"""Prompts of a mask in training: the first, a box or clicks; and those that depend on what the model answered."""

from __future__ import annotations

import random
from typing import Annotated

import numpy as np
import numpy.typing as npt
import torch
from pydantic import Field, model_validator
from torch import Tensor

from evsam.boxes import bounding_box
from evsam.datasets.records import UInt8
from evsam.evaluation.clicks import Click, middle, next_click
from evsam.training.config import Config

Probability = Annotated[float, Field(ge=0, le=1)]

BOX_NOISE = 0.1
"""Standard deviation of how far a jittered box's sides are moved, as a part of its width or height (Segment Anything,
appendix A)."""

MIDDLE_SIDE = 128
"""The middle is searched on a coarser grid where the object is larger, with pixels of it as candidates all the same."""


class PromptConfig(Config):
    """How first prompts are made.

    Attributes:
        box: probability of a box; else clicks.
        jitter: probability that the sides of a box are moved, as Segment Anything does.
        jitter_limit: how far at most, in pixels of the 1024 frame (Segment Anything: 20), or None.
        clicks: fewest and most clicks.
        few: probability that a batch has the fewest clicks; else their number is drawn evenly. A lone click, or box, is
            what users send most.
        mixed: every mask draws for itself between a box, perhaps with clicks beside it, and up to as many clicks as its
            batch has. Otherwise all masks of a batch have a box alone, or the same number of clicks (the paper's
            prompts).
        negative: probability that a click, other than a first prompt, is on background near the object.
        centre: probability that a first click is in the middle of the object, as people click.
    """

    box: Probability = 0.5
    jitter: Probability = 0.6
    jitter_limit: float | None = Field(default=None, gt=0)
    clicks: tuple[int, int] = (1, 3)
    few: Probability = 0.4
    mixed: bool = True
    negative: Probability = 0.3
    centre: Probability = 0.6

    @model_validator(mode="after")
    def _some_clicks(self) -> PromptConfig:
        if not 1 <= self.clicks[0] <= self.clicks[1]:
            raise ValueError(f"clicks: expected the fewest, at least 1, and the most, got {self.clicks}")
        return self

    def draw(self, rng: random.Random) -> tuple[int, float]:
        """What the prompts of a batch have in common.

        Returns:
            Tokens of each prompt, and the probability that one is a box. A box is two tokens; clicks without a box are
            one each, and a padding point, which the decoder gets then.
        """
        if not self.mixed and rng.random() < self.box:
            return 2, 1.0
        fewest, most = self.clicks
        clicks = fewest if rng.random() < self.few else rng.randint(fewest, most)
        return clicks + 1, self.box if self.mixed else 0.0


def first_prompt(
    config: PromptConfig, rng: random.Random, mask: UInt8, tokens: int, box: float, frame: float
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    """A prompt for a mask.

    Args:
        config: see :class:`PromptConfig`.
        rng: of everything that is drawn.
        mask: (S, S), 0 or 1, not empty.
        tokens: of the prompt, at least 2; padded up to there.
        box: probability of a box.
        frame: pixels of the 1024 frame in a pixel of the mask.

    Returns:
        Points (tokens, 2), x and y in pixels of the mask, and labels (tokens,) as
        :meth:`evsam.nn.EfficientViTSam.decode` takes them.
    """
    points = np.zeros((tokens, 2), np.float32)
    labels = np.full(tokens, -1, np.int64)
    around = bounding_box(mask)
    if rng.random() < box:
        points[:2] = _jittered(config, rng, around, mask.shape[0], frame)
        labels[:2] = (2, 3)
        used, clicks = 2, rng.randint(0, tokens - 2) if config.mixed else 0
    else:
        used, clicks = 0, rng.randint(min(config.clicks[0], tokens - 1), tokens - 1) if config.mixed else tokens - 1
    for number in range(used, used + clicks):
        if number == 0:
            points[0], labels[0] = _first_click(config, rng, mask, around), 1
        else:
            points[number], labels[number] = _later_click(config, rng, mask, around)
    return points, labels


def _jittered(
    config: PromptConfig, rng: random.Random, box: tuple[int, int, int, int], size: int, frame: float
) -> npt.NDArray[np.float32]:
    corners = np.array(box, np.float32)
    if rng.random() < config.jitter:
        sides = np.tile(corners[2:] - corners[:2], 2)
        noise = np.array([rng.gauss(0, BOX_NOISE) for _ in range(4)], np.float32) * sides
        if config.jitter_limit is not None:
            noise = np.clip(noise, -config.jitter_limit / frame, config.jitter_limit / frame)
        corners = np.clip(corners + noise, 0, size)
        # the noise of a thin object's sides may not turn its box inside out
        corners[:2] = np.minimum(corners[:2], size - 1)
        corners[2:] = np.maximum(corners[2:], corners[:2] + 1)
    return corners.reshape(2, 2)


def _first_click(
    config: PromptConfig, rng: random.Random, mask: UInt8, box: tuple[int, int, int, int]
) -> tuple[float, float]:
    if rng.random() >= config.centre:
        return _any_pixel(rng, mask, box)
    left, top, right, bottom = box
    step = max(1, (max(right - left, bottom - top) + MIDDLE_SIDE - 1) // MIDDLE_SIDE)
    coarse = mask[top:bottom:step, left:right:step] > 0
    if not coarse.any():  # the object lies between the pixels of the coarser grid
        return _any_pixel(rng, mask, box)
    x, y = middle(coarse)
    return left + (x - 0.5) * step + 0.5, top + (y - 0.5) * step + 0.5


def _later_click(
    config: PromptConfig, rng: random.Random, mask: UInt8, box: tuple[int, int, int, int]
) -> tuple[tuple[float, float], int]:
    if rng.random() < config.negative:
        left, top, right, bottom = box
        margin_x, margin_y = (right - left) // 4 + 4, (bottom - top) // 4 + 4
        near = (max(0, left - margin_x), max(0, top - margin_y), right + margin_x, bottom + margin_y)
        if not _part(mask, near).all():
            return _any_pixel(rng, 1 - mask, near), 0
    return _any_pixel(rng, mask, box), 1


def _part(mask: UInt8, box: tuple[int, int, int, int]) -> UInt8:
    left, top, right, bottom = box
    return mask[top:bottom, left:right]


def _any_pixel(rng: random.Random, mask: UInt8, box: tuple[int, int, int, int]) -> tuple[float, float]:
    """Centre of a random pixel of the mask in a box, in which it has some."""
    part = _part(mask, box)
    where = np.flatnonzero(part)
    y, x = divmod(int(where[rng.randrange(len(where))]), part.shape[1])
    return box[0] + x + 0.5, box[1] + y + 0.5


def error_click(logits: Tensor, target: Tensor, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
    """One random click per mask on a pixel that the prediction got wrong.

    Args:
        logits: (N, 1, H, W) of the prediction.
        target: (N, 1, H, W), 0 to 1.
        generator: of the choice.

    Returns:
        Points (N, 1, 2), x and y in pixels of the logits, and labels (N, 1): 1 where the object was missed, 0 where
        too much was taken. A mask without errors gets a click anywhere.
    """
    true = target[:, 0] > 0.5
    return _click(((logits[:, 0] > 0) != true).float(), true, generator)


def deepest_click(logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """One click per mask where evaluation would click (:func:`evsam.evaluation.clicks.next_click`).

    Arguments and results are those of :func:`error_click`. A mask without errors gets a click in the middle of the
    object. Errors are looked at on the host.
    """
    masks = (logits[:, 0] > 0).cpu().numpy()
    true = (target[:, 0] > 0.5).cpu().numpy()
    clicks = [next_click(one, mask) or next_click(one) or Click(0, 0, 0) for one, mask in zip(true, masks, strict=True)]
    points = torch.tensor([[click.centre] for click in clicks], device=logits.device, dtype=torch.float32)
    return points, torch.tensor([[click.label] for click in clicks], device=logits.device)


def object_click(target: Tensor, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
    """One random click per mask on its object; shapes as :func:`error_click`."""
    true = target[:, 0] > 0.5
    return _click(true.float(), true, generator)


def _click(wanted: Tensor, true: Tensor, generator: torch.Generator | None) -> tuple[Tensor, Tensor]:
    chances = wanted.flatten(1)
    chances = chances + (chances.sum(1, keepdim=True) == 0)
    where = torch.multinomial(chances, 1, generator=generator)
    width = true.shape[-1]
    points = torch.stack([where % width, where // width], -1) + 0.5
    return points, true.flatten(1).gather(1, where).long()


def pick(logits: Tensor, iou: Tensor, labels: Tensor) -> Tensor:
    """The mask (N, 1, H, W) that is returned to a user.

    The best of three for one click, which is ambiguous; else the single one.

    Args:
        logits: (N, 4, H, W).
        iou: predicted IoU (N, 4).
        labels: (N, T).
    """
    clear = (labels >= 0).sum(1) > 1  # a box has two corners
    index = torch.where(clear, 0, iou[:, 1:].argmax(1) + 1)
    return logits[torch.arange(len(logits), device=logits.device), index][:, None]
